"""What a plan opens and what it closes, against what a person would work out by hand."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossnet import opening
from crossnet.api import plan
from crossnet.design.applied import as_applied
from crossnet.design.flows import ANY, FlowChange, Flows, Span, as_allow, difference, merged, of_protocol
from crossnet.facts import Facts
from crossnet.facts.neighbours import Neighbour
from crossnet.netfilter import Engine
from crossnet.netfilter.foreign import Tool
from crossnet.netfilter.iptables import parse_save
from crossnet.netfilter.own_walked import with_own
from crossnet.netfilter.xtables_save import parse_save as parse_foreign
from crossnet.opening import told_opening
from crossnet.planning import Plan, make_plan, make_undo_plan
from crossnet.reach.asked import Asked
from crossnet.reach.transit import forwards
from crossnet.spec import Spec
from crossnet.specfile import parse
from crossnet.values import Family, Protocol, Traffic, address, network
from design.factsheet import facts_from
from planning.fakehost import FakeHost, carry_out, facts_of, hosts_of

Hosts = dict[str, FakeHost]

HOSTS = """
app:
  eth0 10.0.43.15/24
web:
  eth0 10.0.43.16/24
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24 10.0.44.64/24
  eth2 10.0.45.63/24
"""
ROUTER = HOSTS + "  sysctl net.ipv4.ip_forward 1\n"
DOCKER = (
    ROUTER.replace("eth2 10.0.45.63/24", "docker0 172.17.0.1/16 bridge")
    + """  iptables filter -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
  iptables filter -A FORWARD -d 172.17.0.2 -o docker0 -p tcp --dport 80 -j ACCEPT
  iptables filter -A FORWARD -o docker0 -j DROP
  iptables nat -A PREROUTING -d 10.0.44.63 -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
