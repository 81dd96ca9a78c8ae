"""What iptables and ipset tell of a host's rules: each variant for itself, in pieces where it cannot print all."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from crossnet.facts.question import Question, Said
from crossnet.facts.tool_failures import is_in_kernel, reason
from crossnet.netfilter import TABLE_FAMILY, Set, Table
from crossnet.netfilter.iptables import parse_ipset_save, parse_save
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
    while read -r there; do printf '# in the kernel: %s\n' "$there"; done <"$names"
    exec "$1" -c
fi
[ -e /proc/net/dev ] && [ ! -e "$names" ] && exit 0
for table in raw mangle nat filter; do
    "$1" -c -t $table 2>/dev/null && continue
    said=$("$1" -c -t $table 2>&1 >/dev/null)
    case $said in *"does not exist"*) ;; *) echo "$said" >&2 && exit 1 ;; esac
done
"""
# Tables that the kernel holds for a variant of which the host has no tool: its rules act, and nobody can list them.
_UNLISTED = r"""
if ! command -v "$1" >/dev/null; then
    tool=${1%-legacy-save}
    case $1 in ip6*) names=/proc/net/ip6_tables_names ;; *) names=/proc/net/ip_tables_names ;; esac
    { [ "$tool" != "$1" ] && read -r there <"$names"; } 2>/dev/null || exit 0
    # Where there is only one iptables, that one may be of this variant.
    ! command -v "$tool-save" >/dev/null || case $("$tool" -V 2>/dev/null) in *nf_tables*) ;; *) exit 0 ;; esac
    echo "the kernel holds tables of $tool-legacy ($(echo $(cat "$names"))), and no tool there lists their rules" >&2
    exit 1
fi
"""
_IF_THERE = 'command -v "$1" >/dev/null || exit 0\n'
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
_COMMAND = {Family.V4: "iptables", Family.V6: "ip6tables"}

T = TypeVar("T")

_NAMED = re.compile(r"(?:# in the kernel: .*\n)*")
_INCOMPATIBLE = re.compile(r"^# Table `(\S+)' is incompatible, use 'nft' tool", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Saved(Generic[T]):
    """What iptables-save or `ipset save` printed, and crossnet's own in it; `reason` is why it could not be read."""

    text: str = ""
    own: tuple[T, ...] = ()
    reason: str = ""


def _saved(parse: Callable[[str], tuple[T, ...]], text: str) -> Saved[T]:
    for table in _named_by_the_kernel(text):
        if f"\n*{table}\n" not in text:
            return Saved(reason=f"the kernel has a table {table}, of which nothing is printed")
    try:
        return Saved(text, parse(text))
    except ValueError as error:
        return Saved(reason=str(error))


def _named_by_the_kernel(text: str) -> list[str]:
    """The tables that LEGACY says are there: a tool that prints nothing must not pass for a host without rules."""
    named = _NAMED.match(text)
    return [line.rpartition(" ")[2] for line in named[0].splitlines()] if named else []


def _not_saved(tool: str, answer: Answer) -> Saved[Any]:
    return Saved(reason=reason(answer, tool)) if is_in_kernel(answer) else Saved()


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
        _save(family, "legacy-", _UNLISTED + LEGACY),
        _save(family, "nft-", _IF_THERE + 'exec "$@"', "-c"),
        _save(family, "", _ONLY_PLAIN.format(command)),
    )
    for family, command in _COMMAND.items()
}
# Asked in place of one of SAVES that has a reason.
PIECES = {
    whole: _save(family, variant, _UNLISTED + _PIECES)
    for family, saves in SAVES.items()
    for whole, variant in zip(saves, ("legacy-", "nft-", ""), strict=True)
}


def no_more_printed(said: Said) -> frozenset[tuple[str, str]]:
    """The tables, by family and name, that iptables-nft gives up on because a rule of nft's own stands in them."""
    return frozenset(
        (TABLE_FAMILY[family], name)
        for family, saves in SAVES.items()
        for save in saves
        for name in _INCOMPATIBLE.findall(said[save].text)
    )
