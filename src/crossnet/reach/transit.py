"""What a host forwards of new flows that come in by an interface, whoever sends them.

It is judged against what its routes lead on: what the same host would forward if it had no rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from crossnet.facts import Facts
from crossnet.facts.routes import default_network
from crossnet.netfilter.foreign import Field
from crossnet.reach.asked import Asked, packets_of
from crossnet.reach.here import Here
from crossnet.reach.host import HostWalk
from crossnet.reach.packets import WITH_PORTS, Packets, Space, address_field
from crossnet.reach.rules import Effect
from crossnet.values import Family, Network

Ranges = tuple[tuple[int, int], ...]

# Of addresses, or of ports, in so many pieces a person reads no more.
MOST_RANGES = 64
_PORTS = 65536
_ENDS = (Field.SOURCE6, Field.DESTINATION6)
_TRAFFIC = (Field.PROTOCOL, Field.DESTINATION_PORT)


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What a host forwards from one interface to another: numbers of addresses, and of protocol * 65536 + port.

    None is what routes lead there, whatever it is. `exact` is whether all packets of these three pass, `certain`
    whether facts alone tell.
    """

    ingress: str
    egress: str
    sources: Ranges | None = None
    destinations: Ranges | None = None
    traffic: Ranges | None = None
    exact: bool = True
    certain: bool = True

    @property
    def is_all(self) -> bool:
        return self.exact and self.sources is self.destinations is self.traffic is None


def forwarded(
    facts: Facts, family: Family, ingresses: Iterable[str], told: Collection[tuple[Asked, str]] = ()
) -> Iterator[Forwarded]:
    """What passes from each of these interfaces to each other one, of all that anybody can send there.

    Without what is `told` already, packets and the interface by which they leave; but where everything passes, that
    is said of all of it.
    """
    everybody = default_network(family)
    space = Space()  # one for all: what the rules of a host ask is built once
    for ingress in ingresses:
        asked = Asked(facts.host, (everybody,), sources=(everybody,), ingress=ingress)
        led, passing = _walked(space, facts, asked)
        for egress, here in passing.items():
            if egress in (ingress, "lo") or not here.may.satisfiable():
                continue
            known = space.any_of(
                space.only(packets_of(space, each), *_ENDS, *_TRAFFIC)
                for each, leaving in told
                if (each.ingress, leaving) == (ingress, egress)
            )
            way, along_routes = (ingress, egress), led[egress].may if egress in led else space.none
            left = _Passing(here.may & ~known, here.surely & ~known)
            if not left.may.satisfiable():
                continue
            whole = _told(space, family, way, here, along_routes)
            yield whole if whole.is_all else _told(space, family, way, left, along_routes, known)


def open_from(facts: Facts, family: Family, senders: Mapping[str, Collection[Network]]) -> Iterator[str]:
    """The interfaces from which perhaps anything goes on that one of these networks sends there."""
    space = Space()
    for ingress, sources in senders.items():
        asked = Asked(facts.host, (default_network(family),), sources=tuple(sources), ingress=ingress)
        leaving = _leaving(replace(facts, neighbours=()), space, packets_of(space, asked), ingress)
        if any(each.may.satisfiable() for each in leaving.values()):
            yield ingress


def forwards(facts: Facts, asked: Asked, egress: str) -> tuple[bool | None, bool]:
    """Whether all packets that are asked, and that routes lead there, leave by an interface.

    False also where only some of them do; None where facts alone do not tell. And whether a rule translates some.
    """
    led, passing = _walked(Space(), facts, asked)
    meant, here = led.get(egress), passing.get(egress)
    if meant is None or here is None or (meant.may & ~here.may).satisfiable():
        return False, False
    return None if (meant.may & ~here.surely).satisfiable() else True, here.translated


