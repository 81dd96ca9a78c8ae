"""Policy rules of crossnet's own: they come before somebody else's that would lead a crossing's packets elsewhere.

Each is as narrow as the flow, so nothing else is looked up otherwise than before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from crossnet.design.impacts import Impact
from crossnet.design.passage import Passage
from crossnet.design.policy import OWN, Diversion, Packets, deciding, diversions, rules_of_others
from crossnet.design.question import Refused, devices_of
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import MAIN, OWN_PROTOCOL, Route
from crossnet.resources import PolicyRuleResource
from crossnet.values import show_network

# Every packet that the host forwards walks all of them.
MOST = 96

Way = Callable[[Route], bool]


def own_rules(
    passage: Passage, facts: Mapping[str, Facts]
) -> tuple[Mapping[str, tuple[PolicyRuleResource, ...]], tuple[Impact, ...]]:
    """What a passage needs on each of its hosts, with why; Refused where no rule can come before somebody else's."""
    found: dict[str, dict[PolicyRule, None]] = {}
    impacts: dict[Impact, None] = {}
    refusals: list[Refusal] = []
    rules = {name: rules_of_others(facts[name]) for name in {passage.gateway, *_hosts(passage)}}
    for name, packets, way in _packets(passage):
        if not rules[name]:
            continue
        here = facts[name]
        first = _first_that_leads_off(here, rules[name], packets, way)
        if first is None:
            continue
        if first.rule.priority < 2:  # 0 is the local table's, and comes before all others
            refusals.append(_refusal(passage, name, packets, first, "no rule can come before it"))
            continue
        if name == passage.gateway and not _is_there(passage, here, packets):
            refusals.append(
                _refusal(passage, name, packets, first, "its main table has no other way for them")
            )
            continue
        found.setdefault(name, {})[_before(first.rule, packets)] = None
        impacts[Impact("policy-rule-added", name, _told(packets, first))] = None
    for name, needed in found.items():
        if len(needed) > MOST:
            refusals.append(_too_many(passage, name, len(needed)))
    if refusals:
        raise Refused(*dict.fromkeys(refusals))
    return {name: tuple(map(PolicyRuleResource, needed)) for name, needed in found.items()}, tuple(impacts)


def _hosts(passage: Passage) -> Iterator[str]:
    yield from (client.host for client in passage.clients if client.host is not None)


def _packets(passage: Passage) -> Iterator[tuple[str, Packets, Way]]:
    """Whose lookups decide about the passage, for which packets, and the way that they should take."""

    def leaves(route: Route) -> bool:
        return devices_of([route]) == {passage.egress}

    def returns(route: Route) -> bool:
        return devices_of([route]) == {passage.ingress}

    for client in passage.clients:
        for network in passage.destinations:
            if client.host is not None:
                hop = (client.next_hop, client.interface)
                yield (
                    client.host,
                    Packets(client.network, network, OWN),
                    lambda route, hop=hop: (route.via, route.device) == hop,  # type: ignore[misc]
                )
            yield passage.gateway, Packets(client.network, network, passage.ingress), leaves
            yield passage.gateway, Packets(network, client.network, passage.egress), returns


def _first_that_leads_off(
    here: Facts, rules: Sequence[PolicyRule], packets: Packets, way: Way
) -> Diversion | None:
    for diversion in diversions(here, rules, packets):
        if not diversion.routes or not all(way(route) for route in diversion.routes):
            return diversion
    return None


def _is_there(passage: Passage, gateway: Facts, packets: Packets) -> bool:
    """Whether the main table leads where a rule of crossnet's own would look the packets up."""
    wanted = passage.egress if packets.iif == passage.ingress else passage.ingress
    return wanted in devices_of(deciding(gateway, (), packets))


def _before(rule: PolicyRule, packets: Packets) -> PolicyRule:
    own = packets.iif == OWN
    return PolicyRule(
        packets.family,
        rule.priority - 1,
        table=MAIN,
        # A program that did not choose a source has none yet when the kernel looks first; and the check of the way
        # back (rp_filter) asks as if the packet came by no interface (net/ipv4/fib_frontend.c).
        source=None if own else packets.source,
        destination=packets.destination,
        iif=OWN if own else "",
        origin=OWN_PROTOCOL,
    )


def _told(packets: Packets, first: Diversion) -> str:
    return (
        f"{first} leads {_shown(packets)} elsewhere; a rule of crossnet's own before it looks them up in "
        "the main table"
    )


def _shown(packets: Packets) -> str:
    return f"packets from {show_network(packets.source)} to {show_network(packets.destination)}"


def _refusal(passage: Passage, host: str, packets: Packets, first: Diversion, why: str) -> Refusal:
    return Refusal(
        "policy-rule-diverts",
        f"crossing {passage.crossing.name}",
        f"{first} of {host} leads {_shown(packets)} elsewhere, and {why}",
        f"Give it a higher priority number there (`ip rule`), or let it leave out {show_network(packets.destination)}.",
    )


def _too_many(passage: Passage, host: str, count: int) -> Refusal:
    return Refusal(
        "policy-rule-diverts",
        f"crossing {passage.crossing.name}",
        f"policy rules of {host} lead its packets elsewhere, and it would take {count} rules to keep them on their way",
        f"Put fewer and larger networks into `from` and `to`, or change the rules of {host}.",
    )
