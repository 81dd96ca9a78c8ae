"""This machine through each shell that may be a host's `sh`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from crossnet.transport import LIMIT, TIMEOUT, Completed, Process, ShellHost
from crossnet.transport.child import run_here, start_here
from lacking import lacking

SHELLS = (("dash",), ("bash", "--posix"), ("busybox", "sh"))


class Through(ShellHost):
    """This machine, with `sh` as one of these shells."""

    name = "here"

    def __init__(self, shell: Sequence[str]) -> None:
        self._shell = shell

    def _argv(self, argv: Sequence[str]) -> list[str]:
        return [*self._shell, *argv[1:]] if argv[0] == "sh" else list(argv)

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed:
        return await run_here(self.name, self._argv(argv), stdin=stdin, timeout=timeout, limit=limit)

    async def start(self, argv: Sequence[str]) -> Process:
        return await start_here(self._argv(argv))


def through(shell: Sequence[str]) -> Through:
    if shutil.which(shell[0]) is None:
        lacking(f"{shell[0]} is not installed")
    return Through(shell)
