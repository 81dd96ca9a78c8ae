"""Connection tracking of one host: what begins a flow, what answers one, and what is given back to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from crossnet.facts.sysctls import MOST_TRACKED, TRACKED
from crossnet.netfilter.foreign import (
    AnyOf,
    Chain,
    Choice,
    Field,
    Jump,
    Map,
    Named,
    Numbers,
    Offload,
    Perhaps,
    Rewrite,
    Rule,
    Statement,
    Table,
    Test,
    Translate,
    Unknown,
    VerdictMap,
)
from crossnet.reach.here import Answer, Here
from crossnet.reach.packets import ESTABLISHED, ICMP, ICMP6, INVALID, NEW, TCP, UNTRACKED, Packets, Space
from crossnet.values import Family

SNAT, DNAT = 16, 32
_SYN, _RST, _FIN, _ACK = 2, 4, 1, 16

# What begins a flow (nf_conntrack_proto_icmp.c, _icmpv6.c); neighbour discovery is not tracked at all.
_ASKING = {Family.V4: (ICMP, (8, 13, 15, 17)), Family.V6: (ICMP6, (128, 139))}
_NOT_TRACKED6 = Numbers(((130, 137), (143, 143)))

# What a flow's packets differ in, beside what connection tracking tells them apart by.
_OF_THE_PACKET_AND_PLACE = (
    Field.IIF,
    Field.OIF,
    Field.NEXT_HOP,
    Field.PHYS_IN,
    Field.PHYS_OUT,
    Field.TCP_FLAGS,
    Field.ICMP_TYPE,
    Field.ICMP_CODE,
    Field.FRAGMENT,
    Field.MORE_FRAGMENTS,
    Field.MARK,
    Field.DSCP,
    Field.ECN,
    Field.TTL,
    Field.LENGTH,
    Field.PACKET_TYPE,
    Field.CT_STATE,
    Field.CT_DIRECTION,
)
_OF_THE_PACKET = (
    *_OF_THE_PACKET_AND_PLACE,
    Field.CT_STATUS,
    Field.CT_MARK,
    Field.CT_SOURCE6,
    Field.CT_DESTINATION6,
    Field.CT_SOURCE_PORT,
    Field.CT_DESTINATION_PORT,
)

# What tells pieces of a packet from a whole one
OF_PIECES = (Field.FRAGMENT, Field.MORE_FRAGMENTS, Field.LENGTH)

# What changes on the way, beside what is translated.
_OF_THE_WAY = (
    *(Field.PHYS_IN, Field.PHYS_OUT),
    *(Field.IIF, Field.OIF, Field.NEXT_HOP, Field.MARK, Field.TTL, Field.PACKET_TYPE, Field.CT_MARK),
    *(Field.CT_STATE, Field.CT_DIRECTION, Field.CT_STATUS, Field.CT_SOURCE6, Field.CT_DESTINATION6),
    *(Field.CT_SOURCE_PORT, Field.CT_DESTINATION_PORT, Field.CT_ZONE),
)


class Tracking:
    """What a host's connection tracking says of packets.

    `flows` is what it remembers of requests where the packets are answers to them, else None. `in_pieces` is whether
    fragments came, which it puts together. `counted` is how many flows it has, empty where that is not known, and
    `always` whether it sees all packets where a chain translates, without being asked.
    """

    def __init__(
        self,
        space: Space,
        tables: Sequence[Table],
        flows: Packets | None,
        *,
        counted: str = "",
        always: bool = False,
    ) -> None:
        self.space, self._tables = space, tables
        self._counted, self._always = counted, always
        self._sees: dict[Family, bool | None] = {}
        self.flows = None if flows is None else flows & space.tracked
        self.in_pieces = False
        self._asking: dict[Family, bool] = {}

    def first(self, packets: Packets) -> Packets:
        """The packets as they came."""
        space = self.space
        if self.flows is None:
            asked = packets & space.tracked & self._remembered(packets)
            packets = (packets & ~asked) | space.as_first(asked)
        return space.without(packets, *_OF_THE_WAY, *(OF_PIECES if self.in_pieces else ()))

    def _remembered(self, packets: Packets) -> Packets:
        """Those of whose flows the first packet counts; rules are read for the families that are among the packets."""
        space, found = self.space, self.space.none
        for family in Family:
            if not (packets & space.family(family)).satisfiable():
                continue
            if family not in self._asking:
                self._asking[family] = self.flows is not None or _asks_for_the_first(self._tables, family)
            if self._asking[family]:
                found |= space.family(family)
        return found

    @property
    def families(self) -> frozenset[Family]:
        """The families whose packets connection tracking sees: the kernel begins when a rule asks for it."""
        return frozenset(filter(self.sees, Family))

    @property
    def perhaps(self) -> frozenset[Family]:
        """The families whose packets it perhaps sees: a rule is not understood, or it has flows already."""
        return frozenset(family for family in Family if self.sees(family) is None)

    def sees(self, family: Family) -> bool | None:
        """Whether connection tracking sees a family's packets; None where nobody knows."""
        if family not in self._sees:
            sees: bool | None = self._have(family, _asks)
            if not sees and (self._counted not in ("", "0") or self._have(family, _is_in_doubt)):
                sees = None
            self._sees[family] = sees
        return self._sees[family]

    def _have(self, family: Family, tells: Callable[[Statement], bool]) -> bool:
        """Whether a family has a rule of which a statement tells so."""
        tables = [table for table in self._tables if family in _FAMILIES.get(table.family, ())]
        chains = [chain for table in tables for chain in table.chains.values()]
        if self._always and any(map(_translates, chains)):
            return True
        # The chains of translation tell most often, and other rules need not be read then.
        chains.sort(key=lambda chain: not _translates(chain))
        return any(tells(each) for chain in chains for rule in chain.rules for each in rule.statements)

    @cached_property
    def pieces(self) -> Packets:
        """Fragments, the first ones too."""
        space = self.space
        return ~(space.value(Field.FRAGMENT, 0) & space.value(Field.MORE_FRAGMENTS, 0))

    def defragmented(self, here: Here) -> Here:
        """Whole packets of those that are fragments (nf_defrag_ipv4, nf_defrag_ipv6), where a rule needs them."""
        if not (here.fixed & self.pieces).satisfiable():
            return here
        here = self.reassembled(here, self.families)
        return here.either(self.reassembled(here, self.perhaps)) if self.perhaps else here

    def reassembled(self, here: Here, families: Iterable[Family]) -> Here:
        """Whole packets of the fragments of these families; how long they are is not known."""
        space = self.space
        pieces = self.pieces & space.any_of(map(space.family, families))

        def whole(packets: Packets) -> Packets:
            put = space.without(packets & pieces, *OF_PIECES)
            put &= space.value(Field.FRAGMENT, 0) & space.value(Field.MORE_FRAGMENTS, 0)
            return (packets & ~pieces) | put

        return here.through(whole)

    def full(self, settings: Mapping[str, str]) -> str:
        """What says that no further flow can be tracked; empty where one can, or none is to be."""
        full = why_full(settings)
        return full if full and self.families else ""

    def given_back(self, hook: str, here: Here) -> Here:
        """Answers, with what the hook's translations gave to their flow's first packet taken back.

        What the first packet was given, its answers give back: the destination before routing, the source after.
        """
        if self.flows is None:
            return here
        space = self.space
        bit = SNAT if hook in ("prerouting", "output") else DNAT
        # What has no flow has nothing to be given back.
        answers = space.tracked & space.value(Field.CT_DIRECTION, 1)
        translated = Answer.sure(answers & space.one_bit_of(Field.CT_STATUS, bit))
        back = here.passing(translated)
        if back:
            sides = Field.DESTINATION6 if bit == SNAT else Field.SOURCE6
            back = back.through(lambda packets: space.given_back(packets, sides))
        return here.failing(translated).joined(back)

    def seen(self, here: Here) -> Here:
        """Connection tracking: what begins a flow, answers one, or is neither."""
        space = self.space
        unseen = Answer.sure(space.state(INVALID))
        waiting, others = here.passing(unseen), here.failing(unseen)
        answers = Here.of(space.none)
        if self.flows is not None:
            known = Answer.sure(space.without(self.flows, *_OF_THE_PACKET))
            answers = waiting.passing(known)
            waiting = waiting.failing(known)
            remembered = space.without(self.flows, *_OF_THE_PACKET_AND_PLACE)
            answers = answers.through(lambda packets: self._answering(packets, remembered))
        nd = space.ipv6 & space.value(Field.PROTOCOL, ICMP6) & space.among((Field.ICMP_TYPE,), _NOT_TRACKED6)
        untracked, waiting = waiting.passing(Answer.sure(nd)), waiting.failing(Answer.sure(nd))
        untracked = untracked.through(lambda packets: space.with_value(packets, Field.CT_STATE, UNTRACKED))
        begins = Answer.sure(_beginning(space))
        first = waiting.passing(begins).through(self._begun)
        whole = others.joined(answers).joined(untracked)
        return whole.joined(first).joined(waiting.failing(begins))

    def _begun(self, packets: Packets) -> Packets:
        space = self.space
        packets = space.with_value(packets, Field.CT_STATE, NEW)
        for each in (Field.CT_DIRECTION, Field.CT_STATUS):
            packets = space.with_value(packets, each, 0)
        if not space.depends(packets, Field.CT_MARK):
            packets = packets & space.value(Field.CT_MARK, 0)
        remembered = self._remembered(packets)
        return (packets & ~remembered) | space.tied(packets & remembered)

    def _answering(self, packets: Packets, remembered: Packets) -> Packets:
        space = self.space
        packets = space.without(packets, Field.CT_STATE, Field.CT_DIRECTION, Field.CT_MARK) & remembered
        packets &= space.state(ESTABLISHED) & space.value(Field.CT_DIRECTION, 1)
        return space.rewritten(packets, Field.CT_STATUS, bits := 2 | 8, bits)


