"""What of a crossing is live, and what comes back at a boot: told for whoever keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from crossnet.api.looking import status_of
from crossnet.facts import FileState
from crossnet.facts.init import InitScripts
from crossnet.facts.routes import Route
from crossnet.health import CrossingStatus
from crossnet.planning import make_plan
from crossnet.show.text import status_text
from crossnet.specfile import parse
from crossnet.values import address, network
from design.factsheet import facts_from
from persistence.test_init_scripts import OPENRC, SYSV
from persistence.test_kept import DROP_IN, OWNERS, ROUTE_FILE, SCRIPT, SHEET, applied, spec_of, world
from planning.fakehost import FakeHost, carry_out, facts_of, hosts_of

ROUTE = "app: route 10.0.44.0/24 via 10.0.43.101 dev eth0"
TO = "10.0.44.0/24"


def status(hosts: Mapping[str, FakeHost], *to: str, persist: str = "auto") -> tuple[CrossingStatus, ...]:
    return status_of(parse(spec_of(*to, persist=persist), "crossnet.yaml"), facts_of(hosts))


def told(hosts: Mapping[str, FakeHost], *to: str, persist: str = "auto") -> str:
    return status_text(status(hosts, *to, persist=persist), verbose=True)


@pytest.mark.parametrize(
    ("owner", "file"),
    [
        ("network-scripts", ROUTE_FILE),
        ("ifcfg-rh", ROUTE_FILE),
        ("networkd", DROP_IN),
        ("netplan", DROP_IN.replace("eth0", "netplan-eth0")),
        ("networkmanager", "11111111-2222-3333-4444-555555555555 10.0.44.0/24 10.0.43.101 "),
        ("in memory", "/etc/crossnet/routes"),
        ("ifupdown", SCRIPT),
    ],
)
def test_a_route_is_live_and_kept_by_whoever_keeps_its_interface(owner: str, file: str) -> None:
    hosts = world(owner)
    applied(hosts, TO)
    assert f"{ROUTE}: live and persistent ({file}" in told(hosts, TO)
    hosts["app"].routes[:] = [route for route in hosts["app"].routes if route.via is None]
    assert f"{ROUTE}: not live but persistent ({file}" in told(hosts, TO)
    if file in hosts["app"].files:
        del hosts["app"].files[file]
        assert f"{ROUTE}: not live and not persistent ({file} is gone or changed)" in told(hosts, TO)


def test_each_crossing_tells_its_own() -> None:
    hosts = world("network-scripts")
    applied(hosts, TO, "10.0.45.0/24")
    first, second = status(hosts, TO, "10.0.45.0/24")
    named = [[each.what for each in one.lasting if each.host == "app"] for one in (first, second)]
    assert named == [
        ["route 10.0.44.0/24 via 10.0.43.101 dev eth0"],
        ["route 10.0.45.0/24 via 10.0.43.101 dev eth0"],
    ]
    shared = [[each.what for each in one.lasting if each.host == "gateway"] for one in (first, second)]
    assert shared[0] == shared[1]
    assert any("ip_forward = 1" in each for each in shared[0])


def test_all_that_a_gateway_has_comes_back_while_the_script_does() -> None:
    hosts = world("networkd")
    applied(hosts, TO)
    of_gateway = [each for each in status(hosts, TO)[0].lasting if each.host == "gateway"]
    assert of_gateway
    assert all(each.live and each.persistent for each in of_gateway)
    del hosts["gateway"].files["/etc/crossnet/start"]
    assert not any(each.persistent for each in status(hosts, TO)[0].lasting if each.host == "gateway")


def test_what_was_asked_not_to_last_is_no_news() -> None:
    hosts = world("networkd")
    applied(hosts, TO, persist="none")
    assert f"{ROUTE}: live and not persistent (as the spec asks)" in told(hosts, TO, persist="none")
    assert "persistent" not in status_text(status(hosts, TO, persist="none"))


def test_without_systemd_what_ends_with_the_boot_is_told() -> None:
    hosts = hosts_of(facts_from(SHEET.format(OWNERS["networkd"]) + "  no systemd\n"))
    applied(hosts, TO)
    said = status_text(status(hosts, TO))
    assert "gateway: live, but not persistent: " in said
    assert "net.ipv4.ip_forward = 1" in said
    assert "app: live" not in said, "networkd keeps that"


@pytest.mark.parametrize("init", [OPENRC, SYSV], ids=["openrc", "sysv"])
def test_an_init_script_brings_it_back_while_it_is_enabled(init: InitScripts) -> None:
    hosts = hosts_of(facts_from(SHEET.format(OWNERS["networkd"]) + "  no systemd\n"))
    hosts["gateway"].base = replace(hosts["gateway"].base, init=init)
    applied(hosts, TO)
    of_gateway = [each for each in status(hosts, TO)[0].lasting if each.host == "gateway"]
    assert of_gateway
    assert all(each.persistent for each in of_gateway)
    del hosts["gateway"].files["/etc/init.d/crossnet"]
    assert not any(each.persistent for each in status(hosts, TO)[0].lasting if each.host == "gateway")


@pytest.mark.parametrize(
    "owner", ["network-scripts", "ifcfg-rh", "networkd", "networkmanager", "ifupdown", "wicked"]
)
@pytest.mark.parametrize("addresses", [False, True], ids=["lines", "variables"])
def test_a_route_is_not_kept_by_the_line_of_a_larger_one(owner: str, addresses: bool) -> None:
    hosts = world(owner)
    if addresses and ROUTE_FILE in hosts["app"].files:
        hosts["app"].files[ROUTE_FILE] = FileState(b"ADDRESS0=10.9.0.0\nNETMASK0=255.255.0.0\n", 0o640, "5:6")
    crossings = """
  big: {from: app, via: gateway, to: 10.0.44.0/24, allow: tcp/22}
  small: {from: app, via: gateway, to: 10.0.44.0/25, allow: tcp/80, persist: none}
