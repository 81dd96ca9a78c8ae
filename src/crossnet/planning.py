"""What is against what should be: the ordered changes on every host, and what they open.

A plan is data. Showing it, saving it and applying it are the same value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from crossnet.design import Choice, Design, Impact, Passage, design
from crossnet.facts import Facts
from crossnet.persistence.unit import BOOT_GUARD
from crossnet.record import Owned, Record, read_record
from crossnet.resources import Change, Resource, RuleTable
from crossnet.spec import Spec

# In which order changes are made; undo is this order reversed.
ORDER = {
    "table": 0,  # what may pass and what may not is settled before anything can pass
    "jump": 1,  # iptables enters the chains only now, when they are whole
    "sysctl": 2,  # forwarding starts behind rules that already stand
    "route": 3,  # traffic is attracted last, when the way is open
    "file": 4,  # nothing is written for the next boot before the change is confirmed
    "service": 5,  # and the unit is enabled when its files are there
}

# A reboot before the confirmation boots the old state, because nothing of these was written (03: finding 8).
PERSISTENT = frozenset({"file", "service"})


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host: what changes, what is used as it is, and crossnet's record there before and after."""

    host: str
    changes: tuple[Change, ...]
    adopted: tuple[Resource, ...]
    before: Record
    after: Record

    @property
    def changes_record(self) -> bool:
        return not self.before.same_as(self.after)


@dataclass(frozen=True, slots=True)
class Plan:
    """All hosts, gateways first; `passages` is empty when everything is undone."""

    spec: Spec
    passages: tuple[Passage, ...]
    hosts: tuple[HostPlan, ...]
    impacts: tuple[Impact, ...]
    wanted: Mapping[str, tuple[Resource, ...]]
    engines: Mapping[str, Choice]

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
    def is_empty(self) -> bool:
        return not self.changes

    @property
    def touched(self) -> tuple[str, ...]:
        """The hosts that applying it would write to: crossnet's record there is part of what changes."""
        return tuple(host.host for host in self.hosts if host.changes or host.changes_record)

    def live(self) -> tuple[tuple[str, Change], ...]:
        """What is changed before the confirmation, in order: adds before removes, removes in reverse.

        On each host first what guards the change itself over a power cut.
        """
        guards = [item for item in self.changes if _lays_guard(item[1])]
        ordered: list[tuple[str, Change]] = []
        for item in _in_order([item for item in self.changes if not _is_persistent(item[1])]):
            ordered += [guard for guard in guards if guard[0] == item[0] and guard not in ordered]
            ordered.append(item)
        return (*(guard for guard in guards if guard not in ordered), *ordered)

    def persistent(self) -> tuple[tuple[str, Change], ...]:
        """What is written for the next boot, after the confirmation."""
        later = [item for item in self.changes if _is_persistent(item[1]) and not _lays_guard(item[1])]
        return _in_order(later)


def _is_persistent(change: Change) -> bool:
    return change.resource.kind in PERSISTENT


def _lays_guard(change: Change) -> bool:
    return change.want is not None and (change.resource.kind, change.resource.key) in BOOT_GUARD


def _in_order(changes: Iterable[tuple[str, Change]]) -> tuple[tuple[str, Change], ...]:
    # Adds before removes: while traffic moves from one way to another, both stand.
    listed = list(changes)
    adding = [item for item in listed if item[1].action != "remove" and not _is_reset(item[1])]
    removing = [item for item in listed if item not in adding]
    # But a chain can go only when nothing jumps into it any more.
    shrinking = {host for host, one in adding if one.resource.kind == "table" and one.have}
    jumps = [item for item in removing if item[1].resource.kind == "jump" and item[0] in shrinking]
    return (*jumps, *adding, *(item for item in reversed(removing) if item not in jumps))


def _is_reset(change: Change) -> bool:
    """A setting that goes back to its original is part of taking away, although it is never absent."""
    return isinstance(change, Restoring)


@dataclass(frozen=True, slots=True)
class Restoring(Change):
    """A change that gives a resource back as it was before crossnet."""


def make_plan(spec: Spec, facts: Mapping[str, Facts]) -> Plan:
    """The plan that brings these hosts to what the spec asks for; PlanRefused says why there is none."""
    wanted = design(spec, facts)
    hosts = tuple(_host_plan(facts[name], wanted, spec) for name in _gateways_first(spec, facts))
    return Plan(spec, wanted.passages, hosts, wanted.impacts, wanted.wanted, wanted.engines)


def make_undo_plan(spec: Spec, facts: Mapping[str, Facts]) -> Plan:
    """The plan that puts every host back to what it was before crossnet, from the hosts' own records."""
    hosts = []
    for name in _gateways_first(spec, facts):
        record = read_record(facts[name])
        changes = _restore(facts[name], record, keep=set())
        hosts.append(HostPlan(name, changes, (), record, Record()))
    return Plan(spec, (), tuple(hosts), (), {}, {})


def _gateways_first(spec: Spec, facts: Mapping[str, Facts]) -> list[str]:
    gateways = {crossing.via for crossing in spec.crossings}
    return sorted(facts, key=lambda name: name not in gateways)


def _host_plan(facts: Facts, wanted: Design, spec: Spec) -> HostPlan:
    record = read_record(facts)
    resources = sorted(wanted.wanted[facts.host], key=lambda resource: ORDER[resource.kind])
    changes: list[Change] = []
    adopted: list[Resource] = []
    owned: list[Owned] = []
    for resource in resources:
        known = record.find(resource)
        ours = resource.ours(facts) if known else None
        have = ours or resource.current(facts)
        if have is not None and resource.satisfied_by(have):
            if ours is None and not resource.is_only_ours:
                adopted.append(have)
                continue
        else:
            changes.append(Change(have, resource))
        before = None if resource.is_only_ours else have
        owned.append(Owned(known.original if known else before, resource))
    keep = {(resource.kind, resource.key) for resource in resources}
    crossings = tuple(c.name for c in spec.crossings if c.via == facts.host or facts.host in c.clients)
    return HostPlan(
        facts.host,
        (*changes, *_restore(facts, record, keep)),
        tuple(adopted),
        record,
        Record(crossings if owned else (), tuple(owned)),
    )


def _restore(facts: Facts, record: Record, keep: set[tuple[str, str]]) -> tuple[Change, ...]:
    """What gives back everything that the record holds and nobody wants any more."""
    changes = []
    for owned in record.owned:
        if owned.identity in keep:
            continue
        have = owned.applied.ours(facts)
        if have is None and owned.original is None:
            continue
        if have is not None and owned.original is not None and have == owned.original:
            continue
        changes.append(Restoring(have, owned.original))
    return tuple(sorted(changes, key=lambda change: ORDER[change.resource.kind]))
