"""Policy rules of crossnet's own: they come before somebody else's that would lead a crossing's packets elsewhere.

Each is as narrow as the flow, so nothing else is looked up otherwise than before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from crossnet.design.impacts import Impact
from crossnet.design.kernel import said
from crossnet.design.policy import OWN, Flow, Rules, knows_nearer
from crossnet.design.question import Refused, devices_of
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import MAIN, OWN_PROTOCOL, matching
from crossnet.facts.sysctls import effective_rp_filter
from crossnet.path import Path
from crossnet.resources import PolicyRuleResource
from crossnet.values import Family, Network, host_network, show_network

if TYPE_CHECKING:
    from crossnet.reach.routing import Led, Way

# Every packet that the host forwards walks all of them.
MOST = 96


def rules_for(
    path: Path, facts: Mapping[str, Facts]
) -> tuple[Mapping[str, tuple[PolicyRuleResource, ...]], tuple[Impact, ...]]:
    """What a path needs on each of its hosts, with why; Refused where no rule can come before somebody else's.

    `facts` are those of hosts that have the crossings' routes.
    """
    found: dict[str, dict[PolicyRule, None]] = {}
    impacts: dict[Impact, None] = {}
    refusals: list[Refusal] = []
    networks = (*(client.network for client in path.clients), *path.destinations)
    rules = {name: Rules(facts[name], networks) for name in {path.gateway, *_hosts(path)}}
    for name, flow, is_right in _flows(path, facts):
        first = rules[name].astray(flow, is_right)
        if first is None:
            continue
        if not rules[name].is_right_in_main(flow, is_right):
            refusals.append(_refusal(path, name, flow, first, "its main table has no other way for them"))
            continue
        own = _before(rules[name], first, flow, is_right)
        if isinstance(own, str):
            refusals.append(_refusal(path, name, flow, first, own))
            continue
        found.setdefault(name, {})[own] = None
        impacts[Impact("policy-rule-added", name, _told(flow, first))] = None
    refusals += _without_next_hop(path, facts, rules)
    refusals += _without_answer(path, facts, rules[path.gateway])
    for name, needed in found.items():
        if len(needed) > MOST:
            refusals.append(_too_many(path, name, len(needed)))
    if refusals:
        raise Refused(*dict.fromkeys(refusals))
    return {name: tuple(map(PolicyRuleResource, needed)) for name, needed in found.items()}, tuple(impacts)


def _without_next_hop(
    path: Path, facts: Mapping[str, Facts], rules: Mapping[str, Rules]
) -> Iterator[Refusal]:
    """Clients on which a rule ends the way to their next hop: IPv4 takes no route through it then.

    "Nexthop has invalid gateway" (net/ipv4/fib_semantics.c, fib_check_nh; measured); IPv6 takes it, and a table that
    the rule looks up counts for neither.
    """
    if path.family is not Family.V4:
        return
    for client in path.clients:
        if client.host is None:
            continue
        answer = said(facts[client.host], client.next_hop)
        if answer is not None and answer.route is not None:
            continue  # the kernel knows better
        flow = Flow(client.network, host_network(client.next_hop), OWN)
        ends = rules[client.host].astray(flow, lambda way: way.route is not None)
        # The kernel asks of no packet, so it has no source.
        if ends is not None and ends.must.satisfiable() and ends.way.rule and not ends.way.rule.source:
            why = "the kernel accepts no route through a next hop that a rule makes unreachable"
            yield _refusal(path, client.host, flow, ends, why)


def _without_answer(path: Path, facts: Mapping[str, Facts], rules: Rules) -> Iterator[Refusal]:
    """Clients to whom the gateway does not say who has their next hop: its check of the way back drops the question.

    To ARP the check asks as for any packet to the host itself: as if the answer were its own (net/ipv4/arp.c,
    arp_process; measured). A rule for that would lead the gateway's own packets, which are none of the crossing's.
    """
    strictness = effective_rp_filter(facts[path.gateway].sysctls, path.ingress)
    if path.family is not Family.V4 or not strictness:
        return

    def is_right(way: Way) -> bool:
        known = devices_of([way.route]) if way.route is not None else set()
        return path.ingress in known or (strictness > 1 and bool(known))

    for client in path.clients:
        if client.host is None:
            continue
        flow = Flow(host_network(client.next_hop), client.network, OWN)
        astray = rules.astray(flow, is_right)
        if (
            astray is not None
            and astray.must.satisfiable()
            and astray.way.rule
            and not astray.way.rule.mark_mask
        ):
            why = (
                f"rp_filter {strictness} on {path.ingress} drops the client's ARP then: it does not find its "
                "next hop"
            )
            yield _refusal(path, path.gateway, flow, astray, why)


def _hosts(path: Path) -> Iterator[str]:
    yield from (client.host for client in path.clients if client.host is not None)


def _flows(path: Path, facts: Mapping[str, Facts]) -> Iterator[tuple[str, Flow, Callable[[Way], bool]]]:
    """Whose lookups decide about the path, for which packets, and the way that they should take."""

    gateway = facts[path.gateway]

    def through(device: str, network: Network) -> Callable[[Way], bool]:
        known = matching(gateway.routes, network)
        return lambda way: way.device == device and not knows_nearer(known, way.route, way.hop)

    for client in path.clients:
        for network in path.destinations:
            if client.host is not None:
                hop = (client.next_hop, client.interface)
                yield (
                    client.host,
                    Flow(client.network, network, OWN),
                    lambda way, hop=hop: way.hop is not None and (way.hop.via, way.hop.device) == hop,  # type: ignore[misc]
                )
            leaving = Flow(client.network, network, path.ingress)
            yield path.gateway, leaving, through(path.egress, network)
            returning = Flow(network, client.network, path.egress)
            yield path.gateway, returning, through(path.ingress, client.network)


def _before(rules: Rules, first: Led, flow: Flow, is_right: Callable[[Way], bool]) -> PolicyRule | str:
    """A rule for just these packets, at the last place where no other is asked before it that leads them astray.

    Or why there is none.
    """
    own, why = flow.iif == OWN, "no rule can come before it"
    for place in rules.places_before(first.way.rule) if first.way.rule else ():
        rule = PolicyRule(
            flow.family,
            place,
            table=MAIN,
            # A program that did not choose a source has none yet when the kernel looks first.
            source=None if own else flow.source,
            destination=flow.destination,
            # What the host sends itself is none of the crossing's. The check of the way back (rp_filter) asks as if an
            # answer came by the interface that the packet leaves by (net/ipv4/fib_frontend.c, __fib_validate_source).
            iif=flow.iif,
            origin=OWN_PROTOCOL,
        )
        if rules.astray(flow, is_right, rule) is not None:
            continue
        if not rules.takes_from_local(flow, rule):
            return rule
        why = (
            "a rule before it would also take what is for the host itself: its `lookup local` is asked later"
        )
    return why


def _words(first: Led) -> str:
    by = f" ({first.way.route})" if first.way.route else ""
    return f"policy rule `{first.way.rule}`{by}"


def _told(flow: Flow, first: Led) -> str:
    return (
        f"{_words(first)} {_does(first, flow)}; a rule of crossnet's own before it looks them up in "
        "the main table"
    )


def _does(first: Led, flow: Flow) -> str:
    refuses = first.way.rule is not None and first.way.rule.action in ("blackhole", "prohibit", "unreachable")
    return f"refuses {_shown(flow)}" if refuses else f"leads {_shown(flow)} elsewhere"


def _shown(flow: Flow) -> str:
    return f"packets from {show_network(flow.source)} to {show_network(flow.destination)}"


def _refusal(path: Path, host: str, flow: Flow, first: Led, why: str) -> Refusal:
    return Refusal(
        "policy-rule-diverts",
        f"crossing {path.crossing.name}",
        f"{_words(first)} of {host} {_does(first, flow)}, and {why}",
        f"Give it a higher priority number there (`ip rule`), or exclude {show_network(flow.destination)} from it.",
    )


def _too_many(path: Path, host: str, count: int) -> Refusal:
    return Refusal(
        "policy-rule-diverts",
        f"crossing {path.crossing.name}",
        f"policy rules of {host} lead its packets elsewhere, and it would take {count} rules to keep them on their way",
        f"Put fewer and larger networks into `from` and `to`, or change the rules of {host}.",
    )
