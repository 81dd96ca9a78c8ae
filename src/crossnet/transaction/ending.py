"""A transaction that is ended by somebody else than who began it, from any machine, by what the hosts hold.

What one host has confirmed is confirmed for all: the others follow. Else all of them go back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from crossnet.errors import CrossnetError, HostsDisagree, RollbackNotProved
from crossnet.events import Event, Watcher
from crossnet.facts import Facts
from crossnet.transaction import journal
from crossnet.transaction.agent import Agent, Gone
from crossnet.transaction.journal import CONFIRM, ROLLBACK, Journal
from crossnet.transaction.rollback import unproved
from crossnet.transport import Host


@dataclass(frozen=True, slots=True)
class Open:
    """A transaction that some hosts still hold, and what was decided on those that have ended it."""

    transaction: str
    held: Mapping[str, Journal]
    ended: Mapping[str, str]

    @property
    def any(self) -> Journal:
        return next(iter(self.held.values()))

    @property
    def decision(self) -> str:
        """What counts for all hosts: one that has confirmed has decided; nothing where none has."""
        said = {*(one.decision for one in self.held.values()), *self.ended.values()}
        return CONFIRM if CONFIRM in said else ROLLBACK if ROLLBACK in said else ""

    @property
    def went_back(self) -> tuple[str, ...]:
        """The hosts that are rolled back although the transaction is confirmed."""
        if self.decision != CONFIRM:
            return ()
        back = [name for name, one in self.held.items() if one.decision == ROLLBACK]
        return (*back, *(name for name, decision in self.ended.items() if decision == ROLLBACK))


async def find(facts: Mapping[str, Facts], hosts: Mapping[str, Host]) -> tuple[Open, ...]:
    """Every transaction that a host of the spec holds; CrossnetError where one of its hosts is not in the spec."""
    held: dict[str, dict[str, Journal]] = {}
    for name in facts:
        found = journal.unfinished(facts[name])
        if found is not None:
            held.setdefault(found.transaction, {})[name] = found
    return tuple([await _open(transaction, own, hosts) for transaction, own in held.items()])


async def _open(transaction: str, held: Mapping[str, Journal], hosts: Mapping[str, Host]) -> Open:
    group = next(iter(held.values())).group
    if missing := [name for name in group if name not in hosts]:
        raise CrossnetError(
            f"transaction {transaction} also is on {', '.join(missing)}, and the spec names no such host\n"
            "  Use the spec with which it was begun, or one with these hosts in it."
        )
    ended = {name: await Agent(hosts[name], transaction).ended() for name in group if name not in held}
    return Open(transaction, held, ended)


async def confirm(
    found: Open, hosts: Mapping[str, Host], watch: Watcher
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Decide that it holds and end it on every host.

    What could not be written for the next boot, and the hosts that had gone back: that is not taken back.
    """
    watch(Event(f"confirms transaction {found.transaction}"))
    first, *others = (Agent(hosts[name], found.transaction, found=True) for name in _in_order(found))
    # The first one decides, unless a host has decided already.
    forward = [await _commit(first)] + await asyncio.gather(*(_commit(agent) for agent in others))
    ended = await asyncio.gather(
        *(agent.release() for agent, holds in zip((first, *others), forward, strict=True) if holds)
    )
    back = [agent.host.name for agent, holds in zip((first, *others), forward, strict=True) if not holds]
    return tuple(error for own in ended for error in own), tuple(dict.fromkeys((*back, *found.went_back)))


async def _commit(agent: Agent) -> bool:
    """Whether it holds on the host; where not, the host is put back to the end."""
    try:
        await agent.commit()
    except Gone:
        await agent.rollback()
        return False
    return True


async def roll_back(
    found: Open,
    hosts: Mapping[str, Host],
    observe: Callable[[], Awaitable[Mapping[str, Facts]]],
    watch: Watcher,
) -> None:
    """Put every host of it back and prove it; RollbackNotProved, or HostsDisagree where one has confirmed it."""
    agents = [Agent(hosts[name], found.transaction, found=True) for name in reversed(_in_order(found))]
    answers = await asyncio.gather(*(_back(agent, watch) for agent in agents), return_exceptions=True)
    left = [str(answer) for answer in answers if isinstance(answer, CrossnetError)]
    left += [line for lines in answers if isinstance(lines, list) for line in lines]
    facts = await observe()
    left += [line for name, own in found.held.items() for line in unproved(own, facts[name])]
    if any(isinstance(answer, Gone) for answer in answers):
        raise HostsDisagree("The hosts disagree:\n  " + "\n  ".join(left) + "\n  `crossnet recover` decides.")
    if left:
        raise RollbackNotProved(
            "Rollback not proved. Look at:\n  " + "\n  ".join(left) + "\n  `crossnet recover` tries again."
        )


async def _back(agent: Agent, watch: Watcher) -> list[str]:
    watch(Event(f"puts back transaction {agent.transaction}", agent.host.name))
    try:
        return list(await agent.rollback())
    except Gone as gone:
        if CONFIRM in (gone.decision, await agent.ended()):
            raise
        return []


def _in_order(found: Open) -> list[str]:
    """The host that decides first, as it was when the transaction began."""
    return [name for name in found.any.group if name in found.held]
