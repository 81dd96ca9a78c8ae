"""Sets of flows as an operator means them: from whom, by which interfaces, to where, and which traffic.

A crossing is a product of its clients, its destinations and its traffic. Each of the three is a `Span`, so what two
sides have in common, and what only one of them has, is found exactly, and is again a few products.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

from crossnet.values import Family, Network, Ports, Protocol, Traffic

# Each protocol has as many numbers as there are ports, so that all traffic is one range.
_PORTS = 65536
_PROTOCOLS = 256
# IANA, Assigned Internet Protocol Numbers.
_NUMBERS = {Protocol.TCP: 6, Protocol.UDP: 17}
_ICMP = {Family.V4: 1, Family.V6: 58}


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers as ranges, both ends included: sorted, apart from each other, and never neighbours."""

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> Span:
        found: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if found and first <= found[-1][1] + 1:
                found[-1] = found[-1][0], max(found[-1][1], last)
            else:
                found.append((first, last))
        return cls(tuple(found))

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __or__(self, other: Span) -> Span:
        return Span.of((*self.ranges, *other.ranges))

    def __and__(self, other: Span) -> Span:
        return Span(tuple(_common(self.ranges, other.ranges)))

    def __sub__(self, other: Span) -> Span:
        return Span(tuple(_without(self.ranges, other.ranges)))

    def holds(self, first: int, last: int) -> bool:
        """Whether all numbers from one to another are among them."""
        place = bisect_right(self.ranges, (first, last)) - 1
        near = self.ranges[max(place, 0) : place + 2]
        return any(low <= first and last <= high for low, high in near)


