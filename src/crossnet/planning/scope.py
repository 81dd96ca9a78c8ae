"""Which of the crossings that stand on hosts a plan is about, and which stay."""

from __future__ import annotations

from dataclasses import dataclass

from crossnet.spec import Spec
from crossnet.standing import Standing


@dataclass(frozen=True, slots=True)
class Undo:
    """Which crossings an undo takes back: those of its spec, else one of them, those of one host, or all there are."""

    crossing: str | None = None
    host: str | None = None
    all: bool = False
    among: frozenset[str] | None = (
        None  # with `all`, the labels of those that stand on the hosts that were named
    )

    def leaves(self, standing: Standing, spec: Spec) -> Standing | None:
        """What is left of a crossing; None where it is taken back."""
        is_own = standing.spec in ("", spec.name) and (
            spec.is_whole or any(one.name == standing.crossing for one in spec.crossings)
        )
        is_among = self.all and (self.among is None or standing.label in self.among)
        if not (is_among or is_own) or self.crossing not in (None, standing.crossing):
            return standing
        if self.host is None or self.host in (standing.gateway, ""):
            return None
        if self.host == standing.host:
            return None
        return standing.without_client(self.host)


OWN_CROSSINGS = Undo()


def is_beside(standing: Standing, spec: Spec) -> bool:
    """Whether a crossing that stands on a host stays there when the spec is applied: it is none of its own.

    What is known by its name alone cannot stay: rules are made of what crossings need.
    """
    if not standing.is_known:
        return False
    if standing.spec != spec.name:
        return not any(standing.is_need_of(one, spec.hosts) for one in spec.crossings)
    return not spec.is_whole and all(one.name != standing.crossing for one in spec.crossings)
