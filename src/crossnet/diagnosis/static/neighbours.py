"""Neighbours that hosts know wrongly or cannot ask for, the time to live, and the target itself."""

from __future__ import annotations

from dataclasses import replace

from crossnet.diagnosis.course import Stop, best
from crossnet.diagnosis.finding import Direction, Finding, Remedy
from crossnet.diagnosis.mended import with_link
from crossnet.diagnosis.static.search import (
    Search,
    arp_rules,
    why_down,
)
from crossnet.values import (
    Address,
    Family,
    Protocol,
    family_of,
    host_network,
)


class OfNeighbours(Search):
    """Neighbours that hosts know wrongly or cannot ask for, the time to live, and the target itself."""

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
        for place, text in arp_rules(self.facts[stop.host]):
            if stop.egress is not None:
                asked = Remedy(device=stop.egress, address=stop.next_hop or self.probe.destination)
                found = Finding(
                    "next-hop-unresolved", stop.host, stop.egress, Direction.FORWARD, text, False, "egress"
                )
                self._add(replace(found, chain=place, remedy=asked))
            back = self.course.source if number == 1 else None
            if back is not None and stop.ingress is not None:
                asked = Remedy(device=stop.ingress, address=back)
                found = Finding(
                    "next-hop-unresolved", stop.host, stop.ingress, Direction.REPLY, text, False, "egress"
                )
                self._add(replace(found, chain=place, remedy=asked))
            own = self.course.all[number - 1].next_hop if number else None
            if number and stop.ingress is not None:
                told = Remedy(device=stop.ingress, address=own or self.probe.destination)
                found = Finding(
                    "arp-not-answered", stop.host, stop.ingress, Direction.FORWARD, text, False, "ingress"
                )
                self._add(replace(found, chain=place, remedy=told))

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
        is_elsewhere = False
        if following is not None and following.host in self.facts:
            other = self.facts[following.host]
            own = {each.hardware for each in other.links if each.hardware}
            near = following.ingress if direction is Direction.FORWARD else following.egress
            entry = other.link(near or "")
            right = entry.hardware if entry is not None else ""
            is_elsewhere = direction is Direction.FORWARD and other.owner_of(wanted) is None
        known = next(
            (
                each
                for each in facts.neighbours
                if each.address == wanted and each.device == device and each.hardware
            ),
            None,
        )
        by_hand = known is not None and known.state in ("PERMANENT", "NOARP")
        remedy = Remedy(device=device, address=wanted, hardware=right)
        if "NOARP" in link.flags and link.hardware and not by_hand:
            # It takes every neighbour to have its own hardware address (arp_constructor of the kernel's arp.c).
            words = f"{link.name} asks nobody for hardware addresses (NOARP)"
            code, hook = "wrong-destination-mac", "egress"
            remedy = Remedy(device=device, wrong="NOARP")
        elif known is None or known.hardware in own or not (own or by_hand):
            return
        elif is_elsewhere and not by_hand:
            return  # whoever answers for it is the only one
        else:
            words = f"{wanted} is at {known.hardware} for {stop.host} ({known.state})"
            words += f", and {following.host} has no such address" if own and following is not None else ""
            code, hook = "wrong-destination-mac" if by_hand else "duplicate-address", "egress"
        self._add(Finding(code, stop.host, device, direction, words, False, hook, remedy=remedy))

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

    def _target(self, stop: Stop) -> None:
        facts = self.facts[stop.host]
        link = facts.link(stop.ingress or "")
        echo = self.probe.protocol is Protocol.ICMP and family_of(self.probe.destination) is Family.V4
        if echo and facts.sysctls.get("net.ipv4.icmp_echo_ignore_all", "0") != "0":
            words = f"net.ipv4.icmp_echo_ignore_all = {facts.sysctls['net.ipv4.icmp_echo_ignore_all']}"
            self._add(Finding("echo-ignored", stop.host, stop.ingress, Direction.REPLY, words, hook="output"))
        if link is not None and not link.up:
            self.mended[stop.host] = with_link(self.mended[stop.host], link.name)
            remedy = Remedy(device=link.name)
            found = Finding(
                "link-down",
                stop.host,
                link.name,
                Direction.FORWARD,
                why_down(link),
                hook="link",
                remedy=remedy,
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
        remedy = Remedy(host_network(self.source), None, link.name, wrong=str(route))
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
                remedy=remedy,
            )
        )
