"""A host of the lab: its process 1 listens on a socket and starts what is asked for.

One request per connection. The client sends a length (four bytes, network order), then that many bytes
of JSON (`Request`), and with its first byte three open files that become the command's standard input,
output and error (SCM_RIGHTS, unix(7)). After that every byte that the client sends is the number of a
signal for the command, and closing the connection ends the command. The host answers once, with the
exit status as four bytes: 128 and the signal's number when a signal ended the command, as in sh(1).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crossnet.errors import HostError, shown
from crossnet.transport import ENVIRONMENT, LIMIT, TIMEOUT, Completed, Process, ShellHost
from crossnet.transport.argv import check as check_argv
from crossnet.transport.output import Flood, Output, Running, TooLate

LENGTH = struct.Struct("!I")
STATUS = struct.Struct("!i")
FILES = 3

_CHUNK = 65536
_STOP_GRACE = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class Request:
    """A command for a lab host; the environment is complete, nothing is added to it."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str = "/"

    def encode(self) -> bytes:
        body = json.dumps({"argv": self.argv, "env": dict(self.env), "cwd": self.cwd}).encode()
        return LENGTH.pack(len(body)) + body

    @classmethod
    def decode(cls, body: bytes) -> Request:
        """What `encode` made, without the length; ValueError for anything else."""
        data = json.loads(body)
        if not isinstance(data, dict) or not data.get("argv"):
            raise ValueError("a request is an object with argv, env and cwd")
        return cls(tuple(data["argv"]), dict(data["env"]), str(data["cwd"]))


class LabHost(ShellHost):
    """A host of a lab on this machine, reached through the socket of its process 1."""

    def __init__(self, name: str, socket_path: Path) -> None:
        self._name = name
        self.socket_path = socket_path

    @property
    def name(self) -> str:
        return self._name

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed:
        output = Output(limit)
        try:
            async with asyncio.timeout(timeout) as clock:
                command = await self._start(argv, output, stdin)
                try:
                    is_whole = await output.is_whole(clock)
                finally:
                    await command.close()
        except TimeoutError:
            raise TooLate(self._name, argv, output, timeout) from None
        if not is_whole:
            raise Flood(self._name, f"ran `{shown(argv)}`", limit, output.all())
        return Completed(
            self._name, tuple(argv), self._known(argv, output.status), output.all(), output.errors
        )

    async def start(self, argv: Sequence[str]) -> Process:
        output = Output()
        command = await self._start(argv, output, b"")
        return Running(output, command.stop)

    async def _start(self, argv: Sequence[str], output: Output, stdin: bytes) -> _Command:
        check_argv(self._name, argv)
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        ours_err, theirs_err = os.pipe()
        theirs = (theirs_in, theirs_out, theirs_err)
        try:
            connection = await self._ask(argv, theirs)
        except BaseException:
            _close((ours_in, ours_out, ours_err))
            raise
        finally:
            _close(theirs)
        return _Command(connection, output, (ours_in, ours_out, ours_err), stdin)

    async def _ask(self, argv: Sequence[str], files: Sequence[int]) -> socket.socket:
        loop = asyncio.get_running_loop()
        message = Request(tuple(argv), ENVIRONMENT).encode()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, str(self.socket_path))
            # A fresh connection takes at least one byte at once, and the files go with the first.
            sent = socket.send_fds(connection, [message], list(files))
            if sent < len(message):
                await loop.sock_sendall(connection, message[sent:])
        except OSError as error:
            connection.close()
            raise self._gone(error) from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _gone(self, error: OSError) -> HostError:
        return HostError(
            self._name,
            f"tried to connect to the lab host at {self.socket_path}",
            error.strerror or str(error),
            "It is not running: see `crossnet lab list`, start it with `crossnet lab up`.",
            is_silent=True,
        )

    def _known(self, argv: Sequence[str], status: int | None) -> int:
        if status is None:
            raise HostError(
                self._name,
                f"ran `{shown(argv)}`",
                "the lab host went down before the command ended",
                "See `crossnet lab list` for what is running, and ask again once it is up.",
            )
        return status


