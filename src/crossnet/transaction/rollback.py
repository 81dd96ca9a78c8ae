"""Put back what a transaction began, and prove it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crossnet.errors import CrossnetError
from crossnet.events import Event, Watcher
from crossnet.facts import Facts
from crossnet.record import write_record
from crossnet.resources import Change
from crossnet.transaction.journal import Journal
from crossnet.transaction.step import perform
from crossnet.transport import Host

Located = tuple[str, Change]


async def roll_back(begun: Sequence[Located], hosts: Mapping[str, Host], watch: Watcher) -> list[str]:
    """Undo changes that may have been done, newest first; goes on after errors and returns them.

    An error here is no verdict: undoing what was never done fails too. What counts is `differences`.
    """
    errors = []
    for name, change in reversed(begun):
        watch(Event(f"puts back {change.resource.kind} {change.resource.key}", name))
        for step in change.inverse().steps:
            try:
                await perform(hosts[name], step)
            except CrossnetError as error:
                errors.append(str(error))
    return errors


def differences(begun: Sequence[Located], facts: Mapping[str, Facts]) -> list[str]:
    """Every resource that, read again, is not what it was before the transaction."""
    found = []
    for name, change in begun:
        now = change.resource.ours(facts[name])
        if now != change.have:
            found.append(f"{name}: {change.resource.kind} {change.resource.key} is not what it was before")
    return found


async def finish(host: Host, unfinished: Journal, watch: Watcher) -> list[str]:
    """End an abandoned transaction from the host's own journal: forward where it was confirmed, else back.

    Returns what went wrong on the way; whether it is undone is for `unproved` to say.
    """
    if unfinished.confirmed:
        steps = [(entry, entry.do) for entry in unfinished.entries]
    else:
        steps = [(entry, entry.undo) for entry in reversed(unfinished.entries[: unfinished.begun])]
    errors = []
    for entry, own in steps:
        watch(Event(f"{'finishes' if unfinished.confirmed else 'puts back'} {entry.description}", host.name))
        for step in own:
            try:
                await perform(host, step)
            except CrossnetError as error:
                errors.append(str(error))
    if unfinished.confirmed:
        record = unfinished.record.encode() if unfinished.record is not None else None
        await write_record(host, record)
    return errors


def unproved(unfinished: Journal, facts: Facts) -> list[str]:
    """What of an abandoned transaction is still not as it was before it; nothing where it was confirmed."""
    if unfinished.confirmed:
        return []
    return [
        f"{facts.host}: {entry.resource.kind} {entry.resource.key} is not what it was before"
        for entry in unfinished.entries[: unfinished.begun]
        if not entry.is_undone(facts)
    ]
