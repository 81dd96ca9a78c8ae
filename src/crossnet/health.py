"""How each crossing stands: what is there, what differs, what its counters say, when it was last verified."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache

from crossnet.dependents import fenced
from crossnet.design import Path
from crossnet.design.flows import Effect, FlowChange
from crossnet.design.leaning import gone
from crossnet.design.today import MOST_NAMED, today
from crossnet.drift import Drift, Pending, drifted, not_applied, pending
from crossnet.elsewhere import elsewhere, standing_on
from crossnet.errors import CrossnetError, PlanRefused, Refusal
from crossnet.exposure import Exposure, exposures
from crossnet.facts import Facts, FileState
from crossnet.healed import gave_up, told
from crossnet.lasting import Lasting
from crossnet.opening import told_opening
from crossnet.planning import Plan
from crossnet.planning.lapse import is_armed
from crossnet.planning.scope import is_over
from crossnet.proof import last_verified, worked_at
from crossnet.record import UNTIL_FAILED, read_record, shown
from crossnet.resources import Resource
from crossnet.several import first_of
from crossnet.spec import Crossing, Heal, Spec
from crossnet.standing import Standing
from crossnet.suspects import suspects
from crossnet.transaction.journal import Journal, unfinished
from crossnet.unreached import unreached
from crossnet.values import Family
from crossnet.verification.counters import Counters, read_counters


class State(StrEnum):
    """`down`: not applied; `drifted`: a host is not any more as it was when it was applied, whatever the spec says.

    `pending`: the hosts are as they were applied, and the spec asks for something else by now.
    `degraded`: as applied, but something it stands on is not well, or a flow was seen not to get through the gateway.
    `unproved`: as applied, and no answer has come back through it yet, or not to the last probe.
    `unknown`: one of its hosts cannot be reached, or what it shares with such a crossing cannot be compared.
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


def crossing_status(
    plan: Plan, facts: Mapping[str, Facts], beside: Collection[Crossing] = ()
) -> tuple[CrossingStatus, ...]:
    """How the crossings of a plan stand; `beside` are others of the spec that it had to leave out."""
    gets_through = cache(lambda: tuple(_gets_through(plan, facts)))
    return tuple(
        _over(crossing, facts)
        if is_over(crossing, facts)
        else _status(
            crossing,
            [p for p in plan.paths if p.crossing.name == crossing.name],
            plan,
            facts,
            beside,
            gets_through,
        )
        for crossing in plan.spec.crossings
    )


def _gets_through(plan: Plan, facts: Mapping[str, Facts]) -> Iterator[FlowChange]:
    """Who passes a gateway by rules that are not as they were applied, and would not otherwise.

    Not those that pass because it is open for everybody: see `exposure`.
    """
    for change in told_opening(plan, facts).opening or ():
        if change.effect is Effect.CLOSES and change.clients and change.to:
            yield change


def _over(crossing: Crossing, facts: Mapping[str, Facts]) -> CrossingStatus:
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
    yield from _lost(facts)
    try:
        record = read_record(facts)
    except PlanRefused:
        return
    if record.standing(crossing.label) is not None:
        why = _why_not(facts) or "it is about to go"
        yield f"{facts.host}: it still stands there: {why}; `crossnet apply` takes it back"
    elif record.owned and not record.crossings:
        made = shown([owned.applied for owned in record.owned if not owned.applied.is_persistent])
        yield f"{facts.host}: the last crossing left {made}; `crossnet undo` removes it"


def _why_not(facts: Facts) -> str:
    """Why a host could not take back what is over; nothing where it has not said so."""
    failed = facts.files.get(UNTIL_FAILED)
    return " ".join(failed.data.decode(errors="replace").split()) if isinstance(failed, FileState) else ""


def _unarmed(facts: Facts) -> Iterator[str]:
    """Where nothing is prepared to take back what ends at a time."""
    if not is_armed(facts) and not unfinished(facts):
        yield f"{facts.host}: nothing is left there that takes it back at its time: `crossnet apply` prepares it again"
    if why := _why_not(facts):
        yield f"{facts.host}: what was over could not be taken back: {why}"


