"""What crossnet's own table may say, so that every engine can hold it and give it back equal.

The limits are those of the weaker tool each time: what iptables cannot say, print back or tell apart
is refused for nftables too, so that one wanted table means the same on every gateway.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from crossnet.netfilter import (
    Accept,
    Chain,
    ClampMss,
    Continue,
    DestinationPorts,
    Drop,
    Endpoint,
    FlowEnd,
    Hook,
    Interface,
    L4Protocol,
    Map,
    Masquerade,
    Match,
    NamedSet,
    Reject,
    Return,
    Rule,
    Set,
    Snat,
    SnatByDestination,
    State,
    SynOnly,
    Table,
    UnknownMatch,
    Verdict,
)
from crossnet.netfilter.normal_form import STATES, in_order, join_ports
from crossnet.values import Network, overlap

TABLE = "crossnet"

# In the order in which a table holds them.
HOOKS = {
    "forward": Hook("forward", "filter", 0),
    "postrouting": Hook("postrouting", "nat", 99),
    "mangle": Hook("forward", "mangle", -150),
}

# iptables: REJECT exists in filter only, DROP is refused in nat, TCPMSS exists in mangle only.
_VERDICTS: dict[str, tuple[type[Verdict], ...]] = {
    "forward": (Accept, Drop, Reject, Return, Continue),
    "postrouting": (Accept, Return, Snat, SnatByDestination, Masquerade, Continue),
    "mangle": (Accept, Return, ClampMss, Continue),
}

_VERSIONS = {"ip": 4, "ip6": 6}
_PROTOCOLS = {"ip": ("icmp", "tcp", "udp"), "ip6": ("ipv6-icmp", "tcp", "udp")}

# An ipset name has at most 31 characters and carries a prefix of six (see ipset.py).
_SET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,24}")
# Printable, and nothing that either tool would have to escape; nft keeps 128 bytes (iptables 255) of which
# iptables needs nine for `crossnet:`.
_COMMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._:/,+-]{0,98}[A-Za-z0-9._:/,+-])?")
# `*` at the end is a wildcard of nft, `+` one of iptables; quotes and backslashes would need escapes.
_INTERFACE = re.compile(r"[^\s/:\"'\\!*+-][^\s/:\"'\\*+]{0,14}")


def is_plain_interface(name: str) -> bool:
    """Whether each tool takes the name for that one interface: in a rule, as an argument, in a file."""
    return name.isascii() and name.isprintable() and _INTERFACE.fullmatch(name) is not None


def check_own(table: Table) -> None:
    """ValueError, naming the place, when a table could not be written by every engine and read back equal.

    SnatByDestination, many ports and a FlowEnd in a set are the exceptions: nftables has them, iptables refuses
    when it writes.
    """
    if table.name != TABLE or table.family not in _VERSIONS:
        raise ValueError(f"table {table.family} {table.name} is not crossnet's own")
    if [chain.name for chain in table.chains] != [
        name for name in HOOKS if any(chain.name == name for chain in table.chains)
    ]:
        raise ValueError(f"chains of an own table are {', '.join(HOOKS)}, each once and in this order")
    names = [each.name for each in table.sets] + [each.name for each in table.maps]
    for name in names:
        if not _SET_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name for a set: a letter, then up to 24 of A-Za-z0-9_.-")
    if names != sorted(names[: len(table.sets)]) + sorted(names[len(table.sets) :]):
        raise ValueError("sets and maps of an own table are sorted by name")
    if len(set(names)) != len(names):
        raise ValueError("two sets or maps of an own table have one name")
    for each in table.sets:
        _check_set(table, each)
    for mapping in table.maps:
        _check_map(table, mapping)
    for chain in table.chains:
        _check_chain(table, chain)


def _check_set(table: Table, each: Set) -> None:
    if not all(network.version == _VERSIONS[table.family] for network in each.members):
        raise ValueError(f"set {each.name} holds networks of another family than {table.family}")
    if each.members != collapsed(each.members):
        raise ValueError(f"set {each.name} holds networks that overlap or make up a larger one")


def _check_map(table: Table, mapping: Map) -> None:
    version = _VERSIONS[table.family]
    if not all(network.version == value.version == version for network, value in mapping.entries):
        raise ValueError(f"map {mapping.name} holds addresses of another family than {table.family}")
    # Sorted, a network that overlaps any other overlaps its neighbour.
    for one, other in pairwise(networks_in_order(network for network, _ in mapping.entries)):
        if overlap(one, other):
            raise ValueError(f"map {mapping.name} holds {one} and {other}, which overlap")


def _check_chain(table: Table, chain: Chain) -> None:
    if chain.hook != HOOKS[chain.name]:
        raise ValueError(f"chain {chain.name} of an own table has the hook {HOOKS[chain.name]}")
    for number, rule in enumerate(chain.rules, 1):
        try:
            _check_rule(table, chain.name, rule)
        except ValueError as error:
            raise ValueError(f"chain {chain.name} rule {number}: {error}") from None


def _check_rule(table: Table, chain: str, rule: Rule) -> None:
    if rule.comment and not _COMMENT.fullmatch(rule.comment):
        raise ValueError(f"the comment {rule.comment!r} has characters that the tools do not keep")
    if rule.matches != in_order(rule.matches):
        raise ValueError("the matches are not in the order that in_order() gives")
    kinds = [_kind(match) for match in rule.matches]
    if len(set(kinds)) != len(kinds):
        raise ValueError("two matches of one kind, of which iptables takes only one")
    for match in rule.matches:
        _check_match(table, rule, match)
    _check_verdict(table, chain, rule)


def _kind(match: Match) -> tuple[object, ...]:
    match match:
        case Interface():
            return Interface, match.direction
        case Endpoint():
            return Endpoint, match.side, isinstance(match.where, NamedSet)
        case FlowEnd():
            return FlowEnd, match.side
        case _:
            return (type(match),)


def _check_match(table: Table, rule: Rule, match: Match) -> None:
    match match:
        case Interface(name=name):
            if not is_plain_interface(name):
                raise ValueError(f"the tools would read the interface name {name!r} as something else")
        case Endpoint(where=NamedSet(name=name)) | FlowEnd(where=NamedSet(name=name)):
            if not any(each.name == name for each in table.sets):
                raise ValueError(f"no set {name} in the table")
        case Endpoint(where=where) | FlowEnd(where=where):
            if isinstance(where, NamedSet) or where.version != _VERSIONS[table.family]:
                raise ValueError(f"{where} is of another family than {table.family}")
            if where.prefixlen == 0:
                raise ValueError(f"{where} is everything: leave it out, iptables would not print it back")
        case L4Protocol(name=name):
            if name not in _PROTOCOLS[table.family]:
                raise ValueError(f"protocol {name} is none of {', '.join(_PROTOCOLS[table.family])}")
        case DestinationPorts(ranges=ranges):
            if not {L4Protocol("tcp"), L4Protocol("udp")} & set(rule.matches):
                raise ValueError("ports without tcp or udp")
            if not ranges or ranges != join_ports(ranges):
                raise ValueError("the ports are not as join_ports() gives them")
        case State(names=states):
            if not states or not states <= STATES:
                raise ValueError(f"states are of {', '.join(sorted(STATES))}")
        case SynOnly():
            if L4Protocol("tcp") not in rule.matches:
                raise ValueError("the SYN match without tcp")
        case UnknownMatch(text=text):
            raise ValueError(f"crossnet writes no rule that it does not understand: {text}")


def _check_verdict(table: Table, chain: str, rule: Rule) -> None:
    match rule.verdict:
        case verdict if not isinstance(verdict, _VERDICTS[chain]):
            raise ValueError(f"{verdict} has no place in chain {chain}")
        case Snat(address=source):
            if source.version != _VERSIONS[table.family]:
                raise ValueError(f"source address {source} is of another family than {table.family}")
        case SnatByDestination(map=name):
            if not any(mapping.name == name for mapping in table.maps):
                raise ValueError(f"no map {name} in the table")
        case ClampMss():
            if SynOnly() not in rule.matches:
                raise ValueError("the MSS is clamped on SYN packets only")
        case _:
            pass


def collapsed(networks: Iterable[Network]) -> frozenset[Network]:
    """The same addresses in the fewest networks; the families stay apart.

    As ipaddress.collapse_addresses does it, in a tenth of its time (10,000 addresses: 23 ms, not 226).
    """
    kept: list[tuple[int, int, int, Network]] = []  # version, first, size, the network
    for each in networks_in_order(networks):
        first, size = int(each.network_address), 1 << (each.max_prefixlen - each.prefixlen)
        if kept and kept[-1][0] == each.version and first < kept[-1][1] + kept[-1][2]:
            continue
        kept.append((each.version, first, size, each))
        while len(kept) > 1 and _are_halves(kept[-2], kept[-1]):
            version, first, size, lower = kept[-2]
            kept[-2:] = [(version, first, 2 * size, lower.supernet())]
    return frozenset(each for *_, each in kept)


def _are_halves(lower: tuple[int, int, int, Network], upper: tuple[int, int, int, Network]) -> bool:
    (version, first, size, _), (other, second, other_size, _) = lower, upper
    return version == other and size == other_size and second - first == size and not first & size


def networks_in_order(networks: Iterable[Network]) -> list[Network]:
    """Sorted by family, first address and length: the larger of two that begin alike comes first."""
    return sorted(networks, key=lambda each: (each.version, int(each.network_address), each.prefixlen))
