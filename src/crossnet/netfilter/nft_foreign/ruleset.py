"""`nft -j list ruleset` as tables, of which rules and sets are read when somebody asks for them.

What is kept until then is the text and where each rule begins in it: decoded, 50,000 rules would be ten times as
large.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from crossnet.netfilter.foreign import Chain, Hook, Lazily, Map, NamedMap, Rule, Set, Table, Tool, Unknown
from crossnet.netfilter.nft_foreign.maps import given, kinds, pairs
from crossnet.netfilter.nft_foreign.rule import read_rule
from crossnet.netfilter.nft_foreign.values import NotUnderstood, members, row

_BEGINNING = re.compile(r'\s*\{\s*"nftables"\s*:\s*\[\s*')
_BETWEEN = re.compile(r"[\s,]*")
_END = re.compile(r"\]\s*\}\s*")
_DORMANT = re.compile(r"^table (\S+) (\S+) \{[^\n]*\n\tflags [^\n]*\bdormant\b", re.MULTILINE)
_HEADS = re.compile(
    r"^(?:table (?P<family>\S+) (?P<table>\S+) \{|\tchain (?P<chain>\S+) \{"
    r"|\t\ttype \S+ hook (?:in|e)gress devices?(?: =)? (?P<devices>\{[^}]*\}|\S+))",
    re.MULTILINE,
)
_NAME = re.compile(r'[^\s{},"]+')
_FARTHEST = 2**31  # a priority is a number of 32 bits (struct nf_hook_ops)
_DECODER = json.JSONDecoder(strict=False)  # a comment may hold any character
# What an element or a whole set can have beside its value that lets it change or hold only now and then.
_PASSING = frozenset({"timeout", "expires", "limit", "quota", "ct count"})


@dataclass(slots=True)
class _Printed:
    """The objects of one table as they come by: hooks, and where the rules, sets and maps stand in the text."""

    dormant: bool
    hooks: dict[str, Hook | None] = field(default_factory=dict)
    unplaced: dict[str, str] = field(
        default_factory=dict
    )  # chains of which nobody knows when they are entered
    rules: dict[str, array[int]] = field(default_factory=dict)
    sets: dict[str, int] = field(default_factory=dict)
    maps: dict[str, int] = field(default_factory=dict)
    changing: set[str] = field(default_factory=set)


def read_ruleset(
    text: bytes | str,
    dormant: Collection[tuple[str, str]] = (),
    also: Callable[[str, Mapping[str, Any]], None] | None = None,
) -> tuple[Table, ...]:
    """Every table that nft sees on a host, in nft's order.

    `text` is what `nft -j list ruleset` printed; ValueError where it is not, or was cut off. nft 1.0.6 does both with
    the flags of a table (measured: a dangling pointer in their place, or the end of the text behind `"flags": `): so
    `dormant` says the tables that its plain listing calls dormant, by family and name; and the text may be several
    documents, of `nft -j list sets`, `maps`, `chains` and `chain`, which name no tables and have no flags.

    Rules, sets and maps are read when they are asked for. What the words of one rule mean is never an error. `also`
    is told the kind and the content of each object as it comes by.
    """
    whole = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    printed: dict[tuple[str, str], _Printed] = {}
    try:
        for at, kind, body in _entries(whole):
            if also is not None:
                also(kind, body)
            if kind == "table":
                name = _text(body, "family"), _text(body, "name")
                printed[name] = _Printed("dormant" in body.get("flags", ()) or name in dormant)
            elif kind in ("set", "map", "chain", "rule"):
                name = _text(body, "family"), _text(body, "table")
                if name not in printed:
                    printed[name] = _Printed(name in dormant)
                _take(printed[name], at, kind, body)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not what `nft -j list ruleset` prints: {error!r}") from error
    return tuple(_table(family, name, each, whole) for (family, name), each in printed.items())


def dormant_tables(listing: str) -> frozenset[tuple[str, str]]:
    """The tables, by family and name, that nft's plain listing calls dormant: `nft list table …`, also terse."""
    return frozenset((family, name) for family, name in _DORMANT.findall(listing))


def devices_of(listing: str) -> Mapping[tuple[str, str, str], tuple[str, ...]]:
    """The devices of chains at ingress and egress, by family, table and chain, in nft's plain listing."""
    found: dict[tuple[str, str, str], tuple[str, ...]] = {}
    family = table = chain = ""
    for line in _HEADS.finditer(listing):
        if line["family"]:
            family, table = line["family"], line["table"]
        elif line["chain"]:
            chain = line["chain"]
        else:
            found[family, table, chain] = tuple(_NAME.findall(line["devices"]))
    return found


