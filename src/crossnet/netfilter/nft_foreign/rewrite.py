"""`meta mark set`, `ct mark set`, `ip dscp set`: what a statement writes into the packet or its flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crossnet.netfilter.foreign import Field, Rewrite, Statement
from crossnet.netfilter.nft_foreign.maps import has_entry
from crossnet.netfilter.nft_foreign.operands import Operand, implied, is_of_protocol, operand
from crossnet.netfilter.nft_foreign.values import NotUnderstood, number
from crossnet.netfilter.xtables_target import ANY_ZONE

# What may be written and is read by no test of this form, nor by the kernel when it forwards.
_UNREAD_META = frozenset({"priority", "nftrace", "secmark"})
_UNREAD_CT = frozenset({"label", "event", "secmark", "helper"})
_UNREAD_HEADER = frozenset(
    {("ip", "id"), ("ip6", "flowlabel"), ("tcp", "window"), ("tcp", "urgptr"), ("vlan", "pcp")}
)


def rewrite(written: Any, value: Any, family: str) -> tuple[Statement, ...]:
    """The statements of `{"mangle": {"key": written, "value": value}}`."""
    match written:
        case {"meta": {"key": key}} if key in _UNREAD_META:
            return _entry(value, family)
        case {"ct": {"key": key}} if key in _UNREAD_CT:
            return _entry(value, family)
        case {"payload": {"protocol": protocol, "field": name}} if (protocol, name) in _UNREAD_HEADER:
            return (*implied(written, family), *_entry(value, family))
        case {"ct": {"key": "zone", **direction}}:
            return (*_entry(value, family), _zone(direction.get("dir"), value))
        case {"tcp option": _}:
            # no other packet has options (nft_exthdr.c breaks the rule)
            return (*is_of_protocol(6), *_entry(value, family))
    into = operand(written, family)
    if not into.is_whole:
        raise NotUnderstood
    return (*into.before, *_entry(value, family), *_written(into, value, family))


def _zone(direction: Any, value: Any) -> Rewrite:
    if direction == "original":  # its answers are of zone 0 as before, and looked up there too
        return Rewrite(Field.CT_ZONE, 0, ANY_ZONE)
    return Rewrite(Field.CT_ZONE, value if isinstance(value, int) else None, ANY_ZONE)


def _entry(value: Any, family: str) -> tuple[Statement, ...]:
    match value:
        case {"map": looked_up}:
            return has_entry(looked_up, family)
        case _:
            return ()


def _written(into: Operand, value: Any, family: str) -> tuple[Rewrite, ...]:
    everything = into.kind.highest
    try:
        bits = _bits(value, into, family)
    except NotUnderstood:
        return (Rewrite(into.field, None, everything),)
    own = bits.kept.get(into.field, 0)
    others = [(field, mask) for field, mask in bits.kept.items() if field is not into.field]
    match others:
        case []:
            return (Rewrite(into.field, bits.turned, everything & ~own),)
        case [(source, mask)] if own in (0, everything & ~mask):
            # copied whole and then cut, or bit by bit beside what stays
            copied = Rewrite(into.field, 0, mask if own else everything, source)
            rest = Rewrite(into.field, bits.turned, 0 if own else everything & ~mask)
            return (copied,) if not rest.value and not rest.mask else (copied, rest)
        case _:
            return (Rewrite(into.field, None, everything),)


@dataclass(frozen=True, slots=True)
class _Bits:
    """A number whose bits come each from one field, some of them turned over: XOR of (field AND mask), XOR turned."""

    kept: dict[Field, int]
    turned: int

    def cut(self, mask: int) -> _Bits:
        return _Bits(
            {field: kept & mask for field, kept in self.kept.items() if kept & mask}, self.turned & mask
        )

    @property
    def may_be_set(self) -> int:
        bits = self.turned
        for mask in self.kept.values():
            bits |= mask
        return bits


def _bits(value: Any, into: Operand, family: str) -> _Bits:
    match value:
        case int() | str() if not isinstance(value, bool):
            return _Bits({}, number(value, into.kind))
        case {"meta": {"key": "mark"}} | {"ct": {"key": "mark"}}:
            read = operand(value, family)
            return _Bits({read.field: read.kind.highest}, 0)
        case {"&": [left, right]}:
            one, other = _constant_last(_bits(left, into, family), _bits(right, into, family))
            return one.cut(other.turned)
        case {"|": [left, *more]} if more:
            result = _bits(left, into, family)
            for each in more:
                result = _either(result, _bits(each, into, family))
            return result
        case {"^": [left, right]}:
            one, other = _constant_last(_bits(left, into, family), _bits(right, into, family))
            return _Bits(one.kept, one.turned ^ other.turned)
        case {"<<": [left, int(places)]} if 0 <= places <= into.kind.bits:
            shifted = _bits(left, into, family)
            if not shifted.kept:
                return _Bits({}, shifted.turned << places & into.kind.highest)
        case {">>": [left, int(places)]} if 0 <= places <= into.kind.bits:
            shifted = _bits(left, into, family)
            if not shifted.kept:
                return _Bits({}, shifted.turned >> places)
    raise NotUnderstood


def _constant_last(one: _Bits, other: _Bits) -> tuple[_Bits, _Bits]:
    if other.kept:
        one, other = other, one
    if other.kept:
        raise NotUnderstood
    return one, other


def _either(one: _Bits, other: _Bits) -> _Bits:
    if not one.kept:
        one, other = other, one
    if not other.kept:  # bits of a constant are set, whatever they were
        return _Bits(one.cut(~other.turned).kept, one.turned & ~other.turned | other.turned)
    if one.may_be_set & other.may_be_set:
        raise NotUnderstood
    kept = dict(one.kept)
    for field, mask in other.kept.items():
        kept[field] = kept.get(field, 0) | mask
    return _Bits(kept, one.turned | other.turned)