"""
)


def spec(*crossings: str) -> Spec:
    text = "crossnet: 1\nhosts: {app: {lab: app}, web: {lab: web}, gateway: {lab: gateway}}\ncrossings:\n"
    for number, each in enumerate(crossings, 1):
        name, colon, rest = each.partition(": ")
        name, rest = (name, rest) if colon and " " not in name else (f"c{number}", each)
        text += f"  {name}: {{via: gateway, persist: none, {rest}}}\n"
    return parse(text, "crossnet.yaml")


STAYS = "stays eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: any traffic as 10.0.44.63 [one] was one 10.0.44.63"
ONE = spec("one: from: app, to: 10.0.44.0/24")


def first_plan(sheet: str, wanted: Spec) -> Plan:
    return plan(wanted, facts_from(sheet))


def applied(sheet: str, *specs: Spec) -> Hosts:
    hosts = hosts_of(facts_from(sheet))
    for each in specs:
        carry_out(plan(each, facts_of(hosts)), hosts)
    return hosts


def next_plan(hosts: Hosts, wanted: Spec) -> Plan:
    return plan(wanted, facts_of(hosts))


def undo_plan(facts: Mapping[str, Facts], wanted: Spec) -> Plan:
    return told_opening(make_undo_plan(wanted, facts), facts)


def lines(made: Plan) -> list[str]:
    """Each change short: effect, who, where, what, and as whom."""
    assert made.opening is not None
    return sorted(map(_line, made.opening))


def _line(change: FlowChange) -> str:
    way = f"{change.ingress}>{change.egress}"
    who = " ".join(change.clients) or "*"
    to = " ".join(change.to) or "*"
    seen = f" as {' '.join(change.seen_as)}" if change.seen_as else ""
    was = (
        f" was {change.was or '*'} {' '.join(change.seen_before)}".rstrip()
        if change.effect == "stays"
        else ""
    )
    marks = ("" if change.exact else " part") + ("" if change.certain else " unknown")
    return f"{change.effect} {way} {who} > {to}: {change.traffic}{seen} [{change.crossing}]{was}{marks}"


def test_a_first_apply_opens_the_crossing_and_nothing_else() -> None:
    made = first_plan(HOSTS, ONE)
    assert lines(made) == ["opens eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: any traffic as 10.0.44.63 [one]"]


def test_allow_that_shrinks_closes_the_rest() -> None:
    made = next_plan(applied(HOSTS, ONE), spec("one: from: app, to: 10.0.44.0/24, allow: [icmp, tcp/443]"))
    assert lines(made) == [
        "closes eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: any traffic but icmp, tcp/443 as 10.0.44.63 [one]",
        "stays eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: icmp, tcp/443 as 10.0.44.63 [one] was one 10.0.44.63",
    ]


def test_to_that_shrinks_closes_the_rest_of_it() -> None:
    made = next_plan(applied(HOSTS, ONE), spec("one: from: app, to: 10.0.44.0/26"))
    assert lines(made) == [
        "closes eth1>eth0 app 10.0.43.15 > 10.0.44.64/26 10.0.44.128/25: any traffic as 10.0.44.63 [one]",
        "stays eth1>eth0 app 10.0.43.15 > 10.0.44.0/26: any traffic as 10.0.44.63 [one] was one 10.0.44.63",
    ]


def test_what_is_excepted_is_told_as_the_spec_says_it() -> None:
    wanted = spec("one: from: app, to: {networks: [10.0.44.0/24], except: [10.0.44.8/29]}")
    assert lines(first_plan(HOSTS, wanted)) == [
        "opens eth1>eth0 app 10.0.43.15 > 10.0.44.0/24 except 10.0.44.8/29: any traffic as 10.0.44.63 [one]"
    ]


def test_everything_in_two_halves_is_told_as_the_spec_says_it() -> None:
    sheet = HOSTS + "  route default via 10.0.44.1 dev eth0\n"
    wanted = spec("one: from: app, to: [0.0.0.0/1, 128.0.0.0/1], egress: eth0")
    halves = "app 10.0.43.15 > 0.0.0.0/1 128.0.0.0/1: any traffic as 10.0.44.63 [one]"
    assert lines(first_plan(sheet, wanted)) == [f"opens eth1>eth0 {halves}"]
    hosts = applied(sheet, wanted)
    assert lines(undo_plan(facts_of(hosts), wanted)) == [f"closes eth1>eth0 {halves}"]


def test_a_network_without_a_few_is_told_in_few_words() -> None:
    made = next_plan(applied(HOSTS, ONE), spec("one: from: [app, 10.0.43.0/24], to: 10.0.44.0/28"))
    assert lines(made) == [
        "closes eth1>eth0 app 10.0.43.15 > 10.0.44.0/24 except 10.0.44.0/28: any traffic as 10.0.44.63 [one]",
        "opens eth1>eth0 10.0.43.0/24 except app 10.0.43.15 > 10.0.44.0/28: any traffic as 10.0.44.63 [one]",
        "stays eth1>eth0 app 10.0.43.15 > 10.0.44.0/28: any traffic as 10.0.44.63 [one] was one 10.0.44.63",
    ]


def test_the_gateways_own_address_among_the_clients_is_no_alarm() -> None:
    made = first_plan(HOSTS, spec("one: from: 10.0.43.0/24, to: 10.0.44.0/24"))
    assert "others-may-drop" not in {impact.code for impact in made.impacts}


def test_a_client_more_opens_for_that_one() -> None:
    made = next_plan(applied(HOSTS, ONE), spec("one: from: [app, web], to: 10.0.44.0/24"))
    assert lines(made) == [
        "opens eth1>eth0 web 10.0.43.16 > 10.0.44.0/24: any traffic as 10.0.44.63 [one]",
        "stays eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: any traffic as 10.0.44.63 [one] was one 10.0.44.63",
    ]


def test_another_name_opens_and_closes_nothing() -> None:
    made = next_plan(applied(HOSTS, ONE), spec("trade: from: app, to: 10.0.44.0/24"))
    assert lines(made) == [
        "stays eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: any traffic as 10.0.44.63 [trade] was one 10.0.44.63"
    ]


def test_one_crossing_in_two_is_none_that_opens() -> None:
    made = next_plan(
        applied(HOSTS, ONE),
        spec("low: from: app, to: 10.0.44.0/25", "high: from: app, to: 10.0.44.128/25, allow: udp/53"),
    )
    assert lines(made) == [
        "closes eth1>eth0 app 10.0.43.15 > 10.0.44.128/25: any traffic but udp/53 as 10.0.44.63 [one]",
        "stays eth1>eth0 app 10.0.43.15 > 10.0.44.0/25: any traffic as 10.0.44.63 [low] was one 10.0.44.63",
        "stays eth1>eth0 app 10.0.43.15 > 10.0.44.128/25: udp/53 as 10.0.44.63 [high] was one 10.0.44.63",
    ]


def test_a_crossing_that_goes_closes() -> None:
    two = spec("one: from: app, to: 10.0.44.0/24", "two: from: web, to: 10.0.45.0/24, allow: tcp/22")
    made = next_plan(applied(HOSTS, two), ONE)
    assert lines(made) == [
        "closes eth1>eth2 web 10.0.43.16 > 10.0.45.0/24: tcp/22 as 10.0.45.63 [two]",
        "stays eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: any traffic as 10.0.44.63 [one] was one 10.0.44.63",
    ]


def test_another_source_is_told_of_flows_that_stay() -> None:
    made = next_plan(
        applied(HOSTS, ONE), spec("one: from: app, to: 10.0.44.0/24, translate: {snat: 10.0.44.64}")
    )
    assert lines(made) == [
        "stays eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: any traffic as 10.0.44.64 [one] was one 10.0.44.63"
    ]


def test_a_link_local_next_hop_opens_and_undo_closes() -> None:
    """Several interfaces of a gateway may have the same, and another router of the client's has it elsewhere."""
    sheet = """
app:
  eth0 fd00:43::15/64 fe80::15/64
  eth1 fd00:46::15/64 fe80::15/64
  route default via fe80::1 dev eth1
gateway:
  eth0 fd00:44::63/64 fe80::1/64
  eth1 fd00:43::101/64 fe80::1/64
"""
    wanted = spec('one: from: app, to: "fd00:44::/64", next-hop: "fe80::1"')
    told = "eth1>eth0 app fd00:43::15 > fd00:44::/64: any traffic as fd00:44::63 [one]"
    made = first_plan(sheet, wanted)
    assert "next-hop-elsewhere" not in {impact.code for impact in made.impacts}
    assert lines(made) == [f"opens {told}"]
    hosts = applied(sheet, wanted)
    assert lines(undo_plan(facts_of(hosts), wanted)) == [f"closes {told}"]


