"""What is against what should be: the ordered changes on every host, and what they open.

A plan is data. Showing it, saving it and applying it are the same value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from crossnet import dependents
from crossnet.dependents import Parting
from crossnet.design import Design, Impact, design
from crossnet.design.lacking import lacking_for_a_change
from crossnet.design.saved import saved_rules
from crossnet.errors import PlanRefused, Refusal
from crossnet.facts import Facts
from crossnet.planning.impacts import (
    from_leases,
    lost,
    of_others,
    of_record,
    of_time,
    older_flows,
    remembered,
    staying,
)
from crossnet.planning.lapse import is_armed, lapses
from crossnet.planning.management_path import far_side_first, management_paths
from crossnet.planning.plan import HostPlan, Lapse, Plan, Restoring, gateways, takes_away
from crossnet.planning.refusals import flawed, records_of, unknown_originals
from crossnet.planning.scope import OWN_CROSSINGS, UNDO, Undo, going_on, is_beside, takes_back
from crossnet.planning.touches import cut, led_away, told, touches
from crossnet.record import Adopted, Owned, Record
from crossnet.resources import KINDS, Change, Resource
from crossnet.spec import Spec
from crossnet.standing import Standing

__all__ = [
    "OWN_CROSSINGS",
    "UNDO",
    "HostPlan",
    "Lapse",
    "Plan",
    "Restoring",
    "Undo",
    "make_plan",
    "make_undo_plan",
    "takes_back",
]


def make_plan(spec: Spec, facts: Mapping[str, Facts], *, moves: bool = True) -> Plan:
    """The plan that brings these hosts to what the spec asks for; PlanRefused says why there is none.

    `moves` is whether rules that are applied may go to another engine: what came after them may ask for that. A look at
    what was applied leaves them where they are.
    """
    records = records_of(facts)
    beside = {
        name: tuple(each for each in one.crossings if is_beside(each, spec, facts[name].clock))
        for name, one in records.items()
    }
    wanted = design(going_on(spec, facts), facts, beside, moves=moves)
    touched = {name for name in facts if any(one.touches(name) for one in spec.crossings)}
    theirs = {name for name in facts if name not in touched and _is_lost_to_others(records[name], spec)}
    return _plan(spec, facts, records, wanted, theirs)


def _plan(
    spec: Spec,
    facts: Mapping[str, Facts],
    records: Mapping[str, Record],
    wanted: Design,
    theirs: Collection[str],
    *,
    is_undo: bool = False,
) -> Plan:
    """`theirs` are the hosts of which nothing but crossings of other specs is known: those can make their records."""
    kept = {name: {item.identity for item in items} for name, items in wanted.wanted.items()}
    ours = {name: one for name, one in facts.items() if name not in theirs}
    partings = {name: dependents.parting(one, records[name], kept[name]) for name, one in ours.items()}
    hosts = [
        _host_plan(one, records[name], wanted, partings[name])
        if name in ours
        else _as_it_is(name, records[name])
        for name, one in facts.items()
    ]
    unknown = (
        refusal
        for name in ours
        for refusal in unknown_originals(facts[name], records[name], kept[name] | partings[name].stays)
    )
    if refusals := [*unknown, *flawed(hosts)]:
        raise PlanRefused(refusals)
    hosts = [
        replace(one, lapses=lapses(spec, one, facts[one.host])) if one.changes or one.changes_record else one
        for one in hosts
    ]
    going_on = {one.label for host in hosts for one in host.after.crossings if one.carried}
    found = [
        impact
        for host in hosts
        for impact in of_record(host, spec, facts[host.host], going_on, is_undo=is_undo)
    ]
    found += () if is_undo else of_others(hosts, spec)
    found += of_time(spec, hosts, facts, is_undo=is_undo)
    found += [impact for host in hosts for impact in older_flows(host, facts[host.host])]
    found += [impact for host in hosts for impact in lost(host)]
    found += [
        impact
        for host in hosts
        if host.host in ours
        for impact in staying(host, facts[host.host], kept[host.host])
    ]
    found += from_leases(hosts, facts)
    found += [impact for host in hosts for impact in remembered(host, facts[host.host])]
    found += [impact for name in ours for impact in partings[name].impacts]
    found += [
        impact
        for host in hosts
        if host.changes or host.changes_record
        for impact in lacking_for_a_change(facts[host.host])
    ]
    found += [
        impact for host in hosts for impact in saved_rules(facts[host.host], leaving=not host.after.owned)
    ]
    made = Plan(
        spec,
        wanted.paths,
        tuple(hosts),
        (*found, *wanted.impacts),
        wanted.wanted,
        wanted.engines,
        asked={name: tuple(one.lookups) for name, one in facts.items()},
        stopped=wanted.stopped,
        left_alone=wanted.left_alone,
    )
    return _with_management_path(made, facts)


def make_undo_plan(spec: Spec, facts: Mapping[str, Facts], what: Undo = OWN_CROSSINGS) -> Plan:
    """The plan that takes crossings back, from the hosts' own records.

    With its last crossing a host is as it was before crossnet.
    """
    records = records_of(facts)
    named = records.get(what.host or "")
    called = {one.label: one.host for one in named.crossings if one.host} if named is not None else {}
    beside = {
        name: tuple(
            left
            for each in one.crossings
            if (left := what.leaves(each, spec, called))
            and left.is_known
            and not left.is_over(facts[name].clock)
        )
        for name, one in records.items()
    }
    nothing = design(replace(spec, crossings=()), facts, beside, moves=False)
    theirs = {
        name
        for name, one in records.items()
        if _is_lost_to_others(one, spec) and all(what.leaves(each, spec, called) for each in one.crossings)
    }
    return _plan(spec, facts, records, nothing, theirs, is_undo=True)


def _is_lost_to_others(record: Record, spec: Spec) -> bool:
    """Whether a record is lost, and all that stands there is known to be of other specs."""
    return (
        bool(record.lost)
        and bool(record.crossings)
        and all(one.spec not in ("", spec.name) for one in record.crossings)
    )


def _with_management_path(plan: Plan, facts: Mapping[str, Facts]) -> Plan:
    """The same with its hosts in order, and marks on what touches the way on which crossnet works."""
    ways = management_paths(plan.spec, facts)
    groups = far_side_first(facts, ways)
    found: list[Impact] = []
    refusals: list[Refusal] = []
    hosts = []
    for host in plan.hosts:
        touched = tuple(touches(facts[host.host], host.changes, ways, plan.paths))
        refusals += cut(facts[host.host], touched, ways, plan.paths)
        refusals += dict.fromkeys(led_away(facts[host.host], ways, plan.paths))
        found += told(host.host, touched)
        marked = [change for touch in touched for change in touch.changes]
        touching = tuple(change for change in host.changes if change in marked)
        hosts.append(_touching_last(replace(host, touching=touching)) if touching else host)
    if refusals:
        raise PlanRefused(refusals)
    of_spec = gateways(plan)
    group = {name: n for n, names in enumerate(groups) for name in names}
    hosts.sort(key=lambda host: (host.host not in of_spec, bool(host.touching), group[host.host]))
    return replace(plan, hosts=tuple(hosts), impacts=(*found, *plan.impacts), guard_order=groups)


def _touching_last(host: HostPlan) -> HostPlan:
    def place(change: Change) -> tuple[bool, int, bool]:
        return takes_away(change), change.resource.rank, host.touches_last(change)

    return replace(host, changes=tuple(sorted(host.changes, key=place)))


def _as_it_is(host: str, record: Record) -> HostPlan:
    """A host that is neither changed nor told of."""
    found = replace(record, lost="", rebuilt=False)
    return HostPlan(host, (), (), found, found)


def _host_plan(facts: Facts, record: Record, wanted: Design, leaving: Parting) -> HostPlan:
    resources = sorted(wanted.wanted[facts.host], key=lambda resource: resource.rank)
    changes: list[Change] = []
    adopted: list[Resource] = []
    owned: list[Owned] = []
    used: list[Adopted] = []
    left_alone = wanted.left_alone.get(facts.host, frozenset())
    for wanting in resources:
        known, use = record.find(wanting), record.adoption(wanting)
        if wanting.identity in left_alone:
            owned += [known] if known is not None else []
            used += [use] if use is not None else []
            continue
        applied = known.applied if known else None
        resource = wanting.knowing(applied, facts)
        ours = resource.ours(facts) if known else None
        have = ours.knowing(applied, facts) if ours else resource.current(facts)
        if use is not None and (not resource.satisfied_by(use.found) or use.found.is_given_up(facts)):
            use = None
        if have is not None and resource.satisfied_by(have):
            if ours is None and not resource.is_only_ours:
                adopted.append(have)
                used.append(use or Adopted(have, resource))
                continue
        elif use is not None and known is None and resource.is_never_absent:
            changes.append(Change(have, use.found))  # brought back, and nobody's to give back, as before
            used.append(use)
            continue
        else:
            changes.append(Change(have, resource))
        if known:
            owned.append(replace(known, applied=resource))
        else:
            original = None if resource.is_only_ours else have
            boot = facts.boot if original is not None and not original.is_persistent else ""
            owned.append(Owned(original, resource, boot, dependents.before(resource, facts)))
    keep = {resource.identity for resource in resources}
    owned += (one for one in record.owned if one.identity not in keep and one.applied.untold(facts))
    before = {one.label: one for one in record.crossings}
    after = wanted.crossings.get(facts.host, ())
    stay = {one.label for one in after}
    ending = [one for one in record.crossings if one.label not in stay and not one.is_over(facts.clock)]
    crossings = tuple(
        was
        if (was := before.get(one.label)) is not None and was.same_as(one)
        else replace(one, taken_from=was.taken_from if was is not None else _taken_from(one, ending))
        for one in after
    )
    return HostPlan(
        facts.host,
        (*_joined(changes, resources), *_restore(facts, record, keep, leaving)),
        tuple(adopted),
        record,
        Record(
            crossings,
            tuple(sorted(owned, key=_place)),
            record.rebuilt if owned else False,
            adopted=tuple(sorted(used, key=_place)),
        ),
        is_armed=is_armed(facts) or all(one.until is None for one in crossings),
    )


def _taken_from(one: Standing, ending: Sequence[Standing]) -> str:
    """Whose a crossing was that is taken over, as `spec ann, applied by ann from desk at …`; nothing where it is new.

    Of another spec nothing else ends when a spec is applied, but what is known by its name alone.
    """
    for other in ending:
        if other.is_known and other.spec not in ("", one.spec) and other.crossing == one.crossing:
            return f"spec {other.spec}, {other.stamp}" if other.stamp.who else f"spec {other.spec}"
    return ""


def _place(one: Owned | Adopted) -> tuple[int, str, str]:
    """In a record, whichever spec was applied last."""
    resource = one.applied if isinstance(one, Owned) else one.wanted
    return resource.rank, *one.identity


def _joined(changes: Sequence[Change], resources: Sequence[Resource]) -> Sequence[Change]:
    for kind in KINDS.values():
        changes = kind.joined(changes, resources)
    return changes


def _restore(
    facts: Facts, record: Record, keep: set[tuple[str, str]], leaving: Parting
) -> tuple[Change, ...]:
    """What gives back everything that the record holds and nobody wants any more."""
    changes = []
    for owned in record.owned:
        if owned.identity in keep or owned.identity in leaving.stays or owned.applied.untold(facts):
            continue
        have = owned.applied.ours(facts)
        original = leaving.original(owned)
        if original is not None and not original.has_place(facts):
            original = None  # its interface is gone, and with it what could be given back
        if have == original or owned.is_unknown:
            continue
        changes.append(Restoring(have, original))
    return tuple(sorted(changes, key=lambda change: change.resource.rank))