def why_full(settings: Mapping[str, str]) -> str:
    """The setting and the number that say that a host can remember no more flows; empty where it can."""
    most, now = settings.get(MOST_TRACKED, "0"), settings.get(TRACKED, "0")
    full = most.isdecimal() and now.isdecimal() and 0 < int(most) <= int(now)
    return f"{TRACKED} is {now}, and {MOST_TRACKED} {most}" if full else ""


def _beginning(space: Space) -> Packets:
    """Packets that begin a flow in the eyes of connection tracking."""
    found = ~space.any_of(space.value(Field.PROTOCOL, each) for each in (ICMP, TCP, ICMP6))
    for family, (protocol, types) in _ASKING.items():
        of = space.value(Field.PROTOCOL, protocol)
        asking = space.among((Field.ICMP_TYPE,), Numbers(tuple((each, each) for each in types)))
        found |= of & space.family(family) & asking
        other = space.family(Family.V6 if family is Family.V4 else Family.V4)
        found |= of & other
    flags = space.masked(Field.TCP_FLAGS, _SYN | _ACK | _RST | _FIN, Numbers(((_SYN, _SYN), (_ACK, _ACK))))
    return found | (space.value(Field.PROTOCOL, TCP) & flags)


_HOOKS = frozenset({"prerouting", "input", "forward", "output", "postrouting"})

