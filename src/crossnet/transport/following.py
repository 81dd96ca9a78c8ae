"""A program on a host that goes on running, and whose lines are read as it prints them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from crossnet.errors import HostError
from crossnet.transport import Host, Process, lines


class Following:
    """Such a program from `start` to `stop`; `read` gets its lines, and returns when they have said enough.

    `over` is set when it has, or when no more can come; `failed` is why the host could not be heard to the end.
    """

    def __init__(
        self, host: Host, argv: Sequence[str], read: Callable[[AsyncIterator[str]], Awaitable[None]]
    ) -> None:
        self.over = asyncio.Event()
        self.failed: HostError | None = None
        self._host, self._argv, self._read = host, argv, read
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._process = await self._host.start(self._argv)
        self._reading = asyncio.create_task(self._follow(self._process))

    async def _follow(self, process: Process) -> None:
        try:
            await self._read(_whole(process))
        except HostError as error:
            self.failed = error
        finally:
            self.over.set()

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.stop()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])


async def _whole(process: Process) -> AsyncIterator[str]:
    """The lines that came to their end: of one that was cut nobody knows what it would have said."""
    async for line in lines(process.output()):
        if line.endswith(b"\n"):
            yield line[:-1].decode(errors="replace")
