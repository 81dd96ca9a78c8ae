"""Which of the crossings that stand on hosts a plan is about, and which stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from crossnet.facts import Facts
from crossnet.spec import Crossing, Spec, has_come
from crossnet.standing import Standing

UNDO, FORGET = "undo", "forget"


def takes_back(what: str) -> bool:
    """Whether a transaction that says this of itself is an undo."""
    return what.partition(" ")[0] in (UNDO, FORGET)


@dataclass(frozen=True, slots=True)
class Undo:
    """Which crossings an undo takes back: those of its spec, else one of them, those of one host, or all there are.

    With `forgotten` the host is never asked: what stands for it is taken back on the others.
    """

    crossing: str | None = None
    host: str | None = None
    all: bool = False
    among: frozenset[str] | None = (
        None  # with `all`, the labels of those that stand on the hosts that were named
    )
    forgotten: bool = False

    @property
    def is_of_spec(self) -> bool:
        """Whether it takes back what is its spec's, all of that and nothing else."""
        return self.crossing is None and self.host is None and not self.all

    def __str__(self) -> str:
        """What journals and histories say of it."""
        return f"{FORGET} {self.host}" if self.forgotten else UNDO

    def leaves(self, standing: Standing, spec: Spec, called: Mapping[str, str]) -> Standing | None:
        """What is left of a crossing; None where it is taken back.

        `called` is what crossings, by their labels, call the host that was named, by that host's own record.
        """
        is_own = standing.spec in ("", spec.name) and (
            spec.is_whole or any(one.name == standing.crossing for one in spec.crossings)
        )
        is_among = self.all and (self.among is None or standing.label in self.among)
        if not (is_among or is_own) or self.crossing not in (None, standing.crossing):
            return standing
        if self.host is None:
            return None
        host = called.get(standing.label, self._called(standing, spec))
        if host is None:
            return standing
        return None if host in (standing.gateway, standing.host) else standing.without_client(host)

    def _called(self, standing: Standing, spec: Spec) -> str | None:
        """What a crossing calls the host that was named, whose own record does not say it; None if nothing.

        That is the machine that the spec reaches, whatever the crossing's own spec calls it. One that the spec does not
        have any more is known by its name alone, and so is what 0.1.0 recorded.
        """
        places = {each.name: each.place for each in spec.hosts}
        if self.host not in places or not standing.hosts:
            return self.host
        for each in standing.hosts:
            if each.place == places[self.host] and standing.means_the_same_here(each):
                return each.name
        # Reached by other words since then, it is in no spec under the former ones.
        former = next((each for each in standing.hosts if each.name == self.host), None)
        is_own = standing.spec in ("", spec.name)
        return self.host if is_own and former is not None and former.place not in places.values() else None


OWN_CROSSINGS = Undo()


def going_on(spec: Spec, facts: Mapping[str, Facts]) -> Spec:
    """The spec without the crossings whose time is over, by the clocks of their gateways."""
    left = tuple(one for one in spec.crossings if not is_over(one, facts))
    return replace(spec, crossings=left)


def is_over(crossing: Crossing, facts: Mapping[str, Facts]) -> bool:
    return crossing.until is not None and has_come(crossing.until, facts[crossing.via].clock)


def is_beside(standing: Standing, spec: Spec, clock: int) -> bool:
    """Whether a crossing that stands on a host stays there when the spec is applied: it is none of its own.

    What is known by its name alone cannot stay: rules are made of what crossings need. Nor does what is over by the
    host's clock.
    """
    if not standing.is_known or standing.is_over(clock):
        return False
    if standing.spec != spec.name:
        return not any(standing.is_need_of(one, spec.hosts) for one in spec.crossings)
    return not spec.is_whole and all(one.name != standing.crossing for one in spec.crossings)
