"""Firewall chains walked with sets of packets: what passes a hook, and every rule that decides about some of it.

What stops packets is told and walked past as if it did not (`here`): so a walk does not end at the first rule that
drops, and tells all that would have to change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial

from crossnet.netfilter.foreign import (
    Accept,
    Action,
    AnyOf,
    Chain,
    Choice,
    Continue,
    Drop,
    Endpoint,
    Field,
    Jump,
    Map,
    Named,
    NoTrack,
    Numbers,
    Offload,
    Perhaps,
    Queue,
    Reject,
    Return,
    ReversePath,
    Rewrite,
    Rule,
    Table,
    Test,
    Tool,
    Tproxy,
    Translate,
    Translation,
    Unknown,
    Verdict,
    VerdictMap,
)
from crossnet.reach.here import Answer, Here
from crossnet.reach.matching import Matching, OfHost, by_result
from crossnet.reach.packets import INVALID, UNTRACKED, Packets, Space
from crossnet.reach.translation import DESTINATION, NAT_STATUS, translated

# A jump deeper than this is refused by the kernel (NFT_JUMP_STACK_SIZE is 16).
_DEPTH = 32

_FEW = 2000  # nodes
# Nodes of the marks alone: hosts have some dozens of marks, of a few hundred nodes; each product of masks adds others.
_MARKS = 5000

# The families of tables whose chains see packets of IP
IP = ("ip", "ip6", "inet")

# Where nat chains run, whatever their own priority: the kernel calls them from two hooks (nf_nat_core.c).
NAT_PRIORITY = {"prerouting": -100, "output": -100, "input": 100, "postrouting": 100}


# What a packet's flow says when a translation of the hook was chosen for it (IPS_DST_NAT, IPS_SRC_NAT)
_TRANSLATED = {"prerouting": 32, "output": 32, "input": 16, "postrouting": 16}


class Effect(StrEnum):
    DROPS = "drops"
    POLICY_DROPS = "policy-drops"  # what no rule of the chain has decided about
    REJECTS = "rejects"
    QUEUES = "queues"
    UNKNOWN = "unknown"
    ACCEPTS = "accepts"
    TRANSLATES = "translates"
    NOT_TRACKED = "not-tracked"
    OFFLOADS = "offloads"  # what follows meets no rule


BLOCKS = frozenset({Effect.DROPS, Effect.POLICY_DROPS, Effect.REJECTS, Effect.QUEUES, Effect.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Place:
    """A chain in its owner's words; `hook` is the kernel's."""

    tool: Tool
    family: str
    table: str
    chain: str
    hook: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What one rule, or a chain's policy, does with the packets that come to it.

    `doubts` are the words of what could not be known in it, and where that is nothing, on the way to it.
    """

    place: Place
    effect: Effect
    text: str
    here: Here = field(compare=False, repr=False)
    doubts: tuple[str, ...] = ()


class _Ended:
    """Where packets went to that left a chain; it grows as rules are walked."""

    def __init__(self) -> None:
        self.accepted: list[Here] = []
        self.returned: list[Here] = []
        self.translated: list[Here] = []


@dataclass(frozen=True, slots=True)
class _At:
    """The rule at which the walk is: whose words it has, and where packets go that leave its chain."""

    table: Table
    chain: Chain
    hook: str
    ended: _Ended
    depth: int = 0
    doubts: tuple[str, ...] = ()
    text: str = ""


