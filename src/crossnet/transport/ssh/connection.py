"""One connection to a host, over its jump hosts, with its keys checked and its login shell tried."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import asyncssh

from crossnet.errors import HostError, shown
from crossnet.transport import LIMIT, leash
from crossnet.transport.argv import check as check_argv
from crossnet.transport.output import Flood, Output, Running, TooLate
from crossnet.transport.ssh import failures, proxy, settings, shell
from crossnet.transport.ssh.command import Command
from crossnet.transport.ssh.destination import Destination, parse_jump
from crossnet.transport.ssh.hostkeys import Witness, rsa_bits
from crossnet.transport.ssh.places import Place, Places
from crossnet.transport.ssh.proxy import Proxy
from crossnet.transport.ssh.settings import LOGIN_TIMEOUT, Settings
from crossnet.values import Address

_KILL_GRACE = 3.0  # seconds
_ANEW_GRACE = 10.0  # with a login of its own
_FEW = 2**16  # bytes of an answer that is a line

_MOST_JUMPS = 8
_CLOSE_GRACE = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class _Hop:
    settings: Settings
    witness: Witness
    connection: asyncssh.SSHClientConnection
    proxy: Proxy | None


class Connection:
    """A connection that stands; commands share it, each in a session of its own."""

    def __init__(self, host: str, hops: Sequence[_Hop], *, become: bool) -> None:
        self._host = host
        self._hops = tuple(hops)  # the jump hosts first
        self._become = become
        self._places = Places()
        self.controller: Address | None = None  # where the host sees the connection come from, once asked
        self.reached_at: Address | None = None  # and its own address there

    @property
    def is_lost(self) -> bool:
        return any(hop.witness.is_lost for hop in self._hops)

    @property
    def sessions(self) -> int:
        """How many the host permits on it, as far as that is known."""
        return self._places.most

    @property
    def settings(self) -> Settings:
        return self._hops[-1].settings

    @property
    def way(self) -> tuple[Settings, ...]:
        """Over what it goes: the jump hosts first."""
        return tuple(hop.settings for hop in self._hops)

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes,
        timeout: float,
        limit: int = LIMIT,
        become: bool | None = None,
        first: str = "",
    ) -> tuple[int, bytes, bytes]:
        """Exit status, standard output and error; AllTaken where streams have all its sessions.

        `first` is what the login shell does before, in its environment.
        """
        become = self._become if become is None else become
        mark = leash.mark()
        text = first + self._line(argv, mark, len(stdin), become)
        command = Command(output := Output(limit))
        place = Place(self._places)
        try:
            async with asyncio.timeout(timeout) as clock:
                await place.enter()
                await self._start(argv, text, command, place)
                if stdin:
                    command.feed(stdin)
                is_whole = await output.is_whole(clock)
            if not is_whole:
                tried = f"ran `{shown(argv)}` as {self.settings} with SSH"
                raise Flood(self._host, tried, limit, output.all())
        except TimeoutError:
            if not place.is_held:
                raise failures.no_session_free(
                    self._host, self.settings, shown(argv), self._places.most
                ) from None
            over = await command.end(lambda: self._kill(mark, become))
            way = f" as {self.settings} with SSH"
            raise TooLate(self._host, argv, output, timeout, over=over, way=way) from None
        except BaseException:
            await command.end(lambda: self._kill(mark, become))
            raise
        finally:
            place.leave()  # when its command has ended: until then sshd counts its session
        if output.status is None:
            raise self._cut(argv)
        return output.status, output.all(), output.errors

    async def stream(self, argv: Sequence[str]) -> Running:
        """Start a command that goes on running; AllTaken where others like it have all its sessions."""
        mark = leash.mark()
        text = self._line(argv, mark, 0, self._become)
        place = Place(self._places, stream=True)
        stream = Command(Output(), place.leave)

        async def end() -> bool:
            return await stream.end(lambda: self._kill(mark, self._become))

        try:
            async with asyncio.timeout(LOGIN_TIMEOUT):
                await place.enter()
        except TimeoutError:
            raise failures.no_session_free(
                self._host, self.settings, shown(argv), self._places.most
            ) from None
        try:
            async with asyncio.timeout(LOGIN_TIMEOUT):
                await self._start(argv, text, stream, place)
        except BaseException as error:
            await end()
            if stream.channel is None:
                place.leave()
            if isinstance(error, TimeoutError):
                raise failures.not_started(self._host, self.settings, shown(argv), error) from None
            raise
        return Running(stream.output, end, lambda: self._cut(argv))

    async def _kill(self, mark: str, become: bool) -> None:
        """End a command whose own channel does not get through, from another session, or another connection."""
        text = leash.command_line(leash.hunt(mark), mark=leash.mark(), stdin=0, become=become)
        with suppress(TimeoutError, *failures.RAISED):
            async with asyncio.timeout(_KILL_GRACE):
                await _run_to_its_end(self._hops[-1], text)
                return
        # Where the host permits no further session (MaxSessions).
        hops: list[_Hop] = []
        with suppress(HostError, TimeoutError, *failures.RAISED):
            async with asyncio.timeout(_ANEW_GRACE):
                await _reach(self._host, self.settings.destination, hops)
                await _run_to_its_end(hops[-1], text)
        await _abort(hops)

    async def close(self) -> None:
        for hop in reversed(self._hops):
            hop.connection.close()
            try:
                async with asyncio.timeout(_CLOSE_GRACE):
                    await hop.connection.wait_closed()
            except TimeoutError:
                hop.connection.abort()
            if hop.proxy is not None:
                await hop.proxy.close()

    def _line(self, argv: Sequence[str], mark: str, stdin: int, become: bool) -> str:
        check_argv(self._host, argv)
        text = leash.command_line(argv, mark=mark, stdin=stdin, become=become)
        if len(text.encode()) > leash.LONGEST:
            raise HostError(
                self._host,
                f"would run `{shown(argv)}` as {self.settings} with SSH",
                f"the command has {len(text.encode())} bytes, and Linux takes {leash.LONGEST} (execve(2))",
                "Use fewer or shorter entries; please report it.",
            )
        return text

    async def _start(self, argv: Sequence[str], text: str, command: Command, place: Place) -> None:
        """Open a session with a command in it; the caller bounds the time and has entered the place."""
        while True:
            try:
                await _open(self._hops[-1], text, command)
            except TimeoutError:
                raise
            except Exception as error:  # whatever asyncssh lets out
                if self.is_lost:
                    raise self._cut(argv) from None
                # Nothing was started, so to ask again is no repetition.
                if command.channel is None and await place.again():
                    continue
                raise failures.not_started(self._host, self.settings, shown(argv), error) from None
            return

    def _cut(self, argv: Sequence[str]) -> HostError:
        *jumps, last = self._hops
        lost = next((hop for hop in jumps if hop.witness.is_lost), last)
        jump = None if lost is last else lost.settings
        return failures.cut(self._host, self.settings, lost.witness, shown(argv), jump)


async def connect(
    host: str, destination: Destination, *, become: bool, tried: bool = False, way: Sequence[Settings] = ()
) -> Connection:
    """A connection, on a `way` that is known; HostError says why there is none.

    Unless it was `tried` before, the shell there is.
    """
    hops: list[_Hop] = []
    async with AsyncExitStack() as undo:
        undo.push_async_callback(_abort, hops)
        for found in way:
            hops.append(await _log_in(host, found, hops[-1] if hops else None, jump=found is not way[-1]))
        if not way:
            await _reach(host, destination, hops)
        connection = Connection(host, hops, become=become)
        if not tried:
            await _try_out(host, connection, become)
        undo.pop_all()
    return connection


async def _open(hop: _Hop, text: str, command: Command) -> None:
    await hop.connection.create_session(
        lambda: command, text, encoding=None, request_pty=False, env=None, send_env=None
    )


async def _run_to_its_end(hop: _Hop, text: str) -> None:
    command = Command(Output(_FEW))
    await _open(hop, text, command)
    await command.output.is_whole()


async def _abort(hops: Sequence[_Hop]) -> None:
    for hop in reversed(hops):
        hop.connection.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_GRACE):
                await hop.connection.wait_closed()
        if hop.proxy is not None:
            await hop.proxy.close()


async def _reach(
    host: str, destination: Destination, hops: list[_Hop], *, jumps: str | None = None, depth: int = 0
) -> None:
    """Append the hops to a destination; `jumps` None: those that its own settings name.

    As in ssh(1), the last jump host is reached through those before it (`ssh -J`), and only the first one's own
    ProxyJump counts.
    """
    try:
        found = await settings.read(destination, jumps)
        before, _, last = found.jumps.rpartition(",")
        jump = parse_jump(last) if last else None
        if jump is not None and depth >= _MOST_JUMPS:
            raise ValueError("ProxyJump leads in circles")
    except failures.RAISED as error:
        raise failures.unreadable_settings(host, destination, error, jump=depth > 0) from None
    if jump is not None:
        await _reach(host, jump, hops, jumps=before or None, depth=depth + 1)
    hops.append(await _log_in(host, found, hops[-1] if hops else None, jump=depth > 0))


async def _log_in(host: str, found: Settings, before: _Hop | None, *, jump: bool) -> _Hop:
    witness = Witness()
    there: Proxy | None = None
    try:
        async with asyncio.timeout(found.connect_timeout) as limit:
            loop = asyncio.get_running_loop()
            witness.when_connected = lambda: limit.reschedule(loop.time() + LOGIN_TIMEOUT)
            if found.proxy and before is None:
                there = await proxy.start(found.proxy)
            connection = await asyncssh.connect(
                tunnel=before.connection if before is not None else None,
                sock=there.socket if there is not None else None,
                client_factory=lambda: witness,
                **found.keywords,
            )
    except BaseException as error:
        complaint = ""
        if there is not None:
            complaint = await there.complaint() if isinstance(error, Exception) else ""
            await there.close()
        if not isinstance(error, Exception):
            raise
        way = failures.Way(jump, before.settings if before is not None else None, complaint)
        if before is not None and before.witness.is_lost:
            raise failures.cut_before_login(host, found, way, before.settings, before.witness) from None
        raise await failures.not_connected(host, found, witness, way, error) from None
    hop = _Hop(found, witness, connection, there)
    key = connection.get_server_host_key()
    if key is not None and 0 < rsa_bits(key.public_data) < found.least_rsa_bits:
        await _abort([hop])
        way = failures.Way(jump, before.settings if before is not None else None)
        raise failures.short_host_key(host, found, way, rsa_bits(key.public_data))
    return hop


async def _try_out(host: str, connection: Connection, become: bool) -> None:
    """Send words that only a POSIX shell passes on unchanged, also through sudo; in one round trip.

    With them the client's and the server's address come as the server has them in SSH_CONNECTION (ssh(1)), which the
    clean environment of all commands lacks.
    """
    words = shell.WORDS + secrets.token_hex(8)
    ways = (False, True) if become else (False,)

    async def answer(way: bool) -> shell.Answer:
        argv, first = ["printf", "%s", words], "" if way else shell.ENDS
        try:
            return shell.Answer(
                *await connection.run(
                    argv, stdin=b"", timeout=LOGIN_TIMEOUT, limit=_FEW, become=way, first=first
                )
            )
        except Flood as flood:
            return shell.Answer(None, flood.printed, b"")

    tasks = [asyncio.create_task(answer(way)) for way in ways]
    try:
        plain, *through_sudo = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    plain, connection.controller, connection.reached_at = shell.without_ends(plain)
    shell.check(host, str(connection.settings), connection.settings.user, words, [plain, *through_sudo])
