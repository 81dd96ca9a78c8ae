"""crossnet's own table in iptables: one chain in each of three tables, entered by one jump each.

forward      filter  FORWARD      → CROSSNET-FORWARD
postrouting  nat     POSTROUTING  → CROSSNET-POSTROUTING
mangle       mangle  FORWARD      → CROSSNET-FORWARD
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from crossnet.netfilter import Chain, DestinationPorts, Endpoint, Jump, Match, NamedSet, Rule, Set, Table
from crossnet.netfilter.ipset import own_name, set_name
from crossnet.netfilter.iptables_words import fits_multiport, join_words, match_text, verdict_text
from crossnet.netfilter.own import HOOKS, TABLE, check_own

_TAG = "crossnet"
OWN_PREFIX = "CROSSNET-"


@dataclass(frozen=True, slots=True)
class Place:
    """Where iptables holds an own chain: the table, the built-in chain that enters it, the chain's name."""

    table: str
    entered_from: str
    chain: str


PLACES = {
    "forward": Place("filter", "FORWARD", "CROSSNET-FORWARD"),
    "postrouting": Place("nat", "POSTROUTING", "CROSSNET-POSTROUTING"),
    "mangle": Place("mangle", "FORWARD", "CROSSNET-FORWARD"),
}


def is_own_chain(name: str) -> bool:
    """Whether a chain of iptables is crossnet's, by its name."""
    return name.startswith(OWN_PREFIX)


# ---- reading -------------------------------------------------------------------------------------


def own_table(tables: Iterable[Table], ipsets: Iterable[Set], family: str) -> Table | None:
    """The own table of this family as iptables and ipset hold it; None when they hold nothing of it.

    `tables` are from parse_save, `ipsets` from parse_ipset_save. Equal to the table that was written, jumps
    apart: those are in others' chains (see jump_positions).
    """
    held = {table.name: table for table in tables if table.family == family}
    chains: list[Chain] = []
    for logical, place in PLACES.items():
        found = held[place.table].chain(place.chain) if place.table in held else None
        if found is not None:
            rules = tuple(_from_host(rule, family) for rule in found.rules)
            chains.append(Chain(logical, rules, HOOKS[logical]))
    sets = [
        Set(name, each.members)
        for each in sorted(ipsets, key=lambda each: each.name)
        if (name := own_name(family, each.name)) is not None
    ]
    return Table(family, TABLE, tuple(chains), tuple(sets)) if chains or sets else None


def _from_host(rule: Rule, family: str) -> Rule:
    comment = "" if rule.comment == _TAG else rule.comment.removeprefix(f"{_TAG}:")
    return replace(rule, matches=tuple(_named_here(match, family) for match in rule.matches), comment=comment)


def _named_here(match: Match, family: str) -> Match:
    if isinstance(match, Endpoint) and isinstance(match.where, NamedSet):
        name = own_name(family, match.where.name)
        return match if name is None else replace(match, where=NamedSet(name))
    return match


# ---- writing -------------------------------------------------------------------------------------


def write_chains(have: Table | None, want: Table | None) -> str:
    """The text for one `iptables-restore --noflush` that turns the own chains of `have` into those of `want`.

    Empty when they are equal. Atomic in each of iptables' tables, and no chain of another owner is touched:
    under --noflush a declared chain alone is emptied (1.4.21, 1.8.9). A chain that is removed must have lost
    its jump before; the sets that rules name must be there (write_ipsets). ValueError for what iptables
    cannot say: a map, and more ports than fits_multiport lets through.
    """
    if want is not None:
        check_own(want)
        if want.maps:
            raise ValueError("iptables has no maps: a translation by map has to be written as rules")
    blocks: list[str] = []
    for name, place in PLACES.items():
        old = have.chain(name) if have is not None else None
        new = want.chain(name) if want is not None else None
        if old == new:
            continue
        lines = [f"*{place.table}\n", f":{place.chain} - [0:0]\n"]
        if want is None or new is None:
            lines.append(f"-X {place.chain}\n")
        else:
            lines += [f"-A {place.chain} {_rule_text(rule, want.family)}\n" for rule in new.rules]
        blocks += [*lines, "COMMIT\n"]
    return "".join(blocks)


def _rule_text(rule: Rule, family: str) -> str:
    for match in rule.matches:
        if isinstance(match, DestinationPorts) and not fits_multiport(match.ranges):
            raise ValueError(
                f"one rule of iptables cannot hold these ports: {', '.join(map(str, match.ranges))}"
            )
    matches = match_text(_named_there(match, family) for match in rule.matches)
    comment = join_words(("-m", "comment", "--comment", f"{_TAG}:{rule.comment}" if rule.comment else _TAG))
    return " ".join(each for each in (matches, comment, verdict_text(rule.verdict)) if each)


def _named_there(match: Match, family: str) -> Match:
    if isinstance(match, Endpoint) and isinstance(match.where, NamedSet):
        return replace(match, where=NamedSet(set_name(family, match.where.name)))
    return match


