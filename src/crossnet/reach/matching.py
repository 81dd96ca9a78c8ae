"""The tests of rules as sets of packets: of which a test holds, for certain and perhaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from crossnet.netfilter.foreign import (
    AnyOf,
    Endpoint,
    Field,
    Map,
    Named,
    Numbers,
    Perhaps,
    ReversePath,
    Rows,
    Table,
    Test,
    Tool,
    Values,
    Verdict,
)
from crossnet.reach.here import Answer, Here
from crossnet.reach.packets import WITH_PORTS, Packets, Space
from crossnet.reach.translation import Choose

# What connection tracking expects of the answer, told by the request.
_ANSWERED = {
    Field.CT_REPLY_SOURCE4: Field.DESTINATION4,
    Field.CT_REPLY_DESTINATION4: Field.SOURCE4,
    Field.CT_REPLY_SOURCE6: Field.DESTINATION6,
    Field.CT_REPLY_DESTINATION6: Field.SOURCE6,
    Field.CT_REPLY_SOURCE_PORT: Field.DESTINATION_PORT,
    Field.CT_REPLY_DESTINATION_PORT: Field.SOURCE_PORT,
}

# What stands there is a port where the protocol has ports, and else nobody knows.
_PORTS = {Field.TH_SOURCE: Field.SOURCE_PORT, Field.TH_DESTINATION: Field.DESTINATION_PORT}

_PORTS_OF_FLOWS = frozenset(
    (
        *(Field.CT_SOURCE_PORT, Field.CT_DESTINATION_PORT),
        *(Field.CT_REPLY_SOURCE_PORT, Field.CT_REPLY_DESTINATION_PORT),
    )
)

_IN_PLAIN_WORDS = {
    Field.TH_SOURCE: "what a protocol without ports has in the place of the source port",
    Field.TH_DESTINATION: "what a protocol without ports has in the place of the destination port",
}


def _unknown(field_: Field) -> str:
    return f"{_IN_PLAIN_WORDS.get(field_, field_)}, which is not known"


Result = Verdict | Numbers | Endpoint
Entries = Sequence[tuple[tuple[Values, ...], Result]]


@dataclass(frozen=True, slots=True)
class OfHost:
    """What a rule asks of the host itself.

    `choose` gives the addresses of an interface that packets which leave (or came) by it can be given, `typed` the
    packets whose address is of a type (RTN_*), `link_types` the interfaces of an ARPHRD_* number, None where that
    cannot be known; `way_back` of which of the packets a test of the way back holds, surely and perhaps.
    """

    choose: Choose
    typed: Callable[[Field, Numbers], tuple[Packets, Packets] | None]
    link_types: Callable[[Numbers], frozenset[str] | None]
    way_back: Callable[[ReversePath, Packets], tuple[Packets, Packets]]


# A host has one table of a tool, a family and a name.
_Name: TypeAlias = tuple[Tool, str, str]


def _name(table: Table) -> _Name:
    return table.tool, table.family, table.name


class Matching:
    """The tests of one host's rules, for the packets of one question."""

    def __init__(self, space: Space, local: OfHost) -> None:
        self.space, self.local = space, local
        self.later = False  # whether later fragments are among the packets
        self._answers: dict[tuple[_Name, bool, Test | AnyOf | Perhaps], tuple[Answer, tuple[str, ...]]] = {}
        self._sets: dict[tuple[_Name, Named, tuple[Field, ...]], tuple[Packets, Packets]] = {}

    def answer(
        self, table: Table, test: Test | AnyOf | Perhaps | ReversePath, live: Here
    ) -> tuple[Answer, tuple[str, ...]]:
        if isinstance(test, ReversePath):
            must, can = self.local.way_back(test, live.fixed)
            return Answer(must, can), ()
        key = _name(table), self.later, test
        known = self._answers.get(key)
        if known is None:
            known = self._answers[key] = self._asked(table, test)
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
        answer, doubts = self._as_if_with_ports(table, test)
        if not _PORTS_OF_FLOWS.intersection(test.fields):
            return answer, doubts
        # Connection tracking has something in place of ports too, of ICMP the id, type and code (nf_conntrack_tuple).
        space = self.space
        having = space.any_of(space.value(Field.PROTOCOL, each) for each in WITH_PORTS)
        can = (answer.can & having) | (space.tracked & ~having)
        words = "what connection tracking has in place of ports"
        return Answer(answer.must & having, can), (*doubts, words)

    def _as_if_with_ports(self, table: Table, test: Test) -> tuple[Answer, tuple[str, ...]]:
        space = self.space
        fields = tuple(_ANSWERED.get(each, each) for each in test.fields)
        if fields != test.fields:
            # What is expected of the answer is the reverse of the request as it stands, until an answer comes.
            answer, doubts = self._as_if_with_ports(table, replace(test, fields=fields))
            answers = space.value(Field.CT_DIRECTION, 1)
            known = space.tracked & ~answers
            return Answer(answer.must & known, (answer.can & known) | (space.tracked & answers)), doubts
        must, can, doubts = self._matching(table, test)
        present = space.every(space.present(each) for each in fields if space.knows(each))
        if test.negated:
            must, can = ~can, ~must
        if not self.later or table.tool is Tool.IPTABLES_LEGACY:
            return Answer(present & must, present & can), doubts
        seeming = space.every(space.present(each, seeming=True) for each in fields if space.knows(each))
        if seeming == present:
            return Answer(present & must, present & can), doubts
        # Not all kernels look whether a packet is a later fragment (measured on 6.18; nft_payload.c).
        words = f"what stands in a later fragment in place of its {' and '.join(fields)}"
        return Answer(present & must, (present & can) | (seeming & ~present)), (*doubts, words)

    def _matching(self, table: Table, test: Test) -> tuple[Packets, Packets, tuple[str, ...]]:
        """Those of which the test, were it not negated, holds: surely, perhaps, and what is in doubt."""
        space = self.space
        values: Values | Rows
        if isinstance(test.values, Named):
            named = (table.ipsets if test.values.ipset else table.sets).get(test.values.name)
            if named is None or named.members is None:
                return space.none, space.all, (f"the set {test.values.name}, which is not known",)
            values = named.members
            if not named.settled:
                return space.none, space.all, (f"the set {test.values.name}, which changes by itself",)
        else:
            values = test.values
        if test.any_bit is not None:
            (field_,) = test.fields
            if not space.knows(field_):
                return space.none, space.all, (_unknown(field_),)
            found = space.one_bit_of(field_, test.any_bit)
            return found, found, ()
        if test.mask is not None and isinstance(values, Numbers):
            if not space.knows(test.fields[0]):
                return space.none, space.all, (_unknown(test.fields[0]),)
            found = space.masked(test.fields[0], test.mask, values)
            return found, found, ()
        if isinstance(test.values, Named):
            key = _name(table), test.values, test.fields
            if key not in self._sets:
                self._sets[key] = self._rows(test.fields, values)
            must, can = self._sets[key]
        else:
            must, can = self._rows(test.fields, values)
        unknown = tuple(_unknown(each) for each in test.fields if must != can and not space.knows(each))
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
                    return typed
            case ((Field.IIF_TYPE | Field.OIF_TYPE), Numbers()):
                names = self.local.link_types(values)
                if names is not None:
                    side = Field.IIF if field_ is Field.IIF_TYPE else Field.OIF
                    found = space.interfaces(side, names)
                    return found, found
            case ((Field.TH_SOURCE | Field.TH_DESTINATION), Numbers()):
                port = _PORTS[field_]
                having = space.present(port)
                found = space.among((port,), values)
                return having & found, found | ~having
        return space.none, space.all

    def keys(
        self,
        table: Table,
        fields: tuple[Field, ...],
        keys: Sequence[tuple[Values, ...]],
        settled: bool,
    ) -> Answer:
        test = Test(fields, keys[0][0] if len(keys) == len(fields) == 1 else Rows(tuple(keys)))
        answer, _ = self._tested(table, test)
        return answer if settled else Answer(self.space.none, answer.can)

    def entries(self, table: Table, entries: Map | Named) -> tuple[Entries | None, bool]:
        if isinstance(entries, Map):
            return entries.entries, True
        named = table.maps.get(entries.name)
        if named is None or named.map is None:
            return None, True
        return named.map.entries, named.settled


def by_result(entries: Entries) -> list[tuple[Result, list[tuple[Values, ...]]]]:
    """Entries that give the same, together: all of them where keys cannot overlap, else neighbouring ones."""
    if len({keys for keys, _ in entries}) == len(entries) and all(
        value.is_single for keys, _ in entries for value in keys
    ):
        together: dict[Result, list[tuple[Values, ...]]] = {}
        for keys, result in entries:
            together.setdefault(result, []).append(keys)
        return list(together.items())
    found: list[tuple[Result, list[tuple[Values, ...]]]] = []
    for keys, result in entries:
        if found and found[-1][0] == result:
            found[-1][1].append(keys)
        else:
            found.append((result, [keys]))
    return found
