"""What nft prints of crossnet's and of foreign tables, as the form says it."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from crossnet.netfilter import (
    Accept,
    ClampMss,
    Continue,
    Counter,
    DestinationPorts,
    Drop,
    Endpoint,
    Hook,
    Interface,
    Jump,
    L4Protocol,
    Map,
    Masquerade,
    NamedSet,
    Reject,
    Rule,
    Set,
    Snat,
    SnatByDestination,
    State,
    SynOnly,
    Table,
    UnknownMatch,
    UnknownVerdict,
    nft,
)
from crossnet.values import Ports

GOLDEN = Path(__file__).parent / "golden"

TCP = L4Protocol("tcp")
ESTABLISHED, RELATED = "established", "related"


def as_own(name: str, *tables: tuple[str, str]) -> Table:
    """What nft printed of a table of others, as if somebody had put its rules into crossnet's."""
    document = json.loads((GOLDEN / name).read_text())
    for entry in document["nftables"]:
        ((kind, body),) = entry.items()
        if kind != "metainfo":
            key = "name" if kind == "table" else "table"
            if (body["family"], body[key]) in tables:
                body |= {"family": "ip", key: "crossnet"}
    (table,) = nft.parse_ruleset(json.dumps(document))
    return table


def rules(table: Table, chain: str) -> tuple[Rule, ...]:
    found = table.chain(chain)
    assert found is not None
    return found.rules


def test_every_rule_of_a_foreign_table_is_said_or_kept_in_nfts_words() -> None:
    table = as_own("nft-1.0.6-foreign.json", ("inet", "filter"))
    assert list(rules(table, "forward")) == [
        Rule((State(frozenset({ESTABLISHED, RELATED})),), Accept()),
        Rule((State(frozenset({ESTABLISHED, "new"})),), Accept()),
        Rule((), UnknownVerdict("ct state vmap { invalid : drop, established : accept }")),
        Rule((UnknownMatch("ct status dnat"),), Accept()),
        Rule((Endpoint("source", NamedSet("hosts")),), Accept(), "three hosts"),
        Rule(
            (Endpoint("source", NamedSet("spans")), Endpoint("destination", NamedSet("hosts"), negated=True)),
            Accept(),
        ),
        Rule((Endpoint("source", NamedSet("timed")),), Accept()),
        Rule((TCP, UnknownMatch("tcp dport @services")), Accept()),
        Rule((UnknownMatch("ip saddr . tcp dport @pairs"),), Accept()),
        Rule((), UnknownVerdict("ip saddr vmap @verdicts")),
        Rule((Endpoint("destination", NamedSet("{ 192.0.2.1, 192.0.2.9 }")),), Drop()),
        Rule((Endpoint("destination", NamedSet("10.0.0.0-10.0.0.5")),), Drop()),
        Rule((UnknownMatch("iifname { a, b }"),), Drop()),
        Rule((UnknownMatch("iifname eth*"),), Drop()),
        Rule((Interface("in", "lo"),), Accept()),
        Rule(
            (
                Interface("in", "eth1", negated=True),
                Interface("out", "eth0"),
                TCP,
                DestinationPorts((Ports(443, 443), Ports(8000, 8011))),
            ),
            Reject(),
        ),
        Rule((UnknownMatch("meta l4proto { tcp, udp }"), UnknownMatch("th dport 53")), Accept()),
        Rule((L4Protocol("ospf"),), Accept()),
        Rule((L4Protocol("253"),), Accept()),
        # in a table of two families this says IPv4 too, which L4Protocol would lose
        Rule((TCP,), Drop()),
        Rule((TCP, UnknownMatch("tcp dport != 22")), Drop()),
        Rule((TCP, UnknownMatch("tcp sport 22")), Drop()),
        Rule((TCP, UnknownMatch("tcp flags syn")), Drop()),
        Rule((L4Protocol("icmp"), UnknownMatch("icmp type echo-request")), Accept()),
        Rule((L4Protocol("ipv6-icmp"), UnknownMatch("icmpv6 type echo-request")), Accept()),
        Rule((UnknownMatch("limit rate 5 burst 5 per minute"),), Accept()),
        Rule((), Continue()),
        Rule((), Continue()),
        Rule((), UnknownVerdict("meta mark set 1 accept")),
        Rule((), Drop()),
        Rule((), Jump("later")),
        Rule((), Jump("later", goto=True)),
    ]
    assert list(rules(table, "later")) == [Rule((TCP,), UnknownVerdict("synproxy mss 1460 wscale 7"))]


