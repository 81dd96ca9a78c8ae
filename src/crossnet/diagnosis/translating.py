"""The rules of a host that give packets another source, and why one of them does not take a flow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from crossnet.facts import Facts
from crossnet.netfilter.foreign import (
    AnyOf,
    Chain,
    Field,
    Perhaps,
    ReversePath,
    Rule,
    RulePlace,
    Table,
    Test,
    Translate,
    Translation,
)
from crossnet.reach.here import Here
from crossnet.reach.host import HostWalk
from crossnet.reach.packets import Space
from crossnet.values import Address, Family

_OF_SOURCES = (Translation.SOURCE, Translation.MASQUERADE, Translation.NETMAP_SOURCE)
_SOURCE = (Field.SOURCE4, Field.SOURCE6)
_DESTINATION = (Field.DESTINATION4, Field.DESTINATION6)
_FEW = 4  # addresses that a rule says one by one


@dataclass(frozen=True, slots=True)
class Translating:
    """A rule that translates sources, and where it stands."""

    table: Table
    chain: Chain
    rule: Rule
    action: Translate

    @property
    def text(self) -> str:
        return self.rule.text

    @property
    def place(self) -> RulePlace:
        return RulePlace(self.table.tool, self.table.family, self.table.name, self.chain.name, self.text)

    @property
    def times(self) -> int:
        """How often it stands in its chain: a script that is run again appends it once more."""
        return sum(each.text == self.text for each in self.chain.rules)

    def addresses(self, family: Family) -> Iterator[Address]:
        """The addresses that it says, one by one where they are few."""
        of = IPv4Address if family is Family.V4 else IPv6Address
        for first, last in self.action.addresses.ranges if self.action.addresses else ():
            if last - first < _FEW and last < 1 << of(0).max_prefixlen:
                yield from (of(number) for number in range(first, last + 1))

    def skipped(self, facts: Facts, space: Space, here: Here, ingress: str | None) -> str | None:
        """Why it does not take these packets, if no more than one of its tests says so; None where it is for others.

        With all of its tests passed, something before it ended their way through the chain.
        """
        matching = HostWalk(facts, space).walk.matching
        failed = []
        for statement in self.rule.statements:
            if isinstance(statement, Test | AnyOf | Perhaps | ReversePath):
                answer, _ = matching.answer(self.table, statement, here)
                if not (answer.can & here.fixed).satisfiable():
                    failed.append(statement)
        if len(failed) > 1:
            return None
        if not failed:
            return "a rule before it ends their way there"
        (test,) = failed
        fields = test.fields if isinstance(test, Test) else ()
        if any(field in _SOURCE for field in fields) and self._is_of_another_network(facts, test, ingress):
            return None
        for kind, words in _WHY.items():
            if any(field in kind for field in fields):
                return words
        return "one of its tests fails"

    def _is_of_another_network(self, facts: Facts, test: object, ingress: str | None) -> bool:
        """Whether it is for what stands behind another interface, such as containers."""
        values = test.values if isinstance(test, Test) else None
        ranges = getattr(values, "ranges", ())
        return any(
            first <= int(item.address) <= last
            for link in facts.links
            if link.name != ingress
            for item in link.addresses
            for first, last in ranges
        )


_WHY = {
    (Field.OIF,): "it names another interface",
    _SOURCE: "it is for other sources",
    _DESTINATION: "it is for other destinations",
    (Field.PROTOCOL,): "it is for another protocol",
    (Field.MARK,): "it asks for a mark",
}


def translating_rules(facts: Facts) -> Iterator[Translating]:
    """Every such rule of the host, crossnet's own left out."""
    for _, table, chain in facts.firewall.others():
        if chain.hook is not None and chain.hook.name not in ("postrouting", "input"):
            continue
        for rule in chain.rules:
            for statement in rule.statements:
                if isinstance(statement, Translate) and statement.kind in _OF_SOURCES:
                    yield Translating(table, chain, rule, statement)
