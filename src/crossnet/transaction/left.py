"""What a host keeps of changes at a cloud: those that a transaction is making, or has left so.

Before each step the file names it, and only what was begun is taken back. One of an older version tells no steps: any
of them may have been begun.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crossnet.errors import HostError
from crossnet.facts import Facts, FileState, Unreadable
from crossnet.facts.question import mapping, number, number_or, objects, read_json, text, texts
from crossnet.openstack.reading import harmless
from crossnet.record import CLOUD
from crossnet.resources import KINDS, AtCloud, Change, Resource
from crossnet.sealed import seal, unseal

FORMAT = 2
_WITHOUT_STEPS = 1

_TRANSACTION = re.compile(r"[0-9a-f]{1,32}")


class NotUnderstood(HostError):
    """What a host keeps of changes at a cloud is damaged, or of another version."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One change at a cloud, from what crossnet had there to what it wants, and the steps of it that were begun.

    `begun` is None where that is not told; `seen` the revision that it was asked for, None where that is not known.
    """

    change: Change
    begun: tuple[str, ...] | None = ()
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """What a transaction is changing at a cloud, or has left so; `is_made` is whether all of it is done."""

    transaction: str
    cloud: str
    asked: tuple[Asked, ...]
    is_made: bool = False

    @property
    def participant(self) -> str:
        return f"cloud {self.cloud}"

    @property
    def kind(self) -> str:
        """That of one of them, by which the participant is found."""
        return self.asked[0].change.resource.kind

    @property
    def is_begun(self) -> bool:
        """Whether the cloud may have been asked for anything."""
        return any(one.begun != () for one in self.asked)

    def __str__(self) -> str:
        return f"transaction {self.transaction} has left changes at {self.participant} that nobody has ended"


def left_at_cloud(facts: Facts) -> Left | None:
    """What the host keeps of changes at a cloud that nobody has ended; HostError where it cannot be understood."""
    kept = facts.files.get(CLOUD)
    if isinstance(kept, Unreadable):
        raise _not_understood(facts.host, kept.reason)
    return decode(facts.host, kept.data) if isinstance(kept, FileState) else None


def encode(left: Left) -> bytes:
    def side(one: Resource | None) -> Mapping[str, Any] | None:
        return one.encode() if one is not None else None

    changes = [
        {
            "kind": one.change.resource.kind,
            "have": side(one.change.have),
            "want": side(one.change.want),
            "seen": one.seen,
            **({"begun": one.begun} if one.begun is not None else {}),
        }
        for one in left.asked
    ]
    document = {
        "transaction": left.transaction,
        "cloud": left.cloud,
        "changes": changes,
        "made": left.is_made,
    }
    return seal({"format": FORMAT, **document})


def decode(host: str, data: bytes) -> Left:
    try:
        document = unseal(read_json(data))
        found = number(document, "format")
        if found not in (_WITHOUT_STEPS, FORMAT):
            raise ValueError(f"it has format {found}, this crossnet reads {FORMAT}")
        asked = tuple(_asked(one) for one in objects(document["changes"]))
        if not asked:
            raise ValueError("it names no change")
        transaction, cloud = text(document, "transaction"), text(document, "cloud")
        if not _TRANSACTION.fullmatch(transaction):
            raise ValueError(f"{harmless(transaction)!r} is no transaction of crossnet's")
        if harmless(cloud) != cloud or not cloud:
            raise ValueError(f"{harmless(cloud)!r} is no name of a cloud")
        return Left(transaction, cloud, asked, document.get("made") is True)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _not_understood(host, " ".join(str(error).split())[:200]) from error


def _asked(said: Mapping[str, Any]) -> Asked:
    kind = KINDS[text(said, "kind")]
    if not issubclass(kind, AtCloud):
        raise ValueError(f"a {kind.kind} is nothing that a cloud holds")
    have, want = (
        kind.decode(mapping(said[side])) if said[side] is not None else None for side in ("have", "want")
    )
    if have is None and want is None:
        raise ValueError(f"a {kind.kind} is changed from nothing to nothing")
    if have is not None and want is not None and have.identity != want.identity:
        raise ValueError(f"a {kind.kind} is changed to another one")
    begun = texts(said["begun"]) if "begun" in said else None
    return Asked(Change(have, want), begun, number_or(said, "seen", None))


def _not_understood(host: str, why: str) -> NotUnderstood:
    return NotUnderstood(
        host,
        f"read {CLOUD}, which says what is being changed at a cloud",
        f"it cannot be understood: {why}",
        "Compare what the cloud holds for the host with what it should, then remove the file.",
    )


__all__ = ["Asked", "Left", "NotUnderstood", "decode", "encode", "left_at_cloud"]
