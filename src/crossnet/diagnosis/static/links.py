"""Links that are down, and addresses that are missing, too narrow or on the wrong host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from crossnet.diagnosis.course import Stop, best
from crossnet.diagnosis.finding import Direction, Finding, Remedy
from crossnet.diagnosis.mended import with_address, with_link, with_route
from crossnet.diagnosis.static.search import (
    Search,
    has_address,
    why_down,
)
from crossnet.diagnosis.translating import translating_rules
from crossnet.values import (
    Address,
    Family,
    Network,
    contains,
    family_of,
    host_network,
)


class OfLinks(Search):
    """Links that are down, and addresses that are missing, too narrow or on the wrong host."""

    def _links(self, number: int, stop: Stop) -> None:
        facts = self.facts[stop.host]
        for name in (stop.ingress, stop.egress):
            link = facts.link(name) if name else None
            if link is None or link.up:
                continue
            self.mended[stop.host] = with_link(self.mended[stop.host], link.name)
            words = why_down(link)
            phase = "ingress" if name == stop.ingress else "egress"
            remedy = Remedy(device=link.name)
            wanted, hop = self.probe.destination, stop.next_hop
            network = self._network() if stop == self.course.client else host_network(wanted)
            if name != stop.egress and number > 1 and self.course.source is not None:
                wanted, hop = self.course.source, self._address_of(self.course.stops[number - 1])
                network = host_network(wanted)
            if hop is not None and best(facts, wanted) is None:
                remedy = replace(remedy, destination=network, next_hop=hop)  # its routes went with it
            self._add(
                Finding(
                    "link-down", stop.host, link.name, Direction.FORWARD, words, hook="link", remedy=remedy
                ),
                phase,
            )

    def _addresses(self, number: int, stop: Stop) -> None:
        """Addresses that a host should have: the one that its neighbour sends to, and one on each side."""
        facts = self.facts[stop.host]
        family = family_of(self.probe.destination)
        before = self.course.stops[number - 1] if number else None
        wanted = before.next_hop if before is not None else None
        if before is not None and wanted is not None and stop.ingress and facts.owner_of(wanted) is None:
            self._next_hop(stop, wanted, before, stop.ingress)
        if number == 0 and stop.egress and not has_address(facts, stop.egress, family):
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

    def _next_hop(self, stop: Stop, wanted: Address, before: Stop, device: str) -> None:
        """An address that its neighbour sends to, and that it does not have."""
        link, prefix = self.facts[stop.host].link(device), self._prefix_at(before)
        if link is None or link.on_link(wanted) is None:
            self._missing(stop, wanted, prefix, device, "ingress")
            return
        # It stands in that network with another: one like that moves between hosts, and who adds it by hand may make
        # two of it.
        words = f"{stop.host} does not have {wanted}, the next hop of {before.host}"
        remedy = Remedy(device=device, address=wanted)
        found = Finding(
            "next-hop-elsewhere", stop.host, device, Direction.FORWARD, words, hook="address", remedy=remedy
        )
        self._add(found, "ingress")
        self.mended[stop.host] = with_address(self.mended[stop.host], wanted, prefix, device)

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
        remedy = Remedy(destination=network, next_hop=stop.next_hop, device=device)
        self._add(
            Finding(
                "src-address-unsuitable",
                stop.host,
                device,
                Direction.FORWARD,
                words,
                hook="output",
                remedy=remedy,
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
        route = best(self.mended[stop.host], self.probe.destination)
        bare = not link.of(family) and route is not None and route.device not in (None, link.name)
        if not (link.up or lost) or (route is not None and not bare):
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
            remedy = Remedy(
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
                    remedy=remedy,
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
