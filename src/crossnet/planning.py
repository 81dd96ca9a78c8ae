"""What is against what should be: the ordered changes on every host, and what they open.

A plan is data. Showing it, saving it and applying it are the same value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from crossnet import dependents
from crossnet.dependents import Parting
from crossnet.design import Choice, Design, Impact, Passage, design
from crossnet.design.flows import FlowChange
from crossnet.design.lacking import lacking_for_a_change
from crossnet.design.management import cut, far_side_first, impacts, management_paths, touches
from crossnet.design.saved import saved_rules
from crossnet.errors import PlanRefused, Refusal
from crossnet.facts import Facts, Lookup
from crossnet.facts.sysctls import FORWARDING, TRACKED
from crossnet.netfilter.flows import MANY, SECONDS
from crossnet.persistence.unit import SYSCTL_FILE
from crossnet.record import Owned, Record, read_record, shown
from crossnet.resources import KINDS, Change, EndFlows, Phase, Resource, RuleTable, Step
from crossnet.spec import Spec
from crossnet.standing import Stamp, Standing


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host: what changes, what is used as it is, and crossnet's record there before and after.

    `touching` are those of the changes that touch the way on which crossnet reaches this or another host.
    """

    host: str
    changes: tuple[Change, ...]
    adopted: tuple[Resource, ...]
    before: Record
    after: Record
    touching: tuple[Change, ...] = ()

    @property
    def changes_record(self) -> bool:
        return bool(self.before.lost) or not self.before.same_as(self.after)

    @property
    def ended(self) -> tuple[Standing, ...]:
        """The crossings that stand there before and not after."""
        return tuple(one for one in self.before.crossings if self.after.standing(one.label) is None)

    def touches_last(self, change: Change) -> bool:
        """Whether it waits for the others of its kind: only what stands for itself can go in any order."""
        return change.resource.stands_alone and change in self.touching


