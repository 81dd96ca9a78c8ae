"""A host inside a named network namespace of another host (`ip netns`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from crossnet.errors import HostError
from crossnet.transport import LIMIT, TIMEOUT, Completed, Process, ShellHost

ROOT = PurePosixPath("/var/lib/crossnet/netns")


class Netns(ShellHost):
    """A namespace has its own network but not its own files, so its files live below a root of its own.

    Without that, writing `/etc/sysctl.d/…` "in" a namespace would write the machine's own file.
    """

    def __init__(self, inner: ShellHost, namespace: str) -> None:
        self._inner = inner
        self._prefix = ("ip", "netns", "exec", namespace)
        self._root = ROOT / namespace

    @property
    def name(self) -> str:
        return self._inner.name

    def locate(self, path: PurePosixPath) -> PurePosixPath:
        return self._inner.locate(self._root / path.relative_to("/"))

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed:
        answer = await self._inner.run([*self._prefix, *argv], stdin=stdin, timeout=timeout, limit=limit)
        # ip-netns(8) answers so before it starts the command, with the exit code that a command can have too.
        if not answer.ok and b"Cannot open network namespace" in answer.stderr:
            raise HostError(
                self.name,
                f"tried to enter the network namespace {self._prefix[-1]}",
                answer.error_text.strip(),
                "`ip netns list` shows those that exist.",
                is_silent=True,
            )
        return answer

    async def start(self, argv: Sequence[str]) -> Process:
        return await self._inner.start([*self._prefix, *argv])
