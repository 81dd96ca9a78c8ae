"""A transaction that is ended by somebody else than who began it, from any machine, by what the hosts hold.

What one host has confirmed is confirmed for all: the others follow. Else all of them go back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from crossnet.errors import CrossnetError, HostError, HostsDisagree, RollbackNotProved
from crossnet.events import Event, Kind, Phase
from crossnet.facts import Facts
from crossnet.site import Site, settled
from crossnet.spec import Spec
from crossnet.transaction import journal
from crossnet.transaction.agent import PATIENCE, Agent, insist
from crossnet.transaction.history import Past, read_history
from crossnet.transaction.journal import CONFIRM, ROLLBACK, Journal
from crossnet.transaction.participant import Gone, Participant
from crossnet.transaction.participants import participant
from crossnet.transaction.rollback import unproved
from crossnet.transaction.uninterrupted import FAILURES, reason, told, uninterrupted

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Open:
    """A transaction that some hosts still hold, and what was decided on those that have ended it.

    Where no host holds it any more, the hosts have ended it differently. `crossings` are the labels of those that it
    is about: by the journals, or by what all these hosts remember.
    """

    transaction: str
    what: str
    held: Mapping[str, Journal]
    ended: Mapping[str, str]
    spec: Spec
    facts: Mapping[str, Facts]
    crossings: frozenset[str] = frozenset()

    @property
    def decision(self) -> str:
        """What counts for all hosts: one that has confirmed has decided; nothing where none has.

        A host that does not hold it, and does not know how it ended, had changed nothing when it went back. One that
        says that it has confirmed, while the host that is told first has decided nothing, is not believed.
        """
        said = {
            *(one.decision for one in self.held.values()),
            *(end or ROLLBACK for end in self.ended.values()),
        }
        is_first_open = any(one.group[:1] == (name,) and not one.decision for name, one in self.held.items())
        if CONFIRM in said and not is_first_open:
            return CONFIRM
        return ROLLBACK if ROLLBACK in said else ""

    @property
    def was_begun(self) -> bool:
        """Whether anything was changed."""
        return any(one.was_begun for one in self.held.values()) or any(self.ended.values())

    @property
    def is_whole(self) -> bool:
        """Whether every change that comes before the confirmation is made, on every host that holds it."""
        return all(one.is_whole for one in self.held.values())

    @property
    def went_back(self) -> tuple[str, ...]:
        """The hosts that are rolled back although the transaction is confirmed."""
        if self.decision != CONFIRM:
            return ()
        back = [name for name, one in self.held.items() if one.decision == ROLLBACK]
        return (*back, *(name for name, decision in self.ended.items() if decision != CONFIRM))


async def find(
    facts: Mapping[str, Facts], site: Site, spec: Spec, *, forgotten: str = ""
) -> tuple[Open, ...]:
    """Every transaction that a host of the spec holds, or that hosts have ended differently.

    One that is `forgotten` is not waited for: the others end it among themselves. CrossnetError where a host of one is
    not in the spec, Locked where one cannot be read.
    """
    past = (await site.ask(read_history)).all()
    held: dict[str, dict[str, Journal]] = {}
    for name in facts:
        found = journal.unfinished(facts[name])
        if found is not None and found.unreadable:
            raise journal.locked(name, found)
        if found is not None:
            held.setdefault(found.transaction, {})[name] = found
    still = [_open(transaction, own, past, spec, facts, forgotten) for transaction, own in held.items()]
    return (*still, *(split for split in _splits(past, spec, facts) if split.transaction not in held))


def _open(
    transaction: str,
    held: Mapping[str, Journal],
    past: Mapping[str, Sequence[Past]],
    spec: Spec,
    facts: Mapping[str, Facts],
    forgotten: str,
) -> Open:
    first = next(iter(held.values()))
    group = [name for name in first.group if name != forgotten]
    if missing := [name for name in group if name not in past]:
        raise CrossnetError(
            f"transaction {transaction} is also on {', '.join(missing)}, and neither the spec nor its journal has a "
            "way there from here\n  Use a spec that names these hosts, on a machine that reaches them."
        )
    decided = {
        name: next((one.decision for one in past[name] if one.transaction == transaction), "")
        for name in group
        if name not in held
    }
    about = frozenset(label for own in held.values() for label in own.crossings)
    return Open(transaction, first.what, held, decided, spec, facts, about)


def _splits(past: Mapping[str, Sequence[Past]], spec: Spec, facts: Mapping[str, Facts]) -> Iterator[Open]:
    """What the hosts ended differently; whatever came after it on one of them has settled it.

    A history that says something else of what it was about is none of that transaction.
    """
    last: dict[str, list[Past]] = {}
    for own in past.values():
        if own:
            last.setdefault(own[-1].transaction, []).append(own[-1])
    for transaction, ends in last.items():
        decided = {one.host: one.decision for one in ends}
        if len(set(decided.values())) > 1 and len({one.what for one in ends}) == 1:
            about = frozenset.intersection(*(frozenset(one.crossings) for one in ends))
            yield Open(transaction, ends[0].what, {}, decided, spec, facts, about)


async def decide(found: Open, site: Site) -> bool:
    """Whether it holds from now on: the host decides that decided first when the transaction began.

    HostsDisagree where that is not known, because the host does not answer any more.
    """
    if found.decision:
        return found.decision == CONFIRM
    first = _in_order(found)[0]
    agent = Agent(site.hosts[first], found.transaction, found=True)
    until = asyncio.get_running_loop().time() + found.held[first].left + PATIENCE
    try:
        kept = _kept_by(first, found, site)
        ask = partial(_commit, agent, kept, site)
        return await uninterrupted(insist(agent, ask, until=until, watch=site.watch))
    except RollbackNotProved:
        return False  # the host has gone back all the same: with the others it is asked again, read, and told
    except HostError as error:
        raise HostsDisagree(
            f"{error}\nWhether transaction {found.transaction} is confirmed is known only there\n"
            "  `crossnet recover` brings the hosts together, from any machine."
        ) from error


async def confirm(found: Open, site: Site) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """End it as confirmed on every host, when one has decided so; HostsDisagree where a host does not answer.

    What could not be written for the next boot, and the hosts that had gone back: that is not taken back.
    """
    return await uninterrupted(_confirm(found, site))


async def _confirm(found: Open, site: Site) -> tuple[tuple[str, ...], tuple[str, ...]]:
    site.watch(Event(Kind.CONFIRMS, transaction=found.transaction, phase=Phase.CONFIRMED))

    async def end(agent: Agent) -> tuple[str, ...] | None:
        kept = _kept_by(agent.name, found, site)
        if not await _commit(agent, kept, site):
            return None
        for one in kept:
            await one.confirm()
        unwritten = [line for one in kept for line in await one.finish()]
        return (*unwritten, *await agent.finish())

    agents = [Agent(site.hosts[name], found.transaction, found=True) for name in _in_order(found)]
    answers = await settled(told(_known(agent, partial(end, agent), site)) for agent in agents)
    lost = [str(answer) for answer in answers if isinstance(answer, CrossnetError)]
    if lost:
        raise HostsDisagree(
            "Confirmed, but not ended on every host:\n  "
            + "\n  ".join(lost)
            + "\n  `crossnet recover` brings them together, from any machine."
        )
    errors: list[str] = []
    back: list[str] = []
    for agent, answer in zip(agents, answers, strict=True):
        if answer is None:
            back.append(agent.name)
        elif not isinstance(answer, CrossnetError):
            errors += answer
    return tuple(errors), tuple(dict.fromkeys((*back, *found.went_back)))


async def _commit(agent: Agent, kept: Sequence[Participant], site: Site) -> bool:
    """Whether it holds on the host; where not, the host is put back to the end, and who journals there before it.

    RollbackNotProved where something is not as it was then.
    """
    try:
        await agent.confirm()
    except Gone:
        left = await _taken_back(kept, site)
        with suppress(Gone):
            left += await agent.roll_back()
        if left:
            raise RollbackNotProved("\n  ".join(left)) from None
        return False
    return True


async def roll_back(found: Open, site: Site, why: str) -> None:
    """Put every host of it back and prove it; RollbackNotProved, or HostsDisagree where one has confirmed it.

    `why` is kept in their histories.
    """
    await uninterrupted(_roll_back(found, site, why))


async def _roll_back(found: Open, site: Site, why: str) -> None:
    agents = [Agent(site.hosts[name], found.transaction, found=True) for name in reversed(_in_order(found))]
    answers = await settled(
        told(_known(agent, partial(_back, agent, _kept_by(agent.name, found, site), site, why), site))
        for agent in agents
    )
    left = [str(answer) for answer in answers if isinstance(answer, CrossnetError)]
    left += [line for lines in answers if isinstance(lines, list) for line in lines]
    try:
        facts = await site.observe()
        left += [line for name, own in found.held.items() for line in unproved(own, facts[name])]
    except FAILURES as error:
        left.append(f"the hosts could not be read again: {reason(error)}")
    if any(isinstance(answer, Gone) for answer in answers):
        raise HostsDisagree("The hosts disagree:\n  " + "\n  ".join(left) + "\n  `crossnet recover` decides.")
    if left:
        raise RollbackNotProved(
            "Rollback not proved. Look at:\n  " + "\n  ".join(left) + "\n  `crossnet recover` tries again."
        )


def _kept_by(host: str, found: Open, site: Site) -> tuple[Participant, ...]:
    """Those that journal on a host."""
    return tuple(
        participant(other.kind, other.name, found.transaction, site.hosts[host]).found_with(
            found.spec, found.facts
        )
        for other in found.held[host].others
    )


async def _back(agent: Agent, kept: Sequence[Participant], site: Site, why: str) -> list[str]:
    site.watch(Event(Kind.ROLLS_BACK, agent.name, transaction=agent.transaction, phase=Phase.BACK))
    left = await _taken_back(kept, site, why)
    try:
        return [*left, *await agent.roll_back(why)]
    except Gone as gone:
        if CONFIRM in (gone.decision, await agent.ended()):
            raise
        return left


async def _taken_back(kept: Sequence[Participant], site: Site, why: str = "") -> list[str]:
    """What those that journal on a host could not take back: the host goes back all the same, their journals stay."""
    left: list[str] = []
    for one in kept:
        try:
            left += await _known(one, partial(one.roll_back, why), site)
        except CrossnetError as error:
            left.append(str(error))
    return left


async def _known(agent: Participant, ask: Callable[[], Awaitable[T]], site: Site) -> T:
    """The answer, asked for again where it was lost: every verb may be heard twice."""
    until = asyncio.get_running_loop().time() + PATIENCE
    return await insist(agent, ask, until=until, watch=site.watch)


def _in_order(found: Open) -> list[str]:
    """The host that decides first, as it was when the transaction began."""
    group = next((one.group for one in found.held.values()), ())
    return [name for name in group if name in found.held]
