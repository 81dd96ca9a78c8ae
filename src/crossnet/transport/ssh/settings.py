"""What a configuration of SSH means for asyncssh; what asyncssh cannot honour is refused by its keyword."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from crossnet.transport.ssh import configuration
from crossnet.transport.ssh import files as ssh_files
from crossnet.transport.ssh.configuration import Configuration
from crossnet.transport.ssh.destination import Destination
from crossnet.transport.ssh.files import readable
from crossnet.transport.ssh.hostkeys import KnownHosts, rsa_bits
from crossnet.values import holds_password

CONNECT_TIMEOUT = 10.0  # seconds until TCP stands, unless ConnectTimeout says otherwise
LOGIN_TIMEOUT = 20.0  # for everything after that

# A cut is noticed after 15 to 20 seconds of silence; a host under load answers far sooner.
KEEPALIVE_INTERVAL = 5
KEEPALIVE_COUNT = 3

_SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
_USER_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_USUAL_IDENTITIES = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")

_HOST_KEY_KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)

# What is not done here, and what to do instead. The spelling is the manual's.
REFUSED = {
    "BindInterface": "BindAddress does it with an address.",
    "GSSAPIClientIdentity": "Log in with a key, or set GSSAPIAuthentication no.",
    "GSSAPIServerIdentity": "Log in with a key, or set GSSAPIAuthentication no.",
    "HostbasedAuthentication": "Log in with a key, and set it to no for this host.",
    "KnownHostsCommand": "Write its output into a file, and name that file in UserKnownHostsFile.",
    "PKCS11Provider": "Put the token's keys into the agent: `ssh-add -s PROVIDER`.",
    "ProxyUseFdpass": "Use a ProxyCommand that passes the bytes on by itself, as `nc` does without -F.",
    "RefuseConnection": "Your configuration forbids this connection.",
    "SecurityKeyProvider": "Put the key into the agent: `ssh-add`.",
}
_ONLY_WITH = {"GSSAPIClientIdentity": "gssapiauthentication", "GSSAPIServerIdentity": "gssapiauthentication"}
_USUAL = {"SecurityKeyProvider": ("internal", "$SSH_SK_PROVIDER")}

# asyncssh's own words belong to nobody here, and without a handler Python writes warnings to stderr.
if logging.getLogger("asyncssh").level == logging.NOTSET:
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL + 1)


class Refusal(ValueError):
    """A keyword that cannot be honoured, with what to do."""

    def __init__(self, seen: str, todo: str) -> None:
        self.todo = todo
        super().__init__(seen)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach a destination: `keywords` are what asyncssh.connect() is given."""

    destination: Destination
    user: str
    host: str
    port: int
    jumps: str  # as after `ssh -J`: the last one is logged in to over those before it
    proxy: str  # a command for the shell in place of a connection by TCP
    connect_timeout: float
    known_hosts: KnownHosts
    to_ask: tuple[str, ...]  # options with which ssh asks about a key that is not known, where it would not
    keeps_keys: bool  # whether ssh keeps one to which the answer is yes
    least_rsa_bits: int
    identities: tuple[str, ...]  # the files of IdentityFile
    agent: str
    keywords: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.user}@{self.host} port {self.port}"


async def read(destination: Destination, jumps: str | None = None) -> Settings:
    """Raises ValueError or OSError with what is wrong in the user's files, Refusal for what is not done here."""
    says = await configuration.read(destination, jumps)
    return await ssh_files.apart(lambda: of(says))


