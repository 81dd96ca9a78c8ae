"""The seed scenario over SSH on hosts with the tools of CentOS 7, and on hosts with those of busybox."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab.crossing import Bench
from lab.elsewhere import PYTHON
from lab.old_tools_host import make_bare, make_busybox, make_new, make_old
from lab.test_ssh import CONFIG, SPEC, Place, lab_with_sshd, place

pytestmark = pytest.mark.lab

__all__ = ["lab_with_sshd", "place"]  # fixtures

HOSTS = ("app", "gateway")


@pytest.fixture(params=[make_busybox, make_old], ids=["busybox", "centos-7"])
def aged(place: Place, request: pytest.FixtureRequest) -> Iterator[Place]:
    """Client and gateway with other tools, until the test ends."""
    with tools_of(place, request.param):
        yield place


@pytest.fixture(params=[make_old, make_bare], ids=["centos-7", "bare"])
def least(place: Place, request: pytest.FixtureRequest) -> Iterator[Place]:
    """Client and gateway without `timeout`; one kind of them has systemd's folder and bash, the other busybox only."""
    with tools_of(place, request.param):
        yield place


@contextmanager
def tools_of(place: Place, make: Callable[[Bench, str], None]) -> Iterator[None]:
    """Other tools on client and gateway; with today's again, both are as they were before."""
    before = place.bench.fingerprints()
    try:
        for host in HOSTS:
            make(place.bench, host)
        yield
    finally:
        with_today(place)
    assert place.bench.differences(before) == []


def with_today(place: Place) -> None:
    for host in HOSTS:
        if place.run(host, "mountpoint -q /usr/sbin").ok:
            make_new(place.bench, host)


def outcome(place: Place) -> tuple[object, ...]:
    """The seed scenario from the first plan to the undo, as a user sees it, and what it makes of the hosts."""
    spec = SPEC.replace("probe: ", "firewall: iptables, probe: ")
    place.check("controller", "cat > /tmp/crossnet.yaml", stdin=spec.encode())
    routes = {host: place.check(host, "ip route; ip rule") for host in HOSTS}
    planned = place.crossnet("plan -q").check().text
    for command, expected in (("apply --yes", "Confirmed."), ("verify", "10.0.44.1"), ("status", "up")):
        answer = place.crossnet(command)
        assert answer.ok, answer.text + answer.error_text
        assert expected in answer.text, answer.text
        assert "somebody else" not in answer.text
    assert place.bench.pings("app", "10.0.44.1")
    rules = [line.split("] ")[-1] for line in place.check("gateway", "iptables-save").splitlines()]
    own = sorted((line for line in rules if "CROSSNET" in line), key=lambda line: line.split()[:2])
    route = " ".join(place.check("app", "ip route show 10.0.44.0/24").split())
    assert "No changes." in place.crossnet("apply --yes").text
    told = json.loads(place.crossnet("facts --json").check().text)
    assert {host["host"] for host in told["hosts"]} == set(HOSTS)
    undone = place.crossnet("undo -q --yes")
    assert undone.ok, undone.text + undone.error_text
    assert {host: place.check(host, "ip route; ip rule") for host in HOSTS} == routes
    assert not place.bench.pings("app", "10.0.44.1")
    forwards = place.check("gateway", "cat /proc/sys/net/ipv4/ip_forward")
    files = place.check("gateway", "ls /etc/crossnet /var/lib/crossnet 2>/dev/null; true")
    return planned, own, route.split(" proto")[0], forwards, files


def test_seed_ends_alike_whatever_the_tools(place: Place) -> None:
    """The plan word for word, every rule, the route, and nothing that is left."""
    todays = outcome(place)
    # The old ones leave tables of iptables-legacy in the kernel, which those of busybox hosts cannot list.
    for make in (make_busybox, make_old):
        with tools_of(place, make):
            assert outcome(place) == todays


