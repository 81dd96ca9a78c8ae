"""What reach says against what happens: random configurations of three hosts, and packets watched at each interface.

    scripts/conformance [--seed N] [--configurations N] [--packets N]

app (10.1.0.2) - gateway (10.1.0.1; 10.2.0.1, 10.3.0.1) - target (10.2.0.2, 10.3.0.2, 10.9.0.1), and the same with
fd00:. Each configuration is made of rules of every tool, translations, policy rules, routes and settings by one
seed; its packets leave a socket of app, or are laid on app's wire as they are. Each is known by its port or identifier.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import random
import re
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from crossnet.facts import Facts, observe
from crossnet.netfilter.foreign import Field
from crossnet.reach.packets import Packets, Space, address_field
from crossnet.reach.path import Asked, Visit, Walked
from crossnet.transport.local import Local
from crossnet.transport.netns import Netns
from crossnet.values import Address, Family, Ports, Protocol, Traffic

PORTS = (22, 53, 80, 443, 8080)
FIRST_TAG = 20000
WATCHED = 1.5  # seconds after which what has not come does not come

# host: interface → (peer's host, peer's interface, addresses)
WIRES = (
    ("app", "eth0", "gateway", "eth1", 1),
    ("gateway", "eth0", "target", "eth0", 2),
    ("gateway", "eth2", "target", "eth1", 3),
)
HOSTS = ("app", "gateway", "target")
ADDRESSES = {
    ("app", "eth0"): ("10.1.0.2/24", "10.1.0.3/24", "fd00:1::2/64"),
    ("gateway", "eth1"): ("10.1.0.1/24", "fd00:1::1/64"),
    ("gateway", "eth0"): ("10.2.0.1/24", "10.2.0.9/24", "fd00:2::1/64"),
    ("gateway", "eth2"): ("10.3.0.1/24", "fd00:3::1/64"),
    ("target", "eth0"): ("10.2.0.2/24", "fd00:2::2/64"),
    ("target", "eth1"): ("10.3.0.2/24", "fd00:3::2/64"),
    ("target", "lo"): ("10.9.0.1/32", "10.9.0.2/32", "fd00:9::1/128"),
}
# Addresses that nobody has, which translations give nevertheless.
SPARE = {1: ("10.1.0.77", "fd00:1::77"), 2: ("10.2.0.77", "fd00:2::77"), 3: ("10.3.0.77", "fd00:3::77")}

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


# ---- what is made -----------------------------------------------------------------------------------


@dataclass
class Configuration:
    """One host's part, as text for its tools."""

    nft: str = ""
    legacy: dict[str, str] = field(default_factory=dict)  # iptables-restore by ip and ip6
    iptables_nft: dict[str, str] = field(default_factory=dict)
    ip: list[str] = field(default_factory=list)
    sysctls: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    """One packet: from a socket of app, or laid on its wire with `source`."""

    tag: int
    protocol: Protocol
    destination: Address
    port: int | None
    source: Address | None
    laid: bool


