"""The matches of iptables that look at a packet's headers: ports, flags, types, lengths."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from crossnet.netfilter.foreign import AnyOf, Field, Numbers, Statement, Test
from crossnet.netfilter.xtables_names import DSCP_CLASSES, ICMP_TYPES, ICMPV6_TYPES, TCP_FLAGS, TOS_VALUES
from crossnet.netfilter.xtables_options import masked, parse_range
from crossnet.netfilter.xtables_reading import NEVER, NO_LATER_FRAGMENT, Reader, all_of, not_said


@lru_cache(maxsize=4096)
def _port(field: Field, negated: bool, text: str) -> tuple[Statement, ...]:
    ports = parse_range(text, 65535)
    if ports == (0, 65535) and not negated:
        return (NO_LATER_FRAGMENT,)
    return (Test((field,), Numbers((ports,)), negated),)


def _source_port(negated: bool, text: str) -> tuple[Statement, ...]:
    return _port(Field.SOURCE_PORT, negated, text)


def _destination_port(negated: bool, text: str) -> tuple[Statement, ...]:
    return _port(Field.DESTINATION_PORT, negated, text)


def _ports(text: str) -> Numbers:
    return Numbers.of(parse_range(each, 65535) for each in text.split(","))


def source_ports(negated: bool, text: str) -> tuple[Statement, ...]:
    return (Test((Field.SOURCE_PORT,), _ports(text), negated),)


def destination_ports(negated: bool, text: str) -> tuple[Statement, ...]:
    return (Test((Field.DESTINATION_PORT,), _ports(text), negated),)


def both_ports(negated: bool, text: str) -> tuple[Statement, ...]:
    source, destination = *source_ports(negated, text), *destination_ports(negated, text)
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


def tcp_flags(negated: bool, mask: str, compared: str) -> tuple[Statement, ...]:
    flags = _flags(compared)
    return (Test((Field.TCP_FLAGS,), Numbers(((flags, flags),)), negated, _flags(mask)),)


def syn(negated: bool) -> tuple[Statement, ...]:
    return tcp_flags(negated, "FIN,SYN,RST,ACK", "SYN")


def icmp(negated: bool, text: str) -> tuple[Statement, ...]:
    # icmp_type_code_match(): type 255 is any, of IPv4 only
    if text == "any" or text.partition("/")[0] == "255":
        return (NEVER,) if negated else (NO_LATER_FRAGMENT,)
    return _icmp_type(negated, text, ICMP_TYPES)


def icmpv6(negated: bool, text: str) -> tuple[Statement, ...]:
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
    return all_of(negated, _icmp_type_of(text, names is ICMPV6_TYPES))


def number_of(field: Field, first: int, last: int) -> Callable[[bool, str], tuple[Statement, ...]]:
    """A reader of a number or a range of one field; `first` and `last` are what it can be."""

    def read(negated: bool, text: str) -> tuple[Statement, ...]:
        low, high = parse_range(text, last)
        return (Test((field,), Numbers(((max(low, first), high),)), negated),)

    return read


def less_than(field: Field) -> Callable[[bool, str], tuple[Statement, ...]]:
    """A reader of a number that the field's is below (`--ttl-lt`)."""

    def read(negated: bool, text: str) -> tuple[Statement, ...]:
        most = int(text, 0) - 1
        return (Test((field,), Numbers(((0, most),) if most >= 0 else ()), negated),)

    return read


def more_than(field: Field) -> Callable[[bool, str], tuple[Statement, ...]]:
    """A reader of a number that the field's, of one byte, is above (`--ttl-gt`)."""

    def read(negated: bool, text: str) -> tuple[Statement, ...]:
        least = int(text, 0) + 1
        return (Test((field,), Numbers(((least, 255),) if least <= 255 else ()), negated),)

    return read


def any_number(last: int) -> Callable[[bool, str], tuple[Statement, ...]]:
    """A number of a header that the form does not hold: only whether it may be any can be said."""

    def read(negated: bool, text: str) -> tuple[Statement, ...]:
        if parse_range(text, last) != (0, last):
            return not_said()
        return (NEVER,) if negated else (NO_LATER_FRAGMENT,)

    return read


def dscp_class(negated: bool, text: str) -> tuple[Statement, ...]:
    number = DSCP_CLASSES[text.upper()]
    return (Test((Field.DSCP,), Numbers(((number, number),)), negated),)


def tos(negated: bool, text: str) -> tuple[Statement, ...]:
    if text.lower() in TOS_VALUES:
        value, mask = TOS_VALUES[text.lower()], 0x3F
    else:
        value, mask = masked(text, 0xFF)
    if value & ~mask:
        return () if negated else (NEVER,)
    # the byte is held in two parts: six bits of class, two of congestion
    tests = [
        Test((field,), Numbers(((number, number),)), False, None if bits == width else bits)
        for field, number, bits, width in (
            (Field.DSCP, value >> 2, mask >> 2, 0x3F),
            (Field.ECN, value & 3, mask & 3, 3),
        )
        if bits
    ]
    return all_of(negated, tests) if tests else ((NEVER,) if negated else ())


PORTS: dict[str, Reader] = {
    "--sport": _source_port,
    "--source-port": _source_port,
    "--dport": _destination_port,
    "--destination-port": _destination_port,
}
