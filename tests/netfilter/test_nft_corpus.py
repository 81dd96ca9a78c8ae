"""Rulesets of nftables that nobody of crossnet's authors wrote: nothing lost, nearly all understood."""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from beside import beside
from crossnet.netfilter.foreign import AnyOf, Field, Perhaps, Rule, Table, Test, Unknown, Why
from crossnet.netfilter.nft_foreign import read_ruleset
from lacking import lacking
from netfilter.evaluate import Walk
from netfilter.frames import POOL, Pool, draw
from netfilter.wire import Host, listing, send

# A namespace of its own for each file, with the interfaces that such files name.
LOAD = """
ip link set lo up
for name in eth0 wan lan wlan0 ens3 enp1s0; do ip link add "$name" type veth peer name "$name-peer"; done
nft -f "$1" 2>&1 >/dev/null || exit 9
nft -j list ruleset && nft list ruleset >&2
"""
_LISTED_CHAIN = re.compile(r"^\tchain (\S+) \{", re.MULTILINE)


def rules(tables: Iterable[Table]) -> Iterator[Rule]:
    for table in tables:
        for chain in table.chains.values():
            assert chain.count == len(chain.rules)
            yield from chain.rules


def not_understood(rule: Rule) -> list[str]:
    return [
        each.text
        for each in rule.statements
        if isinstance(each, Unknown) or (isinstance(each, Perhaps) and each.why is Why.NOT_UNDERSTOOD)
    ]


def printed(document: Any, kind: str) -> list[Any]:
    return [each[kind] for each in document["nftables"] if kind in each]


def nothing_is_lost(document: Any, tables: tuple[Table, ...]) -> None:
    assert [(each["family"], each["name"]) for each in printed(document, "table")] == [
        (table.family, table.name) for table in tables
    ]
    for kind in ("chain", "set", "map"):
        assert sorted(
            (each["family"], each["table"], each["name"]) for each in printed(document, kind)
        ) == sorted(
            (table.family, table.name, name)
            for table in tables
            for name in {"chain": table.chains, "set": table.sets, "map": table.maps}[kind]
        )
    assert len(printed(document, "rule")) == len(list(rules(tables)))
    for table in tables:
        assert all(table.sets[name].name == name for name in table.sets)
        assert all(table.maps[name].name == name for name in table.maps)


@pytest.mark.lab
def test_rulesets_of_real_hosts() -> None:
    """Those that load here: templates, and those that name users and interfaces of their host, do not."""
    files = sorted((beside("corpus") / "nft" / "real").glob("*.nft"))
    if shutil.which("nft") is None:
        lacking("not on this machine: nft")
    unknown: collections.Counter[str] = collections.Counter()
    every = whole = loaded = 0
    for path in files:
        listed = loaded_listing(path)
        if listed is None:
            continue
        loaded += 1
        text, plain = listed
        tables = read_ruleset(text)
        nothing_is_lost(json.loads(text), tables)
        assert sorted(_LISTED_CHAIN.findall(plain)) == sorted(
            name for table in tables for name in table.chains
        ), path
        for rule in rules(tables):
            every += 1
            unknown.update(not_understood(rule))
            whole += not not_understood(rule)
    sys.stdout.write(f"{loaded} of {len(files)} files, {whole} of {every} rules\n")
    sys.stdout.write("\n".join(f"{count} {text}" for text, count in unknown.most_common()))
    assert loaded > 100
    assert whole >= 0.98 * every, unknown


def loaded_listing(path: Path) -> tuple[str, str] | None:
    """What nft prints of the file's rules, as JSON and plainly."""
    new = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--net")
    argv = (*new, "sh", "-c", LOAD, "sh", str(path))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return (done.stdout, done.stderr) if done.returncode == 0 and done.stdout.startswith("{") else None


def test_the_dumps_of_a_later_nft() -> None:
    every = whole = 0
    for line in (beside("corpus") / "nft" / "dumps.jsonl").read_text().splitlines():
        dump = json.loads(line)
        if "json" not in dump:
            continue
        tables = read_ruleset(json.dumps(dump["json"]))
        nothing_is_lost(dump["json"], tables)
        assert {table.name for table in tables if table.dormant} == {
            each["name"] for each in printed(dump["json"], "table") if "flags" in each
        }
        for rule in rules(tables):
            every += 1
            whole += not not_understood(rule)
    sys.stdout.write(f"{whole} of {every} rules\n")
    assert whole >= 0.9 * every


