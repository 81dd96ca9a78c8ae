"""How the crossings of a plan stand: what is there, what differs, what its counters say, when it was last verified."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from crossnet.dependents import fenced
from crossnet.design import Path
from crossnet.design.flows import Effect, FlowChange
from crossnet.design.impacts import Impact
from crossnet.design.leaning import gone
from crossnet.design.leases import waiting
from crossnet.design.saved import saved_rules
from crossnet.design.today import MOST_NAMED, today
from crossnet.drift import Drift, Pending, drifted, not_applied, pending
from crossnet.elsewhere import elsewhere
from crossnet.errors import HostError
from crossnet.exposure import Exposure
from crossnet.facts import Facts
from crossnet.healed import gave_up, told
from crossnet.health.status import (
    CrossingStatus,
    State,
    down,
    drift_for,
    exposures_of,
    is_applied,
    over_status,
    record_lost,
    told_open,
    unconfirmed,
    why_not_taken_back,
)
from crossnet.opening import told_opening
from crossnet.planning import Plan
from crossnet.planning.lapse import is_armed
from crossnet.planning.scope import is_over
from crossnet.proof import last_verified, worked_at
from crossnet.record import read_record
from crossnet.resources import Resource
from crossnet.several import first_of
from crossnet.spec import Crossing, Heal
from crossnet.suspects import suspects
from crossnet.transaction.journal import unfinished
from crossnet.transaction.left import left_at_cloud
from crossnet.values import Family
from crossnet.verification.counters import read_counters

# Of what a plan tells, that by which packets do not get through as the hosts are.
_STOPS = frozenset({"next-hop-elsewhere", "probe-stopped", "kernel-refuses"})


def crossing_status(
    plan: Plan, facts: Mapping[str, Facts], beside: Collection[Crossing] = ()
) -> tuple[CrossingStatus, ...]:
    """How the crossings of a plan stand; `beside` are others of the spec that it had to leave out."""
    exposed = cache(lambda gateway: _exposed(gateway, plan, facts, is_all=not beside))
    gets_through = cache(lambda: tuple(_gets_through(plan, facts, exposed)))
    return tuple(
        over_status(crossing, facts)
        if is_over(crossing, facts)
        else _status(
            crossing,
            [p for p in plan.paths if p.crossing.name == crossing.name],
            plan,
            facts,
            beside,
            exposed,
            gets_through,
        )
        for crossing in plan.spec.crossings
    )


def _exposed(gateway: str, plan: Plan, facts: Mapping[str, Facts], *, is_all: bool) -> tuple[Exposure, ...]:
    """In what a gateway is open for everybody; no apply closes that while anything is refused or not reached."""
    found = exposures_of(plan.spec, facts[gateway])
    return tuple(replace(each, mendable=is_all and not plan.stopped) for each in found)


def _gets_through(
    plan: Plan, facts: Mapping[str, Facts], exposed: Callable[[str], Sequence[Exposure]]
) -> Iterator[FlowChange]:
    """Who passes a gateway by rules that are not as they were applied, and would not otherwise.

    Not those that pass because it is open for everybody, which is told apart.
    """
    for change in told_opening(plan, facts).opening or ():
        if change.effect is Effect.CLOSES and (change.crossing or not _is_open(change, exposed)):
            yield change


def _is_of(crossing: Crossing, impact: Impact) -> bool:
    return crossing.name in impact.crossings or impact.where == f"crossing {crossing.name}"


def _is_open(change: FlowChange, exposed: Callable[[str], Sequence[Exposure]]) -> bool:
    return any(
        change.family is each.family and change.ingress in each.interfaces for each in exposed(change.gateway)
    )


def _unarmed(facts: Facts, label: str) -> Iterator[str]:
    """Where nothing is prepared to take back what was applied to end at a time."""
    standing = read_record(facts).standing(label)
    ends = standing is not None and standing.until is not None
    if ends and not is_armed(facts) and not unfinished(facts):
        yield f"{facts.host}: nothing is left there that takes it back at its time: `crossnet apply` prepares it again"
    if why := why_not_taken_back(facts):
        yield f"{facts.host}: what was over could not be taken back: {why}"


def _status(
    crossing: Crossing,
    paths: list[Path],
    plan: Plan,
    facts: Mapping[str, Facts],
    beside: Collection[Crossing],
    exposed: Callable[[str], tuple[Exposure, ...]],
    gets_through: Callable[[], Sequence[FlowChange]],
) -> CrossingStatus:
    gateway, label = paths[0].gateway, paths[0].crossing.label
    hosts = dict.fromkeys((gateway, *(c.host for p in paths for c in p.clients if c.host)))
    lost = [reason for host in hosts for reason in record_lost(facts[host])]
    applied = is_applied(paths[0].crossing, facts[gateway])
    shared = {host: one.name for host in hosts for one in beside if one.touches(host)}
    other = None if applied else elsewhere(crossing, plan.spec, facts)
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
    hindered = [impact for impact in plan.impacts if impact.code in _STOPS and _is_of(crossing, impact)]
    unwell += (f"{impact.where}: {impact.text}" for impact in hindered)
    verified = last_verified(facts[gateway]).get(other.label if other else label, {})
    proved, why = _proof(verified)
    unwell += [why] if proved is State.DEGRADED else []
    if crossing.until is not None and applied:
        unwell += (line for host in hosts for line in _unarmed(facts[host], label))
    heals = [facts[host] for host in hosts] if applied and crossing.heal is Heal.AUTO else []
    unwell += filter(None, map(gave_up, heals))
    left = tuple(_left_clients(paths, plan)) if applied else ()
    compared = replace(compared, pending=(*left, *compared.pending))
    if lost:
        state, reasons = State.UNRECORDED, [*lost, *differing, *compared.pending, *unwell]
    elif not applied and unconfirmed(crossing, facts, hosts):
        state, reasons = State.DEGRADED, [*unwell]
    elif other is not None:
        moved = [line for host in hosts for line in drift_for(other.label, facts[host])]
        state, reasons = State.DRIFTED if moved else State.PENDING, [*moved, other.words, *unwell]
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
    elif waits := [f"{client.host}: {lacks}" for path in paths for client, lacks in waiting(path, facts)]:
        state, reasons = State.UNPROVED, waits
    else:
        state, reasons = proved, [why] if why else []
    counters = tuple(
        read_counters(table, label, facts[gateway])
        for host, table in plan.tables
        if host == gateway and table.family in {path.family for path in paths}
    )
    if not any(refusal.where == f"crossing {crossing.name}" for refusal in plan.stopped):
        # Of some packets only, or perhaps: so it may be meant, and the crossing stands as it was applied.
        others = (each for each in plan.impacts if crossing.name in each.crossings and each not in hindered)
        reasons = [*reasons, *(f"{impact.where}: {impact.text}" for impact in others)]
    reasons = [*reasons, *(line for host in heals for line in told(host))]
    if not lost:
        reasons += fenced(facts[gateway], read_record(facts[gateway]))
    at_boot = ("setting-overridden", "cloud-init-rewrites", "way-not-kept")
    later = [each for each in plan.impacts if each.code in at_boot and each.where in hosts]
    # By what stands there, whether or not the plan would bring more.
    for host in hosts:
        later += saved_rules(facts[host], leaving=not read_record(facts[host]).owned)
    reasons += (f"{each.where}: {each.text}" for each in later)
    reasons = [*map(str, exposed(gateway)), *reasons]
    return CrossingStatus(
        crossing.name,
        state,
        tuple(reasons),
        counters,
        verified.get("time"),
        verified.get("result"),
        exposed(gateway),
        compared.drift if applied or lost else (),
        compared.pending if applied or lost else (other.words,) if other else (),
        crossing.until,
    )


def _left_clients(paths: Sequence[Path], plan: Plan) -> Iterator[str]:
    """The managed hosts that are clients of a crossing by its gateway's record, and not in the spec any more."""
    label, gateway = paths[0].crossing.label, paths[0].gateway
    before = next((one.before.standing(label) for one in plan.hosts if one.host == gateway), None)
    clients = {client.host for path in paths for client in path.clients}
    if before is None:
        return
    elsewhere = {host.name for host in before.hosts if not before.means_the_same_here(host)}
    for host in dict.fromkeys(client.host for path in before.paths for client in path.clients):
        if host is not None and host not in clients:
            todo = f"`crossnet undo` on {before.stamp.source}" if host in elsewhere else "`crossnet apply`"
            yield f"{host}: not its client in the spec any more, and still applied: {todo} takes it away"


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
        else (
            *_meaning(drift, paths, facts),
            *(_admitted(paths, plan, gets_through()) if rules_differ else ()),
        ),
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


