"""What every part of the search works with: the way, the facts, as they are and mended, and what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from crossnet.diagnosis.course import Course, Stop, best
from crossnet.diagnosis.finding import Direction, Finding, Remedy
from crossnet.diagnosis.mended import with_address
from crossnet.facts import Facts
from crossnet.facts.links import Link
from crossnet.facts.routes import Route
from crossnet.netfilter.foreign import Drop, Field
from crossnet.reach.asked import Asked
from crossnet.reach.here import Here
from crossnet.reach.packets import Packets, Space, address_field
from crossnet.reach.path import Walked
from crossnet.reach.routing import Way
from crossnet.reach.rules import Place
from crossnet.values import (
    Address,
    Family,
    Network,
    Ports,
    Probe,
    Traffic,
    contains,
    family_of,
    host_network,
    show_network,
)

# What `reach` says of routes is told here, with the way that should be taken.
OF_ROUTES = {
    *("src-no-route", "no-route", "route-blackhole", "route-unreachable", "route-prohibit", "route-not-told"),
    *("snat-missing", "destination-is-broadcast", "mtu-exceeded", "forwarding-loop"),
}

USUAL_TABLES = ("main", "local", "default")

EVERYBODY = IPv4Address("255.255.255.255")


# Translation to no more ports may run out of them.
FEW_PORTS = 256

# In which order a packet meets the hooks of a host, and the ports of a cloud that it is plugged into.
RANK = {
    "port-in": 0,
    "output": 10,
    "ingress": 1,
    "prerouting": 5,
    "conntrack": 6,
    "address": 2,
    "link": 2,
    "route": 20,
    "input": 25,
    "forward": 30,
    "postrouting": 40,
    "egress": 45,
    "port-out": 48,
}

AT_TARGET = {"src-no-route": "no-return-route", "no-route": "no-return-route"}


class Search:
    """One flow over the hosts whose facts are known."""

    def __init__(
        self,
        course: Course,
        probe: Probe,
        facts: Mapping[str, Facts],
        beyond: tuple[Network, ...],
        length: int | None,
    ) -> None:
        self.course, self.probe, self.length = course, probe, length
        self.facts = {stop.host: facts[stop.host] for stop in course.all if stop.host in facts}
        self.mended = dict(self.facts)
        self.beyond = beyond
        self.found: list[tuple[tuple[int, int, int], Finding]] = []
        self.source = course.source
        self.others: list[Finding] = []
        self._walks: list[tuple[Mapping[str, Facts], Walked]] = []

    def _walked(self, facts: Mapping[str, Facts]) -> Walked:
        """The client's packets over all hosts; once for the same facts of them, for their rules may be many."""
        for known, walked in self._walks:
            if all(facts[name] is each for name, each in known.items()):
                return walked
        made = Walked(self._asked(self.course.client.host), facts)
        self._walks.append((dict(facts), made))
        return made

    def _asked(self, host: str, source: Address | None = None, ingress: str = "") -> Asked:
        ports = Ports(self.probe.port, self.probe.port) if self.probe.port else None
        asked = Asked(
            host,
            (host_network(self.probe.destination),),
            (Traffic(self.probe.protocol, ports),),
            sources=(host_network(source),) if source is not None else (),
            ingress=ingress,
            egress={
                stop.host: stop.egress for stop in self.course.stops if stop.egress and stop.host != host
            },
        )
        return asked if self.length is None else replace(asked, length=self.length)

    def _add(self, finding: Finding, phase: str = "") -> None:
        forward = finding.direction is Direction.FORWARD
        at = self.course.position(finding.host)
        rank = RANK.get(phase or finding.hook, 50)
        key = (0, at, rank) if forward else (1, len(self.course.all) - at, rank)
        self.found.append((key, finding))

    def _network(self) -> Network:
        """The network of the spec that the destination lies in, else the destination alone."""
        within = [each for each in self.beyond if contains(each, self.probe.destination)]
        return (
            min(within, key=lambda each: each.num_addresses)
            if within
            else host_network(self.probe.destination)
        )

    def _missing(self, stop: Stop, wanted: Address, prefix: int, device: str, phase: str) -> None:
        words = f"{device} does not have {wanted}"
        remedy = Remedy(device=device, address=wanted, prefix=prefix)
        self._add(
            Finding(
                "address-missing",
                stop.host,
                device,
                Direction.FORWARD,
                words,
                hook="address",
                remedy=remedy,
            ),
            phase,
        )
        self.mended[stop.host] = with_address(self.mended[stop.host], wanted, prefix, device)

    def _prefix_at(self, stop: Stop) -> int:
        facts = self.facts.get(stop.host)
        link = facts.link(stop.egress) if facts is not None and stop.egress else None
        on = link.on_link(stop.next_hop) if link is not None and stop.next_hop is not None else None
        return on.prefix if on is not None else (stop.next_hop.max_prefixlen if stop.next_hop else 32)

    def _address_of(self, stop: Stop) -> Address | None:
        facts = self.facts.get(stop.host)
        link = facts.link(stop.egress) if facts is not None and stop.egress else None
        own = link.of(family_of(self.probe.destination)) if link is not None else ()
        return own[0].address if own else None

    def _near(self, stop: Stop, link: Link) -> Network | None:
        """The network of the destination's own segment, where the gateway stands on it."""
        item = link.on_link(self.probe.destination)
        if item is not None:
            return item.network
        route = best(self.facts[stop.host], self.probe.destination)
        on_link = route is not None and route.via is None and route.device == link.name
        return route.destination if route is not None and on_link else None


