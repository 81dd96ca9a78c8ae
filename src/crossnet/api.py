"""What the commands do, as functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath

from crossnet.design import lookups
from crossnet.errors import (
    CrossnetError,
    HostsDisagree,
    PlanRefused,
    RollbackNotProved,
    RolledBack,
    StalePlan,
)
from crossnet.events import Event, Kind, Watcher, nobody, without_a_say
from crossnet.facts import Facts
from crossnet.health import (
    CrossingStatus,
    crossing_status,
    last_verified,
    reached,
    refused_status,
    unknown_status,
    unreached,
    without,
)
from crossnet.joining import joining, same_machines
from crossnet.moved import moved
from crossnet.opening import told_opening
from crossnet.planning import OWN_CROSSINGS, Plan, Undo, make_plan, make_undo_plan
from crossnet.record import TRANSACTION, VERIFIED, Record, read_record
from crossnet.site import Answers, Site, reach
from crossnet.spec import USUAL_NAME, HostSpec, Spec
from crossnet.transaction import ending, journal
from crossnet.transaction.agent import Agent
from crossnet.transaction.apply import Confirmed, NotAsPromised, Proof
from crossnet.transaction.apply import apply as transact
from crossnet.transaction.ending import Open
from crossnet.transaction.guard import Guard
from crossnet.transaction.history import Past, read_history
from crossnet.transaction.journal import CONFIRM, Journal
from crossnet.transaction.uninterrupted import told, uninterrupted
from crossnet.turns import in_turn, says_the_same
from crossnet.values import Probe
from crossnet.verification import Result, Verdict, Verification, not_judged, read_back
from crossnet.verification import verify as check
from crossnet.verification.carried import carrying

UNDO = "undo"

DEFAULT_GUARD = Guard()

MOST_PLANS = 5  # one after the other, while others change what concerns all crossings


@dataclass(frozen=True, slots=True)
class Applied:
    """A confirmed transaction with the verification that earned it; None where nothing had to be changed.

    Where nothing had to be changed for an apply, what stands was verified all the same.
    """

    plan: Plan
    confirmed: Confirmed | None
    verification: Verification | None

    @property
    def unwritten(self) -> tuple[str, ...]:
        """What could not be written for the next boot."""
        return self.confirmed.unwritten if self.confirmed else ()

    @property
    def unproved(self) -> tuple[Verdict, ...]:
        """The flows of which no answer came back through the crossing."""
        return self.verification.unproved if self.verification else ()

    @property
    def meanwhile(self) -> tuple[str, ...]:
        """What somebody else changed on the hosts while it ran; it was left alone."""
        return self.confirmed.meanwhile if self.confirmed else ()


def load(path: str | Path) -> Spec:
    """The spec in a file; SpecError tells all its mistakes at once."""
    from crossnet.specfile import load as load_file

    return load_file(path)


async def observe(spec: Spec, *, watch: Watcher = nobody) -> dict[str, Facts]:
    """What every host of a spec says about itself; read only."""
    async with reach(spec, watch=watch, asking=partial(lookups, spec)) as site:
        return await site.observe()


async def survey(
    spec: Spec, *, every_spec: bool = False, forgotten: str = "", watch: Watcher = nobody
) -> tuple[Spec, dict[str, Facts]]:
    """The same, with the hosts that left the spec and keep something of it; the spec then has them too.

    With `every_spec` also the hosts of all that stands on one of them; never the one that is `forgotten`.
    """
    facts = await observe(spec, watch=watch)
    left_out = {forgotten}
    while new := [host for host in joining(spec, facts, every_spec=every_spec) if host.name not in left_out]:
        wider = replace(spec, hosts=(*spec.hosts, *new))
        names = [host.name for host in new]
        try:
            facts = await observe(wider, watch=watch)
        except CrossnetError as error:
            raise CrossnetError(
                f"{error}\n  {', '.join(names)} left spec {spec.name}, and something of it stands there. Where such a "
                "host never comes back: `crossnet forget HOST`."
            ) from error
        left_out |= set(names)
        known = same_machines(facts, names)
        facts = {name: one for name, one in facts.items() if name not in known}
        spec = replace(wider, hosts=tuple(host for host in wider.hosts if host.name not in known))
    return spec, facts


async def carried(hosts: Sequence[HostSpec], *, watch: Watcher = nobody) -> Answers[Record]:
    """What hosts say that they carry, from themselves alone; why those do not that were not reached."""
    spec = Spec(file="", source="", name=USUAL_NAME, hosts=tuple(hosts), crossings=(), is_whole=False)
    async with reach(spec, watch=watch) as site:
        found = await site.look(kernels=False)
    said, errors = dict[str, Record](), dict(found.errors)
    for name, facts in found.said.items():
        try:
            said[name] = read_record(facts)
        except PlanRefused as refused:
            errors[name] = refused
    return Answers(said, errors)


def plan(spec: Spec, facts: Mapping[str, Facts]) -> Plan:
    """What would change on which host, and what that opens; PlanRefused says why there is no plan.

    Locked when a transaction is under way or was not finished: its traces are no state to plan from.
    """
    _closed(facts)
    return told_opening(_passing(make_plan(spec, facts)), facts)


async def plan_in_turn(spec: Spec, *, watch: Watcher = nobody) -> Plan:
    """The plan of a spec that shall be applied: while somebody else is at work on its hosts, when they are done."""

    async def attempt() -> Plan:
        return plan(*await survey(spec, watch=watch))

    return await in_turn(attempt, without_a_say(watch))


def _passing(made: Plan) -> Plan:
    """The plan; PlanRefused where nothing of a crossing would pass when it is applied."""
    if made.stopped and made.touched:
        raise PlanRefused(made.stopped)
    return made


def _closed(facts: Mapping[str, Facts]) -> None:
    """Locked where a transaction is open."""
    for name, found in _unfinished(facts).items():
        if not found.is_void:
            raise journal.locked(name, found)


async def apply(
    made: Plan, *, guard: Guard = DEFAULT_GUARD, message: str = "", watch: Watcher = nobody
) -> Applied:
    """Bring the hosts to a plan: all or nothing, verified before it is confirmed.

    Each host puts itself back when `guard` is over and nobody has confirmed. Raises RolledBack (proved) or
    RollbackNotProved when it does not hold, HostsDisagree when only some hosts hold it, StalePlan when the
    hosts moved since the plan was made, Locked when another transaction is under way. `message` is one line that the
    hosts keep of why it was done; ValueError where it is none.

    Where there is nothing to change the hosts are read back all the same, and the probes sent.
    """
    journal.checked(message)
    async with reach(made.spec, watch=watch, asking=partial(lookups, made.spec), asked=made.asked) as site:
        plan = made

        async def attempt() -> Applied:
            nonlocal plan
            for _ in range(MOST_PLANS):
                try:
                    return await (_apply(plan, site, guard, message) if plan.touched else _prove(plan, site))
                except StalePlan:
                    facts = await site.observe()
                    _closed(facts)
                    again = _passing(make_plan(made.spec, facts))
                    if again.steps == plan.steps or not says_the_same(made, again):
                        raise
                    plan = told_opening(again, facts)
            return await _apply(plan, site, guard, message)

        return await in_turn(attempt, site.watch)


async def _prove(made: Plan, site: Site) -> Applied:
    """What stands already, verified; nothing is written but how that ended, where it ended otherwise than last time."""
    facts = await site.observe()
    _closed(facts)
    now = make_plan(made.spec, facts)
    if now.touched:
        raise StalePlan("The plan is stale, because the hosts moved since it was made", moved(made, now))
    found = await check(now, facts, site)
    kept = _verified(found, now, facts)
    await _remember({name: data for name, data in kept.items() if _ends_otherwise(facts[name], data)}, site)
    return Applied(now, None, found)


async def _apply(made: Plan, site: Site, guard: Guard, message: str) -> Applied:
    held: list[Verification] = []
    kept: dict[str, bytes] = {}

    async def prove() -> Proof:
        facts = await site.observe()
        found = await check(made, facts, site, live_only=True)
        held.append(found)
        if found.differences:
            raise NotAsPromised(
                "after the change, read again:\n  " + "\n  ".join(found.differences),
                "Find out who changes it, then apply again",
            )
        if found.refuted:
            raise _refuted(found.refuted)
        kept.update(_verified(found, made, facts))
        return Proof(facts, kept)

    confirmed = await transact(
        made,
        site,
        what="apply " + ", ".join(crossing.name for crossing in made.spec.crossings),
        crossings=[*dict.fromkeys([*(one.label for one in made.spec.crossings), *_ended(made)])],
        message=message,
        guard=guard,
        replan=lambda facts: _passing(make_plan(made.spec, facts)),
        prove=prove,
    )
    try:
        others = {name: data for name, data in kept.items() if name not in made.touched}
        await uninterrupted(told(_remember(others, site)))
    except CrossnetError as error:  # it holds all the same, so it is told and no more
        confirmed = replace(confirmed, unwritten=(*confirmed.unwritten, str(error)))
    return Applied(made, confirmed, held[-1])


def _refuted(verdicts: Sequence[Verdict]) -> NotAsPromised:
    named = [verdict for verdict in verdicts if verdict.demanded]
    what = (
        "a probe of the spec does not pass" if named else "a new flow was seen not to get through the gateway"
    )
    lines = "\n  ".join(verdict.why for verdict in verdicts)
    todo = "Remove the cause, or name another probe" if named else "Remove the cause"
    return NotAsPromised(f"{what}:\n  {lines}", f"{todo}, then apply again")


async def verify(
    spec: Spec,
    *,
    crossing: str | None = None,
    client: str | None = None,
    probe: Probe | None = None,
    watch: Watcher = nobody,
) -> Verification:
    """Read back, send a new flow from each client, and look at it on the gateway.

    With `client`, a host of the spec, or `probe` that flow is tried and no other; CrossnetError where no crossing
    carries it. How it ended is not kept for the status then.

    Of a crossing with a host that cannot be reached the verdict is undetermined, and says why.
    """
    async with reach(spec, watch=watch, asking=partial(lookups, spec)) as site:
        found = await site.look()
        rest = without(spec, found.errors)
        if found.errors and not rest.crossings:
            found.all()
        facts = {host.name: found.said[host.name] for host in rest.hosts}
        one_flow = client is not None or probe is not None
        verified = await _verify(rest, crossing, site.part(rest), facts, client, probe)
        left_out = [] if one_flow else [one.name for one in spec.crossings if one not in rest.crossings]
        gone = [name for name in left_out if crossing in (None, name)]
        unknown = [not_judged(name, str(why)) for name in gone for why in unreached(spec, name, found.errors)]
        return replace(verified, verdicts=(*verified.verdicts, *unknown), unreached=tuple(found.errors))


async def _verify(
    spec: Spec,
    crossing: str | None,
    site: Site,
    facts: Mapping[str, Facts],
    client: str | None,
    probe: Probe | None,
) -> Verification:
    _closed(facts)
    made = make_plan(spec, facts, moves=False)
    if crossing is not None:
        made = replace(made, passages=tuple(p for p in made.passages if p.crossing.name == crossing))
    one_flow = client is not None or probe is not None
    if one_flow:
        made = replace(made, passages=carrying(made.passages, client, probe))
    found = await check(made, facts, site)
    records = {name: read_record(one) for name, one in facts.items()}
    if not one_flow and all(records[one.gateway].standing(one.crossing.label) for one in made.passages):
        await _remember(_verified(found, made, facts), site)
    own = [record.standing(one.label) for record in records.values() for one in spec.crossings]
    if found.differences and not any(own) and not any(record.lost for record in records.values()):
        lines = (f"{one.name}: not applied: `crossnet apply`" for one in spec.crossings)
        return replace(found, differences=tuple(lines))
    return found


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What undo would give back, and the abandoned transactions that it would end first."""

    plan: Plan
    unfinished: Mapping[str, Journal]

    @property
    def is_empty(self) -> bool:
        return not self.plan.touched and not self.unfinished


