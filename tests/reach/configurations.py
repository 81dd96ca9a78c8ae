"""Random configurations of three hosts, and packets that are likely to meet their rules: each by one seed."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from crossnet.values import Address, Protocol

PORTS = (22, 53, 80, 443, 8080)
FIRST_TAG = 20000

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


@dataclass
class Configuration:
    """One host's part, as text for its tools."""

    nft: str = ""
    legacy: dict[str, str] = field(default_factory=dict)  # iptables-restore by ip and ip6
    iptables_nft: dict[str, str] = field(default_factory=dict)
    ip: list[str] = field(default_factory=list)
    sysctls: dict[str, str] = field(default_factory=dict)
    ipset: str = ""
    bridged: bool = False  # its interface to app is a bridge, and the wire one of its ports


@dataclass(frozen=True)
class Sent:
    """One packet: from a socket of app, or laid on its wire with `source`."""

    tag: int
    protocol: Protocol
    destination: Address
    port: int | None
    source: Address | None
    laid: bool
    more: int = 0  # bytes beside those that it has anyway
    pieces: bool = False  # as two fragments


class Chance:
    """Everything random about one configuration."""

    def __init__(self, seed: int, names: tuple[str, ...] = ("eth0", "eth1", "eth2")) -> None:
        self.random = random.Random(seed)
        self.names = names

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
    if host == "gateway":
        if chance.often(0.3):
            made.bridged = True
            made.sysctls |= _call_iptables(chance)
            made.nft += _nft_bridge(chance, ("prerouting", "input", "output", "postrouting", "forward"))
        if chance.often(0.25):
            made.nft += _nft_devices(chance, ("eth0", "eth1", "eth2", *(["port1"] * 2 * made.bridged)))
        if chance.often(0.3):
            made.ipset = _ipset(chance)
    if host == "gateway" or chance.often(0.25):
        tools = chance.random.sample(("nft", "legacy", "iptables_nft"), chance.of(0, 1, 1, 1, 2))
        if "nft" in tools:
            made.nft += "".join(_nft_table(chance, host, number) for number in range(chance.of(1, 1, 2)))
        if host == "gateway" and chance.often(0.5):
            made.nft += _nft_in_order(chance)
        if host == "gateway" and chance.often(0.3):
            made.nft += _nft_around_translation(chance)
        for tool in ("legacy", "iptables_nft"):
            if tool in tools:
                for family in ("ip", "ip6"):
                    getattr(made, tool)[family] = _iptables(chance, host, family, sets=bool(made.ipset))
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
        if chance.often(0.05):
            made.ip.append("route add 10.9.0.0/24 nexthop via 10.2.0.2 nexthop via 10.3.0.2 weight 2")
            made.ip.append("-6 route add fd00:9::/64 via fd00:2::2")
        elif chance.often(0.9):
            mtu = " mtu 1300" if chance.often(0.1) else ""
            both(f"route add 10.9.0.0/24 via 10.2.0.2{mtu}", f"route add fd00:9::/64 via fd00:2::2{mtu}")
        if chance.often(0.2):
            made.ip.append(f"link set {chance.of('eth0', 'eth2')} mtu 1300")
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
    version = family if family in ("ip", "ip6") else chance.of("ip", "ip", "ip6")
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
        f"{version} saddr . {chance.of('tcp', 'udp')} dport {{ {networks[1]} . 80, {networks[1]} . 53 }}",
        f"ct original {version} daddr {chance.of(*networks)}",
        f"ip6 nexthdr {chance.of('tcp', 'udp')}"
        if version == "ip6"
        else f"ip protocol {chance.of('tcp', 'udp', 'icmp')}",
        f"icmp type {chance.of('echo-request', 'echo-reply')}"
        if version == "ip"
        else "icmpv6 type echo-request",
        f"meta length {chance.of('< 40', '> 100')}",
    ]
    if family in ("bridge", "netdev"):
        tests = [each for each in tests if not each.startswith(("ct ", "fib "))]
    if hook in ("prerouting", "forward", "input"):
        names = (*chance.names, chr(34) + "eth*" + chr(34))
        tests += [f"iifname {chance.of('', '!= ')}{chance.of(*names)}"] * 2
    if hook in ("forward", "output", "postrouting"):
        tests += [f"oifname {chance.of('', '!= ')}{chance.of(*chance.names)}"] * 2
    return str(chance.of(*tests))


