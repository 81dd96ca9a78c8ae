"""Everything of a host that crossnet could change, so that before and after can be held side by side."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossnet.transport import Host
from crossnet.transport.batch import ask

# Counts of what passes right now, not settings.
_MOVING = "net.netfilter.nf_conntrack_count|net.ipv4.tcp_fastopen_key|stable_secret"

# A lab without root may not list the legacy tables; each can be asked by name.
_LEGACY = """
command -v {0}-legacy-save >/dev/null || exit 0
{0}-legacy-save 2>/dev/null || for table in raw mangle nat filter; do {0}-legacy-save -t $table; done
"""

# What crossnet remembers of its transactions is a log, and a guard's heartbeat is no setting.
_FILES = "/etc /var/lib ! -type d ! -path /var/lib/crossnet/history ! -name heartbeat"

_QUESTIONS = {
    "routes": "ip -4 route show table all; ip -6 route show table all",
    "policy rules": "ip -4 rule; ip -6 rule",
    "nftables": "! command -v nft >/dev/null || nft -j -s list ruleset",
    "iptables-legacy": _LEGACY.format("iptables"),
    "ip6tables-legacy": _LEGACY.format("ip6tables"),
    "ipsets": "! command -v ipset >/dev/null || ipset save",
    "sysctls": f"sysctl -a 2>/dev/null | grep '^net' | grep -vE '{_MOVING}'",
    "files": f"find {_FILES} -printf '%M %U:%G %p %l\\n'",
    "contents": f"find {_FILES} -type f -exec sha256sum {{}} +",
}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The lines of each section, counters left out."""

    sections: Mapping[str, tuple[str, ...]]

    def differences(self, later: Fingerprint) -> tuple[str, ...]:
        """What a later fingerprint of the same host has otherwise; empty when they are equal."""
        found = []
        for name, lines in self.sections.items():
            after = later.sections[name]
            changed = [
                line
                for line in difflib.unified_diff(lines, after, lineterm="", n=0)
                if not line.startswith(("---", "+++", "@@"))
            ]
            found += [f"{name}: {line}" for line in changed]
        return tuple(found)


# What runs, without what is kept in files for the next boot.
RUNNING = tuple(name for name in _QUESTIONS if name not in ("files", "contents"))


async def fingerprint(host: Host, of: Sequence[str] = tuple(_QUESTIONS)) -> Fingerprint:
    """Read a host's fingerprint, or these sections of it; changes nothing."""
    answers = await ask(host, [("sh", "-c", _QUESTIONS[name]) for name in of])
    texts = dict(zip(of, (answer.text for answer in answers), strict=True))
    sections = {name: tuple(sorted(text.splitlines())) for name, text in texts.items()}
    for name, read in _READ.items():
        if name in texts:
            sections[name] = read(texts[name])
    return Fingerprint(sections)


def _nftables(text: str) -> tuple[str, ...]:
    """The objects in order, without handles; what iptables-nft leaves empty behind it is no rule."""
    objects: list[dict[str, Any]] = json.loads(text)["nftables"] if text.strip() else []
    named = [(kind, body) for entry in objects for kind, body in entry.items() if kind != "metainfo"]
    filled = {(body["family"], body["table"], body.get("chain")) for kind, body in named if kind == "rule"}
    kept = [
        (kind, body)
        for kind, body in named
        if kind != "chain"
        or body.get("policy", "accept") != "accept"
        or "hook" not in body
        or (body["family"], body["table"], body["name"]) in filled
    ]
    tables = {(body["family"], body["table"]) for kind, body in kept if kind != "table"}
    return tuple(
        json.dumps([kind, {key: value for key, value in body.items() if key != "handle"}], sort_keys=True)
        for kind, body in kept
        if kind != "table" or (body["family"], body["name"]) in tables
    )


def _legacy(text: str) -> tuple[str, ...]:
    """The rules in order; a table that the kernel keeps empty once it was looked at is no rule."""
    lines: list[str] = []
    block: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        block.append(line.split(" [")[0] if line.startswith(":") else line)
        if line == "COMMIT":
            if any(one.startswith("-A") or (one[0] == ":" and not one.endswith(" ACCEPT")) for one in block):
                lines += block
            block = []
    return tuple(lines)


_READ = {"nftables": _nftables, "iptables-legacy": _legacy, "ip6tables-legacy": _legacy}
