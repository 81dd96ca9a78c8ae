"""One rule of `nft -j` as statements of the form `foreign`.

Shapes as nft 1.0.6 and 1.1.4 print them (measured, the second by its own tests; libnftables-json(5)).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from crossnet.netfilter import Counter
from crossnet.netfilter.foreign import (
    Choice,
    Field,
    NoTrack,
    Offload,
    Perhaps,
    Reject,
    Rule,
    Statement,
    Test,
    Tproxy,
    Unknown,
    VerdictMap,
    Why,
)
from crossnet.netfilter.nft_foreign.maps import (
    elements_of,
    fields_of,
    has_entry,
    pairs,
    queue,
    verdict,
    verdict_map,
)
from crossnet.netfilter.nft_foreign.matches import match
from crossnet.netfilter.nft_foreign.operands import implied, is_of_family, is_of_protocol
from crossnet.netfilter.nft_foreign.rewrite import rewrite
from crossnet.netfilter.nft_foreign.translation import translation
from crossnet.netfilter.nft_foreign.values import NotUnderstood
from crossnet.netfilter.nft_foreign.words import words
from crossnet.netfilter.xtables_target import SAYS_NOTHING

# net/netfilter/nf_tables_api.c, NFT_RULE_MAXEXPRS: what is longer comes from no kernel, and would take much memory.
_MOST = 128

_VERDICTS = frozenset({"accept", "drop", "return", "jump", "goto"})
# What counts, logs, copies or labels, and lets the packet be; `continue` is what happens anyway.
_SILENT = frozenset(
    {"counter", "log", "last", "continue", "dup", "secmark", "ct helper", "ct timeout", "ct expectation"}
)
_AT_THE_MOMENT = frozenset({"limit", "quota", "ct count", "connlimit"})
_TRANSLATIONS = frozenset({"snat", "dnat", "masquerade", "redirect"})
_IMPLIED_ONCE = frozenset({Field.FAMILY, Field.ETHER_TYPE, Field.PROTOCOL, Field.IIF_TYPE})


def read_rule(printed: Mapping[str, Any], family: str) -> Rule:
    """One `{"rule": …}` object of a table of this family; whatever nft printed in it, it is a rule."""
    expressions = printed.get("expr")
    if not isinstance(expressions, list):
        expressions = []
    if len(expressions) > _MOST:
        expressions = [f"{len(expressions):,} statements, more than a rule can have"]
    statements: list[Statement] = []
    said: list[str] = []
    counter: Counter | None = None
    for expression in expressions:
        text = words(expression)
        said.append(text)
        try:
            _append(statements, _statements(expression, text, family))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RecursionError):
            statements.append(Unknown(text))  # no nft prints that
        counter = counter or _count(expression)
    comment, handle = printed.get("comment"), printed.get("handle")
    return Rule(
        tuple(statements),
        " ".join(said),
        comment if isinstance(comment, str) else "",
        counter,
        handle if isinstance(handle, int) else None,
    )


def _append(statements: list[Statement], further: Iterable[Statement]) -> None:
    for each in further:
        said = isinstance(each, Test) and _IMPLIED_ONCE.issuperset(each.fields) and each in statements
        if not said:
            statements.append(each)


def _count(expression: Any) -> Counter | None:
    match expression:
        case {"counter": {"packets": int(packets), "bytes": int(size)}}:
            return Counter(packets, size)
        case _:
            return None


def _statements(expression: Any, text: str, family: str) -> tuple[Statement, ...]:
    match expression:
        case {"match": dict(comparison)}:
            return match(comparison, family)
        case dict() if len(expression) == 1:
            ((key, body),) = expression.items()
            try:
                return _read(str(key), body, family, text)
            except NotUnderstood:
                return (Unknown(text),)
        case str():
            return _words(text)
        case _:
            return _anything(text)


def _anything(text: str) -> tuple[Statement, ...]:
    """Nobody knows whether it tests or acts."""
    return (Perhaps(text, Why.NOT_UNDERSTOOD), Unknown(text))


def _words(text: str) -> tuple[Statement, ...]:
    """A statement that nft has no JSON for, and prints as it prints text; chains without a name among them."""
    word = text.split(" ")[0]
    if word in _SILENT:
        return ()
    if word == "notrack":
        return (NoTrack(),)
    return (Unknown(text),) if word in ("jump", "goto") else _anything(text)


def _read(key: str, body: Any, family: str, text: str) -> tuple[Statement, ...]:
    if key in _SILENT or key in _AT_THE_MOMENT:
        entry = _entry(body, family)
        return (*entry, Perhaps(text, Why.DEPENDS_ON_THE_MOMENT)) if key in _AT_THE_MOMENT else entry
    if key in _VERDICTS:
        return (verdict({key: body}),)
    if key in _TRANSLATIONS:
        return translation(key, body, family)
    match key, body:
        case "vmap", {"key": looked_up, "data": data}:
            return _verdict_map(looked_up, data, family, text)
        case "reject", _:
            return _reject(body, family, text)
        case "queue", _:
            return (queue(body),)
        case "notrack", _:
            return (NoTrack(),)
        case "mangle", {"key": written, "value": value}:
            return rewrite(written, value, family)
        case (("set" | "map"), {"op": operation, "elem": element}):
            return _element(operation, element, family, text)
        case "meter", {"key": element}:
            return _element("add", element, family, text)
        case "flow", {"flowtable": str(flowtable)}:
            # a flow whose first packet is under way cannot pass by yet: the rule ends there (nft_flow_offload.c)
            return (Offload(flowtable.removeprefix("@")), Perhaps(text, Why.DEPENDS_ON_THE_MOMENT))
        case "tproxy", _:
            return (*_of_family(body, family), Tproxy(text))
        case "reset", {"tcp option": _}:
            return is_of_protocol(6)
        case "xt", {"type": kind, "name": str(name)}:
            return _compat(kind, name, text)
        case "xt", _:  # nft that was built without iptables' extensions
            return _anything(text)
        case (("fwd" | "synproxy"), _):
            raise NotUnderstood
        case _:
            return _anything(text)


def _of_family(body: Any, family: str) -> tuple[Statement, ...]:
    match body:
        case {"family": "ip"}:
            return is_of_family(4, family)
        case {"family": "ip6"}:
            return is_of_family(6, family)
        case _:
            return ()


def _entry(body: Any, family: str) -> tuple[Statement, ...]:
    """`counter name ip saddr map { … }`: what the map does not hold goes no further."""
    match body:
        case {"map": looked_up} | {"addr": {"map": looked_up}}:
            return has_entry(looked_up, family)
        case _:
            return ()


def _verdict_map(key: Any, data: Any, family: str, text: str) -> tuple[Statement, ...]:
    match key:
        case {"numgen": _} | {"jhash": _} | {"symhash": _}:
            return (_choice(data, text),)
    try:
        before, read = fields_of(key, family)
        return (*before, VerdictMap(tuple(each.field for each in read), verdict_map(data, read)))
    except NotUnderstood as reason:
        return (*implied(key, family), Perhaps(text, reason.why), _choice(data, text))


def _choice(data: Any, text: str) -> Choice:
    return Choice(tuple(verdict(gives) for _, gives in pairs(elements_of(data))), text)


def _reject(body: Any, family: str, text: str) -> tuple[Statement, ...]:
    """What an answer of one family or protocol implies is not printed (measured: 1.0.6)."""
    said = Reject(text.removeprefix("reject").removeprefix(" with "))
    match body:
        case {"type": "tcp reset"}:
            return (*is_of_protocol(6), said)
        case {"type": "icmp"}:
            return (*is_of_family(4, family), said)
        case {"type": "icmpv6"}:
            return (*is_of_family(6, family), said)
        case _:
            return (said,)


def _element(operation: Any, element: Any, family: str, text: str) -> tuple[Statement, ...]:
    """An element that the packet itself adds to a set: when the set or the element's limit is full, the rule ends."""
    match element:
        case {"elem": {"val": inner}}:
            element = inner
    before = implied(element, family)
    return before if operation == "delete" else (*before, Perhaps(text, Why.DEPENDS_ON_THE_MOMENT))


def _compat(kind: Any, name: str, text: str) -> tuple[Statement, ...]:
    """A match or target of iptables, of which nft knows the name alone."""
    if name == "comment" or name in SAYS_NOTHING:
        return ()
    if kind == "match":
        return (Perhaps(text, Why.NOT_UNDERSTOOD),)
    return (Unknown(text),) if kind == "target" else _anything(text)
