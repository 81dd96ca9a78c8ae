"""The firewall rules of a host, of nftables and of both variants of iptables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from crossnet.facts.question import Question, Said, Unanswered, refuse
from crossnet.netfilter import Engine, Set, Table
from crossnet.netfilter import foreign as form
from crossnet.netfilter.ipset_save import parse_ipset_save as read_sets
from crossnet.netfilter.iptables import parse_ipset_save, parse_save
from crossnet.netfilter.iptables_own import is_own_chain
from crossnet.netfilter.nft_foreign import (
    Lines,
    devices_of,
    dormant_tables,
    read_ruleset,
    rule_lines,
    with_text,
)
from crossnet.netfilter.nft_json import OwnTables
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
# The kernel makes a legacy table for whoever asks for it by name: so only where it says that it has some. Without the
# right to see that (a user namespace without uid 0, for one) each is asked by name. There the kernel loads no module:
# a table that does not exist is none.
LEGACY = r"""
case $1 in ip6*) names=/proc/net/ip6_tables_names ;; *) names=/proc/net/ip_tables_names ;; esac
if { read -r there || there=; } 2>/dev/null <"$names"; then
    [ -n "$there" ] || exit 0
    exec "$1" -c
fi
[ -e /proc/net/dev ] && [ ! -e "$names" ] && exit 0
for table in raw mangle nat filter; do
    "$1" -c -t $table 2>/dev/null && continue
    said=$("$1" -c -t $table 2>&1 >/dev/null)
    case $said in *"does not exist"*) ;; *) echo "$said" >&2 && exit 1 ;; esac
done
"""
_IF_THERE = 'command -v "$1" >/dev/null || exit 0\n'
# An nft without JSON (before 0.9, or built so) can still say that there are no rules.
_NO_JSON = 64
_NFT = """
command -v nft >/dev/null || exit 0
nft -j list ruleset && exit
code=$?
rules=$(nft list ruleset) && [ -z "$rules" ] && exit @NO_JSON@
exit $code
""".replace("@NO_JSON@", str(_NO_JSON))
# What is left of a ruleset that nft cannot print as a whole: crossnet's own tables, and of the others each chain that
# can be printed. One that cannot has a rule of which nobody knows what it does.
_UNPRINTABLE = 65
_OWN_UNPRINTABLE = 67
_PARTS = (
    r"""
for family in ip ip6; do
    nft list table $family @TABLE@ >/dev/null 2>&1 || continue
    said=$(nft -j list table $family @TABLE@) || {
        echo "nft cannot print its table $family @TABLE@ as JSON" >&2
        exit @OWN@
    }
    printf '%s\n' "$said"
done
chains=$(nft -j list chains 2>/dev/null) || {
    nft list tables
    exit @UNPRINTABLE@
}
printf '%s\n' "$chains"
for what in sets maps; do
    said=$(nft -j list $what 2>/dev/null) && printf '%s\n' "$said"
done
nft list chains | while read -r word first second rest; do
    case $word in
        table) family=$first table=$second ;;
        chain)
            case $family,$table in ip,@TABLE@ | ip6,@TABLE@) continue ;; esac
            said=$(nft -j list chain "$family" "$table" "$first" 2>/dev/null </dev/null) || said='{"nftables": [{"rule":
{"family": "'$family'", "table": "'$table'", "chain": "'$first'", "expr": ["rules that nft cannot print"]}}]}'
            printf '%s\n' "$said"
            ;;
    esac
done
""".replace("@TABLE@", TABLE)
    .replace("@UNPRINTABLE@", str(_UNPRINTABLE))
    .replace("@OWN@", str(_OWN_UNPRINTABLE))
)
# The same of an iptables: one rule whose extension is missing ends iptables-save in the middle of its table. So each
# table by itself, and of one that is not whole each chain, and of such a chain each rule; what is printed of a rule
# before its extension is kept, and what the tool says of it stands in the place of its target. iptables-nft prints
# empty chains of a table that is not there.
_PIECES = r"""
set -f
save=$1 tool=${1%-save}
case $1 in ip6*) names=/proc/net/ip6_tables_names ;; *) names=/proc/net/ip_tables_names ;; esac
with_nft=
case $("$tool" -V 2>/dev/null) in *nf_tables*) with_nft=yes ;; esac
if [ "$with_nft" ]; then
    tables='raw mangle nat filter security'
else
    tables=$(cat "$names" 2>/dev/null) || tables='raw mangle nat filter'
