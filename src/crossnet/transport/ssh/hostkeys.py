"""The known_hosts files, and what a host showed instead of what they say.

Only the name counts, as with `CheckHostIP no`, the default of OpenSSH since 8.5: a machine whose address is
known must not pass for another one that a forged answer of the name service has put there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import asyncssh

_Keys = list[asyncssh.SSHKey]


class KnownHosts:
    """Finds a host's keys for asyncssh, and remembers them for the message when none of them was shown."""

    def __init__(self, files: Sequence[Path], *, alias: str | None) -> None:
        self.files = tuple(files)
        self._alias = alias
        self._asked: tuple[str, int | None] | None = None
        self.entry = ""  # how the host is called in these files
        self.keys: _Keys = []
        self.authorities: _Keys = []
        self.revoked: _Keys = []

    def __call__(self, host: str, address: str, port: int | None) -> tuple[_Keys, _Keys, _Keys]:
        """What asyncssh calls before the key exchange."""
        self.look_up(host, port)
        return self.keys, self.authorities, self.revoked

    def look_up(self, host: str, port: int | None) -> None:
        """Trusted keys, trusted authorities and revoked keys of a host; `port` None: the usual one."""
        if self._alias is not None:
            host, port = self._alias, None  # sshconnect.c: get_hostfile_hostname_ipaddr
        if self._asked == (host, port):
            return
        self._asked = host, port
        host = host.lower()
        self.entry = f"[{host}]:{port}" if port else host
        known = asyncssh.SSHKnownHosts()
        for line in self._lines({host, self.entry}):
            with suppress(ValueError):  # as ssh does: a line that is none says nothing
                known.load(line)
        found, plain = known.match(self.entry, "", None), known.match(host, "", None)
        # As ssh does: where nothing is known for this port, what is known without a port counts.
        trusted = found if found[0] or found[1] else plain
        self.keys, self.authorities = list(trusted[0]), list(trusted[1])
        self.revoked = [*found[2], *plain[2]]

    def _lines(self, names: set[str]) -> Iterator[str]:
        for file in self.files:
            try:
                text = file.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            for line in text.splitlines():
                hosts = (line.split(maxsplit=1) or [""])[0]
                # To read a key costs much more than to see that a line is about another host.
                if any(sign in hosts for sign in "*?!|@") or not names.isdisjoint(hosts.lower().split(",")):
                    yield line


class Witness(asyncssh.SSHClient):
    """Sees a connection come about: refuses every key that known_hosts does not say, and keeps what it saw."""

    def __init__(self) -> None:
        self.connection: asyncssh.SSHClientConnection | None = None
        self.key: asyncssh.SSHKey | None = None
        self.authority: asyncssh.SSHKey | None = None
        self.methods: tuple[str, ...] = ()
        self.offered_keys = False
        self.lost: Exception | None = None
        self.is_lost = False
        self.when_connected = _nothing

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.connection = conn
        self.when_connected()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc
        self.is_lost = True

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.key = key
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.authority = key
        return False

    def public_key_auth_requested(self) -> None:
        """Asked when all keys have been tried."""
        self.offered_keys = True
        self._note_methods()

    def password_auth_requested(self) -> None:
        self._note_methods()

    def kbdint_auth_requested(self) -> None:
        self._note_methods()

    def _note_methods(self) -> None:
        if self.connection is not None:
            now = tuple(self.connection.get_server_auth_methods())
            self.methods = max(self.methods, now, key=len)


def _nothing() -> None:
    pass
