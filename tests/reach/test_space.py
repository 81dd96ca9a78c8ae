"""Sets of packets: what one question makes is there for the next, and neither changes the other's answer."""

from __future__ import annotations

from crossnet.netfilter.foreign import Field
from crossnet.reach import packets
from crossnet.reach.packets import Space
from crossnet.values import network

CLIENT = network("10.0.43.15/32")


def test_questions_number_their_interfaces_each_for_itself() -> None:
    one, other = Space(), Space()
    by_eth1 = one.interfaces(Field.IIF, ["eth1"])
    by_eth0 = other.interfaces(Field.IIF, ["eth0"])
    assert [one.interface(number) for number in one.values_of(by_eth1, Field.IIF)] == ["eth1"]
    assert [other.interface(number) for number in other.values_of(by_eth0, Field.IIF)] == ["eth0"]


def test_the_source_of_an_answer_is_where_the_request_went() -> None:
    space = Space()
    answers = space.turned()
    assert answers.network(Field.DESTINATION6, CLIENT) == space.network(Field.SOURCE6, CLIENT)
    assert answers.value(Field.SOURCE_PORT, 443) == space.value(Field.DESTINATION_PORT, 443)
    sent = space.network(Field.SOURCE6, CLIENT) & space.value(Field.DESTINATION_PORT, 443)
    assert answers.without(sent, Field.DESTINATION6) == space.value(Field.DESTINATION_PORT, 443) & space.ipv4


def test_an_answer_to_an_answer_is_a_request() -> None:
    space = Space()
    again = space.turned().turned()
    assert again.network(Field.SOURCE6, CLIENT) == space.network(Field.SOURCE6, CLIENT)
    assert again.value(Field.SOURCE_PORT, 443) == space.value(Field.SOURCE_PORT, 443)


def test_bits_are_rewritten_as_one() -> None:
    space = Space()
    marked = space.value(Field.MARK, 0x0F0F)
    assert space.rewritten(marked, Field.MARK, 0xFF00, 0x1201) == space.value(Field.MARK, 0x120E)
    assert space.rewritten(space.all, Field.MARK, 0xFFFF_FFFF, 7) == space.value(Field.MARK, 7)


def test_every_time_to_live_becomes_one_less() -> None:
    space = Space()
    web = space.value(Field.DESTINATION_PORT, 80)
    for ttl in range(256):
        others = space.value(Field.TTL, (ttl + 128) % 256) & ~web
        less, others_less = max(ttl - 1, 0), max((ttl + 128) % 256 - 1, 0)
        aged = space.aged(space.value(Field.TTL, ttl) & web | others)
        assert aged == space.value(Field.TTL, less) & web | space.value(Field.TTL, others_less) & ~web
    assert space.aged(web) == web
    assert space.values_of(space.aged(~space.value(Field.TTL, 1)), Field.TTL) == list(range(255))


def test_what_questions_leave_behind_does_not_pile_up() -> None:
    most = 0
    for begin in range(0, 60_000, 6_000):
        space = Space()
        for number in range(begin, begin + 6_000):
            space.any_of([space.value(Field.CT_SOURCE4, number), space.value(Field.CT_DESTINATION4, number)])
        most = max(most, packets._shared_diagrams().manager.num_inner_nodes())
    assert most < 600_000
