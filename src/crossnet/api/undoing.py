"""Take crossings back, by what the hosts themselves keep of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from crossnet.api.applying import DEFAULT_GUARD, Applied
from crossnet.api.finishing import end, end_at_clouds, end_unreadable, sweep
from crossnet.api.looking import left_at_clouds, refuse_running, survey, unfinished
from crossnet.errors import CrossnetError, Locked, StalePlan, indented
from crossnet.events import Watcher, nobody, without_a_say
from crossnet.facts import Facts
from crossnet.moved import moved
from crossnet.opening import told_opening
from crossnet.planning import OWN_CROSSINGS, UNDO, Plan, Undo, make_undo_plan
from crossnet.record import read_record
from crossnet.several import first_of
from crossnet.site import Site, Ways, reach
from crossnet.spec import Spec
from crossnet.transaction import ending, journal
from crossnet.transaction.apply import NotAsPromised, Proof
from crossnet.transaction.apply import apply as transact
from crossnet.transaction.guard import Guard
from crossnet.transaction.journal import Journal
from crossnet.turns import ends_no_more, in_turn
from crossnet.verification.comparing import read_back

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What undo would give back, and the abandoned transactions that it would end first."""

    plan: Plan
    unfinished: Mapping[str, Journal]
    what: Undo = OWN_CROSSINGS

    @property
    def is_empty(self) -> bool:
        return not self.plan.touched and not self.unfinished


async def plan_undo(
    spec: Spec, what: Undo = OWN_CROSSINGS, *, watch: Watcher = nobody, ways: Ways | None = None
) -> UndoPlan:
    """What undo would do, by the hosts' own records and journals; Locked when somebody else is at work for long."""
    return await _when_others_are_done(
        lambda patient: _plan_undo(spec, what, watch, ways, patient=patient), without_a_say(watch)
    )


async def _when_others_are_done(attempt: Callable[[bool], Awaitable[T]], watch: Watcher) -> T:
    """Its turn among others; what somebody has decided, and does not clear away, is then ended for them."""
    try:
        return await in_turn(lambda: attempt(True), watch)
    except Locked:
        return await attempt(False)


async def _plan_undo(spec: Spec, what: Undo, watch: Watcher, ways: Ways | None, *, patient: bool) -> UndoPlan:
    named = [host.name for host in spec.hosts]
    spec, facts = await survey(spec, every_spec=what.all, watch=watch, ways=ways)
    if what.all and what.among is None:
        there = (one.label for name in named for one in read_record(facts[name]).crossings)
        what = replace(what, among=frozenset(there))
    left = unfinished(facts)
    refuse_running(left, decided=patient)
    if not left:
        _is_there(spec, what, facts)
    return UndoPlan(told_opening(make_undo_plan(spec, facts, what), facts), left, what)


def _is_there(spec: Spec, what: Undo, facts: Mapping[str, Facts]) -> None:
    """CrossnetError where a crossing, or a host, is named of which nothing stands."""
    standing = [one for facts_of in facts.values() for one in read_record(facts_of).crossings]
    if not what.all:
        standing = [one for one in standing if one.spec in ("", spec.name)]
    crossings = sorted({one.crossing for one in standing})
    hosts = sorted(
        {host for one in standing for host in (one.host, *(each.name for each in one.hosts))} - {""}
    )
    named = [one.name for one in spec.crossings], [host.name for host in spec.hosts]
    for asked, kind, there, own in (
        (what.crossing, "crossing", crossings, named[0]),
        (what.host, "host", hosts, named[1]),
    ):
        if asked is None or asked in there:
            continue
        if there:
            raise CrossnetError(
                f"nothing of {kind} {asked} stands on these hosts\n  What stands there: {', '.join(there)}."
            )
        if asked not in own:
            raise CrossnetError(
                f"spec {spec.name} has no {kind} {asked}, and nothing of it stands on these hosts\n"
                f"  It has: {first_of(own)}."
            )
    for one in standing:
        if (what.crossing or what.host) and not one.is_known and one.crossing != what.crossing:
            raise CrossnetError(
                f"what crossing {one.crossing} needs is not known, so nothing beside it can be taken back: crossnet "
                "0.1.0 applied it, or its record was lost\n  `crossnet apply` writes it anew; then undo again."
            )


async def plan_forget(
    spec: Spec, host: str, *, watch: Watcher = nobody, ways: Ways | None = None
) -> UndoPlan:
    """What would be taken back of a host that never comes back: on the others, nothing is asked of it.

    A gateway takes its crossings with it, a client only its own part.
    """
    named, others = spec, replace(spec, hosts=tuple(one for one in spec.hosts if one.name != host))
    if not others.hosts:
        raise CrossnetError(f"{host} is the only host of spec {spec.name}: there is no other to forget it on")
    others, facts = await survey(others, forgotten=host, watch=watch, ways=ways)
    left = unfinished(facts)
    refuse_running(left)
    what = Undo(host=host, forgotten=True)
    if not any(host in found.group for found in left.values()):
        _is_there(named, what, facts)
    return UndoPlan(told_opening(make_undo_plan(others, facts, what), facts), left, what)


async def undo(
    spec: Spec,
    what: Undo = OWN_CROSSINGS,
    *,
    agreed: Plan | None = None,
    guard: Guard = DEFAULT_GUARD,
    message: str = "",
    watch: Watcher = nobody,
    ways: Ways | None = None,
) -> Applied:
    """Crossings taken back, with the last of them every host as it was before crossnet.

    An abandoned transaction is ended first. The spec is that of the plan, with the hosts that left it. `message` as
    for `apply`. Raises StalePlan where by now it would do something else than the plan that was `agreed` to.
    """
    journal.checked(message)
    async with reach(spec, watch=watch, ways=ways) as site:
        return await _when_others_are_done(
            lambda patient: _undo(spec, what, agreed, site, guard, message, patient=patient), site.watch
        )


async def _undo(
    spec: Spec, what: Undo, agreed: Plan | None, site: Site, guard: Guard, message: str, *, patient: bool
) -> Applied:
    facts, _ = await end_unreadable(await site.observe(), site)
    left = unfinished(facts)
    refuse_running(left, decided=patient)
    if left:
        forgotten = (what.host or "") if what.forgotten else ""
        for found in await ending.find(facts, site, spec, forgotten=forgotten):
            await end(found, site, UNDO)
        facts = await site.observe()
    if left_at_clouds(facts):
        await end_at_clouds(facts, site, spec)
        facts = await site.observe()
    made = make_undo_plan(spec, facts, what)
    if agreed is not None and not left and made.touched and not ends_no_more(agreed, made):
        lines = moved(agreed, made)
        raise StalePlan("The hosts have changed since the plan was made", lines)
    if not made.touched:
        await sweep(site)
        return Applied(made, None, None)

    async def prove() -> Proof:
        facts = await site.observe()
        wrong = read_back(made, facts, live_only=True)
        if wrong:
            raise NotAsPromised(
                "after the undo, read again:\n  " + "\n  ".join(map(indented, wrong)),
                "Find out who changes it, then undo again",
            )
        return Proof(facts)

    confirmed = await transact(
        made,
        site,
        what=str(what),
        crossings=[one.label for one in made.ended],
        message=message,
        guard=guard,
        replan=lambda facts: make_undo_plan(spec, facts, what),
        prove=prove,
    )
    return Applied(made, confirmed, None)
