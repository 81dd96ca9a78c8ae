"""What is known of the packets at one point of their way, and of a test: bounds, for three answers there are.

`may` are the packets that perhaps come there; `fixed` those that would if everything that stopped some before were
taken away, and `surely` the part of them of which that is certain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crossnet.reach.packets import Packets


@dataclass(frozen=True, slots=True)
class Here:
    """The packets at one point of their way, bounded; `may` and `surely` are parts of `fixed`."""

    may: Packets
    fixed: Packets
    surely: Packets

    @classmethod
    def of(cls, packets: Packets) -> Here:
        return cls(packets, packets, packets)

    def __bool__(self) -> bool:
        return self.fixed.satisfiable()

    def through(self, change: Callable[[Packets], Packets]) -> Here:
        """What becomes of them when all are changed."""
        fixed = change(self.fixed)
        may = fixed if self.may == self.fixed else change(self.may)
        surely = fixed if self.surely == self.fixed else change(self.surely)
        return Here(may, fixed, surely)

    def passing(self, test: Answer) -> Here:
        if test.must == test.can:
            return self.through(lambda packets: packets & test.can)
        return Here(self.may & test.can, self.fixed & test.can, self.surely & test.must)

    def failing(self, test: Answer) -> Here:
        if test.must == test.can:
            return self.through(lambda packets: packets & ~test.can)
        return Here(self.may & ~test.must, self.fixed & ~test.must, self.surely & ~test.can)

    def perhaps(self) -> Here:
        """The same, of which none comes for certain."""
        return Here(self.may, self.fixed, self.surely & ~self.surely)

    def either(self, other: Here) -> Here:
        """These or those, and nobody can say which."""
        return Here(self.may | other.may, self.fixed | other.fixed, self.surely & other.surely)

    def joined(self, other: Here) -> Here:
        if other.fixed == self.fixed and other.may == self.may and other.surely == self.surely:
            return self
        return Here(self.may | other.may, self.fixed | other.fixed, self.surely | other.surely)


@dataclass(frozen=True, slots=True)
class Answer:
    """Of which packets a test holds: of `must` for certain, of none but `can`."""

    must: Packets
    can: Packets

    @classmethod
    def sure(cls, packets: Packets) -> Answer:
        """Of exactly these it holds."""
        return cls(packets, packets)
