"""Chains walked with sets of packets: each rule decides about exactly what the kernel would let it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from types import MappingProxyType

import pytest

from crossnet.netfilter import foreign
from crossnet.netfilter.foreign import (
    Accept,
    AnyOf,
    Chain,
    Choice,
    Continue,
    Drop,
    Field,
    Hook,
    Jump,
    Map,
    Named,
    Names,
    NoTrack,
    Numbers,
    Perhaps,
    Return,
    Rewrite,
    Rows,
    Rule,
    Statement,
    Table,
    Test,
    Tool,
    Translate,
    Translation,
    Unknown,
    VerdictMap,
    Why,
)
from crossnet.reach.here import Here
from crossnet.reach.matching import OfHost
from crossnet.reach.packets import INVALID, NEW, TCP, UDP, UNTRACKED, Packets, Space
from crossnet.reach.rules import IP, Effect, Walk
from crossnet.values import Address, Family


@pytest.fixture
def space() -> Space:
    space = Space()
    space.know_interfaces(["eth0", "eth1", "wan0"])
    return space


def numbers(*values: int) -> Numbers:
    return Numbers(tuple((value, value) for value in sorted(values)))


def port(*values: int, negated: bool = False) -> Test:
    return Test((Field.DESTINATION_PORT,), numbers(*values), negated)


def mark(value: int) -> Test:
    return Test((Field.MARK,), numbers(value))


def rules(*each: Iterable[Statement]) -> tuple[Rule, ...]:
    return tuple(Rule(tuple(statements), f"rule {number}") for number, statements in enumerate(each, 1))


def chain(name: str, *each: Iterable[Statement], hook: Hook | None = None) -> Chain:
    made = rules(*each)
    return Chain(name, hook, len(made), lambda: made)


def base(
    *each: Iterable[Statement], priority: int = 0, policy: str = "accept", kind: str = "filter"
) -> Chain:
    hook = Hook("postrouting" if kind == "nat" else "forward", kind, priority, policy)
    return chain(f"base{priority}", *each, hook=hook)


def table(*chains: Chain, family: str = "inet", **more: object) -> Table:
    named = MappingProxyType({each.name: each for each in chains})
    return Table(Tool.NFT, family, "t", named, **more)  # type: ignore[arg-type]


def walked(space: Space, packets: Packets, *tables: Table) -> tuple[Here, Walk]:
    def choose(_: Translation, __: str, ___: Family, part: Packets) -> list[tuple[Packets, Address]]:
        return [(part, ip_address("192.0.2.9"))]

    local = OfHost(choose, lambda *_: None, lambda _: None, lambda *_: (space.none, space.all))
    walk = Walk(space, tables, local)
    here = Here.of(packets)
    for _, of, each in walk.base_chains("forward", IP):
        here = walk.enter(of, each, here)
    return here, walk


def tcp(space: Space, to: int | None = None) -> Packets:
    found = space.ipv4 & space.value(Field.PROTOCOL, TCP) & space.value(Field.FRAGMENT, 0)
    return found if to is None else found & space.value(Field.DESTINATION_PORT, to)


def blockers(walk: Walk) -> list[str]:
    dropping = (Effect.DROPS, Effect.POLICY_DROPS, Effect.REJECTS, Effect.UNKNOWN)
    return [decision.text for decision in walk.decisions if decision.effect in dropping]


def test_every_rule_that_would_have_to_change_is_told(space: Space) -> None:
    here, walk = walked(
        space, tcp(space, 22), table(base([port(22), Drop()], [port(80), Drop()], policy="drop"))
    )
    assert blockers(walk) == ["rule 1", "policy drop"]
    assert not here.may.satisfiable()
    assert here.fixed == tcp(space, 22)


def test_the_first_rule_that_matches_decides_about_its_part_only(space: Space) -> None:
    here, walk = walked(space, tcp(space), table(base([port(22), Accept()], [Drop()])))
    assert here.may == tcp(space, 22)
    (decision,) = [each for each in walk.decisions if each.effect is Effect.DROPS]
    assert decision.here.may == tcp(space) & ~space.value(Field.DESTINATION_PORT, 22)


def test_accept_ends_only_its_own_base_chain_and_lower_priorities_come_first(space: Space) -> None:
    late = chain("late", [mark(7), Drop()], hook=Hook("forward", "filter", 10))
    early = chain(
        "early", [Rewrite(Field.MARK, 7, 0xFFFFFFFF), Accept()], hook=Hook("forward", "filter", -10)
    )
    here, walk = walked(space, tcp(space), table(late, early))
    assert blockers(walk) == ["rule 1"]
    assert not here.may.satisfiable()


def test_a_dormant_table_is_never_entered(space: Space) -> None:
    here, _ = walked(space, tcp(space), table(base([Drop()]), dormant=True))
    assert here.may == tcp(space)


def test_a_table_of_the_other_family_sees_nothing(space: Space) -> None:
    here, walk = walked(space, tcp(space), table(base([Drop()]), family="ip6"))
    assert here.may == tcp(space)
    assert not walk.decisions


def test_a_field_that_the_packet_does_not_have_fails_each_test_negated_or_not(space: Space) -> None:
    icmp = space.ipv4 & space.value(Field.PROTOCOL, 1)
    here, _ = walked(space, icmp, table(base([port(22, negated=True), Drop()])))
    assert here.may == icmp
    later_fragment = tcp(space, 22).exists(space.value(Field.FRAGMENT, 0)) & space.value(Field.FRAGMENT, 1)
    here, _ = walked(space, later_fragment, table(base([port(22, 80), Drop()])))
    assert here.may == later_fragment
    source6 = Test((Field.SOURCE6,), numbers(1), negated=True)
    here, _ = walked(space, icmp, table(base([source6, Drop()])))
    assert here.may == icmp


def test_jumps_come_back_gotos_do_not_and_return_ends_a_chain(space: Space) -> None:
    sub = chain("sub", [port(22), Return()], [port(80), Accept()])
    jumping = table(base([Jump("sub")], [Drop()]), sub)
    here, _ = walked(space, tcp(space), jumping)
    assert here.may == tcp(space, 80)
    going = table(base([Jump("sub", goto=True)], [Drop()]), sub)
    here, _ = walked(space, tcp(space), going)
    assert here.may == tcp(space)


def test_a_verdict_map_ends_the_rule_for_what_it_does_not_hold(space: Space) -> None:
    verdicts = Map((((numbers(22),), Accept()), ((numbers(80),), Continue())))
    chosen = VerdictMap((Field.DESTINATION_PORT,), verdicts)
    here, _ = walked(space, tcp(space), table(base([chosen, Drop()])))
    assert here.may == tcp(space) & ~tcp(space, 80)
    assert here.fixed == tcp(space)


def test_a_verdict_map_of_which_the_verdicts_alternate_gives_each_its_own(space: Space) -> None:
    verdicts = Map(tuple(((numbers(each),), (Drop(), Accept())[each % 2]) for each in range(22, 90)))
    here, walk = walked(space, tcp(space), table(base([VerdictMap((Field.DESTINATION_PORT,), verdicts)])))
    assert here.may == tcp(space) & ~space.among((Field.DESTINATION_PORT,), numbers(*range(22, 90, 2)))
    assert len(walk.decisions) == 2


def test_of_keys_that_overlap_the_first_counts(space: Space) -> None:
    many = Numbers(((20, 30),))
    verdicts = Map((((numbers(22),), Accept()), ((many,), Drop()), ((numbers(25),), Accept())))
    here, _ = walked(space, tcp(space), table(base([VerdictMap((Field.DESTINATION_PORT,), verdicts)])))
    assert here.may == tcp(space) & ~space.among((Field.DESTINATION_PORT,), many) | tcp(space, 22)


def marking(count: int) -> Table:
    """Every port gets a mark of its own, of bits that have nothing to do with each other."""
    given = [(number * 0x9E3779B1 & 0xFFFFFFFF, number * 0x85EBCA6B & 0xFFFFFFFF) for number in range(count)]
    setting: list[list[Statement]] = [
        [port(at), Rewrite(Field.MARK, value, mask)] for at, (value, mask) in enumerate(given)
    ]
    return table(base(*setting, [port(1), mark(given[1][0]), Drop()]))


def test_marks_beyond_number_are_not_followed_and_that_is_said(space: Space) -> None:
    unmarked = tcp(space) & space.value(Field.MARK, 0)
    _, walk = walked(space, unmarked, marking(40))
    assert not walk.doubts
    here, walk = walked(space, unmarked, marking(2000))
    assert list(walk.doubts) == ["base0 gives more marks than are followed"]
    assert space.without(here.may, Field.MARK) == tcp(space)
    (decision,) = walk.decisions
    assert not decision.here.surely.satisfiable()
    assert decision.doubts == tuple(walk.doubts)


def test_a_verdict_by_chance_is_each_of_them_perhaps(space: Space) -> None:
    here, walk = walked(space, tcp(space), table(base([Choice((Drop(), Accept()), "numgen random")])))
    assert here.may == tcp(space)
    assert walk.decisions[0].doubts == ("numgen random",)
    assert not walk.decisions[0].here.surely.satisfiable()


def test_what_nobody_can_say_is_possible_and_named(space: Space) -> None:
    limited = Perhaps("limit rate 1/second", Why.DEPENDS_ON_THE_MOMENT)
    here, walk = walked(space, tcp(space), table(base([limited, Drop()], [Drop()])))
    first, second = walk.decisions
    assert first.doubts == ("limit rate 1/second",)
    assert not first.here.surely.satisfiable()
    assert second.here.surely == tcp(space), "without the first rule the second drops for certain"
    assert not here.may.satisfiable()


def test_an_unknown_action_may_drop_and_may_do_nothing(space: Space) -> None:
    here, walk = walked(space, tcp(space), table(base([Unknown("xt_secret")])))
    assert blockers(walk) == ["rule 1"]
    assert walk.decisions[0].doubts == ("xt_secret",)
    assert here.may == tcp(space)


def test_a_set_that_changes_by_itself_answers_neither_way(space: Space) -> None:
    unsettled = foreign.Set("seen", numbers(22), settled=False)
    of = table(base([Test((Field.DESTINATION_PORT,), Named("seen")), Drop()]), sets={"seen": unsettled})
    here, walk = walked(space, tcp(space), of)
    assert here.may == tcp(space)
    assert "seen" in walk.decisions[0].doubts[0]


def test_a_concatenation_is_one_of_its_rows(space: Space) -> None:
    rows = Rows(
        ((numbers(22), Names(frozenset({"eth0"}))), (numbers(80), Names(frozenset(), frozenset({"wan"}))))
    )
    test = Test((Field.DESTINATION_PORT, Field.IIF), rows)
    came = {name: tcp(space) & space.interfaces(Field.IIF, (name,)) for name in ("eth0", "eth1", "wan0")}
    here, _ = walked(space, space.any_of(came.values()), table(base([test, Accept()], policy="drop")))
    assert here.may == came["eth0"] & tcp(space, 22) | came["wan0"] & tcp(space, 80)


def test_bits_masks_and_either_port(space: Space) -> None:
    established = Test((Field.CT_STATE,), Numbers(()), any_bit=2 | 4)
    new = tcp(space) & space.value(Field.CT_STATE, NEW)
    here, _ = walked(space, new, table(base([established, Accept()], policy="drop")))
    assert not here.may.satisfiable()
    masked = Test((Field.MARK,), numbers(1), mask=0xF)
    here, _ = walked(space, tcp(space) & space.value(Field.MARK, 0x31), table(base([masked, Drop()])))
    assert not here.may.satisfiable()
    either = AnyOf((Test((Field.SOURCE_PORT,), numbers(53)), port(53)), negated=True)
    here, _ = walked(space, tcp(space), table(base([either, Drop()])))
    assert here.may == tcp(space, 53) | tcp(space) & space.value(Field.SOURCE_PORT, 53)
    icmp = space.ipv4 & space.value(Field.PROTOCOL, 1)
    here, _ = walked(space, icmp, table(base([either, Drop()])))
    assert not here.may.satisfiable(), "what has no ports is not among them"


def test_what_is_not_tracked_is_untracked_afterwards(space: Space) -> None:
    udp = space.value(Field.PROTOCOL, UDP) & space.value(Field.CT_STATE, INVALID)
    here, _ = walked(space, udp, table(base([NoTrack()])))
    assert here.may == space.value(Field.PROTOCOL, UDP) & space.value(Field.CT_STATE, UNTRACKED)


def test_the_first_rule_that_translates_counts_and_the_flow_remembers_what_it_was(space: Space) -> None:
    given = Numbers(((int(ip_address("10.0.44.63")),) * 2,))
    snat = base([port(22), Translate(Translation.SOURCE, given)], kind="nat")
    masquerade = base([Translate(Translation.MASQUERADE)], kind="nat", priority=5)
    source = space.network(Field.SOURCE4, ip_network("10.0.43.0/24"))
    leaving = space.with_interface(tcp(space) & source, Field.OIF, "eth1")
    packets = space.tied(space.with_value(leaving, Field.CT_STATUS, 0))
    _, walk = walked(space, packets, table(snat, masquerade))
    here = Here.of(packets)
    for _, of, each in walk.base_chains("postrouting", IP, nat=True):
        here = walk.translate(of, each, here)
    to22 = here.may & space.value(Field.DESTINATION_PORT, 22)
    others = here.may & ~space.value(Field.DESTINATION_PORT, 22)
    assert space.without(to22, Field.SOURCE4) & space.address(Field.SOURCE4, ip_address("10.0.44.63")) == to22
    assert space.values_of(to22, Field.CT_STATUS) == [16]
    assert space.common(others, Field.SOURCE4) == (int(ip_address("192.0.2.9")), 32)
    assert not (space.as_first(here.may) & ~source).satisfiable()
