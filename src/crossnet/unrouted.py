"""Where clients have no route to through a gateway: what its rules let pass does not get to it from there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from crossnet.design.flows import Span, addresses
from crossnet.facts import Facts
from crossnet.facts.routes import MAIN, Route
from crossnet.planning import Plan
from crossnet.resources import RuleTable
from crossnet.values import Address, Family, host_network


@dataclass(frozen=True, slots=True)
class NextHops:
    """What leads a client to a gateway: its addresses, and link-local ones by the client and its interface."""

    addresses: frozenset[Address]
    link_local: frozenset[tuple[str, str | None, Address]]

    def leads(self, host: str, route: Route) -> bool:
        if route.via is None or route.table != MAIN:
            return False
        return route.via in self.addresses or (host, route.device, route.via) in self.link_local


def next_hops(plan: Plan, facts: Mapping[str, Facts]) -> NextHops:
    """Those of all gateways of a plan."""
    own = (item.address for name in _gateways(plan) for link in facts[name].links for item in link.addresses)
    return NextHops(frozenset(own), frozenset(_link_local(plan, facts)))


def unrouted(plan: Plan, facts: Mapping[str, Facts], hops: NextHops) -> Iterator[tuple[Family, Span, Span]]:
    """The addresses of clients, and where they have no route to through a gateway, of all that the plan changes."""
    alike: dict[tuple[Family, Span], list[Address]] = {}
    for host in plan.hosts:
        sides = (side for change in host.changes for side in (change.have, change.want) if side is not None)
        concerned = {route.destination for side in sides for route in side.routes}
        leading = [route.destination for route in facts[host.host].routes if hops.leads(host.host, route)]
        for family in Family:
            there = addresses(each for each in leading if each.version == family)
            lacking = addresses(each for each in concerned if each.version == family) - there
            if lacking:
                own = (item.address for link in facts[host.host].links for item in link.of(family))
                alike.setdefault((family, lacking), []).extend(own)
    for (family, lacking), clients in alike.items():
        yield family, addresses(map(host_network, clients)), lacking


def _gateways(plan: Plan) -> Iterator[str]:
    for host in plan.hosts:
        if any(isinstance(owned.applied, RuleTable) for owned in (*host.before.owned, *host.after.owned)):
            yield host.host


def _link_local(plan: Plan, facts: Mapping[str, Facts]) -> Iterator[tuple[str, str | None, Address]]:
    """Those of crossings, as they stand before the plan or after it."""
    records = (record for host in plan.hosts for record in (host.before, host.after))
    paths = (path for record in records for one in record.crossings for path in one.carried)
    for path in dict.fromkeys(paths):
        for client in path.clients:
            hop, gateway = client.next_hop, facts.get(path.gateway)
            if client.host and hop.is_link_local and gateway is not None and gateway.owner_of(hop):
                yield client.host, client.interface, hop
