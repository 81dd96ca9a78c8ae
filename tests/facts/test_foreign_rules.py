"""All tables of a host in one form, where two tools tell of the same rules in the kernel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossnet.netfilter import Engine, Table
from crossnet.netfilter.foreign import Accept, Drop, Field, Named, Numbers, Perhaps, Test, Tool
from crossnet.netfilter.nft_foreign import ruleset
from crossnet.resources import Jump, RuleTable
from crossnet.values import Family
from facts.recorded import facts_of

RECORDING = Path(__file__).parent / "recordings" / "everything.json"


def chain(name: str, table: str = "filter", **hook: Any) -> dict[str, Any]:
    return {"chain": {"family": "ip", "table": table, "name": name, "handle": 1, **hook}}


def rule(*expressions: Any, table: str = "filter", name: str = "FORWARD") -> dict[str, Any]:
    return {"rule": {"family": "ip", "table": table, "chain": name, "handle": 2, "expr": list(expressions)}}


FORWARD: dict[str, Any] = {"type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}
LENGTH = {"xt": {"type": "match", "name": "length"}}
SOURCES = {
    "match": {
        "op": "==",
        "left": {"payload": {"protocol": "ip", "field": "saddr"}},
        "right": {"set": ["10.0.0.5", "10.0.0.7"]},
    }
}
# As nft 1.0.6 and iptables-nft-save 1.8.9 print one and the same chain.
TOLD_BY_NFT = [chain("FORWARD", **FORWARD), rule(LENGTH, {"drop": None}), rule(SOURCES, {"drop": None})]
TOLD_BY_IPTABLES = [
    "*filter",
    ":FORWARD ACCEPT [0:0]",
    "[0:0] -A FORWARD -m length --length 100:200 -j DROP",
    "[0:0] -A FORWARD -j DROP",
    "COMMIT",
]


@pytest.fixture
def recording() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(RECORDING.read_text(encoding="utf-8"))
    return read


def with_nft(recording: dict[str, Any], *entries: dict[str, Any], flags: Any = None) -> dict[str, Any]:
    filter_table = {
        "table": {"family": "ip", "name": "filter", "handle": 1, **({"flags": flags} if flags else {})}
    }
    return {**recording, "nft -j list ruleset": {"nftables": [{"metainfo": {}}, filter_table, *entries]}}


def words(recording: dict[str, Any]) -> dict[tuple[str, str, str, str], list[str]]:
    return {
        (table.tool, table.family, table.name, name): [rule.text for rule in each.rules]
        for table in facts_of("gateway", recording).firewall.foreign
        for name, each in table.chains.items()
    }


def test_the_tool_that_knows_a_rule_tells_it(recording: dict[str, Any]) -> None:
    """iptables prints a native rule as `-j DROP` for everybody, nft of an extension of iptables only the name."""
    told = {**with_nft(recording, *TOLD_BY_NFT), "iptables-nft-save": TOLD_BY_IPTABLES}
    assert words(told) == {
        (Tool.NFT, "ip", "filter", "FORWARD"): [
            "-A FORWARD -m length --length 100:200 -j DROP",
            "ip saddr { 10.0.0.5, 10.0.0.7 } drop",
        ]
    }


def test_chains_of_which_one_tool_prints_less_are_those_of_nft(recording: dict[str, Any]) -> None:
    less = [line for line in TOLD_BY_IPTABLES if not line.endswith("-A FORWARD -j DROP")]
    told = {**with_nft(recording, *TOLD_BY_NFT), "iptables-nft-save": less}
    ((place, rules),) = words(told).items()
    assert place == (Tool.NFT, "ip", "filter", "FORWARD")
    assert rules[1] == "ip saddr { 10.0.0.5, 10.0.0.7 } drop"
    assert rules[0].startswith('xt match "length"')


def test_a_native_chain_in_a_table_of_iptables_is_there(recording: dict[str, Any]) -> None:
    told = with_nft(recording, chain("forward", **{**FORWARD, "policy": "drop"}))
    assert words(told) == {(Tool.NFT, "ip", "filter", "forward"): []}


SETS = {"set": {"family": "ip", "table": "filter", "name": "people", "handle": 3, "type": "ipv4_addr"}}
ONE = {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@people"}


def test_a_set_of_nft_and_one_of_ipset_may_have_one_name(recording: dict[str, Any]) -> None:
    told = {
        **with_nft(
            recording,
            {"set": {**SETS["set"], "elem": ["10.0.0.1"]}},
            chain("FORWARD", **FORWARD),
            rule({"match": ONE}, {"drop": None}),
            rule({"xt": {"type": "match", "name": "set"}}, {"drop": None}),
        ),
        "iptables-nft-save": [
            *TOLD_BY_IPTABLES[:2],
            "[0:0] -A FORWARD -j DROP",
            "[0:0] -A FORWARD -m set --match-set people src -j DROP",
            "COMMIT",
        ],
        "ipset save": ["create people hash:ip family inet", "add people 10.0.0.2"],
    }
    (table,) = facts_of("gateway", told).firewall.foreign
    native, xt = (each.statements[0] for each in table.chains["FORWARD"].rules)
    assert native == Test((Field.SOURCE4,), Named("people"))
    assert xt == Test((Field.SOURCE4,), Named("people", ipset=True))
    for held, last in ((table.sets, 1), (table.ipsets, 2)):
        assert held["people"].members == Numbers(((0x0A000000 + last,) * 2,))


def test_sets_of_a_table_that_two_tools_tell_are_read_when_somebody_asks(
    recording: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {**with_nft(recording, SETS, *TOLD_BY_NFT), "iptables-nft-save": TOLD_BY_IPTABLES}
    read: list[str] = []
    monkeypatch.setattr(ruleset, "_set", lambda body, *_: read.append(body["name"]))
    (table,) = facts_of("gateway", told).firewall.foreign
    assert read == []
    assert table.sets["people"] is None
    assert read == ["people"]


def test_legacy_tables_are_there_beside_those_of_nft_and_without_nft(recording: dict[str, Any]) -> None:
    legacy = {**recording, "iptables-legacy-save": TOLD_BY_IPTABLES, "iptables-nft-save": TOLD_BY_IPTABLES}
    for nft in (recording["nft -j list ruleset"], ""):
        told = words({**legacy, "nft -j list ruleset": nft})
        assert [place[0] for place in told] == [Tool.IPTABLES_NFT, Tool.IPTABLES_LEGACY]
        assert all(len(rules) == 2 for rules in told.values())


@pytest.mark.parametrize("flags", ["x", ["dormant"]], ids=repr)
def test_a_table_with_flags_is_asked_for_again(recording: dict[str, Any], flags: Any) -> None:
    """nft 1.0.6 prints any bytes in the place of the flags."""
    told = with_nft(recording, *TOLD_BY_NFT, flags=flags)
    told["nft -t list ruleset"] = ["table ip filter {", "\tflags dormant", "\tchain FORWARD {", "\t}", "}"]
    (table,) = facts_of("gateway", told).firewall.foreign
    assert table.dormant


# As nft 1.0.6 and iptables-nft-save 1.8.9 print a chain of iptables in which a native rule with a set stands.
MIXED = """\
table ip filter {
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		ct state related,established counter packets 3 bytes 252 accept
		ct state ! new counter packets 0 bytes 0 accept
		ct state new ct original daddr 10.0.0.1 counter packets 0 bytes 0 accept
		ip saddr { 10.0.0.5, 10.0.0.7 } drop
	}
}
"""


def test_a_table_that_iptables_prints_no_more_is_read_from_the_text_of_nft(recording: dict[str, Any]) -> None:
    conntrack = {"xt": {"type": "match", "name": "conntrack"}}
    recording["nft -j list ruleset"] = {
        "nftables": [
            {"table": {"family": "ip", "name": "filter", "handle": 1}},
            chain("FORWARD", **(FORWARD | {"policy": "drop"})),
            *(rule(conntrack, {"accept": None}) for _ in range(3)),
            rule(SOURCES, {"drop": None}),
        ]
    }
    recording["iptables-nft-save"] = ["# Table `filter' is incompatible, use 'nft' tool."]
    recording["nft list ruleset"] = MIXED.split("\n")
    found = facts_of("host", recording).firewall
    [table] = [each for each in found.foreign if each.name == "filter"]
    first, second, third, fourth = table.chains["FORWARD"].rules
    assert first.statements == (Test((Field.CT_STATE,), Numbers(()), any_bit=2 | 4), Accept())
    assert second.statements == (
        Test((Field.CT_STATE,), Numbers(()), any_bit=8, negated=True),
        Accept(),
    )
    assert isinstance(third.statements[0], Perhaps), "its text asks for more than a state"
    assert fourth.statements[-1] == Drop()
    assert first.text == "ct state related,established counter accept"
    assert found.left_to_nft == {("ip", "filter")}
    recording["nft list ruleset"] = MIXED.replace(
        "\t\tct state ! new counter packets 0 bytes 0 accept\n", ""
    ).split("\n")
    [table] = [each for each in facts_of("host", recording).firewall.foreign if each.name == "filter"]
    assert isinstance(table.chains["FORWARD"].rules[0].statements[0], Perhaps), "the lines are others"


# crossnet's own accept chain after a dump of `nft list ruleset` was loaded (nft 1.0.6, iptables-nft-save 1.8.9).
LOADED = [
    chain("FORWARD", **(FORWARD | {"policy": "drop"})),
    chain("CROSSNET-FORWARD"),
    rule({"jump": {"target": "CROSSNET-FORWARD"}}),
    rule(SOURCES, {"accept": None}, name="CROSSNET-FORWARD"),
]
INCOMPATIBLE = {"iptables-nft-save": ["# Table `filter' is incompatible, use 'nft' tool."]}


def test_own_chains_that_iptables_prints_no_more_are_not_taken_for_gone(recording: dict[str, Any]) -> None:
    facts = facts_of("gateway", {**with_nft(recording, *LOADED), **INCOMPATIBLE})
    [table] = [each for each in RuleTable.traces(facts) if each.engine is Engine.IPTABLES_NFT]
    [jump] = [each for each in Jump.traces(facts) if each.engine is Engine.IPTABLES_NFT]
    assert (jump.chain, jump.times) == ("forward", 1)
    assert "iptables does not print its table filter any more" in table.flaw
    assert (
        "`nft 'delete rule ip filter FORWARD handle 2; flush chain ip filter CROSSNET-FORWARD; "
        in table.repair
    )
    wanted = RuleTable(Engine.IPTABLES_NFT, Family.V4, Table("ip", "crossnet", ()), only_accepts=True)
    assert wanted.differences(wanted.current(facts)) == (
        "table crossnet in iptables cannot be compared: iptables does not print it any more",
    )


def test_a_table_that_neither_tool_prints_tells_nothing(recording: dict[str, Any]) -> None:
    facts = facts_of("gateway", {**recording, "nft -j list ruleset": {"nftables": []}, **INCOMPATIBLE})
    assert "its table filter holds rules of nft's own" in facts.firewall.unusable[Engine.IPTABLES_NFT]
