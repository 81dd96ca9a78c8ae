"""Foreign rules of nft as they are read, against what the kernel did with real packets.

Each rule counts. Packets at random arrive by two interfaces; the counters must be what a plain evaluation of the rules
as they were read says of the same packets.
"""

from __future__ import annotations

import random

import pytest

from crossnet.netfilter.foreign import Field, Table, Test
from crossnet.netfilter.nft_foreign import read_ruleset
from netfilter.evaluate import Packet, Walk
from netfilter.frames import Drawn, arp, draw, udp4
from netfilter.wire import Host, listing, send

pytestmark = pytest.mark.lab

SEED, PACKETS = 8, 600
BRIDGE = """
set -e
ip link add br0 type bridge mcast_snooping 0
ip link set br0 addrgenmode none
for port in wan0 lan0; do ip link set "$port" master br0; done
ip link set br0 up
"""
GATEWAY = """
set -e
echo 1 >/proc/sys/net/ipv4/ip_forward
ip address add 10.1.0.1/24 dev wan0
ip address add 10.2.0.1/24 dev lan0
for last in 2 3; do
    ip neighbour add "10.1.0.$last" lladdr 00:00:5e:00:53:01 dev wan0
    ip neighbour add "10.2.0.$last" lladdr 00:00:5e:00:53:01 dev lan0
done
"""

SETS = """
    set hosts { type ipv4_addr; flags interval; elements = { 10.0.0.1, 10.0.1.0/24, 192.0.2.9-192.0.2.200 }
    }
    set hosts6 { type ipv6_addr; elements = { fd00::1, 2001:db8::9 }
    }
    set pairs { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 80-443, 192.0.2.9 . 22 }
    }
    set cards { type ifname; flags interval; elements = { "wan*" }
    }
    set services { type inet_proto . inet_service; elements = { tcp . 22, udp . 53 }
    }
    map verdicts { type ipv4_addr : verdict; flags interval; 
        elements = { 10.0.0.0/8 : jump inner, 192.0.2.9 : continue }
    }
    chain inner {
        tcp dport 22 counter return
        ip daddr @hosts counter
        meta l4proto udp counter goto last
        counter
    }
    chain last {
        counter
        udp dport 53 counter drop
    }
"""

# Each test of its own rule: all packets meet all of them.
TESTS = """
ip saddr 10.0.0.1
ip saddr != 10.0.0.0/8
ip6 daddr != fd00::/16
ip saddr 10.0.0.2-172.16.0.1
ip daddr { 10.0.0.1, 10.0.1.0/24, 192.0.2.0/25 }
ip daddr != { 10.0.0.1, 192.0.2.9 }
ip saddr & 0.0.0.255 == 0.0.0.1
ip saddr & 255.0.0.255 != 10.0.0.1
ip6 saddr & ::ff == ::1
ip6 saddr & ffff:: != fd00::
ip saddr @hosts
ip saddr != @hosts
ip6 daddr @hosts6
ip6 daddr != @hosts6
ip saddr . tcp dport @pairs
ip saddr . tcp dport != @pairs
ip saddr . udp dport @pairs
ip saddr . tcp dport { 10.0.0.1 . 22, 10.0.0.0/24 . 80-443 }
iifname . ip saddr { "wan0" . 10.0.0.1, "lan*" . 10.0.0.0/8 }
iifname "wan0"
iifname != "wan0"
iifname "wan*"
iifname @cards
iifname != @cards
iifname { "lan0", "wan*" }
iif "wan0"
iif != "lan0"
oifname != "wan0"
oifname "wan*"
tcp dport 22
tcp dport != 22
tcp dport { 22, 80-443 }
tcp dport != { 22, 80-443 }
tcp sport > 1023
tcp sport <= 80
udp dport 53
udp sport 1024-65535
sctp dport 443
meta l4proto tcp
meta l4proto != tcp
meta l4proto { tcp, udp }
meta l4proto { tcp, udp } th dport 53
meta l4proto 253
th dport 53
th sport 0x0800
th sport != 80
th sport { 22, 0x0301 }
meta l4proto . th dport @services
ip protocol icmp
ip protocol != tcp
ip protocol { tcp, 253 }
ip6 nexthdr tcp
ip6 nexthdr != tcp
ip6 nexthdr { udp, ipv6-icmp }
ether type ip
ether type != ip
icmp type echo-request
icmp type != echo-request
icmp type { echo-reply, destination-unreachable }
icmp type destination-unreachable icmp code port-unreachable
icmp code > 1
icmpv6 type { echo-request, packet-too-big }
icmpv6 type destination-unreachable icmpv6 code no-route
tcp flags syn
tcp flags == syn
tcp flags != syn
tcp flags ! syn
tcp flags & (fin|syn|rst|ack) == syn
tcp flags syn / syn,rst
tcp flags & (syn|ack) != 0
tcp flags & (syn|ack) == syn|ack
tcp flags & (fin|syn) == 0
tcp flags & (fin|syn) != syn
tcp flags { syn, syn|ack, rst }
tcp flags != { syn, ack }
ip dscp ef
ip dscp != cs0
ip6 dscp { cs1, af11 }
ip dscp > cs1
ip ecn ce
ip ttl 64
ip ttl < 5
ip6 hoplimit 255
ip6 hoplimit != 64
ip length 40-48
meta length > 60
ip6 length 20
ip frag-off & 0x1fff != 0
ip frag-off & 0x1fff == 0
ip frag-off & 0x2000 == 0x2000
ip frag-off & 0x3fff != 0
ip frag-off & 0x3fff == 0
exthdr frag exists
exthdr frag missing
frag more-fragments 1
frag more-fragments 0
frag frag-off != 0
frag frag-off 100
meta nfproto ipv4
meta nfproto != ipv4
meta protocol ip6
meta protocol { ip, arp }
meta mark 0
meta mark != 0
meta mark & 0xf0 == 0x10
meta pkttype host
meta pkttype != broadcast
meta iiftype ether
meta iiftype != loopback
ip saddr 10.0.0.1 ip daddr != 192.0.2.9 tcp dport 22
ip6 saddr fd00::1 udp dport { 53, 443 }
"""

