"""Firewall chains walked with sets of packets: what passes a hook, and every rule that decides about some of it.

A test has three answers, so what is known of a set has more than one bound: `may` are the packets that perhaps come
here; `fixed` those that would if everything that stopped some before were taken away, and `surely` the part of them
of which that is certain. So a walk does not end at the first rule that drops, and tells all that would have to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial

from crossnet.netfilter.foreign import (
    Accept,
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
    Rows,
    Rule,
    Table,
    Test,
    Tool,
    Tproxy,
    Translate,
    Translation,
    Unknown,
    Values,
    Verdict,
    VerdictMap,
)
from crossnet.reach.packets import INVALID, UNTRACKED, Packets, Space, address_field
from crossnet.values import Address, Family

# A jump deeper than this is refused by the kernel (NFT_JUMP_STACK_SIZE is 16).
_DEPTH = 32

_FEW = 2000  # nodes

# What connection tracking expects of the answer, told by the request.
_ANSWERED = {
    Field.CT_REPLY_SOURCE4: Field.DESTINATION4,
    Field.CT_REPLY_DESTINATION4: Field.SOURCE4,
    Field.CT_REPLY_SOURCE6: Field.DESTINATION6,
    Field.CT_REPLY_DESTINATION6: Field.SOURCE6,
    Field.CT_REPLY_SOURCE_PORT: Field.DESTINATION_PORT,
    Field.CT_REPLY_DESTINATION_PORT: Field.SOURCE_PORT,
}

# Where nat chains run, whatever their own priority: the kernel calls them from two hooks (nf_nat_core.c).
NAT_PRIORITY = {"prerouting": -100, "output": -100, "input": 100, "postrouting": 100}

_DESTINATION = frozenset({Translation.DESTINATION, Translation.REDIRECT, Translation.NETMAP_DESTINATION})
_NAT_STATUS = {True: 32, False: 16}  # IPS_DST_NAT, IPS_SRC_NAT


@dataclass(frozen=True, slots=True)
class Here:
    """The packets at one point of their way, bounded; `may` and `surely` are parts of `fixed`."""

    may: Packets
    fixed: Packets
    surely: Packets

    @classmethod
    def of(cls, packets: Packets) -> Here:
        return cls(packets, packets, packets)

    def __bool__(self) -> bool:
        return self.fixed.satisfiable()

    def through(self, change: Callable[[Packets], Packets]) -> Here:
        """What becomes of them when all are changed."""
        fixed = change(self.fixed)
        may = fixed if self.may == self.fixed else change(self.may)
        surely = fixed if self.surely == self.fixed else change(self.surely)
        return Here(may, fixed, surely)

    def passing(self, test: Answer) -> Here:
        if test.must == test.can:
            return self.through(lambda packets: packets & test.can)
        return Here(self.may & test.can, self.fixed & test.can, self.surely & test.must)

    def failing(self, test: Answer) -> Here:
        if test.must == test.can:
            return self.through(lambda packets: packets & ~test.can)
        return Here(self.may & ~test.must, self.fixed & ~test.must, self.surely & ~test.can)

    def joined(self, other: Here) -> Here:
        if other.fixed == self.fixed and other.may == self.may and other.surely == self.surely:
            return self
        return Here(self.may | other.may, self.fixed | other.fixed, self.surely | other.surely)


@dataclass(frozen=True, slots=True)
class Answer:
    """Of which packets a test holds: of `must` for certain, of none but `can`."""

    must: Packets
    can: Packets


class Effect(StrEnum):
    DROPS = "drops"
    REJECTS = "rejects"
    QUEUES = "queues"
    UNKNOWN = "unknown"
    ACCEPTS = "accepts"
    TRANSLATES = "translates"
    NOT_TRACKED = "not-tracked"


BLOCKS = frozenset({Effect.DROPS, Effect.REJECTS, Effect.QUEUES, Effect.UNKNOWN})


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

    `doubts` are the words of what could not be known on the way to it and in it.
    """

    place: Place
    effect: Effect
    text: str
    here: Here = field(compare=False, repr=False)
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Local:
    """What a rule asks of the host itself.

    `choose` gives the addresses of an interface that packets which leave (or came) by it can be given, `typed` the
    packets whose address is of a type (RTN_*), `link_types` the interfaces of an ARPHRD_* number, None where that
    cannot be known; `way_back` of which of the packets a test of the way back holds, surely and perhaps; `bridged`
    are those that perhaps came by a port of a bridge.
    """

    choose: Callable[[str, Family, Packets], Sequence[tuple[Packets, Address]]]
    typed: Callable[[Field, Numbers], Packets | None]
    link_types: Callable[[Numbers], frozenset[str] | None]
    way_back: Callable[[ReversePath, Packets], tuple[Packets, Packets]]
    bridged: Packets


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

    def __init__(self, space: Space, tables: Iterable[Table], local: Local) -> None:
        self.space = space
        self.tables = [table for table in tables if not table.dormant]
        self.local = local
        self.none = Here.of(space.none)
        self.decisions: list[Decision] = []
        self._answers: dict[int, tuple[Answer, tuple[str, ...]]] = {}
        self._sets: dict[tuple[int, str, tuple[Field, ...]], tuple[Packets, Packets]] = {}

    # ---- hooks --------------------------------------------------------------------------------------

    def base_chains(self, hook: str, nat: bool = False) -> list[tuple[int, Table, Chain]]:
        """The base chains at a hook of IPv4 and IPv6, in the order in which the kernel enters them."""
        found = [
            (chain.hook.priority, table, chain)
            for table in self.tables
            if table.family in ("ip", "ip6", "inet")
            for chain in table.chains.values()
            if chain.hook is not None and chain.hook.name == hook and (chain.hook.type == "nat") is nat
        ]
        # Of equal priority, what was made last is entered first (nf_hook_entries_grow, measured); tools list it last.
        found.reverse()
        return sorted(found, key=lambda item: item[0])

    def enter(self, table: Table, chain: Chain, here: Here) -> Here:
        """What goes on after one base chain that is no nat chain."""
        seen, others = self._of_family(table, here)
        return self._all([others, *self._base(table, chain, seen).accepted]) if seen else here

    def nat(self, hook: str, here: Here) -> Here:
        """What goes on after the nat chains: of the rules that translate a packet, the first counts."""
        waiting: Here = here
        done: list[Here] = []
        for _, table, chain in self.base_chains(hook, nat=True):
            seen, others = self._of_family(table, waiting)
            if seen:
                ended = self._base(table, chain, seen)
                waiting = self._all([others, *ended.accepted])
                done += ended.translated
        return self._all([waiting, *done])

    def _of_family(self, table: Table, here: Here) -> tuple[Here, Here]:
        if table.family == "inet":
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
            self._decide(at, Effect.DROPS, left)
            left = self._stopped(left)
        at.ended.accepted.append(left)
        return at.ended

    # ---- chains and rules ---------------------------------------------------------------------------

    def _chain(self, at: _At, here: Here) -> None:
        # Few packets seldom meet a rule's first test: then what else the rule asks need not be built.
        few = True
        for number, rule in enumerate(at.chain.rules):
            if not here:
                return
            if few and number % 32 == 0:
                few = here.fixed.node_count() < _FEW
            here = self._rule(replace(at, text=rule.text), rule, here, few)
        at.ended.returned.append(here)

    def _rule(self, at: _At, rule: Rule, before: Here, few: bool) -> Here:
        """What comes to the next rule."""
        skipped, live, only_tested = self.none, before, True
        must = can = self.space.all
        for statement in rule.statements:
            if isinstance(statement, Test | AnyOf | Perhaps | ReversePath):
                answer, doubts = self._answer(at.table, statement, live)
                at = replace(at, doubts=(*at.doubts, *doubts)) if doubts else at
                must, can = must & answer.must, can & answer.can
                if few and not (live.fixed & can).satisfiable():
                    return skipped.joined(live)
                continue
            answer, must, can = Answer(must, can), self.space.all, self.space.all
            if only_tested and isinstance(statement, Drop | Reject | Queue | Unknown | Tproxy):
                live = before.passing(answer)
                if not live:
                    return before
                self._stop(at, statement, live)
                # Without the rule all would go on, surely those too that it perhaps drops.
                may = before.may if isinstance(statement, Unknown | Tproxy) else before.may & ~answer.must
                return Here(may, before.fixed, before.surely)
            skipped, live = self._split(skipped, live, answer)
            if not live:
                return skipped
            match statement:
                case Unknown() | Tproxy():
                    self._stop(at, statement, live)
                    return skipped.joined(live)
                case Choice():
                    at = replace(at, doubts=(*at.doubts, statement.text))
                    for verdict in statement.verdicts:
                        skipped = skipped.joined(self._verdict(at, verdict, self._perhaps(live)))
                    return skipped
                case VerdictMap():
                    following, live = self._mapped(at, statement, live)
                    skipped = skipped.joined(following)
                case Translate():
                    live = self._translated(at, statement, live)
                case Rewrite():
                    live = self._rewritten(statement, live)
                case NoTrack():
                    live = self._untracked(at, live)
                case Offload():
                    pass
                case _:
                    return skipped.joined(self._verdict(at, statement, live))
            only_tested = False
        skipped, live = self._split(skipped, live, Answer(must, can))
        return skipped.joined(live)

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
        self._decide(replace(at, doubts=(*at.doubts, words)), effect, live)
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
        entries, settled = self._entries(at.table, verdicts.map)
        if not settled:
            at = replace(at, doubts=(*at.doubts, f"the map {_name(verdicts.map)} changes by itself"))
        if entries is None:
            self._stop(at, Unknown(f"the map {_name(verdicts.map)} is not known"), live)
            return following, live
        going_on, rest = self.none, live
        for verdict, keys in _by_result(entries):
            answer = self._keys(at.table, verdicts.fields, keys, settled)
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
        self.decisions.append(Decision(place, effect, at.text, here, tuple(dict.fromkeys(at.doubts))))

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
        destination = translate.kind in _DESTINATION
        if translate.map is None:
            self._leave(at, translate, live)
            return self.none
        entries, settled = self._entries(at.table, translate.map)
        if entries is None:
            side = Field.DESTINATION6 if destination else Field.SOURCE6
            words = f"the map {_name(translate.map)} is not known"
            self._decide(replace(at, doubts=(*at.doubts, words)), Effect.TRANSLATES, live)
            anything = live.through(lambda packets: self.space.without(packets, side))
            at.ended.translated.append(self._perhaps(anything))
            return self._perhaps(live)
        rest = live
        for given, keys in _by_result(entries):
            answer = self._keys(at.table, translate.fields, keys, settled)
            found, rest = rest.passing(answer), rest.failing(answer)
            if not found:
                continue
            if isinstance(given, Endpoint):
                self._leave(at, replace(translate, addresses=given.addresses, ports=given.ports), found)
            elif isinstance(given, Numbers):
                self._leave(at, replace(translate, addresses=given), found)
        return rest

    def _leave(self, at: _At, translate: Translate, live: Here) -> None:
        self._decide(at, Effect.TRANSLATES, live)
        translated = live.through(partial(self._given, translate))
        netmap = translate.kind in (Translation.NETMAP_SOURCE, Translation.NETMAP_DESTINATION)
        chosen = (None if netmap else translate.addresses, translate.ports)
        if any(numbers is not None and not _single(numbers) for numbers in chosen):
            translated = self._perhaps(translated)
        at.ended.translated.append(translated)

    def _given(self, translate: Translate, packets: Packets) -> Packets:
        """The packets with the addresses and ports that the rule gives them."""
        space = self.space
        destination = translate.kind in _DESTINATION
        found = space.none
        for family in Family:
            part = packets & space.family(family)
            if part.satisfiable():
                found |= self._readdressed(translate, part, family)
        if translate.ports is not None:
            port = Field.DESTINATION_PORT if destination else Field.SOURCE_PORT
            having = found & space.present(port)
            given = space.without(having, port) & space.among((port,), translate.ports)
            found = (found & ~space.present(port)) | given
        return space.rewritten(found, Field.CT_STATUS, bit := _NAT_STATUS[destination], bit)

    def _readdressed(self, translate: Translate, packets: Packets, family: Family) -> Packets:
        space = self.space
        destination = translate.kind in _DESTINATION
        side = address_field(Field.DESTINATION6 if destination else Field.SOURCE6, family)
        match translate.kind:
            case Translation.MASQUERADE | Translation.REDIRECT:
                by = Field.OIF if translate.kind is Translation.MASQUERADE else Field.IIF
                found = space.none
                for number in space.values_of(packets, by):
                    name = space.interface(number)
                    leaving = packets & space.interfaces(by, (name,))
                    for part, address in self.local.choose(name, family, leaving):
                        found |= space.with_value(part, side, int(address))
                return found
            case Translation.NETMAP_SOURCE | Translation.NETMAP_DESTINATION if translate.addresses:
                ((first, last),) = translate.addresses.ranges
                width = 32 if family is Family.V4 else 128
                return space.rewritten(packets, side, (1 << width) - 1 ^ (first ^ last), first)
        if translate.addresses is None:
            return packets
        return space.without(packets, side) & space.among((side,), translate.addresses)

    def _rewritten(self, rewrite: Rewrite, live: Here) -> Here:
        space, field_ = self.space, rewrite.field
        if not space.knows(field_):
            return live
        if rewrite.source is not None and space.knows(rewrite.source):
            source, having = rewrite.source, space.present(rewrite.source)
            return live.through(
                lambda packets: (
                    packets & ~having | space.copied(packets & having, field_, rewrite.mask, source)
                )
            )
        value = rewrite.value
        if value is None or rewrite.source is not None:
            return self._perhaps(live.through(lambda packets: space.blurred(packets, field_, rewrite.mask)))
        return live.through(lambda packets: space.rewritten(packets, field_, rewrite.mask, value))

    def _untracked(self, at: _At, live: Here) -> Here:
        # A packet that connection tracking has seen stays tracked (nft_ct.c, xt_CT.c).
        unseen = self.space.state(INVALID)
        unseen_here = live.passing(Answer(unseen, unseen))
        if not unseen_here:
            return live
        self._decide(at, Effect.NOT_TRACKED, unseen_here)
        untracked = unseen_here.through(
            lambda packets: self.space.with_value(packets, Field.CT_STATE, UNTRACKED)
        )
        return live.failing(Answer(unseen, unseen)).joined(untracked)

    # ---- tests --------------------------------------------------------------------------------------

    def _answer(
        self, table: Table, test: Test | AnyOf | Perhaps | ReversePath, live: Here
    ) -> tuple[Answer, tuple[str, ...]]:
        if isinstance(test, ReversePath):
            must, can = self.local.way_back(test, live.fixed)
            return Answer(must, can), ()
        known = self._answers.get(id(test))
        if known is None:
            known = self._answers[id(test)] = self._asked(table, test)
        return known

    def _asked(self, table: Table, test: Test | AnyOf | Perhaps) -> tuple[Answer, tuple[str, ...]]:
        space = self.space
        match test:
            case Perhaps():
                return Answer(space.none, space.all), (test.text,)
            case AnyOf():
                answers = [self._asked(table, each) for each in test.tests]
                doubts = tuple(word for _, words in answers for word in words)
                must = space.any_of(answer.must for answer, _ in answers)
                can = space.any_of(answer.can for answer, _ in answers)
                return (Answer(~can, ~must) if test.negated else Answer(must, can)), doubts
            case Test():
                return self._tested(table, test)

    def _tested(self, table: Table, test: Test) -> tuple[Answer, tuple[str, ...]]:
        space = self.space
        fields = tuple(_ANSWERED.get(each, each) for each in test.fields)
        if fields != test.fields:
            # What is expected of the answer is the reverse of the request as it stands, until an answer comes.
            answer, doubts = self._tested(table, replace(test, fields=fields))
            answers = space.value(Field.CT_DIRECTION, 1)
            known = space.tracked & ~answers
            return Answer(answer.must & known, (answer.can & known) | (space.tracked & answers)), doubts
        must, can, doubts = self._matching(table, test)
        present = space.every(space.present(each) for each in fields if space.knows(each))
        if test.negated:
            must, can = ~can, ~must
        return Answer(present & must, present & can), doubts

    def _matching(self, table: Table, test: Test) -> tuple[Packets, Packets, tuple[str, ...]]:
        """Those of which the test, were it not negated, holds: surely, perhaps, and what is in doubt."""
        space = self.space
        values: Values | Rows
        if isinstance(test.values, Named):
            named = table.sets.get(test.values.name)
            if named is None or named.members is None:
                return space.none, space.all, (f"the set {test.values.name} is not known",)
            values = named.members
            if not named.settled:
                return space.none, space.all, (f"the set {test.values.name} changes by itself",)
        else:
            values = test.values
        if test.any_bit is not None:
            (field_,) = test.fields
            if not space.knows(field_):
                return space.none, space.all, (f"{field_} is not known",)
            found = space.one_bit_of(field_, test.any_bit)
            return found, found, ()
        if test.mask is not None and isinstance(values, Numbers) and space.knows(test.fields[0]):
            found = space.masked(test.fields[0], test.mask, values)
            return found, found, ()
        if isinstance(test.values, Named):
            key = id(table), test.values.name, test.fields
            if key not in self._sets:
                self._sets[key] = self._rows(test.fields, values)
            must, can = self._sets[key]
        else:
            must, can = self._rows(test.fields, values)
        unknown = tuple(
            f"{each} is not known" for each in test.fields if must != can and not space.knows(each)
        )
        return must, can, unknown

    def _rows(self, fields: tuple[Field, ...], values: Values | Rows) -> tuple[Packets, Packets]:
        rows = values.rows if isinstance(values, Rows) else ((values,),)
        if all(self.space.knows(each) for each in fields):
            found = self.space.among(fields, values)
            return found, found
        answers = [[self._one(each, value) for each, value in zip(fields, row, strict=True)] for row in rows]
        every, any_of = self.space.every, self.space.any_of
        return (
            any_of(every(must for must, _ in row) for row in answers),
            any_of(every(can for _, can in row) for row in answers),
        )

    def _one(self, field_: Field, values: Values) -> tuple[Packets, Packets]:
        """Those with one of the values in the field: surely, and perhaps."""
        space = self.space
        if space.knows(field_):
            found = space.among((field_,), values)
            return found, found
        match field_, values:
            case ((Field.SOURCE_TYPE | Field.DESTINATION_TYPE), Numbers()):
                typed = self.local.typed(field_, values)
                if typed is not None:
                    return typed, typed
            case ((Field.IIF_TYPE | Field.OIF_TYPE), Numbers()):
                names = self.local.link_types(values)
                if names is not None:
                    side = Field.IIF if field_ is Field.IIF_TYPE else Field.OIF
                    found = space.interfaces(side, names)
                    return found, found
            case ((Field.PHYS_IN | Field.PHYS_OUT), _):
                return space.none, self.local.bridged
        return space.none, space.all

    def _keys(
        self,
        table: Table,
        fields: tuple[Field, ...],
        keys: Sequence[tuple[Values, ...]],
        settled: bool,
    ) -> Answer:
        test = Test(fields, keys[0][0] if len(keys) == len(fields) == 1 else Rows(tuple(keys)))
        answer, _ = self._tested(table, test)
        return answer if settled else Answer(self.space.none, answer.can)

    def _entries(self, table: Table, entries: Map | Named) -> tuple[_Entries | None, bool]:
        if isinstance(entries, Map):
            return entries.entries, True
        named = table.maps.get(entries.name)
        if named is None or named.map is None:
            return None, True
        return named.map.entries, named.settled


_Result = Verdict | Numbers | Endpoint
_Entries = Sequence[tuple[tuple[Values, ...], _Result]]


def _by_result(entries: _Entries) -> list[tuple[_Result, list[tuple[Values, ...]]]]:
    """Neighbouring entries that give the same, together."""
    found: list[tuple[_Result, list[tuple[Values, ...]]]] = []
    for keys, result in entries:
        if found and found[-1][0] == result:
            found[-1][1].append(keys)
        else:
            found.append((result, [keys]))
    return found


def _name(named: Map | Named | None) -> str:
    return named.name if isinstance(named, Named) else ""


def _single(numbers: Numbers) -> bool:
    return len(numbers.ranges) == 1 and numbers.ranges[0][0] == numbers.ranges[0][1]
