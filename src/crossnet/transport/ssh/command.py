"""A command in a channel of a connection (RFC 4254, 6): run to its end, or streamed by the line."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import asyncssh

from crossnet.errors import HostError
from crossnet.transport.ssh import leash

_HIGH_WATER = 1 << 20  # bytes of a stream kept for a slow reader before the command is made to wait
_STOP_GRACE = 2.0  # seconds for SIGTERM
_END_GRACE = 3.0  # for SIGKILL, which the leash sends a second after the end of its input


class Command(asyncssh.SSHClientSession[bytes]):
    """What comes back from a command; by default it is kept until the end."""

    def __init__(self) -> None:
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.status: int | None = None  # None with `ended` set: the connection was cut
        self.ended = asyncio.Event()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self.channel = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        (self.stdout if datatype is None else self.stderr).extend(data)

    def eof_received(self) -> bool:
        return True  # not to be answered: the end of its input would end the command

    def exit_status_received(self, status: int) -> None:
        self.status = status

    def exit_signal_received(self, sig: str, core_dumped: bool, msg: str, lang: str) -> None:
        number = getattr(
            signal, f"SIG{sig}", signal.SIGKILL
        )  # a name of its own has no number: RFC 4254, 6.10
        self.status = 128 + int(number)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def feed(self, data: bytes) -> None:
        """All of its standard input; the leash sees to it that only all of it counts."""
        assert self.channel is not None
        with suppress(OSError):  # it has ended already
            self.channel.write(data + leash.END_OF_INPUT)

    async def end(self, kill: Callable[[], Awaitable[None]]) -> bool:
        """Make it end, and wait; False when the other side does not say that it has.

        `kill` is another way to end it, for when this channel is clogged.
        """
        channel = self.channel
        if channel is None:
            return True
        with suppress(OSError):
            channel.write(leash.STOP)
        if not await self._ends_within(_STOP_GRACE):
            with suppress(OSError):
                channel.write_eof()
            if not await self._ends_within(_END_GRACE):
                await kill()
                if not await self._ends_within(_STOP_GRACE):
                    channel.abort()
        return self.status is not None

    async def _ends_within(self, grace: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.ended.wait()
        return self.ended.is_set()


class Stream(Command):
    """A command that goes on running, as a `Process`."""

    def __init__(
        self, on_end: Callable[[], None], kill: Callable[[], Awaitable[None]], cut: Callable[[], HostError]
    ) -> None:
        super().__init__()
        self._on_end = on_end
        self._kill = kill
        self._cut = cut
        self._lines: deque[bytes] = deque()
        self._rest = b""  # of a line that has not ended
        self._kept = 0  # bytes in _lines
        self._stopping = False
        self._paused = False
        self._news = asyncio.Event()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if datatype is not None:
            return  # standard error goes nowhere, as in every transport
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._lines.extend(line + b"\n" for line in whole)
        self._kept += sum(len(line) + 1 for line in whole)
        if whole:
            self._news.set()
        if self._kept > _HIGH_WATER and not self._stopping and self.channel is not None:
            self._paused = True
            self.channel.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._rest:
            self._lines.append(self._rest)
            self._rest = b""
        self._news.set()
        self._on_end()

    async def lines(self) -> AsyncIterator[bytes]:
        """Its standard output, a line at a time; HostError when the connection was cut, not a silent end."""
        while True:
            if self._lines:
                line = self._lines.popleft()
                self._kept = max(0, self._kept - len(line))
                yield line
            elif self.ended.is_set():
                if self.status is None and not self._stopping:
                    raise self._cut()
                return
            else:
                self._news.clear()
                self._resume()
                await self._news.wait()

    async def stop(self) -> None:
        """End it with SIGTERM, after two seconds with SIGKILL; what it wrote can still be read."""
        if not self._stopping:
            self._stopping = True
            self._resume()
            if not self.ended.is_set():
                await self.end(self._kill)
        await self.ended.wait()

    def _resume(self) -> None:
        if self._paused and self.channel is not None:
            self._paused = False
            self.channel.resume_reading()
