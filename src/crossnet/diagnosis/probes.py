"""Which probes are sent of a flow, and by which sizes they are known among all other packets."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crossnet.capture import Filter
from crossnet.diagnosis.segments import SIZES
from crossnet.facts.links import Link
from crossnet.values import Family, Probe, Protocol, family_of

# How many probes of the kind that is asked for: some rules drop every second one.
PROBES = 5

# Bytes of data in an echo that hardly anybody else sends.
_UNUSUAL = range(97, 480)

# How often probes are sent when a host is asked what it does to them, and how many at once.
_REPEATED, _AT_ONCE = 3, 2

# Of those about which a host is asked: none fills the smallest link.
_ASKED = range(97, 510)
_FRAME = 14 + 4  # bytes of Ethernet and a VLAN, which a kernel may count too

# Sizes of IP packets that are tried where full-sized ones vanish: usual limits of tunnels and links.
LADDER = (1480, 1476, 1460, 1454, 1450, 1442, 1420, 1400, 1380, 1360, 1340, 1300, 1280, 1200, 1000, 576)

# Whoever watches has to know before it is known what fits the client's own link: 9000 is the usual jumbo frame, and
# 8950, 8500 and 4000 are what clouds and tunnels leave of it.
_SIZES = (9000, 8950, 8500, 4000, 1500, *LADDER)

Task = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Probes:
    """What is sent of a flow; sizes are bytes of data in echoes, but `size`, which forces one size of IP packets.

    `small` are those that are sent at first, `again` those that are sent when a host is asked what it does to them,
    `near` are for neighbours that ask each other.
    """

    probe: Probe
    size: int | None
    small: tuple[int, ...]
    again: tuple[int, ...]
    near: tuple[int, ...]

    @property
    def is_v6(self) -> bool:
        return family_of(self.probe.destination) is Family.V6

    @property
    def heads(self) -> int:
        """The bytes before the data of an echo."""
        return heads(self.probe)

    def wanted(self) -> Filter:
        """Neighbours, errors, echoes of our own sizes, and what else is asked about."""
        echoes = (*self.small, *self.near, *self.again, *(each - self.heads for each in sorted(_SIZES)))
        if self.probe.protocol is Protocol.ICMP:
            return Filter((self.probe.destination,), Protocol.ICMP, echoes=echoes)
        return Filter((self.probe.destination,), self.probe.protocol, self.probe.port, echoes)

    def full(self, link: Link | None) -> tuple[int, ...]:
        """The data of an echo that fills a packet of the client's own link, as far as that is watched for."""
        fitting = [each for each in _SIZES if link is not None and each <= link.mtu]
        if self.size is not None or not fitting:
            return ()
        return (max(fitting) - self.heads,)

    def tasks(self, full: tuple[int, ...]) -> list[Task]:
        """What the client is told to send."""
        echoes = [self._echo(size) for size in self.small]
        large = [("whole", str(self.probe.destination), str(size)) for size in full]
        if self.probe.protocol is Protocol.ICMP:
            return [*echoes, *large]
        return [*[self._asked()] * 3, echoes[0], *large]

    def rounds(self) -> Iterator[tuple[int, ...]]:
        """The sizes that it sends at once, one after the other, when a host is asked what it does to them."""
        for begin in range(0, len(self.again), _AT_ONCE):
            yield self.again[begin : begin + _AT_ONCE]

    def repeated(self, sizes: Sequence[int]) -> list[Task]:
        """What it is told to send in such a round."""
        echoes = [self._echo(size) for size in sizes]
        return echoes if self.probe.protocol is Protocol.ICMP else [self._asked(), *echoes]

    def _echo(self, size: int) -> Task:
        kind = "echo_of" if self.size is None else "sized"
        return kind, str(self.probe.destination), str(size)

    def _asked(self) -> Task:
        return str(self.probe.protocol), str(self.probe.destination), str(self.probe.port)


def heads(probe: Probe) -> int:
    """The bytes of an IP packet before the data of an echo."""
    return 48 if family_of(probe.destination) is Family.V6 else 28


def probes_of(probe: Probe, size: int | None) -> Probes:
    """Probes of sizes that nobody else uses at the time, or of the one that is forced."""
    first, repeated = secrets.choice(_UNUSUAL), _REPEATED * _AT_ONCE
    near = tuple(first + PROBES + number for number in range(SIZES))
    if size is not None:
        forced = max(size - heads(probe), 0)
        return Probes(probe, size, (forced,), (forced,) * repeated, near)
    small = tuple(first + number for number in range(PROBES))
    taken = range(first - _FRAME, first + PROBES + SIZES + _FRAME)
    again = _scattered([each for each in _ASKED if each not in taken], repeated)
    return Probes(probe, size, small, again, near)


def _scattered(sizes: Sequence[int], number: int) -> tuple[int, ...]:
    """So many of them by chance, each more than a frame's head apart from all others."""
    chance = secrets.SystemRandom()
    places = sorted(chance.sample(range(len(sizes) - (number - 1) * _FRAME), number))
    return tuple(chance.sample([sizes[place + rank * _FRAME] for rank, place in enumerate(places)], number))
