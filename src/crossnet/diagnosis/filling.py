"""Who fills a host's table of connections, and whether it may be made larger there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from crossnet.diagnosis.finding import Finding, Remedy
from crossnet.errors import HostError
from crossnet.facts.question import Question, put
from crossnet.transport import Host
from crossnet.values import Address, address

CODE = "conntrack-table-full"

_MOST = 2000  # entries that are looked at: the one who fills a table is among few
_SOURCE = re.compile(r"^.*? src=(\S+) ", re.MULTILINE)

# All namespaces share the number of the first one, and only that one can change it (nf_conntrack_standalone.c).
_SCRIPT = rf"""
[ -w /proc/sys/net/netfilter/nf_conntrack_max ] && echo settable
if command -v conntrack >/dev/null; then conntrack -L 2>/dev/null
else cat /proc/net/nf_conntrack
fi | head -n {_MOST}
true
"""


@dataclass(frozen=True, slots=True)
class Filling:
    """The source of most entries that were looked at, and of how many of how many; `settable` is the limit."""

    settable: bool
    source: Address | None = None
    number: int = 0
    looked_at: int = 0


def parse_filling(text: str) -> Filling:
    sources = Counter(_SOURCE.findall(text))
    settable = text.startswith("settable\n")
    if not sources:
        return Filling(settable)
    (first, number), *_ = sources.most_common(1)
    return Filling(settable, address(first), number, sources.total())


FILLING = Question(
    "asked who fills its table of connections",
    ("sh", "-c", _SCRIPT),
    parse_filling,
    failed=lambda _: Filling(True),
)


async def with_sources(findings: Sequence[Finding], hosts: Mapping[str, Host]) -> tuple[Finding, ...]:
    """The same findings, those of a full table with who fills it: its host is asked."""
    fillings = dict[str, Filling]()
    for name in {each.host for each in findings if each.code == CODE and each.host in hosts}:
        with suppress(HostError):
            fillings[name] = (await put(hosts[name], [FILLING]))[FILLING]
    return tuple(with_source(each, fillings) for each in findings)


def with_source(found: Finding, fillings: Mapping[str, Filling]) -> Finding:
    """The same of a full table with who fills it; whose entries are to go where it cannot be made larger."""
    filling = fillings.get(found.host)
    if (
        found.code != CODE
        or filling is None
        or filling.source is None
        or filling.number * 2 < filling.looked_at
    ):
        return found
    words = (
        f"{found.text}; {filling.number} of {filling.looked_at} that were looked at are from {filling.source}"
    )
    remedy = Remedy() if filling.settable else Remedy(address=filling.source)
    return replace(found, text=words, remedy=remedy)