fi
listed() { "$tool" -w -t "$table" -v -S "$@" 2>/dev/null; }
for table in $tables; do
    if said=$("$save" -c -t "$table" 2>/dev/null) && printf '%s\n' "$said" | grep -qx COMMIT; then
        if [ ! "$with_nft" ] || printf '%s\n' "$said" | grep -qE '^(\[|-A |:[^ ]+ (-|DROP) )'; then
            printf '%s\n' "$said"
        fi
        continue
    fi
    case $said in *"
:"*) ;; *) echo "its table $table cannot be listed" >&2 && exit 1 ;; esac
    printf '%s\n' "$said" | grep '^[*:]'
    for chain in $(printf '%s\n' "$said" | sed -n 's/^:\([^ ]*\) .*/\1/p'); do
        rules=$(listed "$chain") && {
            printf '%s\n' "$rules" | grep '^-A '
            continue
        }
        number=0
        while number=$((number + 1)) && [ $number -le @MOST@ ]; do
            if rule=$(listed "$chain" $number); then
                [ -n "$rule" ] || break
                printf '%s\n' "$rule"
                continue
            fi
            why=$("$tool" -w -t "$table" -S "$chain" $number 2>&1 >/dev/null | sed '/^#/d; s/["\\]//g; q')
            printf '%s -j "%s"\n' "${rule:--A $chain}" "${why:-a rule that cannot be read}"
        done
        [ $number -le @MOST@ ] || printf '%s\n' "-A $chain -j \"rules behind the first @MOST@\""
    done
    echo COMMIT
done
""".replace("@MOST@", "1000")
_PRINTS_NO_JSON = "this nft prints no JSON"
_MOST = 200  # characters of what a tool says of its failure
_SIGNALLED = 128  # POSIX sh: the exit code of a command that a signal ended is greater

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

T = TypeVar("T")

_COMMAND = {Family.V4: "iptables", Family.V6: "ip6tables"}


@dataclass(frozen=True, slots=True)
class Firewall:
    """All tables of a host: crossnet's own rules as it wrote them, and everybody's in `foreign`.

    `nft` are crossnet's own tables in nftables, `iptables` its chains by variant and family with the built-in chains
    that enter them (every table that the variant has is there), `ipsets` its sets. `with_nft` are the tables, by
    family and name, that iptables-nft keeps in nftables, `left_to_nft` those of them that it can change no more.
    `unusable` is where crossnet's own rules could not be read back, and why: nothing is known of them there.
    """

    nft: tuple[Table, ...] = ()
    iptables: Mapping[tuple[Engine, Family], tuple[Table, ...]] = field(default_factory=dict)
    ipsets: tuple[Set, ...] = ()
    foreign: tuple[form.Table, ...] = ()  # whoever made them, in the form in which they can be walked
    with_nft: frozenset[tuple[str, str]] = frozenset()
    left_to_nft: frozenset[tuple[str, str]] = frozenset()
    unusable: Mapping[Engine, str] = field(default_factory=dict)

    def of(self, engine: Engine, family: Family) -> tuple[Table, ...]:
        return self.iptables.get((engine, family), ())

    def engine_of(self, table: form.Table, chain: form.Chain) -> Engine:
        """Who holds a chain: iptables-nft only enters the built-in chains of its own tables."""
        if table.tool is not form.Tool.NFT:
            return Engine(table.tool)
        theirs = (table.family, table.name) in self.with_nft
        return Engine.IPTABLES_NFT if theirs and (not chain.hook or chain.name.isupper()) else Engine.NFTABLES

    def others(self) -> Iterator[tuple[Engine, form.Table, form.Chain]]:
        """Every chain that is not crossnet's, and who holds it; dormant tables too."""
        for table in self.foreign:
            if (table.tool, table.name) == (form.Tool.NFT, TABLE):
                continue
            for chain in table.chains.values():
                engine = self.engine_of(table, chain)
                if not (engine.is_iptables and is_own_chain(chain.name)):
                    yield engine, table, chain

    def holds_rules(self, engine: Engine) -> bool:
        """Whether an engine has rules or a policy that is not accept, crossnet's own left out."""
        return any(
            (chain.hook is not None and chain.hook.policy != "accept")
            or any(not is_own_jump(rule) for rule in chain.rules)
            for of, table, chain in self.others()
            if of is engine and not table.dormant
        )


