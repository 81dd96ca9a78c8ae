"""What is remembered or known only elsewhere: earlier flows, ports that are taken, connections without a beginning."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

import crossnet
from crossnet.lab.build import Lab
from crossnet.values import Protocol, address
from crossnet.verdict import Diagnosis, Place, Result
from lab.crossing import Bench

pytestmark = pytest.mark.lab

TARGET, PORT = "10.0.44.1", 8080
CROSSING = f"to: 10.0.44.0/24, probe: icmp/{TARGET}, persist: none"


@pytest.fixture
def bench(lab_up: Callable[..., Lab]) -> Bench:
    """A client with a route, a gateway that forwards and translates nothing, and a service on the target."""
    b = Bench(lab_up("two-gateways"))
    b.check("app", "ip route replace 10.0.44.0/24 via 10.0.43.101")
    b.check("gateway", "sysctl -qw net.ipv4.ip_forward=1")
    b.check("target", f"nc -l -k -n -p {PORT} >/dev/null 2>&1 & until ss -ltn | grep -q :{PORT}; do :; done")
    return b


def translate(b: Bench, rule: str) -> None:
    chain = "chain out { type nat hook postrouting priority srcnat; }"
    b.check("gateway", f"nft 'table ip mine {{ {chain}; }}'; nft add rule ip mine out {rule}")


def diagnosed(b: Bench, *, tcp: bool = False) -> Diagnosis:
    asked = crossnet.Asked("business")
    if tcp:
        asked = crossnet.Asked("business", to=address(TARGET), protocol=Protocol.TCP, port=PORT)
    return asyncio.run(crossnet.diagnose(asked, b.spec(CROSSING))).verdict


def test_a_flow_from_before_the_translation_goes_on_without(bench: Bench) -> None:
    translate(bench, "oifname eth9 masquerade")  # else nothing is tracked
    # A ping takes its process number for the number of its flow, and those are small in a lab.
    bench.check("app", f"ping -n -e 60077 -i 0.2 {TARGET} >/dev/null 2>&1 &")
    bench.check("gateway", "until conntrack -L 2>/dev/null | grep -q id=60077; do :; done")
    translate(bench, "oifname eth0 masquerade")
    found = diagnosed(bench)
    assert found.result is Result.REACHABLE
    (note,) = found.notes
    assert note.code == "snat-stale-conntrack"
    command = note.detail.split("`")[1]
    assert bench.run("gateway", command).ok
    assert diagnosed(bench).notes == ()


def test_the_only_port_of_a_translation_is_taken(bench: Bench) -> None:
    translate(bench, f"ip daddr {TARGET} tcp dport {PORT} snat to 10.0.44.63:40000")
    bench.check("app", f"(sleep 60 | nc {TARGET} {PORT}) >/dev/null 2>&1 &")
    bench.check("gateway", "until conntrack -L 2>/dev/null | grep -q ASSURED; do :; done")
    found = diagnosed(bench, tcp=True)
    assert (found.result, found.forward.code) == (Result.UNREACHABLE, "snat-ports-exhausted")
    assert found.forward.at == Place("gateway", "eth0")
    assert "snat to 10.0.44.63:40000 has 1 port for all" in found.forward.detail
    bench.check("app", "kill $(pidof nc)")
    bench.check("gateway", "conntrack -D -p tcp")
    # One of the probes has it now, and the others what that one leaves them in time.
    assert diagnosed(bench, tcp=True).result in (Result.REACHABLE, Result.AMBIGUOUS)


def test_answers_go_past_a_gateway_that_drops_what_it_knows_no_beginning_of(bench: Bench) -> None:
    """A handshake of which the gateway sees one half: all that follows is invalid to it."""
    bench.check(
        "gateway",
        "nft 'table ip odd { chain f { type filter hook forward priority 0; ct state invalid drop; }; }'",
    )
    bench.check("target", "ip route replace 10.0.43.0/24 via 10.0.44.64")
    bench.check("gateway-2", "sysctl -qw net.ipv4.ip_forward=1")
    found = diagnosed(bench, tcp=True)
    assert found.forward.code == "conntrack-invalid", (found.forward, found.reply, found.notes)
    assert found.forward.at == Place("gateway", "eth1")


def test_a_target_that_answers_by_a_router_of_its_own(bench: Bench) -> None:
    translate(bench, "oifname eth0 masquerade")
    bench.check("target", "ip route add 10.0.44.63 via 10.0.44.64")
    spec = bench.spec(CROSSING)
    target = replace(spec.host("app"), name="target", lab=f"{bench.lab.name}/target")
    asked = crossnet.Asked("business")
    found = asyncio.run(crossnet.diagnose(asked, replace(spec, hosts=(*spec.hosts, target)))).verdict
    assert (found.forward.code, found.reply.code) == (None, "return-route-elsewhere")
    assert found.reply.at == Place("target", "eth0")


# Connections that are not to be given up for others, as many as the table takes; each host of the lab has its own.
FULL = """
most=$(sysctl -n net.netfilter.nf_conntrack_max)
awk -v most="$most" 'BEGIN {
    words = "-I -p udp -s 198.18.0.1 -d 198.19.%d.1 --sport %d --dport 9 -t 600 -u ASSURED,SEEN_REPLY\\n"
    for (n = 0; n < most + 64; n++) printf words, n / 60000, n % 60000 + 1
}' | conntrack -R - >/dev/null 2>&1
"""


@pytest.mark.faults
def test_a_table_of_connections_that_is_full(bench: Bench) -> None:
    translate(bench, "oifname eth0 masquerade")
    bench.run("gateway", FULL)
    found = diagnosed(bench)
    assert (found.result, found.forward.code) == (Result.UNREACHABLE, "conntrack-table-full")
    assert found.forward.at == Place("gateway", "eth1")
    assert "198.18.0.1" in found.forward.detail
    bench.check("gateway", "conntrack -F")
    assert diagnosed(bench).result is Result.REACHABLE


def test_what_fits_beyond_a_black_hole_is_found_whatever_was_asked_for(bench: Bench) -> None:
    """A router behind the gateway takes no large packets, and tells nobody; nothing listens at the port."""
    translate(bench, "oifname eth0 masquerade")
    bench.check(
        "target",
        "nft 'table inet hole { chain i { type filter hook input priority -300; meta length > 1400 drop; }; }'",
    )
    spec, to = bench.spec(CROSSING), address(TARGET)
    forced = crossnet.Asked("business", size=1472)
    refused = crossnet.Asked("business", to=to, protocol=Protocol.TCP, port=PORT + 1)
    for asked in (forced, refused):
        found = asyncio.run(crossnet.diagnose(asked, spec)).verdict
        assert (found.result, found.forward.code) == (Result.UNREACHABLE, "pmtu-black-hole")
        assert "1400 bytes still pass" in found.forward.detail
        assert all("--set-mss 1360" in command for command in found.forward.fix[0].commands)