def _admitted(paths: Collection[Path], plan: Plan, found: Iterable[FlowChange]) -> Iterator[str]:
    """Who gets through the gateway of a crossing besides, but by the rules of another crossing."""
    gateways, own = {path.gateway for path in paths}, {path.crossing.label for path in paths}
    standing = {one.label for host in plan.hosts for one in host.before.crossings}
    others = (standing | {one.label for one in plan.spec.crossings}) - own
    alike: dict[tuple[str, str, str], list[str]] = {}
    for each in found:
        if each.gateway in gateways and each.crossing not in others:
            alike.setdefault((_sent(each), each.gateway, _passing(each)), []).append(_way(each))
    for (sent, gateway, passing), ways in alike.items():
        yield f"so what {sent} gets through {gateway} by {first_of(ways, MOST_NAMED)}: {passing}"


def _sent(change: FlowChange) -> str:
    clients = first_of(change.clients, MOST_NAMED) if change.clients else "anybody"
    return f"{clients} sends" + (f" to {first_of(change.to, MOST_NAMED)}" if change.to else "")


def _passing(change: FlowChange) -> str:
    part = "" if change.exact else "part of "
    return f"{part}{change.traffic}" + (
        "" if change.certain else "; how much of it others let pass is unknown"
    )


def _way(change: FlowChange) -> str:
    if change.ingress == change.egress:
        return f"bridge {change.ingress}"
    return " → ".join(filter(None, (change.ingress, change.egress)))


def _serves(paths: Iterable[Path], host: str, resource: Resource) -> bool:
    return any(
        resource.serves(path.family, path.destinations, on_gateway=host == path.gateway)
        for path in paths
        if host == path.gateway or any(client.host == host for client in path.clients)
    )


def _unwell(path: Path, facts: Mapping[str, Facts]) -> Iterator[str]:
    gateway = facts[path.gateway]
    yield from (f"{path.gateway}: {words}" for words in gone(gateway, path))
    yield from down(gateway, (path.ingress, path.egress))
    for client in path.clients:
        if client.host and client.interface:
            yield from down(facts[client.host], [client.interface])
    for host in {path.gateway, *(client.host for client in path.clients if client.host)}:
        left = unfinished(facts[host], facts)
        if left:
            yield f"{host}: {told_open(left)}"
        else:
            yield from _left_at_cloud(facts[host])


def _left_at_cloud(facts: Facts) -> Iterator[str]:
    try:
        left = left_at_cloud(facts)
    except HostError as error:
        yield f"{error.host}: {error.tried}: {error.seen}"
        return
    if left is not None:
        yield f"{facts.host}: {left}; `crossnet recover` ends them"


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
