"""A command as a child of this process, in a clean environment and a session of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from crossnet.errors import shown
from crossnet.transport import ENVIRONMENT, LIMIT, Completed, Process
from crossnet.transport import leash as leashes
from crossnet.transport.output import Flood, Output, Running, TooLate

_GRACE = 2.0  # seconds


class _Child(asyncio.SubprocessProtocol):
    """A child, and how it is ended with everything it started; on a leash where it is root's."""

    def __init__(self, output: Output, mark: str) -> None:
        self._output = output
        self._mark = mark
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport
        pipe = transport.get_pipe_transport(1)
        assert isinstance(pipe, asyncio.ReadTransport)
        self._output.pause, self._output.resume = pipe.pause_reading, pipe.resume_reading

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        (self._output.take if fd == 1 else self._output.complain)(data)

    def process_exited(self) -> None:
        self._close()  # who watches beside it waits for that

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._transport is not None
        code = self._transport.get_returncode()
        assert code is not None
        self._transport.close()
        self._output.finish(code if code >= 0 else 128 - code)

    def feed(self, data: bytes) -> None:
        """All of its standard input."""
        if self._mark:
            self._write(data + leashes.END_OF_INPUT if data else b"")
        else:
            self._write(data)
            self._close()

    async def end(self) -> bool:
        """Whether it was seen to end; it is let go of when it was not."""
        ended = self._output.ended
        if ended.is_set():
            return True
        if self._mark:
            await leashes.end(
                ended, write=self._write, close=self._close, kill=self._kill, abort=self._let_go
            )
        else:
            self._signal(signal.SIGKILL)
            if not await leashes.within(ended, _GRACE):
                self._let_go()
        return self._output.status is not None

    async def stop(self) -> None:
        """The same, but it may first end by itself."""
        if not self._mark:
            self._signal(signal.SIGTERM)
            await leashes.within(self._output.ended, _GRACE)
        await self.end()

    def _signal(self, number: int) -> None:
        # With everything it started: a child of it that holds the pipe would keep us waiting.
        assert self._transport is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._transport.get_pid(), number)

    async def _kill(self) -> None:
        await run_here("", leashes.hunt(self._mark), stdin=b"", timeout=_GRACE, become=True)

    def _let_go(self) -> None:
        """Of something that has left its session and still holds a pipe, or that nothing could end."""
        assert self._transport is not None
        self._transport.close()
        self._output.finish(None)

    def _write(self, data: bytes) -> None:
        pipe = self._stdin()
        if pipe is not None and data:
            pipe.write(data)

    def _close(self) -> None:
        pipe = self._stdin()
        if pipe is not None:
            pipe.close()

    def _stdin(self) -> asyncio.WriteTransport | None:
        assert self._transport is not None
        pipe = self._transport.get_pipe_transport(0)
        assert pipe is None or isinstance(pipe, asyncio.WriteTransport)
        return pipe


async def _start(argv: Sequence[str], output: Output, size: int, *, become: bool) -> _Child:
    """OSError where there is no such command, or it is not to be run."""
    mark = leashes.mark() if become else ""
    words = leashes.words(argv, mark=mark, stdin=size, become=True) if become else argv
    _, child = await asyncio.get_running_loop().subprocess_exec(
        lambda: _Child(output, mark),
        *words,
        env=ENVIRONMENT,
        start_new_session=True,  # a Ctrl-C at the terminal must not cut a command in the middle
    )
    return child


async def run_here(
    name: str,
    argv: Sequence[str],
    *,
    stdin: bytes,
    timeout: float,
    limit: int = LIMIT,
    become: bool = False,
) -> Completed:
    """Run a command to its end; with `become` as root, through `sudo -n`."""
    output = Output(limit)
    try:
        child = await _start(argv, output, len(stdin), become=become)
    except OSError as error:
        # As a shell would say it: 127 not found, 126 found and not to be run.
        code, said = (127, "not found") if isinstance(error, FileNotFoundError) else (126, error.strerror)
        return Completed(name, tuple(argv), code, b"", f"{argv[0]}: {said}".encode())
    try:
        async with asyncio.timeout(timeout) as clock:
            child.feed(stdin)
            is_whole = await output.is_whole(clock)
    except TimeoutError:
        over = await child.end()
        raise TooLate(name, argv, output, timeout, over=over) from None
    except BaseException:
        await child.end()
        raise
    if not is_whole:
        await child.end()
        raise Flood(name, f"ran `{shown(argv)}`", limit, output.all())
    return Completed(name, tuple(argv), output.status or 0, output.all(), output.errors)


async def start_here(argv: Sequence[str], *, become: bool = False) -> Process:
    """Start a command that goes on running; OSError where it cannot be started."""
    output = Output()
    child = await _start(argv, output, 0, become=become)
    child.feed(b"")
    return Running(output, child.stop)
