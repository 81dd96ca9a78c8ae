"""What is printed to be pasted into a shell of root: no name from a host takes it apart, nothing cuts the way in."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from crossnet.diagnosis.course import Hints, course
from crossnet.diagnosis.finding import Direction, Finding, Remedy
from crossnet.diagnosis.fixes import fix_of
from crossnet.facts import Facts
from crossnet.facts.links import parse_links
from crossnet.netfilter.foreign import Tool
from crossnet.openstack.ports import CloudFacts, HostRoute, Subnet
from crossnet.reach.rules import Place
from crossnet.spec import Crossing, Routes
from crossnet.verdict import Fix
from design.test_host_routes import as_leased
from diagnosis.test_stopped_by_rules import BEYOND, ECHO, GATEWAY, TARGET, hosts, told

NETWORK = ip_network("10.0.44.0/24")


def fixes(found: Finding, known: dict[str, Facts]) -> tuple[Fix, ...]:
    way = course("app", ("gateway",), TARGET, known, Hints(beyond=BEYOND))
    return fix_of(found, way, ECHO, known, GATEWAY)


def commands(found: Finding, known: dict[str, Facts]) -> list[str]:
    return [command for fix in fixes(found, known) for command in fix.commands]


def route(device: str) -> Finding:
    hop = ip_address("10.0.43.101")
    remedy = Remedy(destination=NETWORK, next_hop=hop, device=device)
    return Finding("src-no-route", "app", device, Direction.FORWARD, "no route", remedy=remedy)


def drop(table: str, chain: str) -> Finding:
    place = Place(Tool.NFT, "inet", table, chain, "forward")
    return Finding("filter-rule-drop", "gateway", "eth1", Direction.FORWARD, "drop", chain=place)


@pytest.mark.parametrize("name", ["e;id", "$(id)", "`id`", "a b", "-e", "x|sh", "a\nb", "'", "é"])
def test_a_name_that_a_shell_would_take_apart_gives_no_command(name: str) -> None:
    known = hosts()
    assert commands(route("eth0"), known) == ["ip route replace 10.0.44.0/24 via 10.0.43.101 dev eth0"]
    assert commands(route(name), known) == []
    assert commands(drop("filter", "forward"), known) != []
    assert commands(drop(name, "forward"), known) == []
    assert commands(drop("filter", name), known) == []


def test_a_hardware_address_that_is_none_is_not_taken_for_one() -> None:
    told = "1: eth0: <BROADCAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP\n    link/ether {} brd ff:ff:ff:ff:ff:ff\n"
    assert parse_links(told.format("02:00:00:00:43:0f")).links[0].hardware == "02:00:00:00:43:0f"
    assert parse_links(told.format("00;id>/tmp/x|sh")).links[0].hardware == ""


def test_no_route_by_which_crossnet_itself_came_is_to_be_moved() -> None:
    known = hosts()
    known["app"] = replace(known["app"], controller=ip_address("10.0.44.7"))
    (fix,) = fixes(route("eth0"), known)
    assert fix.commands == ()
    assert fix.by_crossnet == "crossnet apply"


def test_an_address_is_added_before_the_wrong_one_goes_and_the_one_in_use_stays() -> None:
    known = hosts()
    address = ip_address("10.0.44.63")
    remedy = Remedy(device="eth0", address=address, prefix=24, wrong="10.0.44.63/27")
    found = Finding("prefix-mismatch", "gateway", "eth0", Direction.FORWARD, "", remedy=remedy)
    assert commands(found, known) == [
        "ip addr add 10.0.44.63/24 dev eth0",
        "ip addr del 10.0.44.63/27 dev eth0",
    ]
    known["gateway"] = replace(known["gateway"], reached_at=address)
    assert commands(found, known) == ["ip addr add 10.0.44.63/24 dev eth0"]


def test_an_address_with_its_network_is_never_to_be_taken_away() -> None:
    known = hosts()
    alone = Remedy(device="eth1", address=ip_address("10.0.44.1"), prefix=32)
    found = Finding("destination-is-local", "gateway", "eth1", Direction.FORWARD, "", remedy=alone)
    assert commands(found, known) == ["ip addr del 10.0.44.1/32 dev eth1"]
    assert commands(replace(found, remedy=replace(alone, prefix=24)), known) == []


def test_an_answer_is_let_through_as_one_and_opens_nothing() -> None:
    known = hosts(gateway="*filter\n-A FORWARD -i eth0 -j DROP\nCOMMIT\n")
    (found,) = told(known)
    (command,) = commands(found, known)
    assert "--ctstate ESTABLISHED,RELATED" in command


def test_a_client_whose_route_comes_with_a_lease_is_to_renew_it_once_it_is_offered() -> None:
    known = hosts()
    asked = Crossing("business", ("app",), "gateway", (NETWORK,), cloud="prod", routes=Routes.NEUTRON)
    subnet = Subnet("s", "clients", "net43", "lab", ip_network("10.0.43.0/24"), True, None, (), 0)
    hop = ip_address("10.0.43.101")

    def offered(*offers: HostRoute, leases: bool = True, leased: bool = True) -> tuple[Fix, ...]:
        cloud = CloudFacts("prod", {}, subnets=(replace(subnet, routes=offers, leases=leases),))
        app = as_leased(known["app"]) if leased else known["app"]
        told = {"app": app, "gateway": replace(known["gateway"], cloud=cloud)}
        way = course("app", ("gateway",), TARGET, told, Hints(beyond=BEYOND, crossing=asked))
        return fix_of(route("eth0"), way, ECHO, told, GATEWAY)

    (first,) = offered()
    assert (first.commands, first.by_crossnet) == ((), "crossnet apply")
    assert offered(HostRoute(NETWORK, hop), leases=False) == ()
    assert offered(HostRoute(NETWORK, hop), leased=False) == ()  # it would be given up for good
    (there,) = offered(HostRoute(NETWORK, hop))
    assert there.commands == ("nohup sh -c 'dhclient -r eth0; dhclient eth0'",)
    assert there.by_crossnet is None
