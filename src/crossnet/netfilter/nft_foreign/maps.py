"""Sets and maps of nft, written in a rule or named in the table: from what is looked up in them to what they give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from crossnet.netfilter.foreign import (
    Accept,
    Continue,
    Drop,
    Endpoint,
    Jump,
    Map,
    Named,
    Numbers,
    Perhaps,
    Queue,
    Return,
    Statement,
    Test,
    Verdict,
)
from crossnet.netfilter.nft_foreign import values
from crossnet.netfilter.nft_foreign.operands import Operand, operands
from crossnet.netfilter.nft_foreign.values import KINDS, Kind, NotUnderstood, members, row
from crossnet.netfilter.nft_foreign.words import expression

_VERDICTS: dict[str, Verdict] = {
    "accept": Accept(),
    "drop": Drop(),
    "return": Return(),
    "continue": Continue(),
}
# Objects that a map may give; what they do to the packet is nothing, or not said here.
_OBJECTS = frozenset(
    {"counter", "quota", "limit", "secmark", "synproxy", "ct helper", "ct timeout", "ct expectation"}
)


def verdict(printed: Any) -> Verdict:
    match printed:
        case {"jump": {"target": str(target)}}:
            return Jump(target)
        case {"goto": {"target": str(target)}}:
            return Jump(target, goto=True)
        case {"queue": body}:
            return queue(body)
        case {**one} if len(one) == 1 and (word := next(iter(one))) in _VERDICTS:
            return _VERDICTS[word]
        case _:
            raise NotUnderstood


def queue(printed: Any) -> Queue:
    flags = printed.get("flags", ()) if isinstance(printed, dict) else ()
    return Queue(bypass="bypass" in ([flags] if isinstance(flags, str) else flags))


def kinds(printed: Any, family: str) -> tuple[Kind, ...]:
    """The types of the elements of a set: by name, several for a concatenation, or as of an expression."""
    match printed:
        case str():
            printed = printed.split(" . ")
        case {"typeof": expression}:
            return tuple(each.kind for each in operands(expression, family))
    if not (isinstance(printed, list) and all(isinstance(name, str) and name in KINDS for name in printed)):
        raise NotUnderstood
    return tuple(KINDS[name] for name in printed)


def given(printed: Any, data: Any, family: str) -> Verdict | Numbers | Endpoint:
    """What one entry of a map gives, when `data` is the map's type of it."""
    if data == "verdict":
        return verdict(printed)
    if data in _OBJECTS:
        return Numbers(())
    return translated(printed, kinds(data, family))


def translated(printed: Any, types: tuple[Kind, ...]) -> Numbers | Endpoint:
    """An address, a port, an address and a port, or any other number."""
    found = row(printed, types)
    match types, found:
        case (values.IPV4 | values.IPV6, values.PORT), (Numbers() as addresses, Numbers() as ports):
            return Endpoint(addresses, ports)
        case (values.PORT,), (Numbers() as ports,):
            return Endpoint(None, ports)
        case (_,), (Numbers() as numbers,):
            return numbers
        case _:
            raise NotUnderstood


def pairs(elements: Iterable[Any]) -> Iterable[tuple[Any, Any]]:
    """The entries of a map as nft prints them; a key may have a comment or a counter around it."""
    for element in elements:
        match element:
            case [key, data]:
                yield key, data
            case _:
                raise NotUnderstood


# ---- looked up in a rule ----------------------------------------------------------------------------


def fields_of(key: Any, family: str) -> tuple[tuple[Test, ...], tuple[Operand, ...]]:
    """What is tested before a key can be read, and its operands, all of whole fields."""
    read = operands(key, family)
    if not all(each.is_whole for each in read):
        raise NotUnderstood
    return tuple(test for each in read for test in each.before), read


def has_entry(printed: Any, family: str) -> tuple[Statement, ...]:
    """That the map, as of `{"map": …}`, holds the packet: without an entry the rule ends."""
    try:
        match printed:
            case {"key": key, "data": data}:
                before, read = fields_of(key, family)
                types = tuple(each.kind for each in read)
                where = named(data) or members([key for key, _ in pairs(elements_of(data))], types)
                return (*before, Test(tuple(each.field for each in read), where))
            case _:
                raise NotUnderstood
    except NotUnderstood as reason:
        return (Perhaps(expression({"map": printed}), reason.why),)


def named(data: Any) -> Named | None:
    return Named(data.removeprefix("@")) if isinstance(data, str) and data.startswith("@") else None


def verdict_map(data: Any, read: Sequence[Operand]) -> Map | Named:
    """The named map of verdicts, or the one that stands in the rule."""
    return named(data) or _map(data, read, verdict)


def translated_map(data: Any, read: Sequence[Operand], kind: Kind) -> Map | Named:
    """The map of addresses of this kind or of ports, in which an address may have a port beside it."""

    def gives(printed: Any) -> Numbers | Endpoint:
        match printed:
            case {"concat": [_, _]} if kind is not values.PORT:
                return translated(printed, (kind, values.PORT))
            case _:
                return translated(printed, (kind,))

    return named(data) or _map(data, read, gives)


def _map(data: Any, read: Sequence[Operand], gives: Callable[[Any], Verdict | Numbers | Endpoint]) -> Map:
    types = tuple(each.kind for each in read)
    return Map(tuple((row(key, types), gives(value)) for key, value in pairs(elements_of(data))))


def elements_of(data: Any) -> list[Any]:
    match data:
        case {"set": [*elements]}:
            return elements
        case _:
            raise NotUnderstood


def all_given(data: Any, kind: Kind) -> Numbers:
    """Everything that a map in a rule can give."""
    found = [row(value, (kind,)) for _, value in pairs(elements_of(data))]
    return Numbers.of(ends for (each,) in found if isinstance(each, Numbers) for ends in each.ranges)