def is_own_jump(rule: form.Rule) -> bool:
    """Whether a rule is what crossnet puts into a chain of somebody else."""
    match rule.statements:
        case (form.Jump(chain=chain),) if is_own_chain(chain):
            return rule.comment in ("", "crossnet")
    return False


def _is_in_kernel(answer: Answer) -> bool:
    """False where the tool tells that the kernel has no such firewall at all."""
    return bool(answer.stdout.strip()) or not any(words in answer.error_text for words in _NOT_IN_KERNEL)


def in_kernel(answer: Answer, tool: str) -> None:
    """Nothing where the kernel has no such firewall at all; else the error that the tool told."""
    if _is_in_kernel(answer):
        refuse(answer, tool)


def _reason(answer: Answer, tool: str) -> str:
    """Why the rules could not be read, in the tool's words; an error where only the right to do so is missing."""
    if any(word in answer.error_text for word in ("ermission denied", "not permitted")):
        refuse(answer, tool)
    if answer.returncode > _SIGNALLED:
        return f"{tool} was ended by signal {answer.returncode - _SIGNALLED}"
    lines = [line for line in answer.error_text.splitlines() if not line.startswith("#")]
    return lines[0][:_MOST] if lines else f"{tool} failed with exit code {answer.returncode} and no word"


@dataclass(frozen=True, slots=True)
class Nft:
    """What nft printed: crossnet's own tables, and all tables as foreign ones.

    `untold` is whether tables have flags or devices, which nft 1.0.6 does not tell, or not right; `reason` is why not
    all of it can be read, `unusable` why crossnet could not read its own tables: each empty where it can. `unprinted`
    are the tables of which only family and name are known.
    """

    own: tuple[Table, ...] = ()
    tables: tuple[form.Table, ...] = ()
    untold: bool = False
    reason: str = ""
    unusable: str = ""
    unprinted: tuple[tuple[str, str], ...] = ()


def _printed(text: str) -> Nft:
    if not text.strip():
        return Nft()
    own = OwnTables()
    tables = read_ruleset(text, also=own.take)
    return Nft(own.tables, tables, bool(_UNTOLD.search(text)))


def _ruleset(text: str) -> Nft:
    try:
        return _printed(text)
    except (ValueError, RecursionError) as error:
        return Nft(reason=f"what nft printed cannot be understood: {error}")


def _no_ruleset(answer: Answer) -> Nft:
    """Nothing where the kernel has no nftables; a reason where nft cannot print what is there."""
    if answer.returncode == _NO_JSON:
        return Nft(unusable=_PRINTS_NO_JSON)
    if not _is_in_kernel(answer):
        return Nft(unusable="the kernel has no nftables")
    if "JSON" in answer.error_text or "invalid option" in answer.error_text:
        return Nft(reason=_PRINTS_NO_JSON)
    return Nft(reason=_reason(answer, "nft"))


def _parts(text: str) -> Nft:
    try:
        return _printed(text)
    except (ValueError, RecursionError) as error:
        return Nft(unusable=f"what nft printed cannot be understood: {error}")


def _no_parts(answer: Answer) -> Nft:
    if answer.returncode == _OWN_UNPRINTABLE:
        raise Unanswered(answer.error_text, "Update nftables on the host.")
    if answer.returncode != _UNPRINTABLE:
        return Nft(unusable=_reason(answer, "nft"))
    names = tuple(dict.fromkeys(_TABLE.findall(answer.text)))
    found = _parts(_TABLE.sub("", answer.text))
    return replace(found, unusable="this nft does not list its chains as JSON", unprinted=names)


def _not_understood(tool: form.Tool, family: str, reason: str, name: str = "") -> form.Table:
    """Rules that could not be read, as a table that may do anything at every hook; its name where that is known."""
    rule = form.Rule((form.Unknown(reason),), reason)
    hooks = ("prerouting", "input", "forward", "output", "postrouting")
    chains = {hook: form.Chain(hook, form.Hook(hook, "filter", 0), 1, lambda: (rule,)) for hook in hooks}
    return form.Table(tool, family, name, MappingProxyType(chains), read=False)


_TABLE = re.compile(r"^table (\S+) (\S+)$\n?", re.MULTILINE)
_UNTOLD = re.compile(r'"table": \{[^}]*"flags"|"hook": "(?:in|e)gress"(?![^}]*"dev")')


