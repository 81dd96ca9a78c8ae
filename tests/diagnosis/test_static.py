"""What facts tell of routes, neighbours and addresses: each thing that leads packets astray, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from crossnet.diagnosis.course import Course, Hints, Stop, course
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.fixes import fix_of
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.static import foretell
from crossnet.facts import Facts
from crossnet.facts.firewall import Firewall
from crossnet.facts.neighbours import Neighbour
from crossnet.facts.routes import Route, parse_routes
from crossnet.netfilter.foreign import Chain, Drop, Hook, Rule, Table, Tool
from crossnet.spec import Crossing
from crossnet.values import Family, Probe, host_network
from diagnosis.seeded import SEED, seed

PROBE = Probe.from_text("icmp/10.0.44.1")
BEYOND = (ip_network("10.0.44.0/24"),)


def way(hosts: Mapping[str, Facts]) -> Course:
    return course("app", ["gateway"], PROBE.destination, hosts, Hints(beyond=BEYOND))


def found(hosts: Mapping[str, Facts]) -> Foretold:
    return foretell(way(hosts), PROBE, hosts, BEYOND)


def told(hosts: Mapping[str, Facts]) -> list[tuple[str, str, str]]:
    return [(str(each.direction), each.host, each.code) for each in found(hosts).findings]


def fixes(hosts: Mapping[str, Facts], code: str) -> list[str]:
    cause = next(each for each in found(hosts).findings if each.code == code)
    made = fix_of(cause, way(hosts), PROBE, hosts, found(hosts).source)
    return [command for fix in made for command in fix.commands]


def knowing(facts: Facts, address: str, device: str, state: str) -> Facts:
    known = Neighbour(ip_address(address), device, state, "02:de:ad:be:ef:01")
    return replace(facts, neighbours=(known,))


def with_routes(facts: Facts, *lines: str) -> Facts:
    added: tuple[Route, ...] = parse_routes("\n".join(lines), Family.V4)
    return replace(facts, routes=(*facts.routes, *added))


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert told(seed()) == []


def test_a_wrong_entry_for_the_client_is_a_fault_of_the_reply() -> None:
    for state in ("PERMANENT", "NOARP"):
        hosts = seed()
        hosts["gateway"] = knowing(hosts["gateway"], "10.0.43.15", "eth1", state)
        assert told(hosts) == [("reply", "gateway", "wrong-destination-mac")]
        assert fixes(hosts, "wrong-destination-mac") == ["ip neigh del 10.0.43.15 dev eth1"]


def test_a_wrong_entry_for_somebody_else_is_none() -> None:
    hosts = seed()
    hosts["gateway"] = knowing(hosts["gateway"], "10.0.43.16", "eth1", "PERMANENT")
    hosts["app"] = knowing(hosts["app"], "10.0.43.1", "eth0", "PERMANENT")
    assert told(hosts) == []


def test_who_did_not_answer_lately_may_answer_now() -> None:
    """A gateway forgets that only when it asks again; what surely stops the packets before it comes first."""
    hosts = seed(f"{SEED}  iptables filter -A FORWARD -p icmp -j DROP\n")
    hosts["gateway"] = replace(
        hosts["gateway"], neighbours=(Neighbour(PROBE.destination, "eth0", "FAILED", ""),)
    )
    sure, perhaps = found(hosts).of(Direction.FORWARD)
    assert (sure.code, sure.certain) == ("filter-rule-drop", True)
    assert (perhaps.code, perhaps.certain) == ("destination-absent", False)
    assert perhaps.text == "10.0.44.1 did not answer on eth0 when it was last asked"


def test_an_interface_without_arp_sends_to_itself() -> None:
    hosts = seed()
    links = hosts["app"].links
    hosts["app"] = replace(
        hosts["app"], links=tuple(replace(each, flags=each.flags | {"NOARP"}) for each in links)
    )
    assert ("forward", "app", "wrong-destination-mac") in told(hosts)
    assert fixes(hosts, "wrong-destination-mac") == ["ip link set eth0 arp on"]


def test_rules_on_arp_may_keep_a_question_in_or_an_answer_out() -> None:
    hosts = seed()
    rule = Rule((Drop(),), text="drop")
    chain = Chain("in", Hook("input", "filter", 0), 1, lambda: (rule,))
    table = Table(Tool.NFT, "arp", "guard", {"in": chain})
    gateway = hosts["gateway"]
    hosts["gateway"] = replace(
        gateway, firewall=replace(gateway.firewall, foreign=(*gateway.firewall.foreign, table))
    )
    assert ("forward", "gateway", "arp-not-answered") in told(hosts)
    assert not any(each.certain for each in found(hosts).findings)
    assert fixes(hosts, "arp-not-answered") == [
        "nft insert rule arp guard in arp daddr ip 10.0.43.101 accept"
    ]
    assert fixes(hosts, "next-hop-unresolved") == [
        "nft insert rule arp guard in arp saddr ip 10.0.44.1 accept"
    ]
    assert isinstance(gateway.firewall, Firewall)


def test_a_route_of_a_nexthop_object_is_deleted_by_that() -> None:
    hosts = seed()
    hosts["app"] = with_routes(hosts["app"], "blackhole 10.0.44.1 nhid 6 dev lo proto static")
    assert told(hosts) == [("forward", "app", "route-blackhole")]
    assert fixes(hosts, "route-blackhole") == ["ip route del 10.0.44.1 nhid 6"]


@pytest.mark.parametrize(
    ("route", "commands"),
    [("", []), ("default via 10.0.44.1 dev eth0", ["ip route del blackhole 10.0.0.0/8 metric 4278198272"])],
    ids=["lost", "covered"],
)
def test_a_range_that_is_refused_behind_a_lost_route_is_left_alone(route: str, commands: list[str]) -> None:
    """As an aggregate that a routing daemon keeps: what is missing is the route into it."""
    hosts = seed(SEED.replace("10.0.44.0/24 via", "10.0.50.0/24 via").replace("-d 10.0.44", "-d 10.0.50"))
    hosts["gateway"] = with_routes(hosts["gateway"], "blackhole 10.0.0.0/8 metric 4278198272", route)
    probe, beyond = Probe.from_text("icmp/10.0.50.1"), (ip_network("10.0.50.0/24"),)
    on = course("app", ["gateway"], probe.destination, hosts, Hints(egress="eth0", beyond=beyond))
    said = foretell(on, probe, hosts, beyond)
    cause = next(each for each in said.findings if each.code == "route-blackhole")
    made = fix_of(cause, on, probe, hosts, said.source)
    assert [command for fix in made for command in fix.commands] == commands


@pytest.mark.parametrize("protocol", ["143", "dhcp", "dhcp metric 100"])
def test_no_apply_is_advised_that_a_plan_refuses(protocol: str) -> None:
    """A route of somebody else to the very destination stays: crossnet replaces nothing that it does not own."""
    hosts = seed(SEED.replace("  route 10.0.44.0/24 via 10.0.43.101 dev eth0\n", ""))
    hosts["app"] = with_routes(hosts["app"], f"10.0.44.0/24 via 10.0.43.254 dev eth0 proto {protocol}")
    (cause,) = (each for each in found(hosts).findings if each.code == "src-route-other-next-hop")
    (fix,) = fix_of(cause, way(hosts), PROBE, hosts, found(hosts).source)
    assert fix.commands == ("ip route replace 10.0.44.0/24 via 10.0.43.101 dev eth0",)
    assert fix.by_crossnet == ("crossnet apply" if protocol == "143" else None)


def test_a_throw_is_answered_with_a_route_as_narrow() -> None:
    hosts = seed()
    hosts["app"] = with_routes(hosts["app"], "throw 10.0.44.1")
    assert told(hosts) == [("forward", "app", "src-no-route")]
    assert fixes(hosts, "src-no-route") == ["ip route replace 10.0.44.1 via 10.0.43.101 dev eth0"]


def test_a_lost_carrier_takes_no_routes_with_it() -> None:
    strange = SEED.replace("10.0.43.15/24", "10.0.53.15/24")
    missing = ("reply", "gateway", "no-route")
    without_carrier = seed(strange.replace("eth1 10.0.43.101/24", "eth1 10.0.43.101/24 down"))
    assert ("forward", "gateway", "link-down") in told(without_carrier)
    assert missing in told(without_carrier)
    # Nor does it say of which network a translated address has to be.
    narrow = seed(SEED.replace("10.0.44.63/24", "10.0.44.63/27 off"))
    assert told(narrow) == [("forward", "gateway", "link-down")]
    switched_off = seed(strange.replace("eth1 10.0.43.101/24", "eth1 10.0.43.101/24 off"))
    assert missing not in told(switched_off)


def test_a_translation_on_the_segment_of_the_client_does_not_say_where_the_destination_is() -> None:
    assert told(seed(SEED.replace("eth0 10.0.44.63/24", "eth0").replace("-o eth0 -j", "-o eth1 -j"))) == [
        ("forward", "gateway", "address-missing"),
        ("reply", "gateway", "snat-skipped"),
    ]


SIXTH = """
app:
  eth0 fd00:43::15/64 fe80::15/64
  route fd00:44::/64 via {hop} dev eth0