class Chance:
    """Everything random about one configuration."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def often(self, share: float) -> bool:
        return self.random.random() < share

    def of(self, *choices: Any) -> Any:
        return self.random.choice(choices)


TARGETS4 = ("10.2.0.2", "10.3.0.2", "10.9.0.1", "10.9.0.2", "10.1.0.1", "10.2.0.1", "10.8.0.1")
TARGETS6 = ("fd00:2::2", "fd00:3::2", "fd00:9::1", "fd00:2::1", "fd00:8::1")
SOURCES4 = (
    "10.1.0.2",
    "10.1.0.3",
    "10.1.0.9",
    "10.2.0.9",
    "10.3.0.5",
    "10.9.0.1",
    "10.7.0.1",
    "127.0.0.1",
    "10.1.0.255",
)
SOURCES6 = ("fd00:1::2", "fd00:1::9", "fd00:7::1")
NETWORKS4 = (
    "10.1.0.0/24",
    "10.1.0.2",
    "10.1.0.0/31",
    "10.2.0.0/24",
    "10.9.0.0/16",
    "10.9.0.1",
    "10.0.0.0/8",
    "10.2.0.2",
)
NETWORKS6 = ("fd00:1::/64", "fd00:1::2", "fd00:2::/64", "fd00:9::/64", "fd00:9::1", "fd00::/16")


def configuration(chance: Chance, host: str) -> Configuration:
    made = Configuration()
    _sysctls(chance, host, made)
    if host == "gateway" or chance.often(0.25):
        tools = chance.random.sample(("nft", "legacy", "iptables_nft"), chance.of(0, 1, 1, 1, 2))
        if "nft" in tools:
            made.nft = "".join(_nft_table(chance, host, number) for number in range(chance.of(1, 1, 2)))
        if host == "gateway" and chance.often(0.5):
            made.nft += _nft_in_order(chance)
        if host == "gateway" and chance.often(0.3):
            made.nft += _nft_around_translation(chance)
        for tool in ("legacy", "iptables_nft"):
            if tool in tools:
                for family in ("ip", "ip6"):
                    getattr(made, tool)[family] = _iptables(chance, host, family)
    _routes(chance, host, made)
    return made


def _sysctls(chance: Chance, host: str, made: Configuration) -> None:
    interfaces = [name for (of, name) in ADDRESSES if of == host and name != "lo"]
    if host == "gateway":
        made.sysctls["net.ipv4.ip_forward"] = "0" if chance.often(0.05) else "1"
        made.sysctls["net.ipv6.conf.all.forwarding"] = "0" if chance.often(0.05) else "1"
        for name in interfaces:
            if chance.often(0.05):
                made.sysctls[f"net.ipv4.conf.{name}.forwarding"] = "0"
    made.sysctls["net.ipv4.conf.all.rp_filter"] = chance.of("0", "0", "1", "2")
    for name in interfaces:
        made.sysctls[f"net.ipv4.conf.{name}.rp_filter"] = chance.of("0", "0", "0", "1", "2")


def _routes(chance: Chance, host: str, made: Configuration) -> None:
    def both(four: str, six: str) -> None:
        made.ip.extend((four, f"-6 {six}"))

    if host == "app":
        if chance.often(0.9):
            both("route add default via 10.1.0.1", "route add default via fd00:1::1")
        if chance.often(0.5):
            made.ip.append(f"route add 10.9.0.0/24 via 10.1.0.1 src {chance.of('10.1.0.2', '10.1.0.3')}")
        if chance.often(0.1):
            made.ip.append(f"route add {chance.of('blackhole', 'unreachable', 'prohibit')} 10.9.0.2/32")
        if chance.often(0.2):
            made.ip.append("route add table 100 default via 10.1.0.1 src 10.1.0.3")
            made.ip.append(f"rule add pref 1000 to {chance.of('10.9.0.0/24', '10.2.0.0/24')} lookup 100")
        if chance.often(0.15):
            kind = chance.of("blackhole", "unreachable", "prohibit")
            made.ip.append(
                f"rule add pref 900 from {chance.of('10.1.0.2', '10.1.0.3')} to 10.9.0.0/24 {kind}"
            )
    elif host == "gateway":
        if chance.often(0.9):
            both("route add 10.9.0.0/24 via 10.2.0.2", "route add fd00:9::/64 via fd00:2::2")
        if chance.often(0.3):
            made.ip.append(f"route add 10.9.0.1/32 via {chance.of('10.3.0.2', '10.2.0.2')}")
        if chance.often(0.3):
            made.ip.append(f"route add 10.8.0.0/24 {chance.of('via 10.3.0.2', 'via 10.1.0.2', 'dev eth0')}")
        if chance.often(0.1):
            made.ip.append(f"route add {chance.of('blackhole', 'unreachable', 'prohibit')} 10.9.0.2/32")
            made.ip.append(f"-6 route add {chance.of('blackhole', 'unreachable', 'prohibit')} fd00:9::1/128")
        if chance.often(0.3):
            made.ip.append("route add 10.7.0.0/24 via 10.1.0.2")
        if chance.often(0.5):
            kind = chance.of("via 10.3.0.2", "via 10.3.0.2", "via 10.2.0.2")
            made.ip.append(f"route add table 100 10.9.0.0/24 {kind}")
            if chance.often(0.3):
                made.ip.append(f"route add table 100 {chance.of('throw', 'blackhole')} 10.9.0.2/32")
            selector = chance.of(
                "fwmark 1",
                "fwmark 1/1",
                "iif eth1",
                "from 10.1.0.0/24",
                "from 10.1.0.2",
                "not from 10.1.0.2",
                "to 10.9.0.1",
                "ipproto tcp",
                "ipproto udp dport 53",
                "iif eth1 dport 80-443",
            )
            made.ip.append(
                f"rule add pref 1000 {selector} lookup 100{chance.of('', '', ' suppress_prefixlength 24')}"
            )
        if chance.often(0.15):
            made.ip.append(
                f"rule add pref 500 iif eth1 to 10.2.0.0/24 {chance.of('goto 32766', 'lookup main', 'nop')}"
            )
        if chance.often(0.1):
            made.ip.append(
                f"rule add pref 600 from 10.1.0.3 {chance.of('blackhole', 'unreachable', 'prohibit')}"
            )
        if chance.often(0.15):
            made.ip.append(
                f"-6 rule add pref 600 from fd00:1::2 to fd00:9::1 {chance.of('prohibit', 'lookup 100')}"
            )
            made.ip.append("-6 route add table 100 fd00:9::1/128 via fd00:3::2")
    else:
        if chance.often(0.7):
            by = chance.of(2, 2, 3)
            both(f"route add 10.1.0.0/16 via 10.{by}.0.1", f"route add fd00:1::/64 via fd00:{by}::1")
        if chance.often(0.3):
            both("route add default via 10.2.0.1", "route add default via fd00:2::1")


# Rules: what is likely to meet the packets that are sent, in the words of each tool.


def _nft_test(chance: Chance, family: str, hook: str) -> str:
    version = chance.of("ip", "ip", "ip6") if family == "inet" else family
    networks = NETWORKS4 if version == "ip" else NETWORKS6
    some = chance.random.sample(PORTS, 2)
    tests = [
        f"{version} {chance.of('saddr', 'daddr')} {chance.of('', '', '!= ')}{chance.of(*networks)}",
        f"{version} saddr {{ {networks[1]}, {networks[3]} }}",
        f"{chance.of('tcp', 'udp')} dport {chance.of('', '', '!= ')}{chance.of(*PORTS)}",
        f"{chance.of('tcp', 'udp')} dport {{ {some[0]}, {some[1]} }}",
        f"{chance.of('tcp', 'udp')} dport {chance.of('22-100', '53-443')}",
        f"{chance.of('tcp', 'udp')} sport {chance.of(*PORTS)}",
        f"meta l4proto {chance.of('tcp', 'udp', 'icmp', 'ipv6-icmp', '{ tcp, udp }')}",
        f"ct state {chance.of('new', 'established', 'invalid', 'untracked', 'established,related', 'new,untracked')}",
        f"meta mark {chance.of('1', '2', '!= 1', '0')}",
        f"meta mark & 0x1 == {chance.of(0, 1)}",
        f"meta mark {chance.of('1', '3', '!= 1')}",
        f"meta mark and 0x2 == {chance.of('0x2', '0x0')}",
        "tcp flags & (syn|ack) == syn",
        "tcp flags syn / syn,ack",
        f"ct status {chance.of('dnat', 'snat')}",
        f"ct direction {chance.of('original', 'reply')}",
        f"ct mark {chance.of(0, 1)}",
        f"fib {chance.of('saddr', 'daddr')} type {chance.of('local', 'unicast', '!= local')}",
        "@nets"
        if False
        else f"{version} saddr . {chance.of('tcp', 'udp')} dport {{ {networks[1]} . 80, {networks[1]} . 53 }}",
        f"ct original {version} daddr {chance.of(*networks)}",
        f"ip6 nexthdr {chance.of('tcp', 'udp')}"
        if version == "ip6"
        else f"ip protocol {chance.of('tcp', 'udp', 'icmp')}",
        f"icmp type {chance.of('echo-request', 'echo-reply')}"
        if version == "ip"
        else "icmpv6 type echo-request",
        f"meta length {chance.of('< 40', '> 100')}",
    ]
    if hook in ("prerouting", "forward", "input"):
        tests += [
            f"iifname {chance.of('', '!= ')}{chance.of('eth0', 'eth1', 'eth2', chr(34) + 'eth*' + chr(34))}"
        ] * 2
    if hook in ("forward", "output", "postrouting"):
        tests += [f"oifname {chance.of('', '!= ')}{chance.of('eth0', 'eth1', 'eth2')}"] * 2
    return str(chance.of(*tests))


_OF_A_PROTOCOL = re.compile(r"\b(tcp|udp|icmp|icmpv6|l4proto|nexthdr|protocol)\b")
_OF_A_FAMILY = re.compile(r"\b(ip|ip6|icmp|icmpv6)\b")


def _nft_action(chance: Chance, family: str, hook: str, chains: list[str]) -> str:
    version = chance.of("ip", "ip6") if family == "inet" else family
    networks = NETWORKS4 if version == "ip" else NETWORKS6
    actions = (
        ["accept"] * 3 + ["drop"] * 3 + ["return"] + ["meta mark set 1", "meta mark set meta mark | 2"] * 2
    )
    actions += ["ct mark set 1", "meta mark set ct mark", "counter"]
    actions += [f"jump {name}" for name in chains] * 2 + [f"goto {name}" for name in chains]
    if hook in ("input", "forward", "output"):
        actions.append("reject")
    if hook in ("prerouting", "output"):
        actions.append("notrack")
    actions.append(
        f"tcp dport vmap {{ 22 : drop, 80 : accept, 443 : {chance.of('continue', 'return', 'drop')} }}"
    )
    actions.append(f"{version} saddr vmap {{ {networks[1]} : accept, {networks[3]} : drop }}")
    if chance.often(0.06):
        actions += ["limit rate 1/hour burst 1 packets drop"]
    return str(chance.of(*actions))


def _nft_rule(chance: Chance, family: str, hook: str, chains: list[str]) -> str:
    tests = [_nft_test(chance, family, hook) for _ in range(chance.of(1, 1, 2, 2, 3))]
    return " ".join(_agreeing([*tests, _nft_action(chance, family, hook, chains)]))


def _agreeing(words: list[str]) -> list[str]:
    """The words of a rule with the last of those only that name a protocol or a family: nft refuses two."""
    for kind in (_OF_A_PROTOCOL, _OF_A_FAMILY):
        naming = [each for each in words if kind.search(each)]
        words = [each for each in words if each not in naming[:-1]]
    return words


def _nft_nat(chance: Chance, hook: str, family: str) -> str:
    version = chance.of("ip", "ip", "ip6") if family == "inet" else family
    of = f"{version} to" if family == "inet" else "to"
    test = chance.of("", _nft_test(chance, version, hook))
    given: tuple[str, ...]
    if hook == "postrouting":
        given = ("fd00:2::1", "fd00:3::1")
        if version == "ip":
            given = ("10.2.0.1", "10.3.0.1", "10.2.0.9", "10.2.0.77")
        action = chance.of("masquerade", f"snat {of} {chance.of(*given)}", "accept")
    else:
        given = ("10.9.0.2", "10.2.0.2", "10.3.0.2") if version == "ip" else ("fd00:9::1", "fd00:2::2")
        test = f"{chance.of('tcp', 'udp')} dport {chance.of(*PORTS)}"
        to = chance.of(*given)
        port = chance.of("", ":8080") if version == "ip" else ""
        action = chance.of(f"dnat {of} {to}{port}", f"dnat {of} {to}{port}", "redirect to :8080", "accept")
        if hook == "output":
            action = f"dnat {of} {to}{port}"
    return " ".join(_agreeing([*test.split("  "), action])).strip()


def _nft_table(chance: Chance, host: str, number: int) -> str:
    family = chance.of("ip", "ip", "inet", "inet", "ip6")
    hooks = {"gateway": ["prerouting", "forward", "forward", "postrouting", "input"]}
    chains: list[str] = []
    subs: list[str] = []
    for sub in range(chance.of(0, 1, 2)):
        rules = "\n".join(f"    {_nft_rule(chance, family, 'any', subs)}" for _ in range(chance.of(1, 2, 3)))
        chains.append(f"  chain sub{sub} {{\n{rules}\n  }}\n")
        subs.append(f"sub{sub}")
    priorities = chance.random.sample((-350, -310, -250, -180, -160, -120, -90, -10, 5, 20, 60, 120), 12)
    for at in range(chance.of(1, 2, 3)):
        hook = chance.of(*hooks.get(host, ["prerouting", "input", "output", "postrouting"]))
        kind = "route" if hook == "output" and chance.often(0.5) else "filter"
        policy = "drop" if chance.often(0.15) else "accept"
        rules = "\n".join(
            f"    {_nft_rule(chance, family, hook, subs)}" for _ in range(chance.of(1, 2, 3, 5))
        )
        head = f"type {kind} hook {hook} priority {priorities[at] + number}; policy {policy};"
        chains.append(f"  chain base{at} {{\n    {head}\n{rules}\n  }}\n")
    for hook in ("prerouting", "postrouting") if host == "gateway" else ("output",):
        if chance.often(0.35 if host == "gateway" else 0.15) and not number:
            rules = "\n".join(f"    {_nft_nat(chance, hook, family)}" for _ in range(chance.of(1, 2)))
            priority = -100 if hook != "postrouting" else 100
            chains.append(
                f"  chain nat{hook} {{\n    type nat hook {hook} priority {priority};\n{rules}\n  }}\n"
            )
    return f"table {family} t{number} {{\n{''.join(chains)}}}\n"


_STATES = ("NEW", "ESTABLISHED", "INVALID", "RELATED,ESTABLISHED", "UNTRACKED", "DNAT", "SNAT")


def _nft_in_order(chance: Chance) -> str:
    """Two chains of a hook of which one reads what the other writes, or would: by their priorities."""
    hook = chance.of("prerouting", "forward", "postrouting")
    first, second = chance.random.sample((-340, -260, -140, -70, 30, 80, 140), 2)
    test = chance.of(
        "", f"ip daddr {chance.of('10.2.0.2', '10.9.0.1')}", "meta l4proto tcp", "meta l4proto { udp, icmp }"
    )
    chains = [
        f"  chain writes {{\n    type filter hook {hook} priority {first};\n"
        f"    {test} meta mark set meta mark | 16\n  }}\n",
        f"  chain reads {{\n    type filter hook {hook} priority {second};\n"
        f"    meta mark & 16 == 16 drop\n  }}\n",
    ]
    chance.random.shuffle(chains)
    return f"table ip order {{\n{''.join(chains)}}}\n"


def _nft_around_translation(chance: Chance) -> str:
    """Filters before and behind a translation, that see one address or the other."""
    before = f"type filter hook prerouting priority {chance.of(-110, -90, -250)};"
    after = f"type filter hook postrouting priority {chance.of(90, 110, -50)};"
    untracked = ""
    if chance.often(0.4):
        which = chance.of("meta l4proto udp", "tcp dport 80", "ip daddr 10.2.0.2")
        untracked = (
            f"  chain raw {{\n    type filter hook prerouting priority -300;\n    {which} notrack\n  }}\n"
        )
    return f"""table ip around {{
  chain to {{
    type nat hook prerouting priority -100;
    tcp dport {{ 80, 443 }} dnat to {chance.of("10.9.0.2:8080", "10.3.0.2")}
    udp dport {{ 53, 80 }} dnat to {chance.of("10.9.0.2", "10.2.0.2:8080")}
  }}
  chain before {{
    {before}
    {chance.of("tcp dport 8080 drop", "ip daddr 10.9.0.2 drop", "tcp dport 443 drop", "udp dport 53 drop")}
  }}
  chain from {{
    type nat hook postrouting priority 100;
    oifname != "eth1" {chance.of("masquerade", "snat to 10.2.0.9")}
  }}
  chain after {{
    {after}
    {chance.of("ip saddr 10.1.0.2 drop", "ip saddr 10.2.0.9 meta l4proto tcp drop", "ip saddr != 10.1.0.0/24 drop")}
  }}
{untracked}}}
"""


def _iptables_test(chance: Chance, family: str, hook: str) -> str:
    networks = NETWORKS4 if family == "ip" else NETWORKS6
    icmp = "-p icmp --icmp-type 8" if family == "ip" else "-p ipv6-icmp --icmpv6-type 128"
    some = chance.random.sample(PORTS, 2)
    protocol = chance.of("tcp", "udp")
    tests = [
        f"{chance.of('', '', '! ')}-s {chance.of(*networks)}",
        f"{chance.of('', '', '! ')}-d {chance.of(*networks)}",
        f"-p {protocol} --dport {chance.of(*PORTS)}",
        f"-p {protocol} ! --dport {chance.of(*PORTS)}",
        f"-p {protocol} -m multiport --dports {some[0]},{some[1]}",
        f"-p {protocol} -m multiport --ports {some[0]},{some[1]}",
        f"! -p {protocol}",
        icmp,
        f"-m conntrack --ctstate {chance.of(*_STATES)}",
        f"-m conntrack ! --ctstate {chance.of('NEW', 'INVALID')}",
        f"-m mark --mark {chance.of('0x1', '0x0', '0x1/0x1')}",
        f"-m connmark --mark {chance.of('0x1', '0x0')}",
        "-p tcp --syn",
        "-p tcp --tcp-flags SYN,ACK SYN,ACK",
        f"-m addrtype --dst-type {chance.of('LOCAL', 'UNICAST')}",
        "-m addrtype ! --src-type LOCAL",
    ]
    if family == "ip":
        tests.append("-m iprange --src-range 10.1.0.1-10.1.0.2")
    if hook in ("PREROUTING", "FORWARD", "INPUT"):
        tests += [f"{chance.of('', '! ')}-i {chance.of('eth0', 'eth1', 'eth2', 'eth+')}"] * 3
    if hook in ("FORWARD", "OUTPUT", "POSTROUTING"):
        tests += [f"{chance.of('', '! ')}-o {chance.of('eth0', 'eth1', 'eth2')}"] * 3
    return str(chance.of(*tests))


def _iptables(chance: Chance, host: str, family: str) -> str:
    hooks = ["FORWARD", "FORWARD", "INPUT"] if host == "gateway" else ["INPUT", "OUTPUT"]

    def rule(hook: str, targets: list[str]) -> str:
        return f"-A {hook} {_iptables_test(chance, family, hook)} -j {chance.of(*targets)}\n"

    def rules(hooks: list[str], targets: list[str], most: int) -> str:
        return "".join(rule(chance.of(*hooks), targets) for _ in range(chance.random.randint(0, most)))

    text = ""
    sub = chance.often(0.5)
    targets = ["ACCEPT", "ACCEPT", "DROP", "DROP", "RETURN", *(["SUB", "SUB"] if sub else [])]
    policies = {hook: "DROP" if chance.often(0.12) else "ACCEPT" for hook in ("INPUT", "FORWARD", "OUTPUT")}
    text += "*filter\n" + "".join(f":{hook} {policy} [0:0]\n" for hook, policy in policies.items())
    text += ":SUB - [0:0]\n" if sub else ""
    text += rules(hooks, [*targets, "REJECT"], 6)
    if sub:
        text += "".join(rule("SUB", ["ACCEPT", "DROP", "RETURN"]) for _ in range(2))
    text += "COMMIT\n"
    marks = [
        "MARK --set-mark 1",
        "MARK --set-xmark 0x2/0x2",
        "ACCEPT",
        "DROP",
        "CONNMARK --save-mark",
        "CONNMARK --restore-mark",
    ]
    if chance.often(0.5):
        before = ["PREROUTING", "FORWARD", "POSTROUTING"] if host == "gateway" else ["OUTPUT", "INPUT"]
        text += "*mangle\n" + rules(before, marks, 4) + "COMMIT\n"
    if chance.often(0.3):
        before = ["PREROUTING"] if host == "gateway" else ["PREROUTING", "OUTPUT"]
        text += "*raw\n" + rules(
            before,
            ["CT --notrack", "ACCEPT", "DROP", "MARK --set-mark 1"][: 4 if chance.often(0.5) else 2],
            2,
        )
        text += "COMMIT\n"
    if chance.often(0.4):
        text += "*nat\n"
        if host == "gateway":
            given = ("10.2.0.1", "10.3.0.1", "10.2.0.77") if family == "ip" else ("fd00:2::1",)
            to = ("10.9.0.2", "10.3.0.2", "10.2.0.2:8080") if family == "ip" else ("fd00:9::1",)
            text += rules(
                ["POSTROUTING"], ["MASQUERADE", f"SNAT --to-source {chance.of(*given)}", "ACCEPT"], 2
            )
            if chance.often(0.5):
                protocol = chance.of("tcp", "udp")
                dnat = chance.of(f"DNAT --to-destination {chance.of(*to)}", "REDIRECT --to-ports 8080")
                text += f"-A PREROUTING -p {protocol} -m {protocol} --dport {chance.of(*PORTS)} -j {dnat}\n"
        text += "COMMIT\n"
    return text


def packets(chance: Chance, count: int, first: int) -> list[Sent]:
    made = []
    for tag in range(first, first + count):
        protocol = chance.of(Protocol.ICMP, Protocol.TCP, Protocol.UDP)
        six = chance.often(0.25)
        destination = ip_address(chance.of(*(TARGETS6 if six else TARGETS4)))
        port = None if protocol is Protocol.ICMP else chance.of(*PORTS)
        laid = chance.often(0.4)
        source = None
        if laid:
            source = ip_address(chance.of(*(SOURCES6 if six else SOURCES4)))
        elif not six and chance.often(0.3):
            source = ip_address(chance.of("10.1.0.2", "10.1.0.3"))
        made.append(Sent(tag, protocol, destination, port, source, laid))
    return made


# ---- hosts ------------------------------------------------------------------------------------------


class Refused(Exception):
    """What a tool said of words that it does not take."""


def _run(script: str, *, check: bool = True) -> str:
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise Refused(f"{script}\n{done.stdout}{done.stderr}")
    return done.stdout


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread in a network namespace: the sockets that it makes there stay there."""
    with open("/proc/self/ns/net", "rb") as own, open(f"/run/netns/{namespace}", "rb") as other:
        _enter(other.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


_NOBODY = "02:00:00:00:ff:ff"


def _mac(host: str, interface: str) -> str:
    return f"02:00:00:00:0{HOSTS.index(host)}:0{['lo', 'eth0', 'eth1', 'eth2'].index(interface)}"


class Hosts:
    """Three namespaces with one configuration."""

    def __init__(self, prefix: str, made: dict[str, Configuration]) -> None:
        self.names = {host: f"{prefix}-{host}" for host in HOSTS}
        self.made = made

    def __enter__(self) -> Hosts:
        script = ["set -e"]
        for name in self.names.values():
            script.append(f"ip netns add {name}")
        for one, its, other, their, _ in WIRES:
            script.append(
                f"ip -n {self.names[one]} link add {its} address {_mac(one, its)} type veth "
                f"peer name {their} netns {self.names[other]} address {_mac(other, their)}"
            )
        _run("\n".join(script))
        try:
            for host in HOSTS:
                self._configure(host)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _run("\n".join(f"ip netns del {name}" for name in self.names.values()), check=False)

    def _configure(self, host: str) -> None:
        made = self.made[host]
        interfaces = [name for of, name in ADDRESSES if of == host]
        quiet = ["cd /proc/sys/net"]
        for name in ("all", "default", *[each for each in interfaces if each != "lo"]):
            quiet.append(
                f"echo 0 > ipv4/conf/{name}/accept_redirects; echo 0 > ipv4/conf/{name}/send_redirects"
            )
            quiet.append(f"echo 0 > ipv6/conf/{name}/accept_dad; echo 0 > ipv6/conf/{name}/accept_ra")
            quiet.append(f"echo 0 > ipv6/conf/{name}/accept_redirects")
            quiet.append(f"echo 0 > ipv6/conf/{name}/router_solicitations")
        # Answers to many packets at once, and no ICMP error held back: they are watched, not measured.
        quiet.append("echo 0 > ipv4/icmp_ratelimit; echo 0 > ipv6/icmp/ratelimit")
        for name, value in made.sysctls.items():
            quiet.append(f"echo {value} > {name.removeprefix('net.').replace('.', '/')}")
        lines = ["link set lo up"]
        for name in interfaces:
            if name != "lo":
                lines.append(f"link set {name} up")
            for each in ADDRESSES[host, name]:
                lines.append(f"addr add {each} dev {name}{' nodad' if ':' in each else ''}")
        lines += self._neighbours(host)
        lines += [line for line in made.ip if not line.startswith("-6 ")]
        six = [line.removeprefix("-6 ") for line in made.ip if line.startswith("-6 ")]
        batches = [("", lines), ("-6 ", six)]
        parts = ["set -e", "\n".join(quiet)]
        parts += ["ip {}-batch - <<'END'\n{}\nEND".format(flag, "\n".join(each)) for flag, each in batches]
        if made.nft:
            parts.append(f"nft -f - <<'END'\n{made.nft}\nEND")
        for family, tool in (("ip", "iptables"), ("ip6", "ip6tables")):
            if family in made.legacy:
                parts.append(f"{tool}-legacy-restore <<'END'\n{made.legacy[family]}END")
            if family in made.iptables_nft:
                parts.append(f"{tool}-nft-restore <<'END'\n{made.iptables_nft[family]}END")
        script = "\n".join(parts)
        _run(f"ip netns exec {self.names[host]} sh <<'WHOLE'\n{script}\nWHOLE")

    def _neighbours(self, host: str) -> list[str]:
        """Every address on every wire is known already: what is asked here is not how it is found."""
        lines = []
        for one, its, other, their, wire in WIRES:
            for own, own_if, peer, peer_if in ((one, its, other, their), (other, their, one, its)):
                if own != host:
                    continue
                plain = [each.split("/")[0] for each in ADDRESSES[peer, peer_if]]
                for each in plain:
                    lines.append(
                        f"neigh replace {each} lladdr {_mac(peer, peer_if)} dev {own_if} nud permanent"
                    )
                # What nobody on the wire has is sent nevertheless, to nobody: so it is seen that it was sent.
                more = (*SPARE[wire], *TARGETS4, *SOURCES4, *TARGETS6, *SOURCES6)
                held = [
                    at.split("/")[0] for of, name in ADDRESSES if of == peer for at in ADDRESSES[of, name]
                ]
                for each in more:
                    own_here = [
                        at.split("/")[0] for of, name in ADDRESSES if of == own for at in ADDRESSES[of, name]
                    ]
                    if each not in plain and each not in own_here and not each.startswith("127."):
                        to = _mac(peer, peer_if) if each in held else _NOBODY
                        lines.append(f"neigh replace {each} lladdr {to} dev {own_if} nud permanent")
        return lines

    def facts(self) -> dict[str, Facts]:
        async def all_of_them() -> list[Facts]:
            hosts = [Netns(Local(host), self.names[host]) for host in HOSTS]
            return await asyncio.gather(*(observe(host, ()) for host in hosts))

        return {facts.host: facts for facts in asyncio.run(all_of_them())}


# ---- what happens -----------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Seen:
    """A packet that left a host by an interface."""

    host: str
    interface: str
    source: str
    destination: str
    port: int


class Watch:
    """Every interface watched, every port listened at."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.taps: dict[socket.socket, tuple[str, str]] = {}
        self.listening: list[socket.socket] = []
        self.echoing: list[socket.socket] = []
        for host in HOSTS:
            with inside(hosts.names[host]):
                for (of, name), addresses in ADDRESSES.items():
                    if of != host:
                        continue
                    if name != "lo":
                        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
                        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                        tap.bind((name, 0x0003))
                        tap.setblocking(False)
                        self.taps[tap] = (host, name)
                    for each in addresses:
                        self._listen(each.split("/")[0])
        self.requests: dict[int, set[Seen]] = {}
        self.replies: dict[int, set[Seen]] = {}

    def _listen(self, at: str) -> None:
        family = socket.AF_INET6 if ":" in at else socket.AF_INET
        for port in PORTS:
            udp = socket.socket(family, socket.SOCK_DGRAM)
            udp.bind((at, port))
            udp.setblocking(False)
            self.echoing.append(udp)
            tcp = socket.socket(family, socket.SOCK_STREAM)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((at, port))
            tcp.listen(64)
            self.listening.append(tcp)

    def close(self) -> None:
        for each in (*self.taps, *self.listening, *self.echoing):
            each.close()

    def settle(self, quiet: float) -> None:
        """Read until nothing has come for a while."""
        reading = [*self.taps, *self.echoing]
        end = time.monotonic() + WATCHED
        while time.monotonic() < end:
            ready, _, _ = select.select(reading, [], [], quiet)
            if not ready:
                return
            for each in ready:
                if each in self.taps:
                    self._look(each)
                else:
                    with contextlib.suppress(OSError):
                        data, peer = each.recvfrom(2048)
                        each.sendto(data, peer)

    def _look(self, tap: socket.socket) -> None:
        while True:
            try:
                frame, address = tap.recvfrom(4096)
            except BlockingIOError:
                return
            if address[2] == 4:  # PACKET_OUTGOING
                self._note(frame[14:], *self.taps[tap])

    def _note(self, packet: bytes, host: str, interface: str) -> None:
        version = packet[0] >> 4
        if version == 4:
            protocol, source, destination = packet[9], packet[12:16], packet[16:20]
            body = packet[(packet[0] & 15) * 4 :]
        elif version == 6:
            protocol, source, destination, body = packet[6], packet[8:24], packet[24:40], packet[40:]
        else:
            return
        if len(body) < 8:
            return
        ends = str(ip_address(source)), str(ip_address(destination))
        if protocol in (1, 58):
            kind, tag = body[0], struct.unpack("!H", body[4:6])[0]
            if kind in (8, 128):
                self.requests.setdefault(tag, set()).add(Seen(host, interface, *ends, 0))
            elif kind in (0, 129):
                self.replies.setdefault(tag, set()).add(Seen(host, interface, *ends, 0))
            return
        if protocol not in (6, 17):
            return
        here, there = struct.unpack("!HH", body[:4])
        flags = body[13] & 0x17 if protocol == 6 else None
        if here >= FIRST_TAG and flags in (None, 2):
            self.requests.setdefault(here, set()).add(Seen(host, interface, *ends, there))
        elif there >= FIRST_TAG and flags in (None, 0x12):
            self.replies.setdefault(there, set()).add(Seen(host, interface, *ends, here))


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def frame_of(sent: Sent) -> bytes:
    """An Ethernet frame from app's wire to the gateway."""
    assert sent.source is not None
    six = sent.destination.version == 6
    if sent.protocol is Protocol.ICMP:
        number, at = (58 if six else 1), 2
        body = struct.pack("!BBHHH", 128 if six else 8, 0, 0, sent.tag, 1) + b"crossnet" * 2
    elif sent.protocol is Protocol.UDP:
        number, at = 17, 6
        body = struct.pack("!HHHH", sent.tag, sent.port, 24, 0) + b"crossnet" * 2
    else:
        number, at = 6, 16
        body = struct.pack("!HHIIBBHHH", sent.tag, sent.port, 1000, 0, 0x50, 2, 64000, 0, 0)
    source, destination = sent.source.packed, sent.destination.packed
    length = struct.pack("!I", len(body))
    pseudo = (
        source
        + destination
        + (length + b"\0\0\0" + bytes([number]) if six else b"\0" + bytes([number]) + length[2:])
    )
    if number == 1:
        pseudo = b""
    total = _checksum(pseudo + body) or 0xFFFF
    body = body[:at] + struct.pack("!H", total) + body[at + 2 :]
    if six:
        head = struct.pack("!IHBB", 0x60000000, len(body), number, 64) + source + destination
    else:
        head = (
            struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), sent.tag, 0x4000, 64, number, 0)
            + source
            + destination
        )
        head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    ether = bytes.fromhex((_mac("gateway", "eth1") + _mac("app", "eth0")).replace(":", ""))
    return ether + struct.pack("!H", 0x86DD if six else 0x0800) + head + body


