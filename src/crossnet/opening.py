"""What a plan opens and what it closes: the flows that pass the hosts as it makes them, against those that pass today.

Of crossnet's own rules that is exact: a crossing is a product of clients, destinations and traffic. What a gateway
forwards besides, because it forwards for everybody, `reach` tells from the rules and routes of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING

from crossnet.design import then
from crossnet.design.admitted import Admitted, admitted
from crossnet.design.flows import (
    ANY,
    Effect,
    FlowChange,
    Flows,
    Span,
    addresses,
    as_allow,
    difference,
    merged,
    networks,
    traffic_words,
)
from crossnet.design.rules import FENCED
from crossnet.facts import Facts
from crossnet.facts.routes import default_network
from crossnet.facts.sysctls import forwards
from crossnet.netfilter import Engine
from crossnet.netfilter.own_walked import with_own
from crossnet.path import Path
from crossnet.planning import HostPlan, Plan
from crossnet.resources import Jump, Resource, RuleTable
from crossnet.unrouted import next_hops, unrouted
from crossnet.values import Family, Network, host_network, show_network

if TYPE_CHECKING:
    from crossnet.reach.asked import Asked
    from crossnet.reach.transit import Forwarded

# Where a gateway begins or ends to forward for everybody: so many of its interfaces are looked at, each with all rules,
# and so many rules in all. 5,000 rules that decide about all packets cost 2 seconds (measured).
MOST_INTERFACES = 16
MOST_RULES = 15_000


@dataclass(frozen=True, slots=True)
class _Passing:
    """What passes by crossnet's own rules and past those of others, which stop some of what is in `partly`."""

    flows: tuple[Flows, ...]
    partly: tuple[Flows, ...] = ()

    def known(self, other: _Passing) -> tuple[Flows, ...]:
        """Without what passes in part only, unless it does so on the other side too."""
        return difference(self.flows, difference(self.partly, other.partly))


@dataclass(frozen=True, slots=True)
class _Side:
    """The hosts before the plan, or after it.

    `unrouted` are clients without a route through the gateway that crossnet gives or gave them, and to where. `alone`
    are the gateways on which others have rules, as they would be with crossnet's only. `late` are those whose iptables
    enters crossnet's rules behind such as decide before them, as they would be if crossnet's admitted nothing.
    """

    facts: Mapping[str, Facts]
    rules: Mapping[tuple[str, Family], Admitted]
    unrouted: tuple[tuple[Family, Span, Span], ...]
    alone: Mapping[str, Facts] = field(default_factory=dict)
    late: Mapping[tuple[str, Family], Facts] = field(default_factory=dict)

    def forwards(self, host: str, family: Family, ingress: str) -> bool:
        return forwards(self.facts[host].sysctls, family, ingress)

    def stands(self, host: str, family: Family) -> Admitted:
        return self.rules.get((host, family), Admitted())

    def forwards_for_all(self, host: str, family: Family, ingress: str) -> bool:
        fenced = self.stands(host, family).fenced and (host, family) not in self.late
        return self.forwards(host, family, ingress) and not fenced

    def for_all(self, host: str, family: Family) -> Facts:
        """The host without what crossnet's rules admit, where they are not what decides first."""
        return self.late.get((host, family), self.facts[host])

    def flows(self) -> tuple[Flows, ...]:
        """What crossnet's own rules let pass, whatever others do with it."""
        found = [each for own in self.rules.values() for each in own.flows]
        return self.routed(each for each in found if self.forwards(each.gateway, each.family, each.ingress))

    def passing(self) -> _Passing:
        """What of it nobody else's rules stop."""
        passing: list[Flows] = []
        partly: list[Flows] = []
        for each in self.flows():
            stopped, in_part = self._stopped(each)
            passing += difference([each], stopped)
            partly += in_part
        return _Passing(tuple(passing), tuple(partly))

    def _stopped(self, flows: Flows) -> tuple[tuple[Flows, ...], tuple[Flows, ...]]:
        """What of them rules of others stop, and of what they stop a part that is no product."""
        alone = self.alone.get(flows.gateway)
        if alone is None:
            return (), ()
        from crossnet.reach.transit import lacking

        if (told := lacking(self.facts[flows.gateway], alone, _asked(flows), flows.egress)) is None:
            return (), ()
        lost, rest = told
        stopped = _within(flows, lost)
        if rest is None:
            return (stopped,), ()
        passing = _within(flows, rest)
        in_part = () if rest.exact else (stopped.both(passing),)
        return stopped.without(passing), in_part

    def routed(self, flows: Iterable[Flows]) -> tuple[Flows, ...]:
        """Without those of clients that lack a route for them."""
        found = tuple(flows)
        for family, sources, destinations in self.unrouted:
            ways = {each.way: each for each in found if each.family is family}
            lacking = [
                replace(one, sources=sources, destinations=destinations, traffic=ANY) for one in ways.values()
            ]
            found = difference(found, lacking)
        return found

    def carries(self, host: str, family: Family) -> frozenset[str]:
        """The bridges whose frames meet the rules, and pass crossnet's."""
        own = self.stands(host, family)
        bridges = frozenset(self.facts[host].bridges_filtered(family))
        return bridges & own.bridges if own.fenced else bridges


