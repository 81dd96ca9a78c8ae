"""A cloud as a participant of a transaction: it has no guard, so what it is asked to change is journaled on a host.

The host whose ports they are keeps that journal beside the transaction, not in it: a host that puts itself back
forgets its transaction, and cannot ask a cloud for anything. Whoever comes next ends what is journaled there, from any
machine, with credentials of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from crossnet.errors import Bug, CloudError, HostError
from crossnet.facts import Facts, FileState
from crossnet.facts.question import mapping, number, objects, text
from crossnet.openstack.api import Cloud
from crossnet.record import CLOUD
from crossnet.resources import KINDS, AtCloud, Change, Resource
from crossnet.sealed import seal, unseal
from crossnet.transaction.participant import Gone, Part, Participant, Refused
from crossnet.transaction.requests import REQUESTS, Requests
from crossnet.transport import Host

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Left:
    """What a transaction is changing at a cloud, or has left so: from what crossnet had there to what it wants."""

    transaction: str
    cloud: str
    changes: tuple[Change, ...]

    @property
    def participant(self) -> str:
        return f"cloud {self.cloud}"

    @property
    def kind(self) -> str:
        """That of one of them, by which the participant is found."""
        return self.changes[0].resource.kind

    def __str__(self) -> str:
        return f"transaction {self.transaction} has left changes at {self.participant} that nobody has ended"


def left_at_cloud(facts: Facts) -> Left | None:
    """What the host keeps of changes at a cloud that nobody has ended."""
    kept = facts.files.get(CLOUD)
    return _decode(facts.host, kept.data) if isinstance(kept, FileState) else None


class AtOneCloud(Participant):
    """What one cloud holds for a host, of whatever kind."""

    def __init__(self, name: str, transaction: str, keeper: Host) -> None:
        self.keeper = keeper.name
        self._name, self._transaction, self._host = name, transaction, keeper
        self._cloud = Cloud(name.removeprefix("cloud "))
        self._changes: tuple[Change, ...] = ()
        self._made = 0
        self._requests: dict[str, Requests[Any]] = {}

    @property
    def name(self) -> str:
        return self._name

    async def stage(self, part: Part) -> bool:
        kept = await self._kept()
        if kept is not None and kept.transaction != self._transaction:
            raise Refused(
                self.name,
                f"was asked to change what it holds for {self.keeper}",
                str(kept),
                "`crossnet recover` ends them, from any machine.",
            )
        self._changes = part.live
        for change in part.live:
            await self._for(change).see(change.resource)
        return False

    async def arm(self, seconds: int, *, unproved: bool) -> tuple[str, ...]:
        return ()

    async def change(self, upto: int, timeout: float) -> None:
        await self._keep(Left(self._transaction, self._cloud.name, self._changes))
        for change in self._changes[self._made : upto]:
            try:
                await self._for(change).bring(change.have, change.want, as_seen=True)
            except CloudError as error:
                if error.status is None:
                    raise
                raise Refused(self.name, error.tried, error.seen, error.todo) from error
            self._made += 1

    async def extend(self, seconds: int, verified: bytes = b"") -> None:
        return

    async def confirm(self) -> None:
        return

    async def finish(self, verified: bytes = b"") -> tuple[str, ...]:
        kept = await self._kept()
        if kept is not None and kept.transaction == self._transaction:
            await self._forget()
        return ()

    async def roll_back(self, why: str = "") -> tuple[str, ...]:
        kept = await self._kept()
        if kept is None or kept.transaction != self._transaction:
            return ()
        for change in reversed(kept.changes):
            await self._for(change).bring(change.want, change.have, as_seen=False)
        await self._forget()
        return ()

    async def left(self) -> int:
        raise Gone(self.name, self._transaction, "")

    async def ended(self) -> str:
        return ""

    async def reconnect(self) -> None:
        await self._cloud.close()

    def _for(self, change: Change) -> Requests[Any]:
        kind = change.resource.kind
        if kind not in REQUESTS:
            raise Bug(f"a cloud is asked to change {change.resource!r}")
        if kind not in self._requests:
            self._requests[kind] = REQUESTS[kind](self._cloud)
        return self._requests[kind]

    async def _kept(self) -> Left | None:
        data = await self._host.read(PurePosixPath(CLOUD))
        return _decode(self.keeper, data) if data is not None else None

    async def _keep(self, left: Left) -> None:
        await self._host.write(PurePosixPath(CLOUD), _encode(left), mode=0o600)

    async def _forget(self) -> None:
        await self._host.write(PurePosixPath(CLOUD), None)


def _encode(left: Left) -> bytes:
    def side(one: Resource | None) -> Mapping[str, Any] | None:
        return one.encode() if one is not None else None

    changes = [
        {"kind": one.resource.kind, "have": side(one.have), "want": side(one.want)} for one in left.changes
    ]
    return seal({"format": FORMAT, "transaction": left.transaction, "cloud": left.cloud, "changes": changes})


def _decode(host: str, data: bytes) -> Left:
    def change(said: Mapping[str, Any]) -> Change:
        kind = KINDS[text(said, "kind")]
        if not issubclass(kind, AtCloud):
            raise ValueError(f"a {kind.kind} is nothing that a cloud holds")
        have, want = (
            kind.decode(mapping(said[side])) if said[side] is not None else None for side in ("have", "want")
        )
        if have is None and want is None:
            raise ValueError(f"a {kind.kind} is changed from nothing to nothing")
        return Change(have, want)

    try:
        document = unseal(json.loads(data))
        if number(document, "format") != FORMAT:
            raise ValueError(f"it has format {document['format']}, this crossnet reads {FORMAT}")
        changes = tuple(map(change, objects(document["changes"])))
        if not changes:
            raise ValueError("it names no change")
        return Left(text(document, "transaction"), text(document, "cloud"), changes)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HostError(
            host,
            f"read {CLOUD}, which says what is being changed at a cloud",
            f"it cannot be understood: {' '.join(str(error).split())[:200]}",
            "Compare what the cloud holds for the host with what it should, then remove the file.",
        ) from error


__all__ = ["AtOneCloud", "Left", "left_at_cloud"]
