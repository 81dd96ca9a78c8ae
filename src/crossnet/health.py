"""How each crossing stands: what is there, what differs, what its counters say, when it was last verified."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from crossnet.design import Passage
from crossnet.errors import CrossnetError, PlanRefused
from crossnet.exposure import Exposure, exposures
from crossnet.facts import Facts
from crossnet.facts.question import mapping, text
from crossnet.planning import Plan
from crossnet.record import VERIFIED, read_record
from crossnet.spec import Crossing, Spec
from crossnet.transaction.journal import unfinished
from crossnet.verification import DRIFT
from crossnet.verification.counters import Counters, read_counters


class State(StrEnum):
    """`down`: not applied, or nothing of it is left; `drifted`: applied, and a host differs since.

    `degraded`: as applied, but something it stands on is not well, or its last verification failed.
    `unknown`: one of its hosts cannot be reached, or one of those that it shares with such a crossing.
    `unrecorded`: what crossnet made stands on a host, and the record of what was there before is lost there.
    """

    UP = "up"
    DEGRADED = "degraded"
    DRIFTED = "drifted"
    DOWN = "down"
    UNRECORDED = "unrecorded"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CrossingStatus:
    """One crossing, with the reasons for anything that is not `up`; the counters are of all its families."""

    crossing: str
    state: State
    reasons: tuple[str, ...]
    counters: tuple[Counters, ...]
    verified: str | None
    result: str | None
    exposures: tuple[Exposure, ...] = ()  # where its gateway is open for everybody; the first of the reasons


def crossing_status(plan: Plan, facts: Mapping[str, Facts]) -> tuple[CrossingStatus, ...]:
    return tuple(
        _status(crossing.name, [p for p in plan.passages if p.crossing.name == crossing.name], plan, facts)
        for crossing in plan.spec.crossings
    )


def refused_status(
    spec: Spec, facts: Mapping[str, Facts], refused: PlanRefused
) -> tuple[CrossingStatus, ...]:
    """The same where the hosts do not allow a plan any more, such as after an interface went down."""
    found = []
    for crossing in spec.crossings:
        gateway = facts[crossing.via]
        hosts = [name for name in facts if _touches(crossing, name)]
        lost = [reason for name in hosts for reason in _lost(facts[name])]
        own = [
            refusal.message
            for refusal in refused.refusals
            if refusal.where in (f"crossing {crossing.name}", *hosts)
        ]
        others = ["not judged: there is no plan for another crossing of this spec"]
        state = State.DEGRADED if not lost and _is_applied(crossing.name, gateway) else State.DOWN
        verified = last_verified(gateway).get(crossing.name, {})
        exposed = _exposures(spec, gateway)
        found.append(
            CrossingStatus(
                crossing.name,
                State.UNRECORDED if lost else state,
                (*map(str, exposed), *(lost or own or others)),
                (),
                verified.get("time"),
                verified.get("result"),
                exposed,
            )
        )
    return tuple(found)


def without(spec: Spec, lost: Collection[str]) -> Spec:
    """The spec without these hosts and all that cannot be judged without them.

    That is every crossing on one of them, and whatever shares a host with such a crossing: what is applied
    on a host is applied for all its crossings together.
    """
    gone, left = set(lost), list(spec.crossings)
    while touched := [one for one in left if any(_touches(one, host) for host in gone)]:
        left = [one for one in left if one not in touched]
        gone |= {host.name for host in spec.hosts if any(_touches(one, host.name) for one in touched)}
    hosts = tuple(host for host in spec.hosts if host.name not in gone)
    return replace(spec, hosts=hosts, crossings=tuple(left))


def unreached(spec: Spec, crossing: str, errors: Mapping[str, CrossnetError]) -> tuple[str, ...]:
    """Why a crossing cannot be judged: each of its hosts that was not reached, else where such a one stands."""
    (one,) = (one for one in spec.crossings if one.name == crossing)
    own = tuple(str(error) for host, error in errors.items() if _touches(one, host))
    return own or (f"not judged: it shares a host with a crossing that stands on {', '.join(errors)} too",)


def unknown_status(
    spec: Spec, crossing: Crossing, facts: Mapping[str, Facts], errors: Mapping[str, CrossnetError]
) -> CrossingStatus:
    """A crossing that cannot be judged, with what its gateway remembers where that was reached."""
    gateway = facts.get(crossing.via)
    verified = last_verified(gateway).get(crossing.name, {}) if gateway else {}
    reasons = unreached(spec, crossing.name, errors)
    return CrossingStatus(
        crossing.name, State.UNKNOWN, reasons, (), verified.get("time"), verified.get("result")
    )


def _status(name: str, passages: list[Passage], plan: Plan, facts: Mapping[str, Facts]) -> CrossingStatus:
    gateway = passages[0].gateway
    hosts = dict.fromkeys((gateway, *(c.host for p in passages for c in p.clients if c.host)))
    lost = [reason for host in hosts for reason in _lost(facts[host])]
    applied = _is_applied(name, facts[gateway])
    differing = [reason for passage in passages for reason in _differences(passage, plan)]
    unwell = list(dict.fromkeys(reason for passage in passages for reason in _unwell(passage, facts)))
    verified = last_verified(facts[gateway]).get(name, {})
    failed = verified.get("result") == "unreachable"
    if lost:
        state, reasons = State.UNRECORDED, [*lost, *dict.fromkeys(differing), *unwell]
    elif not applied:
        state, reasons = State.DOWN, ["not applied", *unwell]
    elif differing:
        state, reasons = State.DRIFTED, [*dict.fromkeys(differing), *unwell]
    elif unwell or failed:
        state, reasons = State.DEGRADED, [*unwell, *(["the last verification failed"] if failed else [])]
    else:
        state, reasons = State.UP, []
    counters = tuple(
        read_counters(table, name, facts[gateway])
        for host, table in plan.tables
        if host == gateway and table.family in {passage.family for passage in passages}
    )
    exposed = _exposures(plan.spec, facts[gateway])
    reasons = [*map(str, exposed), *reasons]
    return CrossingStatus(
        name, state, tuple(reasons), counters, verified.get("time"), verified.get("result"), exposed
    )


def _exposures(spec: Spec, gateway: Facts) -> tuple[Exposure, ...]:
    """Of a gateway whose record can be read; one that cannot is told already."""
    try:
        return tuple(exposures(spec, gateway, read_record(gateway)))
    except PlanRefused:
        return ()


def _touches(crossing: Crossing, host: str) -> bool:
    return crossing.via == host or host in crossing.clients


def _is_applied(crossing: str, gateway: Facts) -> bool:
    return crossing in read_record(gateway).crossings


def _lost(facts: Facts) -> Iterator[str]:
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
            "`crossnet plan` tells what apply would make of it"
        )


def _differences(passage: Passage, plan: Plan) -> Iterator[str]:
    """What a new plan would change for this crossing: the drift since it was applied."""
    hosts = {passage.gateway, *(client.host for client in passage.clients)}
    for host, change in plan.changes:
        on_gateway = host == passage.gateway
        if host in hosts and change.resource.serves(
            passage.family, passage.destinations, on_gateway=on_gateway
        ):
            yield f"{host}: {DRIFT[change.action]} {change.resource.kind} {change.description}"


def _unwell(passage: Passage, facts: Mapping[str, Facts]) -> Iterator[str]:
    gateway = facts[passage.gateway]
    for name in (passage.ingress, passage.egress):
        link = gateway.link(name)
        if link is None or not link.up:
            yield f"{passage.gateway}: {name} is down"
    for client in passage.clients:
        if client.host and client.interface:
            link = facts[client.host].link(client.interface)
            if link is None or not link.up:
                yield f"{client.host}: {client.interface} is down"
    for host in {passage.gateway, *(client.host for client in passage.clients if client.host)}:
        left = unfinished(facts[host])
        if left:
            state = "was not finished" if left.is_abandoned else "is under way"
            whose = f" of {left.who}" if left.who else ""
            yield f"{host}: transaction {left.transaction}{whose} {state}"


def last_verified(facts: Facts) -> dict[str, dict[str, str]]:
    """Time and result of the last verification by crossing; nothing where the file is absent or damaged."""
    state = facts.file(VERIFIED)
    try:
        return {
            name: _texts(one) for name, one in mapping(json.loads(state.data if state else b"{}")).items()
        }
    except (ValueError, KeyError, RecursionError):
        return {}


def _texts(entry: Any) -> dict[str, str]:
    return {key: text(mapping(entry), key) for key in ("time", "result")}
