"""One timeline over several hosts: clocks aligned by what was exchanged, a packet followed through translation."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from crossnet.capture.frames import Kind
from crossnet.capture.packet import Packet
from crossnet.capture.sighting import Sighting

# Bytes of data that are there whatever stood before them in the 128 bytes that are captured: a link header of up to 20,
# headers of IPv6 and ICMP, and where it is quoted both again.
_BEGIN, _BEGIN_QUOTED = 60, 12

_ARRIVED = (Kind.RECEIVED, Kind.BROADCAST, Kind.MULTICAST)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Sightings in the order in which they happened.

    `offsets` are the seconds by which each host's clock is ahead of that of the first one; `unaligned` the hosts of
    which that could not be told, because no packet was seen to go there and none to come back.
    """

    sightings: tuple[Sighting, ...]
    offsets: Mapping[str, float]
    unaligned: tuple[str, ...] = ()

    def time(self, sighting: Sighting) -> float:
        """When it was seen, in seconds since 1970 by the clock of the first host."""
        return sighting.time - self.offsets.get(sighting.host, 0.0)

    def since(self, sighting: Sighting) -> float:
        """The seconds since the first sighting of all."""
        return self.time(sighting) - self.time(self.sightings[0])


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Between what one clock is ahead of another; None where nothing bounds it on that side."""

    least: float | None
    most: float | None

    @property
    def is_known(self) -> bool:
        """Whether packets went both ways, and the two agree."""
        return self.least is not None and self.most is not None and self.least <= self.most

    @property
    def width(self) -> float:
        return self.most - self.least if self.least is not None and self.most is not None else inf

    @property
    def likeliest(self) -> float:
        """The middle, as NTP takes it (RFC 5905, 8); with one bound alone as near to nothing as it permits."""
        if self.least is not None and self.most is not None:
            return (self.least + self.most) / 2
        if self.most is not None:
            return min(self.most, 0.0)
        return max(self.least or 0.0, 0.0)


def timeline(sightings: Iterable[Sighting]) -> Timeline:
    """The sightings of all hosts in order.

    A packet is never received before it was sent. One that went from X to Y says the most by which Y's clock can be
    ahead of X's without that, one that came back the least.
    """
    seen = tuple(sightings)
    hosts = tuple(dict.fromkeys(one.host for one in seen))
    offsets, known = _offsets(hosts, _crossed(seen))
    ordered = tuple(sorted(seen, key=lambda one: one.time - offsets[one.host]))
    return Timeline(ordered, offsets, tuple(host for host in hosts if host not in known))


def _crossed(sightings: Sequence[Sighting]) -> dict[tuple[str, str], float]:
    """For each way from one host to another: the least by which a packet arrived later than it was sent.

    Of a packet that was sent again only the first copies are compared: none can have arrived before the first was sent.
    """
    sent: dict[Hashable, dict[str, float]] = {}
    arrived: dict[Hashable, dict[str, float]] = {}
    for one in sightings:
        if (key := identity(one.packet)) is not None and (one.kind is Kind.SENT or one.kind in _ARRIVED):
            first = (sent if one.kind is Kind.SENT else arrived).setdefault(key, {})
            first[one.host] = min(one.time, first.get(one.host, one.time))
    least: dict[tuple[str, str], float] = {}
    for key, senders in sent.items():
        for sender, begin in senders.items():
            for receiver, end in arrived.get(key, {}).items():
                if receiver != sender:
                    way = sender, receiver
                    least[way] = min(end - begin, least.get(way, end - begin))
    return least


def _offsets(
    hosts: Sequence[str], crossed: Mapping[tuple[str, str], float]
) -> tuple[dict[str, float], set[str]]:
    """By how much each clock is ahead of the first host's, and the hosts of which that is known.

    From host to host, each over the one that tells it best.
    """
    offsets = dict.fromkeys(hosts[:1], 0.0)
    known = set(hosts[:1])
    while left := [host for host in hosts if host not in offsets]:
        pairs = [(here, there) for here in offsets for there in left]
        bounds = {(here, there): _bounds(crossed, here, there) for here, there in pairs}
        is_known = {pair: bounds[pair].is_known and pair[0] in known for pair in pairs}
        here, there = min(pairs, key=lambda pair: (not is_known[pair], bounds[pair].width))
        offsets[there] = offsets[here] + bounds[here, there].likeliest
        if is_known[here, there]:
            known.add(there)
    return offsets, known


def _bounds(crossed: Mapping[tuple[str, str], float], here: str, there: str) -> _Bounds:
    back = crossed.get((there, here))
    return _Bounds(None if back is None else -back, crossed.get((here, there)))


# ---- the same packet elsewhere -------------------------------------------------------------------------


def identity(packet: Packet, begin: int = _BEGIN) -> Hashable:
    """What of a packet stays as it is while routers pass it on and translate its addresses, ports and echo's ident.

    None where nothing in it tells it from others. Of its data the first `begin` bytes count: behind them one host may
    have captured more than another.
    """
    data = packet.payload[:begin]
    if packet.is_neighbour:
        return packet.protocol, packet.asks, packet.tells, packet.source, packet.mac
    if packet.fragment:
        return packet.protocol, packet.fragment, packet.identification, data
    if packet.protocol == "tcp" and packet.sequence is not None:
        return "tcp", packet.sequence, packet.acknowledgement, packet.flags, packet.length
    if packet.is_echo_request or packet.is_echo_reply:
        return "echo", packet.icmp_type, packet.sequence, packet.length, data
    if packet.is_error and packet.quoted is not None:
        about = identity(packet.quoted, _BEGIN_QUOTED)
        return None if about is None else ("error", packet.icmp_type, packet.icmp_code, about)
    if packet.protocol == "udp":
        return "udp", packet.length, data
    return None


def follow(sightings: Iterable[Sighting], packet: Packet) -> tuple[Sighting, ...]:
    """Where a packet was seen, whatever its addresses were there; one that is sent again unchanged is the same."""
    meant = identity(packet)
    if meant is None:
        return ()
    return tuple(one for one in sightings if identity(one.packet) == meant)


def translation(before: Packet, after: Packet) -> str | None:
    """`10.0.43.15 → 10.0.44.63`: which ends of a packet are others than before; None where all are the same."""
    changed = [
        f"{was} → {now}"
        for was, now in zip(before.ends, after.ends, strict=True)
        if was is not None and was != now
    ]
    return ", ".join(changed) or None
