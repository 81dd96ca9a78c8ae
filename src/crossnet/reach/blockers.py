"""What stops packets at one host, in their order, and of which packets that is so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from crossnet.reach.here import Answer, Here
from crossnet.reach.packets import Packets, Space
from crossnet.reach.rules import BLOCKS, Decision, Effect, Place

_FILTER_CODES = {
    Effect.DROPS: "filter-rule-drop",
    Effect.POLICY_DROPS: "filter-policy-drop",
    Effect.REJECTS: "filter-reject",
    Effect.QUEUES: "queue-without-listener",
    Effect.UNKNOWN: "filter-rule-drop",
}


@dataclass(frozen=True, slots=True)
class Blocker:
    """One thing that stops packets, or perhaps does, and would have to change.

    `certain` when it surely stops what comes to it; `now` when packets come to it as things are, else they would
    once what stands before it is taken away. `packets` are those that it concerns, as they are where it stands.
    `text` is the rule, route or setting in its owner's words, `doubts` what could not be known.
    """

    code: str
    host: str
    interface: str
    hook: str
    text: str
    certain: bool
    now: bool
    place: Place | None = None
    doubts: tuple[str, ...] = ()
    packets: Packets | None = field(default=None, compare=False, repr=False)


class Blockers:
    """Everything that stops packets at one host; `stopped` and `doubtful` (which perhaps go on) are as they came.

    `first` tells of packets what they were when they came.
    """

    def __init__(self, host: str, space: Space, first: Callable[[Packets], Packets]) -> None:
        self.host, self._space, self._first = host, space, first
        self.found: list[Blocker] = []
        self.stopped = self.doubtful = space.none

    def block(
        self,
        code: str,
        text: str,
        here: Here,
        can: Packets,
        interface: str,
        hook: str = "",
        must: Packets | None = None,
        doubts: tuple[str, ...] = (),
    ) -> Here:
        """Stop what is in `can`, surely what is in `must`; what goes on is as if it were not stopped."""
        answer = Answer(can if must is None else must, can)
        seen = here.passing(answer)
        if not seen:
            return here
        self.stopped |= self._first(seen.may)
        self._add(code, text, seen, interface, hook, doubts=doubts)
        return Here(here.may & ~answer.must, here.fixed, here.surely)

    def lose(
        self, code: str, text: str, here: Here, interface: str, hook: str, doubts: tuple[str, ...]
    ) -> None:
        """Give up packets of which is not known what becomes of them from here on."""
        unsure = Here(here.may, here.fixed, self._space.none)
        self.block(code, text, unsure, unsure.fixed, interface, hook, doubts=doubts)
        self.doubtful |= self._first(here.may)

    def perhaps(self, code: str, text: str, here: Here, interface: str, hook: str) -> Here:
        """Stop all of these perhaps: facts do not tell, and `text` says what of."""
        return self.block(
            code, text, here, self._space.all, interface, hook, self._space.none, doubts=(text,)
        )

    def _add(
        self,
        code: str,
        text: str,
        here: Here,
        interface: str,
        hook: str,
        place: Place | None = None,
        doubts: tuple[str, ...] = (),
    ) -> None:
        # What stops packets as things are counts as they are; else as it would be.
        now = here.may.satisfiable()
        certain = here.surely.satisfiable() and not (here.may & ~here.surely).satisfiable()
        self.found.append(
            Blocker(code, self.host, interface, hook, text, certain, now, place, doubts, here.fixed)
        )

    def doubt(self, passed: Packets) -> None:
        """Take back that something stops packets for certain where the same packets, as they came, pass."""
        self.found = [
            replace(each, certain=False)
            if each.certain
            and each.packets is not None
            and (self._first(each.packets) & passed).satisfiable()
            else each
            for each in self.found
        ]

    def doubt_since(self, before: int) -> None:
        """Take back that the later of those found stop packets for certain: they are met by one of several ways."""
        self.found[before:] = [replace(each, certain=False) for each in self.found[before:]]

    def decided(self, decisions: Iterable[Decision], hook: str, interface: str, *, answers: bool) -> None:
        """Take over what rules have decided; of `answers` a host's own are filtered like what it forwards."""
        for decision in decisions:
            if decision.effect not in BLOCKS:
                continue
            here = decision.here
            if decision.effect is Effect.UNKNOWN:
                here = here.perhaps()  # whatever comes to it: what becomes of it there is not known
            self.stopped |= self._first(here.may)
            if decision.effect in (Effect.UNKNOWN, Effect.QUEUES):
                self.doubtful |= self._first(here.may)
            code = _FILTER_CODES[decision.effect]
            if hook == "output" and not answers and decision.effect is not Effect.POLICY_DROPS:
                code = "src-output-filtered"
            self._add(code, decision.text, here, interface, hook, decision.place, decision.doubts)
