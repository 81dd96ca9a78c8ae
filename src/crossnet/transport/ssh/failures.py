"""The one door through which errors of SSH leave: each says what was tried, what was seen, what to do next."""

from __future__ import annotations

import errno
import os
import re
import shlex
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncssh

from crossnet.errors import HostError
from crossnet.localfile import NoTemporaryFolder
from crossnet.transport.ssh import files as ssh_files
from crossnet.transport.ssh.destination import Destination
from crossnet.transport.ssh.hostkeys import Witness
from crossnet.transport.ssh.settings import LOGIN_TIMEOUT, Refusal, Settings

# What asyncssh, the operating system and the reading of the user's files raise. KeyImportError and
# ConfigParseError are ValueErrors.
RAISED = (asyncssh.Error, OSError, ValueError, TimeoutError)

_NOT_HEARD = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ECONNREFUSED}
_ERRNO = re.compile(r"\[Errno (\d+)\]")  # of each address of a name, where asyncio makes one error of several

_LONGEST = 300  # characters of what somebody else says


@dataclass(frozen=True, slots=True)
class Way:
    """How a host was to be reached."""

    is_jump: bool = False  # for the sake of another host
    before: Settings | None = None  # the jump host before it
    complaint: str = ""  # of its ProxyCommand


async def not_connected(
    host: str, settings: Settings, witness: Witness, way: Way, error: Exception
) -> HostError:
    """Why there is no connection, whatever was raised."""
    tried = _tried(settings, way)
    by_hand = f"`ssh {settings.destination}`"

    def failed(seen: str, todo: str) -> HostError:
        return HostError(host, tried, seen, todo)

    def silent(seen: str, todo: str) -> HostError:
        return HostError(host, tried, seen, todo, is_silent=True)

    said = f", and says {harmless(way.complaint)!r}" if way.complaint else ""
    if settings.proxy and not witness.has_answered:
        fails_here = isinstance(error, OSError) and error.errno and not _is_not_heard(error)
        return (failed if fails_here else silent)(
            f"the ProxyCommand gives no connection ({_line(error)}){said}",
            f"Run it by hand: `ssh -G {settings.destination}` shows it, see ssh_config(5); and try {by_hand}.",
        )
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return failed(*_host_key(settings, witness, error))
        case asyncssh.KeyExchangeFailed() | asyncssh.ProtocolNotSupported():
            return failed(
                f"the two sides have no algorithm in common: {_line(error)}",
                "See HostKeyAlgorithms, KexAlgorithms, Ciphers and MACs in ssh_config(5).",
            )
        case asyncssh.PermissionDenied():
            return failed(*await _not_let_in(settings, witness))
        case asyncssh.ChannelOpenError() if (
            way.before is not None and error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
        ):
            return failed(
                f"{_jump_host(way.before)} permits no forwarding: {_line(error)}",
                "See AllowTcpForwarding, DisableForwarding and PermitOpen in its sshd_config(5), and what stands "
                "before your key in its authorized_keys.",
            )
        case asyncssh.ChannelOpenError() if way.before is not None:
            return silent(
                f"{_jump_host(way.before)} does not get through to {settings.host} port {settings.port}: "
                f"{_line(error)}",
                "Check from the jump host that it is reachable there, and AllowTcpForwarding in its sshd_config(5).",
            )
        case TimeoutError() if witness.connection is None and way.before is not None:
            return silent(
                f"no answer within {settings.connect_timeout:g} s through {_jump_host(way.before)}",
                f"Check from the jump host that the host is up and that no firewall drops TCP from there to port "
                f"{settings.port}; ConnectTimeout in ~/.ssh/config waits longer. By hand: {by_hand}.",
            )
        case TimeoutError() if witness.connection is None:
            return silent(
                f"no answer within {settings.connect_timeout:g} s",
                "Check that the host is up and that no firewall drops TCP to that port on the way; "
                f"ConnectTimeout in ~/.ssh/config waits longer. By hand: {by_hand}.",
            )
        case TimeoutError():
            return failed(
                f"the port answers, but the login did not end within {LOGIN_TIMEOUT:g} s",
                f"Look at the host's load, at its name service, and at {by_hand}.",
            )
        case socket.gaierror() if why := _fails_here():
            return failed(
                f"the name {settings.host} is not resolved: {why}", "Look at the limits of this machine."
            )
        case socket.gaierror():
            # What no name server answered, or this machine could not ask, says nothing about the host.
            no_such = error.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
            return (silent if no_such else failed)(
                f"the name {settings.host} is not resolved: {harmless(str(error.strerror))}",
                "Check its spelling, HostName in ~/.ssh/config, or write the address.",
            )
        case UnicodeDecodeError():  # a name of the host's is encoded, what the other side says is decoded
            return failed(
                "what answers there does not speak SSH: its first line is not ASCII",
                f"Check that sshd listens on that port, and {by_hand}.",
            )
        case UnicodeError():
            return failed(
                f"the name {harmless(settings.host)} cannot be resolved: {_line(error)}",
                "A part of a name has 63 characters at most: check HostName in ~/.ssh/config, or write the address.",
            )
        case ConnectionRefusedError():
            return silent(
                "connection refused",
                "Nothing listens there: check that sshd runs and on which port; write ssh://user@host:port "
                "or Port in ~/.ssh/config for another one.",
            )
        # auth.c of OpenSSH: the words of MaxAuthTries, with the code of a protocol error.
        case asyncssh.DisconnectError() if "too many authentication failures" in error.reason.lower():
            return failed(
                f"the host ended the login: {_line(error)}",
                "More keys were offered than MaxAuthTries in its sshd_config(5) permits: name the right one with "
                "IdentityFile and IdentitiesOnly in ~/.ssh/config.",
            )
        case asyncssh.DisconnectError():
            return failed(
                f"the other side ended the connection before the login: {_line(error)}{said}",
                "Check that SSH listens on that port, and MaxStartups and PerSourcePenalties in its sshd_config(5): "
                "after failed logins an address may have to wait.",
            )
        case OSError():
            # asyncio puts words of its own, with a tuple in them, in the place of the system's.
            said = os.strerror(error.errno) if error.errno and error.errno > 0 else _line(error)
            todo = f"Check the way to the host, and {by_hand}."
            return silent(said, todo) if _is_not_heard(error) else failed(said, todo)
        case ValueError():
            return failed(_line(error), f"Check ~/.ssh/config, and {by_hand}.")
        case _:
            return failed(
                f"SSH ended with {_line(error)}", f"Check {by_hand}; where that works, please report this."
            )


