"""What an expression of nft reads of a packet, and what nft tests before it may read it.

`ip saddr` in a table of both families is read of IPv4 packets only, `tcp dport` of TCP only: nft puts these tests
into the rule itself and does not print them (`nft --debug=netlink` does).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from crossnet.netfilter.foreign import Field, Numbers, Test, Why
from crossnet.netfilter.nft_foreign import values
from crossnet.netfilter.nft_foreign.values import Kind, NotUnderstood, number


@dataclass(frozen=True, slots=True)
class Operand:
    """A field, cut to the bits of `keep`, then with those of `flip` turned; `more` is what nft counts less in it.

    `before` is what must hold for the field to be there at all.
    """

    field: Field
    kind: Kind
    before: tuple[Test, ...] = ()
    keep: int | None = None
    flip: int = 0
    more: int = 0

    @property
    def is_whole(self) -> bool:
        return self.keep is None and not self.flip and not self.more


def operand(printed: Any, family: str) -> Operand:
    """The operand that nft prints so, in a table of this family."""
    match printed:
        case {"payload": {"tunnel": _}}:
            raise NotUnderstood
        case {"payload": {"protocol": str(protocol), "field": str(name)}}:
            return _payload(protocol, name, family)
        case {"meta": {"key": str(key)}}:
            return _meta(key, family)
        case {"ct": {"key": str(key), **rest}}:
            return _ct(key, rest.get("dir"), rest.get("family"), family)
        case {"fib": {"result": "type", "flags": "daddr" | ["daddr"]}}:
            return Operand(Field.DESTINATION_TYPE, values.ADDRESS_TYPE)
        case {"fib": {"result": "type", "flags": "saddr" | ["saddr"]}}:
            return Operand(Field.SOURCE_TYPE, values.ADDRESS_TYPE)
        case {"&": [left, mask]}:
            return _masked(operand(left, family), mask)
        case {"|": [left, bits]}:
            within = operand(left, family)
            return _flipped(_masked(within, _without(bits, within.kind)), bits)
        case {"^": [left, bits]}:
            return _flipped(operand(left, family), bits)
        case {"numgen": _}:
            raise NotUnderstood(Why.DEPENDS_ON_THE_MOMENT)
        case _:
            raise NotUnderstood


def operands(printed: Any, family: str) -> tuple[Operand, ...]:
    """The operands of a concatenation, or the only one."""
    match printed:
        case {"concat": [*parts]}:
            return tuple(operand(part, family) for part in parts)
        case _:
            return (operand(printed, family),)


def _masked(within: Operand, mask: Any) -> Operand:
    if within.more or within.kind is values.NAME:
        raise NotUnderstood
    bits = number(mask, within.kind)
    return replace(within, keep=bits if within.keep is None else within.keep & bits, flip=within.flip & bits)


def _without(bits: Any, kind: Kind) -> int:
    return kind.highest & ~number(bits, kind)


def _flipped(within: Operand, bits: Any) -> Operand:
    if within.more or within.kind is values.NAME:
        raise NotUnderstood
    return replace(within, flip=within.flip ^ number(bits, within.kind))


# ---- what nft tests before --------------------------------------------------------------------------

_ETHER_TYPES = {4: 0x0800, 6: 0x86DD}
_ARPHRD_ETHER = 1


def is_of_family(number: int, family: str) -> tuple[Test, ...]:
    """The packet is of IPv4 or IPv6, where the table has both; bridges and devices tell them by the frame's type."""
    match family:
        case "inet":
            return (Test((Field.FAMILY,), Numbers(((number, number),))),)
        case "bridge" | "netdev":
            return (Test((Field.ETHER_TYPE,), Numbers(((_ETHER_TYPES[number],) * 2,))),)
        case _:
            return ()


def has_ether_header(family: str) -> tuple[Test, ...]:
    """The packet came by an Ethernet: nft asks that first but on a bridge, and what the host sends came by none."""
    if family == "bridge":
        return ()
    return (Test((Field.IIF_TYPE,), Numbers(((_ARPHRD_ETHER,) * 2,))),)


def is_of_protocol(number: int) -> tuple[Test, ...]:
    return (Test((Field.PROTOCOL,), Numbers(((number, number),))),)