async def plan_undo(spec: Spec, what: Undo = OWN_CROSSINGS, *, watch: Watcher = nobody) -> UndoPlan:
    """What undo would do, by the hosts' own records and journals; Locked when somebody else is at work for long."""
    return await in_turn(lambda: _plan_undo(spec, what, watch), without_a_say(watch))


async def _plan_undo(spec: Spec, what: Undo, watch: Watcher) -> UndoPlan:
    spec, facts = await survey(spec, every_spec=what.all, watch=watch)
    left = _unfinished(facts)
    _abandoned(left)
    if not left:
        _is_there(spec, what, facts)
    return UndoPlan(told_opening(make_undo_plan(spec, facts, what), facts), left)


def _is_there(spec: Spec, what: Undo, facts: Mapping[str, Facts]) -> None:
    """CrossnetError where a crossing, or a host, is named of which nothing stands."""
    standing = [one for facts_of in facts.values() for one in read_record(facts_of).crossings]
    if not what.all:
        standing = [one for one in standing if one.spec in ("", spec.name)]
    crossings = sorted({one.crossing for one in standing})
    hosts = sorted(
        {host for one in standing for host in (one.host, *(each.name for each in one.hosts))} - {""}
    )
    for asked, kind, there in ((what.crossing, "crossing", crossings), (what.host, "host", hosts)):
        if asked is not None and standing and asked not in there:
            raise CrossnetError(f"nothing stands of {kind} {asked}\n  There stands: {', '.join(there)}.")


