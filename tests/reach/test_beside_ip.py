"""What takes packets beside rules and routes of IP: devices, bridges, IPsec, programs, tunnels, fragments, loops."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from types import MappingProxyType

import pytest

from crossnet.facts import Facts
from crossnet.facts.neighbours import Neighbour
from crossnet.facts.programs import IpsecPolicy, parse_programs
from crossnet.netfilter.foreign import (
    Accept,
    Chain,
    Drop,
    Field,
    Hook,
    Names,
    Numbers,
    Offload,
    Rule,
    Statement,
    Table,
    Test,
    Tool,
    Translate,
    Translation,
)
from crossnet.reach.asked import Asked, Piece
from crossnet.reach.path import Disposition, Reached, Walked, reach
from crossnet.reach.rules import Effect
from crossnet.values import Traffic
from reach.test_path import APP, GATEWAY, SNAT, TARGET, asked, codes, link, route, with_rules

HEALTHY = with_rules(GATEWAY, SNAT)
PORT443 = Test((Field.DESTINATION_PORT,), Numbers(((443, 443),)))
TCP = Test((Field.PROTOCOL,), Numbers(((6, 6),)))


def with_chain(of: Facts, family: str, hook: Hook, *statements: Statement, tool: Tool = Tool.NFT) -> Facts:
    rule = Rule(statements, "its words")
    table = Table(tool, family, "others", MappingProxyType({"c": Chain("c", hook, 1, lambda: (rule,))}))
    return replace(of, firewall=replace(of.firewall, foreign=(*of.firewall.foreign, table)))


def names(*each: str) -> Names:
    return Names(frozenset(each))


def at(name: str, *devices: str, priority: int = 0) -> Hook:
    return Hook(name, "filter", priority, devices=devices)


# ---- devices ----------------------------------------------------------------------------------------


def test_a_rule_at_a_device_stops_what_comes_or_leaves_by_it_and_nothing_else() -> None:
    for hook, device in (("ingress", "eth1"), ("egress", "eth0")):
        gateway = with_chain(HEALTHY, "netdev", at(hook, device), TCP, PORT443, Drop())
        answer = asked(APP, gateway, "tcp/443")
        assert codes(answer) == ["filter-rule-drop"]
        (blocker,) = answer.request.blockers
        assert (blocker.hook, blocker.interface, blocker.certain) == (hook, device, True)
        assert answer.request.disposition is Disposition.DROPPED
        assert asked(APP, gateway, "tcp/80").passes
    assert asked(APP, with_chain(HEALTHY, "netdev", at("ingress", "eth7"), Drop()), "tcp/443").passes


def test_the_answer_meets_the_devices_of_its_own_way() -> None:
    gateway = with_chain(HEALTHY, "inet", at("ingress", "eth0"), Drop())
    answer = asked(APP, gateway, "icmp")
    assert not answer.request.blockers
    assert [each.hook for each in answer.reply.blockers] == ["ingress"]


def test_a_chain_whose_devices_are_not_told_stops_perhaps() -> None:
    answer = asked(APP, with_chain(HEALTHY, "netdev", at("ingress"), Drop()), "icmp")
    assert answer.passes is None
    assert not answer.request.blockers[0].certain


def test_a_program_of_xdp_or_tc_may_drop_and_is_named() -> None:
    xdp = replace(HEALTHY, links=tuple(replace(each, xdp=each.name == "eth1") for each in HEALTHY.links))
    tc = replace(HEALTHY, classifiers=MappingProxyType({"eth0": "tc qdisc clsact dev eth0"}))
    for gateway, words in ((xdp, "an XDP program on eth1"), (tc, "tc qdisc clsact dev eth0")):
        answer = asked(APP, gateway, "tcp/443")
        assert answer.passes is None
        assert {"tc-or-xdp-drop"} == set(codes(answer))
        assert words in answer.request.doubts


# ---- bridges ----------------------------------------------------------------------------------------


def bridged(*ports: str, call: str = "0") -> Facts:
    """The gateway with a bridge in place of eth1, and ports in it."""
    links = tuple(replace(each, kind="bridge") if each.name == "eth1" else each for each in HEALTHY.links)
    more = tuple(replace(link(name), master="eth1", kind="veth") for name in ports)
    calls = {"net.bridge.bridge-nf-call-iptables": call}
    return replace(HEALTHY, links=(*links, *more), sysctls=MappingProxyType({**HEALTHY.sysctls, **calls}))


@pytest.mark.parametrize(
    ("hook", "direction"),
    [("prerouting", "request"), ("input", "request"), ("output", "reply"), ("postrouting", "reply")],
)
def test_what_comes_by_a_bridge_meets_its_chains(hook: str, direction: str) -> None:
    answer = asked(APP, with_chain(bridged("tap1"), "bridge", at(hook), Drop()), "icmp")
    stops = answer.request.blockers if direction == "request" else answer.reply.blockers
    assert {each.hook for each in stops} >= {f"bridge {hook}"}
    assert all(each.certain for each in stops)


def test_what_is_routed_meets_no_forward_chain_of_a_bridge() -> None:
    assert asked(APP, with_chain(bridged("tap1"), "bridge", at("forward"), Drop()), "icmp").passes


def test_which_of_several_ports_it_came_by_is_not_known() -> None:
    by = Test((Field.IIF,), names("tap1"))
    gateway = with_chain(bridged("tap1", "tap2"), "bridge", at("prerouting"), by, Drop())
    assert asked(APP, gateway, "icmp").passes is None
    one = with_chain(bridged("tap1"), "bridge", at("prerouting"), by, Drop())
    assert asked(APP, one, "icmp").passes is False


def test_hundreds_of_ports_that_nothing_tells_apart_are_as_one() -> None:
    many = [f"tap{number}" for number in range(300)]
    gateway = with_chain(bridged(*many, call="1"), "ip", at("forward"), Drop())
    begin = time.process_time()
    answer = asked(APP, gateway, "icmp")
    assert time.process_time() - begin < 2
    assert [each.certain for each in answer.request.blockers] == [True]
    odd = with_chain(bridged(*many), "netdev", at("ingress", "tap7"), Drop())
    assert asked(APP, odd, "icmp").passes is None


def test_several_ports_make_nothing_uncertain_that_does_not_depend_on_them() -> None:
    gateway = with_chain(bridged("tap1", "tap2", call="1"), "ip", at("forward"), Drop())
    answer = asked(APP, gateway, "icmp")
    assert [each.certain for each in answer.request.blockers] == [True]
    physical = Test((Field.PHYS_IN,), names("tap1"))
    some = asked(
        APP, with_chain(bridged("tap1", "tap2", call="1"), "ip", at("forward"), physical, Drop()), "icmp"
    )
    assert some.passes is None
    assert not some.request.blockers[0].certain


def passed_on(gateway: Facts, port: str = "tap1") -> Reached:
    question = Asked(
        "gateway",
        (TARGET,),
        (Traffic.from_text("icmp"),),
        (ip_network("10.0.43.15"),),
        ingress=port,
        bridged=True,
    )
    return reach(question, {"gateway": gateway})


def test_frames_that_a_bridge_passes_on_meet_the_rules_of_ip_only_where_br_netfilter_is_told_to() -> None:
    for call, passes in (("0", True), ("1", False)):
        gateway = with_chain(bridged("tap1", "tap2", call=call), "ip", at("forward"), Drop())
        assert passed_on(gateway).passes is passes
    dropped = passed_on(with_chain(bridged("tap1", "tap2"), "bridge", at("forward"), Drop()))
    assert [each.hook for each in dropped.request.blockers] == ["bridge forward"]
    leaves = passed_on(bridged("tap1", "tap2")).request
    assert (leaves.disposition, leaves.interface) == (Disposition.DELIVERED_TO_SEGMENT, "tap2")


# ---- IPsec, tunnels, tables that are full -----------------------------------------------------------


@pytest.mark.parametrize(("direction", "stops"), [("fwd", True), ("out", True), ("in", False)])
def test_an_ipsec_policy_may_drop_what_it_is_for(direction: str, stops: bool) -> None:
    def policy(source: str) -> IpsecPolicy:
        return IpsecPolicy(direction, ip_network(source), ip_network("10.0.44.0/24"), "src … dir …")

    answer = asked(APP, replace(HEALTHY, ipsec=(policy("10.0.43.0/24"),)), "icmp")
    assert (answer.passes is None) is stops
    assert ("ipsec-policy-drop" in codes(answer)) is stops
    assert asked(APP, replace(HEALTHY, ipsec=(policy("192.0.2.0/24"),)), "icmp").passes


TAKING = ("", "noqueue", "noop", "mq", "fq_codel", "fq", "pfifo_fast", "cake", "htb")
DROPPING = ("blackhole", "tbf", "netem", "hfsc", "prio", "plug", "of-tomorrow")


@pytest.mark.parametrize(
    ("kind", "stops"), [*((kind, False) for kind in TAKING), *((kind, True) for kind in DROPPING)]
)
def test_a_queue_of_tc_may_drop_what_is_sent_through_it(kind: str, stops: bool) -> None:
    queued = tuple(replace(each, qdisc=kind) if each.name == "eth0" else each for each in HEALTHY.links)
    answer = asked(APP, replace(HEALTHY, links=queued), "icmp")
    assert (answer.passes is None) is stops
    assert ("tc-or-xdp-drop" in codes(answer)) is stops
    assert not stops or any(kind in words for words in answer.request.doubts)


def test_ipsec_policies_are_read_as_ip_prints_them() -> None:
    told = parse_programs(
        "qdisc clsact ffff: dev eth0 parent ffff:fff1 \n"
        "qdisc noqueue 0: dev lo root refcnt 2 \n"
        "src 10.0.0.0/24 dst 10.1.0.0/24 proto tcp dport 80 \n"
        "\tdir out action block priority 0 ptype main \n"
        "src ::/0 dst ::/0 \n\tsocket in priority 0 ptype main \n"
    )
    assert told.classifiers == {"eth0": "tc qdisc clsact dev eth0"}
    (policy,) = told.ipsec
    assert (policy.direction, policy.source) == ("out", ip_network("10.0.0.0/24"))
    assert policy.text == "src 10.0.0.0/24 dst 10.1.0.0/24 proto tcp dport 80 dir out action block priority 0"


def test_a_route_that_puts_packets_into_others_leads_nobody_knows_where() -> None:
    tunnel = route("10.0.44.0/24", "eth0", encap="mpls 100")
    on_link = tuple(each for each in HEALTHY.routes if each.device != "eth0")
    answer = asked(APP, replace(HEALTHY, routes=(*on_link, tunnel)), "icmp")
    assert answer.passes is None
    assert any("encap mpls 100" in words for words in answer.request.doubts)


@pytest.mark.parametrize(("count", "told"), [("65536", True), ("65535", False)])
def test_a_full_table_of_flows_may_drop_new_ones(count: str, told: bool) -> None:
    settings = {
        **HEALTHY.sysctls,
        "net.netfilter.nf_conntrack_count": count,
        "net.netfilter.nf_conntrack_max": "65536",
    }
    answer = asked(APP, replace(HEALTHY, sysctls=MappingProxyType(settings)), "icmp")
    assert ("conntrack-table-full" in codes(answer)) is told
    assert (answer.passes is None) is told
    untracked = replace(GATEWAY, sysctls=MappingProxyType(settings))
    assert "conntrack-table-full" not in codes(asked(APP, untracked, "icmp"))


def test_a_flow_that_a_flowtable_takes_is_told() -> None:
    gateway = with_chain(HEALTHY, "ip", at("forward"), Offload("fast"))
    question = Asked("app", (TARGET,), (Traffic.from_text("icmp"),))
    walked = Walked(question, {"app": APP, "gateway": gateway})
    effects = [each.effect for visit in walked.visits for each in visit.outcome.decisions]
    assert Effect.OFFLOADS in effects


# ---- between hosts ----------------------------------------------------------------------------------


def test_packets_that_come_back_as_they_were_go_in_circles() -> None:
    gateway = replace(GATEWAY, routes=(*GATEWAY.routes, route("10.0.44.1/32", "eth1", "10.0.43.15")))
    question = Asked(
        "gateway", (TARGET,), (Traffic.from_text("icmp"),), (ip_network("10.0.43.99"),), ingress="eth1"
    )
    answer = reach(question, {"app": APP, "gateway": gateway})
    assert codes(answer) == ["forwarding-loop"]
    assert answer.request.disposition is Disposition.DROPPED
    assert (answer.request.host, answer.request.interface) == ("gateway", "eth1")


@pytest.mark.parametrize(("ignore", "answers"), [("0", True), ("1", False), ("8", False)])
def test_a_next_hop_on_another_interface_answers_as_arp_ignore_lets_it(ignore: str, answers: bool) -> None:
    app = replace(APP, routes=(APP.routes[0], route("10.0.44.0/24", "eth0", "10.0.44.63", onlink=True)))
    settings = MappingProxyType({**HEALTHY.sysctls, "net.ipv4.conf.all.arp_ignore": ignore})
    answer = asked(app, replace(HEALTHY, sysctls=settings), "icmp")
    assert (answer.passes is True) is answers
    assert codes(answer)[:1] == ([] if answers else ["arp-not-answered"])
    known = Neighbour(ip_address("10.0.44.63"), "eth0", "PERMANENT", "02:00:00:00:00:01")
    assert asked(replace(app, neighbours=(known,)), replace(HEALTHY, sysctls=settings), "icmp").passes


def test_a_destination_that_did_not_answer_is_perhaps_absent() -> None:
    silent = Neighbour(ip_address("10.0.44.1"), "eth0", "FAILED")
    answer = asked(APP, replace(HEALTHY, neighbours=(silent,)), "icmp")
    assert codes(answer) == ["destination-absent"]
    assert answer.passes is None


def test_what_is_larger_than_the_next_link_is_dropped_where_it_must_not_be_cut() -> None:
    narrow = replace(
        HEALTHY,
        links=tuple(replace(each, mtu=1300 if each.name == "eth0" else 1500) for each in HEALTHY.links),
    )
    hosts = {"app": APP, "gateway": narrow}
    question = Asked("app", (TARGET,), (Traffic.from_text("icmp"),), length=1400)
    assert reach(question, hosts).passes is None
    held = reach(replace(question, dont_fragment=True), hosts)
    assert codes(held)[:1] == ["mtu-exceeded"]
    assert held.request.disposition is Disposition.DROPPED
    assert reach(replace(question, length=1300, dont_fragment=True), hosts).passes


def test_a_rule_by_length_stops_its_part_for_certain() -> None:
    long = Test((Field.LENGTH,), Numbers(((1001, 65535),)))
    gateway = with_chain(HEALTHY, "ip", at("forward"), long, Drop())
    question = Asked("app", (TARGET,), (Traffic.from_text("icmp"),), longest=1400)
    answer = reach(question, {"app": APP, "gateway": gateway})
    assert answer.request.disposition is Disposition.DROPPED
    assert not answer.request.whole
    assert answer.request.blockers[0].certain


# ---- fragments --------------------------------------------------------------------------------------


def pieces(gateway: Facts, piece: Piece, traffic: str = "udp/443") -> Reached:
    question = Asked("app", (TARGET,), (Traffic.from_text(traffic),), piece=piece)
    return reach(question, {"app": APP, "gateway": gateway})


def test_what_stands_in_place_of_a_later_fragments_ports_depends_on_the_kernel() -> None:
    dropping = Test((Field.PROTOCOL,), Numbers(((17, 17),))), PORT443, Drop()
    nft = with_chain(GATEWAY, "ip", at("forward"), *dropping)
    legacy = with_chain(GATEWAY, "ip", at("forward"), *dropping, tool=Tool.IPTABLES_LEGACY)
    for gateway, later in ((nft, Disposition.UNDETERMINED), (legacy, Disposition.DELIVERED_TO_SEGMENT)):
        assert pieces(gateway, Piece.FIRST).request.disposition is Disposition.DROPPED
        assert pieces(gateway, Piece.LATER).request.disposition is later
    assert any("later fragment" in words for words in pieces(nft, Piece.LATER).request.doubts)


def test_where_flows_are_tracked_fragments_are_whole_before_the_rules() -> None:
    dropping = Test((Field.PROTOCOL,), Numbers(((17, 17),))), PORT443, Drop()
    gateway = with_chain(HEALTHY, "ip", at("forward"), *dropping)
    for piece in (Piece.FIRST, Piece.LATER):
        assert pieces(gateway, piece).request.disposition is Disposition.DROPPED
        assert pieces(HEALTHY, piece).passes
    before = with_chain(HEALTHY, "ip", at("prerouting", priority=-450), *dropping)
    assert pieces(before, Piece.LATER).request.disposition is Disposition.UNDETERMINED


# ---- translations with a choice ---------------------------------------------------------------------


def with_pool(*more: Statement) -> Facts:
    first, last = (int(ip_address(each)) for each in ("10.0.44.63", "10.0.44.64"))
    snat = Translate(Translation.SOURCE, Numbers(((first, last),)))
    post = Hook("postrouting", "nat", 100)
    gateway = with_chain(GATEWAY, "ip", post, Test((Field.OIF,), names("eth0")), snat)
    more_links = tuple(
        replace(each, addresses=(*each.addresses, link("x", "10.0.44.64/24").addresses[0]))
        if each.name == "eth0"
        else each
        for each in gateway.links
    )
    gateway = replace(gateway, links=more_links)
    return with_chain(gateway, "ip", at("postrouting", priority=200), *more) if more else gateway


def source(address: str) -> Test:
    return Test((Field.SOURCE4,), Numbers(((int(ip_address(address)),) * 2,)))


def test_one_of_several_sources_is_certain_where_all_fare_alike() -> None:
    assert asked(APP, with_pool(), "icmp").passes
    both = Numbers(((int(ip_address("10.0.44.63")), int(ip_address("10.0.44.64"))),))
    answer = asked(APP, with_pool(Test((Field.SOURCE4,), both), Drop()), "icmp")
    assert answer.request.disposition is Disposition.DROPPED
    assert answer.request.blockers[0].certain


def test_one_of_several_sources_that_a_rule_drops_is_undetermined() -> None:
    answer = asked(APP, with_pool(source("10.0.44.64"), Drop()), "icmp")
    assert answer.passes is None
    assert not answer.request.blockers[0].certain
    accepted: Mapping[str, Facts] = {"app": APP, "gateway": with_pool(source("10.0.44.64"), Accept())}
    assert reach(Asked("app", (TARGET,), (Traffic.from_text("icmp"),)), accepted).passes