def test_undo_closes_what_was_opened() -> None:
    hosts = applied(HOSTS, ONE)
    assert lines(undo_plan(facts_of(hosts), ONE)) == [
        "closes eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: any traffic as 10.0.44.63 [one]"
    ]


@pytest.mark.parametrize("engine", ["nftables", "iptables"], ids=["nftables", "iptables"])
def test_both_engines_tell_the_same(engine: str) -> None:
    wide = spec(
        f"one: from: [app, web], to: [10.0.44.0/24, 10.9.0.0/16], allow: [udp/53, tcp/443], firewall: {engine}"
    )
    sheet = HOSTS + "  route 10.9.0.0/16 via 10.0.44.1 dev eth0\n"
    hosts = applied(sheet, wide)
    told = "app 10.0.43.15 web 10.0.43.16 > 10.0.44.0/24 10.9.0.0/16: tcp/443, udp/53 as 10.0.44.63 [one]"
    assert lines(first_plan(sheet, wide)) == [f"opens eth1>eth0 {told}"]
    assert lines(undo_plan(facts_of(hosts), wide)) == [f"closes eth1>eth0 {told}"]


def test_what_drifted_is_opened_again_and_only_that() -> None:
    hosts = applied(HOSTS, spec("one: from: [app, web], to: 10.0.44.0/24"))
    hosts["web"].routes = [route for route in hosts["web"].routes if route.via is None]
    made = next_plan(hosts, spec("one: from: [app, web], to: 10.0.44.0/24"))
    assert lines(made) == [
        "opens eth1>eth0 web 10.0.43.16 > 10.0.44.0/24: any traffic as 10.0.44.63 [one]",
        "stays eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: any traffic as 10.0.44.63 [one] was one 10.0.44.63",
    ]
    hosts = applied(HOSTS, ONE)
    hosts["gateway"].sysctls["net.ipv4.ip_forward"] = "0"
    hosts["gateway"].sysctls["net.ipv4.conf.eth1.forwarding"] = "0"
    made = next_plan(hosts, ONE)
    assert lines(made) == ["opens eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: any traffic as 10.0.44.63 [one]"]


def test_rules_that_iptables_does_not_enter_admit_and_stop_nothing() -> None:
    """Somebody took the jump away: until it is back the gateway forwards for everybody."""
    wanted = spec("one: from: app, to: 10.0.44.0/24, firewall: iptables")
    hosts = applied(HOSTS, wanted)
    jumps = hosts["gateway"].jumps
    jumps[:] = [each for each in jumps if each[2] != "forward"]
    told = lines(next_plan(hosts, wanted))
    assert "closes eth0>eth2 * > *: any traffic []" in told
    assert not [each for each in told if each.startswith("opens")]


