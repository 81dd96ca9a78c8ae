"""The matches of iptables (`-m …`) as tests: what net/netfilter/xt_*.c and ipt_*.c compare of a packet.

A match that is not understood, or only in part, keeps its words as `Perhaps`; one that depends on time, chance or
what passed before says so.
"""

from __future__ import annotations

from collections.abc import Callable

from crossnet.netfilter.foreign import (
    Field,
    Names,
    Numbers,
    Perhaps,
    ReversePath,
    Statement,
    Test,
    Tool,
    Why,
)
from crossnet.netfilter.iptables_words import join_words
from crossnet.netfilter.xtables_addresses import address_range, address_type, in_set
from crossnet.netfilter.xtables_headers import (
    PORTS,
    any_number,
    both_ports,
    destination_ports,
    dscp_class,
    icmp,
    icmpv6,
    less_than,
    more_than,
    number_of,
    source_ports,
    syn,
    tcp_flags,
    tos,
)
from crossnet.netfilter.xtables_names import PACKET_TYPES
from crossnet.netfilter.xtables_options import Module, Option, Surroundings, interface_test
from crossnet.netfilter.xtables_reading import NEVER, NO_LATER_FRAGMENT, Reader, not_said
from crossnet.netfilter.xtables_tracked import CONNTRACK, conntrack, mark, state

# The match that -p brings along when an option of it follows
IMPLIED = {
    **dict.fromkeys(("tcp", "6"), "tcp"),
    **dict.fromkeys(("udp", "17"), "udp"),
    **dict.fromkeys(("udplite", "136"), "udplite"),
    **dict.fromkeys(("sctp", "132"), "sctp"),
    **dict.fromkeys(("dccp", "33"), "dccp"),
    **dict.fromkeys(("icmp", "1"), "icmp"),
    **dict.fromkeys(("ipv6-icmp", "icmpv6", "icmp6", "58"), "icmp6"),
    **dict.fromkeys(("ah", "51"), "ah"),
    **dict.fromkeys(("esp", "50"), "esp"),
}

# These look at the header behind IP's, which a later fragment has not: alone they say "no later fragment".
_OF_HEADER = frozenset(
    {"tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmp6", "esp", "ah", "ipcomp", "mh", "multiport"}
)
_OF_THE_MOMENT = frozenset(
    {
        "connbytes",
        "connlimit",
        "cpu",
        "dstlimit",
        "hashlimit",
        "iplimit",
        "limit",
        "nfacct",
        "nth",
        "psd",
        "quota",
        "quota2",
        "random",
        "rateest",
        "recent",
        "statistic",
        "time",
    }
)


def match_statements(module: Module, where: Surroundings, statements: list[Statement]) -> None:
    """Append what one match of a rule tests."""
    name = module.name
    if name == "comment":
        return
    whole = _WHOLE.get(name)
    if whole is not None:
        try:
            statements += whole(module.options, where)
        except (ValueError, KeyError, OSError):
            statements.append(_unknown(module))
        return
    known = _OPTIONS.get(name)
    if known is None or (name == "ah" and where.family == "ip6"):  # ip6t_ah.c looks for it among all headers
        statements.append(_unknown(module))
        return
    if not module.options:
        statements.append(NO_LATER_FRAGMENT if name in _OF_HEADER else _unknown(module))
        return
    for option in module.options:
        try:
            statements += known[option.name](option.negated, *option.values)
        except (ValueError, KeyError, OSError, TypeError):
            statements.append(_unknown(module, option))
    if where.tool is Tool.IPTABLES_NFT and _compares_ports_as_one(module):
        statements.append(_unknown(module))


def _compares_ports_as_one(module: Module) -> bool:
    """iptables-nft 1.8.9 makes `! --sport 53 ! --dport 22` one comparison of both ports: not this pair.

    Other versions may mean what the words say, and all print it alike.
    """
    negated = {
        option.name for option in module.options if option.negated and ":" not in "".join(option.values)
    }
    return {"--sport", "--dport"} <= negated


def _unknown(module: Module, *options: Option) -> Perhaps:
    why = Why.DEPENDS_ON_THE_MOMENT if module.name in _OF_THE_MOMENT else Why.NOT_UNDERSTOOD
    words = [option.text for option in options or module.options]
    return Perhaps(" ".join(([f"-m {join_words([module.name])}"] if module.name else []) + words), why)


# ---- others -----------------------------------------------------------------------------------------


def _physical(field: Field) -> Callable[[bool, str], tuple[Statement, ...]]:
    def read(negated: bool, text: str) -> tuple[Statement, ...]:
        test = interface_test(field, text, negated)
        return () if test is None else (test,)

    return read


def _has_port(field: Field) -> Callable[[bool], tuple[Statement, ...]]:
    return lambda negated: (Test((field,), Names(frozenset({""})), not negated),)


