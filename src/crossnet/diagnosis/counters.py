"""What a host's own counters say of packets that it throws away: /proc/net/snmp and netstat, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crossnet.errors import HostError
from crossnet.transport import Host

# Those that tell of a cause (measured), with the words in which they are told.
_TELLING = {
    "Ip.InAddrErrors": "forwarding is off, or the packet is for nobody here",
    "Ip.InHdrErrors": "the time to live has run out",
    "Ip.OutNoRoutes": "no route for what the host sends",
    "Ip.OutDiscards": "dropped on its way out",
    "Ip.FragFails": "larger than the next link, and not to be cut",
    "IpExt.InNoRoutes": "no route for what came",
    "TcpExt.IPReversePathFilter": "the source is refused by rp_filter",
    "Icmp.OutDestUnreachs": "the host has answered that it cannot be reached",
    "Icmp.OutTimeExcds": "the host has answered that the time to live has run out",
}

_CAUSES = {
    "Ip.InAddrErrors": "ip-forward-disabled",
    "Ip.FragFails": "pmtu-black-hole",
    "IpExt.InNoRoutes": "no-route",
    "TcpExt.IPReversePathFilter": "reverse-path-filter",
}

_DIGITS = 20  # of a counter of 64 bits

_SCRIPT = "exec cat /proc/net/snmp /proc/net/netstat 2>/dev/null"


async def read(host: Host) -> Mapping[str, int]:
    """The counters of a host; none where it cannot be asked."""
    try:
        answer = await host.run(["sh", "-c", _SCRIPT])
    except HostError:
        return {}
    return parse(answer.text)


def parse(text: str) -> Mapping[str, int]:
    """Two lines of a kind, one with the names and one with the numbers (proc(5))."""
    found: dict[str, int] = {}
    names: dict[str, list[str]] = {}
    for line in text.splitlines():
        kind, colon, rest = line.partition(": ")
        if not colon:
            continue
        values = rest.split()
        if kind not in names:
            names[kind] = values
            continue
        for name, value in zip(names.pop(kind), values, strict=False):
            if f"{kind}.{name}" in _TELLING and value.isdecimal() and len(value) <= _DIGITS:
                found[f"{kind}.{name}"] = int(value)
    return found


@dataclass(frozen=True, slots=True)
class Moved:
    """A counter that rose by so many."""

    name: str
    by: int

    @property
    def cause(self) -> str | None:
        """The code of what alone makes it rise; None where it may be more than one thing."""
        return _CAUSES.get(self.name)

    def __str__(self) -> str:
        return f"{self.name} rose by {self.by}: {_TELLING[self.name]}"


def moved(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[Moved, ...]:
    """The counters that rose."""
    return tuple(
        Moved(name, after[name] - count)
        for name, count in before.items()
        if name in after and after[name] > count
    )