def test_ports_are_probed_with_what_the_host_has(aged: Place) -> None:
    """An open port answers, a closed one refuses, and neither is taken for a packet that somebody stopped."""
    head = SPEC.split("crossings:")[0]
    ways = {"open": "tcp/10.0.44.1:8080", "closed": "tcp/10.0.44.1:80"}
    if aged.run("app", "command -v bash").ok:  # the nc of busybox sends no UDP
        ways["names"] = "udp/10.0.44.1:53"
    lines = "".join(
        f"  {name}: {{from: app, via: gateway, to: 10.0.44.1, allow: {probe.replace('10.0.44.1:', '')}, "
        f"probe: '{probe}', firewall: iptables}}\n"
        for name, probe in ways.items()
    )
    aged.check("controller", "cat > /tmp/crossnet.yaml", stdin=f"{head}crossings:\n{lines}".encode())
    aged.check("target", "nc -l -k -n -p 8080 >/dev/null 2>&1 & until ss -ltn | grep -q :8080; do :; done")
    made = aged.crossnet("apply --yes -q")
    assert "Confirmed" in made.text, made.text + made.error_text
    told = json.loads(aged.crossnet("verify --json").text)
    found = {one["crossing"]: (one["result"], one["forward"]["code"]) for one in told["verdicts"]}
    assert found["open"] == ("reachable", None)
    assert found["closed"] == ("reachable", "destination-port-closed")
    assert found.get("names", ("undetermined",))[0] == "undetermined"
    assert not aged.run("app", "pgrep -x nc").ok, "a probe was left behind"
    assert "Undone" in aged.crossnet("undo --yes -q").text


def test_a_route_of_crossnets_own_goes_another_way_where_the_tool_tells_of_none_whose_it_is(
    place: Place,
) -> None:
    """busybox prints no protocol of a route: which is crossnet's own is known by its record."""
    place.check("controller", "cat > /tmp/crossnet.yaml", stdin=SPEC.encode())
    with tools_of(place, make_busybox):
        assert "Confirmed." in place.crossnet("apply --yes").text
        place.check("gateway", "ip addr del 10.0.43.101/24 dev eth1; ip addr add 10.0.43.102/24 dev eth1")
        place.config(CONFIG.replace("10.0.43.101", "10.0.43.102"))
        place.known(f"10.0.43.15 {place.host_key('app')}\n[10.0.43.102]:2222 {place.host_key('gateway')}\n")
        try:
            moved = place.crossnet("apply --yes")
            assert "Confirmed." in moved.text, moved.text + moved.error_text
            route = (
                "~ route   10.0.44.0/24 via 10.0.43.102 dev eth0  (was 10.0.44.0/24 via 10.0.43.101 dev eth0)"
            )
            assert route in moved.text
            assert place.check("app", "ip route show 10.0.44.0/24").split()[:3] == [
                "10.0.44.0/24",
                "via",
                "10.0.43.102",
            ]
            assert "Undone." in place.crossnet("undo --yes").text
        finally:
            place.check(
                "gateway",
                "ip addr del 10.0.43.102/24 dev eth1; ip addr add 10.0.43.101/24 dev eth1",
            )


def test_exported_scripts_do_and_undo_it_with_the_least_tools(least: Place) -> None:
    least.check("controller", "cat > /tmp/crossnet.yaml", stdin=SPEC.encode())
    least.check("controller", "rm -rf /tmp/out")
    least.crossnet("export -q --format sh --out /tmp/out").check()
    scripts = {host: least.check("controller", f"cat /tmp/out/{host}.sh") for host in reversed(HOSTS)}
    for host, script in scripts.items():
        least.check(host, "cat > /tmp/change.sh; sh /tmp/change.sh", stdin=script.encode())
    assert least.bench.pings("app", "10.0.44.1")
    assert "No changes." in least.crossnet("plan -q").check().text
    for host in HOSTS:
        assert "All of it is done already" in least.check(host, "sh /tmp/change.sh")
        assert "is as it was when" in least.check(host, "sh /tmp/change.sh undo; rm /tmp/change.sh")
    assert "10.0.44.0/24" not in least.check("app", "ip route")
    assert not least.bench.pings("app", "10.0.44.1")


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


