"""A host that `ssh` reaches: one connection, opened when it is first needed, shared by all commands and streams.

Another one is opened only where streams have all the sessions that the host permits on the first (MaxSessions).

It goes where `ssh` would go (~/.ssh/config, the agent, jump hosts) and trusts whom `ssh` would trust: the
host's key is checked against known_hosts, always. Who `ssh` would ask about is refused with the fingerprint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from crossnet.errors import HostError, shown
from crossnet.transport import LIMIT, TIMEOUT, Completed, Process, ShellHost
from crossnet.transport.ssh.connection import Connection, connect
from crossnet.transport.ssh.destination import parse
from crossnet.transport.ssh.failures import no_session_free
from crossnet.transport.ssh.places import AllTaken
from crossnet.transport.ssh.settings import Settings
from crossnet.values import Address

T = TypeVar("T")

_MOST = 4  # connections, where each permits one session


class Ssh(ShellHost):
    """A host over SSH; with `become` each command runs through `sudo -n`. Belongs to one event loop."""

    def __init__(self, name: str, destination: str, *, become: bool = False) -> None:
        self._name = name
        self._become = become
        try:
            self._destination = parse(destination)
        except ValueError as error:
            raise HostError(
                name,
                "would connect with SSH",
                str(error),
                "`ssh:` takes what `ssh` takes: an alias, user@host or ssh://user@host:port.",
            ) from None
        self._openings: list[asyncio.Task[Connection]] = []
        self._tried = False  # whether the shell there is known to be one
        self._way: tuple[Settings, ...] = ()  # on which the last login went well
        self._controller: Address | None = None
        self._reached_at: Address | None = None

    @property
    def name(self) -> str:
        return self._name

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed:
        status, stdout, stderr = await self._on_one(
            lambda connection: connection.run(argv, stdin=stdin, timeout=timeout, limit=limit), argv
        )
        return Completed(self._name, tuple(argv), status, stdout, stderr)

    async def start(self, argv: Sequence[str]) -> Process:
        return await self._on_one(lambda connection: connection.stream(argv), argv)

    async def controller(self) -> Address | None:
        await self._connected()
        return self._controller

    async def reached_at(self) -> Address | None:
        await self._connected()
        return self._reached_at

    async def close(self) -> None:
        """End the connection; the next command opens a new one."""
        openings, self._openings = self._openings, []
        for opening in openings:
            opening.cancel()  # nothing where it is done already
            await asyncio.wait([opening])
            await _close(opening)

    async def _on_one(self, work: Callable[[Connection], Coroutine[Any, Any, T]], argv: Sequence[str]) -> T:
        """Work on the first connection that has room for it."""
        for number in range(_MOST):
            connection = await self._connected(number)
            with suppress(AllTaken):
                return await work(connection)
        raise no_session_free(self._name, connection.settings, shown(argv), connection.sessions)

    async def _connected(self, number: int = 0) -> Connection:
        """The connection that stands, or a new one; whoever asks meanwhile waits for the same one."""
        lost = self._openings[number] if number < len(self._openings) else None
        if lost is None or _is_over(lost):
            self._openings[number : number + 1] = [asyncio.create_task(self._open(lost))]
        # One of those who wait may be cancelled; the others still want it.
        return await asyncio.shield(self._openings[number])

    async def _open(self, lost: asyncio.Task[Connection] | None) -> Connection:
        if lost is not None:
            await _close(lost)  # of a way over jump hosts a part may still stand
        # What the user's files say is read once; after a login that failed it is read anew.
        way, self._way = self._way, ()
        connection = await connect(
            self._name, self._destination, become=self._become, tried=self._tried, way=way
        )
        self._way = connection.way
        if not self._tried:
            self._tried = True
            self._controller, self._reached_at = connection.controller, connection.reached_at
        return connection


def _is_over(opening: asyncio.Task[Connection]) -> bool:
    """Whether it failed, or was lost later: then the next command tries once more."""
    if not opening.done():
        return False
    return opening.cancelled() or opening.exception() is not None or opening.result().is_lost


async def _close(opened: asyncio.Task[Connection]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        await opened.result().close()