_OF_A_PROTOCOL = re.compile(r"\b(tcp|udp|icmp|icmpv6|l4proto|nexthdr|protocol)\b")
_OF_A_FAMILY = re.compile(r"\b(ip|ip6|icmp|icmpv6)\b")


def _nft_action(chance: Chance, family: str, hook: str, chains: list[str]) -> str:
    version = family if family in ("ip", "ip6") else chance.of("ip", "ip6")
    networks = NETWORKS4 if version == "ip" else NETWORKS6
    actions = (
        ["accept"] * 3 + ["drop"] * 3 + ["return"] + ["meta mark set 1", "meta mark set meta mark | 2"] * 2
    )
    if family not in ("bridge", "netdev"):
        actions += ["ct mark set 1", "meta mark set ct mark"]
    actions += ["counter"]
    actions += [f"jump {name}" for name in chains] * 2 + [f"goto {name}" for name in chains]
    if hook in ("input", "forward", "output") and family not in ("bridge", "netdev"):
        actions.append("reject")
    if hook in ("prerouting", "output") and family not in ("bridge", "netdev"):
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


def _call_iptables(chance: Chance) -> dict[str, str]:
    return {
        "net.bridge.bridge-nf-call-iptables": chance.of("0", "1"),
        "net.bridge.bridge-nf-call-ip6tables": chance.of("0", "1"),
    }


def _nft_bridge(chance: Chance, hooks: tuple[str, ...]) -> str:
    chains = []
    for number, hook in enumerate(chance.random.sample(hooks, chance.of(1, 2, 3))):
        policy = "drop" if chance.often(0.06) else "accept"
        head = f"type filter hook {hook} priority {chance.of(-300, -200, -20, 20, 100)}; policy {policy};"
        rules = "\n".join(f"    {_nft_rule(chance, 'bridge', hook, [])}" for _ in range(chance.of(1, 2)))
        chains.append(f"  chain frames{number} {{\n    {head}\n{rules}\n  }}\n")
    return f"table bridge frames {{\n{''.join(chains)}}}\n"


def _nft_devices(chance: Chance, devices: tuple[str, ...]) -> str:
    chains = []
    for hook in chance.random.sample(("ingress", "egress"), chance.of(1, 1, 2)):
        head = f"type filter hook {hook} device {chance.of(*devices)} priority {chance.of(-10, 10)};"
        rules = "\n".join(f"    {_nft_rule(chance, 'netdev', hook, [])}" for _ in range(chance.of(1, 2)))
        chains.append(f"  chain {hook} {{\n    {head}\n{rules}\n  }}\n")
    return f"table netdev wire {{\n{''.join(chains)}}}\n"


def _ipset(chance: Chance) -> str:
    """Sets of each sort for `--match-set`, of both families."""
    four, six = chance.random.sample(NETWORKS4, 3), chance.random.sample(NETWORKS6, 2)
    ports = chance.random.sample(PORTS, 2)
    lines = [
        "create nets hash:net",
        "create nets6 hash:net family inet6",
        "create ports bitmap:port range 0-9000",
    ]
    lines += [f"add nets {each}" for each in four[:2]]
    lines += [f"add nets {four[2]} nomatch"] if "/" in four[2] and four[2] not in four[:2] else []
    lines += [f"add nets6 {each}" for each in six]
    lines += [f"add ports {each}" for each in ports]
    lines += [
        "create services hash:ip,port",
        f"add services {chance.of('10.2.0.2', '10.9.0.1')},tcp:{ports[0]}",
    ]
    lines += [f"add services {chance.of('10.2.0.2', '10.3.0.2')},udp:{ports[1]}"]
    lines += ["create pairs hash:net,iface", f"add pairs 10.1.0.0/24,{chance.of('eth1', 'eth0')}"]
    lines += ["create either list:set", "add either nets", "add either services"]
    return "\n".join(lines) + "\n"


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