async def plan_forget(spec: Spec, host: str, *, watch: Watcher = nobody) -> UndoPlan:
    """What would be taken back of a host that never comes back: on the others, nothing is asked of it.

    A gateway takes its crossings with it, a client only its own part.
    """
    others = replace(spec, hosts=tuple(one for one in spec.hosts if one.name != host))
    if not others.hosts:
        raise CrossnetError(f"{host} is the only host of spec {spec.name}: there is no other to forget it on")
    others, facts = await survey(others, forgotten=host, watch=watch)
    left = _unfinished(facts)
    _abandoned(left)
    what = Undo(host=host)
    _is_there(spec, what, facts)
    return UndoPlan(told_opening(make_undo_plan(others, facts, what), facts), left)


def _unfinished(facts: Mapping[str, Facts]) -> dict[str, Journal]:
    return {name: found for name in facts if (found := journal.unfinished(facts[name]))}


def _abandoned(left: Mapping[str, Journal]) -> None:
    """Locked where somebody may still be at work."""
    for name, found in left.items():
        if not found.is_abandoned:
            raise journal.locked(name, found)


async def undo(
    spec: Spec,
    what: Undo = OWN_CROSSINGS,
    *,
    guard: Guard = DEFAULT_GUARD,
    message: str = "",
    watch: Watcher = nobody,
) -> Applied:
    """Crossings taken back, with the last of them every host as it was before crossnet.

    An abandoned transaction is ended first. The spec is that of the plan, with the hosts that left it. `message` as
    for `apply`.
    """
    journal.checked(message)
    async with reach(spec, watch=watch) as site:
        return await in_turn(lambda: _undo(spec, what, site, guard, message), site.watch)