@dataclass(frozen=True, slots=True)
class Plan:
    """All hosts, gateways first; `passages` is empty when everything is undone.

    Among the gateways, and among the clients, those that touch the management path come last, and of these
    the far side first. `guard_order` has all hosts in groups, the far side first: a host is reached through
    hosts of later groups only, so its guard has to be shorter than theirs. `asked` is what the hosts' kernels were
    asked for it: whoever looks at the hosts again asks it with all the rest. `stopped` says of which crossings nothing
    would pass when it is applied, and why. `opening` is what it opens and closes, None where nobody has
    asked for that. Its repr() leaves out what may be long, as that of Facts does.
    """

    spec: Spec = field(repr=False)
    passages: tuple[Passage, ...] = field(repr=False)
    hosts: tuple[HostPlan, ...] = field(repr=False)
    impacts: tuple[Impact, ...] = field(repr=False)
    wanted: Mapping[str, tuple[Resource, ...]] = field(repr=False)
    engines: Mapping[str, Choice]
    guard_order: tuple[tuple[str, ...], ...] = ()
    asked: Mapping[str, tuple[Lookup, ...]] = field(default_factory=dict, repr=False)
    stopped: tuple[Refusal, ...] = ()
    opening: tuple[FlowChange, ...] | None = field(default=None, repr=False)

    @property
    def tables(self) -> tuple[tuple[str, RuleTable], ...]:
        """crossnet's rules on each gateway, as they should be."""
        return tuple(
            (host, item)
            for host, resources in self.wanted.items()
            for item in resources
            if isinstance(item, RuleTable)
        )

    @property
    def changes(self) -> tuple[tuple[str, Change], ...]:
        return tuple((host.host, change) for host in self.hosts for change in host.changes)

    @property
    def kept(self) -> tuple[Standing, ...]:
        """What stands on these hosts and stays: crossings of other specs, and of its own where an undo leaves some."""
        own = {passage.crossing.label for passage in self.passages}
        found = {
            one.label: one for host in self.hosts for one in host.after.crossings if one.label not in own
        }
        return tuple(found.values())

    @property
    def ended(self) -> tuple[Standing, ...]:
        """The crossings that stand there before and not after."""
        return tuple({one.label: one for host in self.hosts for one in host.ended}.values())

    @property
    def steps(self) -> tuple[tuple[str, Change, tuple[Step, ...]], ...]:
        """What is done: changes that are equal may need another step, as in a file that somebody else keeps."""
        return tuple((host, change, change.steps) for host, change in self.changes)

    @property
    def is_empty(self) -> bool:
        return not self.changes

    @property
    def touched(self) -> tuple[str, ...]:
        """The hosts that applying it would write to: crossnet's record there is part of what changes."""
        return tuple(host.host for host in self.hosts if host.changes or host.changes_record)

    @property
    def touching(self) -> tuple[str, ...]:
        """The hosts on which a change touches the management path: their guard has to be proved first."""
        return tuple(host.host for host in self.hosts if host.touching)

    @property
    def touches_management_path(self) -> bool:
        return bool(self.touching)

    def touches(self, host: str, change: Change) -> bool:
        """Whether this change on that host touches the management path."""
        return any(change in one.touching for one in self.hosts if one.host == host)

    def live(self) -> tuple[tuple[str, Change], ...]:
        """What is changed before the confirmation, in order: adds before removes, removes in reverse.

        Only what touches the management path is last both ways, within its class. On each host first what
        guards the change itself over a power cut.
        """
        guards = [item for item in self.changes if _lays_guard(item[1])]
        ordered: list[tuple[str, Change]] = []
        guarded: set[str] = set()
        for item in self._in_order([one for one in self.changes if not one[1].resource.is_persistent]):
            if item[0] not in guarded:
                guarded.add(item[0])
                ordered += [guard for guard in guards if guard[0] == item[0]]
            ordered.append(item)
        return (*(guard for guard in guards if guard[0] not in guarded), *ordered)

    def persistent(self) -> tuple[tuple[str, Change], ...]:
        """What is written for the next boot, after the confirmation."""
        later = [item for item in self.changes if item[1].resource.is_persistent and not _lays_guard(item[1])]
        return tuple(sorted(self._in_order(later), key=lambda item: _leaves(item[1])))

    def _in_order(self, changes: Sequence[tuple[str, Change]]) -> tuple[tuple[str, Change], ...]:
        # Adds before removes: while traffic moves from one way to another, both stand.
        adding = [item for item in changes if not _takes_away(item[1])]
        removing = [item for item in changes if _takes_away(item[1])]
        changing = {(host, one.resource.kind) for host, one in adding if one.have is not None}

        def is_first(item: tuple[str, Change]) -> bool:
            return any((item[0], kind) in changing for kind in item[1].resource.holds_up)

        first = [item for item in removing if is_first(item)]
        left = [item for item in reversed(removing) if not is_first(item)]
        return (*first, *adding, *sorted(left, key=self._retreat))

    def _retreat(self, item: tuple[str, Change]) -> tuple[bool, int, int, bool]:
        """The place of a change that takes away: clients first, and on a host the last kind first."""
        name, change = item
        place, host = next((n, host) for n, host in enumerate(self.hosts) if host.host == name)
        gateway = name in _gateways(self.spec)
        return gateway, place, -change.resource.rank, host.touches_last(change)


def _leaves(change: Change) -> tuple[bool, bool]:
    """What ends it when the power goes in the middle is removed when there is nothing else to remove."""
    return change.resource.phase is Phase.GUARD, change.want is None and change.resource.goes_last


def _lays_guard(change: Change) -> bool:
    return change.want is not None and change.resource.phase is Phase.GUARD


def _takes_away(change: Change) -> bool:
    """A setting that goes back to its original is part of taking away, although it is never absent."""
    return change.action == "remove" or isinstance(change, Restoring)


@dataclass(frozen=True, slots=True)
class Undo:
    """Which crossings an undo takes back: those of its spec, else one of them, those of one host, or all there are."""

    crossing: str | None = None
    host: str | None = None
    all: bool = False

    def leaves(self, standing: Standing, spec: Spec) -> Standing | None:
        """What is left of a crossing; None where it is taken back."""
        is_own = standing.spec in ("", spec.name) and (
            spec.is_whole or any(one.name == standing.crossing for one in spec.crossings)
        )
        if not (self.all or is_own) or self.crossing not in (None, standing.crossing):
            return standing
        if self.host is None or self.host in (standing.gateway, ""):
            return None
        if self.host == standing.host:
            return None
        return standing.without_client(self.host)


OWN_CROSSINGS = Undo()


@dataclass(frozen=True, slots=True)
class Restoring(Change):
    """A change that gives a resource back as it was before crossnet."""


