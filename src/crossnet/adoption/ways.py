"""The ways that clients go over gateways today, from what their hosts say.

A way begins with a route of a client to an address of a gateway. What of the client's packets goes on from there, to
whom and as whom, is walked with the rules that the gateway has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import summarize_address_range

from crossnet.adoption.taking import Between, place_of
from crossnet.diagnosis.translating import Translating, translating_rules
from crossnet.errors import CrossnetError
from crossnet.facts import Facts
from crossnet.facts.links import Link
from crossnet.facts.routes import MAIN, Route
from crossnet.netfilter.foreign import Field, Translation
from crossnet.reach.asked import Asked, packets_of
from crossnet.reach.here import Here
from crossnet.reach.host import HostWalk, Outcome
from crossnet.reach.packets import ICMP, ICMP6, TCP, UDP, Packets, Space, address_field
from crossnet.reach.rules import Effect
from crossnet.reach.transit import MOST_RANGES, Ranges, traffic_of
from crossnet.record import read_record
from crossnet.resources import RouteResource
from crossnet.several import few, joined
from crossnet.spec import SnatTo, Translate
from crossnet.translation import Masquerade, Untranslated
from crossnet.values import (
    Address,
    Family,
    Network,
    Ports,
    Protocol,
    Traffic,
    contains,
    family_of,
    host_network,
    show_network,
    together,
)

_PORTS = 65536
_PROTOCOLS = {ICMP: Protocol.ICMP, ICMP6: Protocol.ICMP, TCP: Protocol.TCP, UDP: Protocol.UDP}
_MOST = 4  # that a sentence names


@dataclass(frozen=True, slots=True)
class Way:
    """What clients reach over a gateway, by which of its interfaces, and as whom; all of one family.

    `rules` are those of the gateway that translate it. `allow` is None where all traffic passes.
    """

    clients: tuple[str, ...]
    sources: tuple[Address, ...]  # in the order of the clients
    gateway: str
    next_hop: Address
    ingress: str
    egress: str
    to: tuple[Network, ...]
    allow: tuple[Traffic, ...] | None
    translate: Translate
    rules: tuple[Translating, ...] = field(compare=False, repr=False)
    default_routes: tuple[str, ...] = ()  # of clients, where one is the way

    @property
    def family(self) -> Family:
        return family_of(self.next_hop)

    @property
    def between(self) -> Between:
        return Between(self.family, self.sources, self.ingress, self.egress)


def ways(
    clients: Sequence[str], gateways: Sequence[str], facts: Mapping[str, Facts], to: Sequence[Network] = ()
) -> tuple[Way, ...]:
    """All ways from these clients over these gateways, or only those to these networks; CrossnetError where none is."""
    found = [
        way
        for client in clients
        for gateway in gateways
        for way in _between(facts[client], facts[gateway], to)
    ]
    for way in found:
        _refuse_carried(way, facts[way.gateway])
    without = [client for client in clients if not any(client in way.clients for way in found)]
    if without:
        raise CrossnetError(
            "\n".join(_no_way(facts[client], [facts[name] for name in gateways], to) for client in without)
        )
    return tuple(_together(found))


def _between(client: Facts, gateway: Facts, to: Sequence[Network]) -> Iterator[Way]:
    for next_hop in dict.fromkeys(route.via for route in _routes(client, gateway)):
        if next_hop is None:
            continue
        routes = [route for route in _routes(client, gateway) if route.via == next_hop]
        asked = [route.destination for route in routes]
        if to:
            asked = [each for each in to if any(contains(route, each) for route in asked)]
        ingress, source = gateway.owner_of(next_hop), _source(client, routes[0], next_hop)
        if asked and ingress is not None and source is not None:
            default = next((route for route in routes if route.destination.prefixlen == 0), None)
            walked = _Walked(gateway, ingress, source, asked)
            for egress in walked.egresses:
                way = walked.way(client.host, next_hop, egress)
                yield replace(way, default_routes=(str(default),)) if default is not None else way


def _routes(client: Facts, gateway: Facts) -> list[Route]:
    """Those that lead to the gateway, and that no crossing of crossnet's has made."""
    return [
        route
        for route in _leading(client, gateway)
        if _is_plain(route) and _is_first(route, client) and not _is_owned(route, client)
    ]


def _leading(client: Facts, gateway: Facts) -> list[Route]:
    return [
        route
        for route in client.routes
        if route.type == "unicast"
        and any(
            hop is not None and gateway.owner_of(hop) is not None
            for hop in (route.via, *(each.via for each in route.hops))
        )
    ]


def _is_plain(route: Route) -> bool:
    """Whether all packets to its destination take it to the one next hop, as a crossing's route does."""
    return (
        route.table == MAIN and route.via is not None and not (route.dead or route.tos or route.from_network)
    )