@dataclass(frozen=True, slots=True)
class Listing:
    """What only nft's plain listing tells: tables that are dormant, and the devices of chains at ingress and egress."""

    dormant: frozenset[tuple[str, str]] = frozenset()
    devices: Mapping[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict)

    def told(self, table: form.Table) -> form.Table:
        """A table with what the listing says of it."""
        chains = {
            name: replace(
                chain,
                hook=replace(chain.hook, devices=self.devices[table.family, table.name, name]),
            )
            for name, chain in table.chains.items()
            if chain.hook and not chain.hook.devices and (table.family, table.name, name) in self.devices
        }
        return replace(
            table,
            dormant=table.dormant or (table.family, table.name) in self.dormant,
            chains={**table.chains, **chains} if chains else table.chains,
        )


NFT: Question[Nft] = Question("ran `nft -j list ruleset`", ("sh", "-c", _NFT), _ruleset, _no_ruleset)
# Asked where NFT has a reason.
PARTS: Question[Nft] = Question("ran `nft -j list chain` for each", ("sh", "-c", _PARTS), _parts, _no_parts)
# nft 1.0.6 prints whatever bytes lie there in place of a table's flags, and no devices (measured). Asked where a table
# has flags, or a chain has devices; without an answer none is dormant, and a chain may be of any device.
LISTING: Question[Listing] = Question(
    "ran `nft -t list ruleset`",
    ("nft", "-t", "list", "ruleset"),
    lambda text: Listing(dormant_tables(text), devices_of(text)),
    lambda answer: Listing(),
)