def with_rules_in_front(hosts: Hosts, *rules: str) -> dict[str, Facts]:
    """Somebody put these before crossnet's jump."""
    found = facts_of(hosts)
    place = (Engine.IPTABLES_NFT, Family.V4)
    saved = hosts["gateway"].saved(place)
    jump = next(line for line in saved.splitlines() if line.startswith("-A FORWARD"))
    text = saved.replace(jump, "\n".join((*rules, jump)), 1)
    firewall = replace(
        found["gateway"].firewall,
        iptables={place: parse_save(text, "ip")},
        foreign=tuple(parse_foreign(text, "ip", Tool.IPTABLES_NFT, {})),
    )
    return {**found, "gateway": replace(found["gateway"], firewall=firewall)}


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            "-A FORWARD -j ACCEPT",
            [
                *(
                    f"closes {way} * > *: any traffic []"
                    for way in ("eth0>eth1", "eth0>eth2", "eth1>eth0", "eth1>eth2", "eth2>eth0", "eth2>eth1")
                ),
                STAYS,
            ],
        ),
        (
            "-A FORWARD -s 10.0.43.16 -d 10.0.44.0/24 -p tcp -j ACCEPT",
            [
                "closes eth1>eth0 10.0.43.16 > *: tcp []",
                "closes eth2>eth0 10.0.43.16 > *: tcp []",
                STAYS,
            ],
        ),
        ("-A FORWARD -j DROP", [STAYS.replace("stays", "opens").partition(" was")[0]]),
        (
            "-A FORWARD -d 10.0.44.16/28 -j DROP",
            [
                "opens eth1>eth0 app 10.0.43.15 > 10.0.44.16/28: any traffic as 10.0.44.63 [one]",
                STAYS.replace("10.0.44.0/24", "10.0.44.0/24 except 10.0.44.16/28"),
            ],
        ),
        (
            "-A FORWARD -p tcp --dport 443 -j REJECT",
            [
                "opens eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: tcp/443 as 10.0.44.63 [one]",
                STAYS.replace("any traffic", "any traffic but tcp/443"),
            ],
        ),
    ],
    ids=["accept", "accept some", "drop", "drop some", "reject some"],
)
def test_a_jump_behind_what_others_decide_is_told_when_it_goes_to_the_top(rule: str, told: list[str]) -> None:
    wanted = spec("one: from: app, to: 10.0.44.0/24, firewall: iptables")
    facts = with_rules_in_front(applied(HOSTS, wanted), rule)
    made = plan(wanted, facts)
    assert [change.resource.kind for _, change in made.changes] == ["jump"]
    assert lines(made) == told


def beside_rules(hosts: Hosts, policy: str, *rules: str) -> dict[str, Facts]:
    """Somebody's rules of iptables beside crossnet's own of nft, which stand where they were applied."""
    found = facts_of(hosts)
    text = "\n".join(
        ("*filter", f":FORWARD {policy} [0:0]", *(f"-A FORWARD {rule}" for rule in rules), "COMMIT\n")
    )
    firewall = found["gateway"].firewall
    theirs = parse_foreign(text, "ip", Tool.IPTABLES_NFT, {})
    foreign = with_own(theirs, [(Engine.NFTABLES, table) for table in firewall.nft])
    return {**found, "gateway": replace(found["gateway"], firewall=replace(firewall, foreign=foreign))}


OPENS = STAYS.replace("stays", "opens").partition(" was")[0]


@pytest.mark.parametrize("fence", ["on", "off"])
def test_what_others_came_to_stop_is_opened_by_the_accept_before_it_and_closed_by_no_undo(fence: str) -> None:
    wanted = spec(f"one: from: app, to: 10.0.44.0/24, fence: {fence}")
    facts = beside_rules(applied(HOSTS, wanted), "DROP")
    made = plan(wanted, facts)
    assert {change.resource.kind for _, change in made.changes} == {"table", "jump"}
    assert [each for each in lines(made) if "[one]" in each] == [OPENS]
    assert not [each for each in lines(undo_plan(facts, wanted)) if "[one]" in each]


