"""Where a packet is led, compared with what the kernel itself says: `ip route get`, in random states of one host."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from random import Random
from types import MappingProxyType

import pytest

from crossnet.facts import Facts
from crossnet.facts.capabilities import Capabilities
from crossnet.facts.firewall import Firewall
from crossnet.facts.links import LINKS
from crossnet.facts.policy import RULES4, RULES6
from crossnet.facts.question import put
from crossnet.facts.routes import ROUTES4, ROUTES6
from crossnet.facts.sysctls import FORWARDING
from crossnet.netfilter.foreign import Field
from crossnet.netfilter.protocol_names import PROTOCOLS
from crossnet.reach.packets import Packets, Space
from crossnet.reach.routing import Routing, Way
from crossnet.reach.sources import Sources
from crossnet.transport.local import Local
from crossnet.transport.netns import Netns
from crossnet.values import Family
from lacking import lacking

STATES, QUERIES = 24, 15
CARDS = ("a1", "a2", "a3")
TABLES = ("main", "77", "78")
ENDS = ("blackhole", "unreachable", "prohibit")


@dataclass(frozen=True)
class Numbers:
    """The addresses of one family: of the cards, of routes and of packets."""

    card: Callable[[int], str]  # the network of a card, without the last part of its address
    prefix: int
    networks: tuple[str, ...]
    targets: tuple[str, ...]
    sources: tuple[str, ...]
    sources_of_rules: tuple[str, ...]
    targets_of_rules: tuple[str, ...]
    tos: tuple[int, ...]  # of rules and of packets

    def own(self, card: str) -> str:
        return f"{self.card(int(card[1]))}1"


NUMBERS = {
    Family.V4: Numbers(
        lambda number: f"10.{number}.0.",
        24,
        (
            "10.9.0.0/16",
            "10.9.1.0/24",
            "10.9.1.7/32",
            "10.8.0.0/15",
            "default",
            "10.2.0.128/25",
            "10.2.1.128/25",
        ),
        (
            *("10.9.1.7", "10.9.1.8", "10.9.2.1", "10.8.0.1", "10.2.0.1", "10.2.0.9", "10.2.0.200"),
            *("10.3.0.255", "192.0.2.1", "10.2.1.200"),
        ),
        ("10.1.0.5", "10.1.0.6", "10.2.0.7", "10.9.1.7"),
        ("from 10.1.0.0/24", "from 10.1.0.5", "from 10.9.0.0/16", "from all"),
        ("", "", "to 10.9.1.0/24", "to 10.8.0.0/15"),
        (0x10, 0x08),
    ),
    Family.V6: Numbers(
        lambda number: f"fd00:{number}::",
        64,
        ("fd00:9::/32", "fd00:9:1::/48", "fd00:9:1::7", "fd00:8::/31", "default", "fd00:2::8000/113"),
        (
            *("fd00:9:1::7", "fd00:9:1::8", "fd00:9:2::1", "fd00:8::1", "fd00:2::1", "fd00:2::9"),
            *("fd00:2::8001", "fd00:3::", "2001:db8::1", "a000::1"),
        ),
        ("fd00:1::5", "fd00:1::6", "fd00:2::7", "fd00:9:1::7"),
        ("from fd00:1::/64", "from fd00:1::5", "from fd00:9::/32", "from all"),
        ("", "", "to fd00:9:1::/48", "to fd00:8::/31"),
        (0xB8, 0x10),
    ),
}

# States in which one thing decides that random ones rarely meet.
POINTED = {
    Family.V4: (
        "route add default via 10.2.0.2 dev a2\nroute add {end} default table 77\n"
        "rule add pref 100 lookup 77 suppress_prefixlength 0\n",
        "route add default via 10.2.0.2 dev a2\nroute add default via 10.3.0.2 dev a3 table 77\n"
        "rule add pref 100 lookup 77 suppress_ifgroup 9\n",
        "route add default via 10.2.0.2 dev a2\nrule add pref 100 goto 200\nrule add pref 300 {end}\n",
        "route add 10.2.1.128/25 dev a2\n",
    ),
    Family.V6: (
        "route add default via fd00:2::2 dev a2\nroute add {end} default table 77\n"
        "rule add pref 100 lookup 77 suppress_prefixlength 0\n",
        "route add default via fd00:2::2 dev a2\nroute add default via fd00:3::2 dev a3 table 77\n"
        "rule add pref 100 lookup 77 suppress_ifgroup 9\n",
        "route add default via fd00:2::2 dev a2 metric 5\n"
        "route add default from fd00:1::/64 via fd00:3::2 dev a3 metric 9\n",
        "route append default dev a2 metric 5 pref low\nroute append default dev a3 metric 5 pref high\n",
        "route append default dev a3 metric 5\nroute append default dev a2 metric 5 pref low\n",
    ),
}

# What `ip` says of the errors of fib_props (net/ipv4/fib_semantics.c), and of a lookup that finds nothing.
REFUSALS = {
    "Network is unreachable": "no-route",
    "No route to host": "route-unreachable",
    "Permission denied": "route-prohibit",
    "Invalid argument": "route-blackhole",
}


@dataclass(frozen=True)
class Query:
    target: str
    source: str
    iif: str  # the interface by which it came
    mark: int
    tos: int
    protocol: str
    port: int

    def __str__(self) -> str:
        words = [self.target, *(["from", self.source] if self.source else [])]
        words += ["iif", self.iif] if self.iif else []
        words += ["mark", str(self.mark)] if self.mark else []
        words += ["tos", hex(self.tos)] if self.tos else []
        return " ".join([*words, "ipproto", self.protocol, "sport", "1000", "dport", str(self.port)])


def _sh(script: str) -> str:
    return subprocess.run(
        ["sh", "-ec", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    ).stdout


@pytest.fixture
def namespace() -> Iterator[str]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        lacking("needs root and iproute2")
    name = f"route-get-{os.getpid()}"
    cards = "".join(
        f"ip -n {name} link add {card} type veth peer name f{card}\n"
        f"ip -n {name} link set f{card} up\nip -n {name} link set {card} up\n"
        + "".join(
            f"ip -n {name} addr add {numbers.own(card)}/{numbers.prefix} dev {card} {flags}\n"
            for numbers, flags in zip(NUMBERS.values(), ("", "nodad"), strict=True)
        )
        for card in CARDS
    )
    cards += f"ip -n {name} link set a3 group 9\n"
    # Others to choose from: before and behind, in the same network and in one of their own.
    for more in ("10.2.1.1/24 dev a2", "10.2.0.5/24 dev a2", "10.9.3.1/24 dev a3"):
        cards += f"ip -n {name} addr add {more}\n"
    for more in (
        "2001:db8:1::1/64 dev a1",
        "2001:db8:2::1/64 dev a2",
        "fd00:2::77/128 dev a2",
        "fd00:22::1/64 dev a2",
    ):
        cards += f"ip -n {name} addr add {more} nodad\n"
    settings = (
        "cd /proc/sys/net/ipv4; echo 1 >ip_forward; for file in conf/*/rp_filter; do echo 0 >$file; done; "
        "echo 1 >../ipv6/conf/all/forwarding"
    )
    try:
        _sh(
            f"ip netns add {name}\nip -n {name} link set lo up\n{cards}ip netns exec {name} sh -ec '{settings}'"
        )
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


def _state(chance: Random, family: Family) -> str:
    """Commands for `ip -batch` that lead a host with three cards to somewhere."""
    lines, numbers = [], NUMBERS[family]
    for _ in range(chance.randrange(2, 9)):
        table, to, metric = chance.choice(TABLES), chance.choice(numbers.networks), chance.choice((0, 0, 50))
        card = chance.choice(CARDS)
        via = f"via {numbers.card(int(card[1]))}{chance.choice((2, 3))} dev {card}"
        kind = chance.choice((*ENDS, "throw")) if chance.random() < 0.25 else ""
        way = f"{kind} {to}" if kind else f"{to} {chance.choice((via, via, f'dev {card}'))}"
        if family is Family.V4:
            way += f" tos {chance.choice(numbers.tos):#x}" if chance.random() < 0.2 else ""
        elif not kind:
            way += f" {chance.choice(numbers.sources_of_rules)}" if chance.random() < 0.3 else ""
            way += chance.choice(("", "", " pref low", " pref high"))
        verb = chance.choice(("add", "append"))
        lines.append(f"route {verb} {way} table {table}" + (f" metric {metric}" if metric else ""))
    for _ in range(chance.randrange(6)):
        selectors = [
            numbers.sources_of_rules,
            numbers.targets_of_rules,
            ("", "", "iif a1", "iif lo", "oif a2"),
            ("", "", "fwmark 0x5", "fwmark 0x4/0x6"),
            ("", "", "", "ipproto udp", "ipproto tcp", "dport 53"),
            ("", "", "", *(f"tos {tos:#x}" for tos in numbers.tos)),
        ]
        said = " ".join(word for some in selectors if (word := chance.choice(some)))
        action = chance.choice(
            (
                *("lookup 77", "lookup 78", "lookup 78", *ENDS, "goto 32766", "goto 32000", "goto 32765"),
                *("lookup main suppress_prefixlength 0", "lookup 77 suppress_ifgroup 9"),
            )
        )
        turned = "not " if chance.random() < 0.2 else ""
        priority = 32000 if chance.random() < 0.15 else chance.randrange(90, 33000)
        lines.append(f"rule add {turned}{said} pref {priority} {action}")
    return "\n".join(lines) + "\n"


def _query(chance: Random, family: Family) -> Query:
    numbers = NUMBERS[family]
    own = chance.random() < 0.4
    return Query(
        chance.choice(numbers.targets),
        chance.choice(("", "", numbers.own("a1")) if own else numbers.sources),
        "" if own else chance.choice(("a1", "a1", "a2")),
        chance.choice((0, 0, 4, 5)),
        chance.choice((0, 0, *numbers.tos)),
        chance.choice(("udp", "tcp")),
        chance.choice((9, 53)),
    )


def _of_the_kernel(line: str) -> str:
    """`via 10.2.0.2 dev a2`, `local`, `broadcast`, or a code, from the first line that `ip route get` prints."""
    for words, code in REFUSALS.items():
        if words in line:
            return code
    first, *said = line.split()
    if first in ENDS:
        return f"route-{first}"
    if first in TYPES:
        return first
    via = f"via {said[said.index('via') + 1]} " if "via" in said else ""
    return f"{via}dev {said[said.index('dev') + 1]}"


TYPES = ("local", "broadcast", "anycast")


def _packet(space: Space, query: Query, family: Family) -> Packets:
    known = {
        Field.MARK: query.mark,
        Field.PROTOCOL: PROTOCOLS[query.protocol],
        Field.SOURCE_PORT: 1000,
        Field.DESTINATION_PORT: query.port,
        Field.DSCP: query.tos >> 2,
        Field.FRAGMENT: 0,
    }
    unset = "0.0.0.0" if family is Family.V4 else "::"
    return space.every(
        [
            space.family(family),
            space.address(Field.DESTINATION6, ip_address(query.target)),
            space.address(Field.SOURCE6, ip_address(query.source or unset)),
            *(space.value(field, value) for field, value in known.items()),
        ]
    )


def _of_reach(routing: Routing, space: Space, query: Query, family: Family) -> list[str]:
    """What reach says, all that it holds possible."""
    packet = _packet(space, query, family)
    found = routing.lookup(packet, family, iif=query.iif or "lo")
    assert len(found) == 1 or not any(led.must.satisfiable() for led in found)
    assert all(led.doubts for led in found if led.must != led.can)
    return [_words(led.way) for led in found]


def _sources(routing: Routing, space: Space, query: Query, family: Family) -> set[str]:
    """The addresses that reach holds possible for what a program sends that asked for none."""
    sources = Sources(routing.facts, space)
    packet = _packet(space, query, family)
    found = routing.lookup(packet, family)
    chosen = [each for led in found for each in sources.of_a_program(led.way, family, packet)]
    assert all(each.certain for each in chosen)
    return {str(each.address) for each in chosen}


def _words(way: Way) -> str:
    if way.route is None and way.refusal == "route-unreachable":
        return "no-route"  # what a rule refuses so is told like a way that nobody knows (fib4_rule_action)
    if way.refusal or way.type in TYPES:
        return way.refusal or way.type
    assert way.hop is not None
    return (f"via {way.hop.via} " if way.hop.via else "") + f"dev {way.hop.device}"


@pytest.mark.parametrize("family", list(Family), ids=["IPv4", "IPv6"])
def test_the_way_of_a_packet_is_what_the_kernel_says(namespace: str, family: Family) -> None:
    space, host = Space(), Netns(Local("host"), namespace)
    seen: Counter[str] = Counter()
    wrong = []
    ip = f"ip -{family}"
    reset = "".join(f"{ip} route flush table {table} proto boot 2>/dev/null;" for table in TABLES)
    usual = f"{ip} rule flush; {ip} rule add pref 32766 lookup main"
    usual += f"; {ip} rule add pref 0 lookup local" if family is Family.V6 else ""
    pointed = list(dict.fromkeys(state.format(end=end) for state in POINTED[family] for end in ENDS))
    plain = [Query(target, "", "", 0, 0, "udp", 9) for target in NUMBERS[family].targets]
    for seed in range(STATES + len(pointed)):
        chance = Random(seed)
        state = _state(chance, family) if seed < STATES else pointed[seed - STATES]
        queries = [_query(chance, family) for _ in range(QUERIES)] + (plain if seed >= STATES else [])
        asked = "\n".join(f"{ip} route get {query} 2>&1 | head -n 1" for query in queries)
        script = f"exec 2>&1; {reset} {usual}\n{ip} -force -batch - <<STATE || :\n{state}STATE\necho asked\n{asked}"
        argv = ["ip", "netns", "exec", namespace, "sh", "-c", script]
        told = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout
        answers = told.partition("asked\n")[2].splitlines()
        routing = Routing(_facts(host), space)
        for query, answer in zip(queries, answers, strict=True):
            kernel, reach = _of_the_kernel(answer), _of_reach(routing, space, query, family)
            seen[kernel.split()[0]] += 1
            seen["open"] += len(reach) > 1
            sources = set()
            if not query.source and " src " in f"{answer} ":
                sources = _sources(routing, space, query, family)
                said = answer.split()
                seen["source"] += 1
            if kernel not in reach or (sources and said[said.index("src") + 1] not in sources):
                rules = "\n".join(map(str, routing.rules[family]))
                wrong.append(
                    f"{answer} | state {seed}, {query}: kernel {kernel}, reach {reach} {sources}\n{state}{rules}"
                )
    assert not wrong, f"{len(wrong)} of {seen.total()}: \n" + "\n\n".join(wrong[:3])
    assert {"via", "dev", "local", "source", *REFUSALS.values()} <= set(seen), seen
    assert seen["open"] <= (0 if family is Family.V4 else seen.total() / 20), seen


def _facts(host: Netns) -> Facts:
    said = asyncio.run(put(host, [LINKS, ROUTES4, ROUTES6, RULES4, RULES6]))
    return Facts(
        host="host",
        links=said[LINKS].links,
        routes=(*said[ROUTES4], *said[ROUTES6]),
        sysctls=MappingProxyType({FORWARDING[Family.V6]: "1"}),
        boot_settings=(),
        neighbours=(),
        capabilities=Capabilities(frozenset(), (6, 1), False),
        firewall=Firewall(),
        policy_rules=(*said[RULES4], *said[RULES6]),
    )
