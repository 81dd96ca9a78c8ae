"""The firewall rules of a host, of nftables and of both variants of iptables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crossnet.netfilter import Engine, Set, Table
from crossnet.netfilter.iptables import parse_ipset_save, parse_save
from crossnet.netfilter.nft import parse_ruleset
from crossnet.netfilter.own import TABLE
from crossnet.transport.batch import Answer
from crossnet.values import Family

# Debian's iptables has both variants under names of their own; elsewhere `iptables` is the only one.
_ONLY_PLAIN = (
    "command -v {0}-legacy-save >/dev/null || command -v {0}-nft-save >/dev/null || exec {0}-save -c"
)
# Without the right to list the legacy tables (a user namespace without uid 0, for one) each is asked by name.
_LEGACY = """
command -v {0}-legacy-save >/dev/null || exit 0
{0}-legacy-save -c 2>/dev/null && exit
for table in raw mangle nat filter; do {0}-legacy-save -c -t $table || exit; done
"""
_IF_THERE = 'command -v "$1" >/dev/null || exit 0; exec "$@"'

# What nftables calls the families; iptables' tables are of the same two.
TABLE_FAMILY = {Family.V4: "ip", Family.V6: "ip6"}

_COMMAND = {Family.V4: "iptables", Family.V6: "ip6tables"}


@dataclass(frozen=True, slots=True)
class Firewall:
    """All tables of a host; `iptables` is keyed by variant and family, and empty where nothing is loaded."""

    nft: tuple[Table, ...] = ()
    iptables: Mapping[tuple[Engine, Family], tuple[Table, ...]] = field(default_factory=dict)
    ipsets: tuple[Set, ...] = ()

    @property
    def native(self) -> tuple[Table, ...]:
        """The tables of nftables proper: those that iptables-nft keeps there are read by its own tool."""
        kept = {
            (table.family, table.name)
            for (engine, _), tables in self.iptables.items()
            if engine is Engine.IPTABLES_NFT
            for table in tables
        }
        return tuple(table for table in self.nft if (table.family, table.name) not in kept)

    def of(self, engine: Engine, family: Family) -> tuple[Table, ...]:
        return self.iptables.get((engine, family), ())

    def holds_rules(self, engine: Engine) -> bool:
        """Whether an engine has rules or a policy that is not accept, crossnet's own left out."""
        if engine is Engine.NFTABLES:
            return any(_in_use(table) for table in self.native if table.name != TABLE)
        return any(
            _in_use(table) for (of, _), tables in self.iptables.items() if of is engine for table in tables
        )


def _in_use(table: Table) -> bool:
    return any(
        (chain.hook is not None and chain.hook.policy != "accept")
        or (not is_own_chain(chain.name) and any(not is_own_jump(rule.comment) for rule in chain.rules))
        for chain in table.chains
    )


def is_own_chain(name: str) -> bool:
    return name.startswith("CROSSNET-")


def is_own_jump(comment: str) -> bool:
    return comment == "crossnet"


def questions() -> list[tuple[str, ...]]:
    """What to ask a host, in the order in which `parse_firewall` takes the answers."""
    asked = [_if_there("nft", "-j", "list", "ruleset"), _if_there("ipset", "save")]
    for command in _COMMAND.values():
        asked += [
            ("sh", "-c", _LEGACY.format(command)),
            _if_there(f"{command}-nft-save", "-c"),
            ("sh", "-c", _ONLY_PLAIN.format(command)),
        ]
    return asked


def _if_there(*argv: str) -> tuple[str, ...]:
    return ("sh", "-c", _IF_THERE, "sh", *argv)


def parse_firewall(answers: list[Answer], plain_is_nft: bool) -> Firewall:
    """The firewall from the answers to `questions()`; ValueError when one of them is not whole."""
    nft, ipsets, *saves = (answer.text if answer.ok else "" for answer in answers)
    iptables: dict[tuple[Engine, Family], tuple[Table, ...]] = {}
    for family, (legacy, with_nft, plain) in zip(_COMMAND, (saves[:3], saves[3:]), strict=True):
        engine = Engine.IPTABLES_NFT if plain_is_nft else Engine.IPTABLES_LEGACY
        iptables[Engine.IPTABLES_LEGACY, family] = parse_save(legacy, TABLE_FAMILY[family])
        iptables[Engine.IPTABLES_NFT, family] = parse_save(with_nft, TABLE_FAMILY[family])
        iptables[engine, family] += parse_save(plain, TABLE_FAMILY[family])
    return Firewall(
        nft=parse_ruleset(nft) if nft.strip() else (),
        iptables={key: tables for key, tables in iptables.items() if tables},
        ipsets=parse_ipset_save(ipsets),
    )