def _packet_type(negated: bool, text: str) -> tuple[Statement, ...]:
    number = PACKET_TYPES[text.lower()]
    return (Test((Field.PACKET_TYPE,), Numbers(((number, number),)), negated),)


def _reverse_path(options: list[Option], _: Surroundings) -> list[Statement]:
    names = {option.name for option in options}
    if not names <= {"--loose", "--validmark", "--invert"}:
        raise ValueError("an own address as a source is what the form cannot say")
    return [ReversePath("--loose" in names, "--validmark" in names, "--invert" in names)]


def _limit() -> list[Statement]:
    raise ValueError("depends on what passed before")


def _recent(options: list[Option], _: Surroundings) -> list[Statement]:
    for option in options:
        if option.name == "--set":  # recent_mt(): it remembers, and holds
            return [NEVER] if option.negated else []
    return [_unknown(Module("recent", options))]


# Each option of these says something of its own.
_OPTIONS: dict[str, dict[str, Reader]] = {
    "tcp": {**PORTS, "--tcp-flags": tcp_flags, "--syn": syn, "--tcp-option": lambda *_: not_said()},
    "udp": PORTS,
    "udplite": PORTS,
    "sctp": {**PORTS, "--chunk-types": lambda *_: not_said()},
    "dccp": {**PORTS, "--dccp-types": lambda *_: not_said(), "--dccp-option": lambda *_: not_said()},
    "multiport": {
        "--sports": source_ports,
        "--source-ports": source_ports,
        "--dports": destination_ports,
        "--destination-ports": destination_ports,
        "--ports": both_ports,
    },
    "icmp": {"--icmp-type": icmp},
    "icmp6": {"--icmpv6-type": icmpv6},
    "ah": {"--ahspi": any_number(0xFFFFFFFF)},
    "esp": {"--espspi": any_number(0xFFFFFFFF)},
    "ipcomp": {"--ipcompspi": any_number(0xFFFFFFFF)},
    "mh": {"--mh-type": any_number(0xFF)},
    "state": {"--state": state},
    "mark": {"--mark": mark(Field.MARK)},
    "connmark": {"--mark": mark(Field.CT_MARK)},
    "iprange": {
        "--src-range": address_range(Field.SOURCE4, Field.SOURCE6),
        "--dst-range": address_range(Field.DESTINATION4, Field.DESTINATION6),
    },
    "physdev": {
        "--physdev-in": _physical(Field.PHYS_IN),
        "--physdev-out": _physical(Field.PHYS_OUT),
        "--physdev-is-in": _has_port(Field.PHYS_IN),
        "--physdev-is-out": _has_port(Field.PHYS_OUT),
        "--physdev-is-bridged": _has_port(Field.PHYS_OUT),
    },
    "pkttype": {"--pkt-type": _packet_type},
    "length": {"--length": number_of(Field.LENGTH, 0, 65535)},
    "ttl": {
        "--ttl-eq": number_of(Field.TTL, 0, 255),
        "--ttl": number_of(Field.TTL, 0, 255),
        "--ttl-lt": less_than(Field.TTL),
        "--ttl-gt": more_than(Field.TTL),
    },
    "hl": {
        "--hl-eq": number_of(Field.TTL, 0, 255),
        "--hl-lt": less_than(Field.TTL),
        "--hl-gt": more_than(Field.TTL),
    },
    "dscp": {"--dscp": number_of(Field.DSCP, 0, 63), "--dscp-class": dscp_class},
    "tos": {"--tos": tos},
    "ecn": {
        "--ecn-ip-ect": number_of(Field.ECN, 0, 3),
        # xt_ecn.c looks for a TCP header in a later fragment too, and finds what the sender put there
        "--ecn-tcp-cwr": lambda *_: not_said(),
        "--ecn-tcp-ece": lambda *_: not_said(),
    },
}


# The options of these change what the others mean.
_WHOLE: dict[str, Callable[[list[Option], Surroundings], list[Statement]]] = {
    "addrtype": address_type,
    "conntrack": conntrack,
    "limit": lambda *_: _limit(),
    "recent": _recent,
    "rpfilter": _reverse_path,
    "set": in_set,
}

# Whose an option is, in a line that names several matches and then their options
OPTION_NAMES: dict[str, frozenset[str]] = {
    **{name: frozenset(readers) for name, readers in _OPTIONS.items()},
    "addrtype": frozenset({"--src-type", "--dst-type", "--limit-iface-in", "--limit-iface-out"}),
    "comment": frozenset({"--comment"}),
    "conntrack": frozenset({*CONNTRACK, "--ctexpire"}),
    "limit": frozenset({"--limit", "--limit-burst"}),
}
