"""The page that is the product: lock, compare, change, prove, confirm, persist, unlock."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from crossnet.errors import CrossnetError, RollbackNotProved, RolledBack, StalePlan
from crossnet.events import Event, Watcher
from crossnet.facts import Facts
from crossnet.planning import HostPlan, Plan
from crossnet.record import Record, write_record
from crossnet.resources import Change
from crossnet.transaction import journal
from crossnet.transaction.rollback import Located, differences, roll_back
from crossnet.transaction.step import perform
from crossnet.transport import Host

Observe = Callable[[], Awaitable[Mapping[str, Facts]]]
Replan = Callable[[Mapping[str, Facts]], Plan]
Prove = Callable[[], Awaitable[None]]

T = TypeVar("T")


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
        await uninterrupted(confirm(plan, hosts))
    except BaseException as cause:
        # Ctrl-C too: nobody may be left with half a change.
        raise await uninterrupted(give_up(cause, begun, plan, hosts, observe, watch)) from cause
    unwritten = await uninterrupted(settle(plan, hosts, watch))
    return Confirmed(transaction, plan, unwritten)


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which goes on to its end whoever wants to stop."""
    task = asyncio.ensure_future(work)
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise


async def lock(transaction: str, plan: Plan, hosts: Mapping[str, Host], watch: Watcher) -> None:
    """Write the journal on every host, which keeps others out; on all of them or on none."""
    held: list[str] = []
    try:
        for host in (host for host in plan.hosts if host.host in plan.touched):
            watch(Event("writes its journal", host.host))
            live = [change for name, change in plan.live() if name == host.host]
            persistent = [change for name, change in plan.persistent() if name == host.host]
            await journal.begin(hosts[host.host], journal.new(transaction, live, persistent, host.after))
            held.append(host.host)
    except BaseException:
        await uninterrupted(unlock(held, hosts))
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
    """From here on it holds: whoever finds a journal that says so goes forward, not back."""
    for name in plan.touched:
        await journal.confirm(hosts[name])


async def settle(plan: Plan, hosts: Mapping[str, Host], watch: Watcher) -> tuple[str, ...]:
    """Write what the next boot needs and what crossnet owns now; an error takes nothing back, it is told."""
    errors: list[str] = []
    for host in plan.hosts:
        if host.host not in plan.touched:
            continue
        own = [one for name, one in plan.persistent() if name == host.host]
        failed = await persist(own, hosts[host.host], errors, watch)
        try:
            await record(host, failed, hosts[host.host])
            await journal.clear(hosts[host.host])
        except CrossnetError as error:
            errors.append(str(error))
    return tuple(errors)


async def persist(changes: Sequence[Change], host: Host, errors: list[str], watch: Watcher) -> list[Change]:
    """Write the files for the next boot; the changes that failed."""
    failed = []
    for one in changes:
        watch(Event(f"{one.action}s {one.resource.kind} {one.description}", host.name))
        try:
            await _make(one, host)
        except CrossnetError as error:
            errors.append(str(error))
            failed.append(one)
    return failed


async def record(host: HostPlan, failed: Sequence[Change], place: Host) -> None:
    """Each host's record tells what crossnet owns there, what could not be removed included."""
    still = [owned for one in failed if one.want is None and (owned := host.before.find(one.resource))]
    kept = Record(host.after.crossings, (*host.after.owned, *still))
    if not kept.same_as(host.before):
        await write_record(place, kept.to_json() if kept.owned else None)


async def unlock(names: Sequence[str], hosts: Mapping[str, Host]) -> None:
    for name in names:
        await journal.clear(hosts[name])


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
    if not left:
        try:
            await unlock(plan.touched, hosts)
            return RolledBack(f"{reason}\nRolled back: every host was read again and is as it was before.")
        except CrossnetError as error:
            left = [f"a journal could not be removed: {error}"]
    details = "\n  ".join([*left, *errors])
    return RollbackNotProved(
        f"{reason}\nRollback not proved. Look at:\n  {details}\n"
        "  The journal stays on the host; `crossnet undo` tries again."
    )


__all__ = ["Confirmed", "apply"]