def test_translations_that_do_more_than_the_form_says_are_unknown() -> None:
    table = as_own("nft-1.0.6-foreign.json", ("ip", "nat"))
    assert [rule.verdict for rule in rules(table, "postrouting")] == [
        SnatByDestination("sources"),
        UnknownVerdict("snat addr ip saddr map @sources"),
        Snat(IPv4Address("192.0.2.1")),
        UnknownVerdict("snat addr 192.0.2.1 port 1-20"),
        UnknownVerdict("snat addr 192.0.2.1-192.0.2.9"),
        Masquerade(),
        UnknownVerdict("masquerade flags random"),
        UnknownVerdict("tcp option maxseg size set 1400"),
    ]
    assert rules(table, "postrouting")[3].matches == (TCP,)  # `ip protocol tcp` in a table of one family
    assert rules(table, "postrouting")[7].matches == (
        Interface("out", "eth0"),
        TCP,
        UnknownMatch("tcp flags & fin,syn == syn"),
    )
    assert rules(table, "prerouting") == (
        Rule((TCP, DestinationPorts((Ports(80, 80),))), UnknownVerdict("dnat addr 192.0.2.10 port 8080")),
    )


def test_sets_of_addresses_are_kept_and_others_are_not_guessed() -> None:
    table = as_own("nft-1.0.6-foreign.json", ("inet", "filter"))
    held = {each.name: each.members for each in table.sets}
    assert list(held) == ["10.0.0.0-10.0.0.5", "hosts", "spans", "timed", "{ 192.0.2.1, 192.0.2.9 }"]
    assert held["hosts"] == {IPv4Network("192.0.2.1/32"), IPv4Network("192.0.2.2/31")}
    assert held["timed"] == {IPv6Network("fd00::1/128")}
    assert held["10.0.0.0-10.0.0.5"] == {IPv4Network("10.0.0.0/30"), IPv4Network("10.0.0.4/31")}
    assert sum(member.num_addresses for member in held["spans"]) == 77 + 65536
    assert [mapping.name for mapping in table.maps] == ["sources"]
    assert table.maps[0].entries == {
        (IPv4Network("10.0.0.0/24"), IPv4Address("192.0.2.1")),
        (IPv4Network("10.3.0.1/32"), IPv4Address("192.0.2.2")),
    }


def test_hooks_carry_type_priority_and_policy() -> None:
    tables = [
        as_own("nft-1.0.6-foreign.json", name)
        for name in (("inet", "filter"), ("ip", "nat"), ("ip6", "mangle"))
    ]
    hooks = {chain.name: chain.hook for table in tables[:2] for chain in table.chains}
    assert hooks == {
        "forward": Hook("forward", "filter", 0, "drop"),
        "later": None,
        "postrouting": Hook("postrouting", "nat", 100),
        "prerouting": Hook("prerouting", "nat", -100),
    }
    assert {chain.name: chain.hook for chain in tables[2].chains} == {
        "output": Hook("output", "mangle", -150),
        "forward": Hook("forward", "mangle", -150),
    }


def test_a_table_of_others_is_nothing_here_whatever_is_in_it() -> None:
    theirs = {"family": "inet", "table": "crossnet"}
    ours = {"family": "ip", "table": "crossnet"}
    strange = [{"counter": "a name", "map": 1}, "words only", 7, {"match": None}]
    document = {
        "nftables": [
            {"table": {"family": "inet", "name": "crossnet"}},
            {"chain": {**theirs, "name": "forward", "type": "filter", "hook": "forward", "prio": 0}},
            {"rule": {**theirs, "chain": "forward", "expr": strange, "comment": "a\r\n\x0b\x85\u2028b"}},
            {"table": {"family": "ip", "name": "crossnet"}},
            {"chain": {**ours, "name": "own"}},
            {"rule": {**ours, "chain": "own", "expr": [{"drop": None}]}},
        ]
    }
    (table,) = nft.parse_ruleset(json.dumps(document))
    assert (table.family, rules(table, "own")) == ("ip", (Rule((), Drop()),))