class Walk:
    """One host's rules, walked with the packets of one question."""

    def __init__(self, space: Space, tables: Iterable[Table], local: OfHost) -> None:
        self.space = space
        self.tables = [table for table in tables if not table.dormant]
        self.local, self.matching = local, Matching(space, local)
        self.none = Here.of(space.none)
        self.chose = False  # whether one of several addresses, ports or ways was taken
        self.decisions: list[Decision] = []
        self.changes = 0  # how often a rule has changed what others see
        self._given_up: set[Field] = set()  # what is not followed any more, because it says too much
        self.doubts: dict[str, None] = {}  # in their order, what could not be known of these packets

    # ---- hooks --------------------------------------------------------------------------------------

    def base_chains(
        self, hook: str, families: Collection[str], nat: bool = False
    ) -> list[tuple[int, Table, Chain]]:
        """The base chains at a hook of tables of these families, in the order in which the kernel enters them."""
        found = [
            (chain.hook.priority, table, chain)
            for table in self.tables
            if table.family in families
            for chain in table.chains.values()
            if chain.hook is not None and chain.hook.name == hook and (chain.hook.type == "nat") is nat
        ]
        # Of equal priority, what was made last is entered first (nf_hook_entries_grow, measured); a tool lists it last.
        found.reverse()
        return sorted(found, key=lambda item: item[0])

    def enter(self, table: Table, chain: Chain, here: Here) -> Here:
        """What goes on after one base chain that is no nat chain."""
        seen, others = self._of_family(table, here)
        self.matching.later = (here.fixed & ~self.space.value(Field.FRAGMENT, 0)).satisfiable()
        return self._all([others, *self._base(table, chain, seen).accepted]) if seen else here

    def translate(self, table: Table, chain: Chain, here: Here) -> Here:
        """What goes on after one nat chain: of the rules that translate a packet, the first counts."""
        assert chain.hook is not None
        done = Answer.sure(self.space.one_bit_of(Field.CT_STATUS, _TRANSLATED[chain.hook.name]))
        seen, others = self._of_family(table, here.failing(done))
        if not seen:
            return here
        ended = self._base(table, chain, seen)
        return self._all([here.passing(done), others, *ended.accepted, *ended.translated])

    def _of_family(self, table: Table, here: Here) -> tuple[Here, Here]:
        if table.family not in ("ip", "ip6"):
            return here, self.none
        family = self.space.ipv4 if table.family == "ip" else self.space.ipv6
        answer = Answer(family, family)
        return here.passing(answer), here.failing(answer)

    def _base(self, table: Table, chain: Chain, here: Here) -> _Ended:
        assert chain.hook is not None
        at = _At(table, chain, chain.hook.name, _Ended(), text=f"policy {chain.hook.policy}")
        self._chain(at, here)
        left = self._all(at.ended.returned)
        if left and chain.hook.policy == "drop":
            self._decide(at, Effect.POLICY_DROPS, left)
            left = self._stopped(left)
        at.ended.accepted.append(left)
        return at.ended

    # ---- chains and rules ---------------------------------------------------------------------------

    def _chain(self, at: _At, here: Here) -> None:
        # Few packets seldom meet a rule's first test: then what else the rule asks need not be built.
        few, changes = True, self.changes
        for number, rule in enumerate(at.chain.rules):
            if not here:
                return
            if few and number % 32 == 0:
                few = here.fixed.node_count() < _FEW
            if self.changes - changes >= 32:
                here, changes = self._with_few_marks(at, here), self.changes
            here = self._rule(replace(at, text=rule.text), rule, here, few)
        at.ended.returned.append(here)

    def _rule(self, at: _At, rule: Rule, before: Here, few: bool) -> Here:
        """What comes to the next rule."""
        skipped, live, only_tested = self.none, before, True
        must = can = self.space.all
        for statement in rule.statements:
            if isinstance(statement, Test | AnyOf | Perhaps | ReversePath):
                answer, doubts = self.matching.answer(at.table, statement, live)
                if doubts and (answer.can & ~answer.must & can & live.fixed).satisfiable():
                    at = self._doubting(at, *doubts)
                must, can = must & answer.must, can & answer.can
                if few and not (live.fixed & can).satisfiable():
                    return skipped.joined(live)
                continue
            answer, must, can = Answer(must, can), self.space.all, self.space.all
            if only_tested and isinstance(statement, Drop | Reject | Queue | Unknown | Tproxy):
                return self._stopping(at, statement, before, answer)
            skipped, live = self._split(skipped, live, answer)
            if not live:
                return skipped
            following, live = self._acted(at, statement, live)
            skipped, only_tested = skipped.joined(following), False
        return skipped.joined(live)  # what fails the last tests goes on like what passes them

    def _stopping(
        self, at: _At, what: Drop | Reject | Queue | Unknown | Tproxy, before: Here, answer: Answer
    ) -> Here:
        """What goes on behind a rule that does nothing but stop packets."""
        live = before.passing(answer)
        if not live:
            return before
        self._stop(at, what, live)
        # Without the rule all would go on, surely those too that it perhaps drops.
        may = before.may if isinstance(what, Unknown | Tproxy) else before.may & ~answer.must
        return Here(may, before.fixed, before.surely)

    def _acted(self, at: _At, action: Action, live: Here) -> tuple[Here, Here]:
        """What goes on with the next rule, and what goes on in this one."""
        match action:
            case Unknown() | Tproxy():
                self._stop(at, action, live)
                return live, self.none
            case Choice():
                at = self._doubting(at, action.text)
                open_ = self._perhaps(live)
                return self._all(
                    [self._verdict(at, verdict, open_) for verdict in action.verdicts]
                ), self.none
            case VerdictMap():
                return self._mapped(at, action, live)
            case Translate():
                return self.none, self._translated(at, action, live)
            case Rewrite():
                return self.none, self._rewritten(at, action, live)
            case NoTrack():
                return self.none, self._untracked(at, live)
            case Offload():
                self._decide(at, Effect.OFFLOADS, live)
                return self.none, live
            case _:
                return self._verdict(at, action, live), self.none

    def _split(self, skipped: Here, live: Here, answer: Answer) -> tuple[Here, Here]:
        if answer.must == self.space.all:
            return skipped, live
        failing = live.failing(answer)
        return (failing if skipped is self.none else skipped.joined(failing)), live.passing(answer)

    def _stop(self, at: _At, what: Drop | Reject | Queue | Unknown | Tproxy, live: Here) -> None:
        match what:
            case Drop():
                self._decide(at, Effect.DROPS, live)
                return
            case Reject():
                self._decide(at, Effect.REJECTS, live)
                return
            case Queue():
                effect, words = Effect.QUEUES, "a program decides"
            case Unknown() | Tproxy():
                effect, words = Effect.UNKNOWN, what.text
        self._decide(self._doubting(at, words), effect, live)
        at.ended.accepted.append(self._perhaps(live))

    def _verdict(self, at: _At, verdict: Verdict, live: Here) -> Here:
        """What of these goes on with the next rule."""
        match verdict:
            case Accept():
                self._decide(at, Effect.ACCEPTS, live)
                at.ended.accepted.append(live)
            case Drop() | Reject() | Queue():
                self._stop(at, verdict, live)
                return self._stopped(live)
            case Return():
                at.ended.returned.append(live)
            case Continue():
                return live
            case Jump():
                return self._jumped(at, verdict, live)
        return self.none

    def _jumped(self, at: _At, jump: Jump, live: Here) -> Here:
        target = at.table.chains.get(jump.chain)
        if target is None or at.depth > _DEPTH:
            self._stop(at, Unknown(f"the chain {jump.chain} is not known"), live)
            return live
        inner = replace(at, chain=target, ended=_Ended(), depth=at.depth + 1)
        self._chain(inner, live)
        ended = at.ended
        ended.accepted += inner.ended.accepted
        ended.translated += inner.ended.translated
        if not jump.goto:
            return self._all(inner.ended.returned)
        ended.returned += inner.ended.returned
        return self.none

    def _mapped(self, at: _At, verdicts: VerdictMap, live: Here) -> tuple[Here, Here]:
        """What goes on with the next rule, and what goes on in this one."""
        following = self.none
        entries, settled = self.matching.entries(at.table, verdicts.map)
        if not settled:
            at = self._doubting(at, f"the map {_name(verdicts.map)} changes by itself")
        if entries is None:
            self._stop(at, Unknown(f"the map {_name(verdicts.map)} is not known"), live)
            return following, live
        going_on, rest = self.none, live
        for verdict, keys in by_result(entries):
            answer = self.matching.keys(at.table, verdicts.fields, keys, settled)
            found, rest = rest.passing(answer), rest.failing(answer)
            if not found:
                continue
            if isinstance(verdict, Continue):
                going_on = going_on.joined(found)
            elif isinstance(verdict, Accept | Drop | Reject | Queue | Return | Jump):
                following = following.joined(self._verdict(at, verdict, found))
        return following.joined(rest), going_on

    def _decide(self, at: _At, effect: Effect, here: Here) -> None:
        place = Place(at.table.tool, at.table.family, at.table.name, at.chain.name, at.hook)
        doubts = tuple(dict.fromkeys(at.doubts))
        if not doubts and (here.fixed & ~here.surely).satisfiable():
            doubts = tuple(self.doubts)
        self.decisions.append(Decision(place, effect, at.text, here, doubts))

    def _doubting(self, at: _At, *words: str) -> _At:
        """The same, where this cannot be known: so all that comes of it cannot be, in later rules too."""
        self.doubts |= dict.fromkeys(words)
        return replace(at, doubts=(*at.doubts, *words))

    def _all(self, many: Sequence[Here]) -> Here:
        """All of these together."""
        may = self.space.any_of(here.may for here in many)
        fixed = self.space.any_of(here.fixed for here in many)
        surely = self.space.any_of(here.surely for here in many)
        return Here(may, fixed, surely)

    def _stopped(self, here: Here) -> Here:
        return Here(self.space.none, here.fixed, here.surely)

    def _perhaps(self, here: Here) -> Here:
        return Here(here.may, here.fixed, self.space.none)

    # ---- what changes a packet ----------------------------------------------------------------------

    def _translated(self, at: _At, translate: Translate, live: Here) -> Here:
        """What is not translated by the rule, and goes on."""
        destination = translate.kind in DESTINATION
        if translate.map is None:
            self._leave(at, translate, live)
            return self.none
        entries, settled = self.matching.entries(at.table, translate.map)
        if entries is None:
            side = Field.DESTINATION6 if destination else Field.SOURCE6
            words = f"the map {_name(translate.map)} is not known"
            self._decide(self._doubting(at, words), Effect.TRANSLATES, live)
            anything = live.through(lambda packets: self._readdressed(packets, side, destination))
            at.ended.translated.append(self._perhaps(anything))
            return self._perhaps(live)
        rest = live
        for given, keys in by_result(entries):
            answer = self.matching.keys(at.table, translate.fields, keys, settled)
            found, rest = rest.passing(answer), rest.failing(answer)
            if not found:
                continue
            if isinstance(given, Endpoint):
                self._leave(at, replace(translate, addresses=given.addresses, ports=given.ports), found)
            elif isinstance(given, Numbers):
                self._leave(at, replace(translate, addresses=given), found)
        return rest

    def _readdressed(self, packets: Packets, side: Field, destination: bool) -> Packets:
        space, bit = self.space, NAT_STATUS[destination]
        return space.rewritten(space.without(packets, side), Field.CT_STATUS, bit, bit)

    def _leave(self, at: _At, translate: Translate, live: Here) -> None:
        self._decide(at, Effect.TRANSLATES, live)
        self.changes += 1
        given = live.through(partial(translated, self.space, self.local.choose, translate))
        netmap = translate.kind in (Translation.NETMAP_SOURCE, Translation.NETMAP_DESTINATION)
        chosen = (None if netmap else translate.addresses, translate.ports)
        if any(numbers is not None and not numbers.is_single for numbers in chosen):
            self.chose = True
        at.ended.translated.append(given)

    def _rewritten(self, at: _At, rewrite: Rewrite, live: Here) -> Here:
        space, field_ = self.space, rewrite.field
        if not space.knows(field_):
            return live
        self.changes += 1
        if field_ is Field.CT_ZONE:
            # The first that says one counts, and only before connection tracking has seen it (xt_CT.c, nft_ct.c).
            waiting = Answer.sure(space.state(INVALID) & space.value(field_, 0))
            others, live = live.failing(waiting), live.passing(waiting)
            return others.joined(self._changed(at, rewrite, live)) if live else others
        return self._changed(at, rewrite, live)

    def _changed(self, at: _At, rewrite: Rewrite, live: Here) -> Here:
        space, field_ = self.space, rewrite.field
        if field_ in self._given_up:
            return self._perhaps(live.through(partial(self._unknown, field_)))
        if rewrite.source is not None and space.knows(rewrite.source):
            source, having = rewrite.source, space.present(rewrite.source)
            return live.through(
                lambda packets: (
                    packets & ~having | space.copied(packets & having, field_, rewrite.mask, source)
                )
            )
        value = rewrite.value
        if value is None or rewrite.source is not None:
            self._doubting(at, at.text)
            return self._perhaps(live.through(lambda packets: space.blurred(packets, field_, rewrite.mask)))
        return live.through(lambda packets: space.rewritten(packets, field_, rewrite.mask, value))

    def _with_few_marks(self, at: _At, here: Here) -> Here:
        """The same packets; where their marks have become too many to follow, nobody knows the marks."""
        for field_ in (Field.MARK, Field.CT_MARK):
            if field_ not in self._given_up and self.space.only(here.fixed, field_).node_count() > _MARKS:
                self._doubting(at, f"{at.chain.name} gives more {field_}s than are followed")
                self._given_up.add(field_)
                here = self._perhaps(here.through(partial(self._unknown, field_)))
        return here

    def _unknown(self, field_: Field, packets: Packets) -> Packets:
        return self.space.without(packets, field_)

    def _untracked(self, at: _At, live: Here) -> Here:
        # A packet that connection tracking has seen stays tracked (nft_ct.c, xt_CT.c).
        unseen = self.space.state(INVALID)
        unseen_here = live.passing(Answer(unseen, unseen))
        if not unseen_here:
            return live
        self._decide(at, Effect.NOT_TRACKED, unseen_here)
        self.changes += 1
        untracked = unseen_here.through(
            lambda packets: self.space.with_value(packets, Field.CT_STATE, UNTRACKED)
        )
        return live.failing(Answer(unseen, unseen)).joined(untracked)


def _name(named: Map | Named | None) -> str:
    return named.name if isinstance(named, Named) else ""
