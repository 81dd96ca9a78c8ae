"""What was seen of flows that were sent through a path at the same time."""

from __future__ import annotations

from dataclasses import dataclass

from crossnet.design import Client
from crossnet.verification.conntrack import Entry, Tracked
from crossnet.verification.counters import Counters
from crossnet.verification.onward import Onward
from crossnet.verification.probe import Reply, Sent


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one probe: at the client, and in the gateway's connection tracking (None: unknown).

    Of one without an answer it was asked where client and gateway send it; None where nobody was asked.
    """

    client: Client
    sent: Sent
    tracked: Tracked
    at_client: Onward | None = None
    at_gateway: Onward | None = None

    @property
    def entry(self) -> Entry | None:
        return self.tracked[-1] if self.tracked else None

    @property
    def only_counted(self) -> bool:
        """Whether nothing but a counter can tell that the gateway let it pass.

        A refused connection is forgotten at once: the kernel drops the entry with the reset (measured).
        """
        return self.entry is None and (self.tracked is None or self.sent.reply is Reply.REFUSED)

    @property
    def came_through(self) -> bool:
        """Whether it must have been let through somewhere to end as it did."""
        return self.entry is not None or self.sent.reply in (Reply.ANSWERED, Reply.REFUSED)

    @property
    def waited(self) -> bool:
        """Whether an answer was waited for in vain."""
        return self.sent.reply is Reply.SILENT

    @property
    def is_open(self) -> bool:
        """Whether nothing came back that says how it ended, of what was sent."""
        if self.sent.reply is Reply.UNKNOWN:
            return self.entry is None or not self.entry.replied
        return self.waited


@dataclass(frozen=True, slots=True)
class Round:
    """Flows of one path that were sent at the same time, and the crossing's counters before and after."""

    seen: tuple[Seen, ...]
    before: Counters
    after: Counters

    @property
    def admitted(self) -> int:
        """Packets of new flows that the crossing's rule let through, of all these flows together."""
        return self.after.admitted.packets - self.before.admitted.packets

    @property
    def translated(self) -> int:
        """New flows that the crossing's rule translated."""
        return self.after.translated.packets - self.before.translated.packets

    @property
    def fenced(self) -> int:
        return self.after.fenced.packets - self.before.fenced.packets

    @property
    def is_counted(self) -> bool:
        """Whether there was a rule of the crossing, before or after, that could have counted them."""
        return self.before.counts or self.after.counts

    @property
    def is_clear(self) -> bool:
        """Whether the counters say of each probe what they would say had it been sent alone.

        They do not where they counted too little, and where a flow without an answer, which is sent again
        and again, may have made up for one that was not counted.
        """
        if len({seen.sent.probe for seen in self.seen}) == 1:
            return True
        silent = any(seen.sent.reply is Reply.SILENT for seen in self.seen)
        return self._all_counted and not (silent and any(seen.only_counted for seen in self.seen))

    def let_pass(self, seen: Seen) -> bool:
        """Whether the crossing's rule counted this flow."""
        if self.admitted <= 0:
            return False
        if len(self.seen) == 1 or seen.entry is not None:
            return True
        if seen.sent.reply is Reply.SILENT:
            return seen.tracked is None
        return self._all_counted

    def may_have_admitted(self, seen: Seen) -> bool | None:
        """Whether it counted one that the gateway's connection tracking does not know; None where nobody can say.

        What others sent meanwhile is counted too.
        """
        if self.admitted <= 0:
            return False
        others = any(other.came_through for other in self.seen if other is not seen)
        return None if others else True

    def translates(self, seen: Seen) -> bool:
        """Whether the crossing's rule translated a flow that nobody has an entry of: each is counted once."""
        passed = sum(other.came_through for other in self.seen if other is not seen)
        return self.translated > passed

    @property
    def _all_counted(self) -> bool:
        """Whether there is a counted packet for each flow that must have passed to end as it did."""
        passed = [
            seen
            for seen in self.seen
            if seen.entry or seen.sent.reply in (Reply.ANSWERED, Reply.REFUSED, Reply.UNKNOWN)
        ]
        return self.admitted >= len(passed)