OF_FRAMES = """
ether type arp
ether type != ip
ether type { ip, ip6 }
meta protocol arp
"""

# What decides and what changes: later rules meet what earlier ones left.
ACTIONS = """
meta mark set 0x10
ip saddr 10.0.0.1 meta mark set 0x20
meta mark 0x20 counter
tcp dport 22 meta mark set meta mark | 0x3
meta mark & 0x3 == 0x3 counter
udp dport 53 meta mark set meta mark & 0xf0 ^ 0x33
meta mark 0x23 counter
meta mark 0x3 counter
meta mark ^ 0x1 == 0x22 counter
meta mark and 0xf0 == 0x10 counter
ip saddr vmap { 10.0.0.1 : accept, 10.0.0.2 : continue } counter
counter
ip daddr vmap @verdicts counter
counter
tcp dport vmap { 22 : jump inner, 80-443 : return, * : continue } counter
counter
iifname vmap { "wan*" : continue, "lan0" : goto last } counter
ip6 saddr vmap { fd00::1 : drop, fd00::2 : accept } counter
iifname . meta l4proto vmap { "wan0" . tcp : jump inner, "lan0" . udp : drop } counter
tcp flags vmap { syn : jump inner, syn|ack : drop } counter
counter
icmp type vmap { echo-request : accept, echo-reply : continue } counter
meta nfproto vmap { ipv4 : continue, ipv6 : jump inner } counter
jump inner
counter
ip ttl set 7
ip ttl 7 counter
ip dscp set af11
ip dscp af11 counter
ip daddr 192.0.2.9 ip daddr set 10.0.0.1
ip daddr 10.0.0.1 counter
counter drop
"""


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def arrive(host: Host, ruleset: str, drawn: list[Drawn], chain: str) -> tuple[Walk, Table]:
    """Frames arrive at a host with these rules: what evaluation says of them, and the table as it was afterwards."""
    host.run("nft", "-f", "-", text=ruleset)
    send(host, drawn)
    (table,) = read_ruleset(listing(host))
    walk = Walk(table)
    for each in drawn:
        walk.base(chain, dict(each.fields))
    return walk, table


# Of a later fragment, kernels before 7.0 read the bytes that would be the header of the transport in a whole packet
# (nft_payload_fast_eval), others nothing.
TRANSPORT = frozenset(
    {Field.SOURCE_PORT, Field.DESTINATION_PORT, Field.TH_SOURCE, Field.TH_DESTINATION}
    | {Field.ICMP_TYPE, Field.ICMP_CODE, Field.TCP_FLAGS}
)


