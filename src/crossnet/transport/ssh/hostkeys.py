"""The known_hosts files, and what a host showed instead of what they say.

The name counts: a machine whose address is known must not pass for another one that a forged answer of the name
service has put there. With CheckHostIP, which OpenSSH has off since 8.5, what is known for the address has to agree.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import asyncssh

from crossnet.transport.ssh import files as ssh_files

_Keys = list[asyncssh.SSHKey]

_KRL = b"SSHKRL"  # PROTOCOL.krl

# hostfile.c: only LF ends a line, and only blank and tab divide it. A form feed, which a stranger can have in the
# banner that ssh-keyscan writes into a comment, does neither.
_BLANKS = re.compile(r"[ \t]+")


class KnownHosts:
    """Finds a host's keys for asyncssh, and remembers them for the message when none of them was shown."""

    def __init__(
        self,
        files: Sequence[Path],
        *,
        alias: str | None,
        revoked: Path | None = None,
        also_address: bool = False,
        signed_with: Collection[str] = (),
    ) -> None:
        """`signed_with`: the algorithms with which an authority may sign; empty: any."""
        self.files = tuple(files)
        self._alias = alias
        self._also_address = also_address and alias is None
        self._signed_with = frozenset(signed_with)
        self._revoked_anywhere = _listed_keys(revoked) if revoked is not None else []
        self._list_of_revoked = revoked
        self._asked: tuple[str, int | None] | None = None
        self._address = ""  # that the host was found to have, where what is known for it counts
        self.entry = ""  # how the host is called in these files
        self.keys: _Keys = []
        self.authorities: _Keys = []
        self.revoked: _Keys = []

    def __call__(self, host: str, address: str, port: int | None) -> tuple[_Keys, _Keys, _Keys]:
        """What asyncssh calls before the key exchange."""
        self.look_up(host, port)
        keys = self.keys
        if self._also_address and address and address != host:
            self._address = address
            of_address, _, _ = self._found(address, port)
            keys = [key for key in keys if not of_address or key in of_address]
        return keys, self.authorities, self.revoked

    def look_up(self, host: str, port: int | None) -> None:
        """Trusted keys, trusted authorities and revoked keys of a host; `port` None: the usual one."""
        if self._alias is not None:
            host, port = self._alias, None  # sshconnect.c: get_hostfile_hostname_ipaddr
        if self._asked == (host, port):
            return
        self._asked = host, port
        self.entry = _entry(host, port)
        self.keys, authorities, revoked = self._found(host, port)
        self.authorities = [key for key in authorities if self._may_sign(key)]
        self.revoked = [*revoked, *self._revoked_anywhere]

    def revoking(self) -> tuple[str, ...]:
        """Where keys are revoked that the host may have shown, in words: each of the files that has one."""
        if self._asked is None:
            return ()
        entries = (file for file in self.files if self._found(*self._asked, [file])[2])
        found = [f"{file} (@revoked)" for file in entries]
        return (*found, *([f"{self._list_of_revoked} (RevokedHostKeys)"] if self._revoked_anywhere else ()))

    def keeping(self) -> tuple[tuple[Path, str], ...]:
        """Where the host's keys stand: each of the files that has one, and the host's name there."""
        return () if self._asked is None else self._places(*self._asked)

    def keeping_address(self) -> tuple[tuple[Path, str], ...]:
        """The same of its address, where that counts."""
        return self._places(self._address, self._asked[1]) if self._asked and self._address else ()

    def _places(self, host: str, port: int | None) -> tuple[tuple[Path, str], ...]:
        # Of a host that is known for this port what is known without one does not count.
        for name in dict.fromkeys((_entry(host, port), host.lower())):
            if places := tuple((file, name) for file in self.files if self._found(name, None, [file])[0]):
                return places
        return ()

    def _found(
        self, host: str, port: int | None, files: Sequence[Path] | None = None
    ) -> tuple[_Keys, _Keys, _Keys]:
        host = host.lower()
        entry = _entry(host, port)
        known = asyncssh.SSHKnownHosts()
        for line in _lines(self.files if files is None else files, {host, entry}):
            with suppress(ValueError):  # as ssh does: a line that is none says nothing
                known.load(line)
        found, plain = known.match(entry, "", None), known.match(host, "", None)
        # As ssh does: where nothing is known for this port, what is known without a port counts.
        trusted = found if found[0] or found[1] else plain
        return list(trusted[0]), list(trusted[1]), [*found[2], *plain[2]]

    def _may_sign(self, authority: asyncssh.SSHKey) -> bool:
        kinds = {kind.decode() for kind in authority.sig_algorithms}
        return not self._signed_with or not kinds.isdisjoint(self._signed_with)


def _lines(files: Iterable[Path], names: set[str]) -> Iterator[str]:
    for file in files:
        try:
            text = ssh_files.read(file).decode(errors="replace")
        except OSError:  # as ssh does: one that cannot be opened says nothing
            continue
        for line in text.split("\n"):
            line = line.lstrip(" \t").rstrip(" \t\r")
            hosts = _BLANKS.split(line, maxsplit=1)[0]
            # To read a key costs much more than to see that a line is about another host.
            if any(sign in hosts for sign in "*?!|@") or not names.isdisjoint(hosts.lower().split(",")):
                yield _as_ssh_reads_it(line)


def _as_ssh_reads_it(line: str) -> str:
    """Marker, hosts and key of a line of known_hosts: names in any case, a hash as it is; empty where it is none."""
    words = _BLANKS.split(line)
    hosts = 1 if words[0].startswith("@") else 0
    words = words[: hosts + 3]  # what follows is a comment
    if any(word.split() != [word] for word in words):
        return ""  # asyncssh would divide it where ssh does not
    if len(words) > hosts and not words[hosts].startswith("|"):
        words[hosts] = words[hosts].lower()
    return " ".join(words)


def _entry(host: str, port: int | None) -> str:
    return f"[{host.lower()}]:{port}" if port else host.lower()


def _listed_keys(file: Path) -> _Keys:
    """The keys of RevokedHostKeys; ValueError where it cannot be read, since ssh then refuses every key too."""
    try:
        content = ssh_files.read(file)
    except OSError as error:
        raise ValueError(f"RevokedHostKeys: {file} cannot be read: {error.strerror}") from None
    if content.startswith(_KRL):
        raise ValueError(
            f"RevokedHostKeys: {file} is a list in the form of ssh-keygen -k; name one of plain keys"
        )
    lines = (line.strip() for line in content.split(b"\n"))
    try:
        return [asyncssh.import_public_key(line) for line in lines if line and not line.startswith(b"#")]
    except ValueError as error:
        raise ValueError(f"RevokedHostKeys: {file} has a line that is no public key: {error}") from None


def rsa_bits(public_data: bytes) -> int:
    """The length of an RSA key from its public half (RFC 4253, 6.6), as RequiredRSASize has it; 0 for others."""
    fields = []
    while len(public_data) >= 4:
        size = int.from_bytes(public_data[:4])
        fields.append(public_data[4 : 4 + size])
        public_data = public_data[4 + size :]
    match fields:
        case [b"ssh-rsa", _, modulus]:
            return int.from_bytes(modulus).bit_length()
    return 0


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

    @property
    def has_answered(self) -> bool:
        """Whether an SSH server said its version; a connection over a ProxyCommand stands before that."""
        return self.connection is not None and bool(self.connection.get_extra_info("server_version"))

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