def why_down(link: Link) -> str:
    return f"{link.name} is down" if "UP" not in link.flags else f"{link.name} has no carrier"


def arp_rules(facts: Facts) -> Iterator[tuple[Place, str]]:
    """The rules, and policies, that drop questions or answers of ARP, with the chain that they stand in."""
    for _, table, chain in facts.firewall.others():
        if table.family != "arp" or chain.hook is None or table.dormant:
            continue
        place = Place(table.tool, table.family, table.name, chain.name, chain.hook.name)
        if chain.hook.policy == "drop":
            yield place, f"policy drop of {chain.name}"
        for rule in chain.rules:
            if any(isinstance(each, Drop) for each in rule.statements):
                yield place, rule.text


def words_of(route: Route) -> str:
    """A route as `ip route del` takes it: one of a nexthop object has the type and the interface of that."""
    if route.nexthop is None:
        return route.with_table
    table = f" table {route.table}" if route.table != "main" else ""
    return f"{show_network(route.destination)} nhid {route.nexthop}{table}"


def has_address(facts: Facts, name: str, family: object) -> bool:
    link = facts.link(name)
    return link is not None and any(family_of(item.address) is family for item in link.addresses)


def is_astray(way: Way, device: str, next_hop: Address | None) -> bool:
    via = way.hop.via if way.hop is not None else None
    return bool(way.refusal) or way.device != device or (next_hop is not None and via != next_hop)


def requests_leaving(walked: Walked, host: str) -> Here | None:
    """The requests as they leave a host."""
    of = (visit for visit in walked.visits if visit.host == host)
    return next((each.here for visit in of for each in visit.outcome.leaving if each.here), None)


def sources(walked: Walked, family: Family) -> list[Address]:
    """As whom packets leave the last host that they leave, where that is one address."""
    found: dict[Address, None] = {}
    for end in walked.ends:
        if not end.taken:
            ranges = walked.space.ranges_of(end.here.fixed, address_field(Field.SOURCE6, family), 1)
            for first, last in ranges:
                found |= dict.fromkeys(address_of(number, family) for number in (first, last))
    return list(found)


def one_address(space: Space, packets: Packets, field: Field, family: Family) -> Address | None:
    """The address that all packets of a set have there, where it is one."""
    found = space.ranges_of(packets, address_field(field, family), 1)
    if len(found) != 1 or found[0][0] != found[0][1]:
        return None
    return address_of(found[0][0], family)


def address_of(number: int, family: Family) -> Address:
    return IPv4Address(number) if family is Family.V4 else IPv6Address(number)