def _is_icmp(protocol: str, family: str) -> tuple[Test, ...]:
    version, number = _ICMP_OF[protocol]
    return is_of_family(version, family) + is_of_protocol(number)


_ICMP_OF = {"icmp": (4, 1), "icmpv6": (6, 58)}
_WITH_PORTS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132, "udplite": 136}
_PROTOCOLS = {"igmp": 2, "esp": 50, "ah": 51, "comp": 108, **_WITH_PORTS}


def implied(printed: Any, family: str) -> tuple[Test, ...]:
    """What holds of every packet of which nft can read the expression, also where the form does not know its field."""
    match printed:
        case {"payload": {"protocol": str(protocol), "field": _, **rest}} if not rest:
            match protocol:
                case "ip" | "ip6":
                    return is_of_family(4 if protocol == "ip" else 6, family)
                case "icmp" | "icmpv6":
                    return _is_icmp(protocol, family)
                case "ether":
                    return has_ether_header(family)
                case _ if protocol in _PROTOCOLS:
                    return is_of_protocol(_PROTOCOLS[protocol])
        case {"concat": [*parts]}:
            return tuple(test for part in parts for test in implied(part, family))
        case {"&": [left, *_]} | {"|": [left, *_]} | {"^": [left, *_]}:
            return implied(left, family)
    return ()


# ---- payload ----------------------------------------------------------------------------------------

_IP: Mapping[str, tuple[Field, Kind]] = MappingProxyType(
    {
        "saddr": (Field.SOURCE4, values.IPV4),
        "daddr": (Field.DESTINATION4, values.IPV4),
        "protocol": (Field.PROTOCOL, values.PROTOCOL),
        "dscp": (Field.DSCP, values.DSCP),
        "ecn": (Field.ECN, values.ECN),
        "ttl": (Field.TTL, values.BYTE),
        "length": (Field.LENGTH, values.SHORT),
    }
)
_IP6: Mapping[str, tuple[Field, Kind]] = MappingProxyType(
    {
        "saddr": (Field.SOURCE6, values.IPV6),
        "daddr": (Field.DESTINATION6, values.IPV6),
        "dscp": (Field.DSCP, values.DSCP),
        "ecn": (Field.ECN, values.ECN),
        "hoplimit": (Field.TTL, values.BYTE),
    }
)
_IP6_HEADER = 40  # bytes, which `ip6 length` does not count
_PORTS = {"sport": Field.SOURCE_PORT, "dport": Field.DESTINATION_PORT}
_ANY_PROTOCOL = {"sport": Field.TH_SOURCE, "dport": Field.TH_DESTINATION}
_ICMP: Mapping[tuple[str, str], tuple[Field, Kind]] = MappingProxyType(
    {
        ("icmp", "type"): (Field.ICMP_TYPE, values.ICMP_TYPE),
        ("icmp", "code"): (Field.ICMP_CODE, values.ICMP_CODE),
        ("icmpv6", "type"): (Field.ICMP_TYPE, values.ICMPV6_TYPE),
        ("icmpv6", "code"): (Field.ICMP_CODE, values.ICMPV6_CODE),
    }
)


def _payload(protocol: str, name: str, family: str) -> Operand:
    if protocol == "ip" and name in _IP:
        return Operand(*_IP[name], is_of_family(4, family))
    if protocol == "ip6" and name in _IP6:
        return Operand(*_IP6[name], is_of_family(6, family))
    if protocol == "ip6" and name == "length":
        return Operand(Field.LENGTH, values.SHORT, is_of_family(6, family), more=_IP6_HEADER)
    if protocol in _WITH_PORTS and name in _PORTS:
        return Operand(_PORTS[name], values.PORT, is_of_protocol(_WITH_PORTS[protocol]))
    if protocol == "th" and name in _PORTS:
        return Operand(_ANY_PROTOCOL[name], values.PORT)
    if (protocol, name) == ("tcp", "flags"):
        return Operand(Field.TCP_FLAGS, values.TCP_FLAGS, is_of_protocol(6))
    if (protocol, name) in _ICMP:
        return Operand(*_ICMP[protocol, name], _is_icmp(protocol, family))
    if (protocol, name) == ("ether", "type"):
        return Operand(Field.ETHER_TYPE, values.ETHER_TYPE, has_ether_header(family))
    raise NotUnderstood


