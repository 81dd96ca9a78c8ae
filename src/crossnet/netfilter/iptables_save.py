"""`iptables-save -c` and `ip6tables-save -c` as tables of the form."""

from __future__ import annotations

import re
from dataclasses import replace

from crossnet.netfilter import Chain, Counter, Hook, Rule, Table
from crossnet.netfilter.iptables_rule import parse_rule

# netfilter_ipv4.h: NF_IP_PRI_*; nat differs by hook (-100 before routing and for local output, else 100)
_PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
_TYPES = {"mangle": "mangle", "nat": "nat"}
_BUILT_IN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})

_CHAIN = re.compile(r":(\S+) (\S+)(?: \[\d+:\d+\])?")
_RULE = re.compile(r"(?:\[(\d+):(\d+)\] )?-A (\S+)(?: (.*))?")


def parse_save(text: str, family: str) -> tuple[Table, ...]:
    """Every table that one iptables of a host holds; `family` is `ip` or `ip6`, which the text does not say.

    Takes the output of 1.4.21 to 1.8.9, legacy and nft, with or without `-c`. No text is no table: no
    table has been used since boot. ValueError when a table has no COMMIT, for iptables-save can fail in the
    middle and still exit 0, and when a line is none of iptables-save.
    """
    tables: list[Table] = []
    name, block = "", list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith("*") and not name:
            name, block = line[1:].strip(), []
        elif line.strip() == "COMMIT" and name:
            tables.append(_table(family, name, block))
            name = ""
        elif name and line.startswith((":", "[", "-A ")):
            block.append(line)
        else:
            raise ValueError(f"line {number} is not of iptables-save: {line!r}")
    if name:
        raise ValueError(f"table {name} is not whole: iptables-save ended before its COMMIT")
    return tuple(tables)


def _table(family: str, name: str, block: list[str]) -> Table:
    hooks: dict[str, Hook | None] = {}
    rules: dict[str, list[Rule]] = {}
    for line in block:
        if declared := _CHAIN.fullmatch(line):
            chain, policy = declared.groups()
            hooks[chain] = _hook(name, chain, policy) if chain in _BUILT_IN else None
            rules[chain] = []
    user_chains = {chain for chain, hook in hooks.items() if hook is None}
    for line in block:
        if line.startswith(":"):
            continue
        parts = _RULE.fullmatch(line)
        if parts is None or parts[3] not in rules:
            raise ValueError(f"table {name}: not a rule of iptables-save: {line!r}")
        try:
            rule = parse_rule(parts[4] or "", user_chains)
        except IndexError:
            raise ValueError(f"table {name}: a rule that ends too early: {line!r}") from None
        if parts[1] is not None:
            rule = replace(rule, counter=Counter(int(parts[1]), int(parts[2])))
        rules[parts[3]].append(rule)
    return Table(
        family, name, tuple(Chain(chain, tuple(held), hooks[chain]) for chain, held in rules.items())
    )


def _hook(table: str, chain: str, policy: str) -> Hook:
    if table == "nat":
        priority = -100 if chain in ("PREROUTING", "OUTPUT") else 100
    else:
        priority = _PRIORITIES.get(table, 0)
    return Hook(chain.lower(), _TYPES.get(table, "filter"), priority, policy.lower())
