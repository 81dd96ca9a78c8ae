"""What became of the probes of one flow, and what hosts were found to do to it, as far as it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from crossnet.diagnosis.drop_events import Dropped
from crossnet.diagnosis.drops import Untold
from crossnet.diagnosis.segments import Asked
from crossnet.diagnosis.snapshot import Snapshot
from crossnet.diagnosis.tracing import Traced
from crossnet.facts.lookups import Answered, Lookup
from crossnet.values import Probe, Protocol
from crossnet.verification.probe import Reply, Sending, Sent, sent

if TYPE_CHECKING:  # sets of packets are slow to import
    from crossnet.diagnosis.foretold import Foretold


class Outcome:
    """What became of the probes so far, and what was asked further; who does not wait gets what is in it by then.

    `before` is the snapshot of the hosts that was taken when nothing had been sent.
    """

    def __init__(
        self,
        foretold: Foretold,
        probe: Probe,
        tasks: Sequence[tuple[str, str, str]],
        sending: Sending,
        before: Snapshot,
    ) -> None:
        self.foretold = foretold
        self.before = self.after = before
        self._probe, self._tasks, self._sending = probe, tasks, sending
        self.interrupted = False
        self.small: tuple[Sent, ...] = ()
        self.full: dict[int, Sent] = {}
        self.beside: tuple[Sent, ...] = ()
        self.further: tuple[Sent, ...] = ()  # connections that were tried afterwards
        self.sizes: dict[int, Sent] = {}  # those that were tried afterwards
        self.of_large: Foretold | None = None  # what facts say of full-sized packets, where those vanish
        self.unheard = False  # whether the client did not take what it was told of the path's MTU
        self.lookups: Mapping[str, Mapping[Lookup, Answered | None]] = {}
        self.neighbours: Asked | None = None  # what they have seen of each other
        self.traced: Traced | None = None
        self.dropped: Dropped | None = None
        self.untold: Untold | None = None
        self.fits = False  # whether what TCP would send fits, though a full-sized echo does not
        self.read()

    def read(self) -> None:
        host, probe = self._sending.host.name, self._probe
        small: list[Sent] = []
        beside: list[Sent] = []
        full: dict[int, Sent] = {}
        echo = Probe(Protocol.ICMP, probe.destination)
        for number, (kind, _, word) in enumerate(self._tasks):
            asked = probe if kind not in ("echo_of", "sized", "whole") else echo
            answer = self._sending.ended.get(number)
            if answer is None and kind == "whole" and self.interrupted:
                continue  # that it has not come so far says nothing
            if answer is not None:
                became = sent(host, asked, *answer)
            elif self._sending.failed:
                became = Sent(asked, Reply.NO_TOOL, self._sending.failed)
            else:
                became = Sent(asked, Reply.SILENT)
            if kind == "whole":
                full[int(word)] = became
            elif asked == probe:
                small.append(became)
            else:
                beside.append(became)
        self.small, self.beside = tuple(small), (*beside, *self.further)
        self.full = {} if self.fits else {**full, **self.sizes}

    @property
    def small_answered(self) -> bool:
        good = (Reply.ANSWERED, Reply.REFUSED)
        return bool(self.small) and all(each.reply in good for each in self.small)

    @property
    def some_answered(self) -> bool:
        return any(each.reply is Reply.ANSWERED for each in self.small)

    @property
    def full_answered(self) -> bool:
        return all(each.reply is Reply.ANSWERED for each in self.full.values())

    @property
    def all_answered(self) -> bool:
        return bool(self.small) and all(each.reply is Reply.ANSWERED for each in self.small)

    @property
    def echoes_pass(self) -> bool:
        """Whether small echoes are answered: else large ones say nothing."""
        echoes = [each for each in (*self.small, *self.beside) if each.probe.protocol is Protocol.ICMP]
        return any(each.reply is Reply.ANSWERED for each in echoes)