def make_plan(spec: Spec, facts: Mapping[str, Facts], *, moves: bool = True) -> Plan:
    """The plan that brings these hosts to what the spec asks for; PlanRefused says why there is none.

    `moves` is whether rules that are applied may go to another engine: what came after them may ask for that. A look at
    what was applied leaves them where they are.
    """
    records = _records(facts)
    beside = {
        name: tuple(each for each in one.crossings if is_beside(each, spec)) for name, one in records.items()
    }
    return _plan(spec, facts, records, design(spec, facts, beside, moves=moves))


def is_beside(standing: Standing, spec: Spec) -> bool:
    """Whether a crossing that stands on a host stays there when the spec is applied: it is none of its own.

    What is known by its name alone cannot stay: rules are made of what crossings need.
    """
    if not standing.is_known:
        return False
    if standing.spec != spec.name:
        return not any(standing.is_need_of(one) for one in spec.crossings)
    return not spec.is_whole and all(one.name != standing.crossing for one in spec.crossings)


def _plan(
    spec: Spec,
    facts: Mapping[str, Facts],
    records: Mapping[str, Record],
    wanted: Design,
    *,
    is_undo: bool = False,
) -> Plan:
    kept = {name: {(item.kind, item.key) for item in items} for name, items in wanted.wanted.items()}
    partings = {name: dependents.parting(one, records[name], kept[name]) for name, one in facts.items()}
    hosts = [_host_plan(one, records[name], wanted, partings[name]) for name, one in facts.items()]
    unknown = (
        refusal
        for name in facts
        for refusal in _unknown(facts[name], records[name], kept[name] | partings[name].stays)
    )
    if refusals := [*unknown, *_flawed(hosts)]:
        raise PlanRefused(refusals)
    found = [impact for host in hosts for impact in _of_record(host, spec, is_undo=is_undo)]
    found += [impact for host in hosts for impact in _older_flows(host, facts[host.host])]
    found += [impact for host in hosts for impact in _staying(host, facts[host.host])]
    found += [impact for name in facts for impact in partings[name].impacts]
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
        wanted.passages,
        tuple(hosts),
        (*found, *wanted.impacts),
        wanted.wanted,
        wanted.engines,
        asked={name: tuple(one.lookups) for name, one in facts.items()},
        stopped=wanted.stopped,
    )
    return _with_management_path(made, facts)


def make_undo_plan(spec: Spec, facts: Mapping[str, Facts], what: Undo = OWN_CROSSINGS) -> Plan:
    """The plan that takes crossings back, from the hosts' own records.

    With its last crossing a host is as it was before crossnet.
    """
    records = _records(facts)
    beside = {
        name: tuple(left for each in one.crossings if (left := what.leaves(each, spec)) and left.is_known)
        for name, one in records.items()
    }
    nothing = design(replace(spec, crossings=()), facts, beside, moves=False)
    return _plan(spec, facts, records, nothing, is_undo=True)


def _same_machine(facts: Mapping[str, Facts]) -> Iterator[Refusal]:
    """Hosts that are one: it would be changed twice, and its transaction would lock out itself."""
    names: dict[tuple[str, str], list[str]] = {}
    for name, one in facts.items():
        if one.boot and one.network:
            names.setdefault((one.boot, one.network), []).append(name)
    for same in names.values():
        if len(same) > 1:
            yield Refusal(
                "same-machine",
                " and ".join(same),
                "are one machine: the same start of it, and the same network namespace",
                f"Name it once under `hosts:`, as `{same[0]}` for one, and use that name in every crossing.",
            )


def _records(facts: Mapping[str, Facts]) -> dict[str, Record]:
    """The record of every host; PlanRefused with all that cannot be used."""
    records: dict[str, Record] = {}
    refusals = list(_same_machine(facts))
    for name, one in facts.items():
        try:
            records[name] = read_record(one)
        except PlanRefused as refused:
            refusals += refused.refusals
    if refusals:
        raise PlanRefused(refusals)
    return records


def _flawed(hosts: Iterable[HostPlan]) -> Iterator[Refusal]:
    """What would be changed and could not be put back: somebody else has written into what is crossnet's."""
    for host in hosts:
        for change in host.changes:
            if change.have is not None and (flaw := change.have.flaw):
                yield Refusal(
                    "foreign-in-own",
                    host.host,
                    f"{change.have.kind} {change.have.key} is not as crossnet writes it, so a roll-back could not "
                    f"put it back: {flaw}",
                    change.have.repair,
                )


