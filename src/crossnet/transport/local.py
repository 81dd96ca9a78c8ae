"""The machine that crossnet runs on."""

from __future__ import annotations

from collections.abc import Sequence

from crossnet.transport import LIMIT, TIMEOUT, Completed, Process, ShellHost
from crossnet.transport.argv import check as check_argv
from crossnet.transport.child import run_here, start_here


class Local(ShellHost):
    """This machine; with `become` each command runs through `sudo -n`."""

    def __init__(self, name: str, *, become: bool = False) -> None:
        self._name = name
        self._become = become

    @property
    def name(self) -> str:
        return self._name

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed:
        check_argv(self._name, argv)
        return await run_here(
            self._name, argv, stdin=stdin, timeout=timeout, limit=limit, become=self._become
        )

    async def start(self, argv: Sequence[str]) -> Process:
        check_argv(self._name, argv)
        return await start_here(argv, become=self._become)