def of(says: Configuration) -> Settings:
    """Raises like `read`."""
    _refuse(says)
    if holds_password(f"{says.user}@{says.host}"):
        raise ValueError("there is a password in User or HostName, and none is ever used: log in with a key")
    jumps, proxy = says.get("proxyjump") or "", says.get("proxycommand") or ""
    least = int(says.get("requiredrsasize") or 0)
    known_hosts = KnownHosts(
        _known_hosts_files(says),
        alias=says.get("hostkeyalias"),
        revoked=says.file(file) if (file := says.get("revokedhostkeys")) else None,
        # sshconnect.c: the address behind a proxy is not the host's.
        signed_with=(says.get("casignaturealgorithms") or "").split(",")
        if "casignaturealgorithms" in says.values
        else (),
        also_address=says.is_on("checkhostip") and not (jumps or proxy),
    )
    known_hosts.look_up(says.host, says.port if says.port != asyncssh.DEFAULT_PORT else None)
    identities = says.values.get("identityfile", _USUAL_IDENTITIES)
    agent = _agent(says)
    keywords: dict[str, Any] = {
        "config": None,  # asyncssh reads it otherwise than ssh does
        "host": says.host,
        "port": says.port,
        "username": says.user,
        "family": {"inet": socket.AF_INET, "inet6": socket.AF_INET6}.get(
            says.get("addressfamily") or "", socket.AF_UNSPEC
        ),
        "local_addr": (address, 0) if (address := says.get("bindaddress")) else None,
        "tcp_keepalive": says.is_on("tcpkeepalive") if "tcpkeepalive" in says.values else True,
        "compression_algs": "zlib@openssh.com,zlib,none"
        if says.is_on("compression")
        else "none,zlib@openssh.com,zlib",
        "known_hosts": known_hosts,
        "host_key_alias": says.get("hostkeyalias"),
        "server_host_key_algs": _host_key_kinds(says, known_hosts),
        "public_key_auth": says.is_on("pubkeyauthentication")
        if "pubkeyauthentication" in says.values
        else True,
        "agent_path": agent,
        # X.509 and GSSAPI key exchange (RFC 4462) would stand in for a key that known_hosts says.
        "x509_trusted_certs": None,
        "x509_trusted_cert_paths": [],
        "gss_kex": False,
        "gss_auth": says.is_on("gssapiauthentication"),
        "gss_delegate_creds": False,
        "agent_forwarding": False,
        "keepalive_interval": KEEPALIVE_INTERVAL,
        "keepalive_count_max": KEEPALIVE_COUNT,
        "connect_timeout": None,
        "login_timeout": 0,
        **_keys(says, tuple(map(str, map(says.file, identities))), least),
        **_algorithms(says),
    }
    if methods := says.get("preferredauthentications"):
        keywords["preferred_auth"] = methods
    size, _, time = (says.get("rekeylimit") or "0 0").partition(" ")
    if size.isdigit() and int(size):
        keywords["rekey_bytes"] = int(size)
    if time.isdigit() and int(time):
        keywords["rekey_seconds"] = int(time)
    return Settings(
        says.destination,
        says.user,
        says.host,
        says.port,
        jumps,
        "" if jumps else says.expanded(proxy),
        float(says.get("connecttimeout") or CONNECT_TIMEOUT),
        known_hosts,
        tuple(_to_ask(says)),
        # sshconnect.c: add_host_to_hostfile with the first of them.
        any(file != Path(os.devnull) for file in _own_known_hosts(says)[:1]),
        least,
        identities,
        agent,
        keywords,
    )


def _refuse(says: Configuration) -> None:
    for keyword, todo in REFUSED.items():
        value = says.get(keyword.lower())
        if value is None or value.lower() in ("no", "false", *_USUAL.get(keyword, ())):
            continue
        if keyword in _ONLY_WITH and not says.is_on(_ONLY_WITH[keyword]):
            continue
        # Not with its value: in a command or a token's name a password may stand.
        raise Refusal(f"`{keyword}` in your configuration of SSH cannot be honoured", todo)


def _agent(says: Configuration) -> str:
    """The socket of the agent; empty: none."""
    match says.values.get("identityagent", ("SSH_AUTH_SOCK",))[0]:
        case none if none.lower() == "none":
            return ""
        case "SSH_AUTH_SOCK":
            return os.environ.get("SSH_AUTH_SOCK", "")
        case name if name.startswith("$") and not name.startswith("${"):
            return os.environ.get(name[1:], "")
        case name:
            return str(says.file(name))


def _keys(says: Configuration, identities: Sequence[str], least_rsa_bits: int) -> Mapping[str, Any]:
    """The keys in files, and which of the agent's count; a file that is not there is passed over, as ssh does."""
    certificates = []
    for name in says.all("certificatefile"):
        if readable(file := says.file(name)):
            certificates += _loaded(asyncssh.load_certificates, str(file))
    pairs: list[asyncssh.SSHKeyPair] = []
    for name in identities:
        if readable(Path(name)):
            # An encrypted one is left to the agent: nobody is there to type a passphrase.
            pairs += _loaded(
                asyncssh.load_keypairs, [name], certlist=certificates, skip_public=True, ignore_encrypted=True
            )
    usable = [pair for pair in pairs if not 0 < rsa_bits(pair.public_data) < least_rsa_bits]
    # An empty list would mean the usual files to asyncssh; an iterator with nothing in it means nothing.
    keywords: dict[str, Any] = {"client_keys": usable or iter(())}
    if says.is_on("identitiesonly"):
        only = [public for name in identities if (public := _public_half(name))]
        if not only and not usable:
            named = ", ".join(says.values.get("identityfile", ()))
            raise ValueError(f"IdentitiesOnly is set, and {named} cannot be read")
        keywords["agent_identities"] = only or iter(())
    else:
        keywords["agent_identities"] = None
    return keywords