def test_counters_are_read() -> None:
    table = as_own("nft-1.0.6-foreign.json", ("inet", "filter"))
    counters = [rule.counter for rule in rules(table, "forward") if rule.counter is not None]
    assert counters == [Counter(0, 0), Counter(7, 420)]


def test_rules_of_iptables_nft_keep_the_names_of_their_extensions() -> None:
    tables = {name: as_own("nft-1.0.6-compat.json", ("ip", name)) for name in ("filter", "mangle", "nat")}
    assert rules(tables["filter"], "FORWARD") == (
        Rule((), Jump("CROSSNET-FWD")),
        Rule((UnknownMatch("xt match physdev"),), Accept()),
        Rule((UnknownMatch("limit rate 5 burst 5 per minute"),), Continue()),
        Rule((), Reject()),
    )
    assert rules(tables["mangle"], "FORWARD") == (Rule((TCP, SynOnly()), UnknownVerdict("xt target TCPMSS")),)
    assert [rule.verdict for rule in rules(tables["nat"], "POSTROUTING")] == [
        UnknownVerdict(f"xt target {target}") for target in ("SNAT", "MASQUERADE", "SNAT", "SNAT")
    ]


def rule_of(*statements: dict[str, Any], family: str = "ip") -> Rule:
    names = {"family": family, "table": "crossnet", "chain": "c"}
    document = {
        "nftables": [
            {"table": {"family": family, "name": "crossnet"}},
            {
                "set": {
                    "family": family,
                    "table": "crossnet",
                    "name": "s",
                    "type": "ipv4_addr",
                    "elem": ["10.0.0.1"],
                }
            },
            {"chain": {"family": family, "table": "crossnet", "name": "c"}},
            {"rule": {**names, "expr": list(statements)}},
        ]
    }
    (table,) = nft.parse_ruleset(json.dumps(document))
    return rules(table, "c")[0]


def compare(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


DPORT = {"payload": {"protocol": "tcp", "field": "dport"}}
TH_DPORT = {"payload": {"protocol": "th", "field": "dport"}}
SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}
FLAGS = {"payload": {"protocol": "tcp", "field": "flags"}}
L4PROTO = {"meta": {"key": "l4proto"}}
STATE = {"ct": {"key": "state"}}


@pytest.mark.parametrize(
    ("statements", "matches"),
    [
        # nft 0.9 joins flags with `|`
        (
            [compare({"&": [FLAGS, {"|": ["syn", "rst"]}]}, "syn")],
            (TCP, SynOnly()),
        ),
        ([compare({"&": [FLAGS, ["syn", "rst"]]}, "rst")], (TCP, UnknownMatch("tcp flags & syn,rst == rst"))),
        (
            [compare({"&": [FLAGS, ["syn", "rst"]]}, "syn", "!=")],
            (TCP, UnknownMatch("tcp flags & syn,rst != syn")),
        ),
        # the protocol that a port implies is there once, whoever said it
        ([compare(L4PROTO, "tcp"), compare(DPORT, 22)], (TCP, DestinationPorts((Ports(22, 22),)))),
        ([compare(L4PROTO, 6), compare(TH_DPORT, 22)], (TCP, DestinationPorts((Ports(22, 22),)))),
        ([compare(DPORT, {"range": [0, 22]})], (TCP, UnknownMatch("tcp dport 0-22"))),
        ([compare(DPORT, 1024, ">")], (TCP, UnknownMatch("tcp dport > 1024"))),
        ([compare(STATE, "new", "!=")], (UnknownMatch("ct state != new"),)),
        ([compare(STATE, ["new", "sleeping"], "in")], (UnknownMatch("ct state new,sleeping"),)),
        ([compare(SADDR, "@s")], (Endpoint("source", NamedSet("s")),)),
        ([compare(SADDR, "@gone")], (UnknownMatch("ip saddr @gone"),)),
        (
            [compare(SADDR, {"set": ["10.0.0.0", "10.0.0.1"]})],
            (Endpoint("source", IPv4Network("10.0.0.0/31")),),
        ),
        (
            [compare({"&": [SADDR, "255.0.0.255"]}, "10.0.0.1")],
            (UnknownMatch("ip saddr & 255.0.0.255 == 10.0.0.1"),),
        ),
        ([compare({"meta": {"key": "iif"}}, 7)], (UnknownMatch("iif 7"),)),
        ([{"xt": {"type": "match", "name": "comment"}}], ()),
        ([{"quota": {"val": 5}}], (UnknownMatch("quota val 5"),)),
    ],
)
def test_matches(statements: list[dict[str, Any]], matches: tuple[Any, ...]) -> None:
    rule = rule_of(*statements, {"accept": None})
    assert rule.matches == matches
    assert rule.verdict == Accept()