def _unknown(facts: Facts, record: Record, keep: set[tuple[str, str]]) -> Iterator[Refusal]:
    """What is to be given back, and nobody knows how it was; unless the host's own files say how it is to be."""
    for owned in record.owned:
        if not owned.is_unknown or owned.identity in keep:
            continue
        others = [item for item in facts.boot_settings if item.file != SYSCTL_FILE]
        for name in owned.applied.values:
            is_on = facts.sysctls.get(name, "0") != "0"
            if not is_on or any(item.name == name and item.value != "0" for item in others):
                continue
            yield Refusal(
                "forwarding-unknown",
                facts.host,
                f"{name} is on, its record of whether it was on before crossnet is lost, and crossnet's "
                "own rules there keep nobody out: to leave it on may leave the host open, to switch it off may "
                "cut off others",
                f"Where nothing else needs it: `sysctl -w {name}=0` on the host, then again. Where "
                f"something does: write `{name} = 1` into a file of its own in /etc/sysctl.d there.",
            )


def _of_record(host: HostPlan, spec: Spec, *, is_undo: bool) -> Iterator[Impact]:
    """What the host's record says, or does not say any more, that whoever decides has to know."""
    before = host.before
    if before.rebuilt:
        yield Impact("unrecorded", host.host, _what_is_lost(host))
    for one in host.ended:
        asked = one.spec in ("", spec.name) and any(each.name == one.crossing for each in spec.crossings)
        if not (is_undo and asked):
            yield Impact("ends-crossing", host.host, _why_it_ends(one, spec))


def _why_it_ends(standing: Standing, spec: Spec) -> str:
    ends = f"ends crossing {standing.label}"
    if standing.spec in ("", spec.name):
        return f"{ends}: it is applied there, and this spec has no crossing of that name"
    if any(standing.is_need_of(one) for one in spec.crossings):
        return (
            f"takes crossing {standing.crossing} over from spec {standing.spec}: {_applied(standing.stamp)}"
        )
    if standing.is_known:
        return f"{ends}, of another spec: {_applied(standing.stamp)}"
    return f"{ends}, of another spec: what it needs is not known. Apply spec {standing.spec} again afterwards"


def _applied(stamp: Stamp) -> str:
    said = f" ({stamp.message})" if stamp.message else ""
    return f"applied by {stamp.who} at {stamp.when}{said}"


def _what_is_lost(host: HostPlan) -> str:
    before = host.before
    if before.lost:
        made = [owned.applied for owned in before.owned if not owned.applied.is_never_absent]
        known = shown(made) or "nothing"
        text = f"its record {before.lost}; it is made anew from what crossnet alone makes there: {known}"
    else:
        text = "its record was lost once, and made anew"
    taken = [owned.applied for owned in before.owned if owned.applied.is_never_absent]
    names = " and ".join(one.key for one in taken if one.key in FORWARDING.values())
    if not names:
        return f"{text}. What stood in the place of its files before is not known"
    off = any(change.resource.key in FORWARDING.values() for change in host.changes if not host.after.owned)
    then = "it is switched off" if off else "it counts as off"
    return f"{text}. Whether {names} was on before is not known: {then}"


def _with_management_path(plan: Plan, facts: Mapping[str, Facts]) -> Plan:
    """The same with its hosts in order, and marks on what touches the way on which crossnet works."""
    paths = management_paths(plan.spec, facts)
    groups = far_side_first(facts, paths)
    found: list[Impact] = []
    refusals: list[Refusal] = []
    hosts = []
    for host in plan.hosts:
        touched = tuple(touches(facts[host.host], host.changes, paths, plan.passages))
        refusals += cut(facts[host.host], touched, paths, plan.passages)
        found += impacts(host.host, touched)
        marked = [change for touch in touched for change in touch.changes]
        touching = tuple(change for change in host.changes if change in marked)
        hosts.append(_touching_last(replace(host, touching=touching)) if touching else host)
    if refusals:
        raise PlanRefused(refusals)
    gateways = _gateways(plan.spec)
    group = {name: n for n, names in enumerate(groups) for name in names}
    hosts.sort(key=lambda host: (host.host not in gateways, bool(host.touching), group[host.host]))
    return replace(plan, hosts=tuple(hosts), impacts=(*found, *plan.impacts), guard_order=groups)


