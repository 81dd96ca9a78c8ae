"""All participants together: what is asked of each, in which order, and what when one does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from crossnet.errors import CommandFailed, CrossnetError, HostError
from crossnet.events import Described, Event, Kind, Phase, Tally
from crossnet.planning import Plan
from crossnet.resources import Change
from crossnet.site import Site, together
from crossnet.transaction import journal
from crossnet.transaction.agent import AGAIN, PATIENCE, Agent, insist
from crossnet.transaction.guard import Guard
from crossnet.transaction.journal import CONFIRM, Journal, Other
from crossnet.transaction.participant import Gone, Part, Participant, Refused
from crossnet.transaction.participants import participant
from crossnet.transaction.uninterrupted import FAILURES, reason

T = TypeVar("T")

ENOUGH = 30  # seconds that must be left to every guard when the decision is made
EXTENSION = 60
LATER = 15  # seconds between the guards of two hosts of which one is reached over the other
RECONNECT = 20  # seconds for a new connection where the one that stood was cut

_PUTS_BACK = Kind.ROLLS_BACK, Phase.BACK
_CLEARS_AWAY = Kind.CLEARS_AWAY, Phase.BEFORE


class NobodyConfirmed(CrossnetError):
    """A person had the last word, and it was not said."""


class Group:
    """The hosts that a plan touches, and who changes things for them; the first host decides, the others follow."""

    def __init__(self, transaction: str, plan: Plan, site: Site, guard: Guard) -> None:
        self.is_changing = False  # whether hosts may be other than before, or hold what is only to be written
        self.is_confirmed_somewhere = False
        self._transaction = transaction
        self._plan = plan
        self._guard = guard
        self._watch = site.watch
        self._members = _members(transaction, plan, site)
        live = plan.live()
        self._waves = waves([(_whose(host, one), one, plan.touches(host, one)) for host, one in live])
        self._live = _by_member(live)
        self._persistent = _by_member(plan.persistent())
        # They may have to end it themselves at any moment, and the first does not hear of it.
        self._exposed = [
            name for name, changes in self._live.items() if any(one.resource.is_flushed for one in changes)
        ]
        self._staged: list[str] = []
        self._behind: set[str] = set()  # those that do not hold what is confirmed
        # A host goes back before the one over which it is reached: else nobody hears how it ended.
        self._later = dict.fromkeys(self._members, 0) | {
            name: depth * LATER for depth, names in enumerate(plan.guard_order) for name in names
        }
        self._ends = 0.0  # by the loop's clock, the time at which every guard has gone off

    async def stage(self, written: Journal) -> bool:
        """Take all of them, or none; True when timers were started there to see whether they go off.

        The first one alone, then the others: of two controllers at the same time one gets them all. A keeper before
        those who journal there.
        """
        first, *others = self._members
        kept = [name for name in others if self._members[name].keeper]
        tally = Tally(self._watch, Kind.STAGES, len(self._members))

        async def take(name: str) -> bool:
            self._watch(Event(Kind.STAGES, name, hosts=tally.hosts, phase=Phase.BEFORE))
            member = self._members[name]
            host = next(host for host in self._plan.hosts if host.host == (member.keeper or name))
            live, persistent = tuple(self._live.get(name, ())), tuple(self._persistent.get(name, ()))
            own = replace(written, entries=tuple(map(journal.entry, live)), others=self._kept_by(name))
            self._staged.append(name)
            stops = tuple(wave[name] for wave in self._waves if name in wave)
            drills = await member.stage(Part(own, host, live, persistent, stops))
            tally.done(name)
            return drills

        drilled = [await take(first)]
        drilled += await together(take(name) for name in others if name not in kept)
        drilled += await together(take(name) for name in kept)
        return any(drilled)

    async def arm(self) -> None:
        """Start the guard of each that has one."""
        tally = Tally(self._watch, Kind.GUARDED, len(self._members))

        async def arm(name: str) -> None:
            seconds = self._guard.seconds + self._later[name]
            member = self._members[name]
            timers = await member.arm(seconds, unproved=self._guard.has_console)
            if timers or not member.keeper:
                self._watch(Event(Kind.GUARDED, name, seconds=seconds, timers=timers, hosts=tally.hosts))
            tally.done(name)

        self._ends = self._now() + self._guard.seconds
        await together(arm(name) for name in self._members)
        self._ends = self._now() + self._guard.seconds + max(self._later.values())

    async def change(self) -> None:
        """Make the live changes in the plan's order; hosts that only do the same do it at the same time."""
        done = dict.fromkeys(self._live, 0)
        tally = Tally(self._watch, Kind.CHANGES, len(self._live))
        for wave in self._waves:
            self.is_changing = True
            await together(self._make(name, done[name], upto, tally) for name, upto in wave.items())
            done |= wave

    async def _make(self, name: str, done: int, upto: int, tally: Tally) -> None:
        changes = self._live[name]
        for one in changes[done:upto]:
            event = Event(Kind.CHANGES, name, _described(one), hosts=tally.hosts, phase=Phase.CHANGING)
            self._watch(event)
        member = self._members[name]

        def make() -> Awaitable[None]:
            return member.change(upto, timeout=self._guard.seconds)

        try:
            await make()
        except (Refused, CommandFailed):
            raise
        except HostError:
            # The change may have cut just the connection that stood: the host goes on, and tells it on another.
            until = min(self._ends, self._now() + RECONNECT)
            await insist(member, make, until=until, watch=self._watch)
        if upto == len(changes):
            tally.done(name)

    async def check(self) -> None:
        """Have programs of the hosts try what is to be written for the next boot; Refused where one says no."""
        until = min(self._ends, self._now() + RECONNECT)
        asked = [member for name, member in self._members.items() if self._persistent.get(name)]
        await together(insist(one, one.check, until=until, watch=self._watch) for one in asked)

    async def wait_for_person(self, proof: Mapping[str, bytes]) -> None:
        """With `confirm_within`, until somebody says `crossnet confirm`; CrossnetError where nobody does in time."""
        seconds = self._guard.confirm_within
        if seconds is None:
            return
        self.is_changing = True
        await self._extend(seconds, proof)
        self._watch(Event(Kind.WAITS, seconds=seconds, transaction=self._transaction, asks=True))
        first, *_ = self._members.values()
        told = seconds
        while True:
            try:
                left = await first.left()
                await self._none_is_back(first)
            except Gone as gone:
                if gone.decision == CONFIRM or await first.ended() == CONFIRM:
                    return
                raise NobodyConfirmed(
                    f"nobody said `crossnet confirm {self._transaction}` within {seconds} s,"
                    f" or somebody said `crossnet rollback {self._transaction}`"
                ) from None
            except HostError:
                if self._now() > self._ends + PATIENCE:
                    raise
                left = int(self._ends - self._now())
            if self._now() > self._ends + PATIENCE:
                raise CrossnetError("nobody has confirmed it, and no timer has put the hosts back")
            if left <= told - 10:
                told = left
                self._watch(Event(Kind.TIME_LEFT, seconds=left, transaction=self._transaction))
            await asyncio.sleep(AGAIN)

    async def decide(self) -> None:
        """The first host decides for all; whatever becomes of the answer, it is asked until it is known."""
        # Where a person has decided there is nothing left to extend.
        if self._guard.confirm_within is None and self._ends - self._now() < ENOUGH:
            await self._extend(EXTENSION, {})
        self.is_changing = True
        first, *_ = self._members.values()
        await self._until_known(first, lambda: self._none_is_back(first))
        await self._until_known(first, first.confirm)
        self._watch(Event(Kind.DECIDED, first.name, phase=Phase.CONFIRMED))

    async def _none_is_back(self, first: Participant) -> None:
        """Gone where a gateway has put itself back, or is about to: then nothing is to be confirmed."""
        for name in self._exposed:
            if self._members[name] is first:
                continue
            try:
                await self._members[name].left()
            except Gone as gone:
                if CONFIRM not in (gone.decision, await self._members[name].ended()):
                    raise

    async def reasons(self) -> list[str]:
        """Why gateways put themselves back, where they did so before their time was over."""
        found = [(name, await self._members[name].why()) for name in self._exposed]
        return [f"{name}: {why}" for name, why in found if why]

    async def confirm(self) -> list[str]:
        """The others follow; what became of those whose guard was faster, or that do not answer any more."""

        async def follow(one: Participant) -> str:
            try:
                await self._until_known(one, one.confirm)
            except FAILURES as error:
                self._behind.add(one.name)
                return _told(one, error)
            return ""

        _, *others = self._members.values()
        return [said for said in await together(follow(one) for one in others) if said]

    async def finish(self, proof: Mapping[str, bytes]) -> tuple[str, ...]:
        """Write what the next boot needs and what crossnet owns now; an error takes nothing back, it is told."""
        holding = [name for name in self._members if name not in self._behind]
        tally = Tally(self._watch, Kind.PERSISTS, len(holding))

        async def end(name: str) -> tuple[str, ...]:
            for one in self._persistent.get(name, []):
                self._watch(Event(Kind.PERSISTS, name, _described(one), hosts=tally.hosts))
            member = self._members[name]
            try:
                unwritten = await self._until_known(member, lambda: member.finish(proof.get(name, b"")))
            except FAILURES as error:
                return (_told(member, error),)
            tally.done(name)
            return unwritten

        return tuple(await self._to_their_end(holding, end))

    async def roll_back(self, why: str) -> list[str]:
        """All that were taken put themselves back, and keep why; what is known not to be as before.

        One that does not answer is asked until its guard must have gone off, if it has something to put back.
        """

        kind, phase = _PUTS_BACK if self.is_changing else _CLEARS_AWAY
        tally = Tally(self._watch, kind, len(self._staged))

        async def back(name: str) -> list[str]:
            member = self._members[name]
            self._watch(Event(kind, name, hosts=tally.hosts, phase=phase))

            async def end() -> list[str]:
                if member.keeper and await self._is_confirmed(member.keeper):
                    return []
                try:
                    return list(await member.roll_back(why))
                except Gone as gone:
                    if (gone.decision or await member.ended()) != CONFIRM:
                        return []
                self.is_confirmed_somewhere = True
                return [f"{name}: it is confirmed there"]

            try:
                left = await self._until_known(member, end)
            except FAILURES as error:
                if self.is_changing:
                    return [_told(member, error)]
                kept = f"what it had prepared could not be cleared away: {reason(error)}"
                self._watch(Event(Kind.LEFT_OVER, name, error=kept))
                return []
            tally.done(name)
            return left

        return await self._to_their_end(self._staged, back)

    async def _is_confirmed(self, name: str) -> bool:
        """Whether it holds there: then what was made for that host stays as well."""
        member = self._members[name]
        try:
            await member.left()
        except Gone as gone:
            return CONFIRM in (gone.decision, await member.ended())
        return False

    def _kept_by(self, host: str) -> tuple[Other, ...]:
        """What a host's journal says of those that journal there."""
        kept = [(name, self._live[name]) for name in self._live if self._members[name].keeper == host]
        return tuple(
            Other(name, live[0].resource.kind, tuple(map(journal.entry, live))) for name, live in kept
        )

    async def _to_their_end(
        self, names: Sequence[str], end: Callable[[str], Coroutine[Any, Any, Iterable[str]]]
    ) -> list[str]:
        """What all of them said, at the same time, but a keeper after those who journal there: it forgets that too."""

        async def after_kept(name: str) -> list[str]:
            kept = [one for one in names if self._members[one].keeper == name]
            said = await together(end(one) for one in kept)
            return [line for lines in (*said, await end(name)) for line in lines]

        free = [name for name in names if self._members[name].keeper not in names]
        return [line for lines in await together(after_kept(name) for name in free) for line in lines]

    async def _extend(self, seconds: int, proof: Mapping[str, bytes]) -> None:
        def ends() -> float:
            return self._now() + seconds + max(self._later.values())

        self._ends = max(self._ends, ends())  # where the answer is lost the host may have heard it
        await together(
            member.extend(seconds + self._later[name], proof.get(name, b""))
            for name, member in self._members.items()
        )
        self._ends = max(self._ends, ends())

    async def _until_known(self, one: Participant, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer, asked for again while the host's guard may still decide."""
        until = self._ends + PATIENCE if self.is_changing else self._now() - 1
        return await insist(one, ask, until=until, watch=self._watch)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def waves(ordered: Sequence[tuple[str, Change, bool]]) -> list[dict[str, int]]:
    """How far each participant goes, wave by wave; a wave begins when the one before is done.

    Neighbours in the order that are of one kind and action do not wait for each other, but one that touches
    the management path, which is the third of its words, waits for all before it. What guards a host over a power
    cut goes with the change that it is laid for.
    """
    runs: list[tuple[dict[str, int], set[tuple[str, ...]]]] = []
    done: dict[str, int] = {}
    guarding: dict[str, int] = {}
    for name, change, touches_management_path in ordered:
        done[name] = done.get(name, 0) + 1
        if change.resource.is_persistent:
            guarding[name] = done[name]
            continue
        guarding.pop(name, None)
        alone = (name,) if touches_management_path else ()
        kind = (change.resource.kind, change.action, *alone)
        if runs and (set(runs[-1][0]) == {name} or runs[-1][1] == {kind}):
            runs[-1][0][name] = done[name]
            runs[-1][1].add(kind)
        else:
            runs.append(({name: done[name]}, {kind}))
    alone_there = [guarding] if guarding else []  # for what is written after the confirmation
    return [*alone_there, *(upto for upto, _ in runs)]


def _described(change: Change) -> Described:
    return Described(change.action, change.resource.kind, change.resource.key, change.description)


def _members(transaction: str, plan: Plan, site: Site) -> dict[str, Participant]:
    """The hosts first: one of them decides, and they are the keepers of the others."""
    found: dict[str, Participant] = {name: Agent(site.hosts[name], transaction) for name in plan.touched}
    for host, change in plan.changes:
        name = _whose(host, change)
        if name not in found:
            found[name] = participant(change.resource.kind, name, transaction, site.hosts[host])
    return found


def _whose(host: str, change: Change) -> str:
    """The participant that makes a change: its host, unless the resource says who."""
    return change.resource.changed_by or host


def _by_member(ordered: Iterable[tuple[str, Change]]) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for host, change in ordered:
        found.setdefault(_whose(host, change), []).append(change)
    return found


def _told(one: Participant, error: BaseException) -> str:
    """What became of one, which it names."""
    return str(error) if isinstance(error, CrossnetError) else f"{one.name}: {reason(error)}"
