"""Read back: everything in which hosts differ from what a plan wants, or from what was applied."""

from __future__ import annotations

from collections.abc import Mapping

from crossnet.drift import Pending, drifted, not_applied, pending
from crossnet.facts import Facts
from crossnet.planning import Plan, Restoring
from crossnet.resources import Change, Resource


def read_back(plan: Plan, facts: Mapping[str, Facts], *, live_only: bool) -> tuple[str, ...]:
    """Everything that the hosts, read again, have not as the plan wants it; empty when all is well."""
    wrong: list[str] = []
    for host, resources in plan.wanted.items():
        for wanted in resources:
            if (live_only and wanted.is_persistent) or _is_anothers(plan, host, wanted):
                continue
            have = wanted.current(facts[host])
            if have is None:
                change = Change(None, wanted)
                wrong.append(f"{host}: {wanted.kind} {change.description} is not there")
            elif not wanted.satisfied_by(have):
                wrong += (f"{host}: {words}" for words in wanted.differences(have))
    for host, change in plan.changes:
        have = change.resource.ours(facts[host])
        if isinstance(change, Restoring) and have != change.want:
            left = Change(have, change.want)
            if not (live_only and left.resource.is_persistent):
                wrong.append(f"{host}: is not as it was before: {left.resource.kind} {left.description}")
    return tuple(wrong)


def _is_anothers(plan: Plan, host: str, resource: Resource) -> bool:
    return resource.identity in plan.left_alone.get(host, frozenset())


def compared(plan: Plan, facts: Mapping[str, Facts]) -> tuple[str, ...]:
    """What the hosts have not as it was applied, and what the plan asks for besides; nothing when all is well."""
    found = dict[str, None]()
    asked: list[Pending] = []
    for one in plan.hosts:
        own = (
            each
            for each in drifted(facts[one.host], one.before)
            if not _is_anothers(plan, one.host, each.applied)
        )
        found |= dict.fromkeys(line for each in own for line in each.lines)
        for each in pending(one, plan):
            if isinstance(each, Pending):
                asked.append(each)
            else:
                found |= dict.fromkeys(each.lines)
    return (*found, *not_applied(asked, plan.hosts))
