"""The words and numbers that nft prints, as the numbers that the kernel compares.

nft prints a value by its type: names of states, flags and ICMP types come from tables in nft itself (`nft describe`,
1.0.6), protocols from /etc/protocols of the host, interfaces from the kernel.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from crossnet.netfilter.address_types import ADDRESS_TYPES
from crossnet.netfilter.foreign import Names, Numbers, Rows, Values, Why
from crossnet.netfilter.protocol_names import PROTOCOLS


class NotUnderstood(Exception):
    """Something that the form cannot say, or that nobody can know from a ruleset."""

    def __init__(self, why: Why = Why.NOT_UNDERSTOOD) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Kind:
    """One of nft's types: how many bits it has, and which of its numbers have names. Interfaces have no bits."""

    bits: int
    words: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def highest(self) -> int:
        return (1 << self.bits) - 1


# ---- the names that nft prints ----------------------------------------------------------------------

_ICMP_TYPES = {
    "echo-reply": 0,
    "destination-unreachable": 3,
    "source-quench": 4,
    "redirect": 5,
    "echo-request": 8,
    "router-advertisement": 9,
    "router-solicitation": 10,
    "time-exceeded": 11,
    "parameter-problem": 12,
    "timestamp-request": 13,
    "timestamp-reply": 14,
    "info-request": 15,
    "info-reply": 16,
    "address-mask-request": 17,
    "address-mask-reply": 18,
}
_ICMPV6_TYPES = {
    "destination-unreachable": 1,
    "packet-too-big": 2,
    "time-exceeded": 3,
    "parameter-problem": 4,
    "echo-request": 128,
    "echo-reply": 129,
    "mld-listener-query": 130,
    "mld-listener-report": 131,
    "mld-listener-done": 132,
    "mld-listener-reduction": 132,
    "nd-router-solicit": 133,
    "nd-router-advert": 134,
    "nd-neighbor-solicit": 135,
    "nd-neighbor-advert": 136,
    "nd-redirect": 137,
    "router-renumbering": 138,
    "ind-neighbor-solicit": 141,
    "ind-neighbor-advert": 142,
    "mld2-listener-report": 143,
}
_ICMP_CODES = {
    "net-unreachable": 0,
    "host-unreachable": 1,
    "prot-unreachable": 2,
    "port-unreachable": 3,
    "frag-needed": 4,
    "net-prohibited": 9,
    "host-prohibited": 10,
    "admin-prohibited": 13,
}
_ICMPV6_CODES = {
    "no-route": 0,
    "admin-prohibited": 1,
    "addr-unreachable": 3,
    "port-unreachable": 4,
    "policy-fail": 5,
    "reject-route": 6,
}
_DSCP = {
    **{f"cs{number}": number * 8 for number in range(8)},
    **{f"af{high}{low}": high * 8 + low * 2 for high in range(1, 5) for low in range(1, 4)},
    "df": 0,
    "be": 0,
    "lephb": 1,
    "va": 0x2C,
    "ef": 0x2E,
}
_LINK_TYPES = {
    "ether": 1,
    "ppp": 0x200,
    "ipip": 0x300,
    "ipip6": 0x301,
    "loopback": 0x304,
    "sit": 0x308,
    "ipgre": 0x30A,
}
_CT_STATUS = {
    "expected": 1,
    "seen-reply": 2,
    "assured": 4,
    "confirmed": 8,
    "snat": 16,
    "dnat": 32,
    "dying": 512,
}

IPV4 = Kind(32)
IPV6 = Kind(128)
PORT = Kind(16)
MARK = Kind(32)
NAME = Kind(0)
PROTOCOL = Kind(8, MappingProxyType(PROTOCOLS))
ICMP_TYPE = Kind(8, MappingProxyType(_ICMP_TYPES))
ICMPV6_TYPE = Kind(8, MappingProxyType(_ICMPV6_TYPES))
ICMP_CODE = Kind(8, MappingProxyType(_ICMP_CODES))
ICMPV6_CODE = Kind(8, MappingProxyType(_ICMPV6_CODES))
TCP_FLAGS = Kind(
    8,
    MappingProxyType(
        {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "ece": 64, "cwr": 128}
    ),
)
CT_STATE = Kind(
    32, MappingProxyType({"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64})
)
CT_STATUS = Kind(32, MappingProxyType(_CT_STATUS))
CT_DIRECTION = Kind(8, MappingProxyType({"original": 0, "reply": 1}))
FAMILY = Kind(8, MappingProxyType({"ipv4": 4, "ipv6": 6}))
ETHER_TYPE = Kind(
    16,
    MappingProxyType(
        {"ip": 0x0800, "arp": 0x0806, "ip6": 0x86DD, "8021q": 0x8100, "8021ad": 0x88A8, "vlan": 0x8100}
    ),
)
LINK_TYPE = Kind(16, MappingProxyType(_LINK_TYPES))
PACKET_TYPE = Kind(8, MappingProxyType({"host": 0, "unicast": 0, "broadcast": 1, "multicast": 2, "other": 3}))
ADDRESS_TYPE = Kind(32, MappingProxyType(ADDRESS_TYPES))
DSCP = Kind(6, MappingProxyType(_DSCP))
ECN = Kind(2, MappingProxyType({"not-ect": 0, "ect1": 1, "ect0": 2, "ce": 3}))
BYTE = Kind(8)
SHORT = Kind(16)
LONG = Kind(32)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "ipv4_addr": IPV4,
        "ipv6_addr": IPV6,
        "inet_service": PORT,
        "mark": MARK,
        "inet_proto": PROTOCOL,
        "ifname": NAME,
        "iface_index": NAME,
        "iface_type": LINK_TYPE,
        "icmp_type": ICMP_TYPE,
        "icmpv6_type": ICMPV6_TYPE,
        "icmp_code": ICMP_CODE,
        "icmpv6_code": ICMPV6_CODE,
        "tcp_flag": TCP_FLAGS,
        "ct_state": CT_STATE,
        "ct_status": CT_STATUS,
        "ct_dir": CT_DIRECTION,
        "nf_proto": FAMILY,
        "ether_type": ETHER_TYPE,
        "pkt_type": PACKET_TYPE,
        "fib_addrtype": ADDRESS_TYPE,
        "dscp": DSCP,
        "ecn": ECN,
    }
)