async def _undo(spec: Spec, what: Undo, site: Site, guard: Guard, message: str) -> Applied:
    facts, _ = await _end_unreadable(await site.observe(), site)
    left = _unfinished(facts)
    _abandoned(left)
    if left:
        for found in await ending.find(facts, site):
            await _end(found, site, UNDO)
        facts = await site.observe()
    made = make_undo_plan(spec, facts, what)
    if not made.touched:
        await _sweep(site)
        return Applied(made, None, None)

    async def prove() -> Proof:
        facts = await site.observe()
        wrong = read_back(made, facts, live_only=True)
        if wrong:
            raise NotAsPromised(
                "after the undo, read again:\n  " + "\n  ".join(wrong),
                "Find out who changes it, then undo again",
            )
        return Proof(facts)

    confirmed = await transact(
        made,
        site,
        what=UNDO,
        crossings=[*dict.fromkeys(_ended(made))],
        message=message,
        guard=guard,
        replan=lambda facts: make_undo_plan(spec, facts, what),
        prove=prove,
    )
    return Applied(made, confirmed, None)


def _ended(made: Plan) -> list[str]:
    """The crossings that end with a plan, as they are called among those of all specs."""
    return [one.label for host in made.hosts for one in host.ended]


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction that was ended: confirmed or rolled back, and proved.

    `unwritten` says what could not be written for the next boot, `went_back` which hosts had rolled back
    what the others have confirmed, `unproved` of which crossings no answer came back, and why, `was_begun` whether
    anything was changed at all, `ended_by` the host that ended by itself, and proved itself, what this version cannot
    read.
    """

    transaction: str
    what: str
    is_confirmed: bool
    unwritten: tuple[str, ...] = ()
    went_back: tuple[str, ...] = ()
    was_begun: bool = True
    ended_by: str = ""
    unproved: tuple[str, ...] = ()


async def _end(found: Open, site: Site, command: str) -> Ended:
    """Forward where one host has confirmed it, else back."""
    if found.decision != CONFIRM:
        await ending.roll_back(found, site, _said(command))
        return Ended(found.transaction, found.what, False, was_begun=found.was_begun)
    unwritten, went_back = await ending.confirm(found, site)
    unproved = await _unproved(found, site)
    return Ended(found.transaction, found.what, True, unwritten, went_back, unproved=unproved)


async def _unproved(found: Open, site: Site) -> tuple[str, ...]:
    """The crossings of what was confirmed that are not proved, by what the gateways keep of it now."""
    if found.what == UNDO:
        return ()
    labels = {label for own in found.held.values() for label in own.crossings}
    told = []
    for name, facts in (await site.look(kernels=False)).said.items():
        kept = last_verified(facts) if name in found.held else {}
        for label in sorted(labels & kept.keys()):
            if kept[label]["result"] != Result.REACHABLE:
                told.append(f"{label}: {kept[label].get('why') or kept[label]['result']}")
    return tuple(told)


async def confirm(spec: Spec, transaction: str, *, watch: Watcher = nobody) -> Ended:
    """Say from any machine that a transaction shall hold; HostsDisagree where a guard was faster."""
    async with reach(spec, watch=watch) as site:
        found = await _find(transaction, site)
        if found.decision == journal.ROLLBACK:
            raise CrossnetError(
                f"transaction {transaction} is rolled back already, on {_names(found, journal.ROLLBACK)}\n"
                "  `crossnet recover` puts the other hosts back as well."
            )
        if not found.decision and not found.is_whole:
            raise CrossnetError(
                f"transaction {transaction} does not wait for a confirmation: not all of its changes are made\n"
                f"  `crossnet rollback {transaction}` puts the hosts back."
            )
        if not await ending.decide(found, site):
            await ending.roll_back(found, site, _said("confirm"))
            raise RolledBack(
                f"transaction {transaction} was put back before it was confirmed: by whoever began it, by "
                "`crossnet rollback`, or by the hosts when its time was over\n"
                "Rolled back: every host was read again and is as it was before.\n"
                "  Run it again, and confirm in time; nothing is left to clean up."
            )
        unwritten, went_back = await ending.confirm(found, site)
        unproved = await _unproved(found, site)
    if went_back:
        raise HostsDisagree(
            f"transaction {transaction} is confirmed, but {', '.join(went_back)} went back before that\n"
            "  `crossnet recover` brings the hosts together, from any machine."
        )
    return Ended(transaction, found.what, True, unwritten, unproved=unproved)


async def rollback(spec: Spec, transaction: str, *, watch: Watcher = nobody) -> Ended:
    """Put every host of a transaction back from any machine, and prove it."""
    async with reach(spec, watch=watch) as site:
        found = await _find(transaction, site)
        if found.decision == CONFIRM:
            raise CrossnetError(
                f"transaction {transaction} is confirmed already, on {_names(found, CONFIRM)}\n"
                f"  `crossnet recover` finishes it on the other hosts; {_taken_back(found.what)}."
            )
        await ending.roll_back(found, site, _said("rollback"))
        return Ended(transaction, found.what, False)


def _said(command: str) -> str:
    """Why a transaction was rolled back that somebody else had begun."""
    return f"{journal.who()} said `crossnet {command}`"


def _names(found: Open, decision: str) -> str:
    held = [name for name, one in found.held.items() if one.decision == decision]
    return ", ".join([*held, *(name for name, said in found.ended.items() if said == decision)])


async def _find(transaction: str, site: Site) -> Open:
    found = await ending.find(await site.observe(), site)
    for one in found:
        if one.transaction == transaction:
            return one
    past = [own for one in (await site.ask(read_history)).all().values() for own in one]
    over = [own for own in past if own.transaction == transaction]
    if over:
        ends = ", ".join(f"{own.outcome} on {own.host} at {own.ended}" for own in over)
        holds = any(own.decision == CONFIRM for own in over)
        todo = f"{_taken_back(over[0].what)}; " if holds else ""
        raise CrossnetError(
            f"transaction {transaction} is over: {ends}\n  {todo}`crossnet history` shows all."
        )
    held = ", ".join(one.transaction for one in found)
    raise CrossnetError(
        f"no host of the spec knows a transaction {transaction}\n"
        f"  {f'Under way: {held}.' if held else 'None is under way.'} `crossnet history` shows those that ended; "
        "one that ended before its first change is in no history."
    )


def _taken_back(what: str) -> str:
    """How a transaction is taken back that holds."""
    return f"`crossnet {'apply' if what == UNDO else 'undo'}` takes it back"


async def recover(spec: Spec, *, watch: Watcher = nobody) -> tuple[Ended, ...]:
    """End whatever was left open on the hosts; Locked where whoever began it may still be at work."""
    async with reach(spec, watch=watch) as site:
        facts, others = await _end_unreadable(await site.observe(), site)
        found = await ending.find(facts, site)
        for one in found:
            if one.decision != CONFIRM:
                _abandoned(one.held)
        ended = (*others, *[await _end(one, site, "recover") for one in found])
        try:
            await _sweep(site)
        except CrossnetError as error:
            if not ended:
                raise
            # What was ended is ended; the next transaction clears it away.
            site.watch(Event(Kind.LEFT_OVER, error=str(error)))
    return ended


async def _end_unreadable(facts: dict[str, Facts], site: Site) -> tuple[dict[str, Facts], tuple[Ended, ...]]:
    """The hosts, when what another version left is ended by its own script there; Locked before its time is over."""
    left = {name: found for name, found in _unfinished(facts).items() if found.unreadable}
    if not left:
        return facts, ()
    _abandoned(left)
    for name, found in left.items():
        site.watch(Event(Kind.ENDED_BY_OTHER_SCRIPT, name, transaction=found.transaction))
    await _sweep(site)
    facts = await site.observe()
    for name, found in left.items():
        if journal.unfinished(facts[name]):
            raise RollbackNotProved(
                f"{name}: transaction {found.transaction} is open still, after the script that lies there with it "
                f"was run to end it\n  {found.unreadable}\n  Look at {TRANSACTION} on the host."
            )
    ended = []
    for name, found in left.items():
        past = [one for one in await read_history(site.hosts[name]) if one.transaction == found.transaction]
        confirmed = any(one.decision == CONFIRM for one in past)
        what = past[-1].what if past else "of another version"
        ended.append(Ended(found.transaction, what, confirmed, was_begun=bool(past), ended_by=name))
    return facts, tuple(ended)


async def _sweep(site: Site) -> None:
    """Remove what a controller that died left on hosts before it could begin there."""
    (await site.ask(lambda host: Agent(host, "").sweep())).all()


async def history(spec: Spec, *, watch: Watcher = nobody) -> tuple[Past, ...]:
    """The transactions that ended on the hosts, oldest first; where one cannot be reached, its error."""
    async with reach(spec, watch=watch) as site:
        return in_order((await site.ask(read_history)).all())


def in_order(histories: Mapping[str, tuple[Past, ...]]) -> tuple[Past, ...]:
    """What several hosts remember, oldest first."""
    return tuple(
        sorted(
            (one for own in histories.values() for one in own), key=lambda one: (one.started, one.transaction)
        )
    )


async def status(spec: Spec, *, watch: Watcher = nobody) -> tuple[CrossingStatus, ...]:
    """How each crossing stands; sends nothing and changes nothing.

    A crossing is `unknown` while one of its hosts cannot be reached, or where it cannot be told from one that
    stands on such a host too. HostsFailed, or the error of the only host, where none can.
    """
    async with reach(spec, watch=watch, asking=partial(lookups, spec)) as site:
        found = await site.look()
    if not found.said:
        found.all()
    rest, facts = reached(spec, found.errors), found.said
    known = {one.crossing: one for one in _status(rest, facts, spec)} if rest.crossings else {}
    return tuple(
        known.get(one.name) or unknown_status(spec, one, facts, found.errors) for one in spec.crossings
    )


def _status(rest: Spec, facts: Mapping[str, Facts], whole: Spec) -> tuple[CrossingStatus, ...]:
    try:
        made = make_plan(rest, facts, moves=False)
    except PlanRefused as refused:
        return refused_status(rest, facts, refused)
    return crossing_status(made, facts, [one for one in whole.crossings if one not in rest.crossings])


async def _remember(verified: Mapping[str, bytes], site: Site) -> None:
    for name, data in verified.items():
        await site.hosts[name].write(PurePosixPath(VERIFIED), data, mode=0o600)


def _verified(found: Verification, made: Plan, facts: Mapping[str, Facts]) -> dict[str, bytes]:
    """What each gateway keeps of when its crossings were last verified, for whoever asks for the status."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    by_gateway: dict[str, dict[str, dict[str, str]]] = {}
    for passage in made.passages:
        name, label = passage.crossing.name, passage.crossing.label
        if verdicts := [verdict for verdict in found.verdicts if verdict.crossing == name]:
            worst = max(verdicts, key=lambda one: (one.stopped, _WORSE.index(one.result)))
            entry = {"time": now, "result": str(worst.result), "end": _end_of(worst)}
            if worst.result is not Result.REACHABLE:
                entry["why"] = worst.why
            by_gateway.setdefault(passage.gateway, {})[label] = entry
    return {
        gateway: (json.dumps({**last_verified(facts[gateway]), **entries}) + "\n").encode()
        for gateway, entries in by_gateway.items()
    }


_WORSE = (Result.REACHABLE, Result.UNDETERMINED, Result.UNREACHABLE)


def _end_of(verdict: Verdict) -> str:
    if verdict.stopped:
        return "stopped"
    return "proved" if verdict.result is Result.REACHABLE else "unproved"


def _ends_otherwise(facts: Facts, kept: bytes) -> bool:
    """Whether what a gateway would keep says something else of a crossing than what it keeps."""

    def ends(entries: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str | None, str | None]]:
        return {name: (one.get("result"), one.get("end")) for name, one in entries.items()}

    return ends(last_verified(facts)) != ends(json.loads(kept))


__all__ = [
    "Applied",
    "Ended",
    "Guard",
    "Past",
    "Undo",
    "UndoPlan",
    "apply",
    "carried",
    "confirm",
    "history",
    "load",
    "observe",
    "plan",
    "plan_forget",
    "plan_in_turn",
    "plan_undo",
    "reach",
    "recover",
    "rollback",
    "status",
    "survey",
    "undo",
    "verify",
]
