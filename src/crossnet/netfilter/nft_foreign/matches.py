"""`match` of nft: one comparison, with the family and the protocol that it implies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossnet.netfilter.foreign import Numbers, Perhaps, ReversePath, Statement, Test, Values
from crossnet.netfilter.nft_foreign.fragments import fragments
from crossnet.netfilter.nft_foreign.maps import fields_of, named
from crossnet.netfilter.nft_foreign.operands import Operand, implied, operand
from crossnet.netfilter.nft_foreign.values import NotUnderstood, is_negated, many, members, number
from crossnet.netfilter.nft_foreign.words import words


def match(printed: Mapping[str, Any], family: str) -> tuple[Statement, ...]:
    """The tests that the body of `{"match": …}` makes, in order; what is not understood is the last of them."""
    left, right = printed.get("left"), printed.get("right")
    operator = str(printed.get("op", "=="))
    try:
        return (
            fragments(left, operator, right, family)
            or _way_back(left, operator, right)
            or _comparison(left, operator, right, family)
        )
    except NotUnderstood as reason:
        return (*implied(left, family), Perhaps(words({"match": printed}), reason.why))


def _comparison(left: Any, operator: str, right: Any, family: str) -> tuple[Statement, ...]:
    if isinstance(left, dict) and "concat" in left:
        return _combination(left, operator, right, family)
    read = operand(left, family)
    if operator in ("in", "!") and not (isinstance(right, dict) and "|" not in right):
        return (*read.before, _flags(read, operator, right))
    return (*read.before, _test(read, operator, right))


def _combination(left: Any, operator: str, right: Any, family: str) -> tuple[Statement, ...]:
    """Several fields at once, among the rows of a set."""
    before, read = fields_of(left, family)
    elements = right["set"] if isinstance(right, dict) and "set" in right else [right]
    rows = named(right) or members(elements, tuple(each.kind for each in read))
    return (*before, Test(tuple(each.field for each in read), rows, negated=is_negated(operator)))


def _flags(read: Operand, operator: str, right: Any) -> Test:
    """`ct state new,related`: one of the bits is set. `tcp flags ! syn,rst`: none of them is."""
    if not read.is_whole:
        raise NotUnderstood
    bits = number(right, read.kind)
    return Test((read.field,), Numbers(()), any_bit=bits, negated=operator == "!")


def _test(read: Operand, operator: str, right: Any) -> Test:
    if (name := named(right)) is not None:
        if read.flip or read.more:
            raise NotUnderstood
        return Test((read.field,), name, is_negated(operator), read.keep)
    ordered = _order(operator, right, read)
    wanted = ordered or many(right, read.kind)
    negated = ordered is None and is_negated(operator)
    return Test((read.field,), _as_read(wanted, read), negated, read.keep)


def _order(operator: str, right: Any, read: Operand) -> Numbers | None:
    match operator:
        case "<":
            ends = 0, number(right, read.kind) - 1
        case "<=":
            ends = 0, number(right, read.kind)
        case ">":
            ends = number(right, read.kind) + 1, read.kind.highest
        case ">=":
            ends = number(right, read.kind), read.kind.highest
        case _:
            return None
    return Numbers((ends,) if ends[0] <= ends[1] else ())


def _as_read(wanted: Values, read: Operand) -> Values:
    """What the field itself must be, where nft counts less in it or turns some of its bits."""
    if not isinstance(wanted, Numbers) or not (read.flip or read.more):
        return wanted
    if read.flip and any(first != last for first, last in wanted.ranges):
        raise NotUnderstood
    return Numbers.of(
        ((first ^ read.flip) + read.more, (last ^ read.flip) + read.more) for first, last in wanted.ranges
    )


_BACK = {
    ("saddr",): ReversePath(loose=True),
    ("mark", "saddr"): ReversePath(loose=True, marked=True),
    ("iif", "saddr"): ReversePath(),
    ("iif", "mark", "saddr"): ReversePath(marked=True),
}


def _way_back(left: Any, operator: str, right: Any) -> tuple[Statement, ...]:
    """`fib saddr . iif oif missing` and its kin: whether there is a route back, not where it leads."""
    match left, right:
        case {"fib": {"result": "oif" | "oifname" | "check", "flags": flags}}, True | False | "0" | 0:
            parts = tuple(sorted(flags)) if isinstance(flags, list) else (flags,)
            if parts not in _BACK:
                raise NotUnderstood
            found = _BACK[parts]
            exists = right is True
            return (ReversePath(found.loose, found.marked, negated=exists is is_negated(operator)),)
        case _:
            return ()
