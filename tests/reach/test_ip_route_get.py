"""Where a packet is led, compared with what the kernel itself says: `ip route get`, in random states of one host."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from random import Random
from types import MappingProxyType

import pytest

from crossnet.facts import Facts
from crossnet.facts.capabilities import Capabilities
from crossnet.facts.firewall import Firewall
from crossnet.facts.links import LINKS
from crossnet.facts.policy import RULES4
from crossnet.facts.question import put
from crossnet.facts.routes import ROUTES4
from crossnet.netfilter.foreign import Field
from crossnet.reach.packets import UDP, Space
from crossnet.reach.routing import Routing
from crossnet.transport.local import Local
from crossnet.transport.netns import Netns
from crossnet.values import Family
from lacking import lacking

STATES, QUERIES = 24, 15
CARDS = ("a1", "a2", "a3")
TABLES = ("main", "77", "78")
NETWORKS = ("10.9.0.0/16", "10.9.1.0/24", "10.9.1.7/32", "10.8.0.0/15", "default", "10.2.0.128/25")
TARGETS = (
    "10.9.1.7",
    "10.9.1.8",
    "10.9.2.1",
    "10.8.0.1",
    "10.2.0.1",
    "10.2.0.9",
    "10.2.0.200",
    "10.3.0.255",
    "192.0.2.1",
)
SOURCES = ("10.1.0.5", "10.1.0.6", "10.2.0.7", "10.9.1.7")
ENDS = ("blackhole", "unreachable", "prohibit")

# What `ip` says of the errors of fib_props (net/ipv4/fib_semantics.c), and of a lookup that finds nothing.
REFUSALS = {
    "Network is unreachable": "no-route",
    "No route to host": "route-unreachable",
    "Permission denied": "route-prohibit",
    "Invalid argument": "route-blackhole",
}

Query = tuple[str, str, str, int]  # destination, source, interface by which it came, mark


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
        f"ip -n {name} addr add 10.{card[1]}.0.1/24 dev {card}\n"
        for card in CARDS
    )
    settings = (
        "cd /proc/sys/net/ipv4; echo 1 >ip_forward; for file in conf/*/rp_filter; do echo 0 >$file; done"
    )
    try:
        _sh(
            f"ip netns add {name}\nip -n {name} link set lo up\n{cards}ip netns exec {name} sh -ec '{settings}'"
        )
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


def _state(chance: Random) -> str:
    """Commands for `ip -batch` that lead a host with three cards to somewhere."""
    lines = []
    for _ in range(chance.randrange(2, 9)):
        table, to, metric = chance.choice(TABLES), chance.choice(NETWORKS), chance.choice((0, 0, 50, 100))
        card = chance.choice(CARDS)
        via = f"via 10.{card[1]}.0.{chance.choice((2, 3))} dev {card}"
        kind = chance.choice((*ENDS, "throw")) if chance.random() < 0.25 else ""
        way = f"{kind} {to}" if kind else f"{to} {chance.choice((via, via, f'dev {card}'))}"
        lines.append(f"route add {way} table {table}" + (f" metric {metric}" if metric else ""))
    for _ in range(chance.randrange(5)):
        selectors = [
            ("from 10.1.0.0/24", "from 10.1.0.5", "from 10.9.0.0/16", "from all"),
            ("", "", "to 10.9.1.0/24", "to 10.8.0.0/15"),
            ("", "", "iif a1", "iif lo", "oif a2"),
            ("", "", "fwmark 0x5", "fwmark 0x4/0x6"),
            ("", "", "", "ipproto udp", "ipproto tcp", "dport 53"),
        ]
        said = " ".join(word for some in selectors if (word := chance.choice(some)))
        action = chance.choice(
            (
                "lookup 77",
                "lookup 78",
                "lookup 78",
                *ENDS,
                "goto 32766",
                "lookup main suppress_prefixlength 0",
            )
        )
        turned = "not " if chance.random() < 0.2 else ""
        lines.append(f"rule add {turned}{said} pref {chance.randrange(90, 33000)} {action}")
    return "\n".join(lines) + "\n"


def _query(chance: Random) -> Query:
    mark = chance.choice((0, 0, 4, 5))
    if chance.random() < 0.4:
        return chance.choice(TARGETS), chance.choice(("", "", "10.1.0.1")), "", mark
    return chance.choice(TARGETS), chance.choice(SOURCES), chance.choice(("a1", "a1", "a2")), mark


def _of_the_kernel(line: str) -> str:
    """`via 10.2.0.2 dev a2`, `local`, `broadcast`, or a code, from the first line that `ip route get` prints."""
    for words, code in REFUSALS.items():
        if words in line:
            return code
    first, *said = line.split()
    if first in ("local", "broadcast"):
        return first
    via = f"via {said[said.index('via') + 1]} " if "via" in said else ""
    return f"{via}dev {said[said.index('dev') + 1]}"


def _of_reach(routing: Routing, space: Space, query: Query) -> str:
    target, source, iif, mark = query
    known = {
        Field.MARK: mark,
        Field.PROTOCOL: UDP,
        Field.SOURCE_PORT: 0,
        Field.DESTINATION_PORT: 0,
        Field.DSCP: 0,
    }
    packet = space.every(
        [
            space.ipv4,
            space.address(Field.DESTINATION4, ip_address(target)),
            space.address(Field.SOURCE4, ip_address(source or "0.0.0.0")),
            *(space.value(field, value) for field, value in known.items()),
        ]
    )
    [led] = routing.lookup(packet, Family.V4, iif=iif or "lo")
    assert led.must == led.can, "routes and rules of these states leave nothing open"
    way = led.way
    if way.route is None and way.refusal == "route-unreachable":
        return "no-route"  # what a rule refuses so is told like a way that nobody knows (fib4_rule_action)
    if way.refusal or way.type in ("local", "broadcast"):
        return way.refusal or way.type
    assert way.hop is not None
    return (f"via {way.hop.via} " if way.hop.via else "") + f"dev {way.hop.device}"


def test_the_way_of_a_packet_is_what_the_kernel_says(namespace: str) -> None:
    space, host = Space(), Netns(Local("host"), namespace)
    seen: dict[str, int] = {}
    wrong = []
    reset = "".join(f"ip route flush table {table} proto boot;" for table in TABLES)
    usual = "ip rule flush; ip rule add pref 32766 lookup main; ip rule add pref 32767 lookup default"
    for seed in range(STATES):
        chance = Random(seed)
        state = _state(chance)
        queries = [_query(chance) for _ in range(QUERIES)]
        asked = "\n".join(
            f"ip route get {target} {f'from {source}' if source else ''} {f'iif {iif}' if iif else ''}"
            f" {f'mark {mark}' if mark else ''} 2>&1 | head -n 1"
            for target, source, iif, mark in queries
        )
        script = (
            f"exec 2>&1; {reset} {usual}\nip -force -batch - <<STATE || :\n{state}STATE\necho asked\n{asked}"
        )
        argv = ["ip", "netns", "exec", namespace, "sh", "-c", script]
        told = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout
        answers = told.partition("asked\n")[2].splitlines()
        said = asyncio.run(put(host, [LINKS, ROUTES4, RULES4]))
        facts = Facts(
            host="host",
            links=said[LINKS].links,
            routes=said[ROUTES4],
            sysctls=MappingProxyType({}),
            boot_settings=(),
            neighbours=(),
            capabilities=Capabilities(frozenset(), (6, 1), False),
            firewall=Firewall(),
            policy_rules=said[RULES4],
        )
        routing = Routing(facts, space)
        for query, answer in zip(queries, answers, strict=True):
            kernel, reach = _of_the_kernel(answer), _of_reach(routing, space, query)
            seen[kernel.split()[0]] = seen.get(kernel.split()[0], 0) + 1
            if kernel != reach:
                rules = "\n".join(map(str, facts.policy_rules))
                wrong.append(
                    f"{answer} | state {seed}, {query}: kernel {kernel}, reach {reach}\n{state}{rules}"
                )
    assert not wrong, f"{len(wrong)} of {STATES * QUERIES}: \n" + "\n\n".join(wrong[:3])
    assert {"via", "dev", "local", *REFUSALS.values()} <= set(seen), seen