def _is_not_heard(error: OSError) -> bool:
    """Whether nothing was heard of the host; what fails here, such as a limit of open files, says nothing about it."""
    numbers = {error.errno} if error.errno else {int(number) for number in _ERRNO.findall(str(error))}
    return bool(numbers) and numbers <= _NOT_HEARD


def _fails_here() -> str:
    """Why this machine can open nothing more; the C library then says that there is no such name (glibc, measured)."""
    try:
        with open(os.devnull, "rb"):
            return ""
    except OSError as error:
        return os.strerror(error.errno or 0)


def _tried(settings: Settings, way: Way) -> str:
    to = _jump_host(settings) if way.is_jump else settings
    via = f" via {_jump_host(way.before)}" if way.before is not None else ""
    return f"tried to connect to {to} with SSH{via}"


def _jump_host(settings: Settings) -> str:
    """With the name that ProxyJump has for it, which the user knows it by."""
    name = settings.destination.host
    return f"the jump host {settings}" if name == settings.host else f"the jump host {name} ({settings})"


def unreadable_settings(
    host: str, destination: Destination, error: Exception, *, jump: bool = False
) -> HostError:
    """What stands in the user's files cannot be read, or cannot be honoured."""
    todo = "Check ~/.ssh/config and /etc/ssh/ssh_config (ssh_config(5))."
    if isinstance(error, Refusal):
        todo = error.todo
    elif isinstance(error, NoTemporaryFolder):
        todo = error.TODO
    elif isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        todo = "Raise the limit of open files here (`ulimit -n`), or ask fewer hosts at a time: `--host`."
    return HostError(
        host,
        f"read how to connect to {'the jump host ' if jump else ''}{destination}",
        _line(error),
        todo,
    )


