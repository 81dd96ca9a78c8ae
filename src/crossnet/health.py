"""How each crossing stands: what is there, what differs, what its counters say, when it was last verified."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from crossnet.dependents import fenced
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

    `degraded`: as applied, but something it stands on is not well, or a flow was seen not to get through the gateway.
    `unproved`: as applied, and no answer has come back through it yet, or not to the last probe.
    `unknown`: one of its hosts cannot be reached, or what it shares with such a crossing cannot be compared.
    `unrecorded`: what crossnet made stands on a host, and the record of what was there before is lost there.
    """

    UP = "up"
    UNPROVED = "unproved"
    DEGRADED = "degraded"
    DRIFTED = "drifted"
    DOWN = "down"
    UNRECORDED = "unrecorded"
    UNKNOWN = "unknown"


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


def crossing_status(
    plan: Plan, facts: Mapping[str, Facts], beside: Collection[Crossing] = ()
) -> tuple[CrossingStatus, ...]:
    """How the crossings of a plan stand; `beside` are others of the spec that it had to leave out."""
    return tuple(
        _status(
            crossing.name, [p for p in plan.passages if p.crossing.name == crossing.name], plan, facts, beside
        )
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


def reached(spec: Spec, lost: Collection[str]) -> Spec:
    """The spec without these hosts and the crossings on them."""
    hosts = tuple(host for host in spec.hosts if host.name not in lost)
    crossings = tuple(one for one in spec.crossings if not any(_touches(one, host) for host in lost))
    return replace(spec, hosts=hosts, crossings=crossings)


def without(spec: Spec, lost: Collection[str]) -> Spec:
    """The same without all that shares a host with such a crossing.

    What is applied on a host is applied for all its crossings together, so no plan for it can be whole.
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
    """A crossing with a host that was not reached, and what the others say of it all the same."""
    gateway = facts.get(crossing.via)
    lost = [reason for host, said in facts.items() if _touches(crossing, host) for reason in _lost(said)]
    state, verified, exposed = (
        State.UNRECORDED if lost else State.UNKNOWN,
        dict[str, str](),
        tuple[Exposure, ...](),
    )
    if gateway is not None:
        verified, exposed = last_verified(gateway).get(crossing.name, {}), _exposures(spec, gateway)
        if not lost and not _is_applied(crossing.name, gateway):
            state, lost = State.DOWN, ["not applied"]
    reasons = (*map(str, exposed), *lost, *unreached(spec, crossing.name, errors))
    return CrossingStatus(
        crossing.name, state, reasons, (), verified.get("time"), verified.get("result"), exposed
    )


def _status(
    name: str,
    passages: list[Passage],
    plan: Plan,
    facts: Mapping[str, Facts],
    beside: Collection[Crossing],
) -> CrossingStatus:
    gateway = passages[0].gateway
    hosts = dict.fromkeys((gateway, *(c.host for p in passages for c in p.clients if c.host)))
    lost = [reason for host in hosts for reason in _lost(facts[host])]
    applied = _is_applied(name, facts[gateway])
    shared = {host: one.name for host in hosts for one in beside if _touches(one, host)}
    differing, open_ = _compared(passages, plan, facts, shared)
    unwell = [
        f"{refusal.message}: {'; '.join(refusal.candidates)}"
        for refusal in plan.stopped
        if refusal.where == f"crossing {name}"
    ]
    if better := plan.engines[gateway].better:
        unwell.append(
            f"{gateway}: crossnet's rules are in {plan.engines[gateway].engine}, and {better.reason}: `crossnet apply` "
            f"moves them to {better.engine}, before what drops there"
        )
    unwell += dict.fromkeys(reason for passage in passages for reason in _unwell(passage, facts))
    verified = last_verified(facts[gateway]).get(name, {})
    proved, why = _proof(verified)
    failed = [why] if proved is State.DEGRADED else []
    if lost:
        state, reasons = State.UNRECORDED, [*lost, *differing, *unwell]
    elif not applied:
        state, reasons = State.DOWN, ["not applied", *unwell]
    elif differing:
        state, reasons = State.DRIFTED, [*differing, *unwell]
    elif open_:
        state, reasons = State.UNKNOWN, [*open_, *unwell, *failed]
    elif unwell or failed:
        state, reasons = State.DEGRADED, [*unwell, *failed]
    else:
        state, reasons = proved, [why] if why else []
    counters = tuple(
        read_counters(table, name, facts[gateway])
        for host, table in plan.tables
        if host == gateway and table.family in {passage.family for passage in passages}
    )
    if not any(refusal.where == f"crossing {name}" for refusal in plan.stopped):
        # Of some packets only, or perhaps: so it may be meant, and the crossing stands as it was applied.
        others = (impact for impact in plan.impacts if name in impact.crossings)
        reasons = [*reasons, *(f"{impact.where}: {impact.text}" for impact in others)]
    if not lost:
        reasons += fenced(facts[gateway], read_record(facts[gateway]))
    saved = (each for each in plan.impacts if (each.code, each.where) == ("in-saved-rules", gateway))
    reasons += (f"{each.where}: {each.text}" for each in saved)
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


def _compared(
    passages: Collection[Passage], plan: Plan, facts: Mapping[str, Facts], shared: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """What a new plan would change for this crossing, the drift since it was applied, and what nobody can say.

    On a host that is `shared` with a crossing that the plan leaves out, what the plan does not want may be that
    one's, and what is made of all crossings together is compared with what was applied, where that is recorded.
    """
    differing, unsaid = dict[str, None](), dict[str, None]()
    for passage in passages:
        hosts = {passage.gateway, *(client.host for client in passage.clients)}
        for host, change in plan.changes:
            one = change.resource
            if host not in hosts or not one.serves(
                passage.family, passage.destinations, on_gateway=host == passage.gateway
            ):
                continue
            differs = f"{host}: {DRIFT[change.action]} {one.kind} {change.description}"
            if host not in shared or (change.have is None and change.want is not None):
                differing[differs] = None
            elif one.is_of_all_crossings and change.want is not None:
                owned, now = read_record(facts[host]).find(one), one.current(facts[host])
                if owned is None or now is None or not owned.applied.satisfied_by(now):
                    which = f"{one.kind} {one.key}"
                    unsaid[
                        f"{host}: {which} cannot be compared: crossing {shared[host]} has a part in it"
                    ] = None
            elif any(one.kind == want.kind and one.key == want.key for want in plan.wanted[host]):
                differing[differs] = None
    return list(differing), list(unsaid)


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


def _proof(verified: Mapping[str, str]) -> tuple[State, str]:
    """What the last verification says of a crossing that is as it was applied, and why."""
    why = f": {verified['why']}" if verified.get("why") else ""
    if verified.get("result") == "reachable":
        return State.UP, ""
    if verified.get("end") == "stopped":
        return State.DEGRADED, f"the last verification failed{why}"
    if not verified:
        return State.UNPROVED, "never verified: `crossnet verify` sends a probe through it"
    return State.UNPROVED, f"not proved end to end{why}"


def last_verified(facts: Facts) -> dict[str, dict[str, str]]:
    """The last verification by crossing; nothing where the file is absent or damaged.

    `time` and `result`; `end` is `proved`, `unproved` or `stopped`, and `why` a sentence where it is not proved.
    """
    state = facts.file(VERIFIED)
    try:
        return {
            name: _texts(one) for name, one in mapping(json.loads(state.data if state else b"{}")).items()
        }
    except (ValueError, KeyError, RecursionError):
        return {}


def _texts(entry: Any) -> dict[str, str]:
    said = mapping(entry)
    later = (key for key in ("end", "why") if key in said)  # 0.1.0 wrote neither
    return {key: text(said, key) for key in ("time", "result", *later)}
