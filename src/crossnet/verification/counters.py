"""The packets that a crossing's own rules counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crossnet.facts import Facts
from crossnet.facts.firewall import TABLE_FAMILY
from crossnet.netfilter import Accept, Counter, Drop, Engine, Rule, Table
from crossnet.netfilter.iptables import own_table, parse_save
from crossnet.netfilter.nft import parse_ruleset
from crossnet.netfilter.own import TABLE
from crossnet.resources import RuleTable
from crossnet.transport.batch import Answer

# Without the right to list the legacy tables (a user namespace without uid 0, for one) each is asked by name.
_SAVE = '"$1" -c 2>/dev/null && exit; for table in filter nat; do "$1" -c -t "$table" || exit; done'


@dataclass(frozen=True, slots=True)
class Counters:
    """New flows let through, new flows translated, and packets stopped by the fence; packets and bytes."""

    admitted: Counter
    translated: Counter
    fenced: Counter


def read_counters(table: RuleTable, crossing: str, facts: Facts) -> Counters:
    """The counters of one crossing as they stand; all zero where the table is not there."""
    now = table.current(facts)
    return of_crossing(now.table if now else None, crossing)


def question(table: RuleTable) -> tuple[str, ...]:
    """The command that tells the rules of this table as they stand now, with their counters."""
    if table.engine is Engine.NFTABLES:
        return ("nft", "-j", "list", "table", TABLE_FAMILY[table.family], TABLE)
    return ("sh", "-c", _SAVE, "sh", f"{table.command}-save")


def parse_table(table: RuleTable, answer: Answer) -> Table | None:
    """The table from the answer to `question`, None where it is not there; ValueError when it is not whole."""
    family = TABLE_FAMILY[table.family]
    if not answer.ok:
        return None
    if table.engine is Engine.NFTABLES:
        return next(iter(parse_ruleset(answer.text)), None)
    return own_table(parse_save(answer.text, family), (), family)


def of_crossing(found: Table | None, crossing: str) -> Counters:
    """The counters of one crossing in a table; all zero where there is none."""
    return Counters(
        _sum(rule for rule in _rules(found, "forward") if rule.comment == crossing and _accepts(rule)),
        _sum(rule for rule in _rules(found, "postrouting") if rule.comment == crossing),
        _sum(rule for rule in _rules(found, "forward") if isinstance(rule.verdict, Drop)),
    )


def _rules(table: Table | None, chain: str) -> tuple[Rule, ...]:
    found = table.chain(chain) if table else None
    return found.rules if found else ()


def _accepts(rule: Rule) -> bool:
    return isinstance(rule.verdict, Accept)


def _sum(rules: Iterable[Rule]) -> Counter:
    counted = [rule.counter for rule in rules if rule.counter]
    return Counter(sum(item.packets for item in counted), sum(item.bytes for item in counted))