class _Command:
    """A command on a lab host, from the request to its status."""

    def __init__(
        self, connection: socket.socket, output: Output, pipes: tuple[int, int, int], stdin: bytes
    ) -> None:
        self._connection = connection
        self._output = output
        self._open = set(pipes)
        self._go_on = asyncio.Event()
        self._go_on.set()
        output.pause, output.resume = self._go_on.clear, self._go_on.set
        self._life = asyncio.create_task(self._live(pipes, stdin))

    async def _live(self, pipes: tuple[int, int, int], stdin: bytes) -> None:
        ours_in, ours_out, ours_err = pipes
        always = asyncio.Event()
        always.set()
        status = None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._feed(ours_in, stdin))
                tasks.create_task(_drain(ours_out, self._output.take, self._go_on))
                tasks.create_task(_drain(ours_err, self._output.complain, always))
                answer = tasks.create_task(_status(self._connection))
            status = answer.result()
        finally:
            self._shut(*self._open)
            self._connection.close()
            self._output.finish(status)

    async def _feed(self, pipe: int, data: bytes) -> None:
        await _write(pipe, data)
        self._shut(pipe)

    def _shut(self, *pipes: int) -> None:
        for pipe in pipes:
            self._open.discard(pipe)
            os.close(pipe)

    async def stop(self) -> None:
        """End it with SIGTERM, after two seconds with SIGKILL, after two more let go of it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(OSError):
                self._connection.send(bytes([number]))
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP_GRACE):
                    await self._output.ended.wait()
                    break
        await self.close()

    async def close(self) -> None:
        """Closing the connection ends the command, where it has not ended."""
        self._life.cancel()
        await asyncio.wait([self._life])  # nobody reads of it any more
        self._connection.close()
        self._shut(*self._open)  # of one that was cancelled before it began
        self._output.finish(None)


def attach(name: str, socket_path: Path, argv: Sequence[str]) -> int:
    """Run a command on a lab host with this process's own input, output and error; its exit status.

    For the main thread. Ctrl-C goes to the command, and this process waits on until the command has ended.
    """
    kept = {key: os.environ[key] for key in ("TERM", "HOME", "LANG") if key in os.environ}
    message = Request(tuple(argv), {**kept, **ENVIRONMENT}).encode()
    host = LabHost(name, socket_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:

        def forward(number: int, _frame: object) -> None:
            with suppress(OSError):  # the command has just ended
                connection.send(bytes([number]))

        # Before the request is out there is nobody to give a Ctrl-C to, so it has to wait.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        handler = signal.getsignal(signal.SIGINT)
        try:
            connection.connect(str(socket_path))
            sent = socket.send_fds(connection, [message], [0, 1, 2])
            if sent < len(message):
                connection.sendall(message[sent:])
            signal.signal(signal.SIGINT, forward)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            try:
                answer = connection.recv(STATUS.size, socket.MSG_WAITALL)
            except ConnectionResetError:
                answer = b""
        except OSError as error:
            raise host._gone(error) from None
        finally:
            signal.signal(signal.SIGINT, handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return host._known(argv, _decode_status(answer))


def _decode_status(answer: bytes) -> int | None:
    if len(answer) < STATUS.size:
        return None
    (status,) = STATUS.unpack(answer)
    return int(status)


async def _status(connection: socket.socket) -> int | None:
    """The exit status, None when the host went away without one."""
    loop = asyncio.get_running_loop()
    answer = b""
    while len(answer) < STATUS.size:
        try:
            part = await loop.sock_recv(connection, STATUS.size - len(answer))
        except ConnectionResetError:
            return None
        if not part:
            return None
        answer += part
    return _decode_status(answer)


async def _write(pipe: int, data: bytes) -> None:
    """Write all of it, unless the command stops reading."""
    loop = asyncio.get_running_loop()
    left = memoryview(data)
    os.set_blocking(pipe, False)
    while left:
        try:
            left = left[os.write(pipe, left) :]
        except BrokenPipeError:
            return
        except BlockingIOError:
            ready = asyncio.Event()
            loop.add_writer(pipe, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_writer(pipe)


async def _drain(pipe: int, take: Callable[[bytes], None], go_on: asyncio.Event) -> None:
    """Everything until its end, when it may go on."""
    loop = asyncio.get_running_loop()
    os.set_blocking(pipe, False)
    while True:
        await go_on.wait()
        ready = asyncio.Event()
        loop.add_reader(pipe, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(pipe)
        try:
            chunk = os.read(pipe, _CHUNK)
        except BlockingIOError:
            continue  # the loop may say "readable" for what has been read already
        if not chunk:
            return
        take(chunk)


def _close(files: Sequence[int]) -> None:
    for file in files:
        os.close(file)