@pytest.mark.parametrize(
    ("policy", "rules", "told"),
    [
        (
            "DROP",
            ["-p tcp --dport 443 -j ACCEPT"],
            [
                OPENS.replace("any traffic", "any traffic but tcp/443"),
                STAYS.replace("any traffic", "tcp/443"),
            ],
        ),
        (
            "ACCEPT",
            ["-d 10.0.44.16/28 -p tcp -j DROP"],
            [
                OPENS.replace("10.0.44.0/24: any traffic", "10.0.44.16/28: tcp"),
                STAYS.replace("10.0.44.0/24", "10.0.44.0/24 except 10.0.44.16/28"),
                STAYS.replace("10.0.44.0/24: any traffic", "10.0.44.16/28: any traffic but tcp"),
            ],
        ),
        (
            "DROP",
            ["-d 10.0.44.16/28 -p tcp -j ACCEPT", "-d 10.0.44.0/28 -p udp -j ACCEPT"],
            [
                OPENS.replace("10.0.44.0/24: any traffic", "10.0.44.0/27: tcp, udp") + " unknown",
                OPENS.replace("10.0.44.0/24: any traffic", "10.0.44.0/27: any traffic but tcp, udp"),
                OPENS.replace("10.0.44.0/24", "10.0.44.0/24 except 10.0.44.0/27"),
            ],
        ),
    ],
    ids=["all but some", "some", "no product"],
)
def test_of_what_others_stop_in_part_that_part_is_opened(
    policy: str, rules: list[str], told: list[str]
) -> None:
    facts = beside_rules(applied(HOSTS, ONE), policy, *rules)
    assert lines(plan(ONE, facts)) == sorted(told)


@pytest.mark.parametrize(
    "rules",
    [
        ["-p tcp -j DROP"],
        ["-d 10.0.44.16/28 -p tcp -j DROP", "-d 10.0.44.0/28 -p udp -j DROP"],
    ],
    ids=["product", "no product"],
)
def test_what_others_stop_before_and_after_is_neither_opened_nor_closed(rules: list[str]) -> None:
    """crossnet's rules of nft stand at another hook than those of iptables' raw table, which come first."""
    facts = beside_rules(applied(HOSTS, ONE), "ACCEPT")
    text = "*raw\n:PREROUTING ACCEPT [0:0]\n" + "".join(f"-A PREROUTING {rule}\n" for rule in rules)
    gateway = facts["gateway"]
    raw = parse_foreign(f"{text}COMMIT\n", "ip", Tool.IPTABLES_NFT, {})
    foreign = (*gateway.firewall.foreign, *raw)
    facts = {**facts, "gateway": replace(gateway, firewall=replace(gateway.firewall, foreign=foreign))}
    told = lines(plan(spec("one: from: [app, web], to: 10.0.44.0/24"), facts))
    assert not [each for each in told if not each.startswith("stays") and "app" in each]
    assert not [each for each in told if each.startswith("closes")]


def test_undo_closes_what_a_rule_in_front_let_pass() -> None:
    wanted = spec("one: from: app, to: 10.0.44.0/24, firewall: iptables")
    facts = with_rules_in_front(applied(HOSTS, wanted), "-A FORWARD -j ACCEPT")
    assert "closes eth2>eth1 * > *: any traffic []" in lines(undo_plan(facts, wanted))


def test_what_a_rule_in_front_lets_pass_already_is_not_opened() -> None:
    some = spec("one: from: app, to: 10.0.44.0/24, allow: [tcp/443], firewall: iptables")
    facts = with_rules_in_front(applied(HOSTS, some), "-A FORWARD -s 10.0.43.15 -j ACCEPT")
    more = spec("one: from: app, to: 10.0.44.0/24, firewall: iptables")
    assert not [each for each in lines(plan(more, facts)) if each.startswith("opens eth1>eth0")]


def test_a_flushed_fence_is_told_as_what_it_lets_pass() -> None:
    hosts = applied(HOSTS, ONE)
    ((family, table),) = hosts["gateway"].nft.items()
    hosts["gateway"].nft[family] = replace(
        table,
        chains=tuple(replace(each, rules=()) if each.name == "forward" else each for each in table.chains),
    )
    told = lines(next_plan(hosts, ONE))
    assert "closes eth2>eth1 * > *: any traffic []" in told
    assert not [each for each in told if each.startswith("opens")]


# ---- everybody else ------------------------------------------------------------------------------


