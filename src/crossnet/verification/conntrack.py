"""What the gateway's connection tracking says about a flow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from crossnet.transport import Host
from crossnet.values import Address, Probe, Protocol, address

# conntrack(8) asks over netlink; /proc/net/nf_conntrack says the same where the kernel still offers it.
_READ = r"""
if command -v conntrack >/dev/null; then
    exec conntrack -L -f "$1" -s "$2" -d "$3" 2>/dev/null
fi
[ -r /proc/net/nf_conntrack ] || exit 70
exec grep -F -- "src=$2 dst=$3 " /proc/net/nf_conntrack
"""
_NOT_THERE = 70

_PROTOCOLS = {Protocol.ICMP: ("icmp", "icmpv6"), Protocol.TCP: ("tcp",), Protocol.UDP: ("udp",)}


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


def fresh(before: Sequence[Entry], after: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries that a flow in between made, or gave a new lease of life."""
    known = {entry.flow: entry.lifetime for entry in before}
    return tuple(entry for entry in after if entry.lifetime > known.get(entry.flow, -1))


async def entries(gateway: Host, source: Address, probe: Probe) -> tuple[Entry, ...] | None:
    """The entries for a flow of this probe; None where the host cannot tell."""
    family = f"ipv{probe.destination.version}"
    answer = await gateway.run(["sh", "-c", _READ, "sh", family, str(source), str(probe.destination)])
    if answer.returncode == _NOT_THERE:
        return None
    found = (_parse(line) for line in answer.text.splitlines())
    return tuple(
        entry
        for entry in found
        if entry and entry.protocol in _PROTOCOLS[probe.protocol] and entry.port == probe.port
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