def most_looked_at(facts: Facts) -> int:
    """Of so many interfaces of a host it is told what comes in by them and goes on."""
    rules = sum(chain.count for table in facts.firewall.foreign for chain in table.chains.values())
    return min(MOST_INTERFACES, MOST_RULES // max(rules, 1))


def told_opening(plan: Plan, facts: Mapping[str, Facts]) -> Plan:
    """The plan, with what it opens and closes."""
    return replace(plan, opening=tuple(dict.fromkeys(opening(plan, facts))))


def opening(plan: Plan, facts: Mapping[str, Facts]) -> tuple[FlowChange, ...]:
    """What a plan opens, closes and leaves; nothing of a plan that changes nothing."""
    if not plan.changes:
        return ()
    made = {host.host: _made(host, facts[host.host]) for host in plan.hosts}
    hops = next_hops(plan, facts)
    found = {host.host: _found(host, facts[host.host]) for host in plan.hosts}
    applied = then(plan.paths, facts, made)
    before = _Side(
        facts,
        _rules(facts, found),
        tuple(unrouted(plan, facts, hops)),
        dict(_alone(facts, found)),
        dict(_entered_late(facts, found)),
    )
    after = _Side(
        applied, _rules(facts, made), tuple(unrouted(plan, applied, hops)), dict(_alone(applied, made))
    )
    return (*_of_crossings(plan, before, after), *_of_others(before, after))


def _made(host: HostPlan, facts: Facts) -> tuple[Resource, ...]:
    """What is there of crossnet when the plan is applied, and what it gives back or leaves as it is."""
    own = tuple(owned.applied for owned in host.after.owned)
    given = tuple(change.want for change in host.changes if change.want is not None)
    touched = {each.identity for each in (*own, *(change.resource for change in host.changes))}
    left = (owned.applied.current(facts) for owned in host.before.owned if owned.identity not in touched)
    return tuple(dict.fromkeys((*host.adopted, *given, *own, *(each for each in left if each is not None))))


def _found(host: HostPlan, facts: Facts) -> tuple[Resource, ...]:
    """What is there of crossnet's rules today."""
    rules = (owned.applied for owned in host.before.owned if isinstance(owned.applied, RuleTable | Jump))
    return tuple(found for each in rules if (found := each.current(facts)) is not None)


def _alone(
    facts: Mapping[str, Facts], resources: Mapping[str, Iterable[Resource]]
) -> Iterator[tuple[str, Facts]]:
    """The hosts on which others have rules, as they would be with crossnet's only."""
    for name, here in resources.items():
        firewall = facts[name].firewall
        own = [(each.engine, each.table) for each in here if isinstance(each, RuleTable)]
        if own and any(firewall.holds_rules(engine) for engine in Engine):
            yield name, replace(facts[name], firewall=replace(firewall, foreign=with_own((), own)))


def _entered_late(
    facts: Mapping[str, Facts], found: Mapping[str, Sequence[Resource]]
) -> Iterator[tuple[tuple[str, Family], Facts]]:
    """Of what is there today: the place of the jump decides, as rules of others come before it or not."""
    for name, here in found.items():
        for jump in here:
            if isinstance(jump, Jump) and jump.chain == FENCED and not jump.first:
                from crossnet.reach.front import in_front

                yield (name, jump.family), in_front(facts[name], jump.engine, jump.family)


def _rules(
    facts: Mapping[str, Facts], resources: Mapping[str, Iterable[Resource]]
) -> dict[tuple[str, Family], Admitted]:
    """What crossnet's rules let pass on each gateway: those of iptables only where it enters them."""
    found: dict[tuple[str, Family], Admitted] = {}
    for name in facts:
        here = tuple(resources.get(name, ()))
        entered = {
            (each.engine, each.family) for each in here if isinstance(each, Jump) and each.chain == FENCED
        }
        for each in here:
            if isinstance(each, RuleTable) and (
                not each.engine.is_iptables
                or (not each.only_accepts and (each.engine, each.family) in entered)
            ):
                found[name, each.family] = admitted(name, each.family, each.table)
    return found


# ---- crossings -----------------------------------------------------------------------------------


def _of_crossings(plan: Plan, before: _Side, after: _Side) -> Iterator[FlowChange]:
    old, new = before.passing(), after.passing()
    known_old, known_new = old.known(new), new.known(old)
    anyway, unsure = _anyway(difference(new.flows, known_old), before)
    old_flows, known_old = (*old.flows, *anyway), (*known_old, *anyway)
    still, doubtful = _anyway(difference(old_flows, known_new), after)
    new_flows, known_new = (*new.flows, *still), (*known_new, *still)
    partly = (*old.partly, *new.partly)
    hindered = _concerned(plan, "others-may-drop")
    seen_otherwise = _concerned(plan, "not-tracked", "others-translate")
    names = _Names(plan, before.facts)
    for each, sure in _apart(difference(new_flows, known_old), (*unsure, *partly)):
        told = names.told(Effect.OPENS, each, certain=sure and each.crossing not in hindered)
        yield replace(told, by_others=bool(each.seen_as) and each.crossing in seen_otherwise)
    for each, sure in _apart(difference(old_flows, known_new), (*doubtful, *partly)):
        yield names.told(Effect.CLOSES, each, certain=sure)
    for was in dict.fromkeys((each.crossing, each.seen_as) for each in known_old):
        known = [each for each in known_old if (each.crossing, each.seen_as) == was]
        both = [part for one in known_new for other in known if (part := one.both(other))]
        for each, sure in _apart(both, partly):
            told = names.told(Effect.STAYS, each, certain=sure)
            yield replace(told, was=was[0], seen_before=was[1])


def _apart(flows: Sequence[Flows], doubtful: Sequence[Flows]) -> Iterator[tuple[Flows, bool]]:
    """In few products, those that surely are so and those that only may be."""
    yield from ((each, True) for each in merged(difference(flows, doubtful)))
    parts = (part for each in flows for one in doubtful if (part := each.both(one)))
    yield from ((each, False) for each in merged(parts))


def _concerned(plan: Plan, *codes: str) -> set[str]:
    """The crossings of the plan with whose packets others do such things."""
    names = {name for impact in plan.impacts if impact.code in codes for name in impact.crossings}
    return {path.crossing.label for path in plan.paths if path.crossing.name in names}


def _anyway(flows: Iterable[Flows], side: _Side) -> tuple[list[Flows], list[Flows]]:
    """Those that pass without a crossing too, as the gateway forwards for everybody; and those that perhaps do."""
    from crossnet.reach.transit import forwards

    passing: list[Flows] = []
    perhaps: list[Flows] = []
    for each in side.routed(merged(flows)):
        if not side.forwards_for_all(each.gateway, each.family, each.ingress):
            continue
        told, translated = forwards(side.for_all(each.gateway, each.family), _asked(each), each.egress)
        if told is not False:
            # As whom they leave where others translate them is not said to change.
            seen_as = each.seen_as if translated else ()
            (passing if told else perhaps).append(replace(each, crossing="", seen_as=seen_as))
    return passing, perhaps


def _asked(flows: Flows) -> Asked:
    from crossnet.reach.asked import Asked

    return Asked(
        flows.gateway,
        networks(flows.destinations, flows.family),
        as_allow(flows.traffic, flows.family) or (),
        sources=networks(flows.sources, flows.family),
        ingress=flows.ingress,
    )


def _within(flows: Flows, told: Forwarded) -> Flows:
    """Those of these flows that are told."""
    sources, destinations, traffic = (
        Span(part) if part is not None else None for part in (told.sources, told.destinations, told.traffic)
    )
    return replace(
        flows,
        sources=sources or flows.sources,
        destinations=destinations or flows.destinations,
        traffic=traffic or flows.traffic,
    )


def _can_be_asked(flows: Flows) -> bool:
    """Whether what is asked of them is no more traffic than theirs."""
    return flows.traffic == ANY or as_allow(flows.traffic, flows.family) is not None


def _standing(plan: Plan) -> Iterator[Path]:
    """The packets of all crossings that the hosts keep, before and after, in the words of whoever applied them."""
    for host in plan.hosts:
        for one in (*host.after.crossings, *host.before.crossings):
            yield from one.carried


class _Names:
    """What people call the ends of flows: networks as specs have them, and addresses by the hosts that have them."""

    def __init__(self, plan: Plan, facts: Mapping[str, Facts]) -> None:
        paths = (*plan.paths, *_standing(plan))
        self._clients = {client.network: str(client) for path in paths for client in path.clients}
        self._to = {to: show_network(to) for path in paths for to in path.destinations}
        self._excepting = {
            addresses(path.destinations): path.crossing.shown(path.family)
            for path in paths
            if path.crossing.excepted
        }
        own = (
            (name, item.address)
            for name, one in facts.items()
            for link in one.links
            for item in link.addresses
        )
        self._hosts = {host_network(address): f"{name} {address}" for name, address in own}

    def told(self, effect: Effect, flows: Flows, *, certain: bool = True) -> FlowChange:
        return FlowChange(
            effect,
            flows.gateway,
            flows.family,
            flows.ingress,
            flows.egress,
            _named(flows.sources, flows.family, self._clients, self._hosts),
            self._named_to(flows),
            traffic_words(flows.traffic, flows.family),
            flows.crossing,
            flows.seen_as,
            certain=certain,
        )

    def _named_to(self, flows: Flows) -> tuple[str, ...]:
        words = self._excepting.get(flows.destinations)
        return (words,) if words else _named(flows.destinations, flows.family, self._to)


def _named(
    span: Span,
    family: Family,
    names: Mapping[Network, str],
    hosts: Mapping[Network, str] = MappingProxyType({}),
) -> tuple[str, ...]:
    """What is named whole in these numbers, the wider first; and the rest, of which single addresses have names too.

    Nothing where it is all there is, and the names leave something of that out.
    """
    mine = sorted((each for each in names if each.version == family), key=lambda each: each.prefixlen)
    everything = addresses([default_network(family)])
    if span == everything and addresses(mine) != everything:
        return ()
    known: list[Network] = []
    for _, alike in groupby(mine, key=lambda each: each.prefixlen):
        told = addresses(known)
        known += [each for each in alike if _holds(span, each) and not _holds(told, each)]
    left = span - addresses(known)
    single = [
        each for each in hosts if each.version == family and left.holds(*2 * (int(each.network_address),))
    ]
    if addresses(single) == left:
        known, left, names = [*known, *single], Span(), {**names, **hosts}
    wanted = set(known)
    words = [name for each, name in names.items() if each in wanted]
    for each in mine:
        whole = addresses([each])
        if not left or each in wanted or not left & whole:
            continue
        pieces, lacking = networks(left & whole, family), networks(whole - span, family)
        if len(pieces) > 2 and len(lacking) < len(pieces):
            excepted = ", ".join(hosts.get(one) or show_network(one) for one in lacking)
            words.append(f"{names[each]} except {excepted}")
            left -= whole
    return (*words, *map(show_network, networks(left, family)))


def _holds(span: Span, network: Network) -> bool:
    return span.holds(int(network.network_address), int(network.broadcast_address))


# ---- everybody else ------------------------------------------------------------------------------


def _of_others(before: _Side, after: _Side) -> Iterator[FlowChange]:
    for name in before.facts:
        for family in Family:
            yield from _transit(name, family, before, after)
            for effect, some, others in ((Effect.OPENS, after, before), (Effect.CLOSES, before, after)):
                for bridge in sorted(some.carries(name, family) - others.carries(name, family)):
                    yield _for_all(effect, name, family, bridge, bridge)


def _transit(name: str, family: Family, before: _Side, after: _Side) -> Iterator[FlowChange]:
    """What it begins or ends to forward for everybody: on one side nothing, on the other what `reach` tells.

    What crossings let pass is told as theirs.
    """
    links = [link for link in before.facts[name].links if link.name != "lo" and not link.master and link.up]
    moving = [
        link.name
        for link in links
        if before.forwards_for_all(name, family, link.name) != after.forwards_for_all(name, family, link.name)
    ]
    if not moving:
        return
    from crossnet.reach.transit import forwarded

    most = most_looked_at(before.facts[name])
    own = [
        (_asked(each), each.egress)
        for each in dict.fromkeys((*before.flows(), *after.flows()))
        if (each.gateway, each.family) == (name, family) and _can_be_asked(each)
    ]
    for side, other, effect in ((after, before, Effect.OPENS), (before, after, Effect.CLOSES)):
        some = [each for each in moving[:most] if not other.forwards_for_all(name, family, each)]
        for each in forwarded(side.for_all(name, family), family, some, own):
            sources, destinations, traffic = (
                Span(part) if part is not None else None
                for part in (each.sources, each.destinations, each.traffic)
            )
            yield replace(
                _for_all(effect, name, family, each.ingress, each.egress),
                clients=tuple(map(show_network, networks(sources, family))) if sources else (),
                to=tuple(map(show_network, networks(destinations, family))) if destinations else (),
                traffic=traffic_words(traffic or ANY, family),
                exact=each.exact,
                certain=each.certain,
            )
    for ingress in moving[most:]:
        opens = after.forwards_for_all(name, family, ingress)
        effect = Effect.OPENS if opens else Effect.CLOSES
        yield replace(_for_all(effect, name, family, ingress, ""), exact=False, certain=False)


def _for_all(effect: Effect, gateway: str, family: Family, ingress: str, egress: str) -> FlowChange:
    return FlowChange(effect, gateway, family, ingress, egress, (), (), traffic_words(ANY, family))