def _loaded(load: Any, *arguments: Any, **more: Any) -> list[Any]:
    try:
        return list(load(*arguments, **more))
    except (ValueError, OSError):
        return []  # of a kind that is not known here: its public half may be in the agent


def _public_half(name: str) -> str | None:
    """A file from which asyncssh can tell a key of the agent's."""
    return next((file for file in (f"{name}.pub", name) if readable(Path(file))), None)


def _host_key_kinds(says: Configuration, known_hosts: KnownHosts) -> str:
    """What is known first, as ssh does, so that a host with several keys shows that one.

    Not only what is known, as asyncssh would: a changed key is to be seen and told. Certificates only where
    an authority is known: else the host would show one in place of the key that ssh would ask about.
    """
    possible = _names([*get_certificate_algs(), *get_public_key_algs()])
    allowed = _listed(says, "hostkeyalgorithms", possible, ("hostkeyalgorithms",)) or [
        *(name for name in possible if "-cert-v01@" in name),
        *_HOST_KEY_KINDS,
    ]
    certificates = [name for name in allowed if "-cert-v01@" in name]
    plain = [name for name in allowed if "-cert-v01@" not in name]
    known = [kind.decode() for key in known_hosts.keys for kind in key.sig_algorithms]
    first = [kind for kind in known if kind in plain]
    return ",".join(dict.fromkeys([*(certificates if known_hosts.authorities else []), *first, *plain]))


def _algorithms(says: Configuration) -> Mapping[str, str]:
    public = _names(get_public_key_algs())
    found = {
        "kex_algs": _listed(says, "KexAlgorithms", _names(get_kex_algs())),
        "encryption_algs": _listed(says, "Ciphers", _names(get_encryption_algs())),
        "mac_algs": _listed(says, "MACs", _names(get_mac_algs())),
        "signature_algs": _listed(
            says, "PubkeyAcceptedAlgorithms", public, ("pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes")
        ),
    }
    return {keyword: ",".join(names) for keyword, names in found.items() if names}


def _listed(
    says: Configuration, keyword: str, possible: Iterable[str], spellings: Sequence[str] = ()
) -> list[str]:
    """Of the algorithms that the configuration permits those that are known here; empty: it says nothing."""
    value = next(
        (value for name in spellings or (keyword.lower(),) if (value := says.get(name)) is not None), None
    )
    if value is None:
        return []
    known = set(possible)
    names = [name for name in value.split(",") if name in known]
    if not names:
        raise Refusal(
            f"`{keyword} {value[:200]}` in your configuration of SSH names nothing that is known here",
            f"Add one of {', '.join(sorted(known)[:8])}, … for this host.",
        )
    return names


def _names(algorithms: Iterable[bytes]) -> list[str]:
    return [name.decode() for name in algorithms]


def _known_hosts_files(says: Configuration) -> tuple[Path, ...]:
    system = says.values.get("globalknownhostsfile", (_SYSTEM_KNOWN_HOSTS,))
    return (*_own_known_hosts(says), *(file for given in system for file in _files_in(given, says)))


def _own_known_hosts(says: Configuration) -> tuple[Path, ...]:
    # `UserKnownHostsFile none` means no file of one's own. `ssh -G` prints names with a blank between them.
    own = says.values.get("userknownhostsfile", (_USER_KNOWN_HOSTS,))
    return tuple(file for given in own for file in _files_in(given, says))


def _to_ask(says: Configuration) -> Iterator[str]:
    if (says.get("stricthostkeychecking") or "ask") != "ask":
        yield "StrictHostKeyChecking=ask"
    if says.is_on("batchmode"):
        yield "BatchMode=no"


def _files_in(given: str, says: Configuration) -> list[Path]:
    """The files of one line, whose quotes are lost: the longest names that are there, as a name may hold blanks."""
    found = []
    words = given.split(" ")
    while words:
        ends = range(len(words), 1, -1)
        end = next((end for end in ends if says.file(" ".join(words[:end])).exists()), 1)
        name = " ".join(words[:end])
        if name and name.lower() != "none":
            found.append(says.file(name))
        words = words[end:]
    return found
