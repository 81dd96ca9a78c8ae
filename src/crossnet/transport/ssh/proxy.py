"""A ProxyCommand: a program of the user's, in a shell as `ssh` runs it, whose input and output is the connection."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress

_GRACE = 1.0  # seconds for it to end when its connection has
_MOST = 4096  # bytes kept of what it says


class Proxy:
    """The running command; `socket` is where the connection goes in."""

    def __init__(self, process: asyncio.subprocess.Process, ours: socket.socket) -> None:
        self._process = process
        self.socket = ours
        self._said = bytearray()
        self._listening = asyncio.create_task(self._listen())

    async def complaint(self) -> str:
        """What it said on standard error, the last line; empty where it said nothing."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await asyncio.shield(self._listening)
        lines = self._said.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    async def close(self) -> None:
        """End it, and whatever it has started."""
        self.socket.close()
        for number in (signal.SIGHUP, signal.SIGKILL):  # ssh(1) sends SIGHUP
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(_GRACE):
                    await self._process.wait()
                    break
        self._listening.cancel()

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while part := await self._process.stderr.read(4096):
            self._said += part
            del self._said[:-_MOST]


async def start(command: str) -> Proxy:
    """In a session of its own: a Ctrl-C in the terminal must not cut the connection that the roll-back needs."""
    ours, theirs = socket.socketpair()
    try:
        ours.setblocking(False)
        process = await asyncio.create_subprocess_exec(
            os.environ.get("SHELL") or "/bin/sh",
            "-c",
            f"exec {command}",
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Proxy(process, ours)
