"""What a crossing means: from a spec and the facts of its hosts to the resources that should be.

Pure: nothing here asks a host or changes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from crossnet.design import firewalld
from crossnet.design.again import again
from crossnet.design.applied import as_applied
from crossnet.design.asking import lookups
from crossnet.design.beside import beside, beside_impacts
from crossnet.design.conflicts import conflicts, gateway_settings, unfenced
from crossnet.design.engine import Choice, choose
from crossnet.design.foresight import Obstacle, foresee, obstacles
from crossnet.design.forwarded import may_drop
from crossnet.design.host_routes import host_routes
from crossnet.design.impacts import (
    Impact,
    client_impacts,
    gateway_impacts,
    given_up,
    kernel_impacts,
    path_impacts,
)
from crossnet.design.kernel import decided
from crossnet.design.lacking import lacking_for_probes
from crossnet.design.leaning import leaning_impacts
from crossnet.design.leases import comes_with_leases, lease_impacts, leased
from crossnet.design.let_through import let_through
from crossnet.design.longer import routed
from crossnet.design.overridden import overridden
from crossnet.design.overtaken import overtaken
from crossnet.design.own_rules import rules_for
from crossnet.design.persistence import as_whose, persistence
from crossnet.design.port_security import port_security
from crossnet.design.promised import probes_stopped
from crossnet.design.question import Refused
from crossnet.design.resolve import resolve
from crossnet.design.rules import Dialect, accepting_table, gateway_table
from crossnet.design.settings import closing, forwarded_before, forwarding, was_given_up
from crossnet.errors import PlanRefused, Refusal
from crossnet.facts import Facts
from crossnet.facts.routes import OWN_PROTOCOL, Route
from crossnet.facts.sysctls import FORWARDING
from crossnet.netfilter import Engine, Table
from crossnet.netfilter.own import is_plain_interface
from crossnet.path import Client, Path
from crossnet.record import Owned, Record, read_record
from crossnet.resources import AtCloud, Jump, Resource, RouteResource, RuleTable, Sysctl
from crossnet.resources.route import DEFAULT_METRIC
from crossnet.spec import Fence, Spec, spec_of
from crossnet.standing import Identity, Standing
from crossnet.standing import of as standing_of
from crossnet.values import Address, Family

__all__ = [
    "FORWARDING",
    "Choice",
    "Client",
    "Design",
    "Impact",
    "Obstacle",
    "Path",
    "design",
    "lookups",
    "obstacles",
    "then",
]

# Without ipset each pair of client and destination needs three rules; more than this walks too long.
MOST_LINEAR_RULES = 96


@dataclass(frozen=True, slots=True)
class Design:
    """What should be: resources by host, in no order yet, with the paths they serve and what they open.

    `stopped` is why nothing of a crossing would pass all the same. `crossings` are what each host is to keep of them,
    those of other specs among them; `left_alone` is what these alone need there.
    """

    paths: tuple[Path, ...]
    wanted: Mapping[str, tuple[Resource, ...]]
    fenced: frozenset[tuple[str, Family]]
    engines: Mapping[str, Choice]
    impacts: tuple[Impact, ...]
    stopped: tuple[Refusal, ...] = ()
    crossings: Mapping[str, tuple[Standing, ...]] = field(default_factory=dict)
    left_alone: Mapping[str, frozenset[Identity]] = field(default_factory=dict)


def design(
    spec: Spec,
    facts: Mapping[str, Facts],
    beside: Mapping[str, Sequence[Standing]] = MappingProxyType({}),
    *,
    moves: bool = True,
    stays: Mapping[str, Sequence[Resource]] = MappingProxyType({}),
) -> Design:
    """The resources that the spec's crossings need on these hosts; PlanRefused with every reason at once.

    `beside` are the crossings that stand on each host and stay, as its record has them: rules are made of all
    together. `moves` is whether rules that are applied may go to another engine than the one they stand in. `stays` is
    what is to be on each host although no crossing needs it any more.
    """
    refusals: list[Refusal] = []
    paths: list[Path] = []
    for crossing in spec.crossings:
        try:
            paths += resolve(crossing, facts)
        except Refused as refused:
            refusals += refused.refusals
    refusals += conflicts(paths, facts, beside)
    if refusals:
        raise PlanRefused(refusals)

    records = {name: read_record(one) for name, one in facts.items()}
    wanted: dict[str, list[Resource]] = {
        name: _needed(facts[name], records[name], beside.get(name, ())) for name in facts
    }
    theirs = {name: frozenset(each.identity for each in wanted[name]) for name in facts}
    engines: dict[str, Choice] = {}
    fenced: set[tuple[str, Family]] = set()
    impacts: list[Impact] = [
        impact
        for path in paths
        for impact in (
            *path_impacts(path),
            *client_impacts(path, facts),
            *kernel_impacts(path, facts),
            *leaning_impacts(facts[path.gateway], path),
        )
    ]
    own_paths = _by_gateway(paths)
    for name, own in _carried(paths, beside).items():
        settings = gateway_settings([path.crossing for path in own])
        record = records[name]
        choice = choose(facts[name], settings.firewall, _applied_engines(record), moves=moves)
        if isinstance(choice, Refusal):
            refusals.append(choice)
            continue
        engines[name] = choice
        for family in sorted({path.family for path in own}):
            group = [path for path in own if path.family is family]
            was_on = forwarded_before(facts[name], record, family)
            fence = settings.fence is Fence.ON or (settings.fence is Fence.AUTO and not was_on)
            if fence:
                fenced.add((name, family))
            if not was_on:  # a gateway has one setting for the fences of both families
                refusals += unfenced(own_paths.get(name, ()), family, record, beside.get(name, ()))
            if mine := [path for path in own_paths.get(name, ()) if path.family is family]:
                impacts += gateway_impacts(facts[name], mine, fence, was_on, choice)
                if fence and was_given_up(facts[name], record, family):
                    impacts.append(given_up(facts[name], family))
            try:
                wanted[name] += _gateway(facts[name], record, group, fence, choice)
            except Refused as refused:
                refusals += refused.refusals
        try:
            policy, told = firewalld.policy(facts[name], record, own, choice, asked=name in own_paths)
        except Refused as refused:
            refusals += refused.refusals
            continue
        wanted[name] += policy
        impacts += told
        if not _concerns_cloud(own_paths.get(name, ()), record, beside.get(name, ())):
            kept = [owned.applied for owned in record.owned if isinstance(owned.applied, AtCloud)]
            wanted[name] += kept
            theirs[name] |= {one.identity for one in kept}
            continue
        for at_cloud in (port_security, host_routes):
            try:
                opened, told = at_cloud(facts[name], record, own)
            except Refused as refused:
                refusals += refused.refusals
                continue
            wanted[name] += opened
            impacts += told if name in own_paths else ()
    needs: dict[tuple[str, str], dict[Identity, None]] = {}

    def need(path: Path, host: str, resources: Sequence[Resource]) -> None:
        wanted[host] += resources
        needs.setdefault((path.crossing.label, host), {}).update(
            dict.fromkeys(one.identity for one in resources)
        )

    for path in paths:
        for client in path.clients:
            if client.host is not None and not comes_with_leases(path):
                need(path, client.host, _routes(path, client, facts[client.host], records[client.host]))
    routed = _with_leases(paths, {name: as_applied(facts[name], wanted[name]) for name in facts})
    for path in paths:
        impacts += lease_impacts(path, facts, wanted)
        try:
            rules, told = rules_for(path, routed)
        except Refused as refused:
            refusals += refused.refusals
            continue
        impacts += told
        for name, needed in rules.items():
            need(path, name, needed)
    if refusals:
        raise PlanRefused(refusals)

    for name, left in stays.items():
        wanted[name] += left
        fenced |= {(name, one.family) for one in left if isinstance(one, RuleTable)}
    impacts += lacking_for_probes(paths, facts)
    impacts += let_through(paths, facts, records, wanted)
    applied = then(paths, facts, wanted)
    foreseen = foresee(paths, applied)
    impacts = [*_as_foreseen(impacts, foreseen.impacts), *foreseen.impacts]
    impacts += probes_stopped(paths, applied, impacts, foreseen.stopped)
    impacts += overtaken(paths, applied)
    standing = _standing(spec, paths, needs, beside, facts)
    for name in facts:
        live = tuple({one.identity: one for one in wanted[name]}.values())
        # Forwarding that was there before crossnet is not switched off when the fence goes: others live by it.
        closes = [
            setting
            for family in Family
            if (name, family) in fenced
            for setting in closing(facts[name], records[name], family, live)
        ]
        ordered = sorted(live, key=lambda one: (one.rank, one.key))
        outlives = name in stays and _is_persisted(records[name])
        try:
            keep, protocols, impact = persistence(
                facts[name], records[name], ordered, standing[name], closes, outlives=outlives, adds=moves
            )
        except Refused as refused:
            refusals += refused.refusals
            continue
        wanted[name] = [*(as_whose(one, protocols.get(one.identity)) for one in live), *keep]
        impacts += impact
        back = again(keep)
        if name in engines:
            impacts += firewalld.flushing(facts[name], engines[name], back)
        if name in own_paths:
            is_fenced = any((name, family) in fenced for family in Family)
            impacts += beside_impacts(facts[name], engines[name], back, fenced=is_fenced)
            settings_there = [one for one in live if isinstance(one, Sysctl)]
            impacts += overridden(facts[name], settings_there, back)
    if refusals:
        raise PlanRefused(refusals)
    return Design(
        paths=tuple(paths),
        wanted={name: tuple(resources) for name, resources in wanted.items()},
        fenced=frozenset(fenced),
        engines=engines,
        impacts=tuple(dict.fromkeys(impacts)),
        stopped=foreseen.stopped,
        crossings=standing,
        left_alone={
            name: frozenset(one.identity for one in wanted[name])
            if _is_of_others(spec, facts[name], paths, records[name], beside.get(name, ()))
            else theirs[name] - {one for (_, host), own in needs.items() if host == name for one in own}
            for name in facts
        },
    )


def _is_of_others(
    spec: Spec, facts: Facts, paths: Iterable[Path], record: Record, beside: Iterable[Standing]
) -> bool:
    """Whether all that stands there is that of other specs, and stays: what it lacks is theirs to see.

    What an undo could not write names this spec still.
    """
    host = facts.host
    comes = any(host == path.gateway or any(client.host == host for client in path.clients) for path in paths)
    stay = all(any(one.same_as(each) for each in beside) for one in record.crossings)
    if comes or not stay or not record.crossings:
        return False
    own = (owned.applied for owned in record.owned if not isinstance(owned.applied, AtCloud))
    there = (found for one in own if (found := one.current(facts)) is not None)
    named = {name for one in there for name in one.crossings}
    return spec.name not in map(spec_of, named)


def _concerns_cloud(paths: Iterable[Path], record: Record, beside: Iterable[Standing]) -> bool:
    """Whether anything that is asked for at a gateway, or ends there, is in a cloud: else that of others stays."""
    stay = {one.label for one in beside}
    ending = (path for one in record.crossings if one.label not in stay for path in one.paths)
    return any(path.crossing.cloud for path in (*paths, *ending))


def _as_foreseen(impacts: Iterable[Impact], foreseen: Iterable[Impact]) -> Iterator[Impact]:
    """What is said of the source that destinations get to see, where rules of others have a say in it."""
    codes = ("not-tracked", "others-translate")
    others = {f"crossing {name}" for each in foreseen if each.code in codes for name in each.crossings}
    for each in impacts:
        if each.code == "changes-source-identity" and each.where in others:
            yield replace(each, text=f"{each.text}, unless rules of others decide otherwise")
        else:
            yield each


def _needed(facts: Facts, record: Record, beside: Iterable[Standing]) -> list[Resource]:
    """What is there for crossings that stay, and for each of them alone: as it was applied.

    What of it was adopted stands in no record of what is owned; it is a route then.
    """
    found: dict[Identity, Resource] = {}
    for one in beside:
        for path in one.of_client(facts.host):
            for client in path.clients if not comes_with_leases(path) else ():
                found |= {route.identity: route for route in _routes(path, client, facts, record)}
    found |= {owned.identity: owned.applied for owned in record.owned}
    asked: dict[Identity, Resource] = {}
    for one in beside:
        clients = {client.network for path in one.paths for client in path.clients}
        needed = {identity: found[identity] for identity in one.needs if identity in found}
        asked |= {identity: each for identity, each in needed.items() if each.is_for(clients)}
    return list(asked.values())


def _carried(paths: Iterable[Path], beside: Mapping[str, Sequence[Standing]]) -> dict[str, list[Path]]:
    """What each gateway carries: what stays there, and then what is asked for."""
    found = {name: [one for each in own for one in each.on(name)] for name, own in beside.items()}
    for path in paths:
        found.setdefault(path.gateway, []).append(path)
    # By their names, so that the rules are the same whichever of the specs was applied last.
    return {
        name: sorted(own, key=lambda one: (one.crossing.label, one.family))
        for name, own in found.items()
        if own
    }


def _standing(
    spec: Spec,
    paths: Sequence[Path],
    needs: Mapping[tuple[str, str], Iterable[Identity]],
    beside: Mapping[str, Sequence[Standing]],
    facts: Mapping[str, Facts],
) -> dict[str, tuple[Standing, ...]]:
    """What each host is to keep of the crossings."""
    found = {name: list(beside.get(name, ())) for name in facts}
    for crossing in spec.crossings:
        hosts = [host for host in spec.hosts if crossing.touches(host.name)]
        resolved = [one for one in paths if one.crossing is crossing]
        for host in hosts:
            made = standing_of(spec.name, crossing.name, host.name, resolved, hosts)
            asked = needs.get((crossing.label, host.name), ())
            if made.is_known:
                found[host.name].append(replace(made, needs=tuple(sorted(asked))))
    return {name: tuple(sorted(own, key=lambda one: one.label)) for name, own in found.items()}


def then(
    paths: Iterable[Path], facts: Mapping[str, Facts], wanted: Mapping[str, Iterable[Resource]]
) -> dict[str, Facts]:
    """The facts of the hosts as they are when each has what is wanted there."""
    by_kernel = {
        name: [route for path in own for route in decided(facts[name], path)]
        for name, own in _by_gateway(paths).items()
    }
    return _with_leases(
        paths, {name: as_applied(facts[name], wanted[name], by_kernel.get(name, ())) for name in facts}
    )


def _with_leases(paths: Iterable[Path], applied: Mapping[str, Facts]) -> dict[str, Facts]:
    """The same hosts when clients have renewed the leases that bring them their routes."""
    more = leased(paths, applied)
    return {
        name: replace(one, routes=(*one.routes, *more[name])) if name in more else one
        for name, one in applied.items()
    }


def _applied_engines(record: Record) -> frozenset[Engine]:
    """The engines that hold rules of crossnet's, by the record of what was applied."""
    return frozenset(owned.applied.engine for owned in record.owned if isinstance(owned.applied, RuleTable))


