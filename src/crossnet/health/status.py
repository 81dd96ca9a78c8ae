"""What a status says of a crossing, and what its hosts alone tell, whether or not there is a plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from crossnet.drift import drifted
from crossnet.errors import PlanRefused
from crossnet.exposure import Exposure, exposures
from crossnet.facts import Facts, FileState
from crossnet.lasting import Lasting
from crossnet.proof import last_verified
from crossnet.record import UNTIL_FAILED, read_record, shown
from crossnet.spec import Crossing, Spec
from crossnet.transaction.journal import Journal, unfinished
from crossnet.verification.counters import Counters


class State(StrEnum):
    """`down`: not applied; `drifted`: a host is not any more as it was when it was applied, whatever the spec says.

    `pending`: the hosts are as they were applied, and the spec asks for something else by now.
    `degraded`: as applied, but something it stands on is not well, or a flow was seen not to get through the gateway.
    `unproved`: as applied, and no answer has come back through it yet, or not to the last probe.
    `unknown`: one of its hosts cannot be reached, its cloud cannot be asked, or what it shares with such a crossing
    cannot be compared.
    `over`: its time is over; as it should be where nothing of it is left, which the reasons tell.
    `unrecorded`: what crossnet made stands on a host, and the record of what was there before is lost there.
    """

    UP = "up"
    UNPROVED = "unproved"
    PENDING = "pending"
    DEGRADED = "degraded"
    DRIFTED = "drifted"
    DOWN = "down"
    UNRECORDED = "unrecorded"
    UNKNOWN = "unknown"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class CrossingStatus:
    """One crossing, with the reasons for anything that is not `up`; the counters are of all its families.

    The last of the reasons, whatever the state, are what others do with some of its packets, or can.
    """

    crossing: str
    state: State
    reasons: tuple[str, ...]
    counters: tuple[Counters, ...]
    verified: str | None
    result: str | None
    exposures: tuple[Exposure, ...] = ()  # where its gateway is open for everybody; the first of the reasons
    drift: tuple[str, ...] = ()  # of the reasons, what is not any more as it was applied
    pending: tuple[str, ...] = ()  # and what the spec asks for that nobody has applied
    until: datetime | None = None  # when its hosts take it back
    tells_verified: bool = True  # whether its gateway was reached, which alone knows of verifications
    lasting: tuple[Lasting, ...] = ()  # what it has on the hosts that were reached

    @property
    def is_well(self) -> bool:
        """Whether it is as the spec wants it, and all of that was seen."""
        return self.state is State.UP or (self.state is State.OVER and not self.reasons)


def is_applied(crossing: Crossing, gateway: Facts) -> bool:
    return read_record(gateway).standing(crossing.label) is not None


def drift_for(label: str, facts: Facts) -> Iterator[str]:
    """What differs on a host from what was applied there for one crossing, whatever a spec says of it by now."""
    record = read_record(facts)
    standing = record.standing(label)
    if standing is None or unfinished(facts):
        return
    for each in drifted(facts, record):
        is_of_all = each.crossings is None and bool(standing.carried)
        if is_of_all or label in (each.crossings or ()) or each.applied.identity in standing.needs:
            yield from each.lines


def over_status(crossing: Crossing, facts: Mapping[str, Facts]) -> CrossingStatus:
    left = [line for name in facts if crossing.touches(name) for line in _left(crossing, facts[name])]
    verified = last_verified(facts[crossing.via]).get(crossing.label, {})
    return CrossingStatus(
        crossing.name,
        State.OVER,
        tuple(left),
        (),
        verified.get("time"),
        verified.get("result"),
        until=crossing.until,
    )


def _left(crossing: Crossing, facts: Facts) -> Iterator[str]:
    """What there is still on a host of a crossing that is over."""
    yield from record_lost(facts)
    try:
        record = read_record(facts)
    except PlanRefused:
        return
    if record.standing(crossing.label) is not None:
        why = why_not_taken_back(facts) or "it is about to go"
        yield f"{facts.host}: it still stands there: {why}; `crossnet apply` takes it back"
    elif record.owned and not record.crossings:
        made = shown([owned.applied for owned in record.owned if not owned.applied.is_persistent])
        yield f"{facts.host}: the last crossing left {made}; the next apply or undo removes it"


def why_not_taken_back(facts: Facts) -> str:
    """Why a host could not take back what is over; nothing where it has not said so."""
    failed = facts.files.get(UNTIL_FAILED)
    return " ".join(failed.data.decode(errors="replace").split()) if isinstance(failed, FileState) else ""


def record_lost(facts: Facts) -> Iterator[str]:
    """Why what crossnet made on a host is without its record; a transaction that is open explains it."""
    if unfinished(facts):
        return
    try:
        record = read_record(facts)
    except PlanRefused as refused:
        yield from (f"{facts.host}: {refusal.message}" for refusal in refused.refusals)
        return
    if record.lost:
        yield (
            f"{facts.host}: its record {record.lost}: what was there before crossnet is not known; "
            "`crossnet plan` shows what an apply would do about it"
        )


def down(facts: Facts, interfaces: Iterable[str]) -> Iterator[str]:
    """Those that are there and down: that one is there no more is told of what needs it."""
    for name in interfaces:
        link = facts.link(name)
        if link is not None and not link.up:
            yield f"{facts.host}: {name} is down"


def unconfirmed(crossing: Crossing, facts: Mapping[str, Facts], hosts: Iterable[str]) -> list[str]:
    """That all of a crossing is there, by a transaction that nobody has confirmed yet."""
    opened = [
        (host, left)
        for host in hosts
        if (left := unfinished(facts[host])) is not None and crossing.label in left.crossings
    ]
    if not all(left.is_whole and not left.is_abandoned for _, left in opened):
        return []
    return [f"{host}: {told_open(left)}" for host, left in opened]


def told_open(left: Journal) -> str:
    """A transaction that is open, and how long its window is for whoever has the last word."""
    transaction = f"transaction {left.transaction}" + (f" of {left.who}" if left.who else "")
    if left.is_abandoned:
        return f"{transaction} was not finished"
    if left.is_whole and not left.unreadable:
        return (
            f"{transaction} is made but not confirmed: it waits {left.left} s for "
            f"{left.ended_by('confirm')}{left.with_which}, then the host puts itself back"
        )
    return f"{transaction} is under way"


def exposures_of(spec: Spec, gateway: Facts) -> tuple[Exposure, ...]:
    """Of a gateway whose record can be read; one that cannot is told already."""
    try:
        return tuple(exposures(spec, gateway, read_record(gateway)))
    except PlanRefused:
        return ()
