"""The firewall rules of a host, of nftables and of both variants of iptables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from crossnet.facts.question import Question, Said, refuse
from crossnet.netfilter import Engine, Set, Table, foreign
from crossnet.netfilter.iptables import parse_ipset_save, parse_save
from crossnet.netfilter.nft import parse_ruleset
from crossnet.netfilter.own import TABLE
from crossnet.transport.batch import Answer
from crossnet.values import Family

# Debian's iptables has both variants under names of their own; elsewhere `iptables` is the only one.
_ONLY_PLAIN = """
command -v {0}-legacy-save >/dev/null || command -v {0}-nft-save >/dev/null && exit
command -v {0}-save >/dev/null || exit 0
exec {0}-save -c
"""
# Without the right to list the legacy tables (a user namespace without uid 0, for one) each is asked by name. There
# the kernel loads no module: a table that does not exist is none.
LEGACY = r"""
"$1" -c 2>/dev/null && exit
for table in raw mangle nat filter; do
    "$1" -c -t $table 2>/dev/null && continue
    said=$("$1" -c -t $table 2>&1 >/dev/null)
    case $said in *"does not exist"*) ;; *) echo "$said" >&2 && exit 1 ;; esac
done
"""
_IF_THERE = 'command -v "$1" >/dev/null || exit 0\n'
# An nft without JSON (before 0.9, or built so) can still say that there are no rules.
_NFT = """
command -v nft >/dev/null || exit 0
nft -j list ruleset && exit
code=$?
rules=$(nft list ruleset) && [ -z "$rules" ] || exit $code
"""

# What the tools say where the kernel has nothing for rules to be in, neither built in nor as a module (measured, and
# nfnetlink.c, libiptc.c). Everything else that fails only could not look.
_NOT_IN_KERNEL = (
    "Protocol not supported",
    "Operation not supported",
    "Address family not supported",
    "cache initialization failed: Invalid argument",
    "generation id: Invalid argument",
    "do you need to insmod?",
    "Cannot open session to kernel",
)

# What nftables calls the families; iptables' tables are of the same two.
TABLE_FAMILY = {Family.V4: "ip", Family.V6: "ip6"}

_COMMAND = {Family.V4: "iptables", Family.V6: "ip6tables"}


@dataclass(frozen=True, slots=True)
class Firewall:
    """All tables of a host; `iptables` is keyed by variant and family, and empty where nothing is loaded."""

    nft: tuple[Table, ...] = ()
    iptables: Mapping[tuple[Engine, Family], tuple[Table, ...]] = field(default_factory=dict)
    ipsets: tuple[Set, ...] = ()
    foreign: tuple[foreign.Table, ...] = ()  # whoever made them, in the form in which they can be walked

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


def in_kernel(answer: Answer, tool: str) -> None:
    """Nothing where the kernel has no such firewall at all; else the error that the tool told."""
    if answer.stdout.strip() or not any(words in answer.error_text for words in _NOT_IN_KERNEL):
        refuse(answer, tool)


def _none_of(tool: str) -> Callable[[Answer], tuple[()]]:
    def failed(answer: Answer) -> tuple[()]:
        in_kernel(answer, tool)
        return ()

    return failed


NFT: Question[tuple[Table, ...]] = Question(
    "ran `nft -j list ruleset`",
    ("sh", "-c", _NFT),
    lambda answer: parse_ruleset(answer) if answer.strip() else (),
    _none_of("nft"),
)
IPSETS: Question[tuple[Set, ...]] = Question(
    "ran `ipset save`",
    ("sh", "-c", _IF_THERE + 'exec "$@"', "sh", "ipset", "save"),
    parse_ipset_save,
    _none_of("ipset"),
)


def _save(family: Family, variant: str, script: str, *words: str) -> Question[tuple[Table, ...]]:
    tool = f"{_COMMAND[family]}-{variant}save"
    argv = ("sh", "-c", script, "sh", tool, *words)
    parse = partial(parse_save, family=TABLE_FAMILY[family])
    return Question(f"ran `{tool} -c`", argv, parse, _none_of(tool))


# By family: the legacy variant, the nft variant, and the plain name where there is no other.
SAVES = {
    family: (
        _save(family, "legacy-", _IF_THERE + LEGACY),
        _save(family, "nft-", _IF_THERE + 'exec "$@"', "-c"),
        _save(family, "", _ONLY_PLAIN.format(command)),
    )
    for family, command in _COMMAND.items()
}

QUESTIONS: tuple[Question[Any], ...] = (NFT, IPSETS, *SAVES[Family.V4], *SAVES[Family.V6])


def firewall_of(said: Said, *, plain_is_nft: bool) -> Firewall:
    """The firewall from the answers to QUESTIONS."""
    iptables: dict[tuple[Engine, Family], tuple[Table, ...]] = {}
    for family, (legacy, with_nft, plain) in SAVES.items():
        engine = Engine.IPTABLES_NFT if plain_is_nft else Engine.IPTABLES_LEGACY
        iptables[Engine.IPTABLES_LEGACY, family] = said[legacy]
        iptables[Engine.IPTABLES_NFT, family] = said[with_nft]
        iptables[engine, family] += said[plain]
    return Firewall(
        nft=said[NFT],
        iptables={key: tables for key, tables in iptables.items() if tables},
        ipsets=said[IPSETS],
    )
