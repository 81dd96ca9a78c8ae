"""Rules with a meaning of their own on the gateway, and packets through it: what reach says is what happens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path

import pytest

from crossnet.values import Protocol
from lacking import lacking
from reach.configurations import FIRST_TAG, HOSTS, Configuration, Sent
from reach.conformance import compare, happened

pytestmark = pytest.mark.lab

TOOLS = ("ip", "nft", "iptables-legacy-restore")
ROUTES = {
    "app": ["route add default via 10.1.0.1", "-6 route add default via fd00:1::1"],
    "gateway": ["route add 10.9.0.0/24 via 10.2.0.2"],
    "target": ["route add 10.1.0.0/16 via 10.2.0.1", "-6 route add fd00:1::/64 via fd00:2::1"],
}


@pytest.fixture(autouse=True)
def possible() -> None:
    if os.geteuid() != 0:
        lacking("makes network namespaces by ip-netns, as root")
    if not all(map(shutil.which, TOOLS)):
        lacking(f"needs {', '.join(TOOLS)}")


def packets() -> list[Sent]:
    wanted = [
        (Protocol.ICMP, None, "10.2.0.2"),
        (Protocol.ICMP, None, "fd00:2::2"),
        (Protocol.TCP, 80, "10.9.0.1"),
        (Protocol.UDP, 53, "10.9.0.1"),
        (Protocol.UDP, 443, "10.2.0.2"),
        (Protocol.TCP, 22, "fd00:2::2"),
    ]
    return [
        Sent(FIRST_TAG + number, protocol, ip_address(to), port, None, laid=False)
        for number, (protocol, port, to) in enumerate(wanted)
    ]


def watched(
    nft: str = "", legacy: str = "", ip: Iterable[str] = (), sysctls: Mapping[str, str] | None = None
) -> tuple[list[str], int]:
    """With these rules on the gateway: where reach and the kernel differ, and of how many packets reach cannot tell."""
    made = {host: Configuration(ip=list(ROUTES[host])) for host in HOSTS}
    made["gateway"].nft = nft
    made["gateway"].sysctls = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}
    made["gateway"].sysctls |= sysctls or {}
    made["gateway"].ip += ip
    if legacy:
        made["gateway"].legacy = {"ip": legacy}
    sent = packets()
    differences: list[str] = []
    undetermined = 0
    facts, watch = happened(made, sent)
    for each in sent:
        found, unsure = compare(each, facts, watch)
        differences += map(str, found)
        undetermined += unsure
    return differences, undetermined


def forward(*rules: str) -> str:
    return "table inet t {\nchain c {\ntype filter hook forward priority 0;\n" + "\n".join(rules) + "\n}\n}\n"


def at_nat(rule: str, policy: str = "") -> str:
    return f"table ip n {{\nchain c {{\ntype nat hook prerouting priority -100; {policy}\n{rule}\n}}\n}}\n"


def at_priority(priority: int, rule: str, hook: str = "prerouting", kind: str = "filter") -> str:
    return f"table ip p {{\nchain c {{\ntype {kind} hook {hook} priority {priority};\n{rule}\n}}\n}}\n"


ZONE = "*raw\n-A PREROUTING -i eth1 -j CT --zone{} 5\n{}COMMIT\n"
NAT = "*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n"
STATEFUL = (
    "*filter\n-A FORWARD -i eth1 -j ACCEPT\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n"
    "-A FORWARD -j DROP\nCOMMIT\n"
)

CASES = {
    "no frame was bridged": (
        "",
        "*filter\n-A FORWARD -p icmp -m physdev --physdev-is-bridged -j DROP\n"
        "-A FORWARD -p tcp -m physdev ! --physdev-is-in -j DROP\n"
        "-A FORWARD -p udp -m physdev ! --physdev-in eth9 -j DROP\nCOMMIT\n",
    ),
    "a chain by the name of a built-in one": (
        "",
        "*filter\n:PREROUTING - [0:0]\n-A PREROUTING -j DROP\n-A FORWARD -p udp -j PREROUTING\nCOMMIT\n",
    ),
    "a zone for both ways": ("", ZONE.format("", "-A PREROUTING -i eth0 -j CT --zone 5\n") + NAT + STATEFUL),
    "a zone for one way": ("", ZONE.format("", "") + STATEFUL),
    "a zone for one way, and a translation": ("", ZONE.format("", "") + NAT),
    "a zone of the first packets": ("", ZONE.format("-orig", "") + NAT + STATEFUL),
    "a zone of the answers that they are not in": ("", ZONE.format("-reply", "") + STATEFUL),
    "a zone of the answers": (
        "",
        ZONE.format("-reply", "-A PREROUTING -i eth0 -j CT --zone 5\n") + NAT + STATEFUL,
    ),
    "a zone of nft, and only the first counts": (
        "table ip z {\nchain c {\ntype filter hook prerouting priority -300;\n"
        'iifname "eth1" ct zone set 5\niifname "eth1" ct zone set 6\niifname "eth0" ct zone set 5\n}\n}\n',
        NAT + STATEFUL,
    ),
    "a chain of translation where nothing makes the kernel track": (at_nat("udp dport 53 drop"), ""),
    "its policy": (at_nat("", "policy drop;"), ""),
    "and a rule that keeps packets from being tracked": (
        at_nat("udp dport 53 drop"),
        "*raw\n-A PREROUTING -p tcp --dport 1 -j CT --notrack\nCOMMIT\n",
    ),
    "where a map of states does": (
        at_nat("udp dport 53 drop") + forward("ct state vmap { new : accept }"),
        "",
    ),
    "where another chain does": (at_nat("udp dport 53 drop"), NAT),
    "packets made those of others": (at_priority(-50, "udp dport 53 meta pkttype set other"), ""),
    "packets made those of many": (at_priority(-50, "meta l4proto tcp meta pkttype set multicast"), ""),
    "what counts in a limited log only": (
        "",
        "*filter\n-A FORWARD -m limit --limit 1/min -j LOG\n-A FORWARD -p udp -j DROP\nCOMMIT\n",
    ),
    "the frame's type of what came by an Ethernet": (
        forward(
            "ether type ip udp dport 53 drop", "ether type != ip tcp dport 80 drop", "ether type ip6 drop"
        ),
        "",
    ),
    "and of what the host sends": (
        "table inet t {\nchain c {\ntype filter hook output priority 0;\nether type ip drop\n}\n}\n",
        "",
    ),
    "ports of protocols that have them": (forward("meta l4proto { tcp, udp } th dport { 53, 80 } drop"), ""),
}


@pytest.mark.parametrize("name", CASES)
def test_reach_says_what_happens_and_is_sure_of_it(name: str) -> None:
    differences, undetermined = watched(*CASES[name])
    assert not differences, "\n".join(differences)
    assert not undetermined


def test_what_stands_in_place_of_ports_nobody_knows() -> None:
    """The type and code of an echo are where others have their port (0x0800), and nft compares them."""
    differences, undetermined = watched(forward("th sport 2048 drop"))
    assert not differences, "\n".join(differences)
    assert undetermined == 2, "the echos, and nothing that has ports"


def test_what_stands_in_place_of_ports_of_a_flow_nobody_knows() -> None:
    differences, undetermined = watched(
        legacy="*filter\n-A FORWARD -m conntrack --ctorigdstport 8 -j DROP\nCOMMIT\n"
    )
    assert not differences, "\n".join(differences)
    assert undetermined == 1, "the echo, and nothing that has ports"


ALL_OFF = {"net.ipv6.conf.all.forwarding": "0"}


def test_an_interface_that_forwards_by_itself_does_so() -> None:
    if not Path("/proc/sys/net/ipv6/conf/all/force_forwarding").exists():
        lacking("a kernel with force_forwarding (Linux 6.17)")
    forced = {**ALL_OFF, **{f"net.ipv6.conf.{name}.force_forwarding": "1" for name in ("eth0", "eth1")}}
    differences, undetermined = watched(sysctls=forced)
    assert not differences, "\n".join(differences)
    assert not undetermined


def test_where_no_neighbour_is_asked_for_nobody_knows_who_hears() -> None:
    differences, undetermined = watched(ip=("link set eth0 arp off",))
    assert not differences, "\n".join(differences)
    assert undetermined


MARKS = "*mangle\n-A PREROUTING -p udp -j MARK --set-mark 1\nCOMMIT\n"
TRANSLATES = "*nat\n-A PREROUTING -p udp -m udp --dport 53 -j DNAT --to-destination 10.9.0.2\nCOMMIT\n"


@pytest.mark.parametrize(
    ("nft", "legacy", "open_ones"),
    [
        # two tools at one priority, of which one reads what the other writes
        (at_priority(-150, "meta mark 1 drop"), MARKS, 2),
        (at_priority(-150, "ip ttl 1 drop"), MARKS, 0),
        (at_priority(-149, "meta mark 1 drop"), MARKS, 0),
        (
            at_priority(-300, "ip protocol udp notrack"),
            "*raw\n-A PREROUTING -p tcp -j DROP\nCOMMIT\n" + NAT,
            0,
        ),
        # at the priority of connection tracking and of translation
        (at_priority(-200, "ct state new ip protocol udp drop"), NAT, 2),
        (at_priority(-200, "ip protocol udp drop"), NAT, 0),
        (at_priority(-100, "ip daddr 10.9.0.2 drop"), TRANSLATES, 1),
        # two translations of which the first counts
        (at_priority(-100, "udp dport 53 dnat to 10.3.0.2", kind="nat"), TRANSLATES, 1),
        (at_priority(-100, "tcp dport 22 dnat to 10.3.0.2", kind="nat"), TRANSLATES, 0),
    ],
)
def test_of_two_at_one_priority_nobody_knows_which_is_first_and_sometimes_it_counts(
    nft: str, legacy: str, open_ones: int
) -> None:
    differences, undetermined = watched(nft, legacy)
    assert not differences, "\n".join(differences)
    assert undetermined == open_ones