def send(hosts: Hosts, watch: Watch, packets: list[Sent]) -> None:
    """Send each, a few at a time, so that none is lost for want of room."""
    open_ones: list[socket.socket] = []
    for at, sent in enumerate(packets):
        with inside(hosts.names["app"]), contextlib.suppress(OSError):
            if sent.laid:
                wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                with wire:
                    wire.bind(("eth0", 0))
                    wire.send(frame_of(sent))
            else:
                open_ones.append(_from_a_socket(sent))
        if at % 8 == 7:
            watch.settle(0.0)
    watch.settle(0.15)
    for each in open_ones:
        each.close()


def _from_a_socket(sent: Sent) -> socket.socket:
    family = socket.AF_INET6 if sent.destination.version == 6 else socket.AF_INET
    source = str(sent.source or ("::" if family == socket.AF_INET6 else "0.0.0.0"))
    if sent.protocol is Protocol.ICMP:
        number = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
        raw = socket.socket(family, socket.SOCK_RAW, number)
        if sent.source:
            raw.bind((source, 0))
        body = struct.pack("!BBHHH", 128 if family == socket.AF_INET6 else 8, 0, 0, sent.tag, 1) + b"crossnet"
        if family == socket.AF_INET:
            body = body[:2] + struct.pack("!H", _checksum(body)) + body[4:]
        try:
            raw.sendto(body, (str(sent.destination), 0))
        except OSError:
            raw.close()
            raise
        return raw
    kind = socket.SOCK_STREAM if sent.protocol is Protocol.TCP else socket.SOCK_DGRAM
    made = socket.socket(family, kind)
    made.setblocking(False)
    try:
        made.bind((source, sent.tag))
        with contextlib.suppress(BlockingIOError):
            made.connect((str(sent.destination), sent.port))
        if sent.protocol is Protocol.UDP:
            made.send(b"crossnet")
    except OSError:
        made.close()
        raise
    return made