def agrees(walk: Walk, table: Table, *, later: bool = False) -> None:
    """Every rule counted what evaluation says; with later fragments those that read no header of the transport."""
    found = []
    for name, chain in table.chains.items():
        for index, rule in enumerate(chain.rules):
            read = {name for test in rule.statements if isinstance(test, Test) for name in test.fields}
            if later and read & TRANSPORT:
                continue
            if rule.counter is not None and rule.counter.packets != walk.met[name, index]:
                found.append(
                    f"{name}: {rule.text}: kernel {rule.counter.packets}, read {walk.met[name, index]}"
                )
    assert not found, "\n".join(found)


def packets(host: Host, *, later: bool = False) -> list[Drawn]:
    chance = random.Random(SEED)
    cards = {name: host.hardware(name) for name in ("wan0", "lan0")}
    return [draw(number, chance, cards, later=later) for number in range(PACKETS)]


def base(family: str, hook: str, rules: list[str], policy: str = "accept", sets: str = SETS) -> str:
    body = "\n".join(f"        {rule}" for rule in rules)
    return f"table {family} t {{\n{sets}\n    chain c {{ type {hook}; policy {policy};\n{body}\n    }}\n}}\n"


@pytest.mark.parametrize(
    "hook", ["filter hook prerouting priority -300", 'filter hook ingress device "wan0" priority 0']
)
@pytest.mark.parametrize("later", [False, True])
def test_every_test_holds_for_the_packets_that_the_kernel_counted(host: Host, hook: str, later: bool) -> None:
    drawn = packets(host, later=later)
    if "ingress" in hook:
        drawn = [each for each in drawn if each.iif == "wan0"]
    rules = [f"{test} counter" for test in lines(TESTS)]
    walk, table = arrive(host, base("inet", hook, ["counter", *rules]), drawn, "c")
    assert table.chains["c"].count == len(rules) + 1
    first = table.chains["c"].rules[0].counter
    assert first is not None
    assert first.packets == len(drawn), "frames of somebody else"
    agrees(walk, table, later=later)
    # none of them is idle
    never = [rule.text for index, rule in enumerate(table.chains["c"].rules) if not walk.met["c", index]]
    assert len(never) < len(rules) / 8, never


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_a_table_of_one_family(host: Host, family: str) -> None:
    drawn = [each for each in packets(host) if each.fields[Field.FAMILY] == (4 if family == "ip" else 6)]
    other = ("ip6", "icmpv6", "frag ", "exthdr", "nfproto") if family == "ip" else ("ip ", "icmp ", "nfproto")
    rules = [f"{test} counter" for test in lines(TESTS) if not any(word in f"{test} " for word in other)]
    sets = SETS if family == "ip" else SETS.replace("@hosts", "{ fd00::1 }").replace("ip daddr", "ip6 daddr")
    walk, table = arrive(
        host, base(family, "filter hook prerouting priority -300", ["counter", *rules], sets=sets), drawn, "c"
    )
    assert table.chains["c"].rules[0].counter is not None
    assert table.chains["c"].rules[0].counter.packets == len(drawn)
    agrees(walk, table)


def test_frames_of_a_bridge(host: Host) -> None:
    host.run("sh", "-c", BRIDGE)
    cards = {name: host.hardware(name) for name in ("wan0", "lan0")}
    drawn = [*packets(host), *(arp(name, cards) for name in cards)]
    rules = [f"{test} counter" for test in (*lines(TESTS), *lines(OF_FRAMES)) if "nfproto" not in test]
    ruleset = base("bridge", "filter hook prerouting priority -300", ["counter", *rules])
    walk, table = arrive(host, ruleset, drawn, "c")
    assert table.chains["c"].rules[0].counter is not None
    assert table.chains["c"].rules[0].counter.packets == len(drawn)
    agrees(walk, table)


