"""The seed scenario from facts alone: what stops it, everything that does, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from types import MappingProxyType

import pytest

from crossnet.facts import Facts
from crossnet.facts.capabilities import Capabilities
from crossnet.facts.firewall import Firewall
from crossnet.facts.links import Link, LinkAddress
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Route, parse_routes
from crossnet.netfilter import foreign
from crossnet.netfilter.foreign import Field, Tool
from crossnet.netfilter.xtables_save import parse_save
from crossnet.reach.asked import Asked
from crossnet.reach.here import Here
from crossnet.reach.host import HostWalk
from crossnet.reach.packets import Space
from crossnet.reach.path import Disposition, Reached, Walked, reach
from crossnet.values import Family, Traffic

TARGET = ip_network("10.0.44.1")
SNAT = """*nat
-A POSTROUTING -s 10.0.43.15/32 -d 10.0.44.0/24 -o eth0 -j SNAT --to-source 10.0.44.63
COMMIT
"""


def link(name: str, *addresses: str) -> Link:
    held = (each.split("/") for each in addresses)
    return Link(name, 1500, True, tuple(LinkAddress(ip_address(at), int(prefix)) for at, prefix in held))


def route(to: str, device: str, via: str | None = None, **more: object) -> Route:
    return Route(ip_network(to), ip_address(via) if via else None, device, **more)  # type: ignore[arg-type]


def facts(name: str, links: Iterable[Link], *routes: Route, **more: object) -> Facts:
    on_link = [
        Route(item.network, None, each.name, protocol="kernel") for each in links for item in each.addresses
    ]
    return Facts(
        host=name,
        links=tuple(links),
        routes=(*on_link, *routes),
        sysctls=MappingProxyType({"net.ipv4.ip_forward": "1"}),
        boot_settings=(),
        neighbours=(),
        capabilities=Capabilities(frozenset(), (6, 1), False),
        firewall=Firewall(),
        **more,  # type: ignore[arg-type]
    )


APP = facts("app", (link("eth0", "10.0.43.15/24"),), route("10.0.44.0/24", "eth0", "10.0.43.101"))
GATEWAY = facts("gateway", (link("eth1", "10.0.43.101/24"), link("eth0", "10.0.44.63/24")))


def with_rules(facts: Facts, text: str) -> Facts:
    tables: tuple[foreign.Table, ...] = parse_save(text, "ip", Tool.IPTABLES_LEGACY)
    return replace(facts, firewall=Firewall(foreign=(*facts.firewall.foreign, *tables)))


def asked(app: Facts, gateway: Facts, *traffic: str) -> Reached:
    question = Asked(
        "app",
        (TARGET,),
        tuple(map(Traffic.from_text, traffic)),
        egress=MappingProxyType({"gateway": "eth0"}),
    )
    return reach(question, {"app": app, "gateway": gateway})


def codes(reached: Reached) -> list[str]:
    return [each.code for each in (*reached.request.blockers, *reached.reply.blockers)]


def test_a_healthy_crossing_passes_there_and_back() -> None:
    answer = asked(APP, with_rules(GATEWAY, SNAT), "tcp/443")
    assert answer.passes
    assert not codes(answer)
    assert answer.request.disposition is Disposition.DELIVERED_TO_SEGMENT
    assert (answer.request.host, answer.request.interface) == ("gateway", "eth0")
    assert answer.reply.disposition is Disposition.DELIVERED
    assert answer.reply.host == "app"
    (translated,) = answer.request.translations
    assert "--to-source 10.0.44.63" in translated.text


def test_all_that_would_have_to_change_is_told_at_once() -> None:
    off = replace(GATEWAY, sysctls=MappingProxyType({"net.ipv4.ip_forward": "0"}))
    refusing = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -p tcp -m tcp --dport 443 -j REJECT\nCOMMIT\n"
    answer = asked(APP, with_rules(off, refusing), "tcp/443")
    assert codes(answer) == [
        "ip-forward-disabled",
        "filter-reject",
        "filter-policy-drop",
        "snat-missing",
        "ip-forward-disabled",
        "filter-policy-drop",
    ]
    assert answer.passes is False
    assert answer.request.disposition is Disposition.DROPPED
    assert "--dport 443 -j REJECT" in answer.request.blockers[1].text
    assert [each.now for each in answer.request.blockers] == [True, False, False]


def test_without_a_route_nothing_is_sent_and_a_rule_of_the_client_is_named_as_its_own() -> None:
    answer = asked(replace(APP, routes=APP.routes[:1]), GATEWAY, "icmp")
    assert codes(answer) == ["src-no-route"]
    assert answer.request.disposition is Disposition.NOT_SENT
    dropping = with_rules(APP, "*filter\n-A OUTPUT -d 10.0.44.0/24 -j DROP\nCOMMIT\n")
    answer = asked(dropping, with_rules(GATEWAY, SNAT), "icmp")
    assert codes(answer) == ["src-output-filtered"]
    assert answer.request.disposition is Disposition.NOT_SENT


def test_of_all_packets_a_rule_stops_its_own_part() -> None:
    dropping = "*filter\n-A FORWARD -p tcp -m tcp --dport 22 -j DROP\nCOMMIT\n"
    answer = asked(APP, with_rules(with_rules(GATEWAY, SNAT), dropping))
    assert codes(answer) == ["filter-rule-drop"]
    assert answer.passes is False
    assert answer.request.disposition is Disposition.DROPPED
    assert not answer.request.whole
    elsewhere = dropping.replace("22", "22 -s 192.0.2.0/24")
    assert not codes(asked(APP, with_rules(with_rules(GATEWAY, SNAT), elsewhere)))


def test_what_depends_on_the_moment_is_undetermined_and_named() -> None:
    limited = "*filter\n-A FORWARD -m limit --limit 1/hour -j DROP\nCOMMIT\n"
    answer = asked(APP, with_rules(with_rules(GATEWAY, SNAT), limited), "icmp")
    assert answer.passes is None
    assert answer.request.disposition is Disposition.UNDETERMINED
    assert any("limit" in words for words in answer.request.doubts)


def test_the_reply_needs_its_own_way_through_reverse_path_and_forwarding() -> None:
    strict = {**GATEWAY.sysctls, "net.ipv4.conf.eth1.rp_filter": "1"}
    led = (route("10.0.43.15/32", "eth0", "10.0.44.9"),)
    gateway = with_rules(
        replace(GATEWAY, sysctls=MappingProxyType(strict), routes=(*GATEWAY.routes, *led)), SNAT
    )
    answer = asked(APP, gateway, "icmp")
    assert codes(answer) == ["reverse-path-filter"]
    only_reply = {**GATEWAY.sysctls, "net.ipv4.conf.eth0.forwarding": "0"}
    answer = asked(APP, with_rules(replace(GATEWAY, sysctls=MappingProxyType(only_reply)), SNAT), "icmp")
    assert codes(answer) == ["interface-forwarding-disabled"]
    assert answer.request.disposition is Disposition.DELIVERED_TO_SEGMENT
    assert answer.reply.disposition is Disposition.DROPPED


def test_a_mark_ends_with_its_host() -> None:
    marking = (
        "*mangle\n-A POSTROUTING -j MARK --set-mark 1\n-A POSTROUTING -j CONNMARK --set-mark 1\nCOMMIT\n"
    )
    dropping = (
        "*filter\n-A FORWARD -m mark --mark 1 -j DROP\n-A FORWARD -m connmark --mark 1 -j DROP\nCOMMIT\n"
    )
    gateway = with_rules(with_rules(GATEWAY, SNAT), dropping)
    assert asked(with_rules(APP, marking), gateway, "icmp").passes


def test_a_policy_rule_leads_to_its_own_table() -> None:
    rules = (
        PolicyRule(Family.V4, 0, table="local"),
        PolicyRule(Family.V4, 100, table="52", source=ip_network("10.0.43.0/24")),
        PolicyRule(Family.V4, 32766, table="main"),
    )
    away = Route(ip_network("0.0.0.0/0"), None, None, table="52", type="blackhole")
    gateway = replace(with_rules(GATEWAY, SNAT), policy_rules=rules, routes=(*GATEWAY.routes, away))
    answer = asked(APP, gateway, "icmp")
    assert codes(answer)[0] == "route-blackhole"
    assert "blackhole default" in answer.request.blockers[0].text


TWO_ROUTERS = replace(
    with_rules(GATEWAY, "*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n"),
    links=(GATEWAY.links[0], link("eth0", "10.0.44.63/24", "192.0.2.5/28")),
    policy_rules=(
        PolicyRule(Family.V4, 0, table="local"),
        PolicyRule(Family.V4, 100, table="7", source=ip_network("10.0.43.5")),
        PolicyRule(Family.V4, 32766, table="main"),
    ),
    routes=(
        *GATEWAY.routes,
        route("192.0.2.0/28", "eth0", protocol="kernel"),
        route("0.0.0.0/0", "eth0", "10.0.44.1"),
        route("0.0.0.0/0", "eth0", "192.0.2.1", table="7"),
    ),
)


def leaving(gateway: Facts, sources: str, *targets: str) -> dict[tuple[str, str], str]:
    """The router and the new source of what a gateway forwards, by what it was."""
    question = Asked("gateway", tuple(map(ip_network, targets)), (), (ip_network(sources),), ingress="eth1")
    walked = Walked(question, {"gateway": gateway})
    space, found = walked.space, {}
    for each in walked.visits[0].outcome.leaving:
        for field in (Field.SOURCE4, Field.CT_SOURCE4, Field.CT_DESTINATION4):
            assert len(space.values_of(each.here.fixed, field)) <= 2
        for first in space.values_of(each.here.fixed, Field.CT_SOURCE4):
            part = each.here.surely & space.value(Field.CT_SOURCE4, first)
            for target in space.values_of(part, Field.CT_DESTINATION4):
                (source,) = space.values_of(part & space.value(Field.CT_DESTINATION4, target), Field.SOURCE4)
                key = str(ip_address(first)), str(ip_address(target))
                assert key not in found
                found[key] = f"{ip_address(source)} to {each.next_hop}"
    return found


def test_packets_are_told_apart_by_the_router_that_they_leave_to() -> None:
    found = leaving(TWO_ROUTERS, "10.0.43.4/31", "198.51.100.1")
    assert found == {
        ("10.0.43.4", "198.51.100.1"): "10.0.44.63 to 10.0.44.1",
        ("10.0.43.5", "198.51.100.1"): "192.0.2.5 to 192.0.2.1",
    }


def test_what_is_masqueraded_gets_the_address_near_its_own_next_hop() -> None:
    found = leaving(TWO_ROUTERS, "10.0.43.4", "192.0.2.9", "198.51.100.1")
    assert found == {
        ("10.0.43.4", "192.0.2.9"): "192.0.2.5 to None",
        ("10.0.43.4", "198.51.100.1"): "10.0.44.63 to 10.0.44.1",
    }


def test_a_route_of_which_not_all_was_told_is_named_and_leaves_the_way_open() -> None:
    # busybox 1.35 prints no next hops of a multipath route, and no interface in their place.
    told = "default metric 5\n10.0.44.0/24 dev eth0 proto kernel scope link src 10.0.44.63\n"
    hidden = next(iter(parse_routes(told, Family.V4)))
    answer = asked(replace(APP, routes=(*APP.routes[:1], hidden)), with_rules(GATEWAY, SNAT), "icmp")
    assert answer.request.disposition is Disposition.UNDETERMINED
    assert "no interface is shown" in " ".join(answer.request.doubts)
    assert not any(each.certain for each in answer.request.blockers)
    # A smaller one before the way that is told takes its packets perhaps.
    smaller = replace(hidden, destination=ip_network("10.0.44.1"))
    answer = asked(replace(APP, routes=(*APP.routes, smaller)), with_rules(GATEWAY, SNAT), "icmp")
    assert answer.request.disposition is Disposition.UNDETERMINED
    tunnelled = replace(APP.routes[1], encap="mpls 100")
    answer = asked(replace(APP, routes=(*APP.routes[:1], tunnelled)), with_rules(GATEWAY, SNAT), "icmp")
    assert answer.request.disposition is Disposition.UNDETERMINED
    assert "mpls 100" in " ".join(answer.request.doubts)


def test_packets_that_come_to_a_gateway_can_be_asked_without_their_client() -> None:
    question = Asked(
        "gateway", (TARGET,), (Traffic.from_text("icmp"),), (ip_network("10.0.43.0/29"),), ingress="eth1"
    )
    answer = reach(question, {"gateway": GATEWAY})
    assert answer.request.disposition is Disposition.DELIVERED_TO_SEGMENT
    assert codes(answer) == ["snat-missing"]
    assert answer.passes is None
    own = replace(question, sources=(ip_network("10.0.43.101"),))
    assert codes(reach(own, {"gateway": GATEWAY}))[0] == "martian-source"


def test_rules_that_the_packets_cannot_meet_are_not_even_read() -> None:
    def nobody() -> tuple[foreign.Rule, ...]:
        raise AssertionError("nobody asked")

    def unread(family: str, name: str, hook: foreign.Hook | None) -> foreign.Table:
        return foreign.Table(Tool.NFT, family, f"of-{family}", {name: foreign.Chain(name, hook, 9, nobody)})

    forward = foreign.Hook("forward", "filter", 0)
    tables = (
        unread("ip6", "forward", forward),
        unread("ip", "spare", None),
        unread("arp", "input", foreign.Hook("input", "filter", 0)),
        unread("netdev", "other", foreign.Hook("ingress", "filter", 0, devices=("eth7",))),
    )
    for nat in ("", SNAT):
        gateway = with_rules(replace(GATEWAY, firewall=Firewall(foreign=tables)), nat)
        answer = asked(APP, gateway, "tcp/443")
        assert answer.request.disposition is Disposition.DELIVERED_TO_SEGMENT


@pytest.mark.parametrize(
    ("settings", "mtu", "stopped"),
    [
        ({}, 1500, False),
        ({"net.ipv6.conf.eth1.disable_ipv6": "0"}, 1280, False),
        ({"net.ipv6.conf.eth1.disable_ipv6": "1"}, 1500, True),
        ({"net.ipv6.conf.eth0.disable_ipv6": "1"}, 1500, True),
        ({}, 1279, True),
    ],
)
def test_ipv6_goes_where_both_interfaces_let_it(settings: Mapping[str, str], mtu: int, stopped: bool) -> None:
    came = replace(link("eth1", "fd00:1::1/64"), mtu=mtu)
    gateway = facts("gateway", (came, link("eth0", "fd00:2::1/64")))
    gateway = replace(gateway, sysctls={"net.ipv6.conf.all.forwarding": "1", **settings})
    space = Space()
    packets = space.network(Field.SOURCE6, ip_network("fd00:1::/64")) & space.network(
        Field.DESTINATION6, ip_network("fd00:2::2/128")
    )
    packets &= space.value(Field.TTL, 64) & space.value(Field.LENGTH, 100) & space.value(Field.PACKET_TYPE, 0)
    found = HostWalk(gateway, space).received(Here.of(packets), "eth1")
    assert [(each.code, each.certain) for each in found.blockers if each.code == "link-down"] == (
        [("link-down", True)] if stopped else []
    )
    assert found.passed.satisfiable() is not stopped
