"""What nft's text tells of matches of iptables, of which its JSON has the name alone.

nft translates them as iptables-translate(8) does. It is read for tables that iptables itself does not print any more,
because a rule of nft's own stands in them (`Table "filter" is incompatible, use 'nft' tool`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from crossnet.netfilter.foreign import Chain, Perhaps, Rule, Statement, Table
from crossnet.netfilter.nft_foreign.matches import match

Lines = Mapping[tuple[str, str, str], tuple[str, ...]]

# The one that nearly every set of rules has. A match of one name may ask for more than a state.
_CONNTRACK = ('xt match "conntrack"', 'xt match "state"')
_COUNTED = re.compile(r"counter packets \d+ bytes \d+")
_ASKED = re.compile(r"(?<!\S)ct (\S+) (! )?(\S+)")


def rule_lines(answer: str) -> Lines:
    """`nft list ruleset`: the lines of the rules of each chain, by family, table and chain."""
    found: dict[tuple[str, str, str], list[str]] = {}
    family = table = ""
    held: list[str] | None = None
    for line in answer.split("\n"):
        words = line.split()
        if line.startswith("table ") and len(words) > 2:
            family, table = words[1:3]
        elif line.startswith("\tchain ") and len(words) > 1:
            held = found.setdefault((family, table, words[1]), [])
        elif line == "\t}":
            held = None
        elif held is not None and line.startswith("\t\t") and words[:1] not in (["type"], ["comment"]):
            held.append(line.strip())
    return {place: tuple(lines) for place, lines in found.items()}


def with_text(tables: Iterable[Table], lines: Lines) -> tuple[Table, ...]:
    """The tables, in which rules ask for what their text says; where it has as many lines as there are rules."""
    return tuple(
        replace(
            table,
            chains={
                name: _chain(chain, table.family, lines.get((table.family, table.name, name), ()))
                for name, chain in table.chains.items()
            },
        )
        for table in tables
    )


def _chain(chain: Chain, family: str, lines: Sequence[str]) -> Chain:
    if not lines or len(lines) != chain.count:
        return chain

    def read() -> tuple[Rule, ...]:
        return tuple(_rule(rule, family, line) for rule, line in zip(chain.rules, lines, strict=True))

    return replace(chain, read=read)


def _rule(rule: Rule, family: str, line: str) -> Rule:
    opaque = [each for each in rule.statements if isinstance(each, Perhaps) and each.text in _CONNTRACK]
    asked = _ASKED.findall(line)
    if len(opaque) != 1 or len(asked) != 1 or asked[0][0] != "state" or "ct state" in rule.text:
        return rule
    [(key, negation, states)] = asked
    comparison = {
        "op": "!" if negation else "in",
        "left": {"ct": {"key": key}},
        "right": states.split(","),
    }
    tests = match(comparison, family)
    statements: list[Statement] = []
    for each in rule.statements:
        statements += tests if each is opaque[0] else [each]
    return replace(rule, statements=tuple(statements), text=_COUNTED.sub("counter", line))
