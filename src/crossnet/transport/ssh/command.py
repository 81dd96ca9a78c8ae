"""A command in a channel of a connection (RFC 4254, 6): run to its end, or streamed."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncssh

from crossnet.transport import leash
from crossnet.transport.output import Output


class Command(asyncssh.SSHClientSession[bytes]):
    """What comes back from a command; a status of None with `ended` set: the connection was cut."""

    def __init__(self, output: Output, on_end: Callable[[], None] | None = None) -> None:
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.output = output
        self._on_end = on_end
        self._status: int | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self.channel = chan
        self.output.pause, self.output.resume = chan.pause_reading, chan.resume_reading

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        (self.output.take if datatype is None else self.output.complain)(data)

    def eof_received(self) -> bool:
        return True  # not to be answered: the end of its input would end the command

    def exit_status_received(self, status: int) -> None:
        self._status = status

    def exit_signal_received(self, sig: str, core_dumped: bool, msg: str, lang: str) -> None:
        number = getattr(
            signal, f"SIG{sig}", signal.SIGKILL
        )  # a name of its own has no number: RFC 4254, 6.10
        self._status = 128 + int(number)

    def connection_lost(self, exc: Exception | None) -> None:
        self.output.finish(self._status)
        if self._on_end is not None:
            self._on_end()

    def feed(self, data: bytes) -> None:
        """All of its standard input; the leash sees to it that only all of it counts."""
        assert self.channel is not None
        with suppress(OSError):  # it has ended already
            self.channel.write(data + leash.END_OF_INPUT)

    async def end(self, kill: Callable[[], Awaitable[None]]) -> bool:
        """Make it end, and wait; False when the other side does not say that it has.

        `kill` is another way to end it, for when this channel is clogged.
        """
        channel = self.channel
        if channel is None:
            return True
        self.output.stop_waiting()
        await leash.end(
            self.output.ended, write=channel.write, close=channel.write_eof, kill=kill, abort=channel.abort
        )
        return self.output.status is not None