def _is_first(route: Route, client: Facts) -> bool:
    """Whether no other route to its destination comes before it."""
    there = (each for each in client.routes_to(route.destination) if each.table == MAIN and not each.dead)
    return route.metric <= min(each.metric for each in there)


def _is_owned(route: Route, client: Facts) -> bool:
    owned = (one.applied for one in read_record(client).owned)
    return any(isinstance(one, RouteResource) and one.key == RouteResource(route).key for one in owned)


def _refuse_carried(way: Way, gateway: Facts) -> None:
    """CrossnetError where a crossing carries it already."""
    for standing in read_record(gateway).crossings:
        for path in standing.carried:
            clients = [client.network for client in path.clients]
            if all(any(contains(each, source) for each in clients) for source in way.sources) and all(
                any(contains(each, network) for each in path.destinations) for network in way.to
            ):
                reached = few([*map(show_network, way.to)], _MOST, ", ")
                raise CrossnetError(
                    f"{joined(way.clients)} reaches {reached} over {way.gateway} by crossing {standing.label} already: "
                    "nothing of it is to be adopted\n"
                    "  `crossnet list HOST` says who applied it, and from which spec."
                )


def _source(client: Facts, route: Route, next_hop: Address) -> Address | None:
    """As whom the client sends by a route."""
    if route.source is not None:
        return route.source
    links: Iterable[Link] = [link for link in client.links if route.device in (None, link.name)]
    return next((own.address for link in links if (own := link.on_link(next_hop)) is not None), None)


def _together(found: Sequence[Way]) -> Iterator[Way]:
    """The same with one way for all clients that differ in nothing else."""
    left = list(found)
    while left:
        first, *rest = left
        alike = [way for way in rest if _alike(way, first)]
        left = [way for way in rest if way not in alike]
        every = (first, *alike)
        yield replace(
            first,
            clients=tuple(name for way in every for name in way.clients),
            sources=tuple(source for way in every for source in way.sources),
            rules=each_once(rule for way in every for rule in way.rules),
            default_routes=tuple(route for way in every for route in way.default_routes),
        )


def _alike(one: Way, other: Way) -> bool:
    return replace(one, clients=(), sources=(), default_routes=()) == replace(
        other, clients=(), sources=(), default_routes=()
    )


def _no_way(client: Facts, gateways: Sequence[Facts], to: Sequence[Network]) -> str:
    names = joined([each.host for each in gateways])
    routes = [route for gateway in gateways for route in _routes(client, gateway)]
    shown = few([str(route) for route in routes], _MOST)
    if not routes:
        leading = [route for gateway in gateways for route in _leading(client, gateway)]
        if not leading:
            return (
                f"{client.host} has no route to an address of {names}\n"
                "  Name the gateway that its route leads to, or make the crossing with `crossnet connect`."
            )
        found = few([route.with_table for route in leading], _MOST)
        if all(_is_owned(route, client) for route in leading):
            return f"{client.host}: crossnet has made {found}\n  `crossnet list HOST` says by which crossing."
        return (
            f"{client.host} gets to {names} by {found}: no crossing has a route of another table, with several next "
            "hops, or behind another route\n  Give it one in the main table to what it needs, and adopt that."
        )
    if to and not any(contains(route.destination, each) for route in routes for each in to):
        wanted = few([*map(show_network, to)], _MOST, ", ")
        return f"{client.host} has no route to {wanted} by {names}: it has {shown}\n  Name what is in one of these."
    return (
        f"nothing that {client.host} sends by {shown} leaves {names} on the other side\n"
        "  `crossnet diagnose --from HOST --via HOST --to ADDRESS` says where it stops; `crossnet connect` makes a way "
        "that works."
    )


