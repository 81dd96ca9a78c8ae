"""crossnet's own chains in tables that iptables does not print any more, as nft lists them.

One rule of nft's own is enough: iptables-save says "Table `filter' is incompatible, use 'nft' tool" in place of the
table, and ends well. `nft list ruleset` prints rules of iptables in nft's words and without their comments; loading
what it printed makes every rule such a one (measured: nft 1.0.6, iptables-nft 1.8.9).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from crossnet.netfilter.foreign import Chain, Drop, Jump, Perhaps, Rule, Statement, Table
from crossnet.netfilter.iptables_own import PLACES, is_own_chain

# What nft takes for a name, and no more: chains of others may be called by words of nft, or of a shell.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9/_.-]*")

_COMMENT = 'xt match "comment"'  # nft's JSON does not say which


@dataclass(frozen=True, slots=True)
class LeftToNft:
    """In which tables own chains stand, the command that takes them out, and whether a fence goes with them."""

    tables: tuple[str, ...]
    removing: str
    holds_fence: bool


def left_to_nft(tables: Iterable[Table]) -> LeftToNft | None:
    """What of crossnet stands in these tables; None where nothing does."""
    holding = [table for table in tables if any(map(is_own_chain, table.chains))]
    if not holding:
        return None
    # In one transaction: no chain can go that is jumped into.
    lines = "; ".join(line for table in holding for line in _removing(table))
    rules = (rule for table in holding for chain in _own(table) for rule in chain.rules)
    return LeftToNft(
        tuple(table.name for table in holding),
        f"nft {shlex.quote(lines)}",
        any(_does(rule) == (Drop(),) for rule in rules),
    )


def own_jumps(tables: Iterable[Table], chain: str) -> tuple[int, ...]:
    """Where the jump to an own chain (`forward`, …) stands in its built-in chain, from 1 on."""
    place = PLACES[chain]
    found = (table.chains.get(place.entered_from) for table in tables if table.name == place.table)
    return tuple(
        at
        for entered_from in found
        if entered_from is not None
        for at, rule in enumerate(entered_from.rules, 1)
        if _does(rule) == (Jump(place.chain),)
    )


def _removing(table: Table) -> Iterator[str]:
    of = f"{table.family} {table.name}"
    chains = [chain for chain in table.chains.values() if _NAME.fullmatch(chain.name)]
    own = [chain for chain in chains if is_own_chain(chain.name)]
    for chain in chains:
        for rule in () if chain in own else chain.rules:
            if any(isinstance(each, Jump) and is_own_chain(each.chain) for each in rule.statements):
                yield f"delete rule {of} {chain.name} handle {rule.handle}"
    for chain in own:
        yield f"flush chain {of} {chain.name}"
        yield f"delete chain {of} {chain.name}"


def _own(table: Table) -> Iterator[Chain]:
    return (chain for chain in table.chains.values() if is_own_chain(chain.name))


def _does(rule: Rule) -> tuple[Statement, ...]:
    return tuple(each for each in rule.statements if not _is_comment(each))


def _is_comment(statement: Statement) -> bool:
    return isinstance(statement, Perhaps) and statement.text == _COMMENT
