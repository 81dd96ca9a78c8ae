"""Over several hosts, and by interfaces of other kinds: segments, loops, VRFs, tunnels, settings that were not told."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from types import MappingProxyType

import pytest

from crossnet.facts import Facts
from crossnet.facts.links import Link, parse_links
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import parse_routes
from crossnet.netfilter.foreign import Field, Numbers, Table, Tool
from crossnet.reach.address_types import typed
from crossnet.reach.asked import Asked
from crossnet.reach.local import local_of
from crossnet.reach.packets import Space
from crossnet.reach.path import Disposition, reach
from crossnet.reach.routing import Routing
from crossnet.reach.sources import Sources
from crossnet.values import Family, Traffic
from reach.test_path import APP, GATEWAY, SNAT, asked, codes, facts, link, route, with_rules

ICMP = (Traffic.from_text("icmp"),)
DROPPING = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n"


def test_each_host_of_a_large_segment_is_looked_at() -> None:
    hosts = {
        f"h{number}": facts(f"h{number}", [link("eth0", f"10.0.43.{number}/24")]) for number in range(1, 31)
    }
    closed = {f"h{number}" for number in range(2, 31, 3)}
    hosts |= {name: with_rules(hosts[name], DROPPING) for name in closed}
    answer = reach(Asked("h1", (ip_network("10.0.43.0/27"),), ICMP), hosts)
    assert {each.host for each in answer.request.blockers if each.code == "filter-policy-drop"} == closed


def test_packets_that_go_in_circles_are_told_however_they_change() -> None:
    ring = {
        name: facts(
            name,
            [link("a", f"10.{number}.0.1/24"), link("b", f"10.{(number + 1) % 3}.0.2/24")],
            route("192.0.2.0/24", "b", f"10.{(number + 1) % 3}.0.1"),
        )
        for number, name in enumerate(("one", "two", "three"))
    }
    question = Asked("one", (ip_network("192.0.2.1"),), ICMP, (ip_network("198.51.100.9"),), ingress="a")
    answer = reach(question, ring)
    assert codes(answer) == ["forwarding-loop"]
    assert answer.request.disposition is Disposition.DROPPED
    counting = "".join(
        f"-A PREROUTING -m dscp --dscp {number} -j DSCP --set-dscp {number + 1}\n"
        for number in reversed(range(60))
    )
    ring["two"] = with_rules(ring["two"], f"*mangle\n{counting}COMMIT\n")
    answer = reach(question, ring)
    assert codes(answer) == ["forwarding-loop"]
    assert answer.passes is None
    assert "not followed further" in answer.request.blockers[0].text


def test_an_address_that_two_hosts_have_makes_no_wire_between_them() -> None:
    docker = link("docker0", "172.17.0.1/16")
    one = replace(APP, links=(*APP.links, docker), routes=(*APP.routes, route("10.77.0.0/16", "docker0")))
    other = facts("other", [docker, link("eth0", "10.77.0.9/24")])
    answer = reach(Asked("app", (ip_network("10.77.0.9"),), ICMP), {"app": one, "other": other})
    assert answer.request.disposition is Disposition.DELIVERED_TO_SEGMENT
    assert answer.request.host == "app"
    # An address that moves between two hosts of a segment does not take it apart.
    shared = [
        replace(each, links=(link("eth0", *addresses),))
        for each, addresses in (
            (APP, ("10.0.43.15/24", "10.0.43.200/24")),
            (other, ("10.0.43.16/24", "10.0.43.200/24")),
        )
    ]
    question = Asked("app", (ip_network("10.0.43.16"),), ICMP)
    answer = reach(question, dict(zip(("app", "other"), shared, strict=True)))
    assert answer.request.host == "other"


def in_a_vrf(text: str) -> Facts:
    """The gateway, with the interfaces of a crossing in a VRF of table 10."""
    vrf = Link("red", 1500, True, kind="vrf", table="10")
    return replace(
        with_rules(GATEWAY, f"{text}{SNAT}"),
        links=(*(replace(each, master="red") for each in GATEWAY.links), vrf),
        routes=tuple(replace(each, table="10") for each in GATEWAY.routes),
        policy_rules=(
            PolicyRule(Family.V4, 0, table="local"),
            PolicyRule(Family.V4, 1000, l3mdev=True),
            PolicyRule(Family.V4, 32766, table="main"),
        ),
        sysctls=MappingProxyType({**GATEWAY.sysctls, "net.ipv4.conf.red.rp_filter": "1"}),
    )


@pytest.mark.parametrize(
    ("rule", "stops"),
    [
        ("*filter\n-A FORWARD -i eth1 -j DROP\nCOMMIT\n", False),
        ("*filter\n-A FORWARD -i red -j DROP\nCOMMIT\n", True),
        ("*raw\n-A PREROUTING -i eth1 -j DROP\nCOMMIT\n", True),
        ("*raw\n-A PREROUTING -i red -j DROP\nCOMMIT\n", True),
        ("*filter\n-A FORWARD -o red -j DROP\nCOMMIT\n", False),
    ],
)
def test_what_comes_by_a_port_of_a_vrf_is_forwarded_as_if_it_came_by_the_vrf(rule: str, stops: bool) -> None:
    answer = asked(APP, in_a_vrf(rule), "icmp")
    assert codes(answer)[:1] == (["filter-rule-drop"] if stops else [])


@pytest.mark.parametrize("family", list(Family), ids=["IPv4", "IPv6"])
def test_a_setting_of_forwarding_that_is_not_told_leaves_the_answer_open(family: Family) -> None:
    six = family is Family.V6
    near, far = ("fd00:43::", "fd00:44::") if six else ("10.0.43.", "10.0.44.")
    length = 64 if six else 24
    app = facts(
        "app",
        [link("eth0", f"{near}15/{length}")],
        route(f"{far}0/{length}".replace("::0", "::"), "eth0", f"{near}101"),
    )
    gateway = facts("gateway", [link("eth1", f"{near}101/{length}"), link("eth0", f"{far}63/{length}")])
    hosts = {"app": app, "gateway": replace(gateway, sysctls=MappingProxyType({}))}
    answer = reach(Asked("app", (ip_network(f"{far}1"),), ICMP), hosts).request
    assert answer.disposition is Disposition.UNDETERMINED
    assert [each.code for each in answer.blockers] == ["ip-forward-disabled"]
    assert "is not known" in " ".join(answer.doubts)
    name = "net.ipv6.conf.all.forwarding" if six else "net.ipv4.ip_forward"
    for value, code in (("1", []), ("0", ["ip-forward-disabled"])):
        hosts["gateway"] = replace(gateway, sysctls=MappingProxyType({name: value}))
        answer = reach(Asked("app", (ip_network(f"{far}1"),), ICMP), hosts).request
        assert [each.code for each in answer.blockers] == code


def test_a_table_of_a_family_that_nobody_knows_sees_no_packets() -> None:
    of_another = Table(Tool.NFT, "another", "t", MappingProxyType({}))
    known = with_rules(GATEWAY, SNAT)
    strange = replace(known, firewall=replace(known.firewall, foreign=(of_another, *known.firewall.foreign)))
    assert asked(APP, strange, "icmp").passes


def test_loopback_addresses_from_outside_pass_where_the_setting_lets_them() -> None:
    question = Asked("gateway", (ip_network("127.0.0.1"),), ICMP, (ip_network("10.0.43.9"),), ingress="eth1")
    assert codes(reach(question, {"gateway": GATEWAY}))[0] == "no-route"
    open_to_it = {**GATEWAY.sysctls, "net.ipv4.conf.all.route_localnet": "1"}
    answer = reach(question, {"gateway": replace(GATEWAY, sysctls=MappingProxyType(open_to_it))})
    assert answer.request.disposition is Disposition.DELIVERED


def test_the_type_of_an_interfaces_hardware_is_what_ip_prints() -> None:
    text = """2: tap0: <BROADCAST,UP,LOWER_UP> mtu 1500 qdisc noop state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    tun type tap pi off vnet_hdr off persist on