def cut_before_login(host: str, settings: Settings, way: Way, jump: Settings, seen: Witness) -> HostError:
    """The connection to a jump host ended while a host behind it was logged in to."""
    return HostError(
        host,
        _tried(settings, way),
        f"the connection to {_jump_host(jump)} was cut ({_end(seen)})",
        "Look at the jump host, its load and the log of its sshd.",
    )


def short_host_key(host: str, settings: Settings, way: Way, bits: int) -> HostError:
    return HostError(
        host,
        _tried(settings, way),
        f"its RSA host key has {bits} bits, and RequiredRSASize asks for {settings.least_rsa_bits}",
        "Give the host another key (ssh-keygen -A, HostKey in sshd_config(5)).",
    )


def cut(
    host: str, settings: Settings, witness: Witness, what: str, jump: Settings | None = None
) -> HostError:
    """The connection ended while a command ran; nobody knows how far that came, so it is never repeated.

    `witness` saw that end: of the connection to the `jump` host, where there is one.
    """
    which = "the connection" if jump is None else f"the connection to {_jump_host(jump)}"
    return HostError(
        host,
        f"ran `{what}` as {settings} with SSH",
        f"{which} was cut ({_end(witness)}); whether the command did its work is not known",
        "The next command connects anew. Look at the host, then run `crossnet status`.",
    )


def no_session_free(host: str, settings: Settings, what: str, most: int) -> HostError:
    """All sessions of the connection are in use, so nothing was started."""
    return HostError(
        host,
        f"would run `{what}` as {settings} with SSH",
        f"all sessions that the host permits on a connection ({most}) are in use",
        "Stop a stream first; see MaxSessions in its sshd_config(5).",
    )


def not_started(host: str, settings: Settings, what: str, error: Exception) -> HostError:
    """The connection stands, and sshd opens no session on it."""
    return HostError(
        host,
        f"would run `{what}` as {settings} with SSH",
        f"sshd opens no session for it: {_line(error)}",
        "See MaxSessions (0 permits none), PermitTTY and ForceCommand in the host's sshd_config(5), and its log.",
    )


def _host_key(settings: Settings, witness: Witness, error: Exception) -> tuple[str, str]:
    known = settings.known_hosts
    if witness.key is not None and witness.key in known.keys:
        return (
            f"its host key is known, but another one is known for its address: {_shown(witness.key)} (CheckHostIP)",
            "Somebody may have changed the name service, or the address was another machine's before: "
            f"{_removing(known.keeping_address())} once you are sure.",
        )
    if witness.key is not None and known.keys:
        return (
            f"its host key has changed: it shows {_shown(witness.key)}, known_hosts has {_listed(known.keys)}",
            _how_to_accept(settings, changed=True),
        )
    if witness.key is not None and known.authorities:
        return (
            f"known_hosts names an authority for it (@cert-authority), but it shows a plain {_shown(witness.key)}",
            "Give the host a certificate (HostCertificate in sshd_config(5)), or put its key into known_hosts.",
        )
    if witness.key is not None:
        return (
            f"its host key is not known: {_shown(witness.key)}",
            _how_to_accept(settings, changed=False),
        )
    if witness.authority is not None:
        return (
            f"its host certificate is signed by an authority that is not known: {_shown(witness.authority)}",
            "If that fingerprint is your authority's, write it into ~/.ssh/known_hosts as "
            "`@cert-authority PATTERN KEY` (sshd(8)).",
        )
    # asyncssh does not tell the key that was shown, so each file is named that has one which could be it.
    if known.revoked and "revoked" in str(error):
        return (
            f"its host key is refused: {_line(error)}",
            f"It stands in {' or '.join(known.revoking())}. Give the host another key (ssh-keygen -A, HostKey in "
            "sshd_config(5)), or take it out there if it was not meant.",
        )
    return (
        f"its host key is refused: {_line(error)}",
        f"See the entries for {known.entry} in {', '.join(map(str, known.files)) or 'known_hosts'} "
        "(@revoked, @cert-authority) and sshd(8).",
    )


