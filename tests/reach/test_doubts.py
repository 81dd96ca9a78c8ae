"""What facts do not tell is named, and nothing else is in doubt."""

from __future__ import annotations

import pytest

from crossnet.netfilter.foreign import Field, Numbers, Perhaps, Set, Table, Test, Tool, Why
from crossnet.netfilter.nft_foreign.rule import read_rule
from crossnet.reach.here import Here
from crossnet.reach.local import local_of
from crossnet.reach.matching import Matching
from crossnet.reach.packets import Space
from crossnet.reach.path import Disposition, Reached
from crossnet.reach.routing import Routing
from reach.test_path import APP, GATEWAY, SNAT, asked, codes, with_rules


def with_iptables(*rules: str, before: str = "") -> Reached:
    text = f"{before}*filter\n" + "".join(f"-A FORWARD {rule}\n" for rule in rules) + "COMMIT\n"
    return asked(APP, with_rules(with_rules(GATEWAY, SNAT), text), "icmp")


@pytest.mark.parametrize(
    "holds",
    ["! --physdev-is-bridged", "! --physdev-is-in", "! --physdev-is-out", "! --physdev-in vnet0"],
)
def test_what_came_by_no_bridge_is_known_to_have_come_by_no_port(holds: str) -> None:
    dropped = with_iptables(f"-m physdev {holds} -j DROP")
    assert codes(dropped) == ["filter-rule-drop"] * 2
    assert all(each.certain and not each.doubts for each in dropped.request.blockers)
    assert with_iptables(f"-m physdev {holds} -j ACCEPT", "-j DROP").passes
    turned = holds.removeprefix("! ")
    assert with_iptables(f"-m physdev {turned} -j DROP").passes
    assert with_iptables(f"-m physdev {turned} -j ACCEPT", "-j DROP").passes is False


def test_a_rule_that_does_nothing_puts_nothing_in_doubt() -> None:
    answer = with_iptables("-m limit --limit 1/min -j LOG", "-m limit --limit 1/min", "-j DROP")
    (blocker, _) = (*answer.request.blockers, *answer.reply.blockers)
    assert blocker.certain
    assert blocker.doubts == ()


def test_a_mark_that_nobody_knows_is_named_where_it_puts_in_doubt() -> None:
    mangle = "*mangle\n-A PREROUTING -i eth1 -j HMARK --hmark-tuple src --hmark-mod 2 --hmark-rnd 1\nCOMMIT\n"
    answer = with_iptables("-m mark --mark 0x1 -j DROP", before=mangle)
    assert answer.request.disposition is Disposition.UNDETERMINED
    (blocker,) = answer.request.blockers
    assert not blocker.certain
    assert any("HMARK" in words for words in blocker.doubts)
    assert any("HMARK" in words for words in answer.request.doubts)


def test_what_an_earlier_rule_leaves_open_is_named_at_a_later_one() -> None:
    answer = with_iptables("-m statistic --mode random --probability 0.5 -j ACCEPT", "-j DROP")
    (blocker,) = answer.request.blockers
    assert not blocker.certain
    assert any("statistic" in words for words in blocker.doubts)


def test_what_facts_do_not_tell_of_other_packets_is_no_doubt_of_these() -> None:
    answer = with_iptables(
        "-p udp -m limit --limit 1/min -j ACCEPT", "-m u32 --u32 0x0=0x0 -p udp -j DROP", "-j DROP"
    )
    (blocker, _) = (*answer.request.blockers, *answer.reply.blockers)
    assert blocker.certain
    assert blocker.doubts == ()


def test_a_flow_of_a_zone_is_found_by_answers_of_that_zone_only() -> None:
    raw = "*raw\n-A PREROUTING -i eth1 -j CT --zone 5\n{}COMMIT\n"
    both = raw.format("-A PREROUTING -i eth0 -j CT --zone 5\n")
    assert with_iptables(before=both).passes
    answer = with_iptables(before=raw.format(""))
    assert answer.passes is False
    assert codes(answer) == ["reply-not-untranslated"]
    assert answer.reply.disposition is Disposition.CONSUMED_LOCALLY


def test_equal_tests_of_two_tables_are_asked_of_their_own_sets() -> None:
    space = Space()
    space.know_interfaces(["eth0"])
    hops: dict[str, list[object]] = {}
    matching = Matching(space, local_of(GATEWAY, space, Routing(GATEWAY, space), hops))  # type: ignore[arg-type]
    rule = read_rule(
        {
            "expr": [
                {
                    "match": {
                        "op": "==",
                        "left": {"payload": {"protocol": "ip", "field": "saddr"}},
                        "right": "@these",
                    }
                }
            ]
        },
        "ip",
    )
    (test,) = rule.statements
    assert isinstance(test, Test)
    tables = [
        Table(Tool.NFT, "ip", name, {}, {"these": Set("these", Numbers(((at, at),)))})
        for name, at in (("one", 1), ("two", 2))
    ]
    answers = [matching.answer(each, test, Here.of(space.all))[0] for each in tables]
    assert answers[0].must == space.ipv4 & space.value(Field.SOURCE4, 1)
    assert answers[1].must == space.ipv4 & space.value(Field.SOURCE4, 2)


def test_an_answer_is_kept_for_what_a_test_says_and_not_for_where_it_lies() -> None:
    """Tests are made anew each time that a lazy rule is read, and the memory of one that is gone is used again."""
    space = Space()
    hops: dict[str, list[object]] = {}
    matching = Matching(space, local_of(GATEWAY, space, Routing(GATEWAY, space), hops))  # type: ignore[arg-type]
    table = Table(Tool.NFT, "ip", "t", {})
    for number in range(200):
        test = Test((Field.MARK,), Numbers(((number, number),)))
        answer, _ = matching.answer(table, test, Here.of(space.all))
        assert answer.must == space.value(Field.MARK, number)
        del test
    known, doubts = matching.answer(table, Perhaps("u32", Why.NOT_UNDERSTOOD), Here.of(space.all))
    assert (known.must, doubts) == (space.none, ("u32",))
