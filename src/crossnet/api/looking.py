"""What the hosts say, and what a plan would make of it; nothing is changed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from crossnet.design import Impact, lookups
from crossnet.drift import drifted
from crossnet.errors import (
    CloudUnasked,
    CrossnetError,
    HostError,
    HostsFailed,
    LabError,
    PlanRefused,
)
from crossnet.events import Event, Kind, Watcher, nobody, without_a_say
from crossnet.facts import Facts
from crossnet.health import (
    CrossingStatus,
    crossing_status,
    left_standing,
    refused_status,
    unknown_status,
)
from crossnet.joining import (
    Joining,
    is_same_machine,
    joining,
    out_of_reach,
    record_of,
    same_machines,
    with_way,
)
from crossnet.lasting import lasting
from crossnet.opening import told_opening
from crossnet.planning import Plan, make_plan
from crossnet.proof import worked_at
from crossnet.record import Record, at_clouds, read_record
from crossnet.resources.at_cloud import cloud_of
from crossnet.site import Answers, Ways, reach
from crossnet.spec import USUAL_NAME, HostSpec, Spec
from crossnet.suspects import suspects
from crossnet.transaction import journal
from crossnet.transaction.history import Past, read_history
from crossnet.transaction.journal import Journal
from crossnet.transaction.left import Left, left_at_cloud
from crossnet.turns import in_turn
from crossnet.unreached import reached


async def observe(spec: Spec, *, watch: Watcher = nobody, ways: Ways | None = None) -> dict[str, Facts]:
    """What every host of a spec says about itself; read only."""
    async with reach(spec, watch=watch, asking=partial(lookups, spec), ways=ways) as site:
        return await site.observe()


async def survey(
    spec: Spec,
    *,
    every_spec: bool = False,
    forgotten: str = "",
    watch: Watcher = nobody,
    ways: Ways | None = None,
) -> tuple[Spec, dict[str, Facts]]:
    """The same, with the hosts that left the spec and keep something of it; the spec then has them too.

    With `every_spec` also the hosts of all that stands on one of them; never the one that is `forgotten`.
    """
    facts = await _observe_or_forget(spec, watch, ways)
    left_out, first = {forgotten}, list(facts)

    def besides() -> list[Joining]:
        # What stands for all specs on the hosts that were named: not what else stands on those that come with them.
        asked = {name: facts[name] for name in first} if every_spec else facts
        found = joining(spec, asked, every_spec=every_spec)
        return [one for one in found if one.host.name not in left_out]

    while found := besides():
        new = [one.host for one in found]
        names = [host.name for host in new]
        left_out |= set(names)
        if lost := await _unreached(spec, new, watch, ways):
            # The spec has that name for another machine by now, so it is told and no more.
            replaced = {
                host.name
                for host in new
                if forgotten or any(host.name.startswith(f"{own.name} (") for own in spec.hosts)
            }
            for name in replaced & set(lost):
                watch(
                    Event(
                        Kind.LEFT_OVER,
                        name,
                        error=f"cannot be asked what it carries of the spec: {lost[name]}",
                    )
                )
            if gone := [name for name in lost if name not in replaced]:
                silent = [name for name in gone if _is_silent(lost[name])]
                raise CrossnetError(
                    "\n".join(str(lost[name]) for name in gone)
                    + f"\n  By another host's record, something that may end also stands on {', '.join(gone)}."
                    + (f" {_forget(silent)}" if silent else "")
                )
            new = [host for host in new if host.name not in lost]
            names = [host.name for host in new]
        if not new:
            continue
        wider = replace(spec, hosts=(*spec.hosts, *new))
        facts = await observe(wider, watch=watch, ways=ways)
        known = same_machines(facts, names)
        asked = {host.name: host for host in wider.hosts}
        for one in found:
            name = one.host.name
            # What is not ended there yet is told, and refused, when a plan is made.
            if name not in facts or name in known or journal.unfinished(facts[name]):
                continue
            if one.is_confirmed(facts[name], asked) or await _is_known_there(one, facts, watch, ways):
                continue
            known |= {name}
            words = (
                "is left alone: another host's record says that something of the spec stands there, and "
                f"{one.why_not(facts[name])}. If it should go, put the host into the spec of that crossing, and undo "
                "it with --host"
            )
            watch(Event(Kind.LEFT_OVER, name, error=words))
        facts = {name: one for name, one in facts.items() if name not in known}
        spec = replace(wider, hosts=tuple(host for host in wider.hosts if host.name not in known))
    for name, why in out_of_reach(spec, facts).items():
        watch(Event(Kind.LEFT_OVER, name, error=why))
    return spec, facts


async def _observe_or_forget(spec: Spec, watch: Watcher, ways: Ways | None) -> dict[str, Facts]:
    """What every host says about itself; the error names `forget` where one is missed that others know as theirs."""
    async with reach(spec, watch=watch, asking=partial(lookups, spec), ways=ways) as site:
        found = await site.look()
    known = {
        host.name
        for facts in found.said.values()
        for standing in record_of(facts).crossings
        for host in standing.hosts
        if standing.spec == spec.name and host in spec.hosts
    }
    silent = {name for name, error in found.errors.items() if _is_silent(error)}
    if missed := sorted(known & silent):
        told = HostsFailed(list(found.errors.values()))
        raise CrossnetError(f"{told}\n  {_forget(missed)}")
    return found.all()


def _is_silent(error: CrossnetError) -> bool:
    """Whether nothing was heard of a host: one that answers, whatever it says, is there to be mended."""
    return isinstance(error, LabError) or (isinstance(error, HostError) and error.is_silent)


def _forget(hosts: Sequence[str]) -> str:
    """What there is to do about hosts that are gone for good."""
    commands = ", ".join(f"`crossnet forget {shlex.quote(name)}`" for name in hosts)
    return f"If {' or '.join(hosts)} will never come back: {commands}."


async def _is_known_there(
    joined: Joining, facts: Mapping[str, Facts], watch: Watcher, ways: Ways | None
) -> bool:
    """Whether what its own record names is the same machine as who named it, by whatever words each is reached."""
    named: dict[HostSpec, set[str]] = {}
    for name, host in joined.partners(facts[joined.host.name]):
        named.setdefault(replace(host, name=with_way(host)), set()).add(name)
    if not named:
        return False
    hosts = tuple(named)
    spec = Spec(file="", source="", name=USUAL_NAME, hosts=hosts, crossings=(), is_whole=False)
    async with reach(spec, watch=watch, ways=ways) as site:
        said = (await site.look(kernels=False)).said
    return any(
        is_same_machine(facts[name], said[host.name])
        for host, names in named.items()
        for name in names
        if host.name in said and name in facts
    )


async def _unreached(
    spec: Spec, hosts: Sequence[HostSpec], watch: Watcher, ways: Ways | None
) -> Mapping[str, CrossnetError]:
    """Which of the hosts do not answer, and why."""
    async with reach(replace(spec, hosts=tuple(hosts), crossings=()), watch=watch, ways=ways) as site:
        return (await site.look(kernels=False)).errors


async def carried(hosts: Sequence[HostSpec], *, watch: Watcher = nobody) -> Answers[Record]:
    """What hosts say that they carry, from themselves alone; why those do not that were not reached."""
    spec = Spec(file="", source="", name=USUAL_NAME, hosts=tuple(hosts), crossings=(), is_whole=False)
    async with reach(spec, watch=watch) as site:
        found = await site.look(kernels=False)
    said, errors = dict[str, Record](), dict(found.errors)
    for name, facts in found.said.items():
        if under_way := journal.unfinished(facts):
            since = (
                f"transaction {under_way.transaction} is not ended there: what it changes is not told here"
            )
            watch(Event(Kind.LEFT_OVER, name, error=since))
        try:
            said[name] = read_record(facts)
        except PlanRefused as refused:
            errors[name] = refused
    return Answers(said, errors)


def plan(spec: Spec, facts: Mapping[str, Facts]) -> Plan:
    """What would change on which host, and what that opens; PlanRefused says why there is no plan.

    Locked when a transaction is under way or was not finished: its traces are no state to plan from.
    """
    refuse_open(facts)
    return told_opening(passing(_with_suspects(make_plan(spec, facts), facts)), facts)


def _with_suspects(made: Plan, facts: Mapping[str, Facts]) -> Plan:
    """The plan with what others did on the hosts that may be why it has to bring something back."""
    impacts = []
    for one in (each for each in made.hosts if each.changes):
        own = [path for path in made.paths if path.crossing.touches(one.host)]
        well = [worked_at(facts[path.gateway], path.crossing.label) for path in own]
        found = drifted(facts[one.host], one.before)
        impacts += [
            Impact("taken-away", one.host, words)
            for words in suspects(facts[one.host], one.before, found, well)
        ]
    return replace(made, impacts=(*made.impacts, *impacts)) if impacts else made


async def plan_in_turn(spec: Spec, *, watch: Watcher = nobody, ways: Ways | None = None) -> Plan:
    """The plan of a spec that shall be applied: while somebody else is at work on its hosts, when they are done."""

    async def attempt() -> Plan:
        return plan(*await survey(spec, watch=watch, ways=ways))

    return await in_turn(attempt, without_a_say(watch))


def passing(made: Plan) -> Plan:
    """The plan; PlanRefused where nothing of a crossing would pass when it is applied."""
    if made.stopped and made.touched:
        raise PlanRefused(made.stopped)
    return made


def refuse_open(facts: Mapping[str, Facts]) -> None:
    """Locked where a transaction is open."""
    for name, found in unfinished(facts).items():
        if not found.is_void:
            raise journal.locked(name, found)
    for name, left in left_at_clouds(facts).items():
        raise CrossnetError(f"{name}: {left}\n  `crossnet recover` ends them, from any machine.")


def left_at_clouds(facts: Mapping[str, Facts]) -> dict[str, Left]:
    """What hosts that hold no transaction any more have left at a cloud."""
    ended = [name for name, one in facts.items() if not journal.unfinished(one)]
    return {name: left for name in ended if (left := left_at_cloud(facts[name])) is not None}


def unfinished(facts: Mapping[str, Facts]) -> dict[str, Journal]:
    return {name: found for name in facts if (found := journal.unfinished(facts[name], facts))}


def refuse_running(left: Mapping[str, Journal], *, decided: bool = False) -> None:
    """Locked where somebody may still be at work; also on what is `decided`, and has only to be cleared away."""
    for name, found in left.items():
        if found.may_end_soon if decided else not found.is_abandoned:
            raise journal.locked(name, found)


async def history(spec: Spec, *, watch: Watcher = nobody) -> tuple[Past, ...]:
    """The transactions that ended on the hosts, oldest first; where one cannot be reached, its error."""
    async with reach(spec, watch=watch) as site:
        return in_order((await site.ask(partial(read_history, legible=True))).all())


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
    return status_of(spec, found.said, found.errors)


def status_of(
    spec: Spec, facts: Mapping[str, Facts], errors: Mapping[str, CrossnetError] = MappingProxyType({})
) -> tuple[CrossingStatus, ...]:
    """The same from what the hosts said, and why some did not; last what is applied and left the spec."""
    silent = dict(_unanswered(spec, facts))
    errors = {
        **errors,
        **{name: why for name, why in silent.items() if _is_in_cloud(spec, name, facts[name])},
    }
    rest = reached(spec, errors)
    known = {one.crossing: one for one in _status(rest, facts, spec)} if rest.crossings else {}
    own = (
        replace(
            known.get(one.name) or unknown_status(spec, one, facts, errors),
            lasting=tuple(
                each
                for host, said in facts.items()
                if one.touches(host)
                for each in lasting(
                    said, record_of(said).on_the_host if host in silent else record_of(said), one.label
                )
            ),
        )
        for one in spec.crossings
    )
    return (*own, *left_standing(spec, facts))


def _unanswered(spec: Spec, facts: Mapping[str, Facts]) -> Iterator[tuple[str, CrossnetError]]:
    """The hosts for which a cloud holds something, or is to, and that has not answered: why."""
    for name, one in facts.items():
        asked = [each.cloud for each in spec.crossings if each.via == name and each.changes_cloud]
        try:
            for cloud in dict.fromkeys((*asked, *at_clouds(one))):
                cloud_of(one, cloud)
        except CloudUnasked as error:
            yield name, error


def _is_in_cloud(spec: Spec, host: str, facts: Facts) -> bool:
    """Whether a host has anything to do with a cloud for a spec, and not only for others."""
    standing = [one for one in record_of(facts).crossings if one.spec in ("", spec.name)]
    return any(each.via == host and each.changes_cloud for each in spec.crossings) or any(
        path.crossing.changes_cloud for one in standing for path in one.carried
    )


def _status(rest: Spec, facts: Mapping[str, Facts], whole: Spec) -> tuple[CrossingStatus, ...]:
    try:
        made = make_plan(rest, facts, moves=False)
    except PlanRefused as refused:
        return refused_status(rest, facts, refused)
    return crossing_status(made, facts, [one for one in whole.crossings if one not in rest.crossings])