def _how_to_accept(settings: Settings, *, changed: bool) -> str:
    known = settings.known_hosts
    compare = (
        "Compare that fingerprint with the host's own, read on its console: "
        "`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` (each type has its file)."
    )
    options = "".join(f"-o {option} " for option in settings.to_ask)
    connect = f"connect once with `ssh {options}{settings.destination}`"
    if not settings.keeps_keys:
        connect = (
            "let your configuration keep it for this host, where the first name of UserKnownHostsFile is no file now, "
            f"then {connect}"
        )
    if not changed:
        return f"{compare} To accept it, {connect} and say yes to the same one."
    return (
        f"The host was reinstalled, or somebody is in between. {compare} If it is right: "
        f"{_removing(known.keeping())}, then {connect}."
    )


def _removing(places: Sequence[tuple[Path, str]]) -> str:
    """The commands; without a name `ssh-keygen -R` looks into ~/.ssh/known_hosts alone."""
    return " and ".join(
        f"`{shlex.join(['ssh-keygen', '-f', str(file), '-R', name])}`"
        # It puts another file in the place of that one.
        + ("" if os.access(file.parent, os.W_OK) else " as root")
        for file, name in places
    )


async def _not_let_in(settings: Settings, witness: Witness) -> tuple[str, str]:
    offered = await _offered(settings)
    accepts = f"the host accepts {', '.join(witness.methods)}" if witness.methods else ""
    tried = f"offered {', '.join(offered)}" if offered else "there was no key to offer"
    seen = "; ".join(part for part in ("authentication failed", accepts, tried) if part)
    return seen, (
        f"Put your public key into ~{settings.user}/.ssh/authorized_keys on the host (ssh-copy-id), or name the "
        "right user and IdentityFile. A key with a passphrase has to be in the agent (ssh-add); passwords are "
        f"not asked for. By hand: `ssh -v {settings.destination}`."
    )


async def _offered(settings: Settings) -> list[str]:
    """Names and fingerprints of public keys; nothing of a private one."""
    found = []
    if settings.agent:
        with suppress(*RAISED):
            async with asyncssh.SSHAgentClient(settings.agent) as agent:
                for key in await agent.get_keys():
                    name = key.get_comment("utf-8", "replace") or ""
                    found.append(f"{name} of the agent ({key.get_algorithm()})".strip())
    files = settings.identities or tuple(f"~/.ssh/id_{kind}" for kind in ("ed25519", "ecdsa", "rsa"))
    for file in files:
        with suppress(*RAISED):
            content = await ssh_files.apart(partial(ssh_files.read, Path(os.path.expanduser(f"{file}.pub"))))
            found.append(f"{file} ({asyncssh.import_public_key(content).get_fingerprint()})")
    return found


def _end(witness: Witness) -> str:
    return _line(witness.lost) if witness.lost is not None else "ended by the other side"


def _shown(key: asyncssh.SSHKey) -> str:
    return f"{key.get_algorithm()} {key.get_fingerprint()}"


def _listed(keys: list[asyncssh.SSHKey]) -> str:
    return ", ".join(_shown(key) for key in keys)


def _line(error: Exception) -> str:
    """The first line of what an error says; a stranger may have written it."""
    lines = str(error).strip().splitlines()
    return harmless(lines[0]) if lines else type(error).__name__


def harmless(text: str) -> str:
    """Nothing that a terminal would obey, and not much of it."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text[:_LONGEST])