# ---- one value, many values -------------------------------------------------------------------------


def is_negated(operator: str) -> bool:
    """Whether a test is of `!=`; an implicit lookup is of `==`, whatever nft calls it."""
    if operator in ("==", "in"):
        return False
    if operator == "!=":
        return True
    raise NotUnderstood


def number(word: Any, kind: Kind) -> int:
    """One word or number of nft, or several flags of which each sets its bits."""
    match word:
        case bool():
            raise NotUnderstood
        case int():
            return word
        case str():
            return _spelt(word, kind)
        case [*flags] | {"|": [*flags]}:
            bits = 0
            for flag in flags:
                bits |= number(flag, kind)
            return bits
        case _:
            raise NotUnderstood


def _spelt(word: str, kind: Kind) -> int:
    if word in kind.words:
        return kind.words[word]
    try:
        if kind is IPV4:
            return int.from_bytes(socket.inet_pton(socket.AF_INET, word))
        if kind is IPV6:
            return int.from_bytes(socket.inet_pton(socket.AF_INET6, word))
        return int(word, 0)
    except (OSError, ValueError):
        raise NotUnderstood from None


def values(printed: Any, kind: Kind) -> Values:
    """What one element stands for: a value, a prefix, a range, a name with a wildcard, or `*` for everything."""
    match printed:
        case {"elem": {"val": inner}}:
            return values(inner, kind)
        case "*":
            return Names(frozenset(), frozenset({""})) if kind is NAME else Numbers(((0, kind.highest),))
        case _ if kind is NAME:
            return _names(printed)
        case {"prefix": {"addr": start, "len": int(length)}} if 0 <= length <= kind.bits:
            rest = kind.highest >> length
            first = number(start, kind) & ~rest
            return Numbers(((first, first | rest),))
        case {"range": [first, last]}:
            ends = number(first, kind), number(last, kind)
            return Numbers((ends,)) if ends[0] <= ends[1] else Numbers(())
        case _:
            value = number(printed, kind)
            return Numbers(((value, value),))


def _names(printed: Any) -> Names:
    if not isinstance(printed, str):
        raise NotUnderstood
    if printed.endswith("\\*"):  # an asterisk that is part of the name
        return Names(frozenset({f"{printed[:-2]}*"}))
    if printed.endswith("*"):
        return Names(frozenset(), frozenset({printed[:-1]}))
    return Names(frozenset({printed}))


def many(printed: Any, kind: Kind) -> Values:
    """The right side of a test of one field: one value, or a set that is written in the rule."""
    match printed:
        case {"set": [*elements]}:
            return union(elements, kind)
        case {"set": element}:
            return values(element, kind)
        case str() if printed.startswith("@"):
            raise NotUnderstood
        case _:
            return values(printed, kind)


def union(elements: Iterable[Any], kind: Kind) -> Values:
    """All that the elements stand for."""
    several = [values(element, kind) for element in elements]
    if kind is NAME:
        names = [each for each in several if isinstance(each, Names)]
        return Names(
            frozenset().union(*(each.exact for each in names)),
            frozenset().union(*(each.prefixes for each in names)),
        )
    return Numbers.of(ends for each in several if isinstance(each, Numbers) for ends in each.ranges)


def row(printed: Any, kinds: tuple[Kind, ...]) -> tuple[Values, ...]:
    """One element of a set with so many fields."""
    match printed:
        case {"elem": {"val": inner}}:
            return row(inner, kinds)
        case "*":
            return tuple(values("*", kind) for kind in kinds)
        case {"concat": [*parts]} if len(parts) == len(kinds) > 1:
            return tuple(values(part, kind) for part, kind in zip(parts, kinds, strict=True))
        case _ if len(kinds) == 1:
            return (values(printed, kinds[0]),)
        case _:
            raise NotUnderstood


def members(elements: Iterable[Any], kinds: tuple[Kind, ...]) -> Values | Rows:
    """The elements of a set."""
    if len(kinds) == 1:
        return union(elements, kinds[0])
    return Rows(tuple(row(element, kinds) for element in elements))
