"""What a gateway's connection tracking says about a flow."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from crossnet.facts.question import Question, refuse
from crossnet.transport.batch import Answer
from crossnet.values import Address, Family, Probe, Protocol, address, family_of

# conntrack(8) asks over netlink; /proc/net/nf_conntrack says the same where the kernel still offers it.
# What cannot be told is said, so that it is not taken for an empty table.
_READ = r"""
family=$1 wanted=$2
shift 2
if command -v conntrack >/dev/null; then
    for destination; do
        conntrack -L -f "$family" -d "$destination" 2>/dev/null || echo cannot tell
    done
elif [ -r /proc/net/nf_conntrack ]; then
    cat /proc/net/nf_conntrack
else
    echo cannot tell
fi | grep -F -e "$wanted"
"""
_CANNOT_TELL = "cannot tell"

_PROTOCOLS = {Protocol.ICMP: ("icmp", "icmpv6"), Protocol.TCP: ("tcp",), Protocol.UDP: ("udp",)}

Ends = tuple[Address, Address]  # source and destination of the request


@dataclass(frozen=True, slots=True)
class Entry:
    """One tracked flow: `reply_to` is where its replies are sent, the source the destination sees."""

    protocol: str
    source: Address
    destination: Address
    reply_to: Address
    replied: bool
    port: int | None
    lifetime: int
    text: str

    @property
    def flow(self) -> str:
        """What makes it the same flow: everything but its remaining seconds."""
        return re.sub(r"^(\S+ \d+) \d+", r"\1", self.text)


Tracked = tuple[Entry, ...] | None  # the entries of one flow; None where the gateway cannot tell


def fresh(before: Tracked, after: Iterable[Tracked]) -> Tracked:
    """The entries that a flow after `before` made, or gave a new lease of life; the latest is the last.

    None where the gateway could not tell at one of these times.
    """
    found: list[Entry] = []
    if before is None:
        return None
    known = {entry.flow: entry.lifetime for entry in before}
    for entries in after:
        if entries is None:
            return None
        found += [entry for entry in entries if entry.lifetime > known.get(entry.flow, -1)]
    return tuple(found)


Tracking = Mapping[Ends, Sequence[Entry]] | None  # None where the host cannot tell


def question(family: Family, flows: Iterable[Ends]) -> Question[Tracking]:
    """What tells the entries from these sources to these destinations, and few others."""
    pairs = list(flows)
    # The file of /proc writes every digit of an IPv6 address.
    wanted = {form for source, _ in pairs for form in (f"src={source} ", f"src={source.exploded} ")}
    patterns = "\n".join((_CANNOT_TELL, *sorted(wanted)))
    destinations = dict.fromkeys(str(destination) for _, destination in pairs)
    argv = ("sh", "-c", _READ, "sh", f"ipv{family}", patterns, *destinations)
    return Question("read its connection tracking", argv, parse_entries, _none_matches)


def question_to(destination: Address) -> Question[Tracking]:
    """What tells all entries to a destination, whoever they are from."""
    patterns = "\n".join((_CANNOT_TELL, f"dst={destination} ", f"dst={destination.exploded} "))
    argv = ("sh", "-c", _READ, "sh", f"ipv{family_of(destination)}", patterns, str(destination))
    return Question("read its connection tracking", argv, parse_entries, _none_matches)


def _none_matches(answer: Answer) -> Tracking:
    """grep(1): 1 means that no line matches."""
    if answer.returncode != 1 or answer.stdout:
        refuse(answer, "grep")
    return {}


def parse_entries(answer: str) -> Tracking:
    """The entries of an answer to `question` by their ends; None where the host cannot tell."""
    lines = answer.split("\n")
    if _CANNOT_TELL in lines:
        return None
    found = defaultdict[Ends, list[Entry]](list)
    for line in lines:
        if entry := _parse(line):
            found[entry.source, entry.destination].append(entry)
    return found


def of_probe(entries: Iterable[Entry], probe: Probe) -> tuple[Entry, ...]:
    """Those of these entries that a flow of this probe can have made."""
    return tuple(
        entry
        for entry in entries
        if entry.protocol in _PROTOCOLS[probe.protocol] and entry.port == probe.port
    )


def _parse(line: str) -> Entry | None:
    """`icmp 1 29 src=A dst=B type=8 … src=B dst=C …`: the request's pair, then the reply's."""
    sources = re.findall(r"\bsrc=(\S+)", line)
    destinations = re.findall(r"\bdst=(\S+)", line)
    if len(sources) < 2 or len(destinations) < 2:
        return None
    words = line.split()
    if words[0] in ("ipv4", "ipv6"):  # /proc/net/nf_conntrack begins with the family and its number
        words = words[2:]
    protocol = next((word for word in words if word in ("icmp", "icmpv6", "tcp", "udp")), "")
    port = re.search(r"\bdport=(\d+)", line)
    return Entry(
        protocol,
        address(sources[0]),
        address(destinations[0]),
        address(destinations[1]),
        "[UNREPLIED]" not in line,
        int(port.group(1)) if port else None,
        int(words[2]) if words[2].isdecimal() else 0,
        " ".join(words),
    )