3: tun0: <POINTOPOINT,UP,LOWER_UP> mtu 1500 qdisc noop state UP group default qlen 500
    link/none
    tun type tun pi off vnet_hdr off persist on
4: raw0: <POINTOPOINT,UP,LOWER_UP> mtu 1500 qdisc noop state UP group default qlen 500
    link/[519]
"""
    host = replace(GATEWAY, links=parse_links(text).links)
    space = Space()
    local = local_of(host, space, Routing(host, space), Sources(host, space))
    for number, names in ((1, {"tap0"}), (65534, {"tun0"}), (519, {"raw0"}), (772, {"lo"})):
        assert local.link_types(Numbers(((number, number),))) == frozenset(names)


def test_the_type_of_an_address_of_ipv6_is_that_of_the_way_to_it() -> None:
    told = (
        "local fd00:44::63 dev eth0 table local proto kernel metric 0\n"
        "fd00:44::/64 dev eth0 proto kernel metric 256\n"
        "unreachable fd00:9::/32 dev lo metric 1024 error -113\n"
        "prohibit fd00:8::/32 dev lo metric 1024 error -13\n"
        "multicast ff00::/8 dev eth0 table local proto kernel metric 256\n"
    )
    host = replace(GATEWAY, routes=parse_routes(told, Family.V6))
    space = Space()
    routing = Routing(host, space)
    for address, number in (
        ("fd00:44::1", 1),
        ("fd00:44::63", 2),
        ("ff02::1", 5),
        ("fd00:9::1", 7),
        ("fd00:8::1", 8),
        ("2001:db8::1", 7),
    ):
        packet = space.address(Field.SOURCE6, ip_address(address))
        for kind in range(1, 10):
            must, can = typed(routing, Field.SOURCE6, Numbers(((kind, kind),)))
            assert must == can
            assert (packet & must).satisfiable() is (kind == number), (address, kind)
