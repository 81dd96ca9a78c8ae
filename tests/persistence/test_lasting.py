"""What of a crossing is live, and what comes back at a boot: told for whoever keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from crossnet.api.looking import status_of
from crossnet.facts.init import InitScripts
from crossnet.health import CrossingStatus
from crossnet.show.text import status_text
from crossnet.specfile import parse
from design.factsheet import facts_from
from persistence.test_init_scripts import OPENRC, SYSV
from persistence.test_kept import DROP_IN, OWNERS, ROUTE_FILE, SCRIPT, SHEET, applied, spec_of, world
from planning.fakehost import FakeHost, facts_of, hosts_of

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
