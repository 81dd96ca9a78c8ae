"""crossnet's own rules on a gateway: one nftables table, or one set of iptables chains, a family."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.firewall import is_own_jump
from crossnet.facts.question import mapping, number, text, text_or, texts
from crossnet.netfilter import (
    TABLE_FAMILY,
    Accept,
    Drop,
    Engine,
    Interface,
    Return,
    Snat,
    Table,
)
from crossnet.netfilter.flows import ending
from crossnet.netfilter.foreign import Tool
from crossnet.netfilter.ipset import set_name
from crossnet.netfilter.iptables import (
    list_chain,
    own_table,
    remove_empty,
    restore_command,
    tables_of,
    write_chains,
    write_ipsets,
)
from crossnet.netfilter.iptables import (
    rule_text as iptables_text,
)
from crossnet.netfilter.iptables_own import PLACES
from crossnet.netfilter.left_to_nft import LeftToNft, left_to_nft
from crossnet.netfilter.nft import remove_table, write_table
from crossnet.netfilter.nft import rule_text as nft_text
from crossnet.netfilter.own import TABLE
from crossnet.netfilter.own_difference import crossings_besides, differences, of_crossings
from crossnet.resources.encoding import decode_fields, encode_fields
from crossnet.resources.resource import Encoded, Resource, Within, rules_of
from crossnet.resources.sh_tests import Locate, Test
from crossnet.resources.steps import Command, Look, Step
from crossnet.values import Family, Network

# Rules are compared by how this host's own tools print them, wherever that differs by version: the wanted ones are
# loaded in a network namespace that ends at once. Where no namespace can be made, or a tool fails, nobody knows
# whether they are the same, which is 2; a script that makes them loads them again then, which does no harm.
_SAME_NFT = r"""
# same_nft FAMILY: whether the rules on standard input are those that are loaded; 2 where that cannot be told
same_nft() {
    if ! loaded=$(nft -s list table "$1" crossnet 2>/dev/null); then
        nft list tables >/dev/null 2>&1 || return 2
        return 1
    fi
    # shellcheck disable=SC2016   # for the shell inside
    wanted=$(unshare -n sh -c 'nft -f - && nft -s list table "$1" crossnet' sh "$1" 2>/dev/null) || return 2
    [ "$wanted" = "$loaded" ]
}
"""
_SAME_IPTABLES = r"""
# same_iptables COMMAND SETS: whether the ipsets (SETS-...) and rules on standard input are those that are loaded; 2
# where that cannot be told
same_iptables() {
    # shellcheck disable=SC2016   # for the shell inside
    load='text=$(cat)
        sets=$(printf "%s\n" "$text" | sed "/^\*/,\$d")
        [ -z "$sets" ] || printf "%s\n" "$sets" | ipset restore || exit
        printf "%s\n" "$text" | sed -n "/^\*/,\$p" | "$1-restore" --noflush || exit'
    # shellcheck disable=SC2016
    list='rules=$("$1-save") || exit
        printf "%s\n" "$rules" | grep -e "^-A CROSSNET-"
        if command -v ipset >/dev/null; then ipset save | grep "^add $2-" | sort; fi'
    loaded=$(sh -c "$list" sh "$1" "$2" 2>/dev/null) || return 2
    # In place of a table with rules of nft's own iptables-nft prints a remark, and ends well.
    other=1
    ! "$1-save" 2>/dev/null | grep -q "^# Table .* is incompatible" || other=2
    [ -n "$loaded" ] || return $other
    wanted=$(unshare -n sh -c "$load; $list" sh "$1" "$2" 2>/dev/null) && [ -n "$wanted" ] || return 2
    [ "$wanted" = "$loaded" ] || return $other
}
"""
_NO_IPTABLES = r"""
# no_iptables COMMAND SETS: whether there are no chains of crossnet and no ipsets (SETS-...); 2 where that cannot be
# told
no_iptables() {
    saved=$("$1-save" 2>/dev/null) || return 2
    ! printf "%s\n" "$saved" | grep -q "^:CROSSNET-" || return 1
    ! printf "%s\n" "$saved" | grep -q "^# Table .* is incompatible" || return 2
    ! { command -v ipset >/dev/null && ipset list -n | grep -q "^$2-"; }
}
"""


@dataclass(frozen=True, slots=True)
class EndFlows(Command):
    """The step that ends the flows whose fate a change of the rules has changed."""

    @property
    def content(self) -> bytes:
        """Nothing that would stay on the host."""
        return b""

    def __str__(self) -> str:
        return "conntrack -D: flows that would otherwise keep what they had"


@dataclass(frozen=True, slots=True)
class RemoveEmpty(Command):
    """The step that removes iptables' own tables which are there since crossnet's rules needed them."""

    @property
    def content(self) -> bytes:
        """Nothing that would stay on the host."""
        return b""

    def __str__(self) -> str:
        *_, family, first = self.argv[: self.argv.index("--") + 4]
        others = self.argv[self.argv.index("--") + 4 :]
        return f"nft delete table {family} {', '.join((first, *others))}: where nothing is in there"


def _remove_empty(have: RuleTable | None, want: RuleTable | None) -> tuple[Step, ...]:
    if have is None or have.engine is not Engine.IPTABLES_NFT:
        return ()
    tables = [name for name in have.made if want is None or name not in want.made]
    if not tables:
        return ()
    argv = ("sh", "-s", "--", have.command, TABLE_FAMILY[have.family], *tables)
    return (RemoveEmpty(argv, remove_empty().encode()),)


def _end_flows(have: RuleTable | None, want: RuleTable | None) -> tuple[EndFlows, ...]:
    script = ending(have.table if have else None, want.table if want else None)
    return (EndFlows(("sh", "-s"), script.encode()),) if script else ()


@dataclass(frozen=True, slots=True)
class RuleTable(Resource):
    """All of crossnet's rules of one family, because rules are ordered: a single rule is no resource.

    `summary` is how a plan names the content; `command` is this host's name of the iptables variant, and
    `waits` is whether its iptables-restore can wait for the xtables lock. `made` are the tables of iptables itself
    (`filter`, `nat`, `mangle`) that were not there before crossnet's chains. `is_known` is false of one of which
    only a record of 0.1.0 tells: that keeps none of its rules, and `table` is empty. `only_accepts` is whether it
    only accepts in iptables, before what others drop there, what a table of nftables carries and fences. `left_to_nft`
    is what of it stands in tables that iptables does not print any more.
    """

    kind: ClassVar[str] = "table"
    rank: ClassVar[int] = 0  # what may pass and what may not is settled before anything can pass
    place_shown: ClassVar[int] = 2
    is_only_ours: ClassVar[bool] = True
    is_of_all_crossings: ClassVar[bool] = True
    heals: ClassVar[bool] = True
    is_flushed: ClassVar[bool] = True
    engine: Engine
    family: Family
    table: Table
    summary: str = field(default="", compare=False)
    command: str = field(default="", compare=False)
    waits: bool = field(default=True, compare=False)
    made: tuple[str, ...] = field(default=(), compare=False)
    is_known: bool = field(default=True, compare=False)
    only_accepts: bool = field(default=False, compare=False)
    left_to_nft: LeftToNft | None = None

    @property
    def key(self) -> str:
        return f"{self.engine} {TABLE_FAMILY[self.family]} {TABLE}"

    @classmethod
    def traces(cls, facts: Facts) -> tuple[Self, ...]:
        return tuple(found for family in Family for found in cls._traces(facts, family))

    @classmethod
    def _traces(cls, facts: Facts, family: Family) -> list[Self]:
        waits = facts.capabilities.restore_waits
        could_be = [
            cls(
                engine,
                family,
                Table(TABLE_FAMILY[family], TABLE, ()),
                command=facts.iptables(engine, family) if engine.is_iptables else "",
                waits=engine is Engine.IPTABLES_LEGACY and waits,
            )
            for engine in Engine
            if engine not in facts.firewall.unusable
        ]
        there = [found for one in could_be if (found := one.current(facts)) is not None]
        # The sets are no engine's: where chains stand they are theirs, else of either.
        with_chains = [one for one in there if one._has_chains or not one.engine.is_iptables]
        return with_chains or there[:1]

    @property
    def _has_chains(self) -> bool:
        return bool(self.table.chains) or self.left_to_nft is not None

    @property
    def within(self) -> frozenset[Within]:
        return rules_of(self.engine)

    @property
    def tables(self) -> tuple[tuple[Engine, Table], ...]:
        return ((self.engine, self.table),)

    def decides(self, family: Family) -> bool:
        return family is self.family

    @property
    def closes(self) -> bool:
        return self.holds_fence

    @property
    def holds_fence(self) -> bool:
        """Whether it drops what no crossing names."""
        forward = self.table.chain("forward")
        # crossnet's own accepts name what they are for; one before it that takes everything is somebody's.
        every = [rule for rule in forward.rules if not rule.matches] if forward else []
        first = next((rule for rule in every if isinstance(rule.verdict, Drop) or not rule.comment), None)
        return first is not None and isinstance(first.verdict, Drop)

    @property
    def crossings(self) -> tuple[str, ...]:
        """The crossings whose packets it admits, by their names."""
        forward = self.table.chain("forward")
        admitting = (rule for rule in forward.rules if isinstance(rule.verdict, Accept)) if forward else ()
        return tuple(dict.fromkeys(rule.comment for rule in admitting if rule.comment))

    def opens(self, family: Family) -> bool:
        return family is self.family

    def is_what_is_left_of(self, known: Resource) -> bool:
        """Sets without chains are no variant's of iptables."""
        return (
            isinstance(known, RuleTable)
            and self.engine.is_iptables
            and not self._has_chains
            and known.engine.is_iptables
            and known.family is self.family
        )

    def current(self, facts: Facts) -> Self | None:
        firewall = facts.readable(self.engine)
        left = None
        if self.engine is Engine.NFTABLES:
            wanted = (TABLE_FAMILY[self.family], TABLE)
            found = next((t for t in firewall.nft if (t.family, t.name) == wanted), None)
        else:
            tables = firewall.of(self.engine, self.family)
            found = own_table(tables, firewall.ipsets, TABLE_FAMILY[self.family])
            if self.engine is Engine.IPTABLES_NFT:
                left = left_to_nft(firewall.told_by_nft(TABLE_FAMILY[self.family]))
        if found is None and left is None:
            return None
        nothing = Table(TABLE_FAMILY[self.family], TABLE, ())
        return replace(self, table=found or nothing, is_known=True, left_to_nft=left)

    def differences(self, now: Self | None) -> tuple[str, ...]:
        table = f"table {type(self).describe(self, None)}"
        if now is None:
            return (f"{table} was removed, with all of its rules",)
        if now.left_to_nft is not None:
            return (f"{table} cannot be compared: iptables does not print it any more",)
        family = TABLE_FAMILY[self.family]
        text = iptables_text if self.engine.is_iptables else partial(nft_text, family)
        return tuple(f"{table}: {words}" for words in differences(self.table, now.table, text))

    def differs_for(self, now: Self | None) -> frozenset[str] | None:
        if now is None or now.left_to_nft is not None:
            return None
        return of_crossings(self.table, now.table)

    def besides(self, applied: Resource) -> tuple[str, ...]:
        if not isinstance(applied, RuleTable) or not applied.is_known:
            return ()
        return crossings_besides(applied.table, self.table)

    def without(self, facts: Facts) -> tuple[str, ...]:
        table = f"table {type(self).describe(self, None)}"
        rules = [rule for chain in self.table.chains for rule in chain.rules]
        names = {match.name: None for rule in rules for match in rule.matches if isinstance(match, Interface)}
        sources = {
            **{rule.verdict.address: None for rule in rules if isinstance(rule.verdict, Snat)},
            **{address: None for each in self.table.maps for _, address in each.entries},
        }
        gone = [name for name in names if facts.link(name) is None]
        own = {item.address for link in facts.links for item in (*link.addresses, *link.narrow)}
        lost = sorted((each for each in sources if each not in own), key=int)
        return (
            *(f"{table} is for {name}, and that interface no longer exists" for name in gone),
            *(f"{table} gives the source {each}, which is no longer an address of the host" for each in lost),
        )

    def since(self, applied: Resource) -> tuple[str, ...]:
        had = applied.carrying if isinstance(applied, RuleTable) else frozenset()
        return tuple(
            f"what bridge {name} carries from port to port meets the rules now, and did not when they were applied: "
            "the fence stops it"
            for name in sorted(self.carrying - had)
        )

    @property
    def carrying(self) -> frozenset[str]:
        """The bridges whose frames its fence leaves alone."""
        forward = self.table.chain("forward")
        bridged = (rule for rule in forward.rules if isinstance(rule.verdict, Return)) if forward else ()
        return frozenset(
            match.name for rule in bridged for match in rule.matches if isinstance(match, Interface)
        )

    def knowing(self, before: Resource | None, facts: Facts) -> Self:
        if not self.engine.is_iptables:
            return self
        there = {table.name for table in facts.firewall.of(self.engine, self.family)}
        if self.engine is Engine.IPTABLES_NFT:
            family = TABLE_FAMILY[self.family]
            in_nft = (each for each in facts.firewall.foreign if each.tool is not Tool.IPTABLES_LEGACY)
            there |= {table.name for table in in_nft if table.family == family}
        known = before if isinstance(before, RuleTable) else self
        needed = tables_of(self.table)
        made = tuple(name for name in needed if name in known.made or name not in there)
        # Who else has rules there may come and go: what is as it was applied is told as it was.
        return replace(self, made=made, summary=known.summary if known == self else self.summary)

    @classmethod
    def leaves_behind(cls, have: Self, want: Self | None, facts: Facts) -> str:
        """What is there since the rules made it appear, and nobody else has come to use."""
        family = TABLE_FAMILY[have.family]
        used = {
            table.name
            for engine, table, chain in facts.firewall.others()
            if engine is have.engine
            and table.family == family
            and not all(is_own_jump(rule) for rule in chain.rules)
        }
        made = tuple(
            name for name in have.made if name not in used and (want is None or name not in want.made)
        )
        if not made:
            return ""
        if have.engine is Engine.IPTABLES_LEGACY:
            why = "the kernel keeps what was used once"
        elif not facts.capabilities.has("nft"):
            why = "there is no nft to remove them"
        else:
            return ""
        names = " and ".join((", ".join(made[:-1]), made[-1]) if made[:-1] else made)
        return f"{have.family.label} tables of iptables stay, empty, until the next boot: {names}; {why}"

    def look(self) -> tuple[Look, ...]:
        if self.engine is Engine.NFTABLES:
            return (Command(("nft", "-s", "list", "table", TABLE_FAMILY[self.family], TABLE)),)
        return tuple(Command((self.command, "-w", *list_chain(chain.name))) for chain in self.table.chains)

    def watched(self) -> tuple[Look, ...]:
        if self.engine is Engine.NFTABLES:
            (listing,) = (shlex.join(look.argv) for look in self.look() if isinstance(look, Command))
            # A set is not listed in the same order twice by every nft.
            return (Command(("sh", "-c", f"{listing} | sort")),)
        sets = (set_name(self.table.family, each.name) for each in self.table.sets)
        return (*self.look(), *(Command(("ipset", "save", name)) for name in sets))

    def holds(self, locate: Locate) -> Test:
        family, text = TABLE_FAMILY[self.family], b"".join(step.stdin for step in type(self).load(None, self))
        if not self.engine.is_iptables:
            return Test.of("same_nft", family, stdin=text, function=_SAME_NFT)
        return Test.of("same_iptables", self.command, self._sets, stdin=text, function=_SAME_IPTABLES)

    def lacks(self, locate: Locate) -> Test:
        if not self.engine.is_iptables:
            return Test(f"! nft list table {TABLE_FAMILY[self.family]} {TABLE} >/dev/null 2>&1")
        return Test.of("no_iptables", self.command, self._sets, function=_NO_IPTABLES)

    @property
    def stands(self) -> Test | None:
        if not self.holds_fence:
            return None
        family = TABLE_FAMILY[self.family]
        listing, drop = (
            ((self.command, "-w", *list_chain("forward")), "-j DROP")
            if self.engine.is_iptables
            else (("nft", "list", "chain", family, TABLE, "forward"), " drop comment ")
        )
        return Test(f"{shlex.join(listing)} 2>/dev/null | grep -q -e {shlex.quote(drop)}")

    @property
    def _sets(self) -> str:
        """How the names of its ipsets begin."""
        return set_name(TABLE_FAMILY[self.family], "").removesuffix("-")

    def serves(self, family: Family, destinations: Collection[Network], *, on_gateway: bool) -> bool:
        return on_gateway and family is self.family

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        if want and have is None and want.engine.is_iptables:
            return cls.load(have, want)  # no packet enters them yet: see `entered`
        side = want or have
        # Of what is only accepted the table that carries it ends the flows.
        ends = () if side and side.only_accepts else _end_flows(have, want)
        return (*cls.load(have, want), *ends, *_remove_empty(have, want))

    @property
    def entered(self) -> tuple[EndFlows, ...]:
        """What ends the flows that were judged without these rules, from when on packets enter them."""
        return () if self.only_accepts else _end_flows(None, self)

    @classmethod
    def load(cls, have: Self | None, want: Self | None) -> tuple[Command, ...]:
        """The steps that put the rules of one in place of the other's, and nothing more."""
        side = want or have
        assert side is not None, "a change has at least one side"
        old = have.table if have else None
        new = want.table if want else None
        if side.engine is Engine.NFTABLES:
            text = write_table(new) if new else remove_table(TABLE_FAMILY[side.family])
            return (Command(("nft", "-f", "-"), text.encode()),)
        before, after = write_ipsets(old, new)
        restore = restore_command(side.command, waits=side.waits)
        return tuple(
            Command(argv, text.encode())
            for argv, text in (
                (("ipset", "restore"), before),
                (restore, write_chains(old, new)),
                (("ipset", "restore"), after),
            )
            if text
        )

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        name = f"{TABLE} in iptables" if side.only_accepts else TABLE
        name += "" if side.family is Family.V4 else " (IPv6)"
        return f"{name}: {side.summary}" if want else name

    def shown(self) -> Encoded:
        """With its chains, sets and maps, each rule in the words of its tool."""
        table, in_words = (
            self.table,
            iptables_text if self.engine.is_iptables else partial(nft_text, self.table.family),
        )
        return {
            **self.which,
            **({"made": list(self.made)} if self.made else {}),
            **({"only_accepts": True} if self.only_accepts else {}),
            "chains": {chain.name: [in_words(rule) for rule in chain.rules] for chain in table.chains},
            "sets": {each.name: sorted(str(member) for member in each.members) for each in table.sets},
            "maps": {
                each.name: {str(network): str(address) for network, address in sorted(each.entries, key=str)}
                for each in table.maps
            },
        }

    def encode(self) -> Encoded:
        told = {"summary": self.summary, "content": encode_fields(self.table)} if self.is_known else {}
        return {
            **self.which,
            **({"made": list(self.made)} if self.made else {}),
            **({"only_accepts": True} if self.only_accepts else {}),
            **told,
        }

    @property
    def which(self) -> Encoded:
        """Only which table it is."""
        return {
            "engine": str(self.engine),
            "family": int(self.family),
            "command": self.command,
            "waits": self.waits,
        }

    def state(self) -> Encoded:
        """Which table it is, and a digest of its rules; none where they are not as crossnet writes any."""
        if self.flaw:
            return {**self.which, "rules": None}
        text = b"".join(step.content for step in type(self).load(None, self))
        return {**self.which, "rules": hashlib.sha256(text).hexdigest()}

    @property
    def flaw(self) -> str:
        if self.left_to_nft is not None:
            return (
                f"iptables does not print its table {' and '.join(self.left_to_nft.tables)} any more, because rules of "
                "nft's own stand there, as after a dump of `nft list ruleset` was loaded"
            )
        try:
            type(self).load(None, self)
        except ValueError as error:
            return str(error)
        return ""

    @property
    def repair(self) -> str:
        left = self.left_to_nft
        if left is None:
            return (
                "Remove what somebody else has put in there; it can go into a table or chain of another name."
            )
        opens = "; with them goes the fence, and the host forwards what nobody else stops until then"
        return (
            f"Take crossnet's chains out of there on the host, then again{opens if left.holds_fence else ''}: "
            f"`{left.removing}`."
        )

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        family = Family(number(encoded, "family"))
        made = texts(encoded["made"]) if "made" in encoded else ()
        if not set(made) <= {place.table for place in PLACES.values()}:
            raise ValueError(f"no tables of iptables that crossnet uses: {made!r}")
        content = encoded.get("content")
        nothing = Table(TABLE_FAMILY[family], TABLE, ())
        return cls(
            Engine(text(encoded, "engine")),
            family,
            nothing if content is None else decode_fields(Table, mapping(content)),
            text_or(encoded, "summary", ""),
            text(encoded, "command"),
            bool(encoded["waits"]),
            made,
            is_known=content is not None,
            only_accepts=encoded.get("only_accepts") is True,
        )
