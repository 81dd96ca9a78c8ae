"""What nft tells of a host's rules: all of them, or in parts where it cannot print them, and what only text tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from crossnet.facts.question import Question, Unanswered
from crossnet.facts.tool_failures import is_in_kernel, reason
from crossnet.netfilter import Table
from crossnet.netfilter import foreign as form
from crossnet.netfilter.nft_foreign import Lines, devices_of, dormant_tables, read_ruleset, rule_lines
from crossnet.netfilter.nft_json import OwnTables
from crossnet.netfilter.own import TABLE
from crossnet.transport.batch import Answer

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
listed=$(nft list chains) || exit @UNPRINTABLE@
printf '%s\n' "$listed" | while read -r word first second rest; do
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
_PRINTS_NO_JSON = "this nft prints no JSON"


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
    if not is_in_kernel(answer):
        return Nft(unusable="the kernel has no nftables")
    if "JSON" in answer.error_text or "invalid option" in answer.error_text:
        return Nft(reason=_PRINTS_NO_JSON)
    return Nft(reason=reason(answer, "nft"))


def _parts(text: str) -> Nft:
    try:
        return _printed(text)
    except (ValueError, RecursionError) as error:
        return Nft(unusable=f"what nft printed cannot be understood: {error}")


def _no_parts(answer: Answer) -> Nft:
    if answer.returncode == _OWN_UNPRINTABLE:
        raise Unanswered(answer.error_text, "Update nftables on the host.")
    if answer.returncode != _UNPRINTABLE:
        return Nft(unusable=reason(answer, "nft"))
    names = tuple(dict.fromkeys(_TABLE.findall(answer.text)))
    found = _parts(_TABLE.sub("", answer.text))
    return replace(found, unusable="this nft does not list its chains as JSON", unprinted=names)


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
# has flags, or a chain has devices; without an answer none is dormant, and a chain may be of any device. nft 0.9.0 has
# no -t.
LISTING: Question[Listing] = Question(
    "ran `nft -t list ruleset`",
    ("sh", "-c", "nft -t list ruleset 2>/dev/null || exec nft list ruleset"),
    lambda text: Listing(dormant_tables(text), devices_of(text)),
    lambda answer: Listing(),
)


# What nft's JSON does not tell of the matches of iptables, and its text does. Asked where iptables-nft prints a table
# no more because a rule of nft's own stands in it; without an answer these matches are not understood.
TEXT: Question[Lines] = Question(
    "ran `nft list ruleset`", ("nft", "list", "ruleset"), rule_lines, lambda answer: {}
)
