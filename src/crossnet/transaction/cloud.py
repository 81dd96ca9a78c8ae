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
from crossnet.openstack.ports import Port
from crossnet.record import CLOUD
from crossnet.resources import Change, PortSecurity
from crossnet.resources.port_security import made_at
from crossnet.sealed import seal, unseal
from crossnet.transaction.participant import Gone, Part, Participant, Refused
from crossnet.transport import Host

FORMAT = 1
_CHANGED = 412  # by somebody else since it was read
_TRIES = 5  # at a port that others change at the same time


@dataclass(frozen=True, slots=True)
class Left:
    """What a transaction is changing at a cloud, or has left so: from what crossnet had there to what it wants."""

    transaction: str
    cloud: str
    changes: tuple[tuple[PortSecurity | None, PortSecurity | None], ...]

    @property
    def participant(self) -> str:
        return f"cloud {self.cloud}"

    def __str__(self) -> str:
        return f"transaction {self.transaction} has left changes at {self.participant} that nobody has ended"


def left_at_cloud(facts: Facts) -> Left | None:
    """What the host keeps of changes at a cloud that nobody has ended."""
    kept = facts.files.get(CLOUD)
    return _decode(facts.host, kept.data) if isinstance(kept, FileState) else None


class Ports(Participant):
    """The ports of a host in a cloud."""

    def __init__(self, name: str, transaction: str, keeper: Host) -> None:
        self.keeper = keeper.name
        self._name, self._transaction, self._host = name, transaction, keeper
        self._cloud = Cloud(name.removeprefix("cloud "))
        self._changes: tuple[Change, ...] = ()
        self._made = 0
        self._revisions: dict[str, int] = {}

    @property
    def name(self) -> str:
        return self._name

    async def stage(self, part: Part) -> bool:
        kept = await self._kept()
        if kept is not None and kept.transaction != self._transaction:
            raise Refused(
                self.name,
                f"was asked to change ports of {self.keeper}",
                str(kept),
                "`crossnet recover` ends them, from any machine.",
            )
        self._changes = part.live
        for change in part.live:
            one = _security(change.resource)
            self._revisions[one.port] = (await self._cloud.port(one.port)).revision
        return False

    async def arm(self, seconds: int, *, unproved: bool) -> tuple[str, ...]:
        return ()

    async def change(self, upto: int, timeout: float) -> None:
        pairs = [(_or_none(one.have), _or_none(one.want)) for one in self._changes]
        await self._keep(Left(self._transaction, self._cloud.name, tuple(pairs)))
        for have, want in pairs[self._made : upto]:
            try:
                await self._bring(have, want, self._revisions.get(_either(have, want).port))
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
        for have, want in reversed(kept.changes):
            await self._bring(want, have, None)
        await self._forget()
        return ()

    async def left(self) -> int:
        raise Gone(self.name, self._transaction, "")

    async def ended(self) -> str:
        return ""

    async def reconnect(self) -> None:
        await self._cloud.close()

    async def _bring(
        self, have: PortSecurity | None, want: PortSecurity | None, revision: int | None
    ) -> None:
        """Make a port what is wanted; where a revision is given, only as long as nobody else has changed it since."""
        one = _either(have, want)
        try:
            port = await self._cloud.port(one.port)
        except CloudError as error:
            if want is None and error.kind == "PortNotFound":
                await self._without_group(one)  # nothing is left of it to put back
                return
            raise
        group = await self._cloud.group(one.group, one.project)
        if want is not None and want.rules:
            group = await self._cloud.make_group(
                one.group, f"made by crossnet for port {one.port}", one.project, want.rules
            )
        for left in range(_TRIES, 0, -1):
            made = made_at(port, have, want, group.id if group is not None else None)
            if _set(made) == _set(port):
                break  # also where an answer was lost
            try:
                await self._put(port, made, port.revision if revision is None else revision)
                break
            except CloudError as error:
                if error.status != _CHANGED or left == 1:
                    raise
                changed = error
            port = await self._cloud.port(one.port)
            if revision is not None and _set(made_at(port, have, want, group.id if group else None)) != _set(
                port
            ):
                raise changed
        if group is not None and not (want is not None and want.rules):
            await self._cloud.delete_group(group.id)

    async def _put(self, now: Port, made: Port, revision: int) -> None:
        """One request for all of it: groups and pairs can be set only with port security on."""
        secured = made.secured if made.secured != now.secured else None
        await self._cloud.change_port(
            now.id, revision=revision, secured=secured, groups=made.groups, pairs=made.pairs
        )

    async def _without_group(self, one: PortSecurity) -> None:
        if (group := await self._cloud.group(one.group, one.project)) is not None:
            await self._cloud.delete_group(group.id)

    async def _kept(self) -> Left | None:
        data = await self._host.read(PurePosixPath(CLOUD))
        return _decode(self.keeper, data) if data is not None else None

    async def _keep(self, left: Left) -> None:
        await self._host.write(PurePosixPath(CLOUD), _encode(left), mode=0o600)

    async def _forget(self) -> None:
        await self._host.write(PurePosixPath(CLOUD), None)


def _set(port: Port) -> tuple[object, ...]:
    return port.secured, frozenset(port.groups), frozenset(port.pairs)


def _security(resource: object) -> PortSecurity:
    if not isinstance(resource, PortSecurity):
        raise Bug(f"a cloud is asked to change {resource!r}")
    return resource


def _or_none(resource: object) -> PortSecurity | None:
    return None if resource is None else _security(resource)


def _either(have: PortSecurity | None, want: PortSecurity | None) -> PortSecurity:
    return _security(want or have)


def _encode(left: Left) -> bytes:
    def side(one: PortSecurity | None) -> Mapping[str, Any] | None:
        return one.encode() if one is not None else None

    changes = [{"have": side(have), "want": side(want)} for have, want in left.changes]
    return seal({"format": FORMAT, "transaction": left.transaction, "cloud": left.cloud, "changes": changes})


def _decode(host: str, data: bytes) -> Left:
    def side(one: Any) -> PortSecurity | None:
        return PortSecurity.decode(mapping(one)) if one is not None else None

    try:
        document = unseal(json.loads(data))
        if number(document, "format") != FORMAT:
            raise ValueError(f"it has format {document['format']}, this crossnet reads {FORMAT}")
        changes = tuple((side(one["have"]), side(one["want"])) for one in objects(document["changes"]))
        return Left(text(document, "transaction"), text(document, "cloud"), changes)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HostError(
            host,
            f"read {CLOUD}, which says what is being changed at a cloud",
            f"it cannot be understood: {' '.join(str(error).split())[:200]}",
            "Compare the ports of the host with what they should let through, then remove the file.",
        ) from error


__all__ = ["Left", "Ports", "left_at_cloud"]