def _by_gateway(paths: Iterable[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(path.gateway, []).append(path)
    return found


def _gateway(
    facts: Facts, record: Record, paths: Sequence[Path], fence: bool, choice: Choice
) -> list[Resource]:
    family = paths[0].family
    dialect = Dialect(choice.engine, facts.capabilities.has("ipset"))
    table = gateway_table(paths, fence, dialect, _bridges(facts, family))
    crossings = len({path.crossing.label for path in paths})
    counted = f"{crossings} crossing{'s' if crossings > 1 else ''}"
    resources = _rules(facts, choice.engine, family, table, f"{counted}, fence {'on' if fence else 'off'}")
    if choice.accepts is not None and _accepts(facts, record, choice.accepts, family):
        accepts = accepting_table(paths, replace(dialect, engine=choice.accepts))
        said = f"accepts {counted} there too{beside(facts)}"
        resources += _rules(facts, choice.accepts, family, accepts, said, accepts=True)
    return [*resources, *forwarding(facts, record, paths)]


def _accepts(facts: Facts, record: Record, engine: Engine, family: Family) -> bool:
    """Whether iptables has to accept the crossings of a family; what does so stays while it has nothing to do."""
    tables = (owned.applied for owned in record.owned if isinstance(owned.applied, RuleTable))
    applied = any(each.only_accepts and (each.engine, each.family) == (engine, family) for each in tables)
    return applied or may_drop(facts.firewall, engine, [family])


def _rules(
    facts: Facts, engine: Engine, family: Family, table: Table, summary: str, *, accepts: bool = False
) -> list[Resource]:
    able = facts.capabilities
    longest = max(len(chain.rules) for chain in table.chains)
    if engine.is_iptables and not able.has("ipset") and longest > MOST_LINEAR_RULES:
        raise Refused(
            Refusal(
                "ipset-missing",
                facts.host,
                f"{longest} iptables rules in a row would slow every new connection",
                "Install ipset on it, or use `firewall: nftables`.",
            )
        )
    command = facts.iptables(engine, family) if engine.is_iptables else ""
    waits = engine is Engine.IPTABLES_LEGACY and able.restore_waits
    resources: list[Resource] = [
        RuleTable(engine, family, table, summary, command, waits, only_accepts=accepts)
    ]
    if engine.is_iptables:
        resources += [Jump(engine, family, chain.name, command, waits=waits) for chain in table.chains]
    return resources


def _bridges(facts: Facts, family: Family) -> list[str]:
    return [name for name in facts.bridges_filtered(family) if is_plain_interface(name)]


def _routes(path: Path, client: Client, facts: Facts, record: Record) -> list[Resource]:
    routes = [
        RouteResource(
            Route(
                destination=network,
                via=client.next_hop,
                device=client.interface,
                protocol=OWN_PROTOCOL,
                metric=DEFAULT_METRIC[path.family],
            )
        )
        for network in routed(facts, path.crossing, path.family)
    ]
    return [
        replace(item, route=replace(item.route, source=_source(item, client, record.find(item))))
        for item in routes
    ]


def _source(item: RouteResource, client: Client, owned: Owned | None) -> Address | None:
    """The one that the gateway admits, where a kernel with several addresses may choose another.

    A route that was made keeps what it says of it while that is so: addresses come and go on an interface.
    """
    admitted = client.network.network_address
    applied = owned.applied if owned is not None else None
    if isinstance(applied, RouteResource):
        given = replace(item, route=replace(item.route, source=admitted))
        if applied.route.source == admitted or given.satisfied_by(applied):
            return applied.route.source
    return admitted if client.several_addresses else None


def _is_persisted(record: Record) -> bool:
    return any(one.applied.is_persistent for one in record.owned)
