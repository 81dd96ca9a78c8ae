"""The packets that a crossing's own rules counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crossnet.facts import Facts
from crossnet.facts.firewall import LEGACY, TABLE_FAMILY, in_kernel
from crossnet.facts.question import Question
from crossnet.netfilter import Accept, Counter, Drop, Engine, Rule, Table
from crossnet.netfilter.iptables import own_table, parse_save
from crossnet.netfilter.nft import parse_ruleset
from crossnet.netfilter.own import TABLE
from crossnet.resources import RuleTable
from crossnet.transport.batch import Answer


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


def question(table: RuleTable) -> Question[Table | None]:
    """What tells the rules of this table as they stand now, with their counters; None where it is not there."""
    family = TABLE_FAMILY[table.family]
    if table.engine is Engine.NFTABLES:
        return Question(
            f"read the counters of its table {family} {TABLE}",
            ("nft", "-j", "list", "table", family, TABLE),
            lambda answer: next(iter(parse_ruleset(answer)), None),
            _no_table,
        )
    save = f"{table.command}-save"

    def failed(answer: Answer) -> None:
        in_kernel(answer, save)

    return Question(
        f"read the counters of {save}",
        ("sh", "-c", LEGACY, "sh", save) if table.engine is Engine.IPTABLES_LEGACY else (save, "-c"),
        lambda answer: own_table(parse_save(answer, family), (), family),
        failed,
    )


def _no_table(answer: Answer) -> None:
    """nft says `Error: No such file or directory` of a table that is not there (ENOENT)."""
    if answer.stdout.strip() or "No such file or directory" not in answer.error_text:
        in_kernel(answer, "nft")


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
