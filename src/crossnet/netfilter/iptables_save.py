"""crossnet's own chains in `iptables-save -c` and `ip6tables-save -c`, as tables of the form."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from crossnet.netfilter import Chain, Counter, Hook, Rule, Table, UnknownVerdict
from crossnet.netfilter.iptables_own import OWN_PREFIX, is_own_chain
from crossnet.netfilter.iptables_rule import parse_rule
from crossnet.netfilter.xtables_words import split_lines

# netfilter_ipv4.h: NF_IP_PRI_*; nat differs by hook (-100 before routing and for local output, else 100)
_PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
_TYPES = {"mangle": "mangle", "nat": "nat"}
_BUILT_IN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})

_CHAIN = re.compile(r":(\S+) +(\S+)(?: +\[\d+:\d+\])?\s*")
_LISTED = re.compile(r" -c (\d+) (\d+)(?= |$)")  # as `iptables -v -S` prints it
_RULE = re.compile(r"(?:\[(\d+):(\d+)\] )?-A (\S+)(?: (.*))?", re.DOTALL)
# A rule of somebody else: here it only has its place.
_FOREIGN = Rule((), UnknownVerdict("of somebody else"))


def parse_save(text: str, family: str) -> tuple[Table, ...]:
    """crossnet's own chains in each table of iptables, and the built-in ones that enter them.

    `family` is `ip` or `ip6`, which the text does not say. In a built-in chain every rule has its place, and only
    those that name an own chain are read: the others have an unknown verdict. Takes the output of 1.4.21 to 1.8.9,
    legacy and nft, with or without `-c`, and rules as `iptables -v -S` lists them. ValueError when a table has no
    COMMIT, for iptables-save can fail in the middle and still exit 0, and when a rule of an own chain is none of
    iptables-save.
    """
    tables: list[Table] = []
    block: _Block | None = None
    for line in split_lines(text):
        if line.startswith(("-A ", "[")) and block is not None:
            block.add(line)
        elif line.startswith("#") or not line.strip():
            continue
        elif line.startswith("*") and block is None:
            block = _Block(line[1:].strip())
        elif line.strip() == "COMMIT" and block is not None:
            tables.append(block.table(family))
            block = None
        elif block is None:
            raise ValueError(f"not a line of iptables-save outside of its tables: {line!r}")
        elif declared := _CHAIN.fullmatch(line):
            block.declare(declared[1], declared[2])
    if block is not None:
        raise ValueError(f"table {block.name} is not whole: iptables-save ended before its COMMIT")
    return tuple(tables)


@dataclass(slots=True)
class _Block:
    """One table while its lines come."""

    name: str
    hooks: dict[str, Hook | None] = field(default_factory=dict)
    rules: dict[str, list[Rule]] = field(default_factory=dict)
    user_chains: set[str] = field(default_factory=set)

    def declare(self, chain: str, policy: str) -> None:
        if chain not in _BUILT_IN:
            self.user_chains.add(chain)
        if chain in _BUILT_IN or is_own_chain(chain):
            self.hooks[chain] = _hook(self.name, chain, policy) if chain in _BUILT_IN else None
            self.rules.setdefault(chain, [])

    def add(self, line: str) -> None:
        parts = _RULE.fullmatch(line)
        if parts is None or parts[3] not in self.rules:
            return
        rule = _FOREIGN
        if is_own_chain(parts[3]) or OWN_PREFIX in line:
            words, counted = parts[4] or "", (parts[1], parts[2])
            if parts[1] is None and (listed := _LISTED.search(words)):
                words, counted = words[: listed.start()] + words[listed.end() :], (listed[1], listed[2])
            try:
                rule = parse_rule(words.lstrip(" "), self.user_chains)
            except (IndexError, ValueError) as error:
                if is_own_chain(parts[3]):
                    raise ValueError(f"table {self.name}: not a rule of iptables-save: {line!r}") from error
            if counted[0] is not None:
                rule = replace(rule, counter=Counter(int(counted[0]), int(counted[1])))
        self.rules[parts[3]].append(rule)

    def table(self, family: str) -> Table:
        chains = (Chain(chain, tuple(held), self.hooks[chain]) for chain, held in self.rules.items())
        return Table(family, self.name, tuple(chains))


def _hook(table: str, chain: str, policy: str) -> Hook:
    if table == "nat":
        priority = -100 if chain in ("PREROUTING", "OUTPUT") else 100
    else:
        priority = _PRIORITIES.get(table, 0)
    return Hook(chain.lower(), _TYPES.get(table, "filter"), priority, policy.lower())
