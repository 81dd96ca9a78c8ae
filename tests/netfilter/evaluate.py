"""Foreign rules with one packet, plainly: what each rule makes of it.

Written along nf_tables' own loop (nf_tables_core.c), for tests that compare with what a kernel really did.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass, field

from crossnet.netfilter.foreign import (
    Accept,
    AnyOf,
    Chain,
    Continue,
    Drop,
    Field,
    Jump,
    Map,
    Named,
    Names,
    Numbers,
    Queue,
    Reject,
    Return,
    Rewrite,
    Rows,
    Rule,
    Table,
    Test,
    Translate,
    Values,
    Verdict,
    VerdictMap,
)

Packet = dict[Field, int | str]
End = Accept | Drop | Reject | Queue


class NobodyKnows(Exception):
    """A statement whose outcome does not follow from the rules and the packet."""


@dataclass
class Walk:
    """One packet after the other through the chains of a table; `met` counts as a counter would.

    Such a counter stands behind all tests and verdict maps of a rule, and before its verdict.
    """

    table: Table
    met: collections.Counter[tuple[str, int]] = field(default_factory=collections.Counter)

    def base(self, name: str, packet: Packet) -> bool:
        """Whether the packet leaves this base chain alive; the packet is changed as the rules change it."""
        chain = self.table.chains[name]
        assert chain.hook is not None
        end = self._chain(chain, packet)
        return isinstance(end, Accept) if end is not None else chain.hook.policy == "accept"

    def _chain(self, chain: Chain, packet: Packet) -> End | None:
        for index, rule in enumerate(chain.rules):
            match self._rule(rule, (chain.name, index), packet):
                case None | Continue():
                    pass
                case Return():
                    return None
                case Jump(chain=name, goto=goto):
                    end = self._chain(self.table.chains[name], packet)
                    if end is not None or goto:
                        return end
                case end:
                    return end
        return None

    def _rule(self, rule: Rule, where: tuple[str, int], packet: Packet) -> Verdict | None:
        for statement in rule.statements:
            match statement:
                case Test() | AnyOf():
                    if not self.holds(statement, packet):
                        return None
                case VerdictMap():
                    verdict = self._verdict(statement, packet)
                    if not isinstance(verdict, Continue):
                        return verdict
                case Rewrite():
                    _rewrite(statement, packet)
                case Accept() | Drop() | Reject() | Queue() | Return() | Jump() | Translate():
                    self.met[where] += 1
                    return Accept() if isinstance(statement, Translate) else statement
                case Continue():
                    pass
                case _:
                    raise NobodyKnows(rule.text)
        self.met[where] += 1
        return None

    def holds(self, test: Test | AnyOf, packet: Packet) -> bool:
        if isinstance(test, AnyOf):
            return any(self.holds(each, packet) for each in test.tests) != test.negated
        values = [packet.get(name) for name in test.fields]
        if None in values:
            return False
        if test.any_bit is not None:
            (bits,) = values
            assert isinstance(bits, int)
            return bool(bits & test.any_bit) != test.negated
        if test.mask is not None:
            (bits,) = values
            assert isinstance(bits, int)
            values = [bits & test.mask]
        return self._among(values, test.values) != test.negated

    def _among(self, values: list[int | str | None], where: Values | Rows | Named) -> bool:
        match where:
            case Named(name=name) if name in (sets := self.table.ipsets if where.ipset else self.table.sets):
                members = sets[name].members
                assert members is not None, name
                return self._among(values, members)
            case Named(name=name):
                return any(_in_row(values, key) for key, _ in self._map(where).entries)
            case _:
                return is_among(values, where)

    def _map(self, of: Map | Named) -> Map:
        if isinstance(of, Map):
            return of
        found = self.table.maps[of.name].map
        assert found is not None, of.name
        return found

    def _verdict(self, lookup: VerdictMap, packet: Packet) -> Verdict | None:
        values = [packet.get(name) for name in lookup.fields]
        for key, verdict in self._map(lookup.map).entries if None not in values else ():
            if _in_row(values, key):
                assert not isinstance(verdict, Numbers)
                return verdict  # type: ignore[return-value]  # no translation is in a map of verdicts
        return None


def is_among(values: list[int | str | None], held: Values | Rows) -> bool:
    """Whether values, one for each field, are in one of the rows."""
    return any(_in_row(values, row) for row in (held.rows if isinstance(held, Rows) else ((held,),)))


def _in_row(values: list[int | str | None], row: tuple[Values, ...]) -> bool:
    return all(_is_in(value, part) for value, part in zip(values, row, strict=True))


def _is_in(value: int | str | None, values: Values) -> bool:
    match values, value:
        case Names(exact=exact, prefixes=prefixes), str():
            return value in exact or any(value.startswith(prefix) for prefix in prefixes)
        case Numbers(ranges=ranges), int():
            return any(first <= value <= last for first, last in ranges)
        case _:
            raise TypeError(f"{value!r} is not to be compared with {values}")


def _rewrite(change: Rewrite, packet: Packet) -> None:
    old = packet.get(change.field)
    new = change.value if change.source is None else packet.get(change.source)
    if old is None or new is None:
        if change.value is None:
            raise NobodyKnows(change)
        return
    assert isinstance(old, int)
    assert isinstance(new, int)
    packet[change.field] = (old & ~change.mask) ^ (new if change.source is None else new & change.mask)
