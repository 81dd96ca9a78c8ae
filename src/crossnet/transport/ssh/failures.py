"""The one door through which errors of SSH leave: each says what was tried, what was seen, what to do next."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import asyncssh

from crossnet.errors import HostError
from crossnet.transport.ssh.hostkeys import Witness
from crossnet.transport.ssh.settings import LOGIN_TIMEOUT, Settings

# What asyncssh, the operating system and the reading of the user's files raise. KeyImportError and
# ConfigParseError are ValueErrors.
RAISED = (asyncssh.Error, OSError, ValueError, TimeoutError)


async def not_connected(
    host: str, settings: Settings, witness: Witness, via: str, error: Exception
) -> HostError:
    """Why there is no connection."""
    tried = f"connected to {settings} with SSH{via}"
    by_hand = f"`ssh {settings.destination}`"

    def failed(seen: str, todo: str) -> HostError:
        return HostError(host, tried, seen, todo)

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
        case asyncssh.ChannelOpenError():
            return failed(
                f"the jump host does not get through to {settings.host} port {settings.port}: {_line(error)}",
                "Check from the jump host that it is reachable there, and AllowTcpForwarding in its sshd_config(5).",
            )
        case TimeoutError() if witness.connection is None:
            return failed(
                f"no answer within {settings.connect_timeout:g} s",
                "Check that the host is up and that no firewall drops TCP to that port on the way; "
                f"ConnectTimeout in ~/.ssh/config waits longer. By hand: {by_hand}.",
            )
        case TimeoutError():
            return failed(
                f"the port answers, but the login did not end within {LOGIN_TIMEOUT:g} s",
                f"Look at the host's load, at its name service, and at {by_hand}.",
            )
        case socket.gaierror():
            return failed(
                f"the name {settings.host} is not resolved: {error.strerror}",
                "Check its spelling, HostName in ~/.ssh/config, or write the address.",
            )
        case ConnectionRefusedError():
            return failed(
                "connection refused",
                "Nothing listens there: check that sshd runs and on which port; write ssh://user@host:port "
                "or Port in ~/.ssh/config for another one.",
            )
        case asyncssh.DisconnectError():
            return failed(
                f"the other side ended the connection before the login: {_line(error)}",
                "Check that SSH listens on that port, and MaxStartups in its sshd_config(5).",
            )
        case OSError():
            # asyncio puts words of its own, with a tuple in them, in the place of the system's.
            said = os.strerror(error.errno) if error.errno else _line(error)
            return failed(said, f"Check the way to the host, and {by_hand}.")
        case _:
            return failed(_line(error), f"Check ~/.ssh/config, and {by_hand}.")


def unreadable_settings(host: str, destination: str, error: Exception) -> HostError:
    return HostError(
        host,
        f"read how to connect to {destination}",
        _line(error),
        "Check ~/.ssh/config and /etc/ssh/ssh_config (ssh_config(5)).",
    )


def cut(host: str, settings: Settings, witness: Witness, what: str) -> HostError:
    """The connection ended while a command ran; nobody knows how far that came, so it is never repeated."""
    reason = _line(witness.lost) if witness.lost is not None else "ended by the other side"
    return HostError(
        host,
        f"ran `{what}` as {settings} with SSH",
        f"the connection was cut ({reason}); whether the command did its work is not known",
        "The next command connects anew. Look at the host, then ask `crossnet status`.",
    )


def not_started(host: str, settings: Settings, what: str, error: Exception) -> HostError:
    """The connection stands, and sshd opens no session on it."""
    return HostError(
        host,
        f"would run `{what}` as {settings} with SSH",
        f"sshd opens no session for it: {_line(error)}",
        "See MaxSessions, PermitTTY and ForceCommand in the host's sshd_config(5), and its log.",
    )


def _host_key(settings: Settings, witness: Witness, error: Exception) -> tuple[str, str]:
    known = settings.known_hosts
    if witness.key is not None and known.keys:
        return (
            f"its host key has changed: it shows {_shown(witness.key)}, known_hosts says {_listed(known.keys)}",
            _how_to_accept(settings, changed=True),
        )
    if witness.key is not None and known.authorities:
        return (
            f"known_hosts says an authority for it (@cert-authority), and it shows a plain {_shown(witness.key)}",
            "Give the host a certificate (HostCertificate in sshd_config(5)), or have known_hosts say its key.",
        )
    if witness.key is not None:
        return (
            f"its host key is not known: {_shown(witness.key)}",
            _how_to_accept(settings, changed=False),
        )
    if witness.authority is not None:
        return (
            f"its host certificate is of an authority that is not known: {_shown(witness.authority)}",
            "If that fingerprint is your authority's, write it into ~/.ssh/known_hosts as "
            "`@cert-authority PATTERN KEY` (sshd(8)).",
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
    if not changed:
        return f"{compare} To accept it, connect once with `ssh {settings.destination}` and say yes to the same one."
    return (
        f"The host was installed anew, or somebody stands in between. {compare} If it is right: "
        f"`ssh-keygen -R '{known.entry}'`, then connect once with `ssh {settings.destination}`."
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
            found.append(f"{file} ({asyncssh.read_public_key(f'{file}.pub').get_fingerprint()})")
    return found


def _shown(key: asyncssh.SSHKey) -> str:
    return f"{key.get_algorithm()} {key.get_fingerprint()}"


def _listed(keys: list[asyncssh.SSHKey]) -> str:
    return ", ".join(_shown(key) for key in keys)


def _line(error: Exception) -> str:
    """The first line of what an error says."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