def _iptables_test(chance: Chance, family: str, hook: str, *, sets: bool = False) -> str:
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
        tests += [f"{chance.of('', '! ')}-i {chance.of(*chance.names, 'eth+')}"] * 3
    if hook in ("FORWARD", "OUTPUT", "POSTROUTING"):
        tests += [f"{chance.of('', '! ')}-o {chance.of(*chance.names)}"] * 3
    if sets:
        not_ = chance.of("", "", "! ")
        if family == "ip6":
            tests += [f"-m set {not_}--match-set nets6 {chance.of('src', 'dst')}"] * 4
        else:
            tests += [f"-m set {not_}--match-set nets {chance.of('src', 'dst')}"] * 3
            tests += [f"-m set {not_}--match-set services {chance.of('dst,dst', 'dst,src')}"] * 3
            tests += [f"-m set {not_}--match-set either dst,dst", f"-m set {not_}--match-set pairs src,src"]
        tests += [f"-m set {not_}--match-set ports {chance.of('src', 'dst', 'dst')}"]
    if "br0" in chance.names and hook in ("PREROUTING", "FORWARD"):
        tests += [f"-m physdev {chance.of('', '! ')}--physdev-in {chance.of('p0', 'p1')}"] * 3
    if "br0" in chance.names and hook in ("FORWARD", "POSTROUTING"):
        tests += [
            f"-m physdev --physdev-is-bridged {chance.of('', '! ')}--physdev-out {chance.of('p0', 'p1')}"
        ] * 3
    return str(chance.of(*tests))


def _iptables(chance: Chance, host: str, family: str, *, sets: bool = False) -> str:
    hooks = ["FORWARD", "FORWARD", "INPUT"] if host == "gateway" else ["INPUT", "OUTPUT"]

    def rule(hook: str, targets: list[str]) -> str:
        return f"-A {hook} {_iptables_test(chance, family, hook, sets=sets)} -j {chance.of(*targets)}\n"

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


def packets_to_send(chance: Chance, count: int, first: int) -> list[Sent]:
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
        more = chance.of(600, 1380) if laid and chance.often(0.1) else 0
        pieces = laid and not six and not more and protocol is not Protocol.TCP and chance.often(0.12)
        made.append(Sent(tag, protocol, destination, port, source, laid, more, pieces))
    return made


def switch(chance: Chance) -> Configuration:
    """A bridge between two wires, with rules of every sort that its frames can meet."""
    made = Configuration(bridged=True, sysctls=_call_iptables(chance))
    if chance.often(0.7):
        made.nft += _nft_bridge(chance, ("prerouting", "forward", "postrouting", "forward"))
    if chance.often(0.3):
        made.nft += _nft_devices(chance, ("p0", "p1"))
    if chance.often(0.6):
        family = chance.of("ip", "inet", "ip6")
        chains = ""
        for hook in chance.random.sample(
            ("prerouting", "forward", "postrouting", "input"), chance.of(1, 2, 3)
        ):
            rules = "\n".join(f"    {_nft_rule(chance, family, hook, [])}" for _ in range(chance.of(1, 2, 3)))
            head = f"type filter hook {hook} priority {chance.of(-300, -150, 0, 10)};"
            chains += f"  chain {hook} {{\n    {head}\n{rules}\n  }}\n"
        made.nft += f"table {family} above {{\n{chains}}}\n"
    if chance.often(0.6):
        tool = chance.of("legacy", "iptables_nft")
        for family in ("ip", "ip6"):
            getattr(made, tool)[family] = _iptables(chance, "gateway", family).partition("*nat")[0]
    if chance.often(0.2):
        made.ip.append(f"link set {chance.of('p0', 'p1')} mtu 1300")
    return made