def refused_status(
    spec: Spec, facts: Mapping[str, Facts], refused: PlanRefused
) -> tuple[CrossingStatus, ...]:
    """The same where the hosts do not allow a plan any more, such as after an interface went down."""
    found = []
    for crossing in spec.crossings:
        if is_over(crossing, facts):
            found.append(_over(crossing, facts))
            continue
        gateway = facts[crossing.via]
        hosts = [name for name in facts if crossing.touches(name)]
        lost = [reason for name in hosts for reason in _lost(facts[name])]
        own = [_told(refusal) for refusal in refused.refusals if _concerns(refusal, crossing, hosts)]
        first = refused.refusals[0]
        others = [f"not judged: {first.where}: {first.message}"]
        differs = [] if lost else [line for name in hosts for line in _drift_of(facts[name])]
        state = State.DEGRADED if not lost and _is_applied(crossing, gateway) else State.DOWN
        state = State.DRIFTED if differs and state is State.DEGRADED else state
        label, pending = crossing.label, tuple[str, ...]()
        if state is State.DOWN and not lost:
            if opened := _made(crossing, facts, hosts):
                state, differs = State.DEGRADED, [*opened, *differs]
            elif other := elsewhere(crossing, spec, facts):
                state, label, pending = State.PENDING, other.label, (other.words,)
        verified = last_verified(gateway).get(label, {})
        exposed = tuple(replace(each, mendable=False) for each in _exposures(spec, gateway))
        found.append(
            CrossingStatus(
                crossing.name,
                State.UNRECORDED if lost else state,
                (*map(str, exposed), *(lost or [*differs, *pending, *(own or others)])),
                (),
                verified.get("time"),
                verified.get("result"),
                exposed,
                pending=pending,
                until=crossing.until,
            )
        )
    return tuple(found)


def _concerns(refusal: Refusal, crossing: Crossing, hosts: Collection[str]) -> bool:
    """Whether a refusal is of a crossing, of its hosts, or of it and another one."""
    pair = refusal.where.removeprefix("crossings ").split(" and ")
    return refusal.where in (f"crossing {crossing.name}", *hosts) or (
        refusal.where.startswith("crossings ") and crossing.label in pair
    )


def _told(refusal: Refusal) -> str:
    """A refusal in words; of two crossings with their names."""
    return f"{refusal.where} {refusal.message}" if refusal.where.startswith("crossings ") else refusal.message


def _made(crossing: Crossing, facts: Mapping[str, Facts], hosts: Iterable[str]) -> list[str]:
    """That all of a crossing is there, by a transaction that nobody has confirmed yet."""
    opened = [
        (host, left)
        for host in hosts
        if (left := unfinished(facts[host])) is not None and crossing.label in left.crossings
    ]
    if not all(left.is_whole and not left.is_abandoned for _, left in opened):
        return []
    return [f"{host}: {_open(left)}" for host, left in opened]


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
    of = [last_verified(facts[host]).get(one.label, {}) for host, _ in there]
    verified = next(filter(None, of), {})
    return CrossingStatus(
        name,
        State.PENDING,
        (reason,),
        (),
        verified.get("time"),
        verified.get("result"),
        pending=(reason,),
        until=one.until,
    )


def _is_there(crossing: Crossing, facts: Mapping[str, Facts]) -> bool:
    return crossing.via not in facts or any(
        one.label == crossing.label for one in standing_on(facts, [crossing.via])
    )


def _drift_of(facts: Facts) -> Iterator[str]:
    """What differs from what was applied there; an open transaction explains it."""
    if not unfinished(facts):
        yield from (line for each in drifted(facts, read_record(facts)) for line in each.lines)


