"""Hosts as they will be: what a plan takes away again is not walked any more."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from crossnet.design.applied import as_applied
from crossnet.design.forwarded import arp_filters, named
from crossnet.facts import FileState
from crossnet.facts.firewall import Firewall
from crossnet.facts.routes import OWN_PROTOCOL
from crossnet.netfilter.foreign import Chain, Hook, Rule, Table, Tool, Unknown
from crossnet.netfilter.nft_foreign import read_ruleset
from crossnet.planning import make_plan
from crossnet.record import APPLIED, Owned, Record
from crossnet.resources import RouteResource, Sysctl
from crossnet.specfile import parse
from crossnet.standing import Standing
from design.factsheet import SEED, facts_from, host_facts, route, with_files

SPEC = """crossnet: 1
hosts: {app: {lab: app}, gateway: {lab: gateway}}
crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24, persist: none}}
"""
OURS = "10.7.0.0/16 via 10.0.43.101 dev eth0 proto 143"


def test_own_routes_and_rules_that_the_plan_no_longer_wants_are_gone() -> None:
    facts = host_facts(
        "app",
        f"eth0 10.0.43.15/24\nroute {OURS}\nroute 10.8.0.0/16 via 10.0.43.101 dev eth0 proto 143\n"
        "route 10.7.0.0/16 via 10.0.43.1 dev eth0 metric 50\n"
        "rule 5269: from all to 10.7.0.0/16 iif lo lookup main proto 143\nrule 5270: from all lookup 52",
    )
    then = as_applied(facts, [RouteResource(route("10.8.0.0/16 via 10.0.43.101 dev eth0 proto 143"))])
    assert [str(each) for each in then.routes if each.protocol != "kernel"] == [
        "10.7.0.0/16 via 10.0.43.1 dev eth0 metric 50",
        "10.8.0.0/16 via 10.0.43.101 dev eth0",
    ]
    assert [rule.priority for rule in then.policy_rules if rule.origin == OWN_PROTOCOL] == []
    assert [rule.priority for rule in then.policy_rules if not rule.is_usual] == [5270]


def test_what_stood_there_before_comes_back() -> None:
    forwarding = "net.ipv4.ip_forward"
    record = Record(
        (Standing("crossnet", "business"),),
        (
            Owned(RouteResource(route("10.7.0.0/16 via 10.0.43.1 dev eth0")), RouteResource(route(OURS))),
            Owned(Sysctl(forwarding, "0"), Sysctl(forwarding, "1")),
        ),
    )
    facts = host_facts("app", f"eth0 10.0.43.15/24\nroute {OURS}\nsysctl {forwarding} 1")
    facts = with_files(facts, {APPLIED: FileState(record.to_json(), 0o600, "0:0")})
    then = as_applied(facts, [])
    assert "10.7.0.0/16 via 10.0.43.1 dev eth0" in map(str, then.routes)
    assert "10.7.0.0/16 via 10.0.43.101 dev eth0" not in map(str, then.routes)
    assert then.sysctls[forwarding] == "0"


def test_a_route_for_some_packets_stays_beside_one_for_all() -> None:
    facts = host_facts("app", "eth0 10.0.43.15/24\nroute 10.7.0.0/16 via 10.0.43.1 dev eth0 tos 0x10")
    then = as_applied(facts, [RouteResource(route(OURS))])
    assert [each.tos for each in then.routes if each.destination == route(OURS).destination] == [16, 0]


def arp_rule(*statements: dict[str, Any], chain: str = "input") -> dict[str, Any]:
    return {
        "rule": {"family": "arp", "table": "filter", "chain": chain, "handle": 1, "expr": list(statements)}
    }


def by_interface(name: str, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"meta": {"key": "iifname"}}, "right": name}}


ARP_REQUEST = {
    "match": {"op": "==", "left": {"payload": {"protocol": "arp", "field": "operation"}}, "right": "request"}
}
DROP: dict[str, Any] = {"drop": None}


@pytest.mark.parametrize(
    ("policy", "rules", "told"),
    [
        ("accept", [], []),
        ("drop", [], ["policy drop"]),
        ("accept", [arp_rule({"accept": None})], []),
        ("accept", [arp_rule(DROP)], ["chain input: rule drop"]),
        ("accept", [arp_rule(ARP_REQUEST, DROP)], ["rule arp operation request drop"]),
        ("accept", [arp_rule(by_interface("eth0"), DROP)], ['rule iifname "eth0" drop']),
        ("accept", [arp_rule(by_interface("eth9"), DROP)], []),
        ("accept", [arp_rule(by_interface("eth0", "!="), DROP)], ["drop"]),  # so for eth1
        (
            "accept",
            [arp_rule({"jump": {"target": "more"}}), arp_rule(DROP, chain="more")],
            ["chain more: rule"],
        ),
    ],
)
def test_what_may_drop_arp_on_the_crossings_interfaces(
    policy: str, rules: list[dict[str, Any]], told: list[str]
) -> None:
    base: dict[str, Any] = {"type": "filter", "hook": "input", "prio": 0, "policy": policy}
    ruleset: list[dict[str, Any]] = [
        {"metainfo": {"json_schema_version": 1}},
        {"table": {"family": "arp", "name": "filter", "handle": 1}},
        {"chain": {"family": "arp", "table": "filter", "name": "input", "handle": 1, **base}},
        {"chain": {"family": "arp", "table": "filter", "name": "more", "handle": 2}},
        *rules,
    ]
    firewall = Firewall(foreign=read_ruleset(json.dumps({"nftables": ruleset})))
    found = list(arp_filters(firewall, {"eth0", "eth1"}))
    assert len(found) == len(told)
    assert all(words in line and "table arp filter" in line for words, line in zip(told, found, strict=True))

    facts = facts_from(SEED)
    for host in facts:
        theirs = {**facts, host: replace(facts[host], firewall=firewall)}
        made = make_plan(parse(SPEC, "crossnet.yaml"), theirs)
        impacts = [impact for impact in made.impacts if impact.code == "others-may-drop"]
        links = {link.name for link in facts[host].links}
        assert [impact.where for impact in impacts] == [host] * any(arp_filters(firewall, links))
        assert made.stopped == ()


def told(rule: str, more: str = "", before: str = "") -> list[str]:
    """What a plan tells of this rule on the gateway, with the code before it."""
    wanted = parse(SPEC.replace("persist: none", f"persist: none{more}"), "crossnet.yaml")
    made = make_plan(wanted, facts_from(f"{SEED}{before}  iptables {rule}"))
    words = rule.partition(" -A ")[2]
    assert made.stopped == ()
    return [f"{each.code}: {each.text}" for each in made.impacts if words in each.text]


def test_a_redirect_is_told_as_what_keeps_packets_from_the_destination() -> None:
    redirect = "nat -A PREROUTING -p tcp -j REDIRECT --to-ports 3128"
    (words,) = told(redirect)
    assert words.startswith("others-translate: ")
    assert "to a program on this host itself, so they do not reach the destination" in words
    (words,) = told("nat -A PREROUTING -p tcp -j DNAT --to-destination 10.0.44.9")
    assert "do not reach the destination" not in words


@pytest.mark.parametrize("translate", ["snat", "none"])
def test_a_zone_of_one_side_is_named(translate: str) -> None:
    (words,) = told("raw -A PREROUTING -i eth1 -j CT --zone 5", f", translate: {translate}")
    assert words.startswith("others-may-drop: ")
    assert ("in another zone" if translate == "snat" else "in a zone other than its request") in words


def test_what_a_rule_does_is_no_condition_for_it() -> None:
    (words,) = told("mangle -A PREROUTING -p tcp -j TPROXY --on-port 7893 --tproxy-mark 0x1/0x1")
    assert words.count("-j TPROXY") == 1
    (words,) = told("mangle -A FORWARD -p tcp -m limit --limit 5/sec -j DROP")
    assert words.count("-m limit --limit 5/sec") == 1
    assert "depends on" not in words


def test_a_condition_of_an_earlier_rule_is_told_as_what_it_depends_on() -> None:
    earlier = "mangle -A FORWARD -p tcp -m limit --limit 5/sec -j ACCEPT"
    (words,) = told("mangle -A FORWARD -p tcp -j DROP", before=f"  iptables {earlier}\n")
    assert "can drop" in words
    drop = "iptables-nft mangle FORWARD: rule -A FORWARD -p tcp -j DROP (filter-rule-drop)"
    assert words.endswith(f"{drop}, depends on: -m limit --limit 5/sec")


@pytest.mark.parametrize(
    ("tool", "family", "words"),
    [
        (Tool.NFT, "ip6", "table ip6 filter chain FORWARD"),
        (Tool.IPTABLES_LEGACY, "ip", "iptables-legacy filter FORWARD"),
        (Tool.IPTABLES_NFT, "ip6", "ip6tables-nft filter FORWARD"),
    ],
)
def test_a_chain_is_named_in_the_words_of_its_tool(tool: Tool, family: str, words: str) -> None:
    assert named(tool, family, "filter", "FORWARD") == words


def test_rules_that_nobody_can_read_are_told_once_and_as_what_may_be() -> None:
    why = "the kernel holds tables of iptables-legacy (filter nat), and no tool there lists their rules"
    unread = Rule((Unknown(why),), why)
    hooks = ("prerouting", "forward", "postrouting")
    chains = {hook: Chain(hook, Hook(hook, "filter", 0), 1, lambda: (unread,)) for hook in hooks}
    facts = facts_from(SEED)
    rules = Firewall(foreign=(Table(Tool.IPTABLES_LEGACY, "ip", "", chains, read=False),))
    facts["gateway"] = replace(facts["gateway"], firewall=rules)
    made = make_plan(parse(SPEC, "crossnet.yaml"), facts)
    (told,) = (impact.text for impact in made.impacts if impact.code == "others-may-drop")
    assert told == (
        "rules, routes and settings that crossnet does not own can drop the crossing's packets: iptables-legacy: "
        f"{why} (filter-rule-drop)"
    )
