"""Routes, neighbours and addresses that lead a flow astray, on real hosts: named, and mended by what is advised."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import crossnet
from crossnet.lab import build
from crossnet.lab.topology import load
from crossnet.values import address
from crossnet.verdict import Diagnosis, Place, Result
from lab.crossing import Bench

pytestmark = pytest.mark.lab

TARGET = "10.0.44.1"
CROSSING = f"to: 10.0.44.0/24, probe: icmp/{TARGET}, persist: none"
OWN = f"{TARGET} via 10.0.43.101 dev eth0"
WRONG = "lladdr 02:de:ad:be:ef:01 nud permanent"


@dataclass(frozen=True)
class Case:
    """What is broken on a host, and the half, place and code that are to be told."""

    host: str
    breaks: str
    heals: str
    code: str
    direction: str
    at: str  # the host


CASES = {
    "a wrong hardware address of the client": Case(
        "gateway",
        f"ip neigh replace 10.0.43.15 {WRONG} dev eth1",
        "ip neigh del 10.0.43.15 dev eth1",
        "wrong-destination-mac",
        "reply",
        "gateway",
    ),
    "an interface that asks for no hardware addresses": Case(
        "app",
        "ip link set eth0 arp off",
        "ip link set eth0 arp on",
        "wrong-destination-mac",
        "forward",
        "app",
    ),
    "a rule on ARP": Case(
        "gateway",
        "nft 'table arp odd { chain i { type filter hook input priority 0; iifname eth1 drop; }; }'",
        "nft delete table arp odd",
        "arp-not-answered",
        "forward",
        "gateway",
    ),
    "a nexthop object that swallows": Case(
        "app",
        f"ip nexthop add id 6 blackhole; ip route add {TARGET} nhid 6",
        "ip nexthop del id 6",
        "route-blackhole",
        "forward",
        "app",
    ),
    "a route that throws its packets out of the table": Case(
        "app", f"ip route add throw {TARGET}", f"ip route del {TARGET}", "src-no-route", "forward", "app"
    ),
    "a source that leaves by no interface": Case(
        "app",
        f"ip route add {OWN} src 127.0.0.1",
        f"ip route del {TARGET}",
        "src-address-unsuitable",
        "forward",
        "app",
    ),
    "a route that lets packets live for one hop": Case(
        "app", f"ip route add {OWN} hoplimit 1", f"ip route del {TARGET}", "ttl-expired", "forward", "gateway"
    ),
    "the client has the destination's address": Case(
        "app",
        f"ip addr add {TARGET}/32 dev lo",
        f"ip addr del {TARGET}/32 dev lo",
        "destination-is-local",
        "forward",
        "app",
    ),
    "the client sends to somebody who answers": Case(
        "app",
        f"iptables -w -t nat -A OUTPUT -d {TARGET} -j DNAT --to-destination 10.0.43.101",
        "iptables -w -t nat -F OUTPUT",
        "dnat-captures",
        "forward",
        "app",
    ),
    "a router for answers that is not there": Case(
        "gateway",
        "ip route add 10.0.43.15 via 10.0.43.200",
        "ip route del 10.0.43.15",
        "gateway-route-elsewhere",
        "reply",
        "gateway",
    ),
    "a network that is said to be wider than it is": Case(
        "app",
        "ip addr add 10.0.43.15/16 dev eth0; ip addr del 10.0.43.15/24 dev eth0; ip route del 10.0.44.0/24",
        "ip addr add 10.0.43.15/24 dev eth0; ip addr del 10.0.43.15/16 dev eth0;"
        " ip route replace 10.0.44.0/24 via 10.0.43.101",
        "src-route-on-link",
        "forward",
        "app",
    ),
    "a network that is said to be narrower than it is": Case(
        "gateway",
        "ip route del default; ip addr add 10.0.44.63/27 dev eth0; ip addr del 10.0.44.63/24 dev eth0",
        "ip addr add 10.0.44.63/24 dev eth0; ip addr del 10.0.44.63/27 dev eth0;"
        " ip route replace default via 10.0.44.254",
        "prefix-mismatch",
        "forward",
        "gateway",
    ),
    "a rule for what comes by one interface": Case(
        "gateway",
        f"ip rule add iif eth1 to {TARGET} prohibit pref 50",
        "ip rule del pref 50",
        "policy-rule-diverts",
        "forward",
        "gateway",
    ),
}

UNUSUAL = {
    "app": f"""
        ip rule add fwmark 9 blackhole pref 9
        ip route add blackhole 10.0.45.0/24
        ip rule add to 10.0.44.0/24 lookup 10 pref 11
        ip route add 10.0.44.0/24 via 10.0.43.101 table 10
        ip neigh replace 10.0.43.99 {WRONG} dev eth0
    """,
    "gateway": f"""
        ip rule add from 10.0.99.0/24 prohibit pref 9
        ip rule add iif lo to 10.0.44.0/24 blackhole pref 7
        ip route add blackhole 10.0.0.0/8
        ip route add unreachable 10.0.44.128/25
        ip neigh replace 10.0.44.9 {WRONG} dev eth0
    """,
}
USUAL = {
    "app": """
        ip rule del pref 9; ip rule del pref 11
        ip route del blackhole 10.0.45.0/24; ip route flush table 10
        ip neigh del 10.0.43.99 dev eth0
    """,
    "gateway": """
        ip rule del pref 9; ip rule del pref 7
        ip route del blackhole 10.0.0.0/8; ip route del unreachable 10.0.44.128/25
        ip neigh del 10.0.44.9 dev eth0
    """,
}


@pytest.fixture(scope="module")
def bench(lab_possible: None) -> Iterator[Bench]:
    """A lab whose crossing works."""
    lab = asyncio.run(build.up(load("seed"), name=f"t{os.getpid()}-routes", lifeline=True))
    b = Bench(lab)
    b.apply(b.spec(CROSSING))
    yield b
    asyncio.run(build.down(lab.name))


def diagnosed(b: Bench, to: str | None = None) -> Diagnosis:
    asked = crossnet.Asked("business", to=address(to) if to is not None else None)
    return asyncio.run(crossnet.diagnose(asked, b.spec(CROSSING))).verdict


def works(b: Bench) -> bool:
    """Whether the target itself has got an echo and answered; an address that was not resolved takes a second try."""
    arrived = "awk '/^Icmp: [0-9]/ { print $10 }' /proc/net/snmp"

    def reaches() -> bool:
        before = int(b.check("target", arrived))
        return b.pings("app", TARGET) and int(b.check("target", arrived)) > before

    return any(reaches() for _ in range(3))


@pytest.mark.parametrize("name", CASES)
def test_what_leads_a_flow_astray_is_named_and_mended_by_what_is_advised(bench: Bench, name: str) -> None:
    case = CASES[name]
    bench.check(case.host, case.breaks)
    bench.check("app", "ip neigh flush dev eth0")
    try:
        found = diagnosed(bench)
        half = found.forward if case.direction == "forward" else found.reply
        assert found.result is Result.UNREACHABLE
        assert half.code == case.code, (found.forward, found.reply, found.notes)
        assert getattr(half.at, "host", None) == case.at
        for fix in half.fix:
            for command in fix.commands:
                bench.check(fix.host, command)
        assert works(bench), half.fix
    finally:
        bench.run(case.host, case.heals)
        for host in bench.managed:  # what a fix has put in front
            bench.run(host, "ip rule del pref 49; ip route del 10.0.44.1; ip route del 10.0.43.15")
            bench.run(host, "iptables -w -t nat -F OUTPUT; iptables -w -t nat -F POSTROUTING")
    assert works(bench)


def test_who_pings_from_the_gateway_itself_is_not_taken_for_the_client(bench: Bench) -> None:
    """Answers to the gateway's own echoes end there, in its kernel's words, as those do that nobody translates back."""
    pings = f"for size in $(seq 97 548); do ping -q -c 1 -W 1 -s $size {TARGET}; done"
    bench.check("gateway", "ip route add 10.0.43.15 via 10.0.43.200")
    others = bench.check(
        "gateway", f"for turn in $(seq 20); do {pings}; done >/dev/null 2>&1 & echo $!"
    ).strip()
    try:
        found = diagnosed(bench)
        assert bench.run("gateway", f"kill -0 {others}").returncode == 0, "they did not ping all the time"
        assert found.reply.code == "gateway-route-elsewhere", (found.reply, found.notes)
    finally:
        bench.run("gateway", f"kill {others}; ip route del 10.0.43.15")
    assert works(bench)


def test_what_only_looks_odd_is_nothing_to_tell(bench: Bench) -> None:
    for host, odd in UNUSUAL.items():
        bench.check(host, odd)
    try:
        found = diagnosed(bench)
    finally:
        for host, usual in USUAL.items():
            bench.run(host, usual)
    assert (found.result, found.also) == (Result.REACHABLE, ())
    assert (found.forward.code, found.reply.code) == (None, None)


def test_a_broadcast_address_is_no_destination(bench: Bench) -> None:
    found = diagnosed(bench, "10.0.44.255")
    assert (found.forward.code, found.forward.at) == ("destination-is-broadcast", Place("gateway", "eth1"))
    assert "broadcast 10.0.44.255/32 dev eth0" in found.forward.detail


def test_an_address_of_the_gateway_is_no_destination(bench: Bench) -> None:
    found = diagnosed(bench, "10.0.44.63")
    assert (found.forward.code, found.forward.at) == ("destination-is-local", Place("gateway", "eth1"))
    assert found.also == ()  # the source that it translates to is its own


def test_a_target_that_is_down_too_is_named_behind_what_stops_the_request(bench: Bench) -> None:
    bench.check("gateway", "sysctl -qw net.ipv4.ip_forward=0")
    bench.check("target", "ip link set eth0 down")
    bench.check("gateway", "ip neigh flush dev eth0")
    try:
        found = diagnosed(bench)
    finally:
        bench.run("gateway", "sysctl -qw net.ipv4.ip_forward=1")
        bench.run("target", "ip link set eth0 up")
    assert found.forward.code == "ip-forward-disabled"
    assert "destination-absent" in [each.code for each in found.also]
