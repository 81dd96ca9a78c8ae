"""The seed scenario over SSH on hosts with the tools of CentOS 7, and on hosts with those of busybox."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from lab.crossing import Bench
from lab.old_tools_host import make_busybox, make_new, make_old
from lab.test_ssh import SPEC, Place, lab_with_sshd, place

pytestmark = pytest.mark.lab

__all__ = ["lab_with_sshd", "place"]  # fixtures

HOSTS = ("app", "gateway")


@pytest.fixture(params=[make_old, make_busybox], ids=["centos-7", "busybox"])
def aged(place: Place, request: pytest.FixtureRequest) -> Iterator[Place]:
    """Client and gateway with other tools, until the test ends."""
    make: Callable[[Bench, str], None] = request.param
    for host in HOSTS:
        make(place.bench, host)
    yield place
    with_today(place)


def with_today(place: Place) -> None:
    for host in HOSTS:
        if place.run(host, "mountpoint -q /usr/sbin").ok:
            make_new(place.bench, host)


def test_seed_with_old_tools_ends_as_with_todays(aged: Place) -> None:
    aged.check("controller", "cat > /tmp/crossnet.yaml", stdin=SPEC.encode())
    routes = {host: aged.check(host, "ip route; ip rule") for host in HOSTS}
    for command, expected in (
        ("plan", "Plan:"),
        ("apply --yes", "Confirmed."),
        ("verify", "10.0.44.1"),
        ("status", "up"),
        ("apply --yes", "No changes."),
    ):
        answer = aged.crossnet(command)
        assert answer.ok, answer.text + answer.error_text
        assert expected in answer.text, answer.text
        assert "somebody else" not in answer.text
    assert aged.bench.pings("app", "10.0.44.1")
    told = json.loads(aged.crossnet("facts --json").check().text)
    assert {host["host"] for host in told["hosts"]} == set(HOSTS)
    answer = aged.crossnet("undo --yes")
    assert answer.ok, answer.text + answer.error_text
    assert {host: aged.check(host, "ip route; ip rule") for host in HOSTS} == routes
    assert not aged.bench.pings("app", "10.0.44.1")


def test_a_promise_that_does_not_hold_is_rolled_back_with_old_tools(aged: Place) -> None:
    broken = SPEC.replace("icmp/10.0.44.1", "icmp/10.0.44.200")
    aged.check("controller", "cat > /tmp/crossnet.yaml", stdin=broken.encode())
    routes = {host: aged.check(host, "ip route; ip rule") for host in HOSTS}
    answer = aged.crossnet("apply --yes")
    assert not answer.ok
    assert (
        "Rolled back: every host was read again and is as it was before." in answer.text + answer.error_text
    )
    assert {host: aged.check(host, "ip route; ip rule") for host in HOSTS} == routes
    assert "CROSSNET" not in aged.check("gateway", "iptables-save")


def test_a_rule_before_somebody_elses_is_made_read_again_and_undone_with_old_tools(aged: Place) -> None:
    real = "/tmp/tools/real/bin/ip"
    aged.check("controller", "cat > /tmp/crossnet.yaml", stdin=SPEC.encode())
    aged.check("app", f"{real} link add ts0 type veth peer name ts1")
    aged.check("app", f"{real} link set ts0 up; {real} link set ts1 up; {real} rule add pref 5270 lookup 52")
    aged.check("app", f"{real} route add 10.0.44.0/24 dev ts0 table 52")
    before = aged.check("app", f"{real} route; {real} rule")
    try:
        answer = aged.crossnet("apply --yes")
        assert "Confirmed." in answer.text, answer.text + answer.error_text
        assert "5269:\tfrom all to 10.0.44.0/24 iif lo lookup main" in aged.check("app", f"{real} rule")
        assert "No changes." in aged.crossnet("apply --yes").text
        assert "Undone." in aged.crossnet("undo --yes").text
        assert aged.check("app", f"{real} route; {real} rule") == before
    finally:
        aged.check("app", f"{real} link del ts0; {real} rule del pref 5270")


@pytest.mark.parametrize("words", ["-j addr", "-N route", "nexthop", "vrf show", "-c addr"])
def test_the_played_ip_refuses_what_that_of_centos_7_refuses(place: Place, words: str) -> None:
    make_old(place.bench, "app")
    try:
        answer = place.run("app", f"ip {words}")
        assert (answer.returncode, answer.text) in ((255, ""), (1, ""))
        assert "is unknown, try" in answer.error_text
    finally:
        make_new(place.bench, "app")
