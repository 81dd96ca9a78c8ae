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
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crossnet.errors import HostError, shown
from crossnet.transport import ENVIRONMENT, TIMEOUT, Completed, Process, ShellHost

LENGTH = struct.Struct("!I")
STATUS = struct.Struct("!i")
FILES = 3

_CHUNK = 65536
_HIGH_WATER = 1 << 20  # bytes of a stream kept for a slow reader before the command is made to wait
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

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT) -> Completed:
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        ours_err, theirs_err = os.pipe()
        theirs = (theirs_in, theirs_out, theirs_err)
        ours = [ours_in, ours_out, ours_err]
        try:
            try:
                connection = await self._ask(argv, theirs)
            finally:
                _close(theirs)
            with connection:
                try:
                    async with asyncio.timeout(timeout), asyncio.TaskGroup() as tasks:
                        tasks.create_task(_feed(ours_in, stdin))
                        ours.remove(ours_in)
                        stdout = tasks.create_task(_drain(ours_out))
                        stderr = tasks.create_task(_drain(ours_err))
                        status = tasks.create_task(_status(connection))
                except TimeoutError:
                    raise HostError(
                        self._name,
                        f"ran `{shown(argv)}`",
                        f"no answer within {timeout:g} s",
                        "Look at the host's load and its locks.",
                    ) from None
        finally:
            _close(ours)
        return Completed(
            self._name, tuple(argv), self._known(argv, status.result()), stdout.result(), stderr.result()
        )

    async def start(self, argv: Sequence[str]) -> Process:
        ours, theirs = os.pipe()
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            connection = await self._ask(argv, (nothing, theirs, nothing))
        except BaseException:
            os.close(ours)
            raise
        finally:
            _close((nothing, theirs))
        return LabProcess(connection, ours)

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
            f"connected to the lab host at {self.socket_path}",
            error.strerror or str(error),
            "It is not running: see `crossnet lab list`, start it with `crossnet lab up`.",
        )

    def _known(self, argv: Sequence[str], status: int | None) -> int:
        if status is None:
            raise HostError(
                self._name,
                f"ran `{' '.join(argv[:3])}`",
                "the lab host went down before the command ended",
                "See `crossnet lab list` for what is running, and ask again once it is up.",
            )
        return status


class LabProcess:
    """A command that goes on running on a lab host."""

    def __init__(self, connection: socket.socket, output: int) -> None:
        self._connection = connection
        self._output: int | None = output
        self._lines: deque[bytes] = deque()
        self._rest = b""  # of a line that has not ended
        self._kept = 0  # bytes in _lines
        self._stopping = False
        self._news = asyncio.Event()
        os.set_blocking(output, False)
        self._listen()

    async def lines(self) -> AsyncIterator[bytes]:
        while True:
            if self._lines:
                line = self._lines.popleft()
                self._kept -= len(line)
                yield line
            elif self._output is None:
                return
            else:
                self._news.clear()
                self._listen()
                await self._news.wait()

    async def stop(self) -> None:
        """End it with SIGTERM, after two seconds with SIGKILL; what it wrote can still be read."""
        if self._stopping:
            return
        self._stopping = True
        self._listen()
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(BrokenPipeError, ConnectionResetError):
                    self._connection.send(bytes([number]))
                with suppress(TimeoutError):
                    async with asyncio.timeout(_STOP_GRACE):
                        await _status(self._connection)
                        break
        finally:
            self._connection.close()
            while self._output is not None and self._take(self._output):
                pass
            self._end()

    def _listen(self) -> None:
        if self._output is not None:
            asyncio.get_running_loop().add_reader(self._output, self._take, self._output)

    def _take(self, output: int) -> bool:
        """Read what is there; whether there may be more."""
        try:
            chunk = os.read(output, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._end()
            return False
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        self._lines.extend(line + b"\n" for line in whole)
        self._kept += sum(len(line) + 1 for line in whole)
        if whole:
            self._news.set()
        if self._kept > _HIGH_WATER and not self._stopping:
            asyncio.get_running_loop().remove_reader(output)
        return True

    def _end(self) -> None:
        if self._output is None:
            return
        asyncio.get_running_loop().remove_reader(self._output)
        os.close(self._output)
        self._output = None
        if self._rest:
            self._lines.append(self._rest)
            self._kept += len(self._rest)
        self._news.set()


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


async def _feed(pipe: int, data: bytes) -> None:
    """Write all of it, unless the command stops reading, and close."""
    loop = asyncio.get_running_loop()
    left = memoryview(data)
    os.set_blocking(pipe, False)
    try:
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
    finally:
        os.close(pipe)


async def _drain(pipe: int) -> bytes:
    """Everything until its end; the caller closes it."""
    loop = asyncio.get_running_loop()
    kept = bytearray()
    ready = asyncio.Event()
    os.set_blocking(pipe, False)
    loop.add_reader(pipe, ready.set)
    try:
        while True:
            await ready.wait()
            ready.clear()
            try:
                chunk = os.read(pipe, _CHUNK)
            except BlockingIOError:
                continue  # the loop may say "readable" once more for what has been read already
            if not chunk:
                return bytes(kept)
            kept += chunk
    finally:
        loop.remove_reader(pipe)


def _close(files: Sequence[int]) -> None:
    for file in files:
        os.close(file)
