"""Rules of crossnet's own among random ones of others: a kernel that has them sends the crossing's packets right."""

from __future__ import annotations

import subprocess
from collections import Counter
from ipaddress import ip_address, ip_network
from random import Random

from crossnet.design.own_rules import rules_for
from crossnet.design.question import Refused
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import MAIN
from crossnet.path import Client, Leg, Path
from crossnet.reach.packets import Space
from crossnet.reach.routing import Routing
from crossnet.resources.policy_rule import words
from crossnet.specfile import parse
from crossnet.translation import Untranslated
from crossnet.transport.local import Local
from crossnet.transport.netns import Netns
from crossnet.values import Family
from reach.test_ip_route_get import Query, _facts, _of_reach, namespace

__all__ = ["namespace"]  # a fixture

STATES = 40
CLIENT, TARGET, WAY = "10.1.0.5", "10.9.1.8", "10.9.1.0/24 via 10.2.0.2 dev a2"
SPEC = """\
crossnet: 1
hosts: {app: {local: true}, gateway: {local: true}}
crossings: {business: {from: app, via: gateway, to: 10.9.1.0/24, egress: a2}}
"""


def path() -> Path:
    client = Client(ip_network(f"{CLIENT}/32"), ip_address("10.1.0.1"))
    (crossing,) = parse(SPEC, "crossnet.yaml").crossings
    leg = Leg(crossing.via, "a1", "a2", Untranslated())
    return Path(crossing, Family.V4, (client,), (ip_network("10.9.1.0/24"),), (leg,))


def state(chance: Random) -> str:
    """Tables that lead astray, and rules that look packets up there, or go past each other."""
    lines = [
        f"route add {chance.choice(('', '', 'blackhole '))}{to} table {table}"
        for table in (77, 78)
        for to in ("10.9.0.0/16", "10.1.0.0/24", "default")
        if chance.random() < 0.6
    ]
    lines = [
        line if "blackhole" in line else line.replace(" table", " via 10.3.0.2 dev a3 table")
        for line in lines
    ]
    for priority in (100, 200, 300, 400):
        selectors: list[tuple[str, ...]] = [
            ("from all", "from 10.1.0.0/24", "not from 10.1.0.5"),
            ("", "iif a1", "to 10.9.1.0/24"),
            ("", "", "ipproto udp", "dport 53", "tos 0x8", "fwmark 0x5"),
        ]
        said = " ".join(word for some in selectors if (word := chance.choice(some)))
        ahead = chance.choice([each for each in (200, 300, 400, 32766) if each > priority])
        actions = ("lookup 77", "lookup 78", "prohibit", "lookup main suppress_prefixlength 0")
        action = chance.choice((*actions, f"goto {ahead}", f"goto {ahead}"))
        lines += [f"rule add {said} pref {priority} {action}"] if chance.random() < 0.8 else []
    return "\n".join(lines) + "\n"


def queries(chance: Random) -> list[Query]:
    """Requests, and the answers to them."""
    protocol, port, tos = chance.choice(("udp", "tcp")), chance.choice((9, 53)), chance.choice((0, 8))
    return [
        Query(TARGET, CLIENT, "a1", 0, tos, protocol, port),
        Query(CLIENT, TARGET, "a2", 0, tos, protocol, port),
    ]


def test_own_rules_keep_packets_on_their_way_among_any_of_others(namespace: str) -> None:
    host, seen = Netns(Local("gateway"), namespace), Counter[str]()
    reset = "".join(f"ip route flush table {table} proto boot; " for table in ("main", 77, 78))
    reset += "ip rule flush; ip rule add pref 32766 lookup main"
    for seed in range(STATES):
        chance = Random(seed)
        others = state(chance)
        ran(namespace, f"{reset}; ip route add {WAY}; ip -force -batch - <<STATE || :\n{others}STATE")
        facts = _facts(host)
        try:
            needed = rules_for(path(), {"gateway": facts})[0].get("gateway", ())
        except Refused as refused:
            seen.update(refusal.code for refusal in refused.refusals)
            continue
        seen["needed" if needed else "none"] += 1
        own = "; ".join(f"ip rule add {' '.join(words(item.rule))}" for item in needed)
        asked = [query for _ in range(6) for query in queries(chance)]
        told = ran(
            namespace, own, *(f"ip route get {query} 2>&1 | head -n 1" for query in asked)
        ).splitlines()
        space = Space()
        in_main = Routing(facts, space).with_rules(Family.V4, [PolicyRule(Family.V4, 32766, table=MAIN)])
        for query, answer in zip(asked, told, strict=True):
            (way,) = _of_reach(in_main, space, query, Family.V4)
            meant = "dev a2" if query.iif == "a1" else "dev a1"
            if way.endswith(meant):
                assert f" {meant} " in answer, f"state {seed}, {query}: {answer}\n{own}\n{others}"
    assert min(seen["needed"], seen["none"]) > 10, seen


def ran(namespace: str, *lines: str) -> str:
    argv = ["ip", "netns", "exec", namespace, "sh", "-c", "\n".join(lines)]
    return subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    ).stdout
