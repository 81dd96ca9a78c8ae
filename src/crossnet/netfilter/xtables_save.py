"""`iptables-save` and `ip6tables-save` as tables of foreign rules, from 1.4.21 to today, legacy and nft.

The lines are only sorted to their chains; a rule is read when somebody asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import MappingProxyType

from crossnet.netfilter.foreign import Chain, Hook, Rule, Set, Table, Tool
from crossnet.netfilter.ipset_save import Held, IpSet
from crossnet.netfilter.xtables_options import Surroundings
from crossnet.netfilter.xtables_rule import read_rule
from crossnet.netfilter.xtables_words import split_lines

# netfilter_ipv4.h: NF_IP_PRI_*; nat before routing and for what the host sends, else after
_PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
_FIRST_NAT = frozenset({"PREROUTING", "OUTPUT"})
_BUILT_IN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})

_CHAIN = re.compile(r":(\S+) +(\S+)(?: +\[\d+:\d+\])?\s*")
_RULE = re.compile(r"(?:\[\d+:\d+\] *)?-A +([^ ]+)")
_JUMP = re.compile(r" (?:-j|-g|--jump|--goto) +(\S+)")
_FILLS = re.compile(r"--(?:add|del|map)-set +(\S+)")


def parse_save(
    text: str, family: str, tool: Tool, sets: Mapping[str, IpSet] = MappingProxyType({})
) -> tuple[Table, ...]:
    """Every table that one iptables of a host holds; `family` is `ip` or `ip6`, which the text does not say.

    `sets` are the ipsets of the host, of both families. No text is no table. ValueError when a table has no
    COMMIT, for iptables-save can fail in the middle and still exit 0. A line that is none of iptables-save, or a
    rule of a chain that nobody declared, becomes an unknown rule of its own.
    """
    tables: list[Table] = []
    held = Held(sets)
    block: _Block | None = None
    last = ""
    for line in split_lines(text):
        if line.startswith(("-A ", "[")) and block is not None:
            last = block.add(line, last)
        elif line.startswith("#") or not line.strip():
            continue
        elif line.startswith("*") and block is None:
            block, last = _Block(line[1:].strip(), family, sets), ""
        elif line.strip() == "COMMIT" and block is not None:
            tables.append(block.table(tool, held))
            block = None
        elif block is None:
            raise ValueError(f"not a line of iptables-save outside of its tables: {line!r}")
        elif not block.declare(line):
            block.add(line, last)
    if block is not None:
        raise ValueError(f"table {block.name} is not whole: iptables-save ended before its COMMIT")
    return tuple(tables)


def filled_sets(text: str) -> frozenset[str]:
    """The ipsets that rules of this iptables-save add to or delete from (the target SET)."""
    return frozenset(_FILLS.findall(text)) if "-set" in text else frozenset()


@dataclass(eq=False)
class _Block:
    """One table while its lines come: the chains in order, and to each its lines."""

    name: str
    family: str
    sets: Mapping[str, IpSet]
    policies: dict[str, str] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)

    def declare(self, line: str) -> bool:
        """`:FORWARD DROP [0:0]`; false when it is something else."""
        declared = _CHAIN.fullmatch(line)
        if declared is None:
            return False
        self.policies[declared[1]] = declared[2]
        self.lines.setdefault(declared[1], [])
        return True

    def add(self, line: str, last: str) -> str:
        """Give a line to its chain, and one that names none to the chain of the line before; its chain."""
        if line.startswith("-A "):
            end = line.find(" ", 3)
            chain = line[3:] if end < 0 else line[3:end]
        else:
            rule = _RULE.match(line)
            chain = "" if rule is None else rule[1]
        if chain in self.lines:
            self.lines[chain].append(line)
            return chain
        if chain or last:
            # a rule of a chain that no line declares: a file may leave out a built-in chain
            chain = chain or last
            self.lines.setdefault(chain, []).append(line)
            return chain
        for each in self._built_in:
            self.lines[each].append(line)
        return ""

    def table(self, tool: Tool, sets: Mapping[str, Set]) -> Table:
        surroundings = Surroundings(
            tool,
            self.family,
            frozenset(self.lines.keys() - self._built_in),
            self.sets,
            self.reached_from,
        )
        chains = {
            chain: Chain(chain, self._hook(chain), len(lines), partial(_read, lines, chain, surroundings))
            for chain, lines in self.lines.items()
        }
        return Table(tool, self.family, self.name, MappingProxyType(chains), ipsets=sets)

    @property
    def _built_in(self) -> frozenset[str]:
        """The chains that the kernel enters: a chain that somebody made may have the name of one, but no policy."""
        return frozenset(each for each in self.lines.keys() & _BUILT_IN if self.policies.get(each) != "-")

    def _hook(self, chain: str) -> Hook | None:
        if chain not in self._built_in:
            return None
        if self.name == "nat":
            kind, priority = "nat", -100 if chain in _FIRST_NAT else 100
        else:
            # what mangle changes of a packet that the host sends is routed anew (iptable_mangle.c)
            kind = "route" if (self.name, chain) == ("mangle", "OUTPUT") else "filter"
            priority = _PRIORITIES.get(self.name, 0)
        return Hook(chain.lower(), kind, priority, self.policies.get(chain, "ACCEPT").lower())

    def reached_from(self, chain: str) -> frozenset[str]:
        return self._reached.get(chain, frozenset()) | ({chain} & self._built_in)

    @cached_property
    def _reached(self) -> dict[str, frozenset[str]]:
        jumps = {
            chain: {target for line in lines for target in _JUMP.findall(line)} & self.lines.keys()
            for chain, lines in self.lines.items()
        }
        reached: dict[str, set[str]] = {}
        for built_in in self._built_in:
            seen: set[str] = set()
            todo = [built_in]
            while todo:
                for target in jumps[todo.pop()] - seen:
                    seen.add(target)
                    todo.append(target)
                    reached.setdefault(target, set()).add(built_in)
        return {chain: frozenset(built_in) for chain, built_in in reached.items()}


def _read(lines: list[str], chain: str, where: Surroundings) -> tuple[Rule, ...]:
    return tuple(read_rule(line, chain, where) for line in lines)