gateway:
  eth0 fd00:44::63/64 fe80::1/64
  eth1 fd00:43::101/64 fe80::1/64
  sysctl net.ipv6.conf.all.forwarding {forwarding}
"""


def told6(hosts: Mapping[str, Facts], next_hop: str) -> list[tuple[str, str, str]]:
    """What facts tell of the same two hosts with IPv6, by way of a next hop that the spec names."""
    probe, beyond = Probe.from_text("icmp/fd00:44::1"), (ip_network("fd00:44::/64"),)
    hints = Hints(beyond=beyond, next_hop=ip_address(next_hop))
    over = course("app", ["gateway"], probe.destination, hosts, hints)
    findings = foretell(over, probe, hosts, beyond).findings
    return [(str(each.direction), each.host, each.code) for each in findings if each.code != "snat-missing"]


@pytest.mark.parametrize(("forwarding", "codes"), [("1", set()), ("0", {"ip-forward-disabled"})])
def test_a_link_local_next_hop_is_the_gateways_and_missing_nowhere(forwarding: str, codes: set[str]) -> None:
    hosts = seed(SIXTH.format(hop="fe80::1", forwarding=forwarding))
    assert {code for _, _, code in told6(hosts, "fe80::1")} == codes


def taking(facts: Facts, *networks: str, protocol: str = "boot") -> Facts:
    """The same with what its kernel keeps for its own addresses, and with routes of type local besides."""
    own = [
        (host_network(item.address), "kernel", link.name) for link in facts.links for item in link.addresses
    ]
    routes = [*own, *((ip_network(each), protocol, "lo") for each in networks)]
    added = (Route(to, None, name, protocol=by, table="local", type="local") for to, by, name in routes)
    return replace(facts, routes=(*facts.routes, *added))


def test_a_local_route_of_somebody_is_named_with_its_removal() -> None:
    hosts = seed()
    hosts["gateway"] = taking(hosts["gateway"], "10.0.44.0/28", "10.0.44.128/28")
    assert told(hosts) == [("forward", "gateway", "destination-is-local")]
    assert "local 10.0.44.0/28 dev lo" in found(hosts).findings[0].text
    assert fixes(hosts, "destination-is-local") == ["ip route del local 10.0.44.0/28 dev lo"]
    hosts["gateway"] = replace(hosts["gateway"], reached_at=ip_address("10.0.44.9"))
    assert fixes(hosts, "destination-is-local") == [], "it is how the host is reached"
    assert told({**seed(), "gateway": taking(seed()["gateway"], "10.0.44.128/28")}) == []


HOP = "fd00:43::101"


@pytest.mark.parametrize(
    ("state", "routes", "codes"),
    [
        ("FAILED", "route default via fd00:43::1 dev eth0", {"next-hop-unresolved"}),
        ("FAILED", "", {"next-hop-unresolved"}),
        ("REACHABLE", "route default via fd00:43::1 dev eth0", set()),
        (
            "FAILED",
            "route fd00:44::/96 via fd00:43::1 dev eth0",
            {"src-route-other-next-hop", "next-hop-unresolved"},
        ),
    ],
)
def test_the_route_by_a_router_that_does_not_answer_is_right(
    state: str, routes: str, codes: set[str]
) -> None:
    """A host of IPv6 passes over it, and goes another way or says that it has none."""
    hosts = seed(SIXTH.format(hop=HOP, forwarding=1).replace("gateway:", f"  {routes}\ngateway:"))
    hosts["app"] = knowing(hosts["app"], HOP, "eth0", state)
    hosts["gateway"] = replace(
        hosts["gateway"],
        links=tuple(replace(each, hardware="02:de:ad:be:ef:01") for each in hosts["gateway"].links),
    )
    assert {code for _, _, code in told6(hosts, HOP)} == codes


def test_an_egress_without_its_address_is_told_though_a_route_leads_elsewhere() -> None:
    hosts = seed(SEED.replace("eth0 10.0.44.63/24", "eth0"))
    hosts["gateway"] = with_routes(hosts["gateway"], "10.0.44.1 via 10.0.43.1 dev eth1")
    assert told(hosts) == [
        ("forward", "gateway", "address-missing"),
        ("forward", "gateway", "gateway-route-elsewhere"),
    ]


def test_behind_a_rule_that_takes_packets_for_itself_the_others_are_found() -> None:
    capturing = (
        "  iptables nat -A PREROUTING -d 10.0.44.1 -j DNAT --to-destination 10.0.43.101\n"
        "  iptables filter -A FORWARD -d 10.0.44.0/24 -j DROP\n"
    )
    assert told(seed(SEED + capturing)) == [
        ("forward", "gateway", "dnat-captures"),
        ("forward", "gateway", "filter-rule-drop"),
    ]
    hosts = seed(SEED + capturing.splitlines()[0])
    hosts["gateway"] = with_routes(hosts["gateway"], "blackhole 10.0.44.1")
    assert told(hosts) == [
        ("forward", "gateway", "dnat-captures"),
        ("forward", "gateway", "route-blackhole"),
    ]


def test_a_full_table_of_connections_stands_behind_a_missing_translation() -> None:
    full = "  sysctl net.netfilter.nf_conntrack_count 9\n  sysctl net.netfilter.nf_conntrack_max 9\n"
    untranslated = SEED[: SEED.index("  iptables")]
    assert told(seed(untranslated + full)) == [
        ("forward", "gateway", "conntrack-table-full"),
        ("reply", "gateway", "snat-missing"),
    ]
    assert told(seed(SEED + full)) == [("forward", "gateway", "conntrack-table-full")]


def test_behind_a_gateway_that_answers_no_question_its_rules_are_walked() -> None:
    elsewhere = SEED.replace("-A POSTROUTING -d 10.0.44.0/24", "-A POSTROUTING -d 10.0.45.0/24")
    assert told(seed(elsewhere + "  sysctl net.ipv4.conf.eth1.arp_ignore 8\n")) == [
        ("forward", "gateway", "arp-not-answered"),
        ("reply", "gateway", "snat-skipped"),
    ]


def test_where_a_route_refuses_one_address_the_next_hop_is_that_of_the_broader_one() -> None:
    hosts = seed(SEED.replace("eth1 10.0.43.101/24", "eth1"))
    hosts["app"] = with_routes(hosts["app"], "unreachable 10.0.44.1")
    assert told(hosts) == [("forward", "app", "route-unreachable"), ("forward", "gateway", "address-missing")]


def test_a_next_hop_outside_of_the_own_network_is_on_link() -> None:
    hosts = seed(
        SEED.replace("10.0.43.15/24", "10.0.43.15/32").replace(
            "  route 10.0.44.0/24 via 10.0.43.101 dev eth0\n", ""
        )
    )
    assert ("forward", "app", "src-no-route") in told(hosts)
    assert fixes(hosts, "src-no-route") == ["ip route replace 10.0.44.0/24 via 10.0.43.101 dev eth0 onlink"]


def test_a_loopback_source_leaves_by_no_interface() -> None:
    hosts = seed(SEED.replace("dev eth0\ngateway", "dev eth0 src 127.0.0.1\ngateway"))
    assert told(hosts) == [("forward", "app", "src-address-unsuitable")]
    assert fixes(hosts, "src-address-unsuitable") == [
        "ip route replace 10.0.44.0/24 via 10.0.43.101 dev eth0"
    ]


def test_an_address_on_lo_is_answered_on_the_interface_that_stands_there() -> None:
    hosts = seed(SEED.replace("eth1 10.0.43.101/24", "eth1 10.0.43.102/24\n  lo 10.0.43.101/32"))
    assert way(hosts).gateways[0].ingress == "eth1"


def test_a_client_that_translates_to_a_stranger_hears_no_answer() -> None:
    rule = "  iptables nat -A POSTROUTING -d 10.0.44.0/24 -j SNAT --to-source 10.0.43.99\ngateway"
    hosts = seed(SEED.replace("\ngateway", f"\n{rule}", 1))
    assert ("reply", "app", "snat-address-not-local") in told(hosts)
    rule = "-s 10.0.43.15 -d 10.0.44.0/24 -o eth0 -j SNAT --to-source 10.0.43.15"
    assert fixes(hosts, "snat-address-not-local") == [f"iptables -t nat -I POSTROUTING 1 {rule}"]


def test_addresses_that_are_no_hosts() -> None:
    hosts = seed()
    for wanted in ("224.0.0.1", "255.255.255.255", "10.0.44.0"):
        probe = Probe.from_text(f"icmp/{wanted}")
        asked = course("app", ["gateway"], probe.destination, hosts, Hints(beyond=BEYOND))
        codes = [each.code for each in foretell(asked, probe, hosts, BEYOND).findings]
        assert codes[0] == "destination-is-broadcast", wanted


def test_what_stands_behind_a_client_without_an_address_is_found() -> None:
    text = SEED.replace("eth0 10.0.43.15/24\n  route 10.0.44.0/24 via 10.0.43.101 dev eth0", "eth0")
    hosts = seed(text.replace("ip_forward 1", "ip_forward 0"))
    codes = {(host, code) for _, host, code in told(hosts)}
    assert codes == {("app", "address-missing"), ("gateway", "ip-forward-disabled")}


def test_a_router_between_neighbours_may_be_why_nothing_comes() -> None:
    hosts = seed()
    hosts["gateway"] = with_routes(hosts["gateway"], "10.0.43.15 via 10.0.43.200 dev eth1")
    (finding,) = found(hosts).findings
    assert (finding.direction, finding.code, finding.certain) == ("reply", "gateway-route-elsewhere", False)
    assert fixes(hosts, "gateway-route-elsewhere") == ["ip route replace 10.0.43.15 dev eth1"]


def test_a_time_to_live_that_a_route_sets_goes_with_the_route() -> None:
    hosts = seed()
    cause = Finding("ttl-expired", "gateway", "eth1", Direction.FORWARD, "it is 1")
    (fix,) = fix_of(cause, way(hosts), PROBE, hosts, None)
    assert fix.host == "app"
    assert fix.commands == ("ip route replace 10.0.44.0/24 via 10.0.43.101 dev eth0",)


def test_a_client_that_sends_to_somebody_else_is_told_with_what_its_gateway_would_do() -> None:
    rule = "  iptables nat -A OUTPUT -d 10.0.44.1 -j DNAT --to-destination 10.0.43.1"
    hosts = seed(SEED.replace("\ngateway", f"\n{rule}\ngateway", 1).replace("ip_forward 1", "ip_forward 0"))
    codes = {(host, code) for _, host, code in told(hosts)}
    assert codes >= {("app", "dnat-captures"), ("gateway", "ip-forward-disabled")}


MOVING = ip_address("10.0.43.200")


def moved() -> tuple[Foretold, Course, dict[str, Facts]]:
    """The spec's next hop is an address beside the gateway's own, as of VRRP, and the gateway does not have it now."""
    hosts = seed(SEED.replace("via 10.0.43.101", f"via {MOVING}"))
    hosts["app"] = knowing(hosts["app"], str(MOVING), "eth0", "REACHABLE")
    asked = Crossing("business", ("app",), "gateway", BEYOND, next_hop=MOVING)
    on = course("app", ["gateway"], PROBE.destination, hosts, Hints(None, None, MOVING, BEYOND, asked))
    return foretell(on, PROBE, hosts, BEYOND), on, hosts


def test_a_next_hop_that_has_moved_away_is_told_and_the_clients_route_is_right() -> None:
    told, on, hosts = moved()
    assert on.client == Stop("app", None, "eth0", MOVING)
    (cause,) = told.findings
    assert (cause.code, cause.host, cause.interface) == ("next-hop-elsewhere", "gateway", "eth1")
    (fix,) = fix_of(cause, on, PROBE, hosts, told.source)
    assert fix.commands == (), "added by hand it may be there twice"
    assert fix.by_crossnet == (
        "where 10.0.43.200 is not to come back to gateway: `next-hop: 10.0.43.101` in the crossing, "
        "then `crossnet apply`"
    )


@pytest.mark.parametrize(
    ("gateway", "interface", "code"),
    [
        ("eth1 10.0.43.101/24\n  eth2 10.0.50.101/24", "eth2", "next-hop-elsewhere"),
        ("eth1 10.0.43.101/24 10.0.50.101/24", "eth1", "next-hop-elsewhere"),
        ("eth1 10.0.43.101/24\n  eth2", "eth2", "address-missing"),
    ],
    ids=["of its own", "shared", "it was all that was there"],
)
def test_one_that_has_moved_away_belongs_to_the_network_that_client_and_gateway_share_around_it(
    gateway: str, interface: str, code: str
) -> None:
    text = SEED.replace("via 10.0.43.101 dev eth0", "via 10.0.50.200 dev eth1")
    text = text.replace("eth0 10.0.43.15/24", "eth0 10.0.43.15/24\n  eth1 10.0.50.15/24")
    hosts = seed(text.replace("eth1 10.0.43.101/24", gateway))
    moving = ip_address("10.0.50.200")
    on = course("app", ["gateway"], PROBE.destination, hosts, Hints(next_hop=moving, beyond=BEYOND))
    assert on.client == Stop("app", None, "eth1", moving)
    assert [
        (each.code, each.host, each.interface) for each in foretell(on, PROBE, hosts, BEYOND).findings
    ] == [(code, "gateway", interface)]


def test_one_that_the_gateway_alone_should_have_is_missing() -> None:
    hosts = seed(SEED.replace("eth1 10.0.43.101/24", "eth1"))
    on = course(
        "app", ["gateway"], PROBE.destination, hosts, Hints(next_hop=ip_address("10.0.43.101"), beyond=BEYOND)
    )
    assert [each.code for each in foretell(on, PROBE, hosts, BEYOND).findings] == ["address-missing"]


def test_who_names_the_clients_own_network_as_the_way_out_means_the_same_interface_in_and_out() -> None:
    """A fix for the other interface, which has nothing to do with it, cut the gateway off its client."""
    text = SEED.replace("10.0.44.0/24 via 10.0.43.101", "10.0.50.0/24 via 10.0.43.101").replace(
        "eth0 10.0.44.63/24\n", "eth0 10.0.44.63/24\n  route 10.0.50.0/24 via 10.0.43.254 dev eth1\n"
    )
    text = text.replace(
        "-d 10.0.44.0/24 -o eth0 -j SNAT --to-source 10.0.44.63",
        "-d 10.0.50.0/24 -o eth1 -j SNAT --to-source 10.0.43.101",
    )
    hosts, probe = seed(text), Probe.from_text("icmp/10.0.50.1")
    beyond = (ip_network("10.0.50.0/24"),)
    on = course("app", ["gateway"], probe.destination, hosts, Hints(egress="eth1", beyond=beyond))
    assert [(stop.ingress, stop.egress) for stop in on.gateways] == [("eth1", "eth1")]
    assert foretell(on, probe, hosts, beyond).findings == ()
