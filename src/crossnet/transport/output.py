"""What a command prints, on its way to whoever asked; never more of it is kept than was agreed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from crossnet.errors import HostError, shown

LIMIT = 64 * 2**20  # bytes of one answer, unless more is asked for

_HIGH_WATER = 2**20  # bytes of a stream kept for a slow reader before the command is made to wait
_TAIL = 4096  # bytes of a stream's standard error
_LONGEST = 2**20  # bytes of one line
_SLOWEST = 64 * 2**10  # bytes a second; an answer that comes faster is waited for, however long it is


class Unfinished(HostError):
    """A command that was ended before its end; `printed` is what came before."""

    def __init__(self, host: str, tried: str, seen: str, todo: str, printed: bytes) -> None:
        self.printed = printed
        super().__init__(host, tried, seen, todo)

    def seen_in(self, printed: bytes) -> str:
        """What was seen, where only this of all that was printed is the answer that is meant."""
        return self.seen


class Flood(Unfinished):
    """A command printed more than was agreed."""

    def __init__(self, host: str, tried: str, limit: int, printed: bytes) -> None:
        self._limit = limit
        super().__init__(
            host,
            tried,
            self.seen_in(printed),
            "Look at what it prints there: no answer should be that long.",
            printed,
        )

    def seen_in(self, printed: bytes) -> str:
        begins = printed[:60].decode(errors="replace").strip().splitlines()
        return (
            f"it printed more than {self._limit // 2**20} MiB, which begin with {begins[0] if begins else ''!r}, "
            "and was stopped"
        )


class TooLate(Unfinished):
    """A command did not end in time; `over` is whether it was seen to end, `way` how it was run."""

    def __init__(
        self,
        host: str,
        argv: Sequence[str],
        output: Output,
        timeout: float,
        *,
        over: bool = True,
        way: str = "",
    ) -> None:
        ended = "it was ended" if over else "it was asked to end, and nobody has seen it end"
        super().__init__(
            host,
            f"ran `{shown(argv)}`{way}",
            f"no answer within {round(output.allowed(timeout), 1):g} s; {ended}",
            "Look at the host's load and its locks.",
            output.all(),
        )


def _nothing() -> None:
    pass


class Output:
    """Standard output and error of one command, and its exit status.

    With a limit all of it is kept, up to so many bytes; without one it is a stream: what its reader is slow to
    take makes the command wait (`pause`, `resume`), and of standard error only the end is kept.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.status: int | None = None  # None with `ended` set: nobody knows
        self.ended = asyncio.Event()
        self.pause: Callable[[], None] = _nothing
        self.resume: Callable[[], None] = _nothing
        self.is_too_much = False
        self._limit = limit
        self._chunks = deque[bytes]()
        self._kept = 0
        self._errors = bytearray()
        self._is_paused = False
        self._is_stopping = False
        self._news = asyncio.Event()

    # ---- from the command ------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """A piece of standard output."""
        if self._has_room(len(data)):
            self._chunks.append(data)
            self._kept += len(data)
        if self._limit is None and self._kept > _HIGH_WATER and not self._is_stopping:
            self._is_paused = True
            self.pause()
        self._news.set()

    def complain(self, data: bytes) -> None:
        """A piece of standard error."""
        if self._limit is None:
            self._errors += data
            del self._errors[:-_TAIL]
        elif self._has_room(len(data)):
            self._errors += data
        self._news.set()

    def finish(self, status: int | None) -> None:
        """Nothing more will come."""
        if not self.ended.is_set():
            self.status = status
            self.ended.set()
            self._news.set()

    def _has_room(self, size: int) -> bool:
        # Of a stream that is being stopped nothing is waited for any more.
        if self._kept + len(self._errors) + size > (LIMIT if self._limit is None else self._limit):
            self.is_too_much = True
        return not self.is_too_much

    # ---- to whoever asked ------------------------------------------------------------------------

    @property
    def errors(self) -> bytes:
        return bytes(self._errors)

    def allowed(self, timeout: float) -> float:
        """The seconds that it may take in all: these, and more, the more of it has come."""
        return timeout + (self._kept + len(self._errors)) / _SLOWEST

    async def is_whole(self, clock: asyncio.Timeout | None = None) -> bool:
        """When it has ended: True; when it prints more than the limit: False.

        `clock` is the timeout around it, which is put off with whatever comes.
        """
        end = clock.when() if clock is not None else None
        while not self.is_too_much and not self.ended.is_set():
            self._news.clear()
            if clock is not None and end is not None:
                clock.reschedule(self.allowed(end))
            await self._news.wait()
        return not self.is_too_much

    def all(self) -> bytes:
        """What is kept of standard output, which is given away with it."""
        whole = b"".join(self._chunks)
        self._chunks.clear()
        return whole

    async def read(self) -> bytes:
        """The next piece of standard output, nothing at its end."""
        while not self._chunks:
            if self.ended.is_set():
                return b""
            self._news.clear()
            self._go_on()
            await self._news.wait()
        chunk = self._chunks.popleft()
        self._kept -= len(chunk)
        return chunk

    async def more(self) -> bool:
        """When it has printed more, also on standard error: True; when it has ended: False."""
        if not self.ended.is_set():
            self._news.clear()
            await self._news.wait()
        return not self.ended.is_set()

    def stop_waiting(self) -> None:
        """The command is to end: it need not wait for its reader any more."""
        self._is_stopping = True
        self._go_on()

    def _go_on(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self.resume()


class Running:
    """A command that goes on running, as a `Process`.

    `end` makes it end and returns when it has; `cut` is the error where nobody knows how it ended.
    """

    def __init__(
        self, output: Output, end: Callable[[], Awaitable[object]], cut: Callable[[], HostError] | None = None
    ) -> None:
        self._output = output
        self._end = end
        self._cut = cut
        self._is_stopping = False

    @property
    def status(self) -> int | None:
        return self._output.status

    @property
    def errors(self) -> bytes:
        return self._output.errors

    async def output(self) -> AsyncIterator[bytes]:
        while chunk := await self._output.read():
            yield chunk
        if self.status is None and not self._is_stopping and self._cut is not None:
            raise self._cut()

    async def said_more(self) -> bool:
        return await self._output.more()

    async def stop(self) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            self._output.stop_waiting()
            if not self._output.ended.is_set():
                await self._end()
        await self._output.ended.wait()


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines of a stream; one of more than 1 MiB comes in pieces."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(rest) > _LONGEST:
            yield rest
            rest = b""
    if rest:
        yield rest