def test_forwarding_without_a_fence_opens_every_way_and_undo_closes_them() -> None:
    wanted = spec("one: from: app, to: 10.0.44.0/24, fence: off")
    ways = [
        f"{one}>{other} * > *: any traffic []"
        for one, other in product(("eth0", "eth1", "eth2"), repeat=2)
        if one != other
    ]
    own = "eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: any traffic as 10.0.44.63 [one]"
    assert lines(first_plan(HOSTS, wanted)) == sorted(f"opens {each}" for each in (*ways, own))
    hosts = applied(HOSTS, wanted)
    assert lines(undo_plan(facts_of(hosts), wanted)) == sorted(f"closes {each}" for each in (*ways, own))


def test_a_fence_on_a_router_closes_what_it_forwards_and_nothing_else() -> None:
    """What others' rules stop today is not closed: of the container, only its published port is."""
    made = first_plan(DOCKER, spec("one: from: app, to: 10.0.44.0/24, fence: on"))
    assert [each for each in lines(made) if each.startswith("closes")] == [
        "closes docker0>eth0 * > *: any traffic []",
        "closes docker0>eth1 * > *: any traffic []",
        "closes eth0>docker0 * > 10.0.44.63 172.17.0.2: tcp/80, tcp/8080 [] part",
        "closes eth0>eth1 * > *: any traffic []",
        "closes eth1>docker0 * > 10.0.44.63 172.17.0.2: tcp/80, tcp/8080 [] part",
        "closes eth1>eth0 * > *: any traffic []",
    ]


# One that forwards what comes in by two of its interfaces only.
IN_PART = {
    Family.V4: HOSTS + "".join(f"  sysctl net.ipv4.conf.{each}.forwarding 1\n" for each in ("eth0", "eth2")),
    Family.V6: """
app:
  eth0 fd00:43::15/64
gateway:
  eth1 fd00:43::101/64
  eth0 fd00:44::63/64
  eth2 fd00:45::63/64
"""
    + "".join(f"  sysctl net.ipv6.conf.{each}.force_forwarding 1\n" for each in ("eth0", "eth2")),
}


@pytest.mark.parametrize("family", list(Family), ids=str)
def test_what_interfaces_forwarded_by_themselves_the_fence_closes_and_undo_opens(family: Family) -> None:
    """Without a fence all networks would be open, so `auto` is on, and the plan says what that takes from others."""
    to = "10.0.44.0/24" if family is Family.V4 else '"fd00:44::/64"'
    wanted = spec(f"one: from: app, to: {to}")
    ways = ("eth0>eth1", "eth0>eth2", "eth2>eth0", "eth2>eth1")
    made = first_plan(IN_PART[family], wanted)
    told = [f"{way} * > *: any traffic []" for way in ways]
    assert [each for each in lines(made) if "*" in each] == [f"closes {each}" for each in told]
    (loses,) = (each for each in made.impacts if each.code == "loses-reachability")
    assert "where it comes in by eth0 and eth2, although" in loses.text
    hosts = applied(IN_PART[family], wanted)
    assert not [each for each in next_plan(hosts, wanted).impacts if each.code == "loses-reachability"]
    given_back = lines(undo_plan(facts_of(hosts), wanted))
    assert [each for each in given_back if "*" in each] == [f"opens {each}" for each in told]


@pytest.mark.parametrize("engine", ["nftables", "iptables"])
def test_others_lose_their_way_when_the_fence_comes_and_not_at_every_plan_after_it(engine: str) -> None:
    def loses(made: Plan) -> bool:
        return "loses-reachability" in {impact.code for impact in made.impacts}

    fenced = f"one: fence: on, firewall: {engine}, from: app, to"
    assert loses(first_plan(ROUTER, spec(f"{fenced}: 10.0.44.0/24")))
    hosts = applied(ROUTER, spec(f"{fenced}: 10.0.44.0/24"))
    more = spec(f"{fenced}: 10.0.44.0/24", "two: from: app, to: 10.0.45.0/24")
    assert not loses(next_plan(hosts, more))
    facts = facts_of(hosts)
    gone = replace(facts["gateway"].firewall, nft=(), iptables={})
    assert loses(plan(more, {**facts, "gateway": replace(facts["gateway"], firewall=gone)}))


