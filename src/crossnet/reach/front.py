"""Whether what stands in front of crossnet's rules, in a chain of somebody else, decides about their packets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import takewhile
from types import MappingProxyType

from crossnet.facts import Facts
from crossnet.netfilter import TABLE_FAMILY, Engine
from crossnet.netfilter.foreign import (
    Accept,
    AnyOf,
    Chain,
    Drop,
    Hook,
    Jump,
    Names,
    Perhaps,
    Return,
    Rule,
    Statement,
    Table,
    Test,
    Tool,
    Translate,
)
from crossnet.netfilter.iptables_own import PLACES, Place
from crossnet.reach.here import Here
from crossnet.reach.host import HostWalk
from crossnet.reach.packets import Packets, Space
from crossnet.reach.rules import Effect
from crossnet.values import Family

_FORWARD = "forward"
_ENTERED = Hook("forward", "filter", 0)


# By whichever rule it is, such a packet does not go on.
_BARS = frozenset({Effect.DROPS, Effect.REJECTS})


def decides_in_front(facts: Facts, engine: Engine, family: Family, chain: str) -> bool:
    """Whether a rule before the jump into an own chain of iptables ends the walk of packets that are for that chain.

    Then its place matters: what is accepted there meets no fence, what is dropped there is not admitted. What the fence
    drops as well is dropped either way. Where a table of nftables carries and fences, the chain only accepts: what is
    accepted in front of it is too. True as well where the rules cannot be walked.
    """
    place = PLACES[chain]
    only_accepts = chain == _FORWARD and any(
        each.family == TABLE_FAMILY[family] for each in facts.firewall.nft
    )
    table = _table(facts, engine, family, place)
    entered = table.chains.get(place.entered_from) if table else None
    own = table.chains.get(place.chain) if table else None
    if table is None or entered is None or own is None:
        return True
    front = list(takewhile(lambda rule: not _enters(rule, place), entered.rules))
    if len(front) == len(entered.rules):
        return True
    space = Space()
    walk = HostWalk(facts, space).walk
    # One that is not there today may come tomorrow, and nobody looks then.
    space.know_interfaces(_interfaces(table, (*front, *own.rules), set()))
    walk.enter(table, _chain(place.chain, map(_taken, own.rules)), Here.of(space.family(family)))
    theirs = space.any_of(each.here.fixed for each in walk.decisions)
    let_pass = space.any_of(each.here.fixed for each in walk.decisions if each.effect not in _BARS)

    def is_for_nobody(rule: Rule) -> bool:
        walk.decisions.clear()
        walk.enter(table, _chain(place.chain, [_taken(rule)]), Here.of(space.family(family)))
        return not any(each.here for each in walk.decisions)

    # Whoever leaves the chain before comes to its policy.
    left = partial(_left, leaving=Drop() if only_accepts else Accept())

    def decided(packets: Packets) -> Iterator[Effect]:
        walk.decisions.clear()
        walk.enter(_ending(table), _chain(place.entered_from, map(left, front)), Here.of(packets))
        return (each.effect for each in walk.decisions if each.here)

    if not own.rules or any(map(is_for_nobody, own.rules)):
        # Somebody has emptied a set, or the chain: which packets they are for is known when it is filled again.
        let_pass = theirs = space.family(family)
    if only_accepts:
        return any(effect is not Effect.ACCEPTS for effect in decided(let_pass))
    return any(True for _ in decided(let_pass)) or any(effect not in _BARS for effect in decided(theirs))


def in_front(facts: Facts, engine: Engine, family: Family) -> Facts:
    """The same host where crossnet's rules of iptables admit nothing: what passes still, rules in front let pass."""
    place = PLACES[_FORWARD]
    table = _table(facts, engine, family, place)
    own = table.chains.get(place.chain) if table else None
    if table is None or own is None:
        return facts
    left = [rule for rule in own.rules if not any(isinstance(each, Accept) for each in rule.statements)]
    chains = MappingProxyType({**table.chains, place.chain: _chain(place.chain, left, own.hook)})
    closed = replace(table, chains=chains)
    tables = tuple(closed if each is table else each for each in facts.firewall.foreign)
    return replace(facts, firewall=replace(facts.firewall, foreign=tables))


def _table(facts: Facts, engine: Engine, family: Family, place: Place) -> Table | None:
    """iptables-nft has its tables beside those of nft, and legacy its own."""
    for table in facts.firewall.foreign:
        is_legacy = table.tool is Tool.IPTABLES_LEGACY
        if (table.family, table.name) == (TABLE_FAMILY[family], place.table) and (
            is_legacy is (engine is Engine.IPTABLES_LEGACY)
        ):
            return table
    return None


def _enters(rule: Rule, place: Place) -> bool:
    return rule.statements == (Jump(place.chain),)


def _chain(name: str, rules: Iterable[Rule], hook: Hook | None = _ENTERED) -> Chain:
    held = tuple(rules)
    return Chain(name, hook, len(held), lambda: held)


def _taken(rule: Rule) -> Rule:
    """The same that takes whatever it is for, where it only counts or changes it; the fence is still one."""
    tests = tuple(each for each in rule.statements if isinstance(each, Test | AnyOf | Perhaps))
    bars = any(isinstance(each, Drop) for each in rule.statements)
    return replace(rule, statements=(*tests, Drop() if bars else Accept()))


def _ending(table: Table) -> Table:
    """The same where every translation ends the walk, as in the kernel it does."""
    chains = {
        name: Chain(name, chain.hook, chain.count, partial(_ended_rules, chain))
        for name, chain in table.chains.items()
    }
    return replace(table, chains=MappingProxyType(chains))


def _ended_rules(chain: Chain) -> tuple[Rule, ...]:
    return tuple(map(_ended, chain.rules))


def _ended(rule: Rule) -> Rule:
    return replace(rule, statements=tuple(map(_end, rule.statements)))


def _left(rule: Rule, leaving: Statement) -> Rule:
    """The same in the chain that is entered: whoever leaves it, or does not come back, does not come to the jump."""
    ended = _ended(rule)
    leaves = (leaving if _leaves(each) else each for each in ended.statements)
    return replace(ended, statements=tuple(leaves))


def _interfaces(table: Table, rules: Iterable[Rule], seen: set[str]) -> Iterator[str]:
    """Those that rules name, and the chains to which they lead."""
    for rule in rules:
        for each in rule.statements:
            if isinstance(each, Test) and isinstance(each.values, Names):
                yield from each.values.exact
                yield from (f"{prefix}0" for prefix in each.values.prefixes)
            elif isinstance(each, Jump) and each.chain in table.chains and each.chain not in seen:
                seen.add(each.chain)
                yield from _interfaces(table, table.chains[each.chain].rules, seen)


def _leaves(statement: Statement) -> bool:
    return isinstance(statement, Return) or (isinstance(statement, Jump) and statement.goto)


def _end(statement: Statement) -> Statement:
    return Accept() if isinstance(statement, Translate) else statement
