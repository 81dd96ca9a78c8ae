"""One rule of `nft -j` as a rule of the form.

Shapes as nft 1.0.6 prints them (measured; libnftables-json(5)); older spellings are accepted where they
are known. A match and a statement that the form cannot say keep nft's words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, summarize_address_range
from typing import Any

from crossnet.netfilter import (
    Accept,
    ClampMss,
    Continue,
    Counter,
    DestinationPorts,
    Drop,
    Endpoint,
    FlowDirection,
    FlowEnd,
    Interface,
    Jump,
    L4Protocol,
    Masquerade,
    Match,
    NamedSet,
    Reject,
    Return,
    Rule,
    Snat,
    SnatByDestination,
    State,
    SynOnly,
    UnknownMatch,
    UnknownVerdict,
    Verdict,
)
from crossnet.netfilter.nft_words import say
from crossnet.netfilter.normal_form import STATES, in_order, join_ports, protocol_name
from crossnet.netfilter.own import collapsed
from crossnet.values import Network, Ports, network

_VERDICTS: dict[str, Verdict] = {
    "accept": Accept(),
    "drop": Drop(),
    "return": Return(),
    "continue": Continue(),
    "reject": Reject(),
}
# What follows the packet without changing or deciding anything: nothing of it reaches the form.
_SILENT = frozenset({"log", "last"})
# Statements that a packet can fail, as it can fail a match.
_MATCHING = frozenset({"limit", "quota", "ct count", "set", "map", "meter"})
# Statements that change or decide the packet; every other key that is not known counts as a match.
_ACTING = frozenset(
    {"mangle", "dnat", "redirect", "snat", "masquerade", "vmap", "queue", "tproxy", "synproxy", "dup", "fwd"}
    | {"notrack", "flow", "secmark", "ct helper", "ct timeout", "ct expectation"}
)
_TRANSPORTS = frozenset({"tcp", "udp", "sctp", "dccp", "udplite", "icmp", "icmpv6"})
_WITH_PORTS = frozenset({"tcp", "udp", "sctp", "dccp", "udplite"})

_CLAMP = {
    "mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": {"rt": {"key": "mtu"}}}
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a rule's words refer to: the family of its table and the named sets and maps the form could hold.

    `anonymous` gives a set written inside the rule a name and is told its members.
    """

    family: str
    sets: frozenset[str]
    maps: frozenset[str]
    anonymous: Callable[[str, frozenset[Network]], NamedSet]


def parse_rule(printed: Mapping[str, Any], around: Surroundings) -> Rule:
    """One `{"rule": …}` object; KeyError and TypeError mean that it is none."""
    matches: list[Match] = []
    acts: list[tuple[Verdict, str]] = []
    open_end: list[str] = []
    counter: Counter | None = None
    for statement in printed["expr"]:
        ((key, body),) = statement.items()
        if key == "match":
            matches += [match for match in _match(body, matches, around) if match not in matches]
        elif key == "counter":
            if isinstance(body, dict):  # else the name of a counter object, which counts and no more
                packets, size = body["packets"], body["bytes"]
                if not (isinstance(packets, int) and isinstance(size, int)):
                    raise TypeError(f"a counter without numbers: {body}")
                counter = Counter(packets, size)
        elif key == "xt":
            _compat(body, matches, acts)
        elif key in _VERDICTS or key in ("jump", "goto") or key in _ACTING:
            acts.append((_verdict(key, statement, around), say(statement)))
        elif key not in _SILENT:
            matches.append(UnknownMatch(say(statement)))
            if key not in _MATCHING:
                open_end = [say(statement)]
    comment = printed.get("comment", "")
    if not isinstance(comment, str):
        raise TypeError(f"a comment that is no text: {comment!r}")
    return Rule(in_order(matches), _only_verdict(acts, open_end), comment, counter)


def _only_verdict(acts: list[tuple[Verdict, str]], open_end: list[str]) -> Verdict:
    """The verdict of a rule that may also change the packet: both at once the form cannot say."""
    if not acts:
        # a statement that no list here names ends the rule: it may be a verdict of a newer nft
        return UnknownVerdict(open_end[0]) if open_end else Continue()
    last, _ = acts[-1]
    if len(acts) == 1 or isinstance(last, Drop | Reject):  # what was changed before is gone with the packet
        return last
    return UnknownVerdict(" ".join(text for _, text in acts))


def _compat(body: Any, matches: list[Match], acts: list[tuple[Verdict, str]]) -> None:
    """An extension of iptables-nft, of which nft's JSON prints the name and nothing else (1.0.6)."""
    text = say({"xt": body})
    match body:
        case {"type": "match", "name": "comment"}:
            return
        case {"type": "target", "name": "LOG" | "NFLOG"}:
            return
        case {"type": "target", "name": "REJECT"}:
            acts.append((Reject(), text))
        case {"type": "target"}:
            acts.append((UnknownVerdict(text), text))
        case _:
            matches.append(UnknownMatch(text))


def _verdict(key: str, statement: Mapping[str, Any], around: Surroundings) -> Verdict:
    if key in _VERDICTS:
        return _VERDICTS[key]
    if statement == _CLAMP:
        return ClampMss()
    match statement:
        case {"jump": {"target": str(chain)}}:
            return Jump(chain)
        case {"goto": {"target": str(chain)}}:
            return Jump(chain, goto=True)
        case {"masquerade": None}:
            return Masquerade()
        case {"snat": {"addr": where, **rest}} if not set(rest) - {"family"}:
            return _snat(where, around) or UnknownVerdict(say(statement))
    return UnknownVerdict(say(statement))