# ---- and what reach says ----------------------------------------------------------------------------


def asked(sent: Sent) -> Asked:
    traffic = Traffic(sent.protocol, Ports(sent.port, sent.port) if sent.port else None)
    return Asked(
        "gateway" if sent.laid else "app",
        (ip_network(str(sent.destination)),),
        (traffic,),
        sources=(ip_network(str(sent.source)),) if sent.source else (),
        source_ports=Ports(sent.tag, sent.tag),
        ingress="eth1" if sent.laid else "",
        length=_length(sent),
    )


def _length(sent: Sent) -> int:
    head = 40 if sent.destination.version == 6 else 20
    if sent.protocol is Protocol.TCP:
        return head + (20 if sent.laid else 40)  # options
    return head + 8 + (16 if sent.laid else 8)


@dataclass(frozen=True)
class Disagreement:
    sent: Sent
    what: str

    def __str__(self) -> str:
        return f"{self.sent}: {self.what}"


def compare(sent: Sent, facts: dict[str, Facts], watch: Watch) -> tuple[list[Disagreement], bool]:
    """What does not agree, and whether reach leaves it undetermined."""
    walked = Walked(asked(sent), facts)
    found: list[Disagreement] = []
    requests = watch.requests.get(sent.tag, set())
    if sent.laid:
        # What was laid on the wire is no word of app's.
        own = Seen("app", "eth0", str(sent.source), str(sent.destination), sent.port or 0)
        requests = requests - {own}
    replies = watch.replies.get(sent.tag, set())
    ports = sent.port is not None
    open_request = _compare(sent, "request", walked.space, walked.visits, requests, found, ports)
    if open_request:
        return found, True
    # What goes to an address that nobody has is answered by nobody here; reach cannot know.
    back = walked.back if all(end.taken for end in walked.ends) else []
    return found, _compare(sent, "reply", walked.turned, back, replies, found, ports)