def test_silence_is_told_as_silence_with_old_tools(aged: Place) -> None:
    """And not as a host that does not answer: by itself ping of busybox waits for longer than the host is given."""
    aged.check("controller", "cat > /tmp/crossnet.yaml", stdin=SPEC.encode())
    aged.check("target", "iptables -A INPUT -p icmp -j DROP")
    answer = aged.crossnet("apply --yes")
    aged.check("target", "iptables -D INPUT -p icmp -j DROP")
    told = answer.text + answer.error_text
    assert not answer.ok, told
    assert "no answer within" not in told, told
    assert "Rolled back: every host was read again and is as it was before." in told, told


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


def test_hosts_go_back_themselves_when_the_controller_dies(least: Place) -> None:
    least.check("controller", "cat > /tmp/crossnet.yaml", stdin=SPEC.encode())
    least.check("controller", "rm -f /tmp/said")
    waiting = least.here(
        f"setsid {PYTHON} -m crossnet apply --yes --guard 20s --confirm-within 10s >/tmp/said 2>&1 & echo $!"
    )
    least.check("controller", "until grep 'waits 10 s' /tmp/said; do sleep 0.2; done")
    assert least.bench.pings("app", "10.0.44.1")
    least.check("controller", f"kill -KILL -{waiting.text.strip()}")
    until_over(least)
    assert not least.bench.pings("app", "10.0.44.1")
    for host in HOSTS:
        (line,) = least.check(host, "tail -n 1 /var/lib/crossnet/history").splitlines()
        assert line.endswith("\trollback\tclean")


def test_hosts_go_back_when_nobody_confirms(least: Place) -> None:
    least.check("controller", "cat > /tmp/crossnet.yaml", stdin=SPEC.encode())
    ended = least.crossnet("apply --yes --guard 20s --confirm-within 10s")
    assert ended.returncode == 3
    assert "nobody said `crossnet confirm " in ended.error_text
    assert "Rolled back: every host was read again and is as it was before." in ended.text + ended.error_text


def test_a_change_that_cuts_the_controller_off_is_put_back(least: Place) -> None:
    """Its second address is behind a route of app's that the crossing's own, more narrow one takes over."""
    least.check("controller", "ip addr add 10.0.77.5/32 dev lo")
    least.check("app", "ip route add 10.0.77.0/28 via 10.0.43.200 dev eth0")
    least.config(f"Host 10.0.43.15\n    BindAddress 10.0.77.5\n{CONFIG}")
    spec = SPEC.replace("to: 10.0.44.0/24", "to: [10.0.44.0/24, 10.0.77.0/29]")
    least.check("controller", "cat > /tmp/crossnet.yaml", stdin=spec.encode())
    try:
        ended = least.crossnet("apply --yes --guard 20s")
        assert ended.returncode == 3, ended.text + ended.error_text
        assert "! + route   10.0.77.0/29 via 10.0.43.101 dev eth0" in ended.text
        assert "Rolled back: every host was read again and is as it was before." in ended.error_text
        assert "10.0.77.0/29" not in least.check("app", "ip route")
    finally:
        least.check("controller", "ip addr del 10.0.77.5/32 dev lo")
        least.check("app", "ip route del 10.0.77.0/28")


def until_over(place: Place) -> None:
    """Until no transaction is under way any more, which the guards see to; they have two times their seconds."""
    since = time.monotonic()
    while any(place.run(host, "test -d /var/lib/crossnet/transaction").ok for host in HOSTS):
        assert time.monotonic() - since < 60
        time.sleep(0.5)


@pytest.mark.parametrize("words", ["-j addr", "-N route", "nexthop", "vrf show", "-c addr"])
def test_the_played_ip_refuses_what_that_of_centos_7_refuses(place: Place, words: str) -> None:
    make_old(place.bench, "app")
    try:
        answer = place.run("app", f"ip {words}")
        assert (answer.returncode, answer.text) in ((255, ""), (1, ""))
        assert "is unknown, try" in answer.error_text
    finally:
        make_new(place.bench, "app")
