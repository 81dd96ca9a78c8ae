"""The page that is the product: lock, compare, change, prove, confirm, persist, unlock."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from crossnet.errors import CrossnetError, RollbackNotProved, RolledBack, StalePlan
from crossnet.events import Event, Watcher
from crossnet.facts import Facts
from crossnet.planning import Plan
from crossnet.record import APPLIED, VERIFIED
from crossnet.resources import Change
from crossnet.transaction import journal
from crossnet.transaction.rollback import Located, differences, roll_back
from crossnet.transaction.step import perform
from crossnet.transport import Host

Observe = Callable[[], Awaitable[Mapping[str, Facts]]]
Replan = Callable[[Mapping[str, Facts]], Plan]
Prove = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A transaction that holds; `unwritten` says what could not be written for the next boot."""

    transaction: str
    plan: Plan
    unwritten: tuple[str, ...] = ()


async def apply(
    plan: Plan,
    hosts: Mapping[str, Host],
    *,
    observe: Observe,
    replan: Replan,
    prove: Prove,
    watch: Watcher,
) -> Confirmed:
    """Bring the hosts to the plan; raises RolledBack or RollbackNotProved when that does not hold.

    `prove` is asked after the live changes and raises when they do not do what was promised.
    """
    transaction = secrets.token_hex(4)
    await lock(transaction, plan, hosts, watch)
    begun: list[Located] = []
    try:
        await compare(plan, observe, replan)
        await change(plan.live(), hosts, begun, watch)
        await prove()
        await confirm(plan, hosts)
    except BaseException as cause:
        # Ctrl-C too: nobody may be left with half a change.
        raise await give_up(cause, begun, plan, hosts, observe, watch) from cause
    unwritten = await persist(plan, hosts, watch)
    await unlock(plan.touched, hosts)
    return Confirmed(transaction, plan, unwritten)


async def lock(transaction: str, plan: Plan, hosts: Mapping[str, Host], watch: Watcher) -> None:
    """Write the journal on every host, which keeps others out; on all of them or on none."""
    held: list[str] = []
    try:
        for name in plan.touched:
            watch(Event("writes its journal", name))
            changes = [change for host, change in (*plan.live(), *plan.persistent()) if host == name]
            await journal.begin(hosts[name], journal.new(transaction, changes))
            held.append(name)
    except BaseException:
        await unlock(held, hosts)
        raise


async def compare(plan: Plan, observe: Observe, replan: Replan) -> None:
    """Inside the lock the hosts must still be what the plan was made from."""
    now = replan(await observe())
    if now.changes != plan.changes:
        raise StalePlan(
            "Saved plan is stale: the hosts changed since it was made\n  Nothing was changed. Make a new plan."
        )


async def change(
    changes: Sequence[Located], hosts: Mapping[str, Host], begun: list[Located], watch: Watcher
) -> None:
    """Make the changes in order; each is durable in its host's journal before it begins."""
    counts: dict[str, int] = {}
    for name, one in changes:
        watch(Event(f"{one.action}s {one.resource.kind} {one.description}", name))
        counts[name] = counts.get(name, 0) + 1
        await journal.advance(hosts[name], counts[name])
        begun.append((name, one))
        await _make(one, hosts[name])


async def _make(one: Change, host: Host) -> None:
    for step in one.steps:
        await perform(host, step)


async def confirm(plan: Plan, hosts: Mapping[str, Host]) -> None:
    """From here on it holds: each host's record tells what crossnet owns there, and undo starts from it."""
    for host in plan.hosts:
        if not host.changes_record:
            continue
        if host.after.owned:
            await hosts[host.host].write(PurePosixPath(APPLIED), host.after.to_json(), mode=0o600)
        else:
            await hosts[host.host].write(PurePosixPath(VERIFIED), None)
            await hosts[host.host].write(PurePosixPath(APPLIED), None)


async def persist(plan: Plan, hosts: Mapping[str, Host], watch: Watcher) -> tuple[str, ...]:
    """Write what the next boot needs; an error here takes nothing back, it is told."""
    errors = []
    for name, one in plan.persistent():
        watch(Event(f"{one.action}s {one.resource.kind} {one.description}", name))
        try:
            await _make(one, hosts[name])
        except CrossnetError as error:
            errors.append(str(error))
    return tuple(errors)


async def unlock(names: Sequence[str], hosts: Mapping[str, Host]) -> None:
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(journal.clear(hosts[name]))


async def give_up(
    cause: BaseException,
    begun: Sequence[Located],
    plan: Plan,
    hosts: Mapping[str, Host],
    observe: Observe,
    watch: Watcher,
) -> BaseException:
    """Put everything back, read it again, and say truly how it ended."""
    if not begun:
        await unlock(plan.touched, hosts)
        return cause
    reason = "interrupted" if isinstance(cause, asyncio.CancelledError | KeyboardInterrupt) else str(cause)
    errors = await roll_back(begun, hosts, watch)
    try:
        left = differences(begun, await observe())
    except CrossnetError as error:
        left = [f"the hosts could not be read again: {error}"]
    if left:
        details = "\n  ".join([*left, *errors])
        return RollbackNotProved(
            f"{reason}\nRollback not proved. Look at:\n  {details}\n"
            "  The journal stays on the host; `crossnet undo` tries again."
        )
    await _restore_records(plan, hosts)
    await unlock(plan.touched, hosts)
    return RolledBack(f"{reason}\nRolled back: every host was read again and is as it was before.")


async def _restore_records(plan: Plan, hosts: Mapping[str, Host]) -> None:
    """A confirmation that failed half-way may have written records of what is no more."""
    for host in plan.hosts:
        if host.changes_record:
            data = host.before.to_json() if host.before.owned else None
            await hosts[host.host].write(PurePosixPath(APPLIED), data, mode=0o600)


__all__ = ["Confirmed", "apply"]
