"""End a transaction that somebody else began, or that was left open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from crossnet.api.looking import refuse_running, unfinished
from crossnet.errors import (
    CrossnetError,
    HostsDisagree,
    RollbackNotProved,
    RolledBack,
)
from crossnet.events import Event, Kind, Watcher, nobody
from crossnet.facts import Facts
from crossnet.planning import Undo, takes_back
from crossnet.proof import last_verified
from crossnet.record import CLOUD, TRANSACTION
from crossnet.site import Site, Ways, reach
from crossnet.spec import Spec
from crossnet.standing import who
from crossnet.transaction import ending, journal
from crossnet.transaction.agent import Agent
from crossnet.transaction.ending import Open
from crossnet.transaction.history import read_history
from crossnet.transaction.journal import CONFIRM
from crossnet.transaction.left import left_at_cloud
from crossnet.transaction.participant import Participant
from crossnet.transaction.participants import participant
from crossnet.transaction.uninterrupted import uninterrupted
from crossnet.verdict import Result


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction that was ended: confirmed or rolled back, and proved.

    `unwritten` says what could not be written for the next boot, `went_back` which hosts had rolled back
    what the others have confirmed, `unproved` of which crossings no answer came back, and why, `was_begun` whether
    anything was changed at all, `ended_by` the host that ended by itself, and proved itself, what this version cannot
    read. `crossings` are the labels of those that it was about, as far as its hosts tell.
    """

    transaction: str
    what: str
    is_confirmed: bool
    unwritten: tuple[str, ...] = ()
    went_back: tuple[str, ...] = ()
    was_begun: bool = True
    ended_by: str = ""
    unproved: tuple[str, ...] = ()
    crossings: frozenset[str] = frozenset()

    def still_to_undo(self) -> Undo | None:
        """What the hosts that went back are still to take back; None where a new plan of the spec brings them along.

        CrossnetError where no host tells which part it was.
        """
        if not self.went_back or not takes_back(self.what):
            return None
        if not self.crossings:
            raise CrossnetError(
                f"{', '.join(self.went_back)} went back before the others took back a part of what stands there\n"
                f"  Run the same {self.what.partition(' ')[0]} again: which part it was is recorded nowhere."
            )
        # On the hosts that hold it, and no more.
        return Undo(all=True, among=self.crossings)


async def end(found: Open, site: Site, command: str) -> Ended:
    """Forward where one host has confirmed it, else back."""
    if found.decision != CONFIRM:
        await ending.roll_back(found, site, _said(command))
        return Ended(found.transaction, found.what, False, was_begun=found.was_begun)
    unwritten, went_back = await ending.confirm(found, site)
    unproved = await _unproved(found, site)
    return Ended(
        found.transaction,
        found.what,
        True,
        unwritten,
        went_back,
        unproved=unproved,
        crossings=found.crossings,
    )


async def _unproved(found: Open, site: Site) -> tuple[str, ...]:
    """The crossings of what was confirmed that are not proved, by what the gateways keep of it now."""
    if takes_back(found.what):
        return ()
    told = []
    for name, facts in (await site.look(kernels=False)).said.items():
        kept = last_verified(facts) if name in found.held else {}
        for label in sorted(found.crossings & kept.keys()):
            if kept[label]["result"] != Result.REACHABLE:
                told.append(f"{label}: {kept[label].get('why') or kept[label]['result']}")
    return tuple(told)


@asynccontextmanager
async def _reach_all(spec: Spec, watch: Watcher) -> AsyncIterator[tuple[Site, Spec, dict[str, Facts]]]:
    """The hosts of a spec, and those that transactions which these hold are on as well: such as left the spec."""
    async with AsyncExitStack() as stack:
        ways = Ways()
        stack.push_async_callback(ways.close)
        while True:
            site = await stack.enter_async_context(reach(spec, watch=watch, ways=ways))
            facts = await site.observe()
            named = {host.name for host in spec.hosts}
            held = unfinished(facts).values()
            further = {one.name: one for found in held for one in found.further(named)}
            if not further:
                yield site, spec, facts
                return
            spec = replace(spec, hosts=(*spec.hosts, *further.values()))


async def confirm(spec: Spec, transaction: str, *, watch: Watcher = nobody) -> Ended:
    """Say from any machine that a transaction shall hold; HostsDisagree where a guard was faster."""
    async with _reach_all(spec, watch) as (site, spec, facts):
        found = await _find(transaction, site, spec, facts)
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
                "`crossnet rollback`, or by the hosts when its time ran out\n"
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
    async with _reach_all(spec, watch) as (site, spec, facts):
        found = await _find(transaction, site, spec, facts)
        if found.decision == CONFIRM:
            raise CrossnetError(
                f"transaction {transaction} is confirmed already, on {_names(found, CONFIRM)}\n"
                f"  `crossnet recover` finishes it on the other hosts; {_taken_back(found.what)}."
            )
        await ending.roll_back(found, site, _said("rollback"))
        return Ended(transaction, found.what, False)


