"""A cloud as a participant of a transaction: it has no guard, so what it is asked to change is journaled on a host.

The host whose ports they are keeps that journal beside the transaction, not in it: a host that puts itself back
forgets its transaction, and cannot ask a cloud for anything. Whoever comes next ends what is journaled there, from any
machine, with credentials of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from crossnet.errors import Bug, CloudError, HostError, HostsFailed, Outcome
from crossnet.facts import Facts
from crossnet.openstack.api import Cloud
from crossnet.record import CLOUD, IDENTITY
from crossnet.resources import Change
from crossnet.spec import Spec
from crossnet.transaction.believed import Believed
from crossnet.transaction.left import Asked, Left, NotUnderstood, decode, encode
from crossnet.transaction.participant import Gone, Part, Participant, Refused
from crossnet.transaction.requests import REQUESTS, Requests
from crossnet.transport import Host


class AtOneCloud(Participant):
    """What one cloud holds for a host, of whatever kind."""

    def __init__(self, name: str, transaction: str, keeper: Host) -> None:
        self.keeper = keeper.name
        self._name, self._transaction, self._host = name, transaction, keeper
        self._cloud = Cloud(name.removeprefix("cloud "))
        self._left: Left | None = None  # what this process asks for, else what it has found
        self._believed: Believed | None = None  # where it was found
        self._is_journaled = False
        self._made = 0
        self._done: set[tuple[int, str]] = set()
        self._open: set[tuple[int, str]] = set()  # steps that a request may do whose answer never came
        self._requests: dict[str, Requests[Any]] = {}

    @property
    def name(self) -> str:
        return self._name

    def found_with(self, spec: Spec, facts: Mapping[str, Facts]) -> AtOneCloud:
        self._believed = Believed(spec, facts)
        return self

    async def stage(self, part: Part) -> bool:
        kept = await self._kept()
        if kept is not None and kept.transaction != self._transaction:
            raise Refused(
                self.name,
                f"was asked to change what it holds for {self.keeper}",
                str(kept),
                "`crossnet recover` ends them, from any machine.",
            )
        asked = [Asked(change, seen=await self._for(change).see(change.resource)) for change in part.live]
        self._left = Left(self._transaction, self._cloud.name, tuple(asked))
        return False

    async def arm(self, seconds: int, *, unproved: bool) -> tuple[str, ...]:
        return ()

    async def change(self, upto: int, timeout: float) -> None:
        while self._made < upto:
            await self._make(self._made)
            self._made += 1
        left = self._known()
        if self._made == len(left.asked) and not left.is_made:
            await self._keep(replace(left, is_made=True))

    async def _make(self, number: int) -> None:
        change = self._known().asked[number].change
        requests = self._for(change)
        for step in requests.steps(change.have, change.want):
            if (number, step) in self._done:
                continue
            await self._refuse_late()
            if step not in self._begun(number):
                await self._keep(self._with_begun(number, (*self._begun(number), step)))
            before = self._cloud.changes
            try:
                await requests.make(step, change.have, change.want)
            except CloudError as error:
                await self._refuse(number, step, error, requested=self._cloud.changes - before)
                raise
            if self._cloud.changes == before and (number, step) not in self._open:
                self._left = self._without(number, step)  # it was so already: nothing to take back
            self._done.add((number, step))

    async def _refuse_late(self) -> None:
        """Gone where somebody has ended the transaction: who slept meanwhile asks for nothing any more."""
        held = await self._host.read(PurePosixPath(IDENTITY))
        is_held = held is not None and held.decode(errors="replace").strip() == self._transaction
        if not is_held or (self._is_journaled and not await self._is_kept()):
            raise Gone(self.name, self._transaction, "")

    async def _refuse(self, number: int, step: str, error: CloudError, *, requested: int) -> None:
        """What was surely not done is not taken back: what is there like it is somebody else's."""
        if error.outcome is Outcome.OPEN:
            self._open.add((number, step))
            return
        if requested <= 1 and (number, step) not in self._open:
            self._left = self._without(number, step)
        if error.outcome is Outcome.REFUSED:
            if await self._is_kept():
                await self._keep(self._known())
            raise Refused(self.name, error.tried, error.seen, error.todo) from error

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
        if self._left is None:
            kept = await self._kept()
            if kept is None or kept.transaction != self._transaction:
                return ()
            self._left = kept
        elif not self._is_journaled or not await self._is_ours_to_end():
            return ()
        self._refuse_foreign()
        failed: list[HostError] = []
        told: list[str] = []
        for number in reversed(range(len(self._left.asked))):
            try:
                told += await self._take_back(number)
            except CloudError as error:
                is_final = error.outcome is Outcome.REFUSED
                failed.append(Refused(self.name, error.tried, error.seen, error.todo) if is_final else error)
            except Refused as error:
                failed.append(error)
        if failed:
            raise failed[0] if len(failed) == 1 else HostsFailed(failed)
        await self._forget()
        return tuple(f"{self.name}: {line}" for line in told)

    async def _is_ours_to_end(self) -> bool:
        """Whether nobody else has begun anything since: what was made is known here, whatever the host keeps of it."""
        held = await self._host.read(PurePosixPath(IDENTITY))
        if held is not None and (name := held.decode(errors="replace").strip()):
            return name == self._transaction
        try:
            kept = await self._kept()
        except NotUnderstood:
            return True
        return kept is None or kept.transaction == self._transaction

    def _refuse_foreign(self) -> None:
        """Refused where a host's journal is of a cloud that is not the spec's."""
        if self._believed is None:
            return
        seen, todo = self._believed.doubt(self._cloud.name)
        if seen:
            tried = f"was to take back what {self.keeper} keeps in {CLOUD}"
            raise Refused(self.name, tried, seen, todo)

    async def _take_back(self, number: int) -> list[str]:
        """The steps of one change that were begun, newest first; what is done is journaled no more."""
        one = self._known().asked[number]
        have, want = one.change.have, one.change.want
        requests = self._for(one.change)
        steps = requests.steps(have, want)
        begun = [each for each in steps if one.begun is None or each in one.begun]
        told: list[str] = []
        if self._believed is not None and begun:
            have, want, left_out = await requests.within(have, want, self._believed)
            told += left_out
        for step in reversed(begun):
            told += await requests.take_back(step, have, want, one.seen)
            rest = tuple(each for each in (one.begun or steps) if each != step)
            one = replace(one, begun=rest)
            await self._keep(self._with_begun(number, rest))
        return told

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

    def _known(self) -> Left:
        if self._left is None:
            raise Bug(f"{self.name} is asked to change something before it takes part")
        return self._left

    def _begun(self, number: int) -> tuple[str, ...]:
        return self._known().asked[number].begun or ()

    def _with_begun(self, number: int, begun: tuple[str, ...]) -> Left:
        left = self._known()
        asked = [*left.asked]
        asked[number] = replace(asked[number], begun=begun)
        return replace(left, asked=tuple(asked))

    def _without(self, number: int, step: str) -> Left:
        return self._with_begun(number, tuple(each for each in self._begun(number) if each != step))

    async def _is_kept(self) -> bool:
        """Whether what this process journaled is still there: else somebody else has ended it."""
        try:
            kept = await self._kept()
        except NotUnderstood:
            return True  # nobody but this process writes it while it holds the host
        return kept is not None and kept.transaction == self._transaction

    async def _kept(self) -> Left | None:
        data = await self._host.read(PurePosixPath(CLOUD))
        return decode(self.keeper, data) if data is not None else None

    async def _keep(self, left: Left) -> None:
        await self._host.write(PurePosixPath(CLOUD), encode(left), mode=0o600)
        self._left, self._is_journaled = left, True

    async def _forget(self) -> None:
        await self._host.write(PurePosixPath(CLOUD), None)


__all__ = ["AtOneCloud"]
