"""What nft says of fragments, and of the headers between that of IPv6 and the transport's."""

from __future__ import annotations

from typing import Any

from crossnet.netfilter.foreign import AnyOf, Field, Numbers, Statement, Test
from crossnet.netfilter.nft_foreign.operands import is_of_family
from crossnet.netfilter.nft_foreign.values import PROTOCOL, SHORT, NotUnderstood, is_negated, many

_OFFSET, _MORE = 0x1FFF, 0x2000  # of the 16 bits of the IPv4 header
_ZERO = Numbers(((0, 0),))
_WHOLE = (Test((Field.FRAGMENT,), _ZERO), Test((Field.MORE_FRAGMENTS,), _ZERO))
_FRAGMENT = AnyOf(
    (Test((Field.FRAGMENT,), _ZERO, negated=True), Test((Field.MORE_FRAGMENTS,), _ZERO, negated=True))
)
# Headers that may stand between an IPv6 header and the transport's (RFC 7045), the fragment's among them.
_BETWEEN = frozenset({0, 43, 44, 51, 60, 135, 139, 140})
_FRAGMENT_HEADER = Numbers(((44, 44),))


def fragments(left: Any, operator: str, right: Any, family: str) -> tuple[Statement, ...]:
    """`ip frag-off & 0x1fff != 0`, `exthdr frag exists`, `ip6 nexthdr`; empty when it is about something else."""
    match left:
        case {"&": [{"payload": {"protocol": "ip", "field": "frag-off", **rest}}, int(mask)]} if not rest:
            return (*is_of_family(4, family), *_masked(mask, operator, right))
        case {"exthdr": {"name": "frag", **rest}}:
            return (*is_of_family(6, family), *_header(rest.get("field"), operator, right))
        case {"payload": {"protocol": "ip6", "field": "nexthdr", **rest}} if not rest:
            return (*is_of_family(6, family), *_next_header(operator, right))
        case _:
            return ()


def _masked(mask: int, operator: str, right: Any) -> tuple[Statement, ...]:
    negated = is_negated(operator)
    match right:
        case int() if mask == _OFFSET | _MORE and right == 0:
            return (_FRAGMENT,) if negated else _WHOLE
        case int() if mask == _MORE:
            return (Test((Field.MORE_FRAGMENTS,), Numbers(((right >> 13,) * 2,)), negated),)
        case int() if mask & ~_OFFSET == 0:
            kept = None if mask == _OFFSET else mask
            return (Test((Field.FRAGMENT,), Numbers(((right, right),)), negated, kept),)
        case _:
            raise NotUnderstood


def _header(field: Any, operator: str, right: Any) -> tuple[Statement, ...]:
    """A field of IPv6's fragment header; a packet without one has failed (nft_exthdr.c)."""
    negated = is_negated(operator)
    match field, right:
        case None, bool():
            return (_FRAGMENT,) if right is not negated else _WHOLE
        case "more-fragments", int():
            return (_FRAGMENT, Test((Field.MORE_FRAGMENTS,), Numbers(((right, right),)), negated))
        case "frag-off", _:
            return (_FRAGMENT, Test((Field.FRAGMENT,), many(right, SHORT), negated))
        case _:
            raise NotUnderstood


def _next_header(operator: str, right: Any) -> tuple[Statement, ...]:
    """The byte of the IPv6 header: in a fragment it names the fragment's header, not the transport."""
    negated = is_negated(operator)
    named = many(right, PROTOCOL)
    if not isinstance(named, Numbers):
        raise NotUnderstood
    if named == _FRAGMENT_HEADER:
        return _WHOLE if negated else (_FRAGMENT,)
    if any(first <= header <= last for first, last in named.ranges for header in _BETWEEN):
        raise NotUnderstood
    if negated:
        return (AnyOf((*_FRAGMENT.tests, Test((Field.PROTOCOL,), named, negated=True))),)
    return (*_WHOLE, Test((Field.PROTOCOL,), named))