def _compare(
    sent: Sent,
    name: str,
    space: Space,
    visits: list[Visit],
    seen: set[Seen],
    found: list[Disagreement],
    ports: bool,
) -> bool:
    unsure = any((each.passage.stopped & each.passage.passed).satisfiable() for each in visits)
    unsure = unsure or any(_several(space, visit) for visit in visits)
    expected = [
        (visit.host, leaving.interface, leaving.here.may)
        for visit in visits
        for leaving in visit.passage.leaving
        if leaving.here.may.satisfiable() and leaving.interface != "lo"
    ]
    side = Field.DESTINATION_PORT if name == "request" else Field.SOURCE_PORT
    for each in seen:
        here = [
            packets
            for host, interface, packets in expected
            if (host, interface) == (each.host, each.interface)
        ]
        if not any((packets & _as(space, each, side, ports)).satisfiable() for packets in here):
            found.append(
                Disagreement(sent, f"{name} seen, not expected: {each}; expected {_told(space, expected)}")
            )
    if not unsure:
        for host, interface, packets in expected:
            these = [each for each in seen if (each.host, each.interface) == (host, interface)]
            if not any((packets & _as(space, each, side, ports)).satisfiable() for each in these):
                found.append(
                    Disagreement(
                        sent, f"{name} expected, not seen: {_told(space, [(host, interface, packets)])}"
                    )
                )
    return unsure