def test_every_expression_of_nft_is_read() -> None:
    """nft's own tests name everything that it can say; half of it is about headers that no firewall names."""
    every = whole = 0
    for line in (beside("corpus") / "nft" / "json.jsonl").read_text().splitlines():
        test = json.loads(line)
        family = test["file"].split("__")[0]
        place = {"family": "inet" if family == "any" else family, "table": "t", "chain": "c"}
        text = json.dumps({"nftables": [{"rule": {**place, "expr": test["expr"]}}]})
        (rule,) = rules(read_ruleset(text))
        assert rule.text
        every += 1
        whole += not not_understood(rule)
    sys.stdout.write(f"{whole} of {every} rules\n")
    assert whole >= 0.57 * every


# ---- and what the kernel makes of them ---------------------------------------------------------------

SEED, FILES, PACKETS = 8, 15, 400
# At the raw priority connection tracking has not seen a packet yet: it has no flow, and its state is invalid.
RAW = {"type": "filter", "hook": "prerouting", "prio": -300, "policy": "accept"}


@pytest.mark.lab
def test_the_tests_of_real_hosts_hold_for_the_packets_that_the_kernel_counted(host: Host) -> None:
    """Of some rulesets what each rule tests before it acts, with a counter behind, where packets at random arrive."""
    chance = random.Random(SEED)
    files = sorted((beside("corpus") / "nft" / "real").glob("*.nft"))
    listed = [each for path in chance.sample(files, 3 * FILES) if (each := loaded_listing(path)) is not None]
    cards = {name: host.hardware(name) for name in ("wan0", "lan0")}
    for end in ("eth0", "wan", "lan", "wlan0", "ens3", "enp1s0"):
        host.run("ip", "link", "add", end, "type", "veth", "peer", "name", f"{end}-peer")
    compared = met = 0
    for text, _ in listed[:FILES]:
        # what came by the interface of such a host comes by ours
        text = re.sub(r'("key": "iif(?:name)?"\}\}, "right": )"[^"@]*"', r'\1"wan0"', text)
        host.run("nft", "flush", "ruleset")
        host.run("nft", "-j", "-f", "-", text=json.dumps({"nftables": counting(json.loads(text))}))
        drawn = [draw(number, chance, cards, later=False, pool=pool_of(text)) for number in range(PACKETS)]
        drawn = [
            each for each in drawn if not each.fields[Field.MORE_FRAGMENTS]
        ]  # reassembly would keep them
        send(host, drawn)
        for table in read_ruleset(listing(host)):
            walk = Walk(table)
            seen = [
                {**each.fields, Field.CT_STATE: 1}
                for each in drawn
                if table.family == "inet" or each.fields[Field.FAMILY] == (4 if table.family == "ip" else 6)
            ]
            for rule in table.chains["counting"].rules:
                tests = [each for each in rule.statements if isinstance(each, Test | AnyOf)]
                if len(tests) == len(rule.statements):
                    holds = sum(all(walk.holds(test, packet) for test in tests) for packet in seen)
                    assert rule.counter is not None
                    assert holds == rule.counter.packets, rule.text
                    compared += 1
                    met += holds > 0
    sys.stdout.write(f"{compared} rules compared, {met} of them met by a packet\n")
    assert compared > 100
    assert met > compared / 3


def counting(document: Any) -> list[Any]:
    """Commands that make the same tables and sets, with one chain of what the rules test, each with a counter."""
    commands: list[Any] = []
    for each in document["nftables"]:
        ((kind, body),) = each.items()
        if body.get("family") not in ("ip", "ip6", "inet"):
            continue
        if kind == "table":
            place = {"family": body["family"], "table": body["name"]}
            commands.append({"add": {"table": {"family": body["family"], "name": body["name"]}}})
            commands.append({"add": {"chain": {**place, "name": "counting", **RAW}}})
        elif kind == "set":
            commands.append({"add": {"set": body}})
        elif kind == "rule":
            tests = list(
                itertools.takewhile(lambda each: isinstance(each, dict) and "match" in each, body["expr"])
            )
            if tests and "fib" not in str(tests):
                rule = {"family": body["family"], "table": body["table"], "chain": "counting"}
                commands.append({"add": {"rule": {**rule, "expr": [*tests, {"counter": None}]}}})
    return commands


def pool_of(text: str) -> Pool:
    """What the rules name, and what they do not; of addresses those that a host lets in from outside."""
    found: dict[int, set[str]] = {4: set(POOL.v4), 6: set(POOL.v6)}
    for word in re.findall(r'"([0-9a-f]+[.:][0-9a-f.:]+)"', text):
        with contextlib.suppress(ValueError):
            address = ip_address(word)
            if not (address.is_loopback or address.is_unspecified or address.is_multicast):
                found[address.version].add(word)
    ports = {int(port) for port in re.findall(r'port"\}\}, "right": (\d+)', text)}
    return Pool(tuple(sorted(found[4])), tuple(sorted(found[6])), tuple(sorted(ports | set(POOL.ports))))