# What nft's JSON does not tell of the matches of iptables, and its text does. Asked where iptables-nft prints a table
# no more because a rule of nft's own stands in it; without an answer these matches are not understood.
TEXT: Question[Lines] = Question(
    "ran `nft list ruleset`", ("nft", "list", "ruleset"), rule_lines, lambda answer: {}
)
_INCOMPATIBLE = re.compile(r"^# Table `(\S+)' is incompatible, use 'nft' tool", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Saved(Generic[T]):
    """What iptables-save or `ipset save` printed, and crossnet's own in it; `reason` is why it could not be read."""

    text: str = ""
    own: tuple[T, ...] = ()
    reason: str = ""


def _saved(parse: Callable[[str], tuple[T, ...]], text: str) -> Saved[T]:
    try:
        return Saved(text, parse(text))
    except ValueError as error:
        return Saved(reason=str(error))


def _not_saved(tool: str, answer: Answer) -> Saved[Any]:
    return Saved(reason=_reason(answer, tool)) if _is_in_kernel(answer) else Saved()


def _save(family: Family, variant: str, script: str, *words: str) -> Question[Saved[Table]]:
    tool = f"{_COMMAND[family]}-{variant}save"
    return Question(
        f"ran `{tool} -c`",
        ("sh", "-c", script, "sh", tool, *words),
        partial(_saved, partial(parse_save, family=TABLE_FAMILY[family])),
        partial(_not_saved, tool),
    )


IPSETS: Question[Saved[Set]] = Question(
    "ran `ipset save`",
    ("sh", "-c", _IF_THERE + 'exec "$@"', "sh", "ipset", "save"),
    partial(_saved, parse_ipset_save),
    partial(_not_saved, "ipset"),
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
# Asked in place of one of SAVES that has a reason.
PIECES = {
    whole: _save(family, variant, _PIECES)
    for family, saves in SAVES.items()
    for whole, variant in zip(saves, ("legacy-", "nft-", ""), strict=True)
}

QUESTIONS: tuple[Question[Any], ...] = (NFT, IPSETS, *SAVES[Family.V4], *SAVES[Family.V6])


def further(said: Said) -> tuple[Question[Any], ...]:
    """What has to be asked besides, after the answers to QUESTIONS."""
    nft = said[NFT]
    opaque = bool(nft.tables) and bool(_no_more_printed(said))
    return (
        *((PARTS,) if nft.reason else ()),
        *((LISTING,) if nft.untold or nft.reason else ()),
        *((TEXT,) if opaque else ()),
        *(pieces for whole, pieces in PIECES.items() if said[whole].reason),
    )


def _no_more_printed(said: Said) -> frozenset[tuple[str, str]]:
    """The tables, by family and name, that iptables-nft gives up on because a rule of nft's own stands in them."""
    return frozenset(
        (TABLE_FAMILY[family], name)
        for family, saves in SAVES.items()
        for save in saves
        for name in _INCOMPATIBLE.findall(said[save].text)
    )


def firewall_of(said: Said, more: Said, *, plain_is_nft: bool) -> Firewall:
    """The firewall from the answers to QUESTIONS, and those to what `further` names."""
    asked = further(said)
    nft = more[PARTS] if PARTS in asked else said[NFT]
    listing = more[LISTING] if LISTING in asked else Listing()
    tables_there = with_text(nft.tables, more[TEXT]) if TEXT in asked else nft.tables
    found = [listing.told(each) for each in tables_there]
    saved: dict[tuple[Engine, Family], list[Saved[Table]]] = {}
    for family, saves in SAVES.items():
        legacy, with_nft, plain = (
            more[PIECES[each]] if PIECES[each] in asked else said[each] for each in saves
        )
        engine = Engine.IPTABLES_NFT if plain_is_nft else Engine.IPTABLES_LEGACY
        saved[Engine.IPTABLES_LEGACY, family] = [legacy]
        saved[Engine.IPTABLES_NFT, family] = [with_nft]
        saved[engine, family].append(plain)
    ipsets = said[IPSETS]
    unread = {key: each.reason for key, some in saved.items() for each in some if each.reason}
    tables = {key: tuple(table for each in some for table in each.own) for key, some in saved.items()}
    filled = frozenset(name for some in saved.values() for each in some for name in filled_sets(each.text))
    sets = read_sets(ipsets.text, filled)
    others = [
        table
        for (engine, family), some in saved.items()
        for each in some
        for table in read_save(each.text, TABLE_FAMILY[family], form.Tool(engine), sets)
    ]
    from_nft = {(each.family, each.name): each for each in others if each.tool is form.Tool.IPTABLES_NFT}
    kept = frozenset(
        name for name, table in from_nft.items() if any(chain.hook for chain in table.chains.values())
    )
    unprinted = [
        _not_understood(form.Tool.NFT, family, said[NFT].reason, name)
        for family, name in nft.unprinted
        if (family, name) not in from_nft  # that one iptables has printed
    ]
    if PARTS in asked and nft.unusable and not nft.unprinted:
        unprinted.append(_not_understood(form.Tool.NFT, "inet", said[NFT].reason))
    return Firewall(
        nft=nft.own,
        iptables={key: some for key, some in tables.items() if some},
        ipsets=ipsets.own,
        foreign=(
            *(_together(table, from_nft.pop((table.family, table.name), None)) for table in found),
            *from_nft.values(),
            *unprinted,
            *(table for table in others if table.tool is form.Tool.IPTABLES_LEGACY),
            *(
                _not_understood(form.Tool(engine), TABLE_FAMILY[family], reason)
                for (engine, family), reason in unread.items()
            ),
        ),
        with_nft=kept,
        left_to_nft=_no_more_printed(said),
        unusable={
            **({Engine.NFTABLES: nft.unusable} if nft.unusable else {}),
            **({engine: ipsets.reason for engine in Engine if engine.is_iptables} if ipsets.reason else {}),
            **{engine: reason for (engine, _), reason in unread.items()},
        },
    )


# What nft has no words for, and iptables-nft has: a match or a target of xtables (nft's xt statement).
_XT = re.compile(r"\bxt (?:match|target) ")


def _together(table: form.Table, saved: form.Table | None) -> form.Table:
    """One table of the kernel as nft and as iptables-nft print it.

    nft prints every rule, but of a match or target of xtables only its name; iptables prints those, and a native
    rule wrongly or not at all (measured: `ip saddr { … } drop` as `-j DROP`). So nft's chains count, and in them
    iptables' words for the rules that both read alike, and for those of which nft knows only a name: where both
    print as many rules.
    """
    if saved is None:
        return table
    chains = {
        name: _with_words(chain, saved.chains[name]) if name in saved.chains else chain
        for name, chain in table.chains.items()
    }
    return replace(table, chains=chains, ipsets=saved.ipsets)


def _with_words(chain: form.Chain, saved: form.Chain) -> form.Chain:
    if chain.count != saved.count:
        return chain

    def read() -> tuple[form.Rule, ...]:
        pairs = zip(chain.rules, saved.rules, strict=True)
        return tuple(
            other
            if rule.statements == other.statements or (_XT.search(rule.text) and not _is_less(other, rule))
            else rule
            for rule, other in pairs
        )

    return replace(chain, read=read)


def _is_less(other: form.Rule, rule: form.Rule) -> bool:
    """Whether iptables cannot read what a rule does, and nft can: the extension of a match is missing there."""
    return any(isinstance(each, form.Unknown) for each in other.statements) and not any(
        isinstance(each, form.Unknown) for each in rule.statements
    )