def unknown_status(
    spec: Spec, crossing: Crossing, facts: Mapping[str, Facts], errors: Mapping[str, CrossnetError]
) -> CrossingStatus:
    """A crossing with a host that was not reached, and what the others say of it all the same."""
    gateway = facts.get(crossing.via)
    lost = [reason for host, said in facts.items() if crossing.touches(host) for reason in _lost(said)]
    state = State.UNRECORDED if lost else State.UNKNOWN
    verified, exposed, pending = dict[str, str](), tuple[Exposure, ...](), tuple[str, ...]()
    if gateway is not None:
        label, exposed = crossing.label, _exposures(spec, gateway)
        if not lost and not _is_applied(crossing, gateway):
            hosts = [host for host in facts if crossing.touches(host)]
            if made := _made(crossing, facts, hosts):
                lost = made
            elif other := elsewhere(crossing, spec, facts):
                state, label, pending = State.PENDING, other.label, (other.words,)
            else:
                state, lost = State.DOWN, ["not applied"]
        verified = last_verified(gateway).get(label, {})
    reasons = (*map(str, exposed), *lost, *pending, *unreached(spec, crossing.name, errors))
    return CrossingStatus(
        crossing.name,
        state,
        reasons,
        (),
        verified.get("time"),
        verified.get("result"),
        exposed,
        pending=pending,
        until=crossing.until,
        tells_verified=gateway is not None,
    )


def _status(
    crossing: Crossing,
    paths: list[Path],
    plan: Plan,
    facts: Mapping[str, Facts],
    beside: Collection[Crossing],
    gets_through: Callable[[], Sequence[FlowChange]],
) -> CrossingStatus:
    gateway, label = paths[0].gateway, paths[0].crossing.label
    hosts = dict.fromkeys((gateway, *(c.host for p in paths for c in p.clients if c.host)))
    lost = [reason for host in hosts for reason in _lost(facts[host])]
    applied = _is_applied(paths[0].crossing, facts[gateway])
    shared = {host: one.name for host in hosts for one in beside if one.touches(host)}
    compared = _compared(paths, plan, facts, shared, gets_through)
    differing = [*compared.drift, *compared.suspects, *compared.means]
    unwell = [
        f"{refusal.message}: {'; '.join(refusal.candidates)}"
        for refusal in plan.stopped
        if refusal.where == f"crossing {crossing.name}"
    ]
    if better := plan.engines[gateway].better:
        engine = plan.engines[gateway].engine
        does = (
            f"moves them to {better.engine}" if better.accepts is None else f"accepts it in {better.accepts}"
        )
        unwell.append(
            f"{gateway}: crossnet's rules are in {engine}, and the FORWARD chain of iptables can drop: "
            f"`crossnet apply` {does}, before what drops there"
        )
    unwell += dict.fromkeys(reason for path in paths for reason in _unwell(path, facts))
    other = None if applied else elsewhere(crossing, plan.spec, facts)
    verified = last_verified(facts[gateway]).get(other.label if other else label, {})
    proved, why = _proof(verified)
    unwell += [why] if proved is State.DEGRADED else []
    if crossing.until is not None and applied:
        unwell += (line for host in hosts for line in _unarmed(facts[host]))
    heals = [facts[host] for host in hosts] if applied and crossing.heal is Heal.AUTO else []
    unwell += filter(None, map(gave_up, heals))
    left = tuple(_left_clients(paths, plan)) if applied else ()
    compared = replace(compared, pending=(*left, *compared.pending))
    if lost:
        state, reasons = State.UNRECORDED, [*lost, *differing, *compared.pending, *unwell]
    elif not applied and _made(crossing, facts, hosts):
        state, reasons = State.DEGRADED, [*unwell]
    elif other is not None:
        state, reasons = State.PENDING, [other.words, *unwell]
    elif not applied:
        state, reasons = State.DOWN, ["not applied", *unwell]
    elif differing:
        state, reasons = State.DRIFTED, [*differing, *compared.pending, *unwell]
    elif compared.unsaid:
        state, reasons = State.UNKNOWN, [*compared.unsaid, *compared.pending, *unwell]
    elif compared.pending:
        state, reasons = State.PENDING, [*compared.pending, *unwell]
    elif unwell:
        state, reasons = State.DEGRADED, [*unwell]
    else:
        state, reasons = proved, [why] if why else []
    counters = tuple(
        read_counters(table, label, facts[gateway])
        for host, table in plan.tables
        if host == gateway and table.family in {path.family for path in paths}
    )
    if not any(refusal.where == f"crossing {crossing.name}" for refusal in plan.stopped):
        # Of some packets only, or perhaps: so it may be meant, and the crossing stands as it was applied.
        others = (impact for impact in plan.impacts if crossing.name in impact.crossings)
        reasons = [*reasons, *(f"{impact.where}: {impact.text}" for impact in others)]
    reasons = [*reasons, *(line for host in heals for line in told(host))]
    if not lost:
        reasons += fenced(facts[gateway], read_record(facts[gateway]))
    at_boot = ("in-saved-rules", "setting-overridden", "cloud-init-rewrites", "way-not-kept")
    later = (each for each in plan.impacts if each.code in at_boot and each.where in hosts)
    reasons += (f"{each.where}: {each.text}" for each in later)
    exposed = _exposures(plan.spec, facts[gateway])
    reasons = [*map(str, exposed), *reasons]
    return CrossingStatus(
        crossing.name,
        state,
        tuple(reasons),
        counters,
        verified.get("time"),
        verified.get("result"),
        exposed,
        compared.drift if applied or lost else (),
        compared.pending if applied or lost else (other.words,) if other else (),
        crossing.until,
    )