def _snat(where: Any, around: Surroundings) -> Verdict | None:
    match where:
        case str():
            return Snat(ip_address(where))
        case {"map": {"key": {"payload": {"protocol": "ip" | "ip6", "field": "daddr"}}, "data": str(name)}}:
            return (
                SnatByDestination(name.removeprefix("@")) if name.removeprefix("@") in around.maps else None
            )
    return None


def _match(body: Mapping[str, Any], before: list[Match], around: Surroundings) -> list[Match]:
    left, right, op = body["left"], body["right"], body.get("op", "==")
    unknown = UnknownMatch(say({"match": body}))
    if left == {"ct": {"key": "state"}}:
        states = _flags(right)
        return [State(states)] if op in ("==", "in") and states and states <= STATES else [unknown]
    implied = _implied(left)
    if op not in ("==", "!="):
        return [*implied, unknown]
    return [*implied, _plain_match(left, right, op == "!=", [*before, *implied], around) or unknown]


def _implied(left: Any) -> list[Match]:
    """The protocol that a header field implies, and that nft leaves out: `tcp dport 443` means tcp."""
    match left:
        case {"&": [{"payload": {"protocol": str(transport)}}, _]} if transport in _TRANSPORTS:
            return [L4Protocol(protocol_name(transport))]
        case {"payload": {"protocol": str(transport)}} if transport in _TRANSPORTS:
            return [L4Protocol(protocol_name(transport))]
    return []


def _plain_match(
    left: Any, right: Any, negated: bool, before: list[Match], around: Surroundings
) -> Match | None:
    match left:
        case {"meta": {"key": "iifname" | "oifname" | "iif" | "oif" as key}}:
            if isinstance(right, str) and not right.endswith("*"):
                return Interface("in" if key.startswith("i") else "out", right, negated)
        case {"meta": {"key": "l4proto"}} | {"payload": {"protocol": "ip", "field": "protocol"}}:
            # in a table of two families the header field says IPv4 as well, which this match cannot
            if isinstance(right, str | int) and ("meta" in left or around.family == "ip"):
                return L4Protocol(protocol_name(right), negated)
        case {"payload": {"protocol": "ip" | "ip6", "field": "saddr" | "daddr" as field}}:
            where = _where(right, around)
            if where is not None:
                return Endpoint("source" if field == "saddr" else "destination", where, negated)
        case {"ct": {"key": "direction"}} if right in ("original", "reply") and not negated:
            return FlowDirection(right)
        case {"ct": {"key": "ip saddr" | "ip daddr" | "ip6 saddr" | "ip6 daddr" as key, "dir": "original"}}:
            where = _where(right, around)
            if where is not None and not negated:
                return FlowEnd("source" if key.endswith("saddr") else "destination", where)
        case {"payload": {"protocol": protocol, "field": "dport"}}:
            known = protocol in _WITH_PORTS or any(L4Protocol(name) in before for name in _WITH_PORTS)
            ranges = _port_ranges(right)
            if known and ranges and not negated:
                return DestinationPorts(ranges)
        case {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, mask]}:
            if _flags(mask) == {"syn", "rst"} and right == "syn" and not negated:
                return SynOnly()
    return None


def _flags(value: Any) -> frozenset[str]:
    """The names in `"new"`, `["new", "related"]`, `{"|": […]}` (older nft) and `{"set": […]}`."""
    match value:
        case str():
            return frozenset({value})
        case [*items] | {"|": [*items]} | {"set": [*items]}:
            return frozenset().union(*(_flags(item) for item in items))
        case _:
            return frozenset()


def _port_ranges(right: Any) -> tuple[Ports, ...]:
    """The ports, or nothing when they are not all plain numbers or ranges from 1 on."""
    items = right["set"] if isinstance(right, dict) and "set" in right else [right]
    ranges: list[Ports] = []
    for item in items:
        match item:
            case int(first) | {"range": [int(first), _]} if first < 1:
                return ()
            case int(port):
                ranges.append(Ports(port, port))
            case {"range": [int(first), int(last)]}:
                ranges.append(Ports(first, last))
            case _:
                return ()
    return join_ports(ranges)


def _where(right: Any, around: Surroundings) -> Network | NamedSet | None:
    if isinstance(right, str) and right.startswith("@"):
        name = right.removeprefix("@")
        return NamedSet(name) if name in around.sets else None
    items = right["set"] if isinstance(right, dict) and "set" in right else [right]
    members: list[Network] = []
    for item in items:
        found = networks(item)
        if found is None:
            return None
        members += found
    whole = collapsed(members)
    return next(iter(whole)) if len(whole) == 1 else around.anonymous(say(right), whole)


def networks(element: Any) -> tuple[Network, ...] | None:
    """The networks that one element of a set stands for; None when it is not about addresses."""
    try:
        match element:
            case {"elem": {"val": inner}}:
                return networks(inner)
            case str():
                return (network(element),)
            case {"prefix": {"addr": str(start), "len": int(length)}}:
                return (network(f"{start}/{length}"),)
            case {"range": [str(first), str(last)]}:
                return _summary(first, last)
    except ValueError:
        pass
    return None


def _summary(first: str, last: str) -> tuple[Network, ...] | None:
    match ip_address(first), ip_address(last):
        case IPv4Address() as start, IPv4Address() as end:
            return tuple(summarize_address_range(start, end))
        case IPv6Address() as start6, IPv6Address() as end6:
            return tuple(summarize_address_range(start6, end6))
    return None
