"""Starts what is asked for over a lab host's socket, and reaps.

How requests and answers look is said in crossnet.transport.lab.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import time
from contextlib import suppress
from typing import NoReturn

from crossnet.transport.lab import FILES, LENGTH, STATUS, Request

_GRACE = 2.0  # seconds between SIGTERM and SIGKILL for a command whose client went away
_LIMIT = 16 << 20  # bytes of one request; execve(2) takes 6 MB at most


class _Call:
    """One connection: first a request in the making, then a running command."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.body = b""
        self.files: list[int] = []
        self.child: subprocess.Popen[bytes] | None = None

    def receive(self) -> Request | None:
        """The request once it is complete; EOFError when the client went away before."""
        chunk, ancillary, _, _ = self.connection.recvmsg(
            65536, socket.CMSG_SPACE(FILES * 4), socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                whole = len(data) - len(data) % 4
                self.files += memoryview(data)[:whole].cast("i")
        self.body += chunk
        if not chunk or len(self.body) > _LIMIT:
            raise EOFError
        start = LENGTH.size
        if len(self.body) < start or len(self.body) < start + LENGTH.unpack(self.body[:start])[0]:
            return None
        if len(self.files) != FILES:
            raise EOFError
        return Request.decode(self.body[start:])

    def close_files(self) -> None:
        for file in self.files:
            os.close(file)
        self.files = []


class Server:
    """Serves a host's socket until killed."""

    def __init__(self, listener: socket.socket) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._running: dict[int, _Call] = {}
        self._doomed: dict[int, float] = {}  # process group → when it gets SIGKILL

    def serve(self) -> NoReturn:
        heard, wake = socket.socketpair()
        for end in (heard, wake, self._listener):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._selector.register(heard, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._reap()  # what ended during boot
        while True:
            timeout = max(0.0, min(self._doomed.values()) - time.monotonic()) if self._doomed else None
            for key, _ in self._selector.select(timeout):
                if key.fileobj is heard:
                    with suppress(BlockingIOError):
                        heard.recv(4096)
                    self._reap()
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    self._hear(key.data)
            self._execute_doomed()

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ, _Call(connection))

    def _hear(self, call: _Call) -> None:
        if call.connection.fileno() == -1:
            return  # answered a moment ago: its command ended just when the client said something
        try:
            if call.child is None:
                request = call.receive()
                if request is not None:
                    self._start(call, request)
            else:
                numbers = call.connection.recv(64)
                if not numbers:
                    raise EOFError
                for number in numbers:
                    _signal_group(call.child.pid, number)
        except BlockingIOError:
            pass
        except (EOFError, OSError, ValueError, KeyError):
            self._abandon(call)

    def _start(self, call: _Call, request: Request) -> None:
        stdin, stdout, stderr = call.files
        try:
            # A session of its own, as sshd gives one: the command's group can be ended as a whole, and
            # what calls setsid(2) again has left it.
            call.child = subprocess.Popen(
                request.argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=request.env,
                cwd=request.cwd,
                start_new_session=True,
            )
            self._running[call.child.pid] = call
        except OSError as error:
            # The numbers of a shell: 127 not found, 126 found and not executable.
            missing = isinstance(error, FileNotFoundError)
            what = "not found" if missing else error.strerror
            with suppress(OSError):
                os.write(stderr, f"{error.filename or request.argv[0]}: {what}\n".encode())
            self._answer(call, 127 if missing else 126)
        finally:
            call.close_files()

    def _answer(self, call: _Call, status: int) -> None:
        with suppress(OSError):
            call.connection.send(STATUS.pack(status))
        self._forget(call)

    def _abandon(self, call: _Call) -> None:
        if call.child is not None:
            _signal_group(call.child.pid, signal.SIGTERM)
            _signal_group(call.child.pid, signal.SIGCONT)  # a stopped process would not see the SIGTERM
            self._doomed[call.child.pid] = time.monotonic() + _GRACE
        self._forget(call)

    def _forget(self, call: _Call) -> None:
        self._selector.unregister(call.connection)
        call.connection.close()
        call.close_files()

    def _reap(self) -> None:
        """Collect whatever ended: commands, and orphans that process 1 inherits."""
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            call = self._running.pop(pid, None)
            if call is None or call.child is None:
                continue
            code = os.waitstatus_to_exitcode(wait_status)
            call.child.returncode = code  # else Popen would wait for it again
            if call.connection.fileno() != -1:
                self._answer(call, code if code >= 0 else 128 - code)

    def _execute_doomed(self) -> None:
        now = time.monotonic()
        for group in [group for group, when in self._doomed.items() if when <= now]:
            del self._doomed[group]
            _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, OSError):
        os.killpg(group, number)
