"""The matches of iptables (`-m …`) as tests: what net/netfilter/xt_*.c and ipt_*.c compare of a packet.

A match that is not understood, or only in part, keeps its words as `Perhaps`; one that depends on time, chance or
what passed before says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from crossnet.netfilter.foreign import (
    AnyOf,
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
from crossnet.netfilter.ipset_save import matches_set, set_tests
from crossnet.netfilter.iptables_words import join_words
from crossnet.netfilter.protocol_names import PROTOCOLS
from crossnet.netfilter.xtables_names import (
    ADDRESS_TYPES,
    CT_STATES,
    CT_STATUS,
    CT_TRANSLATED,
    DSCP_CLASSES,
    ICMP_TYPES,
    ICMPV6_TYPES,
    PACKET_TYPES,
    TCP_FLAGS,
    TOS_VALUES,
)
from crossnet.netfilter.xtables_options import (
    Module,
    Option,
    Surroundings,
    address_test,
    interface_test,
    masked,
    parse_address,
    parse_range,
)

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
_NO_LATER_FRAGMENT = Test((Field.FRAGMENT,), Numbers(((0, 0),)))

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

# What holds for no packet
_NEVER = AnyOf(())


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
        statements.append(_NO_LATER_FRAGMENT if name in _OF_HEADER else _unknown(module))
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


def _all(negated: bool, tests: Sequence[Test]) -> tuple[Statement, ...]:
    """All these tests hold; negated, one of them does not (and a packet without the field fails that too)."""
    if not negated:
        return tuple(tests)
    turned = tuple(replace(test, negated=not test.negated) for test in tests)
    return turned if len(turned) == 1 else (AnyOf(turned),)


# ---- ports ------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _port(field: Field, negated: bool, text: str) -> tuple[Statement, ...]:
    ports = parse_range(text, 65535)
    if ports == (0, 65535) and not negated:
        return (_NO_LATER_FRAGMENT,)
    return (Test((field,), Numbers((ports,)), negated),)


def _source_port(negated: bool, text: str) -> tuple[Statement, ...]:
    return _port(Field.SOURCE_PORT, negated, text)


def _destination_port(negated: bool, text: str) -> tuple[Statement, ...]:
    return _port(Field.DESTINATION_PORT, negated, text)


def _ports(text: str) -> Numbers:
    return Numbers.of(parse_range(each, 65535) for each in text.split(","))


def _source_ports(negated: bool, text: str) -> tuple[Statement, ...]:
    return (Test((Field.SOURCE_PORT,), _ports(text), negated),)


def _destination_ports(negated: bool, text: str) -> tuple[Statement, ...]:
    return (Test((Field.DESTINATION_PORT,), _ports(text), negated),)


def _both_ports(negated: bool, text: str) -> tuple[Statement, ...]:
    source, destination = *_source_ports(negated, text), *_destination_ports(negated, text)
    # negated: neither of them, each as a test of its own, so that a packet without ports fails it
    return (source, destination) if negated else (_any_of(source, destination),)


def _any_of(*statements: Statement) -> AnyOf:
    return AnyOf(tuple(each for each in statements if isinstance(each, Test)))


# ---- headers ----------------------------------------------------------------------------------------


def _flags(text: str) -> int:
    flags = 0
    for name in text.split(","):
        flags |= TCP_FLAGS[name.upper()]
    return flags


def _tcp_flags(negated: bool, mask: str, compared: str) -> tuple[Statement, ...]:
    flags = _flags(compared)
    return (Test((Field.TCP_FLAGS,), Numbers(((flags, flags),)), negated, _flags(mask)),)


def _syn(negated: bool) -> tuple[Statement, ...]:
    return _tcp_flags(negated, "FIN,SYN,RST,ACK", "SYN")


def _icmp(negated: bool, text: str) -> tuple[Statement, ...]:
    # icmp_type_code_match(): type 255 is any, of IPv4 only
    if text == "any" or text.partition("/")[0] == "255":
        return (_NEVER,) if negated else (_NO_LATER_FRAGMENT,)
    return _icmp_type(negated, text, ICMP_TYPES)


def _icmpv6(negated: bool, text: str) -> tuple[Statement, ...]:
    return _icmp_type(negated, text, ICMPV6_TYPES)


@lru_cache(maxsize=1024)
def _icmp_type_of(text: str, is_six: bool) -> tuple[Test, ...]:
    kind_text, slash, code_text = text.partition("/")
    codes: tuple[int, int] | None = None
    if kind_text[:1].isdecimal():
        kind = int(kind_text, 0)
        if slash:
            first, colon, last = code_text.partition(":")
            codes = (int(first), int(last if colon else first))
    else:
        kind, code = (ICMPV6_TYPES if is_six else ICMP_TYPES)[text.lower()]
        codes = None if code is None else (code, code)
    tests = (Test((Field.ICMP_TYPE,), Numbers(((kind, kind),))),)
    if codes is None or codes == (0, 255):
        return tests
    return (*tests, Test((Field.ICMP_CODE,), Numbers((codes,))))


def _icmp_type(negated: bool, text: str, names: dict[str, tuple[int, int | None]]) -> tuple[Statement, ...]:
    return _all(negated, _icmp_type_of(text, names is ICMPV6_TYPES))


def _field(field: Field, first: int, last: int) -> Callable[[bool, str], tuple[Statement, ...]]:
    """A test of a number or a range of one field; `first` and `last` are what it can be."""

    def read(negated: bool, text: str) -> tuple[Statement, ...]:
        low, high = parse_range(text, last)
        return (Test((field,), Numbers(((max(low, first), high),)), negated),)

    return read


def _less(field: Field) -> Callable[[bool, str], tuple[Statement, ...]]:
    def read(negated: bool, text: str) -> tuple[Statement, ...]:
        most = int(text, 0) - 1
        return (Test((field,), Numbers(((0, most),) if most >= 0 else ()), negated),)

    return read


def _more(field: Field) -> Callable[[bool, str], tuple[Statement, ...]]:
    def read(negated: bool, text: str) -> tuple[Statement, ...]:
        least = int(text, 0) + 1
        return (Test((field,), Numbers(((least, 255),) if least <= 255 else ()), negated),)

    return read


def _any_number(last: int) -> Callable[[bool, str], tuple[Statement, ...]]:
    """A number of a header that the form does not hold: only whether it may be any can be said."""

    def read(negated: bool, text: str) -> tuple[Statement, ...]:
        if parse_range(text, last) != (0, last):
            return _not_said()
        return (_NEVER,) if negated else (_NO_LATER_FRAGMENT,)

    return read


def _dscp_class(negated: bool, text: str) -> tuple[Statement, ...]:
    number = DSCP_CLASSES[text.upper()]
    return (Test((Field.DSCP,), Numbers(((number, number),)), negated),)


def _tos(negated: bool, text: str) -> tuple[Statement, ...]:
    if text.lower() in TOS_VALUES:
        value, mask = TOS_VALUES[text.lower()], 0x3F
    else:
        value, mask = masked(text, 0xFF)
    if value & ~mask:
        return () if negated else (_NEVER,)
    # the byte is held in two parts: six bits of class, two of congestion
    tests = [
        Test((field,), Numbers(((number, number),)), False, None if bits == width else bits)
        for field, number, bits, width in (
            (Field.DSCP, value >> 2, mask >> 2, 0x3F),
            (Field.ECN, value & 3, mask & 3, 3),
        )
        if bits
    ]
    return _all(negated, tests) if tests else ((_NEVER,) if negated else ())


# ---- connection tracking and marks ------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _state(negated: bool, text: str) -> tuple[Statement, ...]:
    bits = translated = 0
    for name in text.upper().split(","):
        if name in CT_TRANSLATED:
            translated |= CT_TRANSLATED[name]
        else:
            bits |= CT_STATES[name]
    tests = []
    if bits:
        tests.append(Test((Field.CT_STATE,), Numbers(()), any_bit=bits))
    if translated:
        tests.append(Test((Field.CT_STATUS,), Numbers(()), any_bit=translated))
    if len(tests) == 1 and not translated:
        return (Test(tests[0].fields, tests[0].values, negated, any_bit=bits),)
    return (AnyOf(tuple(tests), negated),)


def _ct_status(negated: bool, text: str) -> tuple[Statement, ...]:
    bits = 0
    for name in text.upper().split(","):
        bits |= CT_STATUS[name]
    return (Test((Field.CT_STATUS,), Numbers(()), negated, any_bit=bits),)


def _ct_protocol(negated: bool, text: str) -> tuple[Statement, ...]:
    number = int(text) if text.isdecimal() else PROTOCOLS[text.lower()]
    return (Test((Field.CT_PROTOCOL,), Numbers(((number, number),)), negated),)


def _ct_direction(negated: bool, text: str) -> tuple[Statement, ...]:
    number = ("ORIGINAL", "REPLY").index(text.upper())
    return (Test((Field.CT_DIRECTION,), Numbers(((number, number),)), negated),)


def _ct_address(four: Field, six: Field) -> Callable[[bool, str], tuple[Statement, ...]]:
    def read(negated: bool, text: str) -> tuple[Statement, ...]:
        test = address_test(six if ":" in text else four, text, negated)
        # all addresses, but of a packet that belongs to a flow
        return (_TRACKED if test is None else test,)

    return read


def _ct_port(field: Field) -> Callable[[bool, str], tuple[Statement, ...]]:
    return lambda negated, text: (Test((field,), Numbers((parse_range(text, 65535),)), negated),)


_TRACKED = Test((Field.CT_DIRECTION,), Numbers(((0, 1),)))
_MAY_BE_NO_FLOW = CT_STATES["INVALID"] | CT_STATES["UNTRACKED"]


def _conntrack(options: list[Option], _: Surroundings) -> list[Statement]:
    statements: list[Statement] = []
    for option in options:
        if option.name == "--ctexpire":
            statements.append(Perhaps(f"-m conntrack {option.text}", Why.DEPENDS_ON_THE_MOMENT))
            continue
        statements += _CONNTRACK[option.name](option.negated, *option.values)
    stateful = [option for option in options if option.name == "--ctstate"]
    if stateful and len(options) > 1:
        bits = sum(CT_STATES.get(name, 0) for name in set(stateful[0].value.upper().split(",")))
        no_flow = (
            bits & _MAY_BE_NO_FLOW if not stateful[0].negated else bits & _MAY_BE_NO_FLOW != _MAY_BE_NO_FLOW
        )
        if no_flow:
            # conntrack_mt(): of a packet without a flow only the state is looked at, and the rest holds
            raise ValueError("the other options count for packets with a flow only")
    return statements


def _mark(field: Field) -> Callable[[bool, str], tuple[Statement, ...]]:
    def read(negated: bool, text: str) -> tuple[Statement, ...]:
        value, mask = masked(text)
        return (Test((field,), Numbers(((value, value),)), negated, None if mask == 0xFFFFFFFF else mask),)

    return read


# ---- addresses --------------------------------------------------------------------------------------


def _range(four: Field, six: Field) -> Callable[[bool, str], tuple[Statement, ...]]:
    def read(negated: bool, text: str) -> tuple[Statement, ...]:
        first, dash, last = text.partition("-")
        low, high = parse_address(first), parse_address(last if dash else first)
        field = six if ":" in first else four
        return (Test((field,), Numbers(((low, high),) if low <= high else ()), negated),)

    return read


# ipv6_addr_type(): all that is neither multicast nor :: nor ::ffff:0:0/96
_ALL6 = (1 << 128) - 1
_MULTICAST6 = (0xFF << 120, _ALL6)
_UNICAST6 = ((1, (0xFFFF << 32) - 1), (0x10000 << 32, (0xFF << 120) - 1))


def _address_type(options: list[Option], where: Surroundings) -> list[Statement]:
    statements: list[Statement] = []
    for option in options:
        types = {ADDRESS_TYPES[name] for name in option.value.upper().split(",")}
        is_source = {"--src-type": True, "--dst-type": False}[option.name]
        if where.family == "ip":
            field = Field.SOURCE_TYPE if is_source else Field.DESTINATION_TYPE
            statements.append(Test((field,), Numbers.of((each, each) for each in types), option.negated))
        else:
            statements += _all(option.negated, _address_type6(types, is_source))
    return statements


def _address_type6(types: set[int], is_source: bool) -> list[Test]:
    """xt_addrtype.c: match_type6(): what the address alone says, and then what the routes say of it."""
    address = Field.SOURCE6 if is_source else Field.DESTINATION6
    tests: list[Test] = []
    if ADDRESS_TYPES["MULTICAST"] in types:
        tests.append(Test((address,), Numbers((_MULTICAST6,))))
    if ADDRESS_TYPES["UNICAST"] in types:
        tests.append(Test((address,), Numbers(_UNICAST6)))
    if ADDRESS_TYPES["UNSPEC"] in types:
        tests.append(Test((address,), Numbers(((0, 0),))))
    routed: set[int] = types & {ADDRESS_TYPES["LOCAL"], ADDRESS_TYPES["ANYCAST"]}
    if ADDRESS_TYPES["UNREACHABLE"] in types:  # RTF_REJECT: every route that refuses
        routed |= {ADDRESS_TYPES[name] for name in ("BLACKHOLE", "UNREACHABLE", "PROHIBIT", "THROW")}
    if routed or ADDRESS_TYPES["PROHIBIT"] in types:
        field = Field.SOURCE_TYPE if is_source else Field.DESTINATION_TYPE
        tests.append(Test((field,), Numbers.of((each, each) for each in routed)))
    return tests


def _set(options: list[Option], where: Surroundings) -> list[Statement]:
    first, *further = [option for option in options if not option.name.startswith("--update-")]
    name, directions = first.values
    if first.name not in ("--match-set", "--set"):
        raise ValueError("no set is named")
    tests = set_tests(name, directions.split(","), where.family, where.sets)
    if tests is None or any(option.name == "--return-nomatch" for option in further):
        raise ValueError("a set that is not understood")
    statements: list[Statement] = []
    if further:  # counters of the member; `!` before the set would turn them round with it
        if first.negated:
            raise ValueError("a negated match with counters")
        text = " ".join(option.text for option in further)
        statements.append(Perhaps(f"-m set {text}", Why.DEPENDS_ON_THE_MOMENT))
    found = matches_set(tests, first.negated)
    return statements if found is None else [found, *statements]


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
            return [_NEVER] if option.negated else []
    return [_unknown(Module("recent", options))]


_Reader = Callable[..., tuple[Statement, ...]]

_PORTS: dict[str, _Reader] = {
    "--sport": _source_port,
    "--source-port": _source_port,
    "--dport": _destination_port,
    "--destination-port": _destination_port,
}
_CONNTRACK: dict[str, _Reader] = {
    "--ctstate": _state,
    "--ctproto": _ct_protocol,
    "--ctstatus": _ct_status,
    "--ctdir": _ct_direction,
    "--ctorigsrc": _ct_address(Field.CT_SOURCE4, Field.CT_SOURCE6),
    "--ctorigdst": _ct_address(Field.CT_DESTINATION4, Field.CT_DESTINATION6),
    "--ctreplsrc": _ct_address(Field.CT_REPLY_SOURCE4, Field.CT_REPLY_SOURCE6),
    "--ctrepldst": _ct_address(Field.CT_REPLY_DESTINATION4, Field.CT_REPLY_DESTINATION6),
    "--ctorigsrcport": _ct_port(Field.CT_SOURCE_PORT),
    "--ctorigdstport": _ct_port(Field.CT_DESTINATION_PORT),
    "--ctreplsrcport": _ct_port(Field.CT_REPLY_SOURCE_PORT),
    "--ctrepldstport": _ct_port(Field.CT_REPLY_DESTINATION_PORT),
}

# Each option of these says something of its own.
_OPTIONS: dict[str, dict[str, _Reader]] = {
    "tcp": {**_PORTS, "--tcp-flags": _tcp_flags, "--syn": _syn, "--tcp-option": lambda *_: _not_said()},
    "udp": _PORTS,
    "udplite": _PORTS,
    "sctp": {**_PORTS, "--chunk-types": lambda *_: _not_said()},
    "dccp": {**_PORTS, "--dccp-types": lambda *_: _not_said(), "--dccp-option": lambda *_: _not_said()},
    "multiport": {
        "--sports": _source_ports,
        "--source-ports": _source_ports,
        "--dports": _destination_ports,
        "--destination-ports": _destination_ports,
        "--ports": _both_ports,
    },
    "icmp": {"--icmp-type": _icmp},
    "icmp6": {"--icmpv6-type": _icmpv6},
    "ah": {"--ahspi": _any_number(0xFFFFFFFF)},
    "esp": {"--espspi": _any_number(0xFFFFFFFF)},
    "ipcomp": {"--ipcompspi": _any_number(0xFFFFFFFF)},
    "mh": {"--mh-type": _any_number(0xFF)},
    "state": {"--state": _state},
    "mark": {"--mark": _mark(Field.MARK)},
    "connmark": {"--mark": _mark(Field.CT_MARK)},
    "iprange": {
        "--src-range": _range(Field.SOURCE4, Field.SOURCE6),
        "--dst-range": _range(Field.DESTINATION4, Field.DESTINATION6),
    },
    "physdev": {
        "--physdev-in": _physical(Field.PHYS_IN),
        "--physdev-out": _physical(Field.PHYS_OUT),
        "--physdev-is-in": _has_port(Field.PHYS_IN),
        "--physdev-is-out": _has_port(Field.PHYS_OUT),
        "--physdev-is-bridged": _has_port(Field.PHYS_OUT),
    },
    "pkttype": {"--pkt-type": _packet_type},
    "length": {"--length": _field(Field.LENGTH, 0, 65535)},
    "ttl": {
        "--ttl-eq": _field(Field.TTL, 0, 255),
        "--ttl": _field(Field.TTL, 0, 255),
        "--ttl-lt": _less(Field.TTL),
        "--ttl-gt": _more(Field.TTL),
    },
    "hl": {
        "--hl-eq": _field(Field.TTL, 0, 255),
        "--hl-lt": _less(Field.TTL),
        "--hl-gt": _more(Field.TTL),
    },
    "dscp": {"--dscp": _field(Field.DSCP, 0, 63), "--dscp-class": _dscp_class},
    "tos": {"--tos": _tos},
    "ecn": {
        "--ecn-ip-ect": _field(Field.ECN, 0, 3),
        # xt_ecn.c looks for a TCP header in a later fragment too, and finds what the sender put there
        "--ecn-tcp-cwr": lambda *_: _not_said(),
        "--ecn-tcp-ece": lambda *_: _not_said(),
    },
}


def _not_said() -> tuple[Statement, ...]:
    raise ValueError("in no words of the form")


# The options of these change what the others mean.
_WHOLE: dict[str, Callable[[list[Option], Surroundings], list[Statement]]] = {
    "addrtype": _address_type,
    "conntrack": _conntrack,
    "limit": lambda *_: _limit(),
    "recent": _recent,
    "rpfilter": _reverse_path,
    "set": _set,
}

# Whose an option is, in a line that names several matches and then their options
OPTION_NAMES: dict[str, frozenset[str]] = {
    **{name: frozenset(readers) for name, readers in _OPTIONS.items()},
    "addrtype": frozenset({"--src-type", "--dst-type", "--limit-iface-in", "--limit-iface-out"}),
    "comment": frozenset({"--comment"}),
    "conntrack": frozenset({*_CONNTRACK, "--ctexpire"}),
    "limit": frozenset({"--limit", "--limit-burst"}),
}
