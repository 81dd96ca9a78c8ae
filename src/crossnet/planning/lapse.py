"""What a host does by itself when crossings on it are over: from each state to the next, planned before it begins.

The way back is a plan like any other, from what a record says was applied to what the crossings that are left need; no
host is asked for it. What only a look at the hosts can tell is left alone: whether others have come to live on
forwarding. So what the last crossing of a gateway leaves is its forwarding, behind the fence; `crossnet undo` takes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from crossnet.design import Design, design
from crossnet.design.applied import as_applied
from crossnet.design.rules import FENCED, fence_alone
from crossnet.facts import Facts, FileState
from crossnet.facts.sysctls import FORWARDING
from crossnet.planning.plan import HostPlan, Lapse, Plan, Restoring
from crossnet.record import UNTIL_BY, UNTIL_HEARTBEAT, Owned, Record, with_record
from crossnet.resources import KINDS, Change, Jump, Resource, RuleTable, Sysctl
from crossnet.spec import Spec
from crossnet.standing import Standing

# Seconds after which a process that waits and says nothing counts as dead: it looks at the clock each minute.
_STALE = 180


def is_armed(facts: Facts) -> bool:
    """Whether something on the host is going to take back what is over; a timer of systemd tells that of itself."""
    by = facts.files.get(UNTIL_BY)
    if not isinstance(by, FileState):
        return False
    if facts.units is not None and by.data.strip() == b"timer":
        return True
    said = facts.files.get(UNTIL_HEARTBEAT)
    beat = said.data.strip() if isinstance(said, FileState) else b""
    return beat.isdigit() and len(beat) < 12 and 0 <= facts.uptime - int(beat) <= _STALE


def lapses(spec: Spec, host: HostPlan, facts: Facts) -> tuple[Lapse, ...]:
    """What is to be done on a host at each time at which one of its crossings is over, earliest first.

    Of all crossings that stand there when the plan is applied, also those of other specs.
    """
    return tuple(_lapses(spec, host, facts))


def _lapses(spec: Spec, host: HostPlan, facts: Facts) -> Iterator[Lapse]:
    record = host.after
    for at in sorted({one.until for one in record.crossings if one.until is not None}):
        left = tuple(one for one in record.crossings if one.until is None or one.until > at)
        there = [*(owned.applied for owned in record.owned), *(one.found for one in record.adopted)]
        then = with_record(as_applied(facts, there), record)
        stays = tuple(_staying(record, left))
        nothing = replace(spec, crossings=())
        wanted = design(nothing, {host.host: then}, {host.host: left}, moves=False, stays={host.host: stays})
        changes, owned = _changes(record, wanted, then)
        needed = {one.identity for one in wanted.wanted[host.host]}
        adopted = tuple(one for one in record.adopted if one.identity in needed)
        after = Record(left, owned, record.rebuilt if owned else False, adopted=adopted)
        alone = Plan(
            spec=nothing,
            paths=(),
            hosts=(HostPlan(host.host, changes, (), record, after),),
            impacts=(),
            wanted={},
            engines={},
        )
        ended = tuple(one for one in record.crossings if one not in left)
        # Of what guards a change over a power cut nothing has to come before this one: it is there.
        ordered = [change for _, change in (*alone.live(), *alone.persistent())]
        live = tuple(change for change in ordered if not change.resource.is_persistent)
        persistent = tuple(change for change in ordered if change.resource.is_persistent)
        yield Lapse(int(at.timestamp()), ended, record, after, live, persistent)
        record = after


def _changes(record: Record, wanted: Design, then: Facts) -> tuple[tuple[Change, ...], tuple[Owned, ...]]:
    """From what was applied to what is wanted: of that alone which the record has."""
    resources = sorted(wanted.wanted[then.host], key=lambda resource: resource.rank)
    changes: list[Change] = []
    owned: list[Owned] = []
    for wanting in resources:
        known = record.find(wanting)
        if wanting.changed_by:
            continue
        if known is None:
            # What is live already is somebody else's that a crossing uses; what only the crossing that goes kept from
            # being written for the next boot is written with its end.
            have = wanting.current(then)
            if wanting.is_persistent and (have is None or not wanting.satisfied_by(have)):
                changes.append(Change(have, wanting))
                owned.append(Owned(have, wanting))
            continue
        resource = wanting.knowing(known.applied, then)
        if not resource.satisfied_by(known.applied):
            changes.append(Change(known.applied, resource))
        owned.append(replace(known, applied=resource))
    # What a host does not change itself stays until somebody comes who can.
    owned += [one for one in record.owned if one.applied.changed_by]
    keep = {one.identity for one in owned}
    for kind in KINDS.values():
        changes = list(kind.joined(changes, resources))
    gone = sorted((one for one in record.owned if one.identity not in keep), key=lambda one: one.applied.rank)
    changes += [Restoring(one.applied, one.original) for one in gone if not one.is_unknown]
    return tuple(changes), tuple(sorted(owned, key=lambda one: (one.applied.rank, *one.identity)))


def _staying(record: Record, left: Sequence[Standing]) -> Iterator[Resource]:
    """What stays of a family that no crossing is left to carry: what switched forwarding on, and the fence."""
    carried = {path.family for one in left for path in one.carried}
    for family, name in FORWARDING.items():
        if family in carried or record.find(Sysctl(name, "1")) is None:
            continue
        own = [owned.applied for owned in record.owned]
        yield from (
            one for one in own if isinstance(one, Sysctl) and one.name.startswith(f"net.ipv{family.value}.")
        )
        for table in own:
            if isinstance(table, RuleTable) and table.family is family and table.holds_fence:
                yield replace(table, table=fence_alone(table.table), summary="no crossing, fence on")
                yield from (
                    one
                    for one in own
                    if isinstance(one, Jump)
                    and (one.engine, one.family) == (table.engine, family)
                    and one.chain == FENCED
                )