def _left_clients(paths: Sequence[Path], plan: Plan) -> Iterator[str]:
    """The managed hosts that are clients of a crossing by its gateway's record, and not in the spec any more."""
    label, gateway = paths[0].crossing.label, paths[0].gateway
    before = next((one.before.standing(label) for one in plan.hosts if one.host == gateway), None)
    clients = {client.host for path in paths for client in path.clients}
    was = (client.host for path in (before.paths if before else ()) for client in path.clients)
    for host in dict.fromkeys(was):
        if host is not None and host not in clients:
            yield f"{host}: not its client in the spec any more, and still applied: `crossnet apply` takes it away"


def _exposures(spec: Spec, gateway: Facts) -> tuple[Exposure, ...]:
    """Of a gateway whose record can be read; one that cannot is told already."""
    try:
        return tuple(exposures(spec, gateway, read_record(gateway)))
    except PlanRefused:
        return ()


def _is_applied(crossing: Crossing, gateway: Facts) -> bool:
    return read_record(gateway).standing(crossing.label) is not None


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
            "`crossnet plan` shows what an apply would do about it"
        )


@dataclass(frozen=True, slots=True)
class _Compared:
    """What differs from what was applied, and what may be why; what it means, and what the spec asks for besides; what
    nobody can say."""

    drift: tuple[str, ...]
    suspects: tuple[str, ...]
    means: tuple[str, ...]
    pending: tuple[str, ...]
    unsaid: tuple[str, ...]