def test_a_fence_that_goes_opens_what_forwarding_lets_pass() -> None:
    hosts = applied(HOSTS, ONE)
    made = next_plan(hosts, spec("one: from: app, to: 10.0.44.0/24, fence: off"))
    assert [each for each in lines(made) if "eth2" in each] == [
        "opens eth0>eth2 * > *: any traffic []",
        "opens eth1>eth2 * > *: any traffic []",
        "opens eth2>eth0 * > *: any traffic []",
        "opens eth2>eth1 * > *: any traffic []",
    ]


def test_what_a_router_forwards_already_is_not_opened() -> None:
    """It is only translated from now on; and at undo it is not closed."""
    wanted = spec("one: from: 10.0.43.0/24, to: 10.0.44.0/24")
    whole = "eth1>eth0 10.0.43.0/24 > 10.0.44.0/24: any traffic"
    assert lines(first_plan(ROUTER, wanted)) == [f"stays {whole} as 10.0.44.63 [one] was *"]
    hosts = applied(ROUTER, wanted)
    assert lines(undo_plan(facts_of(hosts), wanted)) == [f"stays {whole} [] was one 10.0.44.63"]


def test_whom_others_translate_already_is_not_said_to_be_seen_otherwise() -> None:
    wanted = spec("one: from: 10.0.43.0/24, to: 10.0.44.0/24")
    sheet = ROUTER + "  iptables nat -A POSTROUTING -o eth0 -j MASQUERADE\n"
    (told,) = first_plan(sheet, wanted).opening or ()
    assert (told.effect, told.was, told.seen_before) == ("stays", "", told.seen_as)


def test_a_neighbour_that_is_down_leaves_no_doubt() -> None:
    wanted = spec("one: from: app, to: 10.0.44.0/24, fence: on")
    facts = facts_from(ROUTER)
    down = Neighbour(address("10.0.44.9"), "eth0", "FAILED")
    facts["gateway"] = replace(facts["gateway"], neighbours=(down,))
    told = plan(wanted, facts).opening or ()
    assert all(each.certain and each.exact for each in told)
    assert {each.traffic for each in told} == {"any traffic"}


def test_a_client_without_a_route_is_opened_on_a_router_too() -> None:
    wanted = spec("one: from: app, to: 10.0.44.0/24")
    assert lines(first_plan(ROUTER, wanted)) == [
        "opens eth1>eth0 app 10.0.43.15 > 10.0.44.0/24: any traffic as 10.0.44.63 [one]"
    ]


def test_what_others_may_stop_is_not_sure_to_open() -> None:
    sheet = HOSTS + "  iptables raw -A PREROUTING -p tcp -m recent --rcheck -j DROP\n"
    (made,) = lines(first_plan(sheet, ONE))
    assert made.startswith("opens")
    assert made.endswith("unknown")


def test_frames_of_a_bridge_that_no_rule_can_name_are_closed() -> None:
    """The fence lets through what bridges carry, but a name like this is a pattern for the tools."""
    bridged = "  sysctl net.bridge.bridge-nf-call-iptables 1\n  br0 192.168.1.1/24 bridge\n"
    made = first_plan(HOSTS + bridged, ONE)
    assert not [each for each in lines(made) if each.startswith("closes")]
    made = first_plan(HOSTS + bridged + "  br+ 192.168.2.1/24 bridge\n", ONE)
    assert [each for each in lines(made) if each.startswith("closes")] == [
        "closes br+>br+ * > *: any traffic []"
    ]


def test_many_interfaces_are_not_all_looked_at() -> None:
    sheet = ROUTER + "".join(f"  eth{number} 10.1.{number}.1/24\n" for number in range(3, 40))
    made = first_plan(sheet, spec("one: from: app, to: 10.0.44.0/24, fence: on"))
    assert "closes eth39> * > *: any traffic [] part unknown" in lines(made)


def test_many_rules_are_not_all_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MOST_RULES", 11)
    made = first_plan(DOCKER, spec("one: from: app, to: 10.0.44.0/24, fence: on"))
    told = [each for each in lines(made) if each.startswith("closes")]
    assert sum(each.endswith("unknown") for each in told) == 1
    assert any(each.startswith("closes eth1>eth0") for each in told)


# ---- exact, and quick ----------------------------------------------------------------------------

_SPANS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=0, max_size=3).map(
    lambda pairs: Span.of((first, first + more) for first, more in pairs)
)
_FLOWS = st.builds(
    lambda sources, destinations, traffic: Flows("g", Family.V4, "a", "b", sources, destinations, traffic),
    *(_SPANS, _SPANS, _SPANS),
)


