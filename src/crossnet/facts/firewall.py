"""The firewall rules of a host, of nftables and of both variants of iptables."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from crossnet.facts.question import Question, Said, refuse
from crossnet.netfilter import Engine, Set, Table, foreign
from crossnet.netfilter.ipset_save import parse_ipset_save as read_sets
from crossnet.netfilter.iptables import parse_ipset_save, parse_save
from crossnet.netfilter.nft import parse_ruleset
from crossnet.netfilter.nft_foreign import dormant_tables, read_ruleset
from crossnet.netfilter.own import TABLE
from crossnet.netfilter.xtables_save import filled_sets
from crossnet.netfilter.xtables_save import parse_save as read_save
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


@dataclass(frozen=True, slots=True)
class Listed:
    """What a tool printed, and the tables in it in the form of those that crossnet writes."""

    tables: tuple[Table, ...] = ()
    text: str = ""


NFT: Question[Listed] = Question(
    "ran `nft -j list ruleset`",
    ("sh", "-c", _NFT),
    lambda answer: Listed(parse_ruleset(answer), answer) if answer.strip() else Listed(),
    lambda answer: Listed(_none_of("nft")(answer)),
)
# nft 1.0.6 prints whatever bytes lie there in place of a table's flags (measured). Asked where a table has some.
DORMANT: Question[frozenset[tuple[str, str]]] = Question(
    "ran `nft -t list ruleset`", ("nft", "-t", "list", "ruleset"), dormant_tables
)
IPSETS: Question[tuple[tuple[Set, ...], str]] = Question(
    "ran `ipset save`",
    ("sh", "-c", _IF_THERE + 'exec "$@"', "sh", "ipset", "save"),
    lambda answer: (parse_ipset_save(answer), answer),
    lambda answer: (_none_of("ipset")(answer), ""),
)


def _save(family: Family, variant: str, script: str, *words: str) -> Question[Listed]:
    tool = f"{_COMMAND[family]}-{variant}save"
    argv = ("sh", "-c", script, "sh", tool, *words)
    parse = partial(parse_save, family=TABLE_FAMILY[family])
    return Question(
        f"ran `{tool} -c`",
        argv,
        lambda answer: Listed(parse(answer), answer),
        lambda answer: Listed(_none_of(tool)(answer)),
    )


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


def flags_are_told(said: Said) -> bool:
    """Whether a table of nft has flags: then its plain listing has to be asked whether it is dormant."""
    return bool(_FLAGS.search(said[NFT].text))


_FLAGS = re.compile(r'"table": \{[^}]*"flags"')


def firewall_of(
    said: Said, *, plain_is_nft: bool, dormant: Collection[tuple[str, str]] = frozenset()
) -> Firewall:
    """The firewall from the answers to QUESTIONS; `dormant` are the tables that DORMANT tells."""
    listed: dict[tuple[Engine, Family], list[Listed]] = {}
    for family, (legacy, with_nft, plain) in SAVES.items():
        engine = Engine.IPTABLES_NFT if plain_is_nft else Engine.IPTABLES_LEGACY
        listed[Engine.IPTABLES_LEGACY, family] = [said[legacy]]
        listed[Engine.IPTABLES_NFT, family] = [said[with_nft]]
        listed[engine, family].append(said[plain])
    tables = {key: tuple(table for each in some for table in each.tables) for key, some in listed.items()}
    sets, sets_text = said[IPSETS]
    return Firewall(
        nft=said[NFT].tables,
        iptables={key: some for key, some in tables.items() if some},
        ipsets=sets,
        foreign=_foreign(said[NFT].text, listed, sets_text, dormant),
    )


def _foreign(
    nft: str,
    listed: Mapping[tuple[Engine, Family], Iterable[Listed]],
    sets_text: str,
    dormant: Collection[tuple[str, str]],
) -> tuple[foreign.Table, ...]:
    """Every table once, in the form of foreign rules."""
    filled = frozenset(name for some in listed.values() for each in some for name in filled_sets(each.text))
    sets = read_sets(sets_text, filled)
    legacy: list[foreign.Table] = []
    with_nft: dict[tuple[str, str], foreign.Table] = {}
    for (engine, family), some in listed.items():
        tool = foreign.Tool(engine)
        for each in some:
            for table in read_save(each.text, TABLE_FAMILY[family], tool, sets):
                if tool is foreign.Tool.IPTABLES_NFT:
                    with_nft[table.family, table.name] = table
                else:
                    legacy.append(table)
    found = [
        _together(table, with_nft.pop((table.family, table.name), None))
        for table in (read_ruleset(nft, dormant) if nft else ())
    ]
    return (*found, *with_nft.values(), *legacy)


# What nft has no words for, and iptables-nft has: a match or a target of xtables (nft's xt statement).
_XT = re.compile(r"\bxt (?:match|target) ")


def _together(table: foreign.Table, saved: foreign.Table | None) -> foreign.Table:
    """One table of the kernel as nft and as iptables-nft print it.

    nft prints every rule, but of a match or target of xtables only its name; iptables prints those, and a native
    rule wrongly or not at all (measured: `ip saddr { … } drop` as `-j DROP`). So nft's chains count, and in them
    iptables' words for the rules of which nft knows only a name: where both print as many rules.
    """
    if saved is None:
        return table
    chains = {
        name: _with_words(chain, saved.chains[name]) if name in saved.chains else chain
        for name, chain in table.chains.items()
    }
    return replace(table, chains=chains, sets=ChainMap({}, dict(saved.sets), dict(table.sets)))


def _with_words(chain: foreign.Chain, saved: foreign.Chain) -> foreign.Chain:
    if chain.count != saved.count:
        return chain

    def read() -> tuple[foreign.Rule, ...]:
        pairs = zip(chain.rules, saved.rules, strict=True)
        return tuple(other if _XT.search(rule.text) else rule for rule, other in pairs)

    return replace(chain, read=read)
