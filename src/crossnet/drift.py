"""Two questions, kept apart: *drift* is a host against its record, *pending* is a plan against the record.

What somebody changed on a host since it was applied is drift, whatever the spec says by now: also what crossnet used
and did not make, and whatever else there a plan follows from. What the spec says by now and nobody has applied is
pending, however well the host is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from crossnet.cause import asked_anew, kept_otherwise, moved
from crossnet.errors import CloudUnasked
from crossnet.facts import Facts
from crossnet.planning import HostPlan, Plan
from crossnet.record import Record
from crossnet.resources import Change, Resource

_VERBS = {"create": "add", "change": "change", "remove": "remove"}


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing of crossnet's on a host that is not as it was applied; `words` say in which direction."""

    host: str
    applied: Resource
    words: tuple[str, ...]
    crossings: frozenset[str] | None = None  # the labels of those that it concerns; None: all that are there

    @property
    def resource(self) -> Resource:
        return self.applied

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(f"{self.host}: {words}" for words in self.words)


def drifted(facts: Facts, record: Record) -> Iterator[Drift]:
    """What a host has not any more, or otherwise, of what its record says was applied there, or used as it was.

    Of a table of which a record of 0.1.0 keeps no rules nothing is said: see `pending`.
    """
    for owned in record.owned:
        try:
            applied = owned.applied.knowing(owned.applied, facts)
            if not applied.is_known:
                continue
            now, without = applied.current(facts), applied.without(facts)
        except CloudUnasked as error:
            yield Drift(
                facts.host, owned.applied, (f"{owned.applied.kind} cannot be compared: {error.seen}",)
            )
            continue
        if owned.applied.untold(facts):
            yield Drift(facts.host, applied, without)
            continue
        words = () if now is not None and applied.satisfied_by(now) else applied.differences(now)
        if words or without:
            of = None if without else applied.differs_for(now)
            yield Drift(facts.host, applied, (*words, *without), of)
    for one in record.adopted:
        now = one.wanted.current(facts)
        if now is None:
            words = (f"adopted {one.wanted.kind} {one.found.found} was removed since",)
        elif not one.wanted.satisfied_by(now):
            words = (f"adopted {one.wanted.kind} {one.found.found} is {now.found} now",)
        else:
            continue
        yield Drift(facts.host, one.wanted, words)


@dataclass(frozen=True, slots=True)
class Pending:
    """What a plan would change on a host that is as it was applied, or never had it."""

    host: str
    change: Change

    @property
    def resource(self) -> Resource:
        return self.change.resource

    def __str__(self) -> str:
        change = self.change
        return f"{self.host}: not applied yet: {_VERBS[change.action]} {change.resource.kind} {change.description}"


def pending(host: HostPlan, plan: Plan) -> Iterator[Pending | Drift]:
    """What the plan asks for on one of its hosts and the record does not have, or otherwise.

    It is drift where the spec asks for nothing there that it did not ask for when it was applied: then the hosts have
    changed. So it is where the record does not tell what was applied (0.1.0 kept no rules of a table).
    """
    asked = asked_anew(host, plan.spec)
    since: list[Change] = []
    for change in host.changes:
        owned = host.before.find(change.resource)
        if owned is not None and change.want is not None and not owned.applied.is_known:
            yield Drift(host.host, change.want, change.want.differences(change.have))
        elif owned is None or change.want is None or owned.applied != change.want:
            if asked and not _was_adopted(change, host):
                yield Pending(host.host, change)
            elif not asked:
                since.append(change)
    yield from _since(host, since, plan)


def _was_adopted(change: Change, host: HostPlan) -> bool:
    """Whether it brings back what was used there and is gone; that is told as drift."""
    used = host.before.adoption(change.resource)
    return used is not None and used.wanted == change.want


def _since(host: HostPlan, changes: Sequence[Change], plan: Plan) -> Iterator[Drift]:
    """What the hosts have come to need since it was applied, and why where that can be told."""
    used = {identity for one in host.before.crossings for identity in one.needs}
    live = [change for change in changes if not change.resource.is_persistent]
    kept = [each.text for each in plan.impacts if (each.code, each.where) == ("kept-by-owner", host.host)]
    why = [*moved(host)] if changes else []
    for of, words in why:
        yield Drift(of, (live or changes)[0].resource, (words,))
    for change in live or changes:
        if _was_adopted(change, host):
            continue
        resource, want = change.resource, change.want
        if want is not None and (want.identity in used or want.is_never_absent):
            by = kept if want.routes else []
            yield Drift(host.host, want, (*by, *want.differences(change.have)))
            continue
        others = [
            each.text
            for each in plan.impacts
            if resource.policy_rules and want and (each.code, each.where) == ("policy-rule-added", host.host)
        ]
        owned = host.before.find(resource)
        if want is not None and owned is not None:
            others += want.since(owned.applied)
        todo = f"`crossnet apply` would {_VERBS[change.action]} {resource.kind} {change.description}"
        if not (why or others):
            todo = f"has changed since it was applied: {todo}"
        yield Drift(host.host, resource, (*others, todo))


def not_applied(found: Iterable[Pending], hosts: Iterable[HostPlan]) -> Iterator[str]:
    """A line each, and one of a host for all that is written for the next boot beside it, or for a word of the spec."""
    asked = {host.host: kept_otherwise(host) for host in hosts}
    later = dict[str, list[Pending]]()
    live = set[str]()
    for each in found:
        if each.resource.is_persistent:
            later.setdefault(each.host, []).append(each)
        else:
            live.add(each.host)
            yield str(each)
    for host, some in later.items():
        if words := asked.get(host):
            yield f"{host}: not applied yet: {' and '.join(words)}"
        elif host in live and len(some) > 1:
            yield f"{host}: not applied yet: {len(some)} files and units for the next boot"
        else:
            yield from map(str, some)
