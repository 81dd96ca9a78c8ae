"""What nft prints of rules that somebody else made, and what they mean."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from crossnet.netfilter import Counter
from crossnet.netfilter.foreign import (
    Accept,
    AnyOf,
    Chain,
    Choice,
    Continue,
    Drop,
    Endpoint,
    Field,
    Hook,
    Jump,
    Map,
    Named,
    Names,
    NoTrack,
    Numbers,
    Offload,
    Perhaps,
    Reject,
    ReversePath,
    Rewrite,
    Rows,
    Rule,
    Statement,
    Table,
    Test,
    Translate,
    Translation,
    Unknown,
    VerdictMap,
    Why,
)
from crossnet.netfilter.nft_foreign import devices_of, dormant_tables, read_ruleset
from crossnet.netfilter.nft_foreign.rule import read_rule
from crossnet.netfilter.nft_foreign.words import words

FAMILY4 = Test((Field.FAMILY,), Numbers(((4, 4),)))
FAMILY6 = Test((Field.FAMILY,), Numbers(((6, 6),)))
IS_TCP = Test((Field.PROTOCOL,), Numbers(((6, 6),)))
EVERY_BIT = 0xFFFFFFFF

IP_SOURCE = {"payload": {"protocol": "ip", "field": "saddr"}}
IP_DESTINATION = {"payload": {"protocol": "ip", "field": "daddr"}}
TCP_PORT = {"payload": {"protocol": "tcp", "field": "dport"}}
TCP_FLAGS = {"payload": {"protocol": "tcp", "field": "flags"}}
FRAGMENT = {"payload": {"protocol": "ip", "field": "frag-off"}}
MARK = {"meta": {"key": "mark"}}
CT_MARK = {"ct": {"key": "mark"}}
CT_STATE = {"ct": {"key": "state"}}


def ip4(text: str) -> int:
    return int.from_bytes(bytes(int(part) for part in text.split(".")))


def one(number: int) -> Numbers:
    return Numbers(((number, number),))


def several(*numbers: int) -> Numbers:
    return Numbers.of((number, number) for number in numbers)


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def ruleset(*objects: dict[str, Any]) -> str:
    return json.dumps({"nftables": [{"metainfo": {"json_schema_version": 1}}, *objects]})


def table(family: str, *objects: tuple[str, dict[str, Any]], **more: Any) -> Table:
    """The table `t` of these objects, as it is read from what nft prints."""
    text = ruleset(
        {"table": {"family": family, "name": "t", "handle": 1, **more}},
        *({kind: {"family": family, "table": "t", **body}} for kind, body in objects),
    )
    (only,) = read_ruleset(text)
    return only


def rule(family: str, *expressions: Any, **more: Any) -> Rule:
    read = table(
        family,
        ("chain", {"name": "c"}),
        ("rule", {"chain": "c", "handle": 2, "expr": list(expressions), **more}),
    )
    (only,) = read.chains["c"].rules
    return only


def statements(family: str, *expressions: Any) -> tuple[Statement, ...]:
    return rule(family, *expressions).statements


# ---- tables and chains ------------------------------------------------------------------------------


def test_every_hook_is_seen_with_its_priority_and_policy() -> None:
    read = table(
        "netdev",
        (
            "chain",
            {"name": "i", "type": "filter", "hook": "ingress", "prio": -500, "policy": "drop", "dev": "eth0"},
        ),
        (
            "chain",
            {
                "name": "e",
                "type": "filter",
                "hook": "egress",
                "prio": 1,
                "policy": "accept",
                "dev": ["a", "b"],
            },
        ),
        ("chain", {"name": "called"}),
    )
    assert {name: chain.hook for name, chain in read.chains.items()} == {
        "i": Hook("ingress", "filter", -500, "drop", ("eth0",)),
        "e": Hook("egress", "filter", 1, "accept", ("a", "b")),
        "called": None,
    }


@pytest.mark.parametrize(
    "priority", ["1e999", "-1e999", "NaN", "0.5", "null", '"filter"', "[]", "4294967296"]
)
def test_a_chain_with_a_priority_that_is_none_may_do_anything_and_others_are_read(priority: str) -> None:
    base = {"name": "c", "type": "filter", "hook": "forward", "prio": "@", "policy": "accept"}
    objects: list[dict[str, Any]] = [
        {"chain": {"family": "ip", "table": "t", **base}},
        {"rule": {"family": "ip", "table": "t", "chain": "c", "expr": [{"accept": None}]}},
        {"chain": {"family": "ip", "table": "t", **base, "name": "other", "prio": -5}},
    ]
    (read,) = read_ruleset(ruleset(*objects).replace('"@"', priority))
    (only,) = read.chains["c"].rules
    assert isinstance(only.statements[0], Unknown)
    assert read.chains["c"].hook == Hook("forward", "filter", 0, "accept")
    assert (read.chains["other"].hook, read.chains["other"].rules) == (
        Hook("forward", "filter", -5, "accept"),
        (),
    )


@pytest.mark.parametrize(
    ("flags", "dormant"), [("dormant", True), (["dormant", "owner"], True), ("owner", False)]
)
def test_a_dormant_table_is_seen_as_one(flags: Any, dormant: bool) -> None:
    assert table("inet", flags=flags).dormant is dormant


def test_the_devices_of_chains_that_nft_leaves_out_of_json() -> None:
    listing = (
        'table netdev a {\n\tchain i {\n\t\ttype filter hook ingress device "eth0" priority filter; policy accept;\n'
        "\t\tdrop\n\t}\n\n\tchain called {\n\t}\n}\n"
        'table inet b {\n\tchain e {\n\t\ttype filter hook egress devices = { "eth1", "eth2" } priority 10; '
        "policy drop;\n\t}\n\n\tchain f {\n\t\ttype filter hook forward priority filter; policy accept;\n\t}\n}\n"
    )
    assert devices_of(listing) == {("netdev", "a", "i"): ("eth0",), ("inet", "b", "e"): ("eth1", "eth2")}


def test_a_dormant_table_whose_flags_nft_prints_wrongly() -> None:
    """nft 1.0.6 prints what a dangling pointer points to; its plain listing is right."""
    listing = (
        "table ip a { # progname nft\n\tflags dormant\n\n\tset s {\n\t\tflags interval\n\t}\n}\n"
        "table inet b {\n\tflags owner\n}\ntable ip c {\n\tchain d {\n\t}\n}\n"
    )
    assert dormant_tables(listing) == {("ip", "a")}
    text = ruleset(*({"table": {"family": "ip", "name": name, "flags": "ip"}} for name in "ac"))
    assert [each.dormant for each in read_ruleset(text, dormant_tables(listing))] == [True, False]


def test_many_rules_cost_no_memory_until_they_are_asked_for() -> None:
    some = {
        "family": "ip",
        "table": "t",
        "chain": "c",
        "expr": [match(IP_SOURCE, "10.0.0.1"), {"drop": None}],
    }
    text = ruleset({"table": {"family": "ip", "name": "t"}}, *({"rule": some} for _ in range(5000)))
    tracemalloc.start()
    try:
        (read,) = read_ruleset(text)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read.chains["c"].count == 5000
    assert most < len(text) / 2


def test_what_nft_tells_piece_by_piece() -> None:
    """Where its ruleset is cut off, nft can still be asked for sets, chains and each chain."""
    chain = {
        "chain": {"family": "ip", "table": "t", "name": "c", "type": "filter", "hook": "input", "prio": 0}
    }
    drop = {"rule": {"family": "ip", "table": "t", "chain": "c", "expr": [{"drop": None}]}}
    a_set = {"set": {"family": "ip", "table": "t", "name": "s", "type": "ipv4_addr"}}
    (read,) = read_ruleset("\n".join((ruleset(a_set), ruleset(chain), ruleset(chain, drop), "")))
    assert list(read.sets) == ["s"]
    assert read.chains["c"].hook == Hook("input", "filter", 0)
    assert [each.statements for each in read.chains["c"].rules] == [(Drop(),)]


def test_rules_are_read_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    read = table(
        "ip", ("chain", {"name": "c"}), ("rule", {"chain": "c", "expr": [{"drop": None}], "comment": "why"})
    )
    chain = read.chains["c"]
    assert isinstance(chain, Chain)
    assert chain.count == 1
    assert "rules" not in vars(chain)
    assert chain.rules == (Rule((Drop(),), "drop", "why"),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Error: no such file",
        '{"nftables": [{"table": {"family": "ip", "flags": \n',
        '{"a": []}',
        '{"nftables": []',
    ],
)
def test_what_nft_did_not_finish_is_no_ruleset(text: str) -> None:
    with pytest.raises(ValueError, match=r"nft -j|Expecting"):
        read_ruleset(text)


def test_a_comment_may_hold_any_character() -> None:
    comment = "a\rb\nc\x0bd\x85e\u2028f"
    assert rule("ip", {"accept": None}, comment=comment) == Rule((Accept(),), "accept", comment)
    raw = ruleset({"table": {"family": "ip", "name": "t"}}).replace('"t"', '"t\n\x0b"')
    assert [each.name for each in read_ruleset(raw.encode())] == ["t\n\x0b"]


# ---- tests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "implied"),
    [
        ("ip", ()),
        ("inet", (FAMILY4,)),
        ("bridge", (Test((Field.ETHER_TYPE,), one(0x0800)),)),
        ("netdev", (Test((Field.ETHER_TYPE,), one(0x0800)),)),
    ],
)
def test_an_address_keeps_the_family_that_it_implies(family: str, implied: tuple[Statement, ...]) -> None:
    network = Numbers(((ip4("10.0.0.0"), ip4("10.255.255.255")),))
    read = statements(
        family, match(IP_SOURCE, {"prefix": {"addr": "10.0.0.0", "len": 8}}, "!="), {"drop": None}
    )
    assert read == (*implied, Test((Field.SOURCE4,), network, negated=True), Drop())


def test_a_port_implies_its_protocol_once() -> None:
    read = statements("inet", match(TCP_PORT, 22), match(TCP_PORT, {"set": [22, {"range": [80, 90]}]}, "!="))
    assert read == (
        IS_TCP,
        Test((Field.DESTINATION_PORT,), one(22)),
        Test((Field.DESTINATION_PORT,), Numbers(((22, 22), (80, 90))), negated=True),
    )


def test_a_protocol_of_the_ip_header_implies_the_family() -> None:
    assert statements("inet", match({"payload": {"protocol": "ip", "field": "protocol"}}, "tcp")) == (
        FAMILY4,
        IS_TCP,
    )


def test_icmp_implies_family_and_protocol() -> None:
    kind = {"payload": {"protocol": "icmpv6", "field": "type"}}
    assert statements("inet", match(kind, {"set": ["echo-request", "nd-neighbor-solicit"]})) == (
        FAMILY6,
        Test((Field.PROTOCOL,), one(58)),
        Test((Field.ICMP_TYPE,), several(128, 135)),
    )


@pytest.mark.parametrize(
    ("op", "right", "expected"),
    [
        ("in", ["established", "new"], Test((Field.CT_STATE,), Numbers(()), any_bit=10)),
        ("in", "new", Test((Field.CT_STATE,), Numbers(()), any_bit=8)),
        ("!", "new", Test((Field.CT_STATE,), Numbers(()), any_bit=8, negated=True)),
        # the state is one bit, never two: this holds for no packet
        ("==", {"|": ["established", "related"]}, Test((Field.CT_STATE,), one(6))),
        ("!=", "invalid", Test((Field.CT_STATE,), one(1), negated=True)),
        ("==", {"set": ["established", "new"]}, Test((Field.CT_STATE,), several(2, 8))),
    ],
)
def test_states_by_their_bits_and_by_their_number(op: str, right: Any, expected: Test) -> None:
    assert statements("ip", match(CT_STATE, right, op)) == (expected,)


@pytest.mark.parametrize(
    ("left", "op", "right", "expected"),
    [
        (TCP_FLAGS, "in", "syn", Test((Field.TCP_FLAGS,), Numbers(()), any_bit=2)),
        (TCP_FLAGS, "==", "syn", Test((Field.TCP_FLAGS,), one(2))),
        (TCP_FLAGS, "!", ["syn", "ack"], Test((Field.TCP_FLAGS,), Numbers(()), any_bit=18, negated=True)),
        ({"&": [TCP_FLAGS, ["fin", "syn"]]}, "==", "syn", Test((Field.TCP_FLAGS,), one(2), mask=3)),
        ({"&": [TCP_FLAGS, {"|": ["syn", "rst"]}]}, "!=", "syn", Test((Field.TCP_FLAGS,), one(2), True, 6)),
        (
            {"&": [TCP_FLAGS, {"|": [{"|": ["fin", "syn"]}, "rst"]}]},
            "==",
            0,
            Test((Field.TCP_FLAGS,), one(0), mask=7),
        ),
        (TCP_FLAGS, "==", {"set": [{"|": ["syn", "ack"]}, "rst"]}, Test((Field.TCP_FLAGS,), several(4, 18))),
    ],
)
def test_every_spelling_of_flags(left: Any, op: str, right: Any, expected: Test) -> None:
    assert statements("ip", match(left, right, op)) == (IS_TCP, expected)


@pytest.mark.parametrize(
    ("left", "op", "right", "expected"),
    [
        (MARK, "==", 16, Test((Field.MARK,), one(16))),
        ({"&": [MARK, 240]}, "==", {"set": [16, 32]}, Test((Field.MARK,), several(16, 32), mask=240)),
        ({"&": [CT_MARK, 255]}, "!=", 16, Test((Field.CT_MARK,), one(16), negated=True, mask=255)),
        ({"^": [MARK, 3]}, "==", 1, Test((Field.MARK,), one(2))),
        ({"|": [MARK, 1]}, "==", 3, Test((Field.MARK,), one(2), mask=EVERY_BIT - 1)),
        ({"meta": {"key": "length"}}, ">", 1000, Test((Field.LENGTH,), Numbers(((1001, EVERY_BIT),)))),
        ({"payload": {"protocol": "ip", "field": "ttl"}}, "<", 5, Test((Field.TTL,), Numbers(((0, 4),)))),
        ({"payload": {"protocol": "ip6", "field": "length"}}, "==", 20, Test((Field.LENGTH,), one(60))),
        ({"&": [IP_SOURCE, "0.0.0.255"]}, "==", "0.0.0.1", Test((Field.SOURCE4,), one(1), mask=255)),
        (
            {"fib": {"result": "type", "flags": ["daddr"]}},
            "!=",
            "local",
            Test((Field.DESTINATION_TYPE,), one(2), True),
        ),
        (
            {"ct": {"key": "status"}},
            "in",
            ["snat", "dnat"],
            Test((Field.CT_STATUS,), Numbers(()), any_bit=48),
        ),
        ({"ct": {"key": "direction"}}, "==", "reply", Test((Field.CT_DIRECTION,), one(1))),
        (
            {"ct": {"key": "ip saddr", "dir": "original"}},
            "==",
            "10.0.0.1",
            Test((Field.CT_SOURCE4,), one(167772161)),
        ),
        (
            {"ct": {"key": "proto-dst", "dir": "reply"}},
            "==",
            80,
            Test((Field.CT_REPLY_DESTINATION_PORT,), one(80)),
        ),
        ({"meta": {"key": "iif"}}, "!=", "lo", Test((Field.IIF,), Names(frozenset({"lo"})), negated=True)),
        (
            {"meta": {"key": "oifname"}},
            "==",
            {"set": ["lan", "wan*", "odd\\*"]},
            Test((Field.OIF,), Names(frozenset({"lan", "odd*"}), frozenset({"wan"}))),
        ),
    ],
)
def test_numbers_and_names(left: Any, op: str, right: Any, expected: Test) -> None:
    family = "ip6" if "ip6" in str(left) else "ip"
    assert statements(family, match(left, right, op)) == (expected,)


def test_a_combination_is_a_row_of_values() -> None:
    left = {"concat": [{"meta": {"key": "iifname"}}, IP_SOURCE, TCP_PORT]}
    right = {"set": [{"concat": ["wan*", {"range": ["10.0.0.1", "10.0.0.9"]}, 22]}]}
    wan = Names(frozenset(), frozenset({"wan"}))
    assert statements("inet", match(left, right)) == (
        FAMILY4,
        IS_TCP,
        Test(
            (Field.IIF, Field.SOURCE4, Field.DESTINATION_PORT),
            Rows(((wan, Numbers(((ip4("10.0.0.1"), ip4("10.0.0.9")),)), one(22)),)),
        ),
    )


def test_fragments() -> None:
    later = Test((Field.FRAGMENT,), one(0), negated=True)
    more = Test((Field.MORE_FRAGMENTS,), one(0), negated=True)
    assert statements("ip", match({"&": [FRAGMENT, 0x1FFF]}, 0, "!=")) == (later,)
    assert statements("ip", match({"&": [FRAGMENT, 0x3FFF]}, 0, "!=")) == (AnyOf((later, more)),)
    assert statements("ip", match({"&": [FRAGMENT, 0x2000]}, 0x2000)) == (
        Test((Field.MORE_FRAGMENTS,), one(1)),
    )
    assert statements("inet", match({"exthdr": {"name": "frag"}}, True)) == (FAMILY6, AnyOf((later, more)))
    # the byte of a fragment's IPv6 header names another header
    next_header = {"payload": {"protocol": "ip6", "field": "nexthdr"}}
    assert statements("ip6", match(next_header, "tcp", "!=")) == (
        AnyOf((later, more, Test((Field.PROTOCOL,), one(6), negated=True))),
    )


def test_a_way_back() -> None:
    back = {"fib": {"flags": ["saddr", "mark", "iif"], "result": "oif"}}
    assert statements("inet", match(back, False)) == (ReversePath(marked=True, negated=True),)
    assert statements("inet", match({"fib": {"flags": "saddr", "result": "check"}}, True)) == (
        ReversePath(loose=True),
    )


@pytest.mark.parametrize("field", ["type", "saddr"])
def test_a_frame_has_a_header_where_it_came_by_an_ethernet(field: str) -> None:
    """nft tests `meta iiftype ether` before, and does not print it; a bridge has nothing else."""
    ethernet = Test((Field.IIF_TYPE,), one(1))
    read = match({"payload": {"protocol": "ether", "field": field}}, "ip")
    for family in ("ip", "inet", "netdev"):
        first, then = statements(family, read)
        assert first == ethernet
        assert isinstance(then, Test if field == "type" else Perhaps)
    assert len(statements("bridge", read)) == 1
    assert statements("inet", match({"meta": {"key": "iiftype"}}, "ether"), read)[0] == ethernet
    assert len(statements("inet", match({"meta": {"key": "iiftype"}}, "ether"), read)) == 2


def test_a_port_of_any_protocol_is_what_stands_there() -> None:
    read = match({"payload": {"protocol": "th", "field": "dport"}}, 53)
    assert statements("ip", read) == (Test((Field.TH_DESTINATION,), one(53)),)


@pytest.mark.parametrize("tunnel", ["gre", "vxlan", "geneve"])
def test_an_inner_header_is_not_the_outer_one(tunnel: str) -> None:
    inner = {"payload": {"tunnel": tunnel, "protocol": "ip", "field": "saddr"}}
    (read,) = statements("ip", match(inner, "10.0.0.1"))
    assert isinstance(read, Perhaps)
    assert read.why is Why.NOT_UNDERSTOOD


@pytest.mark.parametrize(
    "expression",
    [
        {"limit": {"rate": 5, "per": "second"}},
        {"limit": "named"},
        {"quota": {"val": 1, "val_unit": "mbytes"}},
        {"ct count": {"val": 5, "inv": True}},
        {"meter": {"name": "m", "key": IP_SOURCE, "stmt": {"limit": {"rate": 1, "per": "second"}}}},
        {"set": {"op": "add", "elem": IP_SOURCE, "set": "@s"}},
        match({"meta": {"key": "hour"}}, {"range": ["10:00", "12:00"]}),
        match({"numgen": {"mode": "random", "mod": 2, "offset": 0}}, 0),
        match({"ct": {"key": "bytes"}}, 1000, ">"),
    ],
)
def test_what_depends_on_the_moment(expression: Any) -> None:
    perhaps, drop = statements("ip", expression, {"drop": None})
    assert isinstance(perhaps, Perhaps)
    assert perhaps.why is Why.DEPENDS_ON_THE_MOMENT
    assert drop == Drop()


@pytest.mark.parametrize(
    ("expression", "kinds"),
    [
        ({"xt": {"type": "match", "name": "string"}}, [Perhaps]),
        ({"xt": {"type": "match", "name": "comment"}}, []),
        ({"xt": {"type": "target", "name": "LOG"}}, []),
        ({"xt": {"type": "target", "name": "DNAT"}}, [Unknown]),
        ({"xt": None}, [Perhaps, Unknown]),
        ("jump {\n\t\tip saddr 10.0.0.1 drop\n\t}", [Unknown]),
        ("something new", [Perhaps, Unknown]),
        ({"something": {"new": 1}}, [Perhaps, Unknown]),
        (["no", "object"], [Perhaps, Unknown]),
        (None, [Perhaps, Unknown]),
        ({"match": {"left": {"osf": {}}, "right": "Linux"}}, [Perhaps]),
        ({"match": {}}, [Perhaps]),
        ({"match": {"op": "==", "left": IP_SOURCE, "right": "nonsense"}}, [Perhaps]),
        ({"vmap": {}}, [Perhaps, Unknown]),
        ({"dnat": {"addr": {}}}, [Unknown]),
        ({"mangle": {"key": {"payload": {"base": "nh", "offset": 96, "len": 32}}, "value": 1}}, [Unknown]),
        ({"fwd": {"dev": "eth0"}}, [Unknown]),
        ({"synproxy": {"mss": 1460}}, [Unknown]),
        ({"counter": "by-name"}, []),
        ({"log": {"prefix": "x"}}, []),
    ],
)
def test_what_is_not_understood_is_one_statement(expression: Any, kinds: list[type]) -> None:
    read = statements("ip", expression, {"accept": None})
    assert [type(each) for each in read[:-1]] == kinds
    assert read[-1] == Accept()


# ---- verdicts and changes ---------------------------------------------------------------------------


def test_verdicts() -> None:
    assert statements("ip", {"counter": {"packets": 3, "bytes": 4}}, {"jump": {"target": "other"}}) == (
        Jump("other"),
    )
    assert statements("ip", {"goto": {"target": "other"}}) == (Jump("other", goto=True),)
    assert statements("ip", {"notrack": None}, {"continue": None}) == (NoTrack(),)
    assert statements("inet", {"reject": {"type": "icmp", "expr": "port-unreachable"}}) == (
        FAMILY4,
        Reject("icmp port-unreachable"),
    )
    assert statements("inet", {"reject": {"type": "tcp reset"}}) == (IS_TCP, Reject("tcp reset"))
    assert statements("inet", {"reject": {"type": "icmpx", "expr": "no-route"}}) == (
        Reject("icmpx no-route"),
    )
    assert statements("inet", {"flow": {"op": "add", "flowtable": "@ft"}})[0] == Offload("ft")
    assert rule("ip", {"counter": {"packets": 3, "bytes": 4}}).counter == Counter(3, 4)


def test_maps_of_verdicts() -> None:
    data = {"set": [["10.0.0.1", {"accept": None}], ["10.0.0.2", {"continue": None}], ["*", {"drop": None}]]}
    assert statements("inet", {"vmap": {"key": IP_SOURCE, "data": data}}, {"drop": None}) == (
        FAMILY4,
        VerdictMap(
            (Field.SOURCE4,),
            Map(
                (
                    ((one(ip4("10.0.0.1")),), Accept()),
                    ((one(ip4("10.0.0.2")),), Continue()),
                    ((Numbers(((0, EVERY_BIT),)),), Drop()),
                )
            ),
        ),
        Drop(),
    )
    assert statements("ip", {"vmap": {"key": IP_SOURCE, "data": "@named"}}) == (
        VerdictMap((Field.SOURCE4,), Named("named")),
    )
    (choice,) = statements(
        "ip",
        {
            "vmap": {
                "key": {"numgen": {"mode": "random", "mod": 2, "offset": 0}},
                "data": {"set": [[0, {"goto": {"target": "a"}}], [1, {"goto": {"target": "b"}}]]},
            }
        },
    )
    assert isinstance(choice, Choice)
    assert choice.verdicts == (Jump("a", goto=True), Jump("b", goto=True))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (16, (Rewrite(Field.MARK, 16, EVERY_BIT),)),
        ({"|": [MARK, 16]}, (Rewrite(Field.MARK, 16, 16),)),
        ({"&": [MARK, 255]}, (Rewrite(Field.MARK, 0, EVERY_BIT - 255),)),
        ({"^": [{"&": [MARK, 0xFE]}, 0x11]}, (Rewrite(Field.MARK, 0x11, EVERY_BIT - 0xFE),)),
        (CT_MARK, (Rewrite(Field.MARK, 0, EVERY_BIT, Field.CT_MARK),)),
        (
            {"|": [{"&": [CT_MARK, 0xFF]}, 0x100]},
            (Rewrite(Field.MARK, 0, EVERY_BIT, Field.CT_MARK), Rewrite(Field.MARK, 0x100, EVERY_BIT - 0xFF)),
        ),
        (
            {"|": [{"&": [CT_MARK, 0xFFFF0000]}, {"&": [MARK, 0xFFFF]}]},
            (Rewrite(Field.MARK, 0, 0xFFFF0000, Field.CT_MARK), Rewrite(Field.MARK, 0, 0)),
        ),
        (
            {"|": [MARK, {"payload": {"protocol": "ip", "field": "dscp"}}]},
            (Rewrite(Field.MARK, None, EVERY_BIT),),
        ),
    ],
)
def test_marks(value: Any, expected: tuple[Rewrite, ...]) -> None:
    read = statements("ip", {"mangle": {"key": MARK, "value": value}})
    assert tuple(each for each in read if each != Rewrite(Field.MARK, 0, 0)) == tuple(
        each for each in expected if each != Rewrite(Field.MARK, 0, 0)
    )


def test_zones() -> None:
    zone = {"ct": {"key": "zone"}}
    assert statements("ip", {"mangle": {"key": zone, "value": 5}}) == (Rewrite(Field.CT_ZONE, 5, 0xFFFF),)
    original = {"ct": {"key": "zone", "dir": "original"}}
    assert statements("ip", {"mangle": {"key": original, "value": 5}}) == (Rewrite(Field.CT_ZONE, 0, 0xFFFF),)
    mapped = {"map": {"key": {"meta": {"key": "iif"}}, "data": {"set": [["lo", 7]]}}}
    card = Test((Field.IIF,), Names(frozenset({"lo"})))
    assert statements("ip", {"mangle": {"key": zone, "value": mapped}}) == (
        card,
        Rewrite(Field.CT_ZONE, None, 0xFFFF),
    )


@pytest.mark.parametrize("name", ["SET", "INVENTED"])
def test_a_target_of_iptables_of_which_only_the_name_is_known(name: str) -> None:
    """SET can map a mark to the packet, which its name does not tell; LOG does nothing to it."""
    assert statements("ip", {"xt": {"type": "target", "name": name}}) == (Unknown(f'xt target "{name}"'),)
    assert statements("ip", {"xt": {"type": "target", "name": "LOG"}}) == ()


def test_a_mark_from_a_map_ends_the_rule_for_what_the_map_does_not_hold() -> None:
    value = {"map": {"key": IP_SOURCE, "data": {"set": [["10.0.0.1", 5]]}}}
    assert statements("ip", {"mangle": {"key": MARK, "value": value}}) == (
        Test((Field.SOURCE4,), one(ip4("10.0.0.1"))),
        Rewrite(Field.MARK, None, EVERY_BIT),
    )


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"masquerade": None}, Translate(Translation.MASQUERADE)),
        ({"redirect": {"port": 8080}}, Translate(Translation.REDIRECT, ports=one(8080))),
        (
            {"dnat": {"addr": {"range": ["10.0.0.1", "10.0.0.5"]}, "port": {"range": [80, 90]}}},
            Translate(
                Translation.DESTINATION,
                Numbers(((ip4("10.0.0.1"), ip4("10.0.0.5")),)),
                Numbers(((80, 90),)),
            ),
        ),
        (
            {
                "snat": {
                    "addr": {"prefix": {"addr": "10.1.0.0", "len": 16}},
                    "flags": "netmap",
                    "type_flags": "prefix",
                }
            },
            Translate(Translation.NETMAP_SOURCE, Numbers(((ip4("10.1.0.0"), ip4("10.1.255.255")),))),
        ),
        (
            {"dnat": {"addr": {"map": {"key": IP_DESTINATION, "data": "@to"}}}},
            Translate(Translation.DESTINATION, fields=(Field.DESTINATION4,), map=Named("to")),
        ),
        (
            {
                "dnat": {
                    "addr": {
                        "map": {
                            "key": IP_DESTINATION,
                            "data": {"set": [["10.0.0.1", {"concat": ["10.0.0.2", 90]}]]},
                        }
                    }
                }
            },
            Translate(
                Translation.DESTINATION,
                fields=(Field.DESTINATION4,),
                map=Map((((one(ip4("10.0.0.1")),), Endpoint(one(ip4("10.0.0.2")), one(90))),)),
            ),
        ),
        (
            {
                "dnat": {
                    "addr": {
                        "map": {
                            "key": {"jhash": {"mod": 2, "expr": IP_SOURCE}},
                            "data": {"set": [[0, "10.0.0.1"], [1, "10.0.0.3"]]},
                        }
                    }
                }
            },
            Translate(Translation.DESTINATION, several(ip4("10.0.0.1"), ip4("10.0.0.3"))),
        ),
    ],
)
def test_translations(expression: Any, expected: Translate) -> None:
    assert statements("ip", expression) == (expected,)


@pytest.mark.parametrize("flags", ["random", "fully-random", ["random", "persistent"]])
def test_a_source_at_random_gets_any_port(flags: Any) -> None:
    anything = Numbers(((1, 65535),))
    (masquerade,) = statements("ip", {"masquerade": {"flags": flags}})
    assert masquerade == Translate(Translation.MASQUERADE, None, anything)
    (snat,) = statements("ip", {"snat": {"addr": "10.0.0.1", "flags": flags}})
    assert snat == Translate(Translation.SOURCE, one(ip4("10.0.0.1")), anything)
    (ranged,) = statements("ip", {"snat": {"addr": "10.0.0.1", "port": 4000, "flags": flags}})
    assert ranged == Translate(Translation.SOURCE, one(ip4("10.0.0.1")), one(4000))
    mapped = {"map": {"key": IP_DESTINATION, "data": {"set": [["10.0.0.2", "10.0.0.1"]]}}}
    (by_map,) = statements("ip", {"snat": {"addr": mapped, "flags": flags}})
    assert isinstance(by_map, Translate)
    assert by_map.ports == anything
    # a destination keeps its port (nf_nat_l4proto_unique_tuple)
    (dnat,) = statements("ip", {"dnat": {"addr": "10.0.0.1", "flags": flags}})
    assert dnat == Translate(Translation.DESTINATION, one(ip4("10.0.0.1")))
    (plain,) = statements("ip", {"masquerade": {"flags": "persistent"}})
    assert plain == Translate(Translation.MASQUERADE)


def test_a_translation_of_one_family_leaves_the_other() -> None:
    assert statements("inet", {"snat": {"family": "ip", "addr": "192.0.2.1"}}) == (
        FAMILY4,
        Translate(Translation.SOURCE, one(ip4("192.0.2.1"))),
    )


# ---- sets and maps ----------------------------------------------------------------------------------


def test_named_sets() -> None:
    read = table(
        "inet",
        ("set", {"name": "hosts", "type": "ipv4_addr", "elem": ["10.0.0.2", {"elem": {"val": "10.0.0.1"}}]}),
        ("set", {"name": "cards", "type": "ifname", "elem": ["lan", "wan*"]}),
        ("set", {"name": "pairs", "type": ["inet_proto", "inet_service"], "elem": [{"concat": ["tcp", 22]}]}),
        ("set", {"name": "later", "type": {"typeof": {"meta": {"key": "mark"}}}}),
        ("set", {"name": "macs", "type": "ether_addr", "elem": ["00:00:5e:00:53:01"]}),
    )
    assert {name: each.members for name, each in read.sets.items()} == {
        "hosts": Numbers(((ip4("10.0.0.1"), ip4("10.0.0.2")),)),
        "cards": Names(frozenset({"lan"}), frozenset({"wan"})),
        "pairs": Rows(((one(6), one(22)),)),
        "later": Numbers(()),
        "macs": None,
    }
    assert all(each.settled for each in read.sets.values())


@pytest.mark.parametrize(
    "body",
    [
        {"elem": [{"elem": {"val": "10.0.0.1", "timeout": 60, "expires": 9}}]},
        {"elem": [{"elem": {"val": "10.0.0.1", "limit": {"rate": 1, "per": "second"}}}]},
        {"elem": [{"elem": {"val": "10.0.0.1", "quota": {"val": 1}}}]},
        {"flags": ["timeout", "dynamic"]},
    ],
)
def test_a_set_that_changes_by_itself_is_not_settled(body: dict[str, Any]) -> None:
    assert not table("ip", ("set", {"name": "s", "type": "ipv4_addr", **body})).sets["s"].settled


def test_a_set_that_packets_fill_is_not_settled() -> None:
    """nft 1.0.6 does not print the flag in JSON, so the rule tells."""
    adding = {"set": {"op": "add", "elem": IP_SOURCE, "set": "@s"}}
    read = table(
        "ip",
        ("set", {"name": "s", "type": "ipv4_addr"}),
        ("set", {"name": "other", "type": "ipv4_addr"}),
        ("chain", {"name": "c"}),
        ("rule", {"chain": "c", "expr": [adding]}),
    )
    assert not read.sets["s"].settled
    assert read.sets["other"].settled


def test_named_maps() -> None:
    read = table(
        "ip",
        (
            "map",
            {
                "name": "v",
                "type": "ipv4_addr",
                "map": "verdict",
                "elem": [["10.0.0.1", {"jump": {"target": "c"}}]],
            },
        ),
        (
            "map",
            {
                "name": "n",
                "type": ["ipv4_addr", "inet_service"],
                "map": "ipv4_addr . inet_service",
                "elem": [[{"concat": ["10.0.0.1", 2]}, {"concat": ["10.0.0.2", 3]}]],
            },
        ),
        ("map", {"name": "odd", "type": "ipv4_addr", "map": "new", "elem": [["10.0.0.1", 1]]}),
    )
    address = one(ip4("10.0.0.1"))
    assert read.maps["v"].map == Map((((address,), Jump("c")),))
    assert read.maps["n"].map == Map((((address, one(2)), Endpoint(one(ip4("10.0.0.2")), one(3))),))
    assert read.maps["odd"].map is None


@pytest.mark.parametrize(
    "statement",
    [
        {"match": {"op": "==", "left": {"meta": {"key": []}}, "right": "eth0"}},
        {"match": {"op": "==", "left": {"meta": {"key": {}}}, "right": {"set": ["a"]}}},
        {"match": {"op": "==", "left": {"&": 7}, "right": 7}},
        {"mangle": {"key": {"meta": {"key": "mark"}}, "value": {"|": None}}},
        {"limit": 5},
    ],
)
def test_what_no_nft_prints_has_words_too(statement: object) -> None:
    assert words(statement)


def test_a_rule_that_no_kernel_holds_is_not_understood_and_not_read_through() -> None:
    longest = read_rule({"expr": [{"accept": None}] * 128}, "ip")
    assert longest.text == " ".join(["accept"] * 128)
    longer = read_rule({"expr": [{"accept": None}] * 129}, "ip")
    assert longer.text == "129 statements, more than a rule can have"
    assert any(isinstance(each, Unknown) for each in longer.statements)