def points(flows: object) -> set[tuple[int, ...]]:
    assert isinstance(flows, tuple)
    return {
        point
        for each in flows
        for point in product(*(_numbers(part) for part in (each.sources, each.destinations, each.traffic)))
    }


def _numbers(span: Span) -> list[int]:
    return [number for first, last in span.ranges for number in range(first, last + 1)]


@given(st.lists(_FLOWS, max_size=3), st.lists(_FLOWS, max_size=3))
def test_a_difference_is_exact(some: list[Flows], others: list[Flows]) -> None:
    assert points(difference(some, others)) == points(tuple(some)) - points(tuple(others))
    assert points(merged(some)) == points(tuple(some))


def test_two_thousand_destinations_are_told_in_time() -> None:
    to = ", ".join(f"10.{number // 200 + 1}.{number % 200 + 1}.0/28" for number in range(2000))
    wide = spec(f"one: from: app, to: [{to}]")
    sheet = HOSTS.replace("gateway:\n", "gateway:\n  route default via 10.0.44.1 dev eth0\n")
    facts = facts_from(sheet)
    made = make_plan(wide, facts)
    begin = time.process_time()
    told = told_opening(made, facts).opening
    assert time.process_time() - begin < 1
    (opened,) = told or ()
    assert len(opened.to) == 2000


@pytest.mark.parametrize(
    "allow", ["tcp/1-65535", "[tcp/1-65535, udp/1-65535]", "[tcp/443, icmp]", "any", "udp"]
)
def test_any_allow_is_told_and_named_again(allow: str) -> None:
    hosts = applied(HOSTS, ONE)
    wanted = spec(f"one: from: app, to: 10.0.44.0/24, allow: {allow}")
    carry_out(next_plan(hosts, wanted), hosts)
    for change in next_plan(hosts, ONE).opening or ():
        assert change.traffic
    (crossing,) = wanted.crossings
    if crossing.allow is not None:
        ranges = (
            of_protocol(_OF[each.protocol], [each.ports] if each.ports else None).ranges
            for each in crossing.allow
        )
        span = Span.of(one for each in ranges for one in each)
        assert set(as_allow(span, Family.V4) or ()) == set(crossing.allow)
        assert as_allow(ANY - span, Family.V4) is None


_OF = {Protocol.ICMP: 1, Protocol.TCP: 6, Protocol.UDP: 17}


# ---- against a walk through the rules ------------------------------------------------------------

_STEPS = (
    spec("one: from: app, to: 10.0.44.0/24"),
    spec("one: from: [app, web], to: 10.0.44.0/25, allow: [tcp/443, udp/53]"),
    spec("one: from: [app, 10.0.43.32/28], to: [10.0.44.0/26, 10.0.44.128/25], allow: [icmp, tcp/400-450]"),
    spec("one: from: app, to: 10.0.44.0/24, allow: tcp/443", "two: from: web, to: 10.0.45.0/25"),
    spec("trade: from: web, to: 10.0.44.0/24"),
)


@pytest.mark.parametrize("engine", ["nftables", "iptables"])
@pytest.mark.parametrize(("first", "second"), [*pairwise(_STEPS), *pairwise(_STEPS[::-1])])
def test_what_opens_passes_only_after_and_what_closes_only_before(
    first: Spec, second: Spec, engine: str
) -> None:
    words = f"firewall: {engine}, persist"
    first, second = (parse(one.source.replace("persist", words), "x.yaml") for one in (first, second))
    hosts = applied(HOSTS, first)
    made = next_plan(hosts, second)
    facts = facts_of(hosts)["gateway"]
    (gateway,) = (host for host in made.hosts if host.host == "gateway")
    before = as_applied(facts, [owned.applied for owned in gateway.before.owned])
    after = as_applied(facts, [owned.applied for owned in gateway.after.owned])
    passes = {"opens": (False, True), "closes": (True, False), "stays": (True, True)}
    assert made.opening
    for change in (change for change in made.opening if change.crossing):
        clients, to = ([network(each.split()[-1]) for each in names] for names in (change.clients, change.to))
        is_any = change.traffic.startswith("any")
        allowed = () if is_any else tuple(map(Traffic.from_text, change.traffic.split(", ")))
        asked = Asked("gateway", tuple(to), allowed, sources=tuple(clients), ingress=change.ingress)
        seen = tuple(forwards(one, asked, change.egress)[0] for one in (before, after))
        assert seen == passes[change.effect]