def _said(command: str) -> str:
    """Why a transaction was rolled back that somebody else had begun."""
    return f"{who()} said `crossnet {command}`"


def _names(found: Open, decision: str) -> str:
    held = [name for name, one in found.held.items() if one.decision == decision]
    return ", ".join([*held, *(name for name, said in found.ended.items() if said == decision)])


async def _find(transaction: str, site: Site, spec: Spec, facts: Mapping[str, Facts]) -> Open:
    found = await ending.find(facts, site, spec)
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
    return f"`crossnet {'apply' if takes_back(what) else 'undo'}` takes it back"


async def recover(spec: Spec, *, watch: Watcher = nobody) -> tuple[Ended, ...]:
    """End whatever was left open on the hosts; Locked where whoever began it may still be at work."""
    async with _reach_all(spec, watch) as (site, spec, facts):
        facts, others = await end_unreadable(facts, site)
        found = await ending.find(facts, site, spec)
        for one in found:
            if one.decision != CONFIRM:
                refuse_running(one.held)
        ended = (*others, *[await end(one, site, "recover") for one in found])
        told = {one.transaction for one in ended}
        try:
            at_clouds = await end_at_clouds((await site.look(kernels=False)).said, site, spec)
        except RollbackNotProved as error:
            raise RollbackNotProved("\n".join([*map(_ended, ended), str(error)])) from error
        ended += tuple(one for one in at_clouds if one.transaction not in told)
        try:
            await sweep(site)
        except CrossnetError as error:
            if not ended:
                raise
            # What was ended is ended; the next transaction clears it away.
            site.watch(Event(Kind.LEFT_OVER, error=str(error)))
    return ended


def _ended(one: Ended) -> str:
    back = f"; gone back before that: {', '.join(one.went_back)}" if one.went_back else ""
    return (
        f"Transaction {one.transaction} is ended: {'confirmed' if one.is_confirmed else 'rolled back'}{back}."
    )


async def end_unreadable(facts: dict[str, Facts], site: Site) -> tuple[dict[str, Facts], tuple[Ended, ...]]:
    """The hosts, when what another version left is ended by its own script there; Locked before its time is over."""
    left = {name: found for name, found in unfinished(facts).items() if found.unreadable}
    if not left:
        return facts, ()
    refuse_running(left)
    for name, found in left.items():
        site.watch(Event(Kind.ENDED_BY_OTHER_SCRIPT, name, transaction=found.transaction))
    await sweep(site)
    facts = await site.observe()
    for name, found in left.items():
        if journal.unfinished(facts[name]):
            raise RollbackNotProved(
                f"{name}: transaction {found.transaction} is still open after its own script there was run to end "
                f"it\n  {found.unreadable}\n  Look at {TRANSACTION} on the host."
            )
    ended = []
    for name, found in left.items():
        past = [one for one in await read_history(site.hosts[name]) if one.transaction == found.transaction]
        confirmed = any(one.decision == CONFIRM for one in past)
        what = past[-1].what if past else "of another version"
        ended.append(Ended(found.transaction, what, confirmed, was_begun=bool(past), ended_by=name))
    return facts, tuple(ended)


async def end_at_clouds(facts: Mapping[str, Facts], site: Site, spec: Spec) -> tuple[Ended, ...]:
    """What hosts that put themselves back have left at clouds is ended too, by what was decided of it.

    RollbackNotProved where one cannot be; the others are, all the same.
    """
    if not any(CLOUD in one.files for one in facts.values()):
        return ()
    past = [one for own in (await site.ask(read_history)).all().values() for one in own]
    ended: list[Ended] = []
    failed: list[str] = []
    for name in [each for each, said in facts.items() if not journal.unfinished(said)]:
        try:
            left = left_at_cloud(facts[name])
            if left is None:
                continue
            own = [one for one in past if one.transaction == left.transaction]
            confirmed = any(one.decision == CONFIRM for one in own)
            one = participant(left.kind, left.participant, left.transaction, site.hosts[name])
            one = one.found_with(spec, facts)
            if confirmed:
                await _forget_at_cloud(one, site)
            else:
                failed += await uninterrupted(one.roll_back())
        except CrossnetError as error:
            failed.append(str(error))
            continue
        what = own[-1].what if own else f"what it changed at {left.participant}"
        ended.append(Ended(left.transaction, what, confirmed))
    if failed:
        raise RollbackNotProved("Rollback not proved. Look at:\n  " + "\n  ".join(failed))
    return tuple(ended)


async def _forget_at_cloud(one: Participant, site: Site) -> None:
    """It holds, whether its journal goes or not; what cannot be cleared away is told."""
    try:
        for line in await uninterrupted(one.finish()):
            site.watch(Event(Kind.LEFT_OVER, error=line))
    except CrossnetError as error:
        site.watch(Event(Kind.LEFT_OVER, error=str(error)))


async def sweep(site: Site) -> None:
    """Remove what a controller that died left on hosts before it could begin there."""
    (await site.ask(lambda host: Agent(host, "").sweep())).all()
