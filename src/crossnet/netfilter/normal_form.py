"""What two tools print differently for the same rule, brought to one form.

iptables prints matches in an order of its own, nft drops the protocol that a port implies, and both
know protocols by number: after this module, equal rules compare equal whoever printed them.
"""

from __future__ import annotations

from collections.abc import Iterable

from crossnet.netfilter import (
    DestinationPorts,
    Endpoint,
    FlowDirection,
    FlowEnd,
    Interface,
    L4Protocol,
    Match,
    NamedSet,
    State,
    SynOnly,
    UnknownMatch,
)
from crossnet.values import Ports

STATES = frozenset({"new", "established", "related", "invalid", "untracked"})

# The IANA numbers that firewalls name; /etc/protocols of a host decides whether its tools print the name
# or the number (Debian 12: `-p 89` is printed as `ospf`, `-p 253` as `253`).
_PROTOCOLS = {
    1: "icmp",
    2: "igmp",
    4: "ipencap",
    6: "tcp",
    17: "udp",
    33: "dccp",
    41: "ipv6",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "ipv6-icmp",
    89: "ospf",
    103: "pim",
    112: "vrrp",
    132: "sctp",
    136: "udplite",
}
_OTHER_NAMES = {"icmpv6": "ipv6-icmp", "icmp6": "ipv6-icmp", "ipv4": "ipencap", "ospfigp": "ospf"}


def protocol_name(printed: str | int) -> str:
    """A transport protocol in one spelling, whether a tool printed a number, a name or an alias."""
    text = str(printed).lower()
    if text.isdecimal():
        return _PROTOCOLS.get(int(text), str(int(text)))
    return _OTHER_NAMES.get(text, text)


def in_order(matches: Iterable[Match]) -> tuple[Match, ...]:
    """The matches of a rule in the one order both parsers give: interfaces, addresses, protocol, ports, …

    A rule matches when all its matches do, so their order says nothing; matches of one kind keep theirs.
    """
    return tuple(sorted(matches, key=_rank))


def _rank(match: Match) -> int:
    match match:
        case Interface():
            return 0 if match.direction == "in" else 1
        case Endpoint():
            # iptables prints `-s` and `-d` before any `--match-set`
            return (2 if match.side == "source" else 4) + isinstance(match.where, NamedSet)
        case L4Protocol():
            return 6
        case DestinationPorts():
            return 7
        case State():
            return 8
        case FlowDirection():
            return 9
        case FlowEnd():
            return 10 + (match.side == "destination")
        case SynOnly():
            return 12
        case UnknownMatch():
            return 13


def join_ports(ranges: Iterable[Ports]) -> tuple[Ports, ...]:
    """The ranges sorted, and those that touch or overlap made one.

    nft does the same when a set holds a range (1.0.6: `{80-90, 91}` is listed as `80-91`), iptables never.
    """
    joined: list[Ports] = []
    for ports in sorted(ranges):
        if joined and ports.first <= joined[-1].last + 1:
            joined[-1] = Ports(joined[-1].first, max(joined[-1].last, ports.last))
        else:
            joined.append(ports)
    return tuple(joined)
