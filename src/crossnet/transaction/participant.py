"""Who takes part in a transaction: each host, and whatever else changes something for one.

A host puts itself back when nobody confirms; `agent` is what it is told. What has no guard of its own, because it is
changed through a service far away, has a keeper: the host for which it is changed. It journals there before it does
anything, and comes to its end before the keeper forgets the transaction. Whoever finds the transaction on the keeper
makes it anew, by what the keeper's journal says of it, and ends it by its own journal there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from crossnet.errors import CrossnetError, HostError
from crossnet.facts import Facts
from crossnet.planning import HostPlan
from crossnet.resources import Change
from crossnet.spec import Spec
from crossnet.transaction.journal import CONFIRM, ROLLBACK, Journal


class Gone(CrossnetError):
    """It is decided already: `decision` is what, or nothing where the transaction is not known any more."""

    def __init__(self, name: str, transaction: str, decision: str) -> None:
        self.name, self.decision = name, decision
        ended = {
            ROLLBACK: "is rolled back on the host",
            CONFIRM: "is confirmed on the host",
        }.get(decision, "is over on the host: somebody ended it, or nobody confirmed it in time")
        super().__init__(f"{name}: transaction {transaction} {ended}")


class Refused(HostError):
    """It was reached and could not do it: asking again does not help."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one participant has to do: `live` before the confirmation, `persistent` after it.

    `host` is the plan of the host, or of the keeper. `stops` are the numbers up to which it will be asked to change,
    each after others have done something.
    """

    journal: Journal
    host: HostPlan
    live: tuple[Change, ...]
    persistent: tuple[Change, ...]
    stops: tuple[int, ...] = ()


class Participant(ABC):
    """One that takes part; each of these may be asked twice, because an answer may be lost.

    Whatever cannot be reached or asked is a HostError, and asked again while there is time; CommandFailed and Refused
    are not.
    """

    keeper: str = ""  # the host on which it journals; nothing where it is one

    @property
    @abstractmethod
    def name(self) -> str:
        """As errors and progress call it."""

    @abstractmethod
    async def stage(self, part: Part) -> bool:
        """Take part, journal what is to be done, and change nothing.

        True where timers were started to see whether they go off without a connection.
        """

    @abstractmethod
    async def arm(self, seconds: int, *, unproved: bool) -> tuple[str, ...]:
        """Start what puts it back after so long; the names of these timers, none where it has none."""

    @abstractmethod
    async def change(self, upto: int, timeout: float) -> None:
        """Make the live changes up to that number, counted from 1; CommandFailed where one cannot be made."""

    async def check(self) -> None:
        """Have its own programs try what is made only after the confirmation; Refused where one says no."""
        return

    @abstractmethod
    async def extend(self, seconds: int, verified: bytes = b"") -> None:
        """Give the timers so long from now; `verified` is kept for whoever confirms it."""

    @abstractmethod
    async def confirm(self) -> None:
        """Decide that it holds; Gone where it was decided otherwise."""

    @abstractmethod
    async def finish(self, verified: bytes = b"") -> tuple[str, ...]:
        """Make the persistent changes and forget the transaction; what could not be made."""

    @abstractmethod
    async def roll_back(self, why: str = "") -> tuple[str, ...]:
        """Put back what was begun and forget the transaction; what is not as it was. Gone where it is confirmed."""

    @abstractmethod
    async def left(self) -> int:
        """The seconds until it puts itself back; Gone where it is decided."""

    @abstractmethod
    async def ended(self) -> str:
        """What was decided of a transaction that it holds no more; nothing where it had changed nothing."""

    async def why(self) -> str:
        """Why it was put back, by its own word; nothing where it does not tell."""
        return ""

    def found_with(self, spec: Spec, facts: Mapping[str, Facts]) -> Participant:
        """Itself, as whoever finds it by its keeper's journal has it: that is believed no further than these go."""
        return self

    async def reconnect(self) -> None:
        """End what stands between here and it: whoever asks next is connected anew."""
        return
