"""A host that is not waited for longer than a moment: one that hangs takes a connection, and answers nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeVar

from crossnet.errors import HostError
from crossnet.transport import LIMIT, TIMEOUT, Completed, Host, Process
from crossnet.values import Address

T = TypeVar("T")


class Patient:
    """A host that is given up where nothing of it has come so many seconds after it was first asked.

    Whatever is asked of it then ends at once, with a HostError. One that has answered has the time that every host has.
    """

    def __init__(self, host: Host, seconds: float) -> None:
        self._host, self._seconds = host, seconds
        self._until: float | None = None
        self._has_answered = False
        self._waiting: set[asyncio.Timeout] = set()

    @property
    def name(self) -> str:
        return self._host.name

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed:
        return await self._soon(self._host.run(argv, stdin=stdin, timeout=timeout, limit=limit))

    async def start(self, argv: Sequence[str]) -> Process:
        # That it was begun says nothing: a host that hangs has not taken it yet.
        return await self._soon(self._host.start(argv), is_answer=False)

    def locate(self, path: PurePosixPath) -> PurePosixPath:
        return self._host.locate(path)

    async def read(self, path: PurePosixPath) -> bytes | None:
        return await self._soon(self._host.read(path))

    async def write(self, path: PurePosixPath, data: bytes | None, *, mode: int = 0o644) -> None:
        await self._soon(self._host.write(path, data, mode=mode))

    async def controller(self) -> Address | None:
        return await self._soon(self._host.controller(), is_answer=False)

    async def reached_at(self) -> Address | None:
        return await self._soon(self._host.reached_at(), is_answer=False)

    async def _soon(self, work: Coroutine[Any, Any, T], *, is_answer: bool = True) -> T:
        if self._has_answered:
            return await work
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._seconds
        clock = asyncio.timeout_at(self._until)
        try:
            async with clock:
                self._waiting.add(clock)
                answer = await work
        except TimeoutError:
            if not clock.expired():
                raise
            raise HostError(
                self.name,
                "tried to reach it",
                f"no answer within {self._seconds:g} s",
                "Look whether it still runs: its kernel may go on forwarding while its programs hang.",
                is_silent=True,
            ) from None
        finally:
            self._waiting.discard(clock)
        if is_answer:
            self._has_answered = True
            for each in self._waiting:
                each.reschedule(None)
        return answer
