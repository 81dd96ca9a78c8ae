"""The matches of iptables that look at marks and at connection tracking."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from crossnet.netfilter.foreign import AnyOf, Field, Numbers, Perhaps, Statement, Test, Why
from crossnet.netfilter.protocol_names import PROTOCOLS
from crossnet.netfilter.xtables_names import CT_STATES, CT_STATUS, CT_TRANSLATED
from crossnet.netfilter.xtables_options import Option, Surroundings, address_test, masked, parse_range
from crossnet.netfilter.xtables_reading import Reader


@lru_cache(maxsize=1024)
def state(negated: bool, text: str) -> tuple[Statement, ...]:
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


def conntrack(options: list[Option], _: Surroundings) -> list[Statement]:
    statements: list[Statement] = []
    for option in options:
        if option.name == "--ctexpire":
            statements.append(Perhaps(f"-m conntrack {option.text}", Why.DEPENDS_ON_THE_MOMENT))
            continue
        statements += CONNTRACK[option.name](option.negated, *option.values)
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


def mark(field: Field) -> Callable[[bool, str], tuple[Statement, ...]]:
    def read(negated: bool, text: str) -> tuple[Statement, ...]:
        value, mask = masked(text)
        return (Test((field,), Numbers(((value, value),)), negated, None if mask == 0xFFFFFFFF else mask),)

    return read


CONNTRACK: dict[str, Reader] = {
    "--ctstate": state,
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
