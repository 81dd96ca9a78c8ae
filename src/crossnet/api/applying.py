"""Bring the hosts to a plan, verified before it is confirmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from crossnet.api.looking import passing, refuse_open
from crossnet.api.verifying import remember
from crossnet.design import lookups
from crossnet.diagnosis.verifying import verify as check
from crossnet.errors import CrossnetError, StalePlan, indented
from crossnet.events import Watcher, nobody
from crossnet.facts import Facts
from crossnet.moved import moved
from crossnet.opening import told_opening
from crossnet.planning import Plan, make_plan
from crossnet.site import Site, Ways, reach
from crossnet.transaction import journal
from crossnet.transaction.apply import Confirmed, NotAsPromised, Proof
from crossnet.transaction.apply import apply as transact
from crossnet.transaction.guard import Guard
from crossnet.transaction.uninterrupted import told, uninterrupted
from crossnet.turns import in_turn, says_the_same
from crossnet.verdict import Diagnosis, Verification
from crossnet.verified import ends_otherwise, verified

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
    def unproved(self) -> tuple[Diagnosis, ...]:
        """The flows of which no answer came back through the crossing."""
        return self.verification.unproved if self.verification else ()

    @property
    def meanwhile(self) -> tuple[str, ...]:
        """What somebody else changed on the hosts while it ran; it was left alone."""
        return self.confirmed.meanwhile if self.confirmed else ()


async def apply(
    made: Plan,
    *,
    guard: Guard = DEFAULT_GUARD,
    message: str = "",
    watch: Watcher = nobody,
    ways: Ways | None = None,
) -> Applied:
    """Bring the hosts to a plan: all or nothing, verified before it is confirmed.

    Each host puts itself back when `guard` is over and nobody has confirmed. Raises RolledBack (proved) or
    RollbackNotProved when it does not hold, HostsDisagree when only some hosts hold it, StalePlan when the
    hosts moved since the plan was made, Locked when another transaction is under way. `message` is one line that the
    hosts keep of why it was done; ValueError where it is none.

    Where there is nothing to change the hosts are read back all the same, and the probes sent.
    """
    journal.checked(message)
    asking = partial(lookups, made.spec)
    async with reach(made.spec, watch=watch, asking=asking, asked=made.asked, ways=ways) as site:
        plan = made

        async def attempt() -> Applied:
            nonlocal plan
            for _ in range(MOST_PLANS):
                try:
                    return await (_apply(plan, site, guard, message) if plan.touched else _prove(plan, site))
                except StalePlan:
                    facts = await site.observe()
                    refuse_open(facts)
                    again = passing(make_plan(made.spec, facts))
                    if again.steps == plan.steps or not says_the_same(made, again):
                        raise
                    plan = told_opening(again, facts)
            return await _apply(plan, site, guard, message)

        return await in_turn(attempt, site.watch)


async def _prove(made: Plan, site: Site) -> Applied:
    """What stands already, verified; nothing is written but how that ended, where it ended otherwise than last time."""
    facts = await site.observe()
    refuse_open(facts)
    now = make_plan(made.spec, facts)
    if now.touched:
        raise StalePlan(
            "The plan is stale, because the hosts have changed since it was made", moved(made, now)
        )
    found = await check(now, facts, site)
    kept = verified(found, now, facts)
    await remember({name: data for name, data in kept.items() if ends_otherwise(facts[name], data)}, site)
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
                "after the change, read again:\n  " + "\n  ".join(map(indented, found.differences)),
                "Find out who changes it, then apply again",
            )
        if found.refuted:
            from crossnet.api.diagnosing import why_not

            raise _refuted(found.refuted, await why_not(found.refuted[0], made, site))
        kept.update(verified(found, made, facts))
        return Proof(facts, kept)

    confirmed = await transact(
        made,
        site,
        what=_said(made),
        crossings=[
            *dict.fromkeys([*(one.label for one in made.spec.crossings), *(one.label for one in made.ended)])
        ],
        message=message,
        guard=guard,
        replan=lambda facts: _replanned(made, facts),
        prove=prove,
    )
    try:
        others = {name: data for name, data in kept.items() if name not in made.touched}
        await uninterrupted(told(remember(others, site)))
    except CrossnetError as error:  # it holds all the same, so it is told and no more
        confirmed = replace(confirmed, unwritten=(*confirmed.unwritten, str(error)))
    return Applied(made, confirmed, held[-1])


# What else gets through by a change at a cloud: others decide that too, by the groups of its ports.
_OPENS_AT_CLOUD = ("pairs-in-shared-group", "port-may-send", "port-admits", "port-security-off")


def _replanned(made: Plan, facts: Mapping[str, Facts]) -> Plan:
    """The plan by what the hosts say now; StalePlan where the same changes would open more at a cloud than was told."""
    now = passing(make_plan(made.spec, facts))
    more = [one for one in now.impacts if one.code in _OPENS_AT_CLOUD and one not in made.impacts]
    if more and now.steps == made.steps:
        raise StalePlan(
            "The plan is stale: what it changes at a cloud opens more by now than it said",
            [f"{one.where}: {one.text}" for one in more],
        )
    return now


def _said(made: Plan) -> str:
    """`apply office/web, which ends office/store`: what journals and histories say of it."""
    asked, ended = [one.label for one in made.spec.crossings], [one.label for one in made.ended]
    gone = ", ".join(label for label in ended if label not in asked)
    return f"apply {', '.join(asked)}" + (f", which ends {gone}" if gone else "")


def _refuted(verdicts: Sequence[Diagnosis], diagnosis: Diagnosis | None) -> NotAsPromised:
    named = [verdict for verdict in verdicts if verdict.demanded]
    what = (
        "a probe of the spec does not pass" if named else "a new flow was seen not to get through the gateway"
    )
    lines = "\n  ".join(indented(verdict.why) for verdict in verdicts)
    todo = "Remove the cause, or name another probe" if named else "Remove the cause"
    return NotAsPromised(f"{what}:\n  {lines}", f"{todo}, then apply again", diagnosis)
