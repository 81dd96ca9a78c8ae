"""Where hosts lead packets, and where they should."""

from __future__ import annotations

from dataclasses import replace

from crossnet.diagnosis.course import Stop, best
from crossnet.diagnosis.finding import Direction, Finding, Remedy
from crossnet.diagnosis.mended import with_route, without_address
from crossnet.diagnosis.static.search import (
    OF_ROUTES,
    USUAL_TABLES,
    Search,
    is_astray,
    sources,
    words_of,
)
from crossnet.facts import Facts
from crossnet.facts.routes import matching
from crossnet.facts.sysctls import FORWARDING
from crossnet.reach.blockers import Blocker
from crossnet.reach.path import Visit, Walked
from crossnet.reach.routing import Way
from crossnet.reach.rules import Effect
from crossnet.values import (
    Address,
    Family,
    Network,
    contains,
    family_of,
    host_network,
)


class OfWays(Search):
    """Where hosts lead packets, and where they should."""

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
        if client:
            return
        if self.mended[stop.host] is not facts:
            facts = self.mended[stop.host]
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
            remedy = Remedy(host_network(source), hop, stop.ingress, wrong=refused[0].text)
            self._add(
                Finding(
                    refused[0].code,
                    stop.host,
                    stop.ingress,
                    Direction.FORWARD,
                    refused[0].text,
                    refused[0].certain,
                    "route",
                    remedy=remedy,
                )
            )
        self._turned(stop, walked.back, Direction.REPLY, stop.ingress, hop, source)
        seen_as = sources(walked, family_of(self.probe.destination))
        if len(seen_as) == 1:
            self.source = seen_as[0]

    def _taken_here(self, stop: Stop, walked: Walked) -> None:
        """A host that has the destination's address takes packets, where no rule has given them another."""
        facts = self.mended[stop.host]
        owner = facts.owner_of(self.probe.destination)
        if owner is None:
            self._taken_by_a_route(stop, walked)
            return
        own = next(item for item in owner.addresses if item.address == self.probe.destination)
        words = f"{stop.host} itself has {self.probe.destination}, on {owner.name}"
        remedy = Remedy(device=owner.name, address=own.address, prefix=own.prefix)
        self._add(
            Finding(
                "destination-is-local",
                stop.host,
                owner.name,
                Direction.FORWARD,
                words,
                hook="route",
                remedy=remedy,
            )
        )
        self.mended[stop.host] = without_address(facts, self.probe.destination)

    def _taken_by_a_route(self, stop: Stop, walked: Walked) -> None:
        """The same of a whole network that somebody has made the host's own by a route of type local (AnyIP)."""
        visits = [each for each in walked.visits if each.host == stop.host and each.outcome.delivered]
        routes = (way.route for visit in visits for way in visit.outcome.ways if way.type == "local")
        route = next(
            (each for each in routes if each and each.table == "local" and each.protocol != "kernel"), None
        )
        if route is None or not contains(route.destination, self.probe.destination):
            return
        words = f"{stop.host} has a route that makes {self.probe.destination} its own: {route}"
        remedy = Remedy(destination=route.destination, device=route.device, wrong=str(route))
        self._add(
            Finding(
                "destination-is-local",
                stop.host,
                route.device,
                Direction.FORWARD,
                words,
                hook="route",
                remedy=remedy,
            )
        )
        self.mended[stop.host] = without_address(self.mended[stop.host], self.probe.destination)

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
            (each for each in visit.outcome.blockers if each.code in OF_ROUTES - {"snat-missing"}), None
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
        way = next((each for each in ways if is_astray(each, device, next_hop)), ways[-1] if ways else Way())
        if stop == self.course.client and self._is_passed_over(stop, way, device, next_hop, wanted):
            self.mended[stop.host] = with_route(self.mended[stop.host], wanted, next_hop, device)
            return
        code = self._code(stop, direction, way, refused, device, next_hop, wanted)
        if code is None:
            return
        facts = self.facts[stop.host]
        at = stop.ingress if direction is Direction.FORWARD else stop.egress
        remedy = Remedy(
            destination=self._whole(facts, way, wanted)
            if stop == self.course.client
            else host_network(wanted),
            next_hop=next_hop,
            device=device,
            metric=way.route.metric if way.route is not None and way.route.type == "unicast" else None,
            wrong=words_of(way.route) if way.route is not None else "",
            table=way.rule.table if way.rule is not None and way.rule.table not in USUAL_TABLES else None,
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
                f"{way if ways else next(iter(visit.outcome.ways), way)}{by}",
                hook="output" if stop == self.course.client else "route",
                remedy=remedy,
            )
        )
        self.mended[stop.host] = with_route(self.mended[stop.host], wanted, next_hop, device)

    def _is_passed_over(
        self, stop: Stop, way: Way, device: str, next_hop: Address | None, wanted: Address
    ) -> bool:
        """Whether the route is right that a host does not take, because its router did not answer.

        A host of IPv6 that does not forward takes another one then, or says that it has none (rt6_check_neigh).
        """
        facts = self.facts[stop.host]
        first = best(facts, wanted)
        forwarding = facts.sysctls.get(FORWARDING[Family.V6], "0")
        if family_of(wanted) is not Family.V6 or forwarding != "0" or first is None or next_hop is None:
            return False
        by_rule = way.rule is not None and not way.rule.is_usual
        return (
            not by_rule
            and (first.via, first.device) == (next_hop, device)
            and any(
                (each.address, each.device, each.state) == (next_hop, device, "FAILED")
                for each in facts.neighbours
            )
        )

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
        remedy = Remedy(host_network(wanted), None, device, wrong=str(way))
        at = stop.ingress if direction is Direction.FORWARD else stop.egress
        words = f"{way}, though {wanted} is a neighbour on {device}"
        self._add(
            Finding("gateway-route-elsewhere", stop.host, at, direction, words, False, "route", remedy=remedy)
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
            if self._took_its_routes(stop, device):
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

    def _took_its_routes(self, stop: Stop, device: str) -> bool:
        """Whether what was found of an interface is why no route leads by it.

        One that has lost its carrier only keeps its routes (fib_sync_down_dev), of IPv6 too.
        """
        link = self.facts[stop.host].link(device)
        codes = {"address-missing", "prefix-mismatch"}
        if link is not None and "UP" not in link.flags:
            codes.add("link-down")
        return any(
            each.host == stop.host and each.code in codes and each.interface == device
            for _, each in self.found
        )
