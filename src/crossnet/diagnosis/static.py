"""What stops a flow as facts alone tell it: everything, in the order in which a packet meets it.

Where a host leads packets another way than they should go, that is found, and the search goes on as if it were
mended; rules, settings and links are walked by `reach`, which goes on behind each by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from crossnet.diagnosis.course import Course, Stop, best
from crossnet.diagnosis.finding import Direction, Finding, Mending
from crossnet.diagnosis.mended import with_address, with_link, with_route, without_address
from crossnet.diagnosis.translating import translating_rules
from crossnet.facts import Facts
from crossnet.facts.links import Link
from crossnet.facts.routes import Route, matching
from crossnet.netfilter.foreign import Drop, Field, Rewrite
from crossnet.reach.asked import Asked
from crossnet.reach.blockers import Blocker
from crossnet.reach.here import Here
from crossnet.reach.packets import ESTABLISHED, INVALID, Packets, Space, address_field
from crossnet.reach.path import Visit, Walked, reached
from crossnet.reach.routing import Way
from crossnet.reach.rules import Effect, Place
from crossnet.values import (
    Address,
    Family,
    Network,
    Ports,
    Probe,
    Protocol,
    Traffic,
    contains,
    family_of,
    host_network,
    show_network,
)

# What `reach` says of routes is told here, with the way that should be taken.
_OF_ROUTES = {
    *("src-no-route", "no-route", "route-blackhole", "route-unreachable", "route-prohibit", "route-not-told"),
    *("snat-missing", "destination-is-broadcast", "destination-absent", "mtu-exceeded", "forwarding-loop"),
}
_USUAL_TABLES = ("main", "local", "default")


@dataclass(frozen=True, slots=True)
class Foretold:
    """What facts say of a flow: what stops it, and as whom it should arrive.

    `passes` is what they say as things are: None where they do not tell.
    """

    findings: tuple[Finding, ...]
    source: Address | None
    passes: bool | None

    def of(self, direction: Direction) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.direction is direction)


def foretell(
    course: Course,
    probe: Probe,
    facts: Mapping[str, Facts],
    beyond: tuple[Network, ...] = (),
    length: int | None = None,
) -> Foretold:
    """Everything that would have to change for the flow to pass, over the hosts whose facts are known.

    `length` is that of its IP packets in bytes, where they are not small ones.
    """
    return _Search(course, probe, facts, beyond, length).result()


class _Search:
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

    # ---- the whole ------------------------------------------------------------------------------------

    def result(self) -> Foretold:
        passes = self._as_it_is()
        self._destination()
        for number, stop in enumerate(self.course.stops):
            if stop.host not in self.facts:
                continue
            self._links(number, stop)
            self._addresses(number, stop)
            self._way_out(number, stop)
            self._neighbours(number, stop)
        if self.course.target is not None:
            self._target(self.course.target)
            if self.course.target.host in self.facts:
                self._neighbours(len(self.course.stops), self.course.target)
        self._time_to_live()
        self._whole_way()
        if self.course.target is not None:
            self._back_from(self.course.target)
        found = [each for _, each in sorted(self.found, key=lambda item: item[0])]
        if passes and any(each.certain for each in found):
            passes = False
        return Foretold(tuple(dict.fromkeys(found)), self.source, passes)

    def _as_it_is(self) -> bool | None:
        if any(stop.host not in self.facts for stop in self.course.stops):
            return None
        walked = Walked(self._asked(self.course.client.host), self.facts)
        passes = reached(walked).passes
        client = self.course.client.host
        if (
            passes
            and self.course.target is not None
            and not any(end.host == client for end in walked.back_ends)
        ):
            return None  # the answers leave for somebody who is not known
        return passes

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
        rank = _RANK.get(phase or finding.hook, 50)
        key = (0, at, rank) if forward else (1, len(self.course.all) - at, rank)
        self.found.append((key, finding))

    def _destination(self) -> None:
        """An address that is no host's: of a group, of everybody, or of the network itself."""
        wanted = self.probe.destination
        client, last = self.course.client, self.course.stops[-1]
        if wanted.is_multicast or wanted == _EVERYBODY:
            words = (
                f"{wanted} is the address of {'a group' if wanted.is_multicast else 'everybody on a network'}"
            )
            self._add(
                Finding(
                    "destination-is-broadcast",
                    client.host,
                    client.egress,
                    Direction.FORWARD,
                    words,
                    hook="output",
                )
            )
            return
        facts = self.facts.get(last.host)
        link = facts.link(last.egress) if facts is not None and last.egress else None
        near = link.on_link(wanted) if link is not None else None
        if near is not None and near.prefix < 31 and wanted == near.network.network_address:
            # Kernels since 5.14 ask for it like for any other (fib_add_ifaddr).
            words = f"{wanted} is the address of the network {near.network} itself"
            self._add(
                Finding(
                    "destination-is-broadcast",
                    last.host,
                    last.egress,
                    Direction.FORWARD,
                    words,
                    False,
                    "egress",
                )
            )

    # ---- links and addresses --------------------------------------------------------------------------

    def _links(self, number: int, stop: Stop) -> None:
        facts = self.facts[stop.host]
        for name in (stop.ingress, stop.egress):
            link = facts.link(name) if name else None
            if link is None or link.up:
                continue
            self.mended[stop.host] = with_link(self.mended[stop.host], link.name)
            words = _down(link)
            phase = "ingress" if name == stop.ingress else "egress"
            mending = Mending(device=link.name)
            wanted, hop = self.probe.destination, stop.next_hop
            network = self._network() if stop == self.course.client else host_network(wanted)
            if name != stop.egress and number > 1 and self.course.source is not None:
                wanted, hop = self.course.source, self._address_of(self.course.stops[number - 1])
                network = host_network(wanted)
            if hop is not None and best(facts, wanted) is None:
                mending = replace(mending, destination=network, next_hop=hop)  # its routes went with it
            self._add(
                Finding(
                    "link-down", stop.host, link.name, Direction.FORWARD, words, hook="link", mending=mending
                ),
                phase,
            )

    def _network(self) -> Network:
        """The network of the spec that the destination lies in, else the destination alone."""
        within = [each for each in self.beyond if contains(each, self.probe.destination)]
        return (
            min(within, key=lambda each: each.num_addresses)
            if within
            else host_network(self.probe.destination)
        )

    def _addresses(self, number: int, stop: Stop) -> None:
        """Addresses that a host should have: the one that its neighbour sends to, and one on each side."""
        facts = self.facts[stop.host]
        family = family_of(self.probe.destination)
        before = self.course.stops[number - 1] if number else None
        wanted = before.next_hop if before is not None else None
        if before is not None and wanted is not None and stop.ingress and facts.owner_of(wanted) is None:
            self._missing(stop, wanted, self._prefix_at(before), stop.ingress, "ingress")
        if number == 0 and stop.egress and not _of(facts, stop.egress, family):
            words = f"{stop.egress} has no {family.label} address"
            self._add(
                Finding("address-missing", stop.host, stop.egress, Direction.FORWARD, words, hook="address"),
                "output",
            )
            self._stand_in(stop, stop.egress)
        if number == 0 and stop.egress and self.source is not None and self.source.is_loopback:
            self._loopback_source(stop, stop.egress)
        last = number == len(self.course.stops) - 1
        if number and last and stop.egress and self._within(stop) is not None:
            self._last_address(stop)

    def _stand_in(self, stop: Stop, device: str) -> None:
        """Some address of the first gateway's network, so that what stands behind a client without one is found."""
        first = self.course.gateways[0] if self.course.gateways else None
        facts = self.facts.get(first.host) if first is not None else None
        link = (
            facts.link(first.ingress) if first is not None and facts is not None and first.ingress else None
        )
        near = next(iter(link.of(family_of(self.probe.destination))), None) if link is not None else None
        if near is None or near.network.num_addresses < 4:
            return
        address = next(each for each in (near.network[1], near.network[2]) if each != near.address)
        self.course = replace(self.course, source=address)
        self.source = address
        facts = with_address(self.mended[stop.host], address, near.prefix, device)
        self.mended[stop.host] = with_route(facts, self.probe.destination, near.address, device)

    def _loopback_source(self, stop: Stop, device: str) -> None:
        """A route's `src` that the kernel lets out of no interface but lo (__mkroute_output)."""
        facts = self.facts[stop.host]
        route = best(facts, self.probe.destination)
        words = f"its route says to send as {self.source}, which leaves by no interface but lo"
        network = route.destination if route is not None else host_network(self.probe.destination)
        mending = Mending(destination=network, next_hop=stop.next_hop, device=device)
        self._add(
            Finding(
                "src-address-unsuitable",
                stop.host,
                device,
                Direction.FORWARD,
                words,
                hook="output",
                mending=mending,
            )
        )
        link = facts.link(device)
        own = link.of(family_of(self.probe.destination)) if link is not None else ()
        self.source = own[0].address if own else None
        self.mended[stop.host] = with_route(
            self.mended[stop.host], self.probe.destination, stop.next_hop, device
        )

    def _within(self, stop: Stop) -> Network | None:
        """The network that the destination lies in and that the spec says; none where a route leads there."""
        network = self._network()
        facts = self.facts[stop.host]
        link = facts.link(stop.egress) if stop.egress else None
        if network.num_addresses == 1 or link is None or link.on_link(self.probe.destination) is not None:
            return None
        family = family_of(self.probe.destination)
        # An interface that goes down keeps its IPv4 addresses, and loses those of IPv6 (keep_addr_on_down).
        lost = family is Family.V6 and not link.of(family)
        if not (link.up or lost) or best(self.mended[stop.host], self.probe.destination) is not None:
            return None
        # A network that is more than one interface's own does not say how long the prefix of one is.
        inside = [
            each for each in facts.links if any(contains(network, item.address) for item in each.addresses)
        ]
        if stop.egress == stop.ingress or any(each is not link for each in inside):
            return None
        return network

    def _last_address(self, stop: Stop) -> None:
        """No route leads on, and the egress does not stand in the network that it should lead to."""
        network = self._network()
        facts = self.facts[stop.host]
        link = facts.link(stop.egress or "")
        assert link is not None
        narrow = next((item for item in link.addresses if contains(network, item.address)), None)
        if narrow is not None:
            words = f"{link.name} has {narrow.address}/{narrow.prefix}, and {self.probe.destination} is outside of it"
            mending = Mending(
                device=link.name,
                address=narrow.address,
                prefix=network.prefixlen,
                wrong=f"{narrow.address}/{narrow.prefix}",
            )
            self._add(
                Finding(
                    "prefix-mismatch",
                    stop.host,
                    link.name,
                    Direction.FORWARD,
                    words,
                    hook="route",
                    mending=mending,
                )
            )
            self.mended[stop.host] = with_address(
                self.mended[stop.host], narrow.address, network.prefixlen, link.name
            )
            return
        wanted = next((each for each in self._translated_to(stop) if contains(network, each)), None)
        if wanted is not None and facts.owner_of(wanted) is None:
            self._missing(stop, wanted, network.prefixlen, link.name, "route")

    def _translated_to(self, stop: Stop) -> Iterator[Address]:
        """The addresses that rules of a gateway translate to."""
        for rule in translating_rules(self.facts[stop.host]):
            yield from rule.addresses(family_of(self.probe.destination))

    def _missing(self, stop: Stop, wanted: Address, prefix: int, device: str, phase: str) -> None:
        words = f"{device} does not have {wanted}"
        mending = Mending(device=device, address=wanted, prefix=prefix)
        self._add(
            Finding(
                "address-missing",
                stop.host,
                device,
                Direction.FORWARD,
                words,
                hook="address",
                mending=mending,
            ),
            phase,
        )
        self.mended[stop.host] = with_address(self.mended[stop.host], wanted, prefix, device)

    def _prefix_at(self, stop: Stop) -> int:
        facts = self.facts.get(stop.host)
        link = facts.link(stop.egress) if facts is not None and stop.egress else None
        on = link.on_link(stop.next_hop) if link is not None and stop.next_hop is not None else None
        return on.prefix if on is not None else (stop.next_hop.max_prefixlen if stop.next_hop else 32)

    # ---- where a host sends packets --------------------------------------------------------------------

    def _way_out(self, number: int, stop: Stop) -> None:
        """Whether a host leads requests, and answers, by the interface and next hop that they should take."""
        client = number == 0
        facts = self.mended[stop.host]
        if not client and (stop.ingress is None or facts.link(stop.ingress) is None):
            return
        if not client and self.source is None:
            return
        asked = self._asked(stop.host) if client else self._asked(stop.host, self.source, stop.ingress or "")
        asked = replace(asked, egress={})
        walked = Walked(asked, {stop.host: facts})
        self._taken_here(stop, walked)
        self._turned(
            stop, walked.visits, Direction.FORWARD, stop.egress, stop.next_hop, self.probe.destination
        )
        facts = self.mended[stop.host]
        if client:
            return
        walked = Walked(asked, {stop.host: facts})
        back = self.course.stops[number - 1]
        source = self.source
        assert source is not None
        link = facts.link(stop.ingress or "")
        near = link is not None and link.on_link(source) is not None
        hop = None if near or number == 1 else self._address_of(back)
        refused = [
            each
            for visit in walked.visits
            for each in visit.outcome.blockers
            if each.code == "reverse-path-filter"
        ]
        if refused:
            # What refuses the source goes by the way back to it, and is gone where that is mended.
            mending = Mending(host_network(source), hop, stop.ingress, wrong=refused[0].text)
            self._add(
                Finding(
                    refused[0].code,
                    stop.host,
                    stop.ingress,
                    Direction.FORWARD,
                    refused[0].text,
                    refused[0].certain,
                    "route",
                    mending=mending,
                )
            )
        self._turned(stop, walked.back, Direction.REPLY, stop.ingress, hop, source)
        seen_as = _sources(walked, family_of(self.probe.destination))
        if len(seen_as) == 1:
            self.source = seen_as[0]

    def _address_of(self, stop: Stop) -> Address | None:
        facts = self.facts.get(stop.host)
        link = facts.link(stop.egress) if facts is not None and stop.egress else None
        own = link.of(family_of(self.probe.destination)) if link is not None else ()
        return own[0].address if own else None

    def _taken_here(self, stop: Stop, walked: Walked) -> None:
        """A host that has the destination's address takes packets, where no rule has given them another."""
        facts = self.mended[stop.host]
        owner = facts.owner_of(self.probe.destination)
        if owner is None:
            return
        own = next(item for item in owner.addresses if item.address == self.probe.destination)
        words = f"{stop.host} itself has {self.probe.destination}, on {owner.name}"
        mending = Mending(device=owner.name, address=own.address, prefix=own.prefix)
        self._add(
            Finding(
                "destination-is-local",
                stop.host,
                owner.name,
                Direction.FORWARD,
                words,
                hook="route",
                mending=mending,
            )
        )
        self.mended[stop.host] = without_address(facts, self.probe.destination)

    def _turned(
        self,
        stop: Stop,
        visits: list[Visit],
        direction: Direction,
        device: str | None,
        next_hop: Address | None,
        wanted: Address,
    ) -> None:
        visit = next((each for each in visits if each.host == stop.host), None)
        if visit is None or device is None:
            return
        refused = next(
            (each for each in visit.outcome.blockers if each.code in _OF_ROUTES - {"snat-missing"}), None
        )
        astray = [
            each
            for each in visit.outcome.leaving
            if each.here.fixed.satisfiable()
            and (each.interface != device or (next_hop is not None and each.next_hop != next_hop))
            and each.interface != "lo"
        ]
        if not (refused or astray):
            self._round_about(stop, visit, direction, device, next_hop, wanted)
        changed = (
            any(
                each.effect is Effect.TRANSLATES and each.place.hook in ("prerouting", "output")
                for each in visit.outcome.decisions
            )
            and direction is Direction.FORWARD
        )
        if changed or not (refused or astray):
            return
        ways = [way for way in visit.outcome.ways if way.type not in ("local", "anycast", "broadcast")]
        way = next((each for each in ways if _is_astray(each, device, next_hop)), ways[-1] if ways else Way())
        code = self._code(stop, direction, way, refused, device, next_hop, wanted)
        if code is None:
            return
        facts = self.facts[stop.host]
        at = stop.ingress if direction is Direction.FORWARD else stop.egress
        mending = Mending(
            destination=self._whole(facts, way, wanted)
            if stop == self.course.client
            else host_network(wanted),
            next_hop=next_hop,
            device=device,
            wrong=_words(way.route) if way.route is not None else "",
            table=way.rule.table if way.rule is not None and way.rule.table not in _USUAL_TABLES else None,
            priority=way.rule.priority if way.rule is not None and not way.rule.is_usual else None,
        )
        by = (
            f" (rule {way.rule})"
            if way.rule is not None and way.route is not None and not way.rule.is_usual
            else ""
        )
        self._add(
            Finding(
                code,
                stop.host,
                at if stop != self.course.client else device,
                direction,
                f"{way}{by}",
                hook="output" if stop == self.course.client else "route",
                mending=mending,
            )
        )
        self.mended[stop.host] = with_route(self.mended[stop.host], wanted, next_hop, device)

    def _round_about(
        self,
        stop: Stop,
        visit: Visit,
        direction: Direction,
        device: str,
        next_hop: Address | None,
        wanted: Address,
    ) -> None:
        """A gateway that sends by way of a router to whom it could send itself: perhaps that passes it on."""
        facts = self.facts[stop.host]
        link = facts.link(device)
        if stop == self.course.client or next_hop is not None or link is None or link.on_link(wanted) is None:
            return
        found = [each for each in visit.outcome.leaving if each.next_hop not in (None, wanted)]
        way = next((each for each in visit.outcome.ways if each.hop is not None and each.hop.via), None)
        if not found or way is None:
            return
        mending = Mending(host_network(wanted), None, device, wrong=str(way))
        at = stop.ingress if direction is Direction.FORWARD else stop.egress
        words = f"{way}, though {wanted} is a neighbour on {device}"
        self._add(
            Finding(
                "gateway-route-elsewhere", stop.host, at, direction, words, False, "route", mending=mending
            )
        )

    def _whole(self, facts: Facts, way: Way, wanted: Address) -> Network:
        """All that the spec is about, where no route is in the way that is more specific."""
        network = self._network()
        thrown = [each for each in matching(facts.routes, host_network(wanted)) if each.type == "throw"]
        routes = [*([way.route] if way.route is not None else []), *thrown]
        narrower = any(each.destination.prefixlen > network.prefixlen for each in routes)
        return host_network(wanted) if narrower else network

    def _code(
        self,
        stop: Stop,
        direction: Direction,
        way: Way,
        refused: Blocker | None,
        device: str,
        next_hop: Address | None,
        wanted: Address,
    ) -> str | None:
        client = stop == self.course.client
        by_rule = way.rule is not None and not way.rule.is_usual
        if refused is not None and refused.code in ("no-route", "src-no-route"):
            if any(
                each.host == stop.host
                and each.code in ("link-down", "address-missing", "prefix-mismatch")
                and each.interface == device
                for _, each in self.found
            ):
                self.mended[stop.host] = with_route(self.mended[stop.host], wanted, next_hop, device)
                return None  # which is why there is none
            return "src-no-route" if client else "no-route"
        if refused is not None:
            if way.rule is not None and way.route is None:
                return "policy-rule-diverts"
            return refused.code
        if by_rule:
            return "policy-rule-diverts"
        if not client:
            return "gateway-route-elsewhere"
        if next_hop is not None and way.hop is not None and way.hop.via is None:
            return "src-route-on-link"
        return "src-route-other-next-hop"

    # ---- neighbours and time to live ---------------------------------------------------------------------

    def _neighbours(self, number: int, stop: Stop) -> None:
        """Whom a host takes for its neighbours, on the way on and on the way back."""
        self._questions(number, stop)
        stops = self.course.all
        following = stops[number + 1] if number + 1 < len(stops) else None
        self._neighbour(
            stop, following, stop.egress, stop.next_hop or self.probe.destination, Direction.FORWARD
        )
        if not number:
            return
        before = stops[number - 1]
        if stop == self.course.target:
            wanted = self.source
        else:
            wanted = self.course.source if number == 1 else self._address_of(before)
        if wanted is not None:
            self._neighbour(stop, before, stop.ingress, wanted, Direction.REPLY)

    def _questions(self, number: int, stop: Stop) -> None:
        """Rules on ARP, which may drop a host's question for its next hop, or its answer to the one before it.

        Nothing walks them: what they drop is said as a perhaps.
        """
        family = family_of(self.probe.destination)
        if family is not Family.V4:
            return
        for place, text in _arp_rules(self.facts[stop.host]):
            if stop.egress is not None:
                asked = Mending(device=stop.egress, address=stop.next_hop or self.probe.destination)
                found = Finding(
                    "next-hop-unresolved", stop.host, stop.egress, Direction.FORWARD, text, False, "egress"
                )
                self._add(replace(found, chain=place, mending=asked))
            back = self.course.source if number == 1 else None
            if back is not None and stop.ingress is not None:
                asked = Mending(device=stop.ingress, address=back)
                found = Finding(
                    "next-hop-unresolved", stop.host, stop.ingress, Direction.REPLY, text, False, "egress"
                )
                self._add(replace(found, chain=place, mending=asked))
            own = self.course.all[number - 1].next_hop if number else None
            if number and stop.ingress is not None:
                told = Mending(device=stop.ingress, address=own or self.probe.destination)
                found = Finding(
                    "arp-not-answered", stop.host, stop.ingress, Direction.FORWARD, text, False, "ingress"
                )
                self._add(replace(found, chain=place, mending=told))

    def _neighbour(
        self, stop: Stop, following: Stop | None, device: str | None, wanted: Address, direction: Direction
    ) -> None:
        """Whether a host has learned, or was told, another hardware address than its next hop has."""
        facts = self.facts[stop.host]
        link = facts.link(device or "")
        if link is None:
            return
        own = set[str]()
        right = ""
        if following is not None and following.host in self.facts:
            other = self.facts[following.host]
            own = {each.hardware for each in other.links if each.hardware}
            near = following.ingress if direction is Direction.FORWARD else following.egress
            entry = other.link(near or "")
            right = entry.hardware if entry is not None else ""
        known = next(
            (
                each
                for each in facts.neighbours
                if each.address == wanted and each.device == device and each.hardware
            ),
            None,
        )
        by_hand = known is not None and known.state in ("PERMANENT", "NOARP")
        mending = Mending(device=device, address=wanted, wrong=right)
        if "NOARP" in link.flags and link.hardware and not by_hand:
            # It takes every neighbour to have its own hardware address (arp_constructor of the kernel's arp.c).
            words = f"{link.name} asks nobody for hardware addresses (NOARP)"
            code, hook = "wrong-destination-mac", "egress"
            mending = Mending(device=device, wrong="NOARP")
        elif known is None or known.hardware in own or not (own or by_hand):
            return
        else:
            words = f"{wanted} is at {known.hardware} for {stop.host} ({known.state})"
            words += f", and {following.host} has no such address" if own and following is not None else ""
            code, hook = "wrong-destination-mac" if by_hand else "duplicate-address", "egress"
        self._add(Finding(code, stop.host, device, direction, words, False, hook, mending=mending))

    def _time_to_live(self) -> None:
        client = self.course.client.host
        first = self.facts[client].sysctls.get("net.ipv4.ip_default_ttl") if client in self.facts else None
        if first is None or family_of(self.probe.destination) is not Family.V4:
            return
        if 1 <= int(first) <= len(self.course.gateways):
            stop = self.course.gateways[int(first) - 1]
            words = f"{client} sends with a time to live of {first}: net.ipv4.ip_default_ttl = {first}"
            self._add(
                Finding("ttl-expired", stop.host, stop.ingress, Direction.FORWARD, words, hook="forward")
            )

    # ---- the target ------------------------------------------------------------------------------------

    def _target(self, stop: Stop) -> None:
        facts = self.facts[stop.host]
        link = facts.link(stop.ingress or "")
        if facts.sysctls.get("net.ipv4.icmp_echo_ignore_all") == "1" and self.probe.protocol is Protocol.ICMP:
            words = "net.ipv4.icmp_echo_ignore_all = 1"
            self._add(Finding("echo-ignored", stop.host, stop.ingress, Direction.REPLY, words, hook="output"))
        if link is not None and not link.up:
            self.mended[stop.host] = with_link(self.mended[stop.host], link.name)
            mending = Mending(device=link.name)
            found = Finding(
                "link-down",
                stop.host,
                link.name,
                Direction.FORWARD,
                _down(link),
                hook="link",
                mending=mending,
            )
            self._add(found, "ingress")

    def _back_from(self, stop: Stop) -> None:
        """A target that answers its neighbour by way of a router: perhaps that does not pass it on."""
        facts = self.facts.get(stop.host)
        link = facts.link(stop.ingress) if facts is not None and stop.ingress else None
        if facts is None or link is None or self.source is None or link.on_link(self.source) is None:
            return
        route = best(facts, self.source)
        if route is None or route.via is None:
            return
        mending = Mending(host_network(self.source), None, link.name, wrong=str(route))
        words = f"{route}, though {self.source} is a neighbour on {link.name}"
        self._add(
            Finding(
                "return-route-elsewhere",
                stop.host,
                link.name,
                Direction.REPLY,
                words,
                False,
                "route",
                mending=mending,
            )
        )

    # ---- rules, settings, neighbours, over all hosts --------------------------------------------------

    def _whole_way(self) -> None:
        client = self.course.client
        if client.host not in self.mended:
            return
        walked = Walked(self._asked(client.host), self.mended)
        self._along(walked)
        first = self.course.gateways[0] if self.course.gateways else client
        if first.host in self.mended and not any(each.host == first.host for each in walked.visits):
            # Facts do not lead the client's packets to it: what it would do with them if they came.
            self._along(Walked(self._asked(first.host, self.course.source, first.ingress or ""), self.mended))

    def _along(self, walked: Walked) -> None:
        """What stops packets on one walk over the hosts, and what is made of their addresses."""
        client = self.course.client
        answer = reached(walked)
        for direction, journey in ((Direction.FORWARD, answer.request), (Direction.REPLY, answer.reply)):
            for blocker in journey.blockers:
                told = blocker.code in _OF_ROUTES
                told |= direction is Direction.REPLY and blocker.code == "link-down"
                if told and (self.course.target is None or blocker.host != self.course.target.host):
                    continue
                own_client = blocker.host == client.host and blocker.hook == "forward"
                if own_client or any(
                    each.code == blocker.code == "reverse-path-filter" for _, each in self.found
                ):
                    continue  # answers that come to it are not to be forwarded
                code = blocker.code
                if self._is_of_no_connection(walked, direction, blocker):
                    code = "conntrack-invalid"
                if self.course.target is not None and blocker.host == self.course.target.host:
                    code = _AT_TARGET.get(code, code) if direction is Direction.REPLY else code
                found = Finding(
                    code,
                    blocker.host,
                    blocker.interface or self._egress(walked, direction, blocker),
                    direction,
                    blocker.text,
                    blocker.certain,
                    blocker.hook,
                    blocker.place,
                    ends=self._ends(walked, direction, blocker),
                    untracked=blocker.packets is not None
                    and (blocker.packets & ~walked.turned.state(ESTABLISHED)).satisfiable(),
                )
                self._add(self._with_reason(found, walked))
        self._translation(walked)
        if not self.course.gateways:
            return
        seen_as = _sources(walked, family_of(self.probe.destination))
        if len(seen_as) == 1:
            self.source = seen_as[0]

    def _egress(self, walked: Walked, direction: Direction, blocker: Blocker) -> str | None:
        """By which interface packets would leave that are stopped on their way out, where it is one."""
        space = walked.space if direction is Direction.FORWARD else walked.turned
        if blocker.hook not in ("output", "postrouting") or blocker.packets is None:
            return None
        names = [space.interface(number) for number in space.values_of(blocker.packets, Field.OIF)]
        return names[0] or None if len(names) == 1 else None

    def _ends(
        self, walked: Walked, direction: Direction, blocker: Blocker
    ) -> tuple[Address | None, Address | None]:
        """From whom to whom packets are where something stops them: a translation may stand before or behind it."""
        space = walked.space if direction is Direction.FORWARD else walked.turned
        family = family_of(self.probe.destination)
        if blocker.packets is None:
            return None, None
        source, destination = (
            _single(space, blocker.packets, each, family) for each in (Field.SOURCE6, Field.DESTINATION6)
        )
        return source, destination

    def _is_of_no_connection(self, walked: Walked, direction: Direction, blocker: Blocker) -> bool:
        """Whether a rule stops packets because connection tracking knows nothing that they belong to."""
        if blocker.code != "filter-rule-drop" or blocker.packets is None:
            return False
        space = walked.space if direction is Direction.FORWARD else walked.turned
        return (
            "invalid" in blocker.text.lower() and not (blocker.packets & ~space.state(INVALID)).satisfiable()
        )

    def _with_reason(self, found: Finding, walked: Walked) -> Finding:
        """Where answers are not translated back: the rule that keeps them, or the requests, from being known."""
        if found.code != "reply-not-untranslated":
            return found
        for visit in walked.back:
            for decision in visit.outcome.decisions:
                if visit.host == found.host and decision.effect is Effect.NOT_TRACKED:
                    words = f"a rule keeps it from connection tracking: {decision.text}"
                    return replace(found, text=words, chain=decision.place)
        for _, table, chain in self.facts[found.host].firewall.others():
            for rule in chain.rules:
                if any(isinstance(each, Rewrite) and each.field is Field.CT_ZONE for each in rule.statements):
                    words = f"a rule puts requests or answers into a zone of connection tracking: {rule.text}"
                    hook = chain.hook.name if chain.hook is not None else "prerouting"
                    at = Place(table.tool, table.family, table.name, chain.name, hook)
                    return replace(found, text=words, chain=at)
        return found

    def _translation(self, walked: Walked) -> None:
        """What rules make of the addresses: another destination, or a source that no answer comes back to."""
        family = family_of(self.probe.destination)
        for visit in walked.visits:
            for decision in visit.outcome.decisions:
                if decision.effect is not Effect.TRANSLATES or decision.place.hook not in (
                    "prerouting",
                    "output",
                ):
                    continue
                self._add(
                    Finding(
                        "dnat-captures",
                        visit.host,
                        visit.interface or None,
                        Direction.FORWARD,
                        decision.text,
                        not decision.doubts,
                        decision.place.hook,
                        decision.place,
                    )
                )
        if not self.course.gateways:
            return
        self._as_somebody_else(walked)
        last = self.course.gateways[-1]
        facts = self.mended.get(last.host)
        leaving = _leaving(walked, last.host)
        link = facts.link(last.egress) if facts is not None and last.egress else None
        back = {visit.host for visit in walked.back}
        if (
            facts is None
            or link is None
            or leaving is None
            or (self.course.target is not None and last.host in back)
        ):
            return
        self._few_ports(last, link, walked)
        space = walked.space
        (number,) = space.one(leaving.fixed, [address_field(Field.SOURCE6, family)]).values()
        source = _address(number, family)
        near = self._near(facts, link)
        if source == self.course.source:
            if any(item.address == source for item in link.addresses):
                return
            if near is None or not contains(near, source):
                self._untranslated(last, facts, link, walked)
        elif facts.owner_of(source) is None:
            words = f"packets leave as {source}, which {last.host} does not have"
            self._wrong_source("snat-address-not-local", last, link, words, walked)
        elif near is not None and not contains(near, source):
            words = f"packets leave as {source}, which is not an address of {near}"
            self._wrong_source("snat-address-unsuitable", last, link, words, walked)

    def _as_somebody_else(self, walked: Walked) -> None:
        """A client whose own rules give its packets an address that it does not have."""
        client = self.course.client
        facts, leaving = self.mended.get(client.host), _leaving(walked, client.host)
        link = facts.link(client.egress) if facts is not None and client.egress else None
        if facts is None or link is None or leaving is None or self.course.source is None:
            return
        family = family_of(self.probe.destination)
        source = _single(walked.space, leaving.fixed, Field.SOURCE6, family)
        if source is not None and facts.owner_of(source) is None:
            words = f"packets leave as {source}, which {client.host} does not have"
            self._wrong_source("snat-address-not-local", client, link, words, walked)

    def _near(self, facts: Facts, link: Link) -> Network | None:
        """The network of the destination's own segment, where the gateway stands on it."""
        item = link.on_link(self.probe.destination)
        if item is not None:
            return item.network
        route = best(facts, self.probe.destination)
        on_link = route is not None and route.via is None and route.device == link.name
        return route.destination if route is not None and on_link else None

    def _few_ports(self, stop: Stop, link: Link, walked: Walked) -> None:
        """A translation to so few ports that others may have taken all of them."""
        taken = {
            each.text
            for visit in walked.visits
            if visit.host == stop.host
            for each in visit.outcome.decisions
            if each.effect is Effect.TRANSLATES and each.place.hook == "postrouting"
        }
        for rule in translating_rules(self.mended[stop.host]):
            ports = rule.action.ports
            if rule.text in taken and ports is not None:
                number = sum(last - first + 1 for first, last in ports.ranges)
                if number <= _FEW_PORTS:
                    words = f"{rule.text} has {number} port{'' if number == 1 else 's'} for all"
                    mending = self._own(stop, link)
                    self._add(
                        Finding(
                            "snat-ports-exhausted",
                            stop.host,
                            link.name,
                            Direction.FORWARD,
                            words,
                            False,
                            "postrouting",
                            mending=mending,
                        )
                    )

    def _wrong_source(self, code: str, stop: Stop, link: Link, words: str, walked: Walked) -> None:
        of = [
            each.place.tool
            for visit in walked.visits
            if visit.host == stop.host
            for each in visit.outcome.decisions
            if each.effect is Effect.TRANSLATES and each.place.hook == "postrouting"
        ]
        self._add(
            Finding(
                code,
                stop.host,
                link.name,
                Direction.REPLY,
                words,
                hook="postrouting",
                mending=replace(self._own(stop, link), ahead_of=of[0] if of else None),
            )
        )

    def _own(self, stop: Stop, link: Link) -> Mending:
        near, own = self._near(self.mended[stop.host], link), link.of(family_of(self.probe.destination))
        suitable = [item.address for item in own if near is None or contains(near, item.address)]
        address = next((each for each in (*suitable, *(item.address for item in own))), None)
        if stop == self.course.client:
            address = self.course.source
        return Mending(device=link.name, address=address, destination=self._network())

    def _untranslated(self, stop: Stop, facts: Facts, link: Link, walked: Walked) -> None:
        untracked = [
            each
            for visit in walked.visits
            if visit.host == stop.host
            for each in visit.outcome.decisions
            if each.effect is Effect.NOT_TRACKED
        ]
        mending = self._own(stop, link)
        if untracked:
            words = f"a rule keeps it from connection tracking: {untracked[0].text}"
            chain, certain = untracked[0].place, not untracked[0].doubts
            self._add(
                Finding(
                    "snat-skipped",
                    stop.host,
                    link.name,
                    Direction.REPLY,
                    words,
                    certain,
                    "postrouting",
                    chain,
                    mending,
                )
            )
            return
        here = _leaving(walked, stop.host)
        assert here is not None, "it leaves as somebody"
        family = family_of(self.probe.destination)
        for rule in translating_rules(self.mended[stop.host]):
            if rule.table.family not in ("inet", "ip" if family is Family.V4 else "ip6"):
                continue
            why = rule.skipped(self.mended[stop.host], walked.space, here, stop.ingress)
            if why is not None:
                words = f"{rule.text} does not take it: {why}"
                self._add(
                    Finding(
                        "snat-skipped",
                        stop.host,
                        link.name,
                        Direction.REPLY,
                        words,
                        False,  # the destination may have a way back
                        "postrouting",
                        mending=mending,
                    )
                )
                return
        words = f"it leaves {link.name} as {self.course.source}, and {self.probe.destination} may have no way back"
        self._add(
            Finding(
                "snat-missing",
                stop.host,
                link.name,
                Direction.REPLY,
                words,
                False,
                "postrouting",
                mending=mending,
            )
        )


