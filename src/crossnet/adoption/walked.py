"""What becomes of a client's packets on a gateway, walked with all rules that it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import summarize_address_range

from crossnet.adoption.taking import place_of
from crossnet.adoption.way import Way
from crossnet.diagnosis.translating import Translating, translating_rules
from crossnet.facts import Facts
from crossnet.facts.links import Link
from crossnet.netfilter.foreign import Field, Translation
from crossnet.reach.asked import Asked, packets_of
from crossnet.reach.here import Here
from crossnet.reach.host import HostWalk, Outcome
from crossnet.reach.packets import ICMP, ICMP6, TCP, UDP, Packets, Space, address_field
from crossnet.reach.rules import Effect
from crossnet.reach.transit import MOST_RANGES, Ranges, traffic_of
from crossnet.spec import SnatTo, Translate
from crossnet.translation import Masquerade, Untranslated
from crossnet.values import (
    Address,
    Network,
    Ports,
    Protocol,
    Traffic,
    contains,
    family_of,
    host_network,
    together,
)

_PORTS = 65536
_PROTOCOLS = {ICMP: Protocol.ICMP, ICMP6: Protocol.ICMP, TCP: Protocol.TCP, UDP: Protocol.UDP}


class Walked:
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
        """What leaves by an interface, as one way of the client."""
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


def _traffic(first: int, last: int) -> Traffic:
    protocol, ports = _PROTOCOLS[first // _PORTS], (first % _PORTS, last % _PORTS)
    if protocol is Protocol.ICMP or ports == (0, _PORTS - 1):
        return Traffic(protocol)
    return Traffic(protocol, Ports(max(ports[0], 1), ports[1]))
