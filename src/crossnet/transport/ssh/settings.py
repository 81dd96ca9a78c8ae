"""What ~/.ssh/config and /etc/ssh/ssh_config say about a destination, as far as asyncssh leaves it to us."""

from __future__ import annotations

import getpass
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from crossnet.transport.ssh.destination import Destination, parse_jump
from crossnet.transport.ssh.hostkeys import KnownHosts

CONNECT_TIMEOUT = 10.0  # seconds until TCP stands, unless ConnectTimeout says otherwise
LOGIN_TIMEOUT = 20.0  # for everything after that

# A cut is noticed after 15 to 20 seconds of silence; a host under load answers far sooner.
KEEPALIVE_INTERVAL = 5
KEEPALIVE_COUNT = 3

_SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
_SYSTEM_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_USER_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")

_HOST_KEY_KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)

# asyncssh's own words belong to nobody here, and without a handler Python writes warnings to stderr.
if logging.getLogger("asyncssh").level == logging.NOTSET:
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach a destination: `keywords` are what asyncssh.connect() is given."""

    destination: Destination
    user: str
    host: str
    port: int
    jumps: tuple[Destination, ...]
    connect_timeout: float
    known_hosts: KnownHosts
    identities: tuple[str, ...]  # the files of IdentityFile; none: the usual ones
    agent: str
    keywords: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.user}@{self.host} port {self.port}"


async def read(destination: Destination) -> Settings:
    """Raises ValueError or OSError with what is wrong in the user's files."""
    configs = [file for file in (Path("~/.ssh/config").expanduser(), _SYSTEM_CONFIG) if _readable(file)]
    plain: dict[str, Any] = {
        "config": configs,
        "host": destination.host,
        "port": destination.port if destination.port is not None else (),
        "username": destination.user if destination.user is not None else (),
    }
    # Read once without keys, to know which of them are there: ssh passes over a missing IdentityFile,
    # asyncssh would give up.
    first = await asyncssh.SSHClientConnectionOptions.construct(client_keys=None, known_hosts=b"", **plain)
    says = first.config.get
    alias = first.host_key_alias
    known_hosts = KnownHosts(_known_hosts_files(first, destination), alias=alias)
    known_hosts.look_up(first.host, first.port if first.port != asyncssh.DEFAULT_PORT else None)
    if says("HostKeyAlgorithms") is None:
        plain["server_host_key_algs"] = _host_key_kinds(known_hosts)
    identities = tuple(str(file) for file in says("IdentityFile") or ())
    agent = str(says("IdentityAgent", os.environ.get("SSH_AUTH_SOCK", "")) or "")
    keywords: dict[str, Any] = {
        **plain,
        "known_hosts": known_hosts,
        # X.509 and GSSAPI key exchange (RFC 4462) would stand in for a key that known_hosts says.
        "x509_trusted_certs": None,
        "x509_trusted_cert_paths": [],
        "gss_kex": False,
        "agent_forwarding": False,
        "keepalive_interval": KEEPALIVE_INTERVAL,
        "keepalive_count_max": KEEPALIVE_COUNT,
        "connect_timeout": None,
        "login_timeout": 0,
        "ignore_encrypted": True,  # nobody is there to type a passphrase; the agent has such keys
    }
    if identities:
        only = bool(says("IdentitiesOnly"))
        usable = [file for name in identities if (file := _identity(name, only))]
        if only and not usable:
            raise ValueError(f"IdentitiesOnly is set, and {', '.join(identities)} cannot be read")
        keywords["client_keys"] = usable or ()
    jumps = str(first.tunnel or "")
    return Settings(
        destination,
        first.username,
        first.host,
        first.port,
        tuple(parse_jump(jump.strip()) for jump in jumps.split(",") if jump.strip()),
        float(first.connect_timeout or CONNECT_TIMEOUT),
        known_hosts,
        identities,
        agent,
        keywords,
    )


def _host_key_kinds(known_hosts: KnownHosts) -> str:
    """What is known first, as ssh does, so that a host with several keys shows that one.

    Not only what is known, as asyncssh would: a changed key is to be seen and told. Certificates only where
    an authority is known: else the host would show one in place of the key that ssh would ask about.
    """
    known = [kind.decode() for key in known_hosts.keys for kind in key.sig_algorithms]
    certificates = ["*-cert-v01@openssh.com"] if known_hosts.authorities else []
    return ",".join([*certificates, *known, *_HOST_KEY_KINDS])


def _identity(name: str, only: bool) -> str | None:
    """A key file that can be read; with its private half in the agent the public one says which it is."""
    if _readable(Path(name).expanduser()):
        return name
    return f"{name}.pub" if only and _readable(Path(f"{name}.pub").expanduser()) else None


def _known_hosts_files(
    options: asyncssh.SSHClientConnectionOptions, destination: Destination
) -> tuple[Path, ...]:
    # `UserKnownHostsFile none` means no file of one's own; asyncssh would take it for "trust anybody".
    own = options.config.get("UserKnownHostsFile", _USER_KNOWN_HOSTS)
    system = options.config.get("GlobalKnownHostsFile", _SYSTEM_KNOWN_HOSTS)
    tokens = {
        "%": "%",
        "d": str(Path.home()),
        "h": options.host,
        "i": str(os.getuid()),
        "k": options.host_key_alias or options.host,
        "n": destination.host,
        "p": str(options.port),
        "r": options.username,
        "u": getpass.getuser(),
    }
    names = [name for given in (own, system) for name in (given if isinstance(given, list | tuple) else ())]
    return tuple(Path(_expanded(str(name), tokens)).expanduser() for name in names)


def _expanded(text: str, tokens: Mapping[str, str]) -> str:
    """The tokens of ssh_config(5); one that is not known here stays as it is."""
    return re.sub(r"%(.)", lambda found: tokens.get(found[1], found[0]), text)


def _readable(file: Path) -> bool:
    return file.is_file() and os.access(file, os.R_OK)
