"""The packets that a crossing's own rules counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crossnet.facts import Facts
from crossnet.facts.question import Question
from crossnet.facts.tool_failures import in_kernel
from crossnet.netfilter import TABLE_FAMILY, Accept, Counter, Drop, Engine, Rule, Table
from crossnet.netfilter.iptables import own_table, parse_save
from crossnet.netfilter.iptables_own import PLACES
from crossnet.netfilter.nft import parse_ruleset
from crossnet.netfilter.own import TABLE
from crossnet.resources import RuleTable
from crossnet.transport.batch import Answer


@dataclass(frozen=True, slots=True)
class Counters:
    """New flows let through, new flows translated, and packets stopped by the fence; packets and bytes.

    `counts` is whether the rule is there that lets the crossing's flows through.
    """

    admitted: Counter
    translated: Counter
    fenced: Counter
    counts: bool = True


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
    places = [PLACES[chain.name] for chain in table.table.chains]
    words = (word for place in places for word in (place.table, place.chain))
    return Question(
        f"listed its chains with {table.command}",
        ("sh", "-c", _LIST, "sh", table.command, *words),
        lambda answer: own_table(parse_save(answer, family), (), family),
    )


# Nobody else's rules are read: there may be many, and some that this iptables cannot print. iptables-legacy makes a
# table for whoever asks for it, so not one that the kernel does not name. iptables-nft says "incompatible" of a chain
# that is not there, and of one with rules that it cannot print (1.8.9, measured): a jump to it tells which.
_LIST = r"""
tool=$1 names=
shift
case $("$tool" -V) in
*nf_tables*) ;;
*) case $tool in ip6*) names=/proc/net/ip6_tables_names ;; *) names=/proc/net/ip_tables_names ;; esac ;;
esac
while [ $# -gt 1 ]; do
    table=$1 chain=$2
    shift 2
    [ ! -r "$names" ] || grep -qx "$table" "$names" || continue
    if said=$("$tool" -w -t "$table" -v -S "$chain" 2>&1); then
        printf '*%s\n:%s - [0:0]\n' "$table" "$chain"
        printf '%s\n' "$said" | grep '^-A '
        echo COMMIT
        continue
    fi
    case $said in *"is incompatible"*) said=$said$("$tool" -w -t "$table" -C OUTPUT -j "$chain" 2>&1) ;; esac
    case $said in *"No chain/target/match by that name"* | *"does not exist"*) continue ;; esac
    echo "$said" >&2
    exit 1
done
"""


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
        found is not None and admits(found, crossing),
    )


def admits(table: Table, crossing: str) -> bool:
    """Whether a table has the rule that lets a crossing's new flows through, and counts them."""
    return any(rule.comment == crossing and _accepts(rule) for rule in _rules(table, "forward"))


def _rules(table: Table | None, chain: str) -> tuple[Rule, ...]:
    found = table.chain(chain) if table else None
    return found.rules if found else ()


def _accepts(rule: Rule) -> bool:
    return isinstance(rule.verdict, Accept)


def _sum(rules: Iterable[Rule]) -> Counter:
    counted = [rule.counter for rule in rules if rule.counter]
    return Counter(sum(item.packets for item in counted), sum(item.bytes for item in counted))