# ---- meta and ct ------------------------------------------------------------------------------------

_META: Mapping[str, tuple[Field, Kind]] = MappingProxyType(
    {
        "protocol": (Field.ETHER_TYPE, values.ETHER_TYPE),
        "iif": (Field.IIF, values.NAME),
        "iifname": (Field.IIF, values.NAME),
        "oif": (Field.OIF, values.NAME),
        "oifname": (Field.OIF, values.NAME),
        "iiftype": (Field.IIF_TYPE, values.LINK_TYPE),
        "oiftype": (Field.OIF_TYPE, values.LINK_TYPE),
        "l4proto": (Field.PROTOCOL, values.PROTOCOL),
        "mark": (Field.MARK, values.MARK),
        "length": (Field.LENGTH, values.LONG),
        "pkttype": (Field.PACKET_TYPE, values.PACKET_TYPE),
    }
)
_AT_THE_MOMENT = frozenset({"random", "cpu", "time", "day", "hour"})
_CT: Mapping[str, tuple[Field, Kind]] = MappingProxyType(
    {
        "state": (Field.CT_STATE, values.CT_STATE),
        "status": (Field.CT_STATUS, values.CT_STATUS),
        "direction": (Field.CT_DIRECTION, values.CT_DIRECTION),
        "mark": (Field.CT_MARK, values.MARK),
        "protocol": (Field.CT_PROTOCOL, values.PROTOCOL),
    }
)
_CT_ENDS: Mapping[tuple[str, str], tuple[Field, Kind, int | None]] = MappingProxyType(
    {
        ("original", "ip saddr"): (Field.CT_SOURCE4, values.IPV4, 4),
        ("original", "ip daddr"): (Field.CT_DESTINATION4, values.IPV4, 4),
        ("original", "ip6 saddr"): (Field.CT_SOURCE6, values.IPV6, 6),
        ("original", "ip6 daddr"): (Field.CT_DESTINATION6, values.IPV6, 6),
        ("original", "proto-src"): (Field.CT_SOURCE_PORT, values.PORT, None),
        ("original", "proto-dst"): (Field.CT_DESTINATION_PORT, values.PORT, None),
        ("reply", "ip saddr"): (Field.CT_REPLY_SOURCE4, values.IPV4, 4),
        ("reply", "ip daddr"): (Field.CT_REPLY_DESTINATION4, values.IPV4, 4),
        ("reply", "ip6 saddr"): (Field.CT_REPLY_SOURCE6, values.IPV6, 6),
        ("reply", "ip6 daddr"): (Field.CT_REPLY_DESTINATION6, values.IPV6, 6),
        ("reply", "proto-src"): (Field.CT_REPLY_SOURCE_PORT, values.PORT, None),
        ("reply", "proto-dst"): (Field.CT_REPLY_DESTINATION_PORT, values.PORT, None),
    }
)
_CT_AT_THE_MOMENT = frozenset({"bytes", "packets", "avgpkt", "expiration", "id"})
_LAYER3 = {"ip": "ip", "ip6": "ip6"}


def _meta(key: str, family: str) -> Operand:
    if key in _AT_THE_MOMENT:
        raise NotUnderstood(Why.DEPENDS_ON_THE_MOMENT)
    # in a table of bridges or devices the kernel's number of the family is neither of IPv4 nor of IPv6
    if key == "nfproto" and family in ("ip", "ip6", "inet"):
        return Operand(Field.FAMILY, values.FAMILY)
    if key in _META:
        return Operand(*_META[key])
    raise NotUnderstood


def _ct(key: str, direction: Any, layer3: Any, family: str) -> Operand:
    if key in _CT_AT_THE_MOMENT:
        raise NotUnderstood(Why.DEPENDS_ON_THE_MOMENT)
    if direction is None and key in _CT:
        return Operand(*_CT[key])
    if direction == "original" and key == "protocol":
        return Operand(*_CT[key])
    # nft before 0.9 prints `saddr`, and the family beside it or nowhere
    if key in ("saddr", "daddr"):
        key = f"{_LAYER3.get(layer3, family)} {key}"
    if (direction, key) in _CT_ENDS:
        found, kind, number = _CT_ENDS[direction, key]
        return Operand(found, kind, is_of_family(number, family) if number else ())
    raise NotUnderstood