_EVERYBODY = IPv4Address("255.255.255.255")

# A rule that drops what connection tracking calls invalid, in the words of both tools.
_OF_INVALID = re.compile(r"--ctstate INVALID\b|\bct state invalid\b|--state INVALID\b")

# Translation to no more ports may run out of them.
_FEW_PORTS = 256

# In which order a packet meets the hooks of a host.
_RANK = {
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
}
_AT_TARGET = {"src-no-route": "no-return-route", "no-route": "no-return-route"}


def _down(link: Link) -> str:
    return f"{link.name} is down" if "UP" not in link.flags else f"{link.name} has no carrier"


def _arp_rules(facts: Facts) -> Iterator[tuple[Place, str]]:
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


def _words(route: Route) -> str:
    """A route as `ip route del` takes it: one of a nexthop object has the type and the interface of that."""
    if route.nexthop is None:
        return route.with_table
    table = f" table {route.table}" if route.table != "main" else ""
    return f"{show_network(route.destination)} nhid {route.nexthop}{table}"


def _of(facts: Facts, name: str, family: object) -> bool:
    link = facts.link(name)
    return link is not None and any(family_of(item.address) is family for item in link.addresses)


def _is_astray(way: Way, device: str, next_hop: Address | None) -> bool:
    via = way.hop.via if way.hop is not None else None
    return bool(way.refusal) or way.device != device or (next_hop is not None and via != next_hop)


def _leaving(walked: Walked, host: str) -> Here | None:
    """The requests as they leave a host."""
    for visit in walked.visits:
        if visit.host == host:
            return next((each.here for each in visit.outcome.leaving if each.here), None)
    return None


def _sources(walked: Walked, family: Family) -> list[Address]:
    """As whom packets leave the last host that they leave, where that is one address."""
    found: dict[Address, None] = {}
    for end in walked.ends:
        if not end.taken:
            ranges = walked.space.ranges_of(end.here.fixed, address_field(Field.SOURCE6, family), 1)
            for first, last in ranges:
                found |= dict.fromkeys(_address(number, family) for number in (first, last))
    return list(found)


def _single(space: Space, packets: Packets, field: Field, family: Family) -> Address | None:
    """The address that all packets of a set have there, where it is one."""
    found = space.ranges_of(packets, address_field(field, family), 1)
    if len(found) != 1 or found[0][0] != found[0][1]:
        return None
    return _address(found[0][0], family)


def _address(number: int, family: Family) -> Address:
    return IPv4Address(number) if family is Family.V4 else IPv6Address(number)