class _Walked:
    """The packets of a client on a gateway, with the rules that there are and without any."""

    def __init__(self, gateway: Facts, ingress: Link, source: Address, to: Sequence[Network]) -> None:
        self.gateway, self.ingress, self.source, self.to = gateway, ingress.name, source, _largest(to)
        self.space, self.family = Space(), family_of(source)
        asked = Asked(
            gateway.host, self.to, sources=(host_network(source),), source_ports=None, ingress=ingress.name
        )
        packets = packets_of(self.space, asked)
        facts = replace(gateway, neighbours=())
        bare = replace(facts, firewall=replace(facts.firewall, foreign=()))
        self.led = {name: part for name, (part, _) in self._leaving(bare, packets)[1].items()}
        self.outcome, self.passing = self._leaving(facts, packets)

    def _leaving(self, facts: Facts, packets: Packets) -> tuple[Outcome, dict[str, tuple[Packets, Packets]]]:
        """What leaves by each interface, as it came and as it leaves; where some is translated, only that."""
        walk = HostWalk(facts, self.space)
        outcome = walk.received(Here.of(packets), self.ingress)
        own = self.space.address(address_field(Field.SOURCE6, self.family), self.source)
        found: dict[str, tuple[Packets, Packets]] = {}
        for name in {each.interface: None for each in outcome.leaving}:
            every = [each.here.may for each in outcome.leaving if each.interface == name]
            translated = [each & ~own for each in every]
            leaves = translated if self.space.any_of(translated).satisfiable() else every
            left = self.space.any_of(leaves)
            if name not in (self.ingress, "lo") and left.satisfiable():
                found[name] = self.space.any_of(map(walk.tracking.first, leaves)), left
        return outcome, found

    @property
    def egresses(self) -> tuple[str, ...]:
        return tuple(self.passing)

    def way(self, client: str, next_hop: Address, egress: str) -> Way:
        came, left = self.passing[egress]
        led = self.led.get(egress, came)
        rules = tuple(self._rules())
        return Way(
            clients=(client,),
            sources=(self.source,),
            gateway=self.gateway.host,
            next_hop=next_hop,
            ingress=self.ingress,
            egress=egress,
            to=tuple(self._destinations(came, egress)),
            allow=self._allow(came, led),
            translate=self._translate(left, rules),
            rules=rules,
        )

    def _destinations(self, came: Packets, egress: str) -> Iterator[Network]:
        """Networks as the routes name them, and of those that rules and other routes divide the part that passes."""
        field = address_field(Field.DESTINATION6, self.family)
        led = self.space.any_of(self.led.values())
        for network in self.to:
            inside = self.space.network(field, network)
            here = self.space.only(came & inside, Field.DESTINATION6)
            if not here.satisfiable():
                continue
            ranges = self.space.ranges_of(here, field, MOST_RANGES)
            if here == self.space.only(led & inside, Field.DESTINATION6) or len(ranges) > MOST_RANGES:
                yield network
                continue
            yield from together(
                part
                for first, last in self._as_named(ranges, network, egress)
                for part in summarize_address_range(self._address(first), self._address(last))
            )

    def _as_named(self, ranges: Ranges, network: Network, egress: str) -> Iterator[tuple[int, int]]:
        """The same with the gateway's own addresses and those of broadcasts that touch them: nobody leads these on."""
        link = self.gateway.link(egress)
        own = {
            int(each)
            for item in (link.of(self.family) if link is not None else ())
            for each in (item.address, item.network.broadcast_address)
            if contains(network, each)
        }
        for first, last in ranges:
            while first - 1 in own:
                first -= 1
            while last + 1 in own:
                last += 1
            yield first, last

    def _address(self, number: int) -> Address:
        return type(self.source)(number)

    def _allow(self, came: Packets, led: Packets) -> tuple[Traffic, ...] | None:
        fields = (Field.PROTOCOL, Field.DESTINATION_PORT)
        if self.space.only(came, *fields) == self.space.only(led, *fields):
            return None
        ranges: Ranges = tuple(traffic_of(self.space, came))
        if len(ranges) > MOST_RANGES or any(first // _PORTS not in _PROTOCOLS for first, _ in ranges):
            return None
        return tuple(_traffic(first, last) for first, last in ranges)

    def _translate(self, left: Packets, rules: Sequence[Translating]) -> Translate:
        sources = self.space.ranges_of(left, address_field(Field.SOURCE6, self.family), MOST_RANGES)
        seen = self._address(sources[0][0]) if sources else self.source
        if seen == self.source:
            return Untranslated()
        if any(rule.action.kind is Translation.MASQUERADE for rule in rules):
            return Masquerade()
        return SnatTo(seen)

    def _rules(self) -> Iterator[Translating]:
        """The rules of the gateway that give the packets another source."""
        taken = {
            place_of(each)
            for each in self.outcome.decisions
            if each.effect is Effect.TRANSLATES
            and each.place.hook == "postrouting"
            and each.here.may.satisfiable()
        }
        for rule in translating_rules(self.gateway):
            if rule.place in taken:
                yield rule


def _largest(networks: Sequence[Network]) -> tuple[Network, ...]:
    """Those that are in no other one, each once."""
    once = dict.fromkeys(networks)
    return tuple(each for each in once if not any(contains(other, each) for other in once if other != each))


def each_once(rules: Iterable[Translating]) -> tuple[Translating, ...]:
    """The same without those that stand there before."""
    return tuple({rule.place: rule for rule in rules}.values())


def _traffic(first: int, last: int) -> Traffic:
    protocol, ports = _PROTOCOLS[first // _PORTS], (first % _PORTS, last % _PORTS)
    if protocol is Protocol.ICMP or ports == (0, _PORTS - 1):
        return Traffic(protocol)
    return Traffic(protocol, Ports(max(ports[0], 1), ports[1]))


__all__ = ["Way", "each_once", "ways"]
