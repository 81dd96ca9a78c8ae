"""What proves a roll-back: the hosts, read again, are as they were before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crossnet.errors import indented
from crossnet.facts import Facts
from crossnet.resources import Change
from crossnet.transaction.journal import Journal

Located = tuple[str, Change]


def differences(changes: Sequence[Located], facts: Mapping[str, Facts]) -> list[str]:
    """Every resource that, read again, is not what it was before the transaction."""
    return [
        f"{name}: {change.resource.kind} {indented(change.resource.key)} is not what it was before"
        for name, change in changes
        if change.resource.ours(facts[name]) != change.have
    ]


def unproved(found: Journal, facts: Facts) -> list[str]:
    """The same of a transaction that was found on a host."""
    return [
        f"{facts.host}: {entry.resource.kind} {indented(entry.resource.key)} is not what it was before"
        for entry in (*found.entries, *(entry for other in found.others for entry in other.entries))
        if not entry.is_undone(facts)
    ]
