"""What the lab makes once and keeps in this user's cache: `$XDG_CACHE_HOME/crossnet`, else below `~/.cache`."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from crossnet.transport import PATH

_SAID = 8  # lines of a log that an error shows


def folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossnet"


@asynccontextmanager
async def alone(path: Path) -> AsyncIterator[int]:
    """Hold the lock at that path, an open file; whoever comes second waits, and finds what it wanted made."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.2)
        yield lock
    finally:
        os.close(lock)


async def run(argv: Sequence[str], log: Path, *, lock: int) -> int:
    """The status of a program that makes something; all it says goes to the log.

    It holds the lock too: should this process be killed, nobody else begins while it still writes.
    """
    with log.open("wb") as output:
        child = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PATH": PATH, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            pass_fds=(lock,),
            start_new_session=True,
            cwd="/",
        )
    try:
        return await child.wait()
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()


def last_lines(log: Path) -> str:
    """How a log ends, as the lines of an error."""
    return "\n    ".join(log.read_text(errors="replace").strip().splitlines()[-_SAID:])