def _several(space: Space, visit: Visit) -> bool:
    return len([each for each in visit.passage.leaving if each.here.may.satisfiable()]) > 1


def _as(space: Space, seen: Seen, side: Field, ports: bool) -> Packets:
    here = space.address(Field.SOURCE6, ip_address(seen.source))
    here &= space.address(Field.DESTINATION6, ip_address(seen.destination))
    return here & space.value(side, seen.port) if ports else here


def _told(space: Space, expected: list[tuple[str, str, Packets]]) -> str:
    told = []
    for host, interface, packets in expected:
        family = Family.V4 if (packets & space.ipv4).satisfiable() else Family.V6
        fields = (address_field(Field.SOURCE6, family), address_field(Field.DESTINATION6, family))
        one = space.one(packets, (*fields, Field.DESTINATION_PORT))
        kind = IPv4Address if family is Family.V4 else ip_address("::").__class__
        told.append(
            f"{host} {interface} {kind(one[fields[0]])} > {kind(one[fields[1]])}:{one[Field.DESTINATION_PORT]}"
        )
    return ", ".join(told) or "nothing"


@dataclass
class Result:
    configurations: int = 0
    refused: int = 0  # configurations that a tool does not take
    packets: int = 0
    delivered: int = 0
    undetermined: int = 0
    disagreements: list[str] = field(default_factory=list)