def _touching_last(host: HostPlan) -> HostPlan:
    def place(change: Change) -> tuple[bool, int, bool]:
        return _takes_away(change), change.resource.rank, host.touches_last(change)

    return replace(host, changes=tuple(sorted(host.changes, key=place)))


def _gateways(spec: Spec) -> frozenset[str]:
    return frozenset(crossing.via for crossing in spec.crossings)


def _host_plan(facts: Facts, record: Record, wanted: Design, leaving: Parting) -> HostPlan:
    resources = sorted(wanted.wanted[facts.host], key=lambda resource: resource.rank)
    changes: list[Change] = []
    adopted: list[Resource] = []
    owned: list[Owned] = []
    left_alone = wanted.left_alone.get(facts.host, frozenset())
    for wanting in resources:
        known = record.find(wanting)
        if (wanting.kind, wanting.key) in left_alone:
            owned += [known] if known is not None else []
            continue
        applied = known.applied if known else None
        resource = wanting.knowing(applied, facts)
        ours = resource.ours(facts) if known else None
        have = ours.knowing(applied, facts) if ours else resource.current(facts)
        if have is not None and resource.satisfied_by(have):
            if ours is None and not resource.is_only_ours:
                adopted.append(have)
                continue
        else:
            changes.append(Change(have, resource))
        if known:
            owned.append(replace(known, applied=resource))
        else:
            original = None if resource.is_only_ours else have
            boot = facts.boot if original is not None and not original.is_persistent else ""
            owned.append(Owned(original, resource, boot, dependents.before(resource, facts)))
    keep = {(resource.kind, resource.key) for resource in resources}
    before = {one.label: one for one in record.crossings}
    crossings = tuple(
        was if (was := before.get(one.label)) is not None and was.same_as(one) else one
        for one in wanted.crossings.get(facts.host, ())
    )
    return HostPlan(
        facts.host,
        (*_joined(changes, resources), *_restore(facts, record, keep, leaving)),
        tuple(adopted),
        record,
        Record(crossings, tuple(sorted(owned, key=_place)), record.rebuilt if owned else False),
    )


def _place(owned: Owned) -> tuple[int, str, str]:
    """In a record, whichever spec was applied last."""
    return owned.applied.rank, *owned.identity


def _older_flows(host: HostPlan, facts: Facts) -> Iterator[Impact]:
    """What cannot be ended there, although the change concerns it."""
    tools = facts.capabilities
    count = facts.sysctls.get(TRACKED, "")
    tracked = int(count) if count.isdecimal() and len(count) < 12 else 0
    if lacking := [tool for tool in ("conntrack", "awk") if not tools.has(tool)]:
        text = "keep their old fate until they end: there is no {} to end those that the change concerns"
        text = text.format(" and no ".join(lacking))
    elif tracked > MANY:
        text = (
            f"may keep their old fate until they end: {tracked:,} are tracked, and crossnet ends those that the "
            f"change concerns for {SECONDS} seconds, the most at once first"
        )
    else:
        return
    settings = {
        name: value
        for change in host.changes
        if change.want is not None
        for name, value in change.want.values.items()
    }
    for family, name in FORWARDING.items():
        rules = [change for change in host.changes if change.resource.decides(family)]
        # Where nothing is forwarded before, or after, no flow has an old fate to keep.
        forwards = facts.sysctls.get(name) == "1" and settings.get(name) != "0"
        if forwards and any(isinstance(step, EndFlows) for change in rules for step in change.steps):
            yield Impact(
                "older-flows",
                host.host,
                f"{family.label} connections that it forwards already {text}",
            )


def _staying(host: HostPlan, facts: Facts) -> Iterator[Impact]:
    """What cannot be taken away with what made it appear."""
    for change in host.changes:
        have = change.have
        if have is not None and (text := type(have).leaves_behind(have, change.want, facts)):
            yield Impact("tables-stay", host.host, text)


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
        if owned.identity in keep or owned.identity in leaving.stays:
            continue
        have = owned.applied.ours(facts)
        original = leaving.original(owned)
        if original is not None and not original.has_place(facts):
            original = None  # its interface is gone, and with it what could be given back
        if have == original or owned.is_unknown:
            continue
        changes.append(Restoring(have, original))
    return tuple(sorted(changes, key=lambda change: change.resource.rank))
