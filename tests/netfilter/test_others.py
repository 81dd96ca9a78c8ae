"""Who else may stop a forwarded packet."""

from __future__ import annotations

import json
from pathlib import Path

from crossnet.netfilter import Accept, Chain, Drop, Hook, Jump, Rule, Table, UnknownVerdict, iptables, nft
from crossnet.netfilter.others import may_drop_forwarded, offload_forwarded
from crossnet.netfilter.own import HOOKS

GOLDEN = Path(__file__).parent / "golden"

DROP = Rule((), Drop())


def filter_table(*chains: Chain, family: str = "inet", name: str = "filter") -> Table:
    return Table(family, name, chains)


def forward(*rules: Rule, policy: str = "accept", hook: str = "forward") -> Chain:
    return Chain("forward", rules, Hook(hook, "filter", 0, policy))


def test_rules_of_nftables() -> None:
    found = may_drop_forwarded(nft.parse_ruleset((GOLDEN / "nft-1.0.6-foreign.json").read_bytes()))
    where = "table inet filter chain forward"
    assert found == (
        f"{where}: policy drop",
        f"{where}: rule ct state vmap {{ invalid : drop, established : accept }}",
        f"{where}: rule ip saddr vmap @verdicts",
        f"{where}: rule ip daddr {{ 192.0.2.1, 192.0.2.9 }} drop",
        f"{where}: rule ip daddr 10.0.0.0-10.0.0.5 drop",
        f"{where}: rule iifname {{ a, b }} drop",
        f"{where}: rule iifname eth* drop",
        f'{where}: rule iifname != "eth1" oifname "eth0" meta l4proto tcp '
        "tcp dport { 443, 8000-8011 } reject",
        f"{where}: rule ip protocol tcp drop",
        f"{where}: rule meta l4proto tcp tcp dport != 22 drop",
        f"{where}: rule meta l4proto tcp tcp sport 22 drop",
        f"{where}: rule meta l4proto tcp tcp flags syn drop",
        f"{where}: rule drop",
        "table inet filter chain later: rule meta l4proto tcp synproxy mss 1460 wscale 7",
    )


def test_rules_of_iptables() -> None:
    found = may_drop_forwarded(iptables.parse_save((GOLDEN / "iptables-words.txt").read_text(), "ip"))
    assert found == (
        "table ip filter chain FORWARD: rule -i eth+ -o br+ -j DROP",
        "table ip filter chain FORWARD: rule -p tcp -j REJECT",
        'table ip filter chain FORWARD: rule -m string --string "two words" --algo bm -j DROP',
        "table ip filter chain FORWARD: rule -j NFQUEUE --queue-num 3",
    )


def test_iptables_nft_seen_through_nft() -> None:
    found = may_drop_forwarded(nft.parse_ruleset((GOLDEN / "nft-1.0.6-compat.json").read_bytes()))
    assert found == (
        "table ip filter chain FORWARD: policy drop",
        "table ip filter chain FORWARD: rule -j REJECT",
    )


def test_a_drop_behind_jumps_is_found_once_and_circles_end() -> None:
    table = filter_table(
        forward(Rule((), Jump("one")), Rule((), Jump("two", goto=True))),
        Chain("one", (Rule((), Jump("two")), Rule((), Jump("gone")))),
        Chain("two", (DROP, Rule((), Jump("one")))),
        Chain("unreached", (DROP,)),
    )
    assert may_drop_forwarded((table,)) == ("table inet filter chain two: rule drop",)


def test_a_verdict_map_is_followed() -> None:
    table = filter_table(
        forward(Rule((), UnknownVerdict("iifname vmap { eth0 : jump inner, eth1 : accept }"))),
        Chain("inner", (DROP,)),
    )
    assert may_drop_forwarded((table,)) == ("table inet filter chain inner: rule drop",)


def test_what_drops_elsewhere_or_is_crossnets_is_no_concern() -> None:
    own_chain = Chain("CROSSNET-FORWARD", (DROP,))
    jump = Rule((), Jump("CROSSNET-FORWARD"), "crossnet")
    harmless = (
        filter_table(forward(DROP, hook="input", policy="drop")),
        filter_table(forward(DROP, policy="drop"), family="bridge"),
        filter_table(forward(DROP), family="arp"),
        Table("ip", "crossnet", (Chain("forward", (DROP,), HOOKS["forward"]),)),
        filter_table(Chain("FORWARD", (jump, Rule((), Accept())), Hook("forward", "filter", 0)), own_chain),
    )
    assert may_drop_forwarded(harmless) == ()


def test_unknown_verdicts_that_go_on_are_no_drop() -> None:
    goes_on = (
        "-j MARK --set-xmark 0x1/0xff",
        "-j CT --notrack",
        "xt target TCPMSS",
        "meta mark set 1 accept",
        "ct mark set meta mark",
        "tcp option maxseg size set 1400",
        "notrack",
        "flow add @fast",
    )
    stops = (
        "-j NFQUEUE",
        "-j MARKET",
        "xt target SYNPROXY",
        "queue num 3",
        "meta mark set 1 queue num 3",
        "shiny",
    )
    for text in goes_on:
        assert may_drop_forwarded((filter_table(forward(Rule((), UnknownVerdict(text)))),)) == (), text
    for text in stops:
        assert may_drop_forwarded((filter_table(forward(Rule((), UnknownVerdict(text)))),)), text


def test_rules_that_lead_past_every_other() -> None:
    flow = {"flow": {"op": "add", "flowtable": "@fast"}}
    chains: list[dict[str, object]] = [
        {"name": "forward", "type": "filter", "hook": "forward", "prio": 0, "policy": "accept"},
        {"name": "offload"},
        {"name": "nobody-comes-here"},
    ]
    rules: list[dict[str, object]] = [
        {"chain": "forward", "expr": [{"jump": {"target": "offload"}}]},
        {"chain": "offload", "expr": [flow]},
        {"chain": "nobody-comes-here", "expr": [flow]},
    ]
    ours = {"family": "inet", "table": "filter"}
    printed = [
        {"table": {"family": "inet", "name": "filter"}},
        {"flowtable": {**ours, "name": "fast", "hook": "ingress", "prio": 0, "dev": ["eth0", "eth1"]}},
        *({"chain": {**ours, **chain}} for chain in chains),
        *({"rule": {**ours, **rule}} for rule in rules),
    ]
    (line,) = offload_forwarded(nft.parse_ruleset(json.dumps({"nftables": printed})))
    assert line.startswith("table inet filter chain offload: rule flow")


def test_iptables_of_a_router_that_offloads() -> None:
    save = """*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j FLOWOFFLOAD --hw
COMMIT
"""
    (line,) = offload_forwarded(iptables.parse_save(save, "ip"))
    assert line.startswith("table ip filter chain FORWARD: rule ")
