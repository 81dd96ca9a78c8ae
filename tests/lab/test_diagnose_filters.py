"""Rules, settings and policies at hooks of either end and in either direction: named, and mended by what is advised."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import crossnet
from crossnet.lab import build
from crossnet.lab.topology import load
from crossnet.values import Protocol, address
from crossnet.verdict import Diagnosis, Half, Place, Result
from lab.crossing import Bench

pytestmark = pytest.mark.lab

TARGET, PORT = "10.0.44.1", 8080
CROSSING = f"to: 10.0.44.0/24, probe: icmp/{TARGET}, persist: none"


@dataclass(frozen=True)
class Case:
    """What is broken on a host, and what is to be said of it."""

    host: str
    breaks: str
    heals: str
    code: str
    direction: str
    interface: str
    said: str  # part of the sentence, in the words of whose rule it is
    tcp: bool = False


def rule(chain: str, words: str, *, tool: str = "iptables", table: str = "filter") -> tuple[str, str]:
    at = f"{tool} -w -t {table}"
    return f"{at} -I {chain} {words}", f"{at} -F {chain}"


def table(family: str, chains: str) -> tuple[str, str]:
    return f"nft 'table {family} odd {{ {chains}; }}'", f"nft delete table {family} odd"


CASES = {
    "an answer dropped before its address is given back": Case(
        "gateway",
        *rule("PREROUTING", "-i eth0 -p icmp -j DROP", table="mangle"),
        "filter-rule-drop",
        "reply",
        "eth0",
        "iptables-nft ip mangle PREROUTING",
    ),
    "a request dropped after its address was changed": Case(
        "gateway",
        *table(
            "ip",
            "chain o { type filter hook postrouting priority 300; oifname eth0 ip daddr 10.0.44.1 drop; }",
        ),
        "filter-rule-drop",
        "forward",
        "eth0",
        "nft ip odd o",
    ),
    "an answer not accepted by a policy": Case(
        "gateway",
        *table("inet", "chain f { type filter hook forward priority 5; policy drop; iifname eth1 accept; }"),
        "filter-policy-drop",
        "reply",
        "eth0",
        "the chain's policy drops it (nft inet odd f)",
    ),
    "an answer dropped as it comes by the interface": Case(
        "gateway",
        *table(
            "netdev",
            "chain i { type filter hook ingress device eth0 priority 0; ip saddr 10.0.44.1 drop; }",
        ),
        "filter-rule-drop",
        "reply",
        "eth0",
        "nft netdev odd i",
    ),
    "a verdict map that rejects": Case(
        "gateway",
        *table(
            "inet",
            "chain no { reject with icmpx admin-prohibited; }; "
            "chain f { type filter hook forward priority 5; ip protocol vmap { icmp : jump no }; }",
        ),
        "filter-reject",
        "forward",
        "eth1",
        "reject with icmpx admin-prohibited",
    ),
    "an answer to a connection, reset on its way": Case(
        "gateway",
        *rule("FORWARD", f"-p tcp --sport {PORT} -j REJECT --reject-with tcp-reset"),
        "filter-reject",
        "reply",
        "eth0",
        "--reject-with tcp-reset",
        tcp=True,
    ),
    "an answer that is not tracked": Case(
        "gateway",
        *rule("PREROUTING", "-i eth0 -j CT --notrack", table="raw"),
        "reply-not-untranslated",
        "reply",
        "eth0",
        "--notrack",
    ),
    "an answer that its own client does not let in": Case(
        "app",
        *rule("INPUT", "-s 10.0.44.0/24 -j DROP"),
        "filter-rule-drop",
        "reply",
        "eth0",
        "-A INPUT -s 10.0.44.0/24 -j DROP",
    ),
    "a request that its own client does not let out": Case(
        "app",
        *table("ip", "chain o { type route hook output priority -150; ip daddr 10.0.44.1 drop; }"),
        "src-output-filtered",
        "forward",
        "eth0",
        "ip daddr 10.0.44.1 drop",
    ),
    "forwarding off for answers alone": Case(
        "gateway",
        "sysctl -qw net.ipv4.conf.eth0.forwarding=0",
        "sysctl -qw net.ipv4.conf.eth0.forwarding=1",
        "interface-forwarding-disabled",
        "reply",
        "eth0",
        "net.ipv4.conf.eth0.forwarding = 0",
    ),
    "an IPsec policy for one protocol": Case(
        "gateway",
        "ip xfrm policy add dir fwd src 10.0.43.0/24 dst 10.0.44.0/24 proto icmp action block",
        "ip xfrm policy flush",
        "ipsec-policy-drop",
        "forward",
        "eth1",
        "proto icmp",
    ),
    "every second answer lost": Case(
        "gateway",
        *rule("FORWARD", "-i eth0 -m statistic --mode nth --every 2 --packet 0 -j DROP"),
        "partial-loss",
        "reply",
        "eth0",
        "--mode nth",
    ),
}

HARMLESS = r"""
iptables -w -P INPUT DROP
iptables -w -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -w -t raw -A PREROUTING -s 192.0.2.0/24 -j CT --notrack
iptables -w -A FORWARD -m conntrack --ctstate INVALID -j DROP
iptables -w -A FORWARD -s 198.51.100.0/24 -m statistic --mode random --probability 0.5 -j DROP
nft 'table inet odd { chain f { type filter hook forward priority -5; counter; iifname "docker0" drop; }; }'
sysctl -qw net.ipv4.conf.all.rp_filter=2
"""
HARMED = r"""
iptables -w -P INPUT ACCEPT
iptables -w -F
iptables -w -t raw -F
nft delete table inet odd
sysctl -qw net.ipv4.conf.all.rp_filter=0
"""


@pytest.fixture(scope="module")
def bench(lab_possible: None) -> Iterator[Bench]:
    """A lab whose crossing works, with a service on the target."""
    lab = asyncio.run(build.up(load("seed"), name=f"t{os.getpid()}-filters", lifeline=True))
    b = Bench(lab)
    b.apply(b.spec(CROSSING))
    listens = f"until ss -ltn | grep -q :{PORT}; do :; done"
    b.check("target", f"nc -l -k -n -p {PORT} >/dev/null 2>&1 & {listens}")
    yield b
    asyncio.run(build.down(lab.name))


def diagnosed(b: Bench, *, tcp: bool = False) -> Diagnosis:
    asked = crossnet.Asked("business")
    if tcp:
        asked = crossnet.Asked("business", to=address(TARGET), protocol=Protocol.TCP, port=PORT)
    return asyncio.run(crossnet.diagnose(asked, b.spec(CROSSING))).verdict


def works(b: Bench, *, tcp: bool) -> bool:
    if tcp:
        return b.connects("app", TARGET, PORT)
    return " 4 received" in b.run("app", f"ping -n -q -c 4 -i 0.01 -W 1 {TARGET}").text


@pytest.mark.parametrize("name", CASES)
def test_what_stops_a_flow_is_named_and_mended_by_what_is_advised(bench: Bench, name: str) -> None:
    case = CASES[name]
    bench.check(case.host, case.breaks)
    try:
        found = diagnosed(bench, tcp=case.tcp)
        half, other = halves(found, case)
        assert found.result is not Result.REACHABLE
        assert (half.code, half.at) == (case.code, Place(case.host, case.interface)), (
            half,
            other,
            found.notes,
        )
        assert other.code is None
        assert case.said in half.detail
        for fix in half.fix:
            for command in fix.commands:
                bench.check(fix.host, command)
        assert works(bench, tcp=case.tcp), half.fix
    finally:
        bench.run(case.host, case.heals)
    assert works(bench, tcp=case.tcp)


def halves(found: Diagnosis, case: Case) -> tuple[Half, Half]:
    forward = case.direction == "forward"
    return (found.forward, found.reply) if forward else (found.reply, found.forward)


def test_rules_that_do_not_meet_it_are_nothing_to_tell(bench: Bench) -> None:
    for host in bench.managed:
        bench.check(host, HARMLESS)
    try:
        for tcp in (False, True):
            found = diagnosed(bench, tcp=tcp)
            assert (found.result, found.also) == (Result.REACHABLE, ())
            assert (found.forward.code, found.reply.code) == (None, None)
    finally:
        for host in bench.managed:
            bench.run(host, HARMED)