FLOWS = """
ct state new
ct state established
ct state established,related
ct state != new
ct state == established
ct state { new, untracked }
ct state ! new
ct state untracked
ct state invalid
ct state vmap { new : continue, untracked : continue }
ct direction original
ct direction reply
ct direction != reply
ct mark 0
ct mark != 0
ct mark & 0x10 == 0x10
ct status seen-reply
ct status ! seen-reply
ct status dnat
ct status & (snat|dnat) == 0
ct original ip saddr 10.1.0.2
ct original ip daddr != 10.2.0.0/16
ct reply ip saddr 10.2.0.3
ct original ip saddr . ct original ip daddr { 10.1.0.2 . 10.2.0.2 }
meta mark 0x17
"""


def test_packets_of_flows(host: Host) -> None:
    """Datagrams to and fro through a gateway: the first is new until an answer has come."""
    host.run("sh", "-c", GATEWAY)
    cards = {name: host.hardware(name) for name in ("wan0", "lan0")}
    chance = random.Random(SEED)
    clients, servers = ("10.1.0.2", "10.1.0.3"), ("10.2.0.2", "10.2.0.3")
    drawn = []
    for number in range(PACKETS // 2):
        ends = chance.choice(clients), chance.choice(servers)
        ports = chance.choice((1000, 1001, 1002)), chance.choice((53, 80, 443, 8080))
        if chance.random() < 0.4:
            drawn.append(udp4("lan0", cards, (ends[1], ends[0]), (ports[1], ports[0]), number))
        else:
            drawn.append(udp4("wan0", cards, ends, ports, number))
    marking = [
        "udp dport 443 ct mark set 0x10",
        "ct direction reply ct mark set ct mark | 0x7",
        "meta mark set ct mark",
    ]
    *tests, after = (f"{test} counter" for test in lines(FLOWS))
    untracked = "udp dport 53 notrack\nudp sport 53 notrack\n"
    host.run(
        "nft",
        "-f",
        "-",
        text=f"table ip raw {{\nchain c {{\ntype filter hook prerouting priority -300\n{untracked}}}\n}}\n"
        + base("ip", "filter hook prerouting priority -150", [*tests, *marking, after], sets=""),
    )
    send(host, drawn)
    raw, table = read_ruleset(listing(host))
    assert raw.name == "raw"
    walk, tracked = Walk(table), Tracked()
    for each in drawn:
        packet = dict(each.fields)
        tracked.sees(packet)
        walk.base("c", packet)
        tracked.keeps(packet)
    agrees(walk, table)
    assert sum(not walk.met["c", index] for index in range(table.chains["c"].count)) <= 3


class Tracked:
    """Connection tracking of datagrams, as nf_conntrack_core.c does it, but for timeouts."""

    def __init__(self) -> None:
        self._flows: dict[tuple[int | str, ...], dict[str, int]] = {}

    def sees(self, packet: Packet) -> None:
        ends = tuple(
            packet[name]
            for name in (Field.SOURCE4, Field.SOURCE_PORT, Field.DESTINATION4, Field.DESTINATION_PORT)
        )
        if 53 in ends:
            packet[Field.CT_STATE] = 64
            return
        back = (*ends[2:], *ends[:2])
        reply = back in self._flows
        flow = self._flows.setdefault(back if reply else ends, {"mark": 0, "answered": 0})
        flow["answered"] |= reply
        first = back if reply else ends
        packet |= {
            Field.CT_STATE: 2 if flow["answered"] else 8,
            Field.CT_DIRECTION: int(reply),
            Field.CT_MARK: flow["mark"],
            Field.CT_STATUS: 8 | 2 * flow["answered"],
            Field.CT_SOURCE4: first[0],
            Field.CT_DESTINATION4: first[2],
            Field.CT_REPLY_SOURCE4: first[2],
            Field.CT_REPLY_DESTINATION4: first[0],
        }
        self._now = flow

    def keeps(self, packet: Packet) -> None:
        if Field.CT_MARK in packet:
            mark = packet[Field.CT_MARK]
            assert isinstance(mark, int)
            self._now["mark"] = mark


@pytest.mark.parametrize("policy", ["accept", "drop"])
def test_verdicts_maps_and_changes(host: Host, policy: str) -> None:
    drawn = packets(host)
    walk, table = arrive(
        host, base("inet", "filter hook prerouting priority -300", lines(ACTIONS), policy), drawn, "c"
    )
    agrees(walk, table)
    assert {"c", "inner", "last"} == {name for name, _ in walk.met}
