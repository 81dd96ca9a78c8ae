"""The machine that crossnet runs on."""

from __future__ import annotations

from collections.abc import Sequence

from crossnet.transport import TIMEOUT, Completed, Process, ShellHost, run_here, start_here


class Local(ShellHost):
    """This machine; with `become` each command runs through `sudo -n`."""

    def __init__(self, name: str, *, become: bool = False) -> None:
        self._name = name
        self._prefix = ("sudo", "-n", "--") if become else ()

    @property
    def name(self) -> str:
        return self._name

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT) -> Completed:
        return await run_here(self._name, [*self._prefix, *argv], stdin=stdin, timeout=timeout)

    async def start(self, argv: Sequence[str]) -> Process:
        return await start_here([*self._prefix, *argv])
