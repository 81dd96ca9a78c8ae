"""Addresses that a host knows on its links, from `ip neigh`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crossnet.facts.iproute import Words, words
from crossnet.facts.question import Question
from crossnet.values import Address, address

# ip-neighbour(8), and `NONE` of ipneigh.c.
_STATES = frozenset(
    ("PERMANENT", "NOARP", "REACHABLE", "STALE", "NONE", "INCOMPLETE", "DELAY", "PROBE", "FAILED")
)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What a host knows of an address on a link; `hardware` is its MAC, nothing where it is not known.

    `state` is that of ip-neighbour(8), in capitals: PERMANENT, NOARP, REACHABLE, STALE, DELAY, PROBE, INCOMPLETE,
    FAILED or NONE.
    """

    address: Address
    device: str
    state: str
    hardware: str = ""

    @property
    def answered(self) -> bool:
        """Whether it answered lately, or was entered by hand."""
        return bool(self.hardware) and self.state not in ("FAILED", "INCOMPLETE")


def parse_neighbours(answer: str) -> tuple[Neighbour, ...]:
    """`10.0.44.1 dev eth0 lladdr 02:00:00:00:02:00 REACHABLE`; the words in between are many, and of no account."""
    found = []
    for line in filter(None, answer.split("\n")):
        said = Words(words(line))
        known, device, hardware, state = address(said.next()), "", "", "NONE"
        while said:
            match word := said.next():
                case "dev":
                    device = said.next()
                case "lladdr":
                    hardware = said.next()
                case _ if word in _STATES:
                    state = word
        found.append(Neighbour(known, device, state, hardware))
    return tuple(found)


def heard_of(neighbours: Iterable[Neighbour]) -> tuple[Address, ...]:
    """The addresses that answered lately; failed and incomplete ones are left out."""
    return tuple(neighbour.address for neighbour in neighbours if neighbour.answered)


NEIGHBOURS = Question("ran `ip neigh`", ("ip", "neigh"), parse_neighbours)