# What the tables of a family have in their packets; one that is not known has nothing that is IP.
_FAMILIES = {
    "ip": (Family.V4,),
    "ip6": (Family.V6,),
    **dict.fromkeys(("inet", "bridge", "netdev"), tuple(Family)),
    "arp": (),
}


def _translates(chain: Chain) -> bool:
    return chain.hook is not None and chain.hook.type == "nat"


def _asks(statement: Statement) -> bool:
    """Whether a statement makes the kernel track (nf_ct_netns_get); `notrack` and a chain of type nat do not."""
    match statement:
        case Offload() | Translate():
            return True
        case Rewrite():
            return any(
                isinstance(each, Field) and each.value.startswith("ct-")
                for each in (statement.field, statement.source)
            )
    return any(field.value.startswith("ct-") for field in fields_of(statement))


def _is_in_doubt(statement: Statement) -> bool:
    return isinstance(statement, Perhaps | Unknown)


def fields_of(statement: Statement) -> Iterator[Field]:
    """The fields that a statement tests."""
    match statement:
        case AnyOf():
            for each in statement.tests:
                yield from each.fields
        case Test() | VerdictMap():
            yield from statement.fields


def _asks_for_the_first(tables: Iterable[Table], family: Family) -> bool:
    """Whether a rule translates packets of a family, or asks what a flow's first packet was."""
    entered = [
        table for table in tables if family in _FAMILIES.get(table.family, ()) and table.family != "netdev"
    ]
    if any(
        chain.hook is not None and chain.hook.type == "nat" and chain.count
        for table in entered
        for chain in table.chains.values()
    ):
        return True
    return any(
        field.value.startswith("ct-")
        for table in entered
        for rule in _rules(table)
        for statement in rule.statements
        for field in fields_of(statement)
    )


def _rules(table: Table) -> Iterator[Rule]:
    """The rules that packets of IP can come to; others are not even read."""
    waiting = [chain for chain in table.chains.values() if chain.hook and chain.hook.name in _HOOKS]
    known = {chain.name for chain in waiting}
    while waiting:
        for rule in waiting.pop().rules:
            yield rule
            for name in {
                each for statement in rule.statements for each in _targets(table, statement)
            } - known:
                known.add(name)
                if name in table.chains:
                    waiting.append(table.chains[name])


def _targets(table: Table, statement: Statement) -> Iterator[str]:
    """The chains to which a statement may lead."""
    match statement:
        case Jump():
            yield statement.chain
        case Choice():
            yield from (each.chain for each in statement.verdicts if isinstance(each, Jump))
        case VerdictMap():
            held = statement.map
            if isinstance(held, Named):
                named = table.maps.get(held.name)
                held = named.map if named is not None and named.map is not None else Map(())
            yield from (given.chain for _, given in held.entries if isinstance(given, Jump))