def restore_command(command: str, *, waits: bool) -> tuple[str, ...]:
    """What takes the text of `write_chains` and `move_jump`; `command` is this host's name of the variant."""
    # `-w` takes the next word as seconds unless that is an option.
    return (f"{command}-restore", *(("-w",) if waits else ()), "--noflush")


def tables_of(table: Table) -> tuple[str, ...]:
    """The tables of iptables that hold the own chains; iptables makes each of them appear."""
    return tuple(place.table for name, place in PLACES.items() if table.chain(name) is not None)


# `iptables-nft -X` alone has the kernel refuse a chain that has got a rule meanwhile (NLM_F_NONREC; measured: nft 1.0.6
# deletes it with its rules). Those that cannot remove a built-in chain leave all as it is. iptables-nft itself makes
# the tables and chains again when somebody needs them.
_REMOVE_EMPTY = r"""tool=$1 family=$2
shift 2
command -v nft >/dev/null || exit 0
shown() { nft -s list table "$family" "$table" 2>/dev/null | grep -v '^#'; }
for table; do
    there=$(shown)
    printf '%s
' "$there" | grep -qvE "@NOTHING@" && continue
    for chain in @CHAINS@; do
        case $there in *"chain $chain {"*) "$tool" -t "$table" -X "$chain" >/dev/null 2>&1 ;; esac
    done
    [ "$(shown | tr -d ' 
')" != "table$family$table{}" ] || nft delete table "$family" "$table"
done
exit 0
"""
_BUILT_IN = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
# Every line of a table in which nobody has anything: built-in chains without a rule, that accept.
_NOTHING = (
    rf"^[[:space:]]*(table [a-z0-9]+ [a-z]+ \{{|chain ({'|'.join(_BUILT_IN)}) \{{|\}}|"
    "type [a-z]+ hook [a-z]+ priority [^;]+; policy accept;)?$"
)


def remove_empty() -> str:
    """The script that removes tables of iptables-nft in which nothing is.

    Its arguments: this host's name of the variant, `ip` or `ip6`, the tables. It succeeds whatever it finds.
    """
    return _REMOVE_EMPTY.replace("@NOTHING@", _NOTHING).replace("@CHAINS@", " ".join(_BUILT_IN))


# ---- the jumps -----------------------------------------------------------------------------------


def insert_jump(chain: str) -> tuple[str, ...]:
    """The arguments that make iptables enter an own chain (`forward`, `postrouting`, `mangle`) first."""
    place = PLACES[chain]
    return ("-t", place.table, "-I", place.entered_from, "1", *_jump(place))


def move_jump(chain: str, times: int) -> str:
    """The text for one `iptables-restore --noflush` that makes `times` jumps the one that is entered first.

    In one instant: between a delete and an insert of their own a packet would pass without crossnet's rules.
    It fails, and changes nothing, when there are fewer.
    """
    place = PLACES[chain]
    jump = " ".join((place.entered_from, *_jump(place)))
    lines = (f"*{place.table}", *times * (f"-D {jump}",), f"-I {jump}", "COMMIT")
    return "".join(f"{line}\n" for line in lines)


def delete_jump(chain: str, *, tag: bool = True) -> tuple[str, ...]:
    """The arguments that remove one such jump, or one without its comment; iptables exits 1 when there is none."""
    place = PLACES[chain]
    return ("-t", place.table, "-D", place.entered_from, *_jump(place, tag=tag))


def check_jump(chain: str, *, tag: bool = True) -> tuple[str, ...]:
    """The arguments that ask whether there is such a jump; iptables exits 1 when there is none."""
    place = PLACES[chain]
    return ("-t", place.table, "-C", place.entered_from, *_jump(place, tag=tag))


def list_chain(chain: str) -> tuple[str, ...]:
    """The arguments that list an own chain without counters; iptables exits 1 when there is none."""
    place = PLACES[chain]
    return ("-t", place.table, "-S", place.chain)


def _jump(place: Place, *, tag: bool = True) -> tuple[str, ...]:
    return (*(("-m", "comment", "--comment", _TAG) if tag else ()), "-j", place.chain)


def jump_positions(tables: Iterable[Table], chain: str, family: str, *, tag: bool = True) -> tuple[int, ...]:
    """Where the jump to an own chain stands in its built-in chain, from 1 on; two are one too many.

    Or where one stands that has not its comment, as what nft printed has not. A jump with another comment or with
    matches is somebody else's work and does not count.
    """
    place = PLACES[chain]
    jump = Rule((), Jump(place.chain), _TAG if tag else "")
    for table in tables:
        entered_from = table.chain(place.entered_from)
        if (table.family, table.name) == (family, place.table) and entered_from is not None:
            return tuple(at for at, rule in enumerate(entered_from.rules, 1) if rule == jump)
    return ()
