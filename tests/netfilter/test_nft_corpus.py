"""Rulesets of nftables that nobody of crossnet's authors wrote: nothing lost, nearly all understood."""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beside import beside
from crossnet.netfilter.foreign import Perhaps, Rule, Table, Unknown, Why
from crossnet.netfilter.nft_foreign import read_ruleset
from lacking import lacking

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
        listed = listing(path)
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


def listing(path: Path) -> tuple[str, str] | None:
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