"""
    spec = parse(
        f"crossnet: 1\nhosts: {{app: {{lab: app}}, gateway: {{lab: gateway}}}}\ncrossings:{crossings}",
        "crossnet.yaml",
    )
    carry_out(make_plan(spec, facts_of(hosts)), hosts)
    big, small = status_of(spec, facts_of(hosts))
    assert [each.persistent for each in big.lasting if each.host == "app"] == [True]
    assert [each.persistent for each in small.lasting if each.host == "app"] == [False]


def test_a_jump_of_each_iptables_comes_back_by_the_script() -> None:
    hosts = hosts_of(facts_from(SHEET.format(OWNERS["networkd"]) + "  iptables legacy\n"))
    spec = parse(spec_of(TO).replace("persist: auto", "firewall: iptables"), "crossnet.yaml")
    carry_out(make_plan(spec, facts_of(hosts)), hosts)
    jumps = [each for each in status_of(spec, facts_of(hosts))[0].lasting if "jump" in each.what]
    assert len(jumps) == 2
    assert all("iptables-legacy" in each.what for each in jumps)
    assert all(each.persistent for each in jumps)


def test_the_route_of_somebody_else_that_the_unit_brings_back_lasts() -> None:
    hosts = world("in memory")
    hosts["app"].routes.append(
        Route(network("10.0.44.0/24"), address("10.0.43.101"), "eth0", protocol="boot")
    )
    applied(hosts, TO)
    assert f"{ROUTE}: live and persistent (/etc/crossnet/start)" in told(hosts, TO)


def test_rules_for_an_address_that_is_gone_are_live_all_the_same() -> None:
    hosts = world("networkd")
    applied(hosts, TO)
    gateway = hosts["gateway"]
    moved = facts_from(SHEET.format(OWNERS["networkd"]).replace("10.0.44.63", "10.0.44.70"))["gateway"]
    gateway.base = replace(gateway.base, links=moved.links)
    said = told(hosts, TO)
    assert "table nftables ip crossnet: live, but drifted, and persistent (/etc/crossnet/rules.nft)" in said


@pytest.mark.parametrize("owner", ["networkd", "networkmanager"])
def test_what_its_owner_does_not_look_at_any_more_brings_nothing_back(owner: str) -> None:
    hosts = world(owner)
    applied(hosts, TO)
    there = hosts["app"].base.owners["eth0"]
    other = replace(
        there, file="/etc/systemd/network/05-new.network", profile="other" if there.profile else ""
    )
    hosts["app"].base = replace(hosts["app"].base, owners={"eth0": other})
    assert f"{ROUTE}: live and not persistent (nothing brings it back)" in told(hosts, TO)
    assert "app: live, but not persistent: route 10.0.44.0/24" in status_text(status(hosts, TO))
    if owner == "networkd":
        applied(hosts, TO)
        moved = DROP_IN.replace("10-eth0", "05-new")
        assert f"{ROUTE}: live and persistent ({moved})" in told(hosts, TO)
        assert DROP_IN not in hosts["app"].files
