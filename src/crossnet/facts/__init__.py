"""What a host says about itself: read only, in one round trip, kept as frozen values."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from crossnet.errors import HostError
from crossnet.facts import capabilities, firewall, sysctls
from crossnet.facts.capabilities import Capabilities
from crossnet.facts.firewall import Firewall
from crossnet.facts.links import Link, parse_links
from crossnet.facts.routes import Route, parse_routes
from crossnet.facts.sysctls import BootSetting
from crossnet.netfilter import Engine
from crossnet.transport import Host
from crossnet.transport.batch import Answer, ask
from crossnet.values import Address, Family, address


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it is: its bytes, its mode bits, its owner as `uid:gid`; for a symbolic link its target."""

    data: bytes
    mode: int
    owner: str
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything crossnet knows of one host at one instant."""

    host: str
    links: tuple[Link, ...]
    routes: tuple[Route, ...]
    sysctls: Mapping[str, str]
    boot_settings: tuple[BootSetting, ...]
    neighbours: tuple[Address, ...]
    capabilities: Capabilities
    firewall: Firewall
    files: Mapping[str, FileState] = field(default_factory=dict)
    controller: Address | None = None  # where the host sees crossnet come from, over SSH
    reached_at: Address | None = None  # and on which of its own addresses
    uptime: int = 0  # seconds since the host was started
    boot: str = ""  # which start that was

    def link(self, name: str) -> Link | None:
        return next((link for link in self.links if link.name == name), None)

    def iptables(self, engine: Engine, family: Family) -> str:
        """What this host calls that variant: `iptables-legacy`, or plain `iptables` where there is only one."""
        plain = "iptables" if family is Family.V4 else "ip6tables"
        named = f"{plain}-legacy" if engine is Engine.IPTABLES_LEGACY else f"{plain}-nft"
        return named if self.capabilities.has(named) else plain

    def owner_of(self, wanted: Address) -> Link | None:
        """The interface that holds this address."""
        return next(
            (link for link in self.links for item in link.addresses if item.address == wanted),
            None,
        )


# One file a time: absent files answer 66; base64 keeps every byte whatever it is.
_READ_FILE = r"""
if [ -L "$1" ]; then echo link; readlink -- "$1"; exit 0; fi
[ -e "$1" ] || exit 66
stat -c '%a %u:%g' -- "$1" && base64 -- "$1"
"""


async def observe(host: Host, files: Iterable[PurePosixPath]) -> Facts:
    """Ask a host for everything; `files` are the paths to read besides."""
    paths = [str(path) for path in files]
    places = [str(host.locate(PurePosixPath(path))) for path in paths]
    systemd = str(host.locate(PurePosixPath(capabilities.SYSTEMD)))
    fixed = [
        ("ip", "-j", "addr"),
        ("ip", "-j", "-4", "route", "show", "table", "all"),
        ("ip", "-j", "-6", "route", "show", "table", "all"),
        ("ip", "neigh"),
        ("cat", "/proc/uptime", "/proc/sys/kernel/random/boot_id"),
        ("sh", "-c", sysctls.READ),
        ("sh", "-c", sysctls.READ_FILES),
        ("sh", "-c", capabilities.READ, "sh", systemd, *capabilities.TOOLS),
    ]
    rules = firewall.questions()
    read = [("sh", "-c", _READ_FILE, "sh", place) for place in places]
    answers = await ask(host, [*fixed, *rules, *read])
    asked = len(fixed)
    links, routes4, routes6, neighbours, started, settings, boot, tools = answers[:asked]
    able = capabilities.parse_capabilities(tools.text)
    return Facts(
        host=host.name,
        links=parse_links(_json(host.name, "ip -j addr", links, able)),
        routes=(
            *parse_routes(_json(host.name, "ip -j -4 route", routes4, able), Family.V4),
            # A kernel without IPv6 answers with an error: then there are no IPv6 routes.
            *parse_routes(routes6.text if routes6.ok else "", Family.V6),
        ),
        sysctls=MappingProxyType(sysctls.parse_sysctls(settings.text)),
        boot_settings=sysctls.parse_boot_settings(boot.text),
        neighbours=_neighbours(neighbours.text if neighbours.ok else ""),
        capabilities=able,
        firewall=_firewall(host.name, answers[asked : asked + len(rules)], able),
        files=MappingProxyType(
            {
                path: _file(answer.text)
                for path, answer in zip(paths, answers[asked + len(rules) :], strict=True)
                if answer.ok
            }
        ),
        controller=await host.controller(),
        reached_at=await host.reached_at(),
        **_started(started.text),
    )


def _json(host: str, tried: str, answer: Answer, able: Capabilities) -> str:
    """The JSON of an `ip` command; this is the place where the parser for old `ip` text joins."""
    if not able.has("ip"):
        package = capabilities.PACKAGES["ip"]
        raise HostError(host, f"ran `{tried}`", "ip: not found", f"Install {package} on the host.")
    text = answer.text.strip()
    if answer.ok and (not text or text.startswith("[")):
        return text or "[]"
    raise HostError(
        host,
        f"ran `{tried}`",
        text.splitlines()[0] if text else f"exit code {answer.returncode}",
        "This version of crossnet needs an `ip` that prints JSON (iproute2 4.17 or later).",
    )


def _firewall(host: str, answers: list[Answer], able: Capabilities) -> Firewall:
    for question, answer in zip(firewall.questions(), answers, strict=True):
        refused = "ermission denied" in answer.text or "not permitted" in answer.text
        if refused and not answer.ok:
            raise HostError(
                host,
                f"ran `{' '.join(question[4:]) or 'iptables-legacy-save'}`",
                answer.text.strip().splitlines()[-1],
                "crossnet needs root there: add `become: sudo` to the host, or connect as root.",
            )
    try:
        return firewall.parse_firewall(answers, able.iptables_is_nft)
    except ValueError as error:
        raise HostError(
            host, "read the firewall rules", str(error), "Run the command by hand on the host to see more."
        ) from error


def _started(answer: str) -> dict[str, Any]:
    """From proc(5): seconds with a fraction, and the boot's own id."""
    words = answer.split()
    return {"uptime": int(float(words[0])), "boot": words[-1]} if len(words) > 1 else {}


def _neighbours(answer: str) -> tuple[Address, ...]:
    """Addresses that answered lately, from `ip neigh`; failed and incomplete ones are left out."""
    found = []
    for line in answer.splitlines():
        words = line.split()
        if words and "lladdr" in words and words[-1] not in ("FAILED", "INCOMPLETE"):
            found.append(address(words[0]))
    return tuple(found)


def _file(answer: str) -> FileState:
    head, _, body = answer.partition("\n")
    if head == "link":
        return FileState(b"", 0o777, "", target=body.strip())
    mode, owner = head.split()
    return FileState(base64.b64decode(body), int(mode, 8), owner)