def _entries(text: str) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    """Where each object stands, of which kind it is, and the object."""
    at = 0
    while at < len(text) or not text:
        beginning = _BEGINNING.match(text, at)
        if beginning is None:
            raise ValueError(f"not what `nft -j list ruleset` prints: {text[at : at + 80]!r}")
        at = beginning.end()
        while not text.startswith("]", at):
            entry, end = _DECODER.raw_decode(text, at)
            ((kind, body),) = entry.items()
            yield at, kind, body
            at = _past(_BETWEEN, text, end)
        at = _past(_END, text, at)


def _past(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    if found is None:
        raise ValueError(f"not what `nft -j list ruleset` prints: {text[at : at + 80]!r}")
    return found.end()


def _take(table: _Printed, at: int, kind: str, body: Mapping[str, Any]) -> None:
    match kind:
        case "chain":
            name = _text(body, "name")
            table.hooks[name] = _hook(body)
            if "hook" in body and not _is_priority(body["prio"]):
                table.unplaced[name] = f"the priority {body['prio']!r}"
            table.rules.setdefault(name, array("Q"))
        case "rule":
            table.rules.setdefault(_text(body, "chain"), array("Q")).append(at)
            for statement in body["expr"]:
                if isinstance(statement, dict) and ("set" in statement or "map" in statement):
                    table.changing.update(_filled(statement))
        case "set":
            table.sets[_text(body, "name")] = at
        case "map":
            table.maps[_text(body, "name")] = at


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is {value!r}")
    return value


def _filled(statement: Mapping[str, Any]) -> Iterator[str]:
    """The set or map that packets fill by this statement."""
    for body in statement.values():
        for where in (body.get("set"), body.get("map")) if isinstance(body, dict) else ():
            if isinstance(where, str):
                yield where.removeprefix("@")


def _is_priority(value: Any) -> bool:
    return isinstance(value, int) and abs(value) <= _FARTHEST


def _hook(body: Mapping[str, Any]) -> Hook | None:
    if "hook" not in body:
        return None
    devices = body.get("dev", ())
    return Hook(
        str(body["hook"]),
        str(body["type"]),
        body["prio"] if _is_priority(body["prio"]) else 0,
        str(body.get("policy", "accept")),
        (devices,) if isinstance(devices, str) else tuple(map(str, devices)),
    )


# ---- what is read when somebody asks ----------------------------------------------------------------


def _table(family: str, name: str, printed: _Printed, text: str) -> Table:
    def rules(starts: array[int]) -> Callable[[], tuple[Rule, ...]]:
        return lambda: tuple(read_rule(_body(text, start), family) for start in starts)

    def chain(name: str, starts: array[int]) -> Chain:
        hook, why = printed.hooks.get(name), printed.unplaced.get(name)
        if why is not None:
            return Chain(name, hook, 1, lambda: (Rule((Unknown(why),), why),))
        return Chain(name, hook, len(starts), rules(starts))

    def a_set(start: int) -> Callable[[], Set]:
        return lambda: _set(_body(text, start), family, printed.changing)

    def a_map(start: int) -> Callable[[], NamedMap]:
        return lambda: _named_map(_body(text, start), family, printed.changing)

    return Table(
        Tool.NFT,
        family,
        name,
        MappingProxyType({name: chain(name, starts) for name, starts in printed.rules.items()}),
        Lazily({each: a_set(start) for each, start in printed.sets.items()}),
        Lazily({each: a_map(start) for each, start in printed.maps.items()}),
        dormant=printed.dormant,
    )


def _body(text: str, start: int) -> Mapping[str, Any]:
    ((_, body),) = _DECODER.raw_decode(text, start)[0].items()
    return body if isinstance(body, dict) else {}


# What no nft prints makes its parsers fail in any of these ways.
_NONSENSE = (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError)


def _set(body: Mapping[str, Any], family: str, changing: set[str]) -> Set:
    try:
        elements = body.get("elem", [])
        settled = _is_settled(body, elements, changing)
        return Set(body["name"], members(elements, kinds(body.get("type"), family)), settled)
    except NotUnderstood:
        return Set(body["name"], None, settled)
    except _NONSENSE:
        return Set(body["name"], None, settled=False)


def _named_map(body: Mapping[str, Any], family: str, changing: set[str]) -> NamedMap:
    try:
        elements = body.get("elem", [])
        settled = _is_settled(body, [key for key, _ in pairs(elements)], changing)
        types = kinds(body.get("type"), family)
        found = Map(
            tuple((row(key, types), given(value, body.get("map"), family)) for key, value in pairs(elements))
        )
        return NamedMap(body["name"], found, settled)
    except NotUnderstood:
        return NamedMap(body["name"], None, settled)
    except _NONSENSE:
        return NamedMap(body["name"], None, settled=False)


def _is_settled(body: Mapping[str, Any], elements: list[Any], changing: set[str]) -> bool:
    if body["name"] in changing or "dynamic" in body.get("flags", ()):
        return False
    parts = [each["elem"] for each in elements if isinstance(each, dict) and "elem" in each]
    return not any(_PASSING & part.keys() for part in parts)
