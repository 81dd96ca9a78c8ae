"""Firewalls that nobody of crossnet's authors wrote, read as foreign rules: nothing lost, nearly all understood."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from beside import beside
from crossnet.netfilter.foreign import Perhaps, Rule, Statement, Table, Tool, Unknown, Why
from crossnet.netfilter.xtables_save import parse_save

GENERATIONS = ("iptables-1.4.21", "iptables-1.8.9-nft", "iptables-1.8.9-legacy")
_RULE = re.compile(r"(?:\[\d+:\d+\] )?-A ")


def read(text: str, family: str) -> tuple[Table, ...]:
    return parse_save(text, family, Tool.IPTABLES_LEGACY)


def rules(tables: tuple[Table, ...]) -> Iterator[Rule]:
    for table in tables:
        for chain in table.chains.values():
            yield from chain.rules


def not_understood(rule: Rule) -> list[str]:
    return [
        each.text
        for each in rule.statements
        if isinstance(each, Unknown) or (isinstance(each, Perhaps) and each.why is Why.NOT_UNDERSTOOD)
    ]


def dumps() -> list[Path]:
    return sorted((beside("corpus") / "iptables" / "dumps").glob("*.save"))


def family_of(path: Path) -> str:
    return "ip6" if path.name.endswith(".ip6.save") else "ip"


def test_no_chain_and_no_rule_of_the_dumps_is_lost() -> None:
    for path in dumps():
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        tables = read(text, family_of(path))
        lines = [line.rstrip() for line in text.split("\n")]
        assert sorted(rule.text for rule in rules(tables)) == sorted(
            re.sub(r"^\[\d+:\d+\] *", "", line) for line in lines if _RULE.match(line)
        ), path.name
        assert [f":{name}" for table in tables for name in table.chains] == [
            line.split(" ")[0] for line in lines if line.startswith(":")
        ], path.name


def test_the_rules_of_the_dumps_are_understood() -> None:
    unknown: Counter[str] = Counter()
    every = whole = momentary = 0
    for path in dumps():
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        for rule in rules(read(text, family_of(path))):
            every += 1
            unknown.update(not_understood(rule))
            whole += not not_understood(rule)
            momentary += any(
                isinstance(each, Perhaps) and each.why is Why.DEPENDS_ON_THE_MOMENT
                for each in rule.statements
            )
    said = f"{whole} of {every} rules, {momentary} of them depend on the moment"
    sys.stdout.write("\n".join((said, *(f"{count} {text}" for text, count in unknown.most_common()))))
    assert whole >= 0.95 * every, unknown


def test_a_rule_of_the_extensions_means_what_its_listing_means() -> None:
    """`rule;as listed;OK`: written and listed, a rule is read alike, but for the words of what is not understood."""
    for path in sorted((beside("corpus") / "iptables" / "t").glob("*.t")):
        chain, table = "", "filter"
        for line in path.read_text().splitlines():
            if line.startswith(":"):
                chain = line[1:].split(",")[0]
            elif line.startswith("*"):
                table = line[1:]
            elif line and not line.startswith("#"):
                written, listed, *_ = line.split(";")
                if re.search(r"--ctmask|--set-tos [A-Z]", written):
                    continue  # these have only the beginning of what is listed: a mask follows
                for family in (
                    ("ip", "ip6") if "xt_" in path.name else ("ip6" if "ip6t" in path.name else "ip",)
                ):
                    assert meaning(written, table, chain, family) == meaning(
                        listed if listed not in ("", "=") else written, table, chain, family
                    ), (path.name, line)


# Written with names of services, which only the host's /etc/services can resolve; iptables lists numbers
_SERVICE = re.compile(r":(ssh|ftp-data)$")


def meaning(words: str, table: str, chain: str, family: str) -> list[Statement | str]:
    services = {"ssh": "22", "ftp-data": "20"}
    words = _SERVICE.sub(lambda found: f":{services[found[1]]}", words)
    (rule,) = rules(read(f"*{table}\n:{chain} ACCEPT [0:0]\n-A {chain} {words}\nCOMMIT\n", family))
    said = [
        each.text.split(" --")[0].split(" !")[0] if isinstance(each, Perhaps | Unknown) else each
        for each in rule.statements
    ]
    return sorted(said, key=repr)


def test_three_generations_print_one_state() -> None:
    samples = beside("samples")
    for name in ("save", "save-c"):
        read_alike = [
            [
                (table.name, {name: (chain.hook, chain.rules) for name, chain in table.chains.items()})
                for table in read(printed(samples / generation / f"{name}.txt"), "ip")
            ]
            for generation in GENERATIONS
        ]
        assert len(read_alike[0]) == 3
        assert read_alike[0] == read_alike[1] == read_alike[2]
        held = [rule for _, chains in read_alike[0] for _, rules in chains.values() for rule in rules]
        assert len(held) == 14
        assert not [text for rule in held for text in not_understood(rule)]


def printed(path: Path) -> str:
    """What stands between the command and its exit status."""
    _, _, text = path.read_text().partition("\n")
    return text[: text.rindex("rc=")]
