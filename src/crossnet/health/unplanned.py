"""How crossings stand of which there is no plan: refused, with a host that nobody reached, or no longer in the spec."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from crossnet.drift import drifted
from crossnet.elsewhere import elsewhere, standing_on
from crossnet.errors import CrossnetError, PlanRefused, Refusal
from crossnet.exposure import Exposure
from crossnet.exposure import exposures_of as open_at
from crossnet.facts import Facts
from crossnet.health.status import (
    CrossingStatus,
    State,
    down,
    drift_for,
    exposures_of,
    is_applied,
    over_status,
    record_lost,
    unconfirmed,
)
from crossnet.planning.scope import is_over
from crossnet.proof import last_verified
from crossnet.record import Record, read_record
from crossnet.several import few
from crossnet.spec import USUAL_NAME, Crossing, Spec
from crossnet.standing import Standing
from crossnet.transaction.journal import unfinished
from crossnet.unreached import unreached


def refused_status(
    spec: Spec, facts: Mapping[str, Facts], refused: PlanRefused
) -> tuple[CrossingStatus, ...]:
    """The same where the hosts do not allow a plan any more, such as after an interface went down."""
    found = []
    for crossing in spec.crossings:
        if is_over(crossing, facts):
            found.append(over_status(crossing, facts))
            continue
        gateway = facts[crossing.via]
        hosts = [name for name in facts if crossing.touches(name)]
        lost = [reason for name in hosts for reason in record_lost(facts[name])]
        own = [
            _told(refusal, crossing) for refusal in refused.refusals if _concerns(refusal, crossing, hosts)
        ]
        first = refused.refusals[0]
        others = [f"not judged: {first.where}: {first.message}"]
        differs = [] if lost else [line for name in hosts for line in _drift_of(facts[name])]
        unwell = [] if lost else [line for name in hosts for line in _down(crossing, name, facts)]
        state = State.DEGRADED if not lost and is_applied(crossing, gateway) else State.DOWN
        state = State.DRIFTED if differs and state is State.DEGRADED else state
        label, pending = crossing.label, tuple[str, ...]()
        if state is State.DOWN and not lost:
            if opened := unconfirmed(crossing, facts, hosts):
                state, differs = State.DEGRADED, [*opened, *differs]
            elif other := elsewhere(crossing, spec, facts):
                differs = [line for name in hosts for line in drift_for(other.label, facts[name])]
                state, label, pending = State.PENDING, other.label, (other.words,)
                state = State.DRIFTED if differs else state
        verified = last_verified(gateway).get(label, {})
        exposed = _exposed(spec, gateway)
        found.append(
            CrossingStatus(
                crossing.name,
                State.UNRECORDED if lost else state,
                (
                    *map(str, exposed),
                    *(
                        [*lost, *own]
                        if lost
                        else [*differs, *pending, *dict.fromkeys(unwell), *(own or others)]
                    ),
                ),
                (),
                verified.get("time"),
                verified.get("result"),
                exposed,
                pending=pending,
                until=crossing.until,
            )
        )
    return tuple(found)


def _exposed(spec: Spec, gateway: Facts) -> tuple[Exposure, ...]:
    """Of a gateway on which no apply goes through until what keeps it from a plan is mended."""
    return tuple(replace(each, mendable=False) for each in exposures_of(spec, gateway))


def _concerns(refusal: Refusal, crossing: Crossing, hosts: Collection[str]) -> bool:
    """Whether a refusal is of a crossing, of its hosts, or of it and another one."""
    pair = refusal.where.removeprefix("crossings ").split(" and ")
    return refusal.where in (f"crossing {crossing.name}", *hosts) or (
        refusal.where.startswith("crossings ") and crossing.label in pair
    )


def _told(refusal: Refusal, crossing: Crossing) -> str:
    """A refusal in words, with what there is to choose from; of two crossings or a host with their names."""
    among = f": {few(refusal.candidates, 3)}" if refusal.candidates else ""
    if refusal.where == f"crossing {crossing.name}":
        return f"{refusal.message}{among}"
    colon = "" if refusal.where.startswith("crossings ") else ":"
    return f"{refusal.where}{colon} {refusal.message}{among}"


def _down(crossing: Crossing, host: str, facts: Mapping[str, Facts]) -> Iterator[str]:
    """The interfaces of a host that a crossing goes by, as it was applied there, and that are down."""
    for one in standing_on(facts, [host]):
        for path in one.paths if one.label == crossing.label else ():
            own = {client.interface for client in path.clients if client.host == one.host}
            ways = (path.ingress, path.egress) if path.gateway == one.host else filter(None, own)
            yield from down(facts[host], ways)


def _drift_of(facts: Facts, record: Record | None = None) -> Iterator[str]:
    """What differs from what was applied there, by all of its record or a part; an open transaction explains it."""
    if not unfinished(facts):
        yield from (line for each in drifted(facts, record or read_record(facts)) for line in each.lines)


def unknown_status(
    spec: Spec, crossing: Crossing, facts: Mapping[str, Facts], errors: Mapping[str, CrossnetError]
) -> CrossingStatus:
    """A crossing with a host that was not reached, or a cloud, and what the others say of it all the same."""
    gateway = facts.get(crossing.via)
    lost = [reason for host, said in facts.items() if crossing.touches(host) for reason in record_lost(said)]
    state = State.UNRECORDED if lost else State.UNKNOWN
    verified, exposed, pending = dict[str, str](), tuple[Exposure, ...](), tuple[str, ...]()
    differs = tuple[str, ...]()
    if gateway is not None:
        label, exposed = crossing.label, _exposed(spec, gateway)
        if not lost and not is_applied(crossing, gateway):
            hosts = [host for host in facts if crossing.touches(host)]
            if made := unconfirmed(crossing, facts, hosts):
                lost = made
            elif other := elsewhere(crossing, spec, facts):
                differs = tuple(line for name in hosts for line in drift_for(other.label, facts[name]))
                state, label, pending = State.PENDING, other.label, (other.words,)
                state = State.DRIFTED if differs else state
            else:
                state, lost = State.DOWN, ["not applied"]
        verified = last_verified(gateway).get(label, {})
    if state is State.UNKNOWN and gateway is not None and crossing.via in errors:
        # Its cloud has not answered, its hosts have.
        own = [facts[host] for host in facts if crossing.touches(host)]
        differs = tuple(line for host in own for line in _drift_of(host, read_record(host).on_the_host))
        state = State.DRIFTED if differs else state
    reasons = (*map(str, exposed), *lost, *differs, *pending, *unreached(spec, crossing.name, errors))
    return CrossingStatus(
        crossing.name,
        state,
        reasons,
        (),
        verified.get("time"),
        verified.get("result"),
        exposed,
        differs,
        pending,
        until=crossing.until,
        tells_verified=gateway is not None,
    )


def left_standing(spec: Spec, facts: Mapping[str, Facts]) -> tuple[CrossingStatus, ...]:
    """What is applied still, and is not in the spec any more."""
    if not spec.is_whole:
        return ()
    named = {one.name for one in spec.crossings}
    moved = {
        found.label
        for one in spec.crossings
        if not _is_there(one, facts) and (found := elsewhere(one, spec, facts))
    }
    left: dict[str, list[tuple[str, Standing]]] = {}
    for host, said in facts.items():
        for one in standing_on(facts, [host]):
            is_own = one.spec == spec.name and one.crossing not in named and one.label not in moved
            if is_own and not one.is_over(said.clock):
                left.setdefault(one.crossing, []).append((host, one))
    return tuple(_left_standing(name, there, facts) for name, there in left.items())


def _left_standing(
    name: str, there: Sequence[tuple[str, Standing]], facts: Mapping[str, Facts]
) -> CrossingStatus:
    _, one = there[0]
    reason = (
        f"not in the spec any more, and still applied on {', '.join(host for host, _ in there)}, by "
        f"{one.stamp.who} at {one.stamp.when}: `crossnet apply` takes it away"
    )
    if one.stamp.is_of_others or one.spec == USUAL_NAME:
        reason += (
            f". If another file has it, both specs are called {one.spec}: give yours a `name:` of its own"
        )
    of = [last_verified(facts[host]).get(one.label, {}) for host, _ in there]
    verified = next(filter(None, of), {})
    differs = tuple(line for host, _ in there for line in drift_for(one.label, facts[host]))
    exposed = tuple(replace(each, wanted=False) for host, _ in there for each in open_at(facts[host]))
    return CrossingStatus(
        name,
        State.DRIFTED if differs else State.PENDING,
        (*map(str, exposed), *differs, reason),
        (),
        verified.get("time"),
        verified.get("result"),
        exposed,
        differs,
        pending=(reason,),
        until=one.until,
    )


def _is_there(crossing: Crossing, facts: Mapping[str, Facts]) -> bool:
    return crossing.via not in facts or any(
        one.label == crossing.label for one in standing_on(facts, [crossing.via])
    )
