"""The page that is the product: stage, compare, arm, change, check, prove, decide, confirm, finish."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from crossnet.errors import CrossnetError, HostsDisagree, RollbackNotProved, RolledBack, StalePlan, indented
from crossnet.facts import Facts
from crossnet.moved import moved
from crossnet.planning import HostPlan, Plan
from crossnet.site import Site
from crossnet.transaction import journal
from crossnet.transaction.foreign import changed_meanwhile
from crossnet.transaction.group import Group, NobodyConfirmed
from crossnet.transaction.guard import Guard
from crossnet.transaction.participant import Gone
from crossnet.transaction.rollback import differences
from crossnet.transaction.uninterrupted import FAILURES, in_short, reason, uninterrupted
from crossnet.verdict import Diagnosis

FIREWALL_LOADS = 5  # seconds for a firewall to load its rules, and crossnet's after them
IN_TIME = "nobody confirmed it in time"  # as host.sh has it

Replan = Callable[[Mapping[str, Facts]], Plan]


@dataclass(frozen=True, slots=True)
class Proof:
    """The hosts as they are after the live changes, and what each of them keeps of how that was proved."""

    facts: Mapping[str, Facts]
    kept: Mapping[str, bytes] = field(default_factory=dict)


class NotAsPromised(CrossnetError):
    """After the change a host differs from the plan, or a probe that the spec names does not pass.

    `todo` is what to do once everything is put back, `diagnosis` where a flow stopped while the change stood.
    """

    def __init__(self, message: str, todo: str, diagnosis: Diagnosis | None = None) -> None:
        super().__init__(message)
        self.todo, self.diagnosis = todo, diagnosis


Prove = Callable[[], Awaitable[Proof]]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A transaction that holds.

    `unwritten` says what could not be written for the next boot, `meanwhile` what somebody else changed while
    it ran.
    """

    transaction: str
    plan: Plan
    unwritten: tuple[str, ...] = ()
    meanwhile: tuple[str, ...] = ()


async def apply(
    plan: Plan,
    site: Site,
    *,
    what: str,
    crossings: Sequence[str],
    message: str,
    guard: Guard,
    replan: Replan,
    prove: Prove,
) -> Confirmed:
    """Bring the hosts to the plan; raises RolledBack or RollbackNotProved when that does not hold.

    `what`, `crossings` and `message` are what journals and histories say of it. `prove` is asked after the live
    changes, over new connections; it raises NotAsPromised when they do not do what was promised.
    """
    transaction = secrets.token_hex(4)
    written = journal.new(
        transaction, what, plan.touched, message=message, crossings=crossings, hosts=plan.spec.hosts
    )
    group = Group(transaction, plan, site, guard)
    try:
        if await group.stage(written):
            await site.reconnect()  # the fire drill: whether the timers go off without this connection
        before = await compare(plan, site, replan)
        await group.arm()
        await group.change()
        await site.reconnect()
        await group.check()
        proof = await prove()
        meanwhile = changed_meanwhile(plan, before, proof.facts)
        await group.wait_for_person(proof.kept)
        await uninterrupted(group.decide())
    except BaseException as cause:
        # Ctrl-C too: nobody may be left with half a change.
        raise await uninterrupted(give_up(cause, group, plan, site)) from cause
    behind = await uninterrupted(group.confirm())
    unwritten = await uninterrupted(group.finish(proof.kept))
    if behind:
        raise HostsDisagree(
            "Confirmed, but not on every host:\n  "
            + "\n  ".join([*behind, *map(indented, unwritten)])
            + _RECOVER
        )
    return Confirmed(transaction, plan, unwritten, meanwhile)


async def compare(plan: Plan, site: Site, replan: Replan) -> Mapping[str, Facts]:
    """The hosts, now that they are taken: they must still be what the plan was made from."""
    facts = await site.observe()
    now = replan(facts)
    if now.steps != plan.steps or not all(map(_knows_the_same, now.hosts, plan.hosts)):
        raise StalePlan(
            "The plan is stale, because the hosts have changed since it was made", moved(plan, now)
        )
    return facts


def _knows_the_same(now: HostPlan, then: HostPlan) -> bool:
    """Whether the host's record is what the plan was made from: it is written whole."""
    return now.host == then.host and now.before.same_as(then.before)


async def give_up(cause: BaseException, group: Group, plan: Plan, site: Site) -> BaseException:
    """Put everything back, read it again, and say truly how it ended."""
    if group.is_changing:
        with suppress(*FAILURES):
            await site.reconnect()  # the one that stands may be cut in one direction only
    left = await group.roll_back(in_short(cause))
    told = await _told(cause, group)
    if group.is_confirmed_somewhere:
        return HostsDisagree(f"{told}\nThe hosts disagree:\n  " + "\n  ".join(left) + _RECOVER)
    if not group.is_changing:
        return cause
    try:
        left += await _differing(cause, plan, site)
    except FAILURES as error:
        left.append(f"the hosts could not be read again: {reason(error)}")
    if not left:
        # Other failures say themselves what to do, and nobody has to after Ctrl-C.
        todo = f"\n  {cause.todo}; nothing is left to clean up." if isinstance(cause, NotAsPromised) else ""
        return RolledBack(f"{told}\nRolled back: every host was read again and is as it was before.{todo}")
    return RollbackNotProved(f"{told}\nRollback not proved. Look at:\n  " + "\n  ".join(left) + _RECOVER)


async def _told(cause: BaseException, group: Group) -> str:
    """Why it does not hold, with what only a host knows that put itself back."""
    said = reason(cause)
    if not isinstance(cause, Gone | NobodyConfirmed):
        return said
    with suppress(*FAILURES):
        return "\n".join([said, *(why for why in await group.reasons() if not why.endswith(IN_TIME))])
    return said


async def _differing(cause: BaseException, plan: Plan, site: Site) -> list[str]:
    """What is not as it was before; a gateway is closed for a moment where a firewall is restarted just now."""
    for _ in range(FIREWALL_LOADS if isinstance(cause, Gone | NobodyConfirmed) else 0):
        if not differences(plan.live(), await site.observe(kernels=False)):
            return []
        await asyncio.sleep(1)
    return list(differences(plan.live(), await site.observe(kernels=False)))


_RECOVER = "\n  `crossnet recover` ends it, from any machine."


__all__ = ["Confirmed", "NotAsPromised", "Proof", "apply"]
