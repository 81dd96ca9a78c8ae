"""The packets that a crossing's own rules counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crossnet.facts import Facts
from crossnet.netfilter import Accept, Counter, Drop, Rule, Table
from crossnet.resources import RuleTable


@dataclass(frozen=True, slots=True)
class Counters:
    """New flows let through, new flows translated, and packets stopped by the fence; packets and bytes."""

    admitted: Counter
    translated: Counter
    fenced: Counter


def read_counters(table: RuleTable, crossing: str, facts: Facts) -> Counters:
    """The counters of one crossing as they stand; all zero where the table is not there."""
    now = table.current(facts)
    found = now.table if isinstance(now, RuleTable) else None
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