def _compared(
    paths: Collection[Path],
    plan: Plan,
    facts: Mapping[str, Facts],
    shared: Mapping[str, str],
    gets_through: Callable[[], Sequence[FlowChange]],
) -> _Compared:
    """The hosts of a crossing against their records, and the plan against the records.

    On a host that is `shared` with a crossing that the plan leaves out, what the plan does not want may be that
    one's, and what is made of all crossings together no plan can tell.
    """
    hosts = {path.gateway for path in paths}
    hosts |= {client.host for path in paths for client in path.clients if client.host}

    labels = {path.crossing.label for path in paths}

    def concerns(host: str, resource: Resource) -> bool:
        """What serves none of the crossings there, such as a route to where one led before, is told of all."""
        return _serves(paths, host, resource) or not _serves(plan.paths, host, resource)

    drift, asked, unsaid, rules_differ = list[Drift](), list[Pending](), list[str](), False
    why = list[str]()
    for one in plan.hosts:
        host = one.host
        if host not in hosts or unfinished(facts[host]):
            continue  # what differs there, the open transaction explains
        own = [
            each
            for each in drifted(facts[host], one.before)
            if concerns(host, each.applied)
            and each.applied.identity not in plan.left_alone.get(host, frozenset())
            and (each.crossings is None or each.crossings & labels)
        ]
        drift += own
        well = [worked_at(facts[path.gateway], path.crossing.label) for path in paths]
        why += (f"{host}: {words}" for words in suspects(facts[host], one.before, own, well))
        rules_differ = rules_differ or any(each.applied.decides(family) for each in own for family in Family)
        of_others = not one.moving & labels and bool(one.moving)
        for each in pending(one, plan):
            if not concerns(host, each.resource) or (of_others and isinstance(each, Pending)):
                continue
            if host not in shared:
                (drift if isinstance(each, Drift) else asked).append(each)  # type: ignore[arg-type]
            elif each.resource.is_of_all_crossings:
                if isinstance(each, Drift):
                    which = f"{each.resource.kind} {each.resource.key}"
                    unsaid.append(
                        f"{host}: {which} cannot be compared: crossing {shared[host]} has a part in it"
                    )
            elif isinstance(each, Pending) and each.change.want is not None:
                asked.append(each)
    return _Compared(
        tuple(dict.fromkeys(line for each in drift for line in each.lines)),
        tuple(why),
        # Where something else is asked for by now, the paths are not those that were applied.
        ()
        if asked
        else (*_meaning(drift, paths, facts), *(_admitted(paths, gets_through()) if rules_differ else ())),
        tuple(not_applied(asked, plan.hosts)),
        tuple(dict.fromkeys(unsaid)),
    )


def _meaning(drift: Collection[Drift], paths: Iterable[Path], facts: Mapping[str, Facts]) -> Iterator[str]:
    if not drift:
        return
    stopped = dict.fromkeys(words for path in paths for words in today(path, facts))
    if not all(each.applied.is_persistent for each in drift):
        yield from (f"so {words}" for words in stopped)
    elif stopped:
        yield "the next boot may not bring all of it back"
    else:
        yield "it works as applied until the next boot, which may not bring all of it back"


def _admitted(paths: Collection[Path], found: Iterable[FlowChange]) -> Iterator[str]:
    """Who gets through the gateway of a crossing besides, by its rules or none."""
    gateways, names = {path.gateway for path in paths}, {"", *(path.crossing.name for path in paths)}
    for each in found:
        if each.gateway in gateways and each.crossing in names:
            yield (
                f"so what {first_of(each.clients, MOST_NAMED)} sends to {first_of(each.to, MOST_NAMED)} gets through "
                f"{each.gateway}: {each.traffic}"
            )


def _serves(paths: Iterable[Path], host: str, resource: Resource) -> bool:
    return any(
        resource.serves(path.family, path.destinations, on_gateway=host == path.gateway)
        for path in paths
        if host == path.gateway or any(client.host == host for client in path.clients)
    )


def _unwell(path: Path, facts: Mapping[str, Facts]) -> Iterator[str]:
    gateway = facts[path.gateway]
    yield from (f"{path.gateway}: {words}" for words in gone(gateway, path))
    for name in (path.ingress, path.egress):
        link = gateway.link(name)
        if link is None or not link.up:
            yield f"{path.gateway}: {name} is down"
    for client in path.clients:
        if client.host and client.interface:
            link = facts[client.host].link(client.interface)
            if link is None or not link.up:
                yield f"{client.host}: {client.interface} is down"
    for host in {path.gateway, *(client.host for client in path.clients if client.host)}:
        left = unfinished(facts[host], facts)
        if left:
            yield f"{host}: {_open(left)}"


def _open(left: Journal) -> str:
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
