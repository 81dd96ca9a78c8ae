"""The matches of iptables that look at addresses: ranges, types, sets."""

from __future__ import annotations

from collections.abc import Callable

from crossnet.netfilter.address_types import ADDRESS_TYPES
from crossnet.netfilter.foreign import Field, Numbers, Perhaps, Statement, Test, Why
from crossnet.netfilter.ipset_save import matches_set, set_tests
from crossnet.netfilter.xtables_options import Option, Surroundings, parse_address
from crossnet.netfilter.xtables_reading import all_of


def address_range(four: Field, six: Field) -> Callable[[bool, str], tuple[Statement, ...]]:
    """A reader of `FIRST-LAST` or one address, as a test of the field that its family has."""

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


def address_type(options: list[Option], where: Surroundings) -> list[Statement]:
    statements: list[Statement] = []
    for option in options:
        types = {ADDRESS_TYPES[name] for name in option.value.lower().split(",")}
        is_source = {"--src-type": True, "--dst-type": False}[option.name]
        if where.family == "ip":
            field = Field.SOURCE_TYPE if is_source else Field.DESTINATION_TYPE
            statements.append(Test((field,), Numbers.of((each, each) for each in types), option.negated))
        else:
            statements += all_of(option.negated, _address_type6(types, is_source))
    return statements


def _address_type6(types: set[int], is_source: bool) -> list[Test]:
    """xt_addrtype.c: match_type6(): what the address alone says, and then what the routes say of it."""
    address = Field.SOURCE6 if is_source else Field.DESTINATION6
    tests: list[Test] = []
    if ADDRESS_TYPES["multicast"] in types:
        tests.append(Test((address,), Numbers((_MULTICAST6,))))
    if ADDRESS_TYPES["unicast"] in types:
        tests.append(Test((address,), Numbers(_UNICAST6)))
    if ADDRESS_TYPES["unspec"] in types:
        tests.append(Test((address,), Numbers(((0, 0),))))
    routed: set[int] = types & {ADDRESS_TYPES["local"], ADDRESS_TYPES["anycast"]}
    if ADDRESS_TYPES["unreachable"] in types:  # RTF_REJECT: every route that refuses
        routed |= {ADDRESS_TYPES[name] for name in ("blackhole", "unreachable", "prohibit", "throw")}
    if routed or ADDRESS_TYPES["prohibit"] in types:
        field = Field.SOURCE_TYPE if is_source else Field.DESTINATION_TYPE
        tests.append(Test((field,), Numbers.of((each, each) for each in routed)))
    return tests


def in_set(options: list[Option], where: Surroundings) -> list[Statement]:
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