def lacking(
    facts: Facts, other: Facts, asked: Asked, egress: str
) -> tuple[Forwarded, Forwarded | None] | None:
    """What of the packets that are asked leaves another host by an interface, and surely not this one; None: nothing.

    The other one is the same host with other rules. With it, where it is no product, comes the rest that this one may
    forward as well.
    """
    space = Space()
    _, here = _walked(space, facts, asked)
    _, there = _walked(space, other, asked)
    if (meant := there.get(egress)) is None:
        return None
    missing = meant.surely & ~here[egress].may if egress in here else meant.surely
    if not missing.satisfiable():
        return None
    family, way = Family(asked.destinations[0].version), (asked.ingress, egress)
    told = _told(space, family, way, _Passing(missing, missing), meant.may)
    if told.exact:
        return told, None
    rest = meant.may & ~missing
    return told, _told(space, family, way, _Passing(rest, rest), meant.may)


@dataclass(frozen=True, slots=True)
class _Passing:
    """Packets as they came, of which perhaps each, and surely some, leave by an interface."""

    may: Packets
    surely: Packets
    translated: bool = False


def _walked(space: Space, facts: Facts, asked: Asked) -> tuple[dict[str, _Passing], dict[str, _Passing]]:
    """What leaves by each interface: where there are no rules, and with all that there are.

    Whether a neighbour is up today is no matter of rules.
    """
    packets = packets_of(space, asked)
    facts = replace(facts, neighbours=())
    bare = replace(facts, firewall=replace(facts.firewall, foreign=()))
    return _leaving(bare, space, packets, asked.ingress), _leaving(facts, space, packets, asked.ingress)


def _leaving(facts: Facts, space: Space, packets: Packets, ingress: str) -> dict[str, _Passing]:
    walk = HostWalk(facts, space)
    outcome = walk.received(Here.of(packets), ingress)
    translated = any(each.effect is Effect.TRANSLATES for each in outcome.decisions)
    found: dict[str, _Passing] = {}
    for each in outcome.leaving:
        may, surely = (
            walk.tracking.first(part) for part in (each.here.may, each.here.may & each.here.surely)
        )
        known = found.get(each.interface, _Passing(space.none, space.none))
        surely = known.surely | (surely & ~outcome.stopped)
        found[each.interface] = _Passing(known.may | may, surely, translated)
    return found


def _told(
    space: Space,
    family: Family,
    way: tuple[str, str],
    here: _Passing,
    led: Packets,
    known: Packets | None = None,
) -> Forwarded:
    """What passes in three bounds; what is `known` to pass besides leaves them exact."""
    source, destination = (address_field(each, family) for each in _ENDS)
    parts = [*((each,) for each in _ENDS), _TRAFFIC]
    bounds = [space.only(here.may, *fields) for fields in parts]
    narrower = [bound != space.only(led, *fields) for bound, fields in zip(bounds, parts, strict=True)]
    passing = here.may if known is None else here.may | known
    exact = not (space.every(bounds) & (led | here.may) & ~passing).satisfiable()
    certain = here.may == here.surely
    sources = space.ranges_of(here.may, source, MOST_RANGES) if narrower[0] else None
    destinations = space.ranges_of(here.may, destination, MOST_RANGES) if narrower[1] else None
    traffic = tuple(traffic_of(space, here.may)) if narrower[2] else None
    if any(len(each) > MOST_RANGES for each in (sources, destinations, traffic) if each is not None):
        return Forwarded(*way, exact=False, certain=certain)
    return Forwarded(*way, sources, destinations, traffic, exact, certain)


def traffic_of(space: Space, packets: Packets) -> Iterator[tuple[int, int]]:
    """The protocols of packets and the ports that they go to, as numbers of protocol * 65536 + port."""
    for first, last in space.ranges_of(packets, Field.PROTOCOL, MOST_RANGES):
        for number in range(first, last + 1):
            ports: Ranges = ((0, _PORTS - 1),)
            if number in WITH_PORTS:
                of_it = packets & space.value(Field.PROTOCOL, number)
                ports = space.ranges_of(of_it, Field.DESTINATION_PORT, MOST_RANGES)
            yield from ((number * _PORTS + low, number * _PORTS + high) for low, high in ports)