def _common(some: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    one = other = 0
    while one < len(some) and other < len(others):
        first, last = max(some[one][0], others[other][0]), min(some[one][1], others[other][1])
        if first <= last:
            yield first, last
        if some[one][1] < others[other][1]:
            one += 1
        else:
            other += 1


def _without(some: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    place = 0
    for first, last in some:
        while place < len(others) and others[place][1] < first:
            place += 1
        here = place
        while here < len(others) and others[here][0] <= last:
            if others[here][0] > first:
                yield first, others[here][0] - 1
            first = max(first, others[here][1] + 1)
            here += 1
        if first <= last:
            yield first, last


# ---- addresses -----------------------------------------------------------------------------------


def addresses(networks: Iterable[Network]) -> Span:
    """All addresses of networks, of one family."""
    return Span.of((int(each.network_address), int(each.broadcast_address)) for each in networks)


def networks(span: Span, family: Family) -> tuple[Network, ...]:
    """The fewest networks that hold exactly these addresses."""
    if family is Family.V4:
        pairs4 = ((IPv4Address(first), IPv4Address(last)) for first, last in span.ranges)
        return tuple(each for first, last in pairs4 for each in summarize_address_range(first, last))
    pairs6 = ((IPv6Address(first), IPv6Address(last)) for first, last in span.ranges)
    return tuple(each for first, last in pairs6 for each in summarize_address_range(first, last))


# ---- traffic -------------------------------------------------------------------------------------

ANY = Span(((0, _PROTOCOLS * _PORTS - 1),))


def of_protocol(number: int, ports: Iterable[Ports] | None = None) -> Span:
    """All traffic of a protocol, or that to these ports."""
    begin = number * _PORTS
    if ports is None:
        return Span(((begin, begin + _PORTS - 1),))
    return Span.of((begin + each.first, begin + each.last) for each in ports)


def as_allow(span: Span, family: Family) -> tuple[Traffic, ...] | None:
    """As a spec would allow it; None where it is more than a spec can name, as any traffic is."""
    left, found = span, []
    for protocol, number in ((Protocol.ICMP, _ICMP[family]), *_NUMBERS.items()):
        whole = of_protocol(number)
        for first, last in (span & whole).ranges:
            low, high = first - number * _PORTS, last - number * _PORTS
            if (low, high) == (0, _PORTS - 1):
                found.append(Traffic(protocol))
            elif high and protocol is not Protocol.ICMP:  # nobody can ask for port 0
                found.append(Traffic(protocol, Ports(max(low, 1), high)))
        left -= whole
    return None if left or not found else tuple(found)


def traffic_words(span: Span, family: Family) -> str:
    """In the words of `allow`: `any traffic`, `icmp, tcp/443`, `any traffic but tcp/443`."""
    if span == ANY:
        return "any traffic"
    rest = ANY - span
    if len(rest.ranges) <= len(span.ranges) and (others := _named(rest, family)):
        return f"any traffic but {', '.join(others)}"
    return ", ".join(_named(span, family) or ("some traffic",))


def _named(span: Span, family: Family) -> list[str]:
    """What a spec would call it; nothing where there is more of it than a spec can name."""
    names = {_ICMP[family]: "icmp", 6: "tcp", 17: "udp"}
    found: list[str] = []
    for first, last in span.ranges:
        for number in range(first // _PORTS, last // _PORTS + 1):
            if len(found) > 64:
                return []
            begin = number * _PORTS
            low, high = max(first, begin) - begin, min(last, begin + _PORTS - 1) - begin
            name = names.get(number, f"protocol {number}")
            if (low, high) == (0, _PORTS - 1):
                found.append(name)
            else:
                found.append(f"{name}/{low}" if low == high else f"{name}/{low}-{high}")
    return sorted(found, key=lambda name: name != "icmp")


# ---- flows ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flows:
    """New connections that a gateway forwards from any of the sources to any of the destinations.

    `crossing` is what lets them pass, nothing where the gateway forwards for everybody; `seen_as` whom the destinations
    see as their source, nothing where it is the client itself.
    """

    gateway: str
    family: Family
    ingress: str
    egress: str
    sources: Span
    destinations: Span
    traffic: Span
    crossing: str = ""
    seen_as: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sources and self.destinations and self.traffic)

    @property
    def way(self) -> tuple[str, Family, str, str]:
        return self.gateway, self.family, self.ingress, self.egress

    def both(self, other: Flows) -> Flows:
        """Those of these that are among the others too."""
        if self.way != other.way:
            return replace(self, sources=Span())
        return replace(
            self,
            sources=self.sources & other.sources,
            destinations=self.destinations & other.destinations,
            traffic=self.traffic & other.traffic,
        )

    def without(self, other: Flows) -> tuple[Flows, ...]:
        """Those of these that are not among the others."""
        common = self.both(other)
        if not common:
            return (self,)
        parts = (
            replace(self, sources=self.sources - other.sources),
            replace(self, sources=common.sources, destinations=self.destinations - other.destinations),
            replace(common, traffic=self.traffic - other.traffic),
        )
        return tuple(part for part in parts if part)


def difference(some: Iterable[Flows], others: Iterable[Flows]) -> tuple[Flows, ...]:
    """The flows of the first that none of the others has."""
    left = tuple(some)
    for other in others:
        left = tuple(part for each in left for part in each.without(other))
    return left


def merged(flows: Iterable[Flows]) -> tuple[Flows, ...]:
    """The same flows in fewer products: those that differ in one of the three only are one."""
    left = list(dict.fromkeys(flows))
    while True:
        joined: list[Flows] = []
        for each in left:
            at = next((n for n, one in enumerate(joined) if _differ_in_one(one, each)), None)
            if at is None:
                joined.append(each)
            else:
                one = joined[at]
                joined[at] = replace(
                    one,
                    sources=one.sources | each.sources,
                    destinations=one.destinations | each.destinations,
                    traffic=one.traffic | each.traffic,
                )
        if len(joined) == len(left):
            return tuple(joined)
        left = joined


def _differ_in_one(one: Flows, other: Flows) -> bool:
    if (one.way, one.crossing, one.seen_as) != (other.way, other.crossing, other.seen_as):
        return False
    same = (
        one.sources == other.sources,
        one.destinations == other.destinations,
        one.traffic == other.traffic,
    )
    return sum(same) >= 2


class Effect(StrEnum):
    OPENS = "opens"
    CLOSES = "closes"
    STAYS = "stays"


@dataclass(frozen=True, slots=True)
class FlowChange:
    """Flows through a gateway that a plan opens, closes or leaves, in words.

    `crossing` is by which they pass, nothing where the gateway forwards them for everybody; `clients` and `to` are then
    empty where it is anybody, and anything. `seen_as` is whom the destinations see, nothing where it is the client
    itself; `by_others` whether rules of others decide that for some of them. Of flows that stay, `was` is under which
    name and `seen_before` as whom they passed until now. `exact` is whether it is all flows of these clients,
    destinations and this traffic; `certain` whether facts alone tell. Between two ports of a bridge, `ingress` and
    `egress` are the bridge.
    """

    effect: Effect
    gateway: str
    family: Family
    ingress: str
    egress: str
    clients: tuple[str, ...]
    to: tuple[str, ...]
    traffic: str
    crossing: str = ""
    seen_as: tuple[str, ...] = ()
    was: str = ""
    seen_before: tuple[str, ...] = ()
    by_others: bool = False
    exact: bool = True
    certain: bool = True

    @property
    def is_as_before(self) -> bool:
        """Whether nothing about these flows changes."""
        before = self.was, self.seen_before
        return self.effect is Effect.STAYS and before == (self.crossing, self.seen_as)