CLAMP = {
    "mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": {"rt": {"key": "mtu"}}}
}


@pytest.mark.parametrize(
    ("statements", "verdict"),
    [
        ([CLAMP], ClampMss()),
        ([CLAMP, {"accept": None}], UnknownVerdict("tcp option maxseg size set rt mtu accept")),
        ([CLAMP, {"drop": None}], Drop()),
        ([{"notrack": None}], UnknownVerdict("notrack")),
        ([{"shiny": {"new": 1}}], UnknownVerdict("shiny new 1")),
        ([{"limit": {"rate": 5}}], Continue()),
        ([{"continue": None}], Continue()),
        ([{"snat": {"family": "ip", "addr": "10.0.0.1"}}], Snat(IPv4Address("10.0.0.1"))),
        (
            [{"snat": {"addr": "10.0.0.1", "flags": "random"}}],
            UnknownVerdict("snat addr 10.0.0.1 flags random"),
        ),
        ([{"xt": {"type": "target", "name": "LOG"}}], Continue()),
    ],
)
def test_verdicts(statements: list[dict[str, Any]], verdict: Any) -> None:
    assert rule_of(*statements).verdict == verdict


def test_a_statement_nobody_knows_may_also_be_a_match() -> None:
    assert rule_of({"shiny": {"new": 1}}, {"accept": None}) == Rule((UnknownMatch("shiny new 1"),), Accept())


def test_elements_with_extras_and_maps_with_ranges() -> None:
    names = {"family": "ip", "table": "crossnet"}
    document = {
        "nftables": [
            {"table": {"family": "ip", "name": "crossnet"}},
            {
                "set": {
                    **names,
                    "name": "s",
                    "type": "ipv4_addr",
                    "elem": [
                        {"elem": {"val": "10.0.0.1", "counter": {"packets": 1, "bytes": 2}}},
                        {"elem": {"val": {"prefix": {"addr": "10.1.0.0", "len": 16}}, "comment": "x"}},
                    ],
                }
            },
            {
                "map": {
                    **names,
                    "name": "m",
                    "type": "ipv4_addr",
                    "map": "ipv4_addr",
                    "elem": [[{"range": ["10.0.0.0", "10.0.0.2"]}, "192.0.2.1"]],
                }
            },
            {"map": {**names, "name": "ports", "type": "ipv4_addr", "map": "inet_service", "elem": []}},
            {"set": {**names, "name": "bare", "type": "ipv4_addr"}},
        ]
    }
    (table,) = nft.parse_ruleset(json.dumps(document))
    source = IPv4Address("192.0.2.1")
    assert table.sets == (
        Set("bare", frozenset()),
        Set("s", frozenset({IPv4Network("10.0.0.1/32"), IPv4Network("10.1.0.0/16")})),
    )
    assert table.maps == (
        Map("m", frozenset({(IPv4Network("10.0.0.0/31"), source), (IPv4Network("10.0.0.2/32"), source)})),
    )


@pytest.mark.parametrize(
    "text", ["", "Error: nothing", "{}", "[]", '{"nftables": [1]}', '{"nftables": [{"rule": {}}]}']
)
def test_what_nft_does_not_print_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"nft -j|nft prints|Expecting value"):
        nft.parse_ruleset(text)
