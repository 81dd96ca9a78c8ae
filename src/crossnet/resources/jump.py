"""The one rule that crossnet puts into a chain of somebody else."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.question import number, number_or, text
from crossnet.netfilter import TABLE_FAMILY, Engine
from crossnet.netfilter.iptables import (
    check_jump,
    delete_jump,
    insert_jump,
    jump_positions,
    move_jump,
    restore_command,
)
from crossnet.netfilter.iptables_own import PLACES
from crossnet.netfilter.left_to_nft import own_jumps
from crossnet.resources.resource import Change, Encoded, Resource, Within, rules_of
from crossnet.resources.sh_tests import Locate, Test
from crossnet.resources.steps import Command, Look, Step
from crossnet.resources.table import RuleTable
from crossnet.values import Family, Network


@dataclass(frozen=True, slots=True)
class Jump(Resource):
    """A jump from a built-in chain of iptables into an own chain (`forward`, `postrouting`, `mangle`).

    `first` is whether it stands before every rule that decides about what the chain is for, `times` how often it
    stands there, and `bare` how often without its comment; `command` is this host's name of the iptables variant, and
    `waits` is whether its iptables-restore can wait for the xtables lock.
    """

    kind: ClassVar[str] = "jump"
    rank: ClassVar[int] = 1  # iptables enters the chains only when they are whole
    place_shown: ClassVar[int] = 3
    is_only_ours: ClassVar[bool] = True
    heals: ClassVar[bool] = True
    is_flushed: ClassVar[bool] = True
    holds_up: ClassVar[frozenset[str]] = frozenset({RuleTable.kind})  # no chain goes that is jumped into
    engine: Engine
    family: Family
    chain: str
    command: str = field(default="iptables", compare=False)
    first: bool = True
    times: int = 1
    waits: bool = field(default=False, compare=False)
    bare: int = 0

    @property
    def key(self) -> str:
        return f"{self.engine} {TABLE_FAMILY[self.family]} {self.chain}"

    @classmethod
    def traces(cls, facts: Facts) -> tuple[Self, ...]:
        all_there_could_be = (
            cls(engine, family, chain, facts.iptables(engine, family))
            for engine in Engine
            if engine.is_iptables and engine not in facts.firewall.unusable
            for family in Family
            for chain in PLACES
        )
        return tuple(found for jump in all_there_could_be if (found := jump.current(facts)) is not None)

    @property
    def within(self) -> frozenset[Within]:
        return rules_of(self.engine) | {Within.CHAIN}

    def current(self, facts: Facts) -> Self | None:
        firewall, family = facts.readable(self.engine), TABLE_FAMILY[self.family]
        tables = firewall.of(self.engine, self.family)
        positions = jump_positions(tables, self.chain, family)
        bare = jump_positions(tables, self.chain, family, tag=False)
        if self.engine is Engine.IPTABLES_NFT:
            positions += own_jumps(firewall.told_by_nft(family), self.chain)
        there = sorted((*positions, *bare))
        if not there:
            return None
        first = there[0] == 1 or not self._is_late(facts)
        return replace(self, first=first, times=len(positions), bare=len(bare))

    def _is_late(self, facts: Facts) -> bool:
        from crossnet.reach.front import decides_in_front  # sets of packets are slow to import

        return decides_in_front(facts, self.engine, self.family, self.chain)

    def decides(self, family: Family) -> bool:
        return family is self.family

    @classmethod
    def joined(cls, changes: Sequence[Change], wanted: Sequence[Resource]) -> list[Change]:
        """The last new jump of a family ends the flows whose fate the rules behind it change."""
        new = {one.want.family: one for one in changes if isinstance(one.want, Jump) and one.have is None}
        last = list(new.values())
        tables = {(item.engine, item.family): item for item in wanted if isinstance(item, RuleTable)}
        return [
            Entering(None, one.want, tables[one.want.engine, one.want.family])
            if isinstance(one.want, Jump) and one in last
            else one
            for one in changes
        ]

    def opens(self, family: Family) -> bool:
        return family is self.family

    def differences(self, now: Self | None) -> tuple[str, ...]:
        jump = f"jump {type(self).describe(self, None)}"
        if now is None:
            return (f"{jump} was removed",)
        if now.flaw:
            return (f"{jump}: {now.flaw}",)
        found = (
            []
            if now.first
            else [f"{jump} stands behind rules that decide before it; it was applied at the top"]
        )
        if now.times != self.times:
            found.append(f"{jump} stands there {now.times} times; it was applied once")
        return tuple(found)

    @property
    def flaw(self) -> str:
        if not self.bare:
            return ""
        place = PLACES[self.chain]
        return f"`{shlex.join(('-A', place.entered_from, '-j', place.chain))}` stands there without crossnet's comment"

    @property
    def repair(self) -> str:
        command = shlex.join((self.command, *delete_jump(self.chain, tag=False)))
        return f"Delete it on the host, then again: {' and '.join([f'`{command}`'] * self.bare)}."

    def look(self) -> tuple[Look, ...]:
        return (Command((self.command, "-w", *check_jump(self.chain))),)

    def as_healed(self, live: Sequence[Resource]) -> Self:
        """Where its chain only accepts the fence is elsewhere: dockerd may put its own jumps first, as it does."""
        tables = (each for each in live if isinstance(each, RuleTable) and each.only_accepts)
        accepts = any((each.engine, each.family) == (self.engine, self.family) for each in tables)
        return replace(self, first=False) if accepts else self

    def watched(self) -> tuple[Look, ...]:
        """Which rule is the first, or which are there."""
        place = PLACES[self.chain]
        which = ("1",) if self.first else ()
        return (Command((self.command, "-w", "-t", place.table, "-S", place.entered_from, *which)),)

    def holds(self, locate: Locate) -> Test:
        if not self.first:
            return Test(self._known)
        place = PLACES[self.chain]
        shown = shlex.join((self.command, "-w", "-t", place.table, "-S", place.entered_from, "1"))
        # One without its comment leads there too, and another one beside it would only be in the way of an undo.
        own = (shlex.quote(" ".join(("-A", *delete_jump(self.chain, tag=tag)[3:]))) for tag in (True, False))
        is_first = f'case "$first" in {" | ".join(own)}) ;; *) false ;; esac'
        return Test(f"if first=$({shown} 2>/dev/null); then {is_first}; else (exit 2); fi")

    def lacks(self, locate: Locate) -> Test:
        return Test(f"! {self._known}")

    @property
    def stands(self) -> Test | None:
        return Test(self._known) if self.chain == "forward" else None

    @property
    def _known(self) -> str:
        asked = (shlex.join((self.command, "-w", *check_jump(self.chain, tag=tag))) for tag in (True, False))
        return f"{{ {' || '.join(f'{each} >/dev/null 2>&1' for each in asked)}; }}"

    def serves(self, family: Family, destinations: Collection[Network], *, on_gateway: bool) -> bool:
        return on_gateway and family is self.family

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        side = want or have
        assert side is not None, "a change has at least one side"
        insert = Command((side.command, "-w", *insert_jump(side.chain)))
        delete = Command((side.command, "-w", *delete_jump(side.chain)))
        if want is None:
            return (delete,) * side.times
        if have is None or not want.first:
            # Back where it stood before a move means only that it is there.
            return (insert,)
        restore = restore_command(side.command, waits=side.waits)
        return (Command(restore, move_jump(side.chain, have.times).encode()),)

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        place = PLACES[side.chain]
        family = "" if side.family is Family.V4 else "  (IPv6)"
        moved = "  (back to the top)" if have and want else ""
        return f"{place.table} {place.entered_from} → {place.chain}{family}{moved}"

    def encode(self) -> Encoded:
        return {
            **self.state(),
            **({} if self.first else {"first": False}),
            **({} if self.times == 1 else {"times": self.times}),
        }

    def state(self) -> Encoded:
        """That it is there: more than that is not put back."""
        return {
            "engine": str(self.engine),
            "family": int(self.family),
            "chain": self.chain,
            "command": self.command,
        }

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        chain = text(encoded, "chain")
        if chain not in PLACES:
            raise ValueError(f"no chain of crossnet: {chain!r}")
        return cls(
            Engine(text(encoded, "engine")),
            Family(number(encoded, "family")),
            chain,
            text(encoded, "command"),
            first=encoded.get("first", True) is True,
            times=number_or(encoded, "times", 1),
        )


@dataclass(frozen=True, slots=True)
class Entering(Change):
    """The last jump by which iptables enters new rules: from then on the flows are judged by them."""

    rules: RuleTable

    @property
    def steps(self) -> tuple[Step, ...]:
        return (*type(self.resource).render(self.have, self.want), *self.rules.entered)
