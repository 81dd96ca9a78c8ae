"""The kernel as an oracle: of which hosts it is asked, and where what it says decides.

Longest prefix and policy rules are the same for everybody, so a host that has nothing else is not asked. The kernel
knows better where rules, next hops or sources are of a kind that its tools do not tell, or of which there are several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from crossnet.design.policy import Flow, Rules
from crossnet.design.question import devices_of
from crossnet.facts import Answered, Facts, Lookup
from crossnet.facts.routes import MAIN, OWN_PROTOCOL, Route, inside
from crossnet.facts.sysctls import forwards
from crossnet.path import Path
from crossnet.record import read_record
from crossnet.resources import PolicyRuleResource
from crossnet.values import (
    NOWHERE,
    Address,
    Family,
    Network,
    address,
    contains,
    family_of,
    host_network,
    overlap,
    without,
)


def is_plain(facts: Facts, family: Family) -> bool:
    """Whether all of a host's routing in a family is one table of understood routes, and one address an interface."""
    if not all(rule.is_usual and not rule.unknown for rule in facts.policy_rules if rule.family is family):
        return False
    links = [link for link in facts.links if link.of(family)]
    if any(link.kind == "vrf" for link in facts.links) or any(len(link.of(family)) > 1 for link in links):
        return False
    own = [link.of(family)[0].network for link in links]
    if any(overlap(one, other) for at, one in enumerate(own) for other in own[:at]):
        return False
    main = [route for route in facts.routes if route.table == MAIN and family_of(route.destination) is family]
    shared = main if family is Family.V4 else [route for route in main if not _is_of_one_link(route)]
    places = Counter((route.destination, route.metric) for route in shared)
    return all(_is_understood(route) for route in main) and all(count == 1 for count in places.values())


def _is_of_one_link(route: Route) -> bool:
    return route.destination.is_link_local or route.destination.is_multicast


def _is_understood(route: Route) -> bool:
    return not (
        route.hops
        or route.unknown
        or route.nexthop is not None
        or route.tos
        or route.from_network
        or route.dead
        or route.linkdown
        or route.encap
    )


def sample(facts: Facts, network: Network) -> Address | None:
    """An address that stands for a network: none of the host's, and in no smaller route; None where there is none."""
    smaller = [
        route.destination for table in (MAIN, "local") for route in inside(facts.routes, network, table)
    ]
    own = [host_network(item.address) for link in facts.links for item in link.of(family_of(network))]
    ends = (network.network_address, network.broadcast_address) if network.num_addresses > 2 else ()
    for part in without([network], (*smaller, *own, *(NOWHERE if _is_wide(network) else ()))):
        for candidate in islice(part, len(ends) + 1):
            if candidate not in ends:
                return address(str(candidate))
    return None


def _is_wide(network: Network) -> bool:
    """Whether some of it is no address of a host."""
    return any(contains(network, part) and part != network for part in NOWHERE)


def said(facts: Facts, destination: Address, source: Address | None = None, iif: str = "") -> Answered | None:
    """What the kernel of a host said of such a packet; None where it was not asked or could not say."""
    return facts.lookups.get(Lookup(destination, source, iif))


# ---- on a client -----------------------------------------------------------------------------------


def towards(facts: Facts, next_hop: Address) -> Route | None:
    """How a client's kernel reaches a next hop, with the source that it chooses; None where that is not on-link."""
    answer = said(facts, next_hop)
    if answer is None or answer.route is None or answer.route.via is not None:
        return None
    return answer.route if answer.route.type == "unicast" else None


# ---- on a gateway ----------------------------------------------------------------------------------


def forwarded(rules: Rules, source: Network, destination: Network, iif: str) -> Route | None:
    """How a gateway's kernel forwards packets between two networks, where that is not what its routes and rules say.

    None where both agree; where it was not asked, or could not say; and where a rule of crossnet's own stands, which
    is what the kernel goes by then.
    """
    facts = rules.facts
    if not facts.lookups or _has_own_rules(facts, family_of(destination)):
        return None
    target, own = sample(facts, destination), sample(facts, source)
    if target is None or own is None:
        return None
    answer = said(facts, target, own, iif)
    if (answer is None or answer.route is None) and not rules:
        # Without rules the source decides nothing; and a host that does not forward yet says that, and not where to.
        answer = said(facts, target)
    if answer is None or answer.route is None or answer.route.type != "unicast":
        return None
    flow = Flow(source, destination, iif)
    known = rules.deciding(flow)
    # Of equal routes IPv4 has one that it takes; the hops of a route, and IPv6, it takes by turns for each flow.
    is_open = len(devices_of(known)) > 1 and family_of(destination) is Family.V4
    if is_open and not any(route.hops for route in known) and answer.route.device in devices_of(known):
        return replace(answer.route, destination=destination)
    # The kernel was asked of one packet, without a mark and of UDP: where a rule takes some, it does not speak for all.
    if answer.route.device in devices_of((*known, *rules.possible(flow))):
        return None
    return replace(answer.route, destination=destination)


def decided(facts: Facts, path: Path) -> tuple[Route, ...]:
    """The ways of a path that only the gateway's kernel knows."""
    rules = _rules(facts, path)
    found = (
        forwarded(rules, client.network, network, path.ingress)
        for client in path.clients
        for network in path.destinations
    )
    return tuple(dict.fromkeys(route for route in found if route is not None))


def is_among_equals(facts: Facts, path: Path, route: Route) -> bool:
    """Whether routes and rules tell the way that the kernel takes too, and another that is as good."""
    rules = _rules(facts, path)
    return any(
        route.device in devices_of(rules.deciding(Flow(client.network, route.destination, path.ingress)))
        for client in path.clients
    )


def _rules(facts: Facts, path: Path) -> Rules:
    return Rules(facts, (*(client.network for client in path.clients), *path.destinations))


def refused(facts: Facts, path: Path) -> Iterator[tuple[Lookup, str]]:
    """Packets of a path that a gateway's kernel refuses to forward, where its routes and rules show no reason.

    A host that does not forward yet refuses all of them. Where a rule may lead some elsewhere, the kernel speaks of one
    packet only, and the reason may be that rule.
    """
    if not facts.lookups or _has_own_rules(facts, path.family) or not _forwards(facts, path):
        return
    rules = _rules(facts, path)
    for client in path.clients:
        for network in path.destinations:
            target, own = sample(facts, network), sample(facts, client.network)
            if target is None or own is None:
                continue
            answer = said(facts, target, own, path.ingress)
            if answer is None or not answer.error:
                continue
            flow = Flow(client.network, network, path.ingress)
            if rules.astray(flow, lambda way: way.device == path.egress) is None:
                yield Lookup(target, own, path.ingress), answer.error


def _forwards(facts: Facts, path: Path) -> bool:
    """Whether it forwards already what comes in by the ingress."""
    return forwards(facts.sysctls, path.family, path.ingress)


def source_towards(facts: Facts, egress: str, destination: Network) -> Address | None:
    """The source that a gateway's kernel chooses towards a destination by its egress; None where nobody can say."""
    target = sample(facts, destination) if facts.lookups else None
    answer = said(facts, target) if target is not None else None
    if answer is None or answer.route is None or answer.route.device != egress:
        return None
    return answer.route.source


def _has_own_rules(facts: Facts, family: Family) -> bool:
    record = read_record(facts)
    return any(
        rule.family is family
        and (rule.origin == OWN_PROTOCOL or record.find(PolicyRuleResource(rule)) is not None)
        for rule in facts.policy_rules
    )