def one_configuration(seed: int, count: int, result: Result) -> None:
    chance = Chance(seed)
    made = {host: configuration(chance, host) for host in HOSTS}
    sent = packets(chance, count, FIRST_TAG + (seed * 61) % 20000)
    with Hosts(f"cnf{os.getpid()}", made) as hosts:
        facts = hosts.facts()
        watch = Watch(hosts)
        try:
            send(hosts, watch, sent)
        finally:
            watch.close()
    result.configurations += 1
    for each in sent:
        found, unsure = compare(each, facts, watch)
        result.packets += 1
        result.delivered += bool(watch.replies.get(each.tag))
        result.undetermined += unsure
        result.disagreements += [f"configuration {seed}: {one}" for one in found]


def run(first: int, configurations: int, count: int) -> Result:
    result = Result()
    seed = first
    while result.configurations < configurations:
        try:
            one_configuration(seed, count, result)
        except Refused as refused:
            result.refused += 1
            if result.refused > 10 + configurations // 5:
                raise RuntimeError("too many configurations are refused; the last one") from refused
        seed += 1
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/conformance")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--configurations", type=int, default=200)
    parser.add_argument("--packets", type=int, default=26, help="packets for each configuration")
    parser.add_argument("--show", action="store_true", help="print the configurations as well")
    given = parser.parse_args()
    if given.show:
        for seed in range(given.seed, given.seed + given.configurations):
            chance = Chance(seed)
            for host in HOSTS:
                print(f"# {host}", configuration(chance, host), sep="\n")
    result = run(given.seed, given.configurations, given.packets)
    for each in result.disagreements:
        print(each)
    share = 100 * result.undetermined / max(result.packets, 1)
    print(
        f"{result.packets} packets over {result.configurations} configurations (seeds {given.seed} on): "
        f"{len(result.disagreements)} disagreements, {result.undetermined} undetermined ({share:.1f} %), "
        f"{result.delivered} answered, {result.refused} configurations refused by a tool"
    )
    return 1 if result.disagreements or share > 5 else 0


if __name__ == "__main__":
    sys.exit(main())
