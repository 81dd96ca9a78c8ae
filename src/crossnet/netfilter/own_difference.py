"""What has become of crossnet's own table since it was applied, in words with a direction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace

from crossnet.netfilter import (
    Accept,
    Chain,
    Drop,
    Endpoint,
    FlowEnd,
    Interface,
    Match,
    NamedSet,
    Rule,
    SnatByDestination,
    State,
    Table,
)
from crossnet.several import few

_SHOWN = 2


def differences(applied: Table, now: Table, text: Callable[[Rule], str]) -> Iterator[str]:
    """What was taken out, then what was put in; `text` is a rule in its tool's words."""
    if besides := crossings_besides(applied, now):
        yield from (f"it admits crossing {label}, which the host's record does not know" for label in besides)
        now = _without(now, besides)
    lost, more, moved = Counter[Rule](), Counter[Rule](), False
    for name in dict.fromkeys((*_names(applied.chains), *_names(now.chains))):
        had, has = _rules(applied, name), _rules(now, name)
        lost += Counter(had) - Counter(has)
        more += Counter(has) - Counter(had)
        moved = moved or (Counter(had) == Counter(has) and had != has)
        yield from _entered(applied.chain(name), now.chain(name))
    yield from _taken_out(lost)
    for what, had_members, has_members in (
        ("set", _sets(applied), _sets(now)),
        ("map", _maps(applied), _maps(now)),
    ):
        for name in dict.fromkeys((*had_members, *has_members)):
            yield from _members(what, name, had_members.get(name), has_members.get(name))
    if more:
        yield f"somebody put in {_some(more.elements(), text, 'rule')}"
    if moved:
        yield "its rules stand in another order"


def crossings_besides(applied: Table, now: Table) -> tuple[str, ...]:
    """The crossings, by their labels, that are admitted there as crossnet does it, and were not when it was applied.

    A rule that somebody wrote, whatever its comment, has none beside it for the packets of its open flows.
    """
    known = {rule.comment for chain in applied.chains for rule in chain.rules}
    forward = _rules(now, "forward")
    more = Counter(forward) - Counter(_rules(applied, "forward"))
    open_flows = [_ends_of(rule) for rule in more if not rule.comment and _has_state(rule)]
    found = (
        rule.comment
        for rule in forward
        if rule.comment not in known and isinstance(rule.verdict, Accept) and not _has_state(rule)
        if _ends_of(rule) in open_flows
    )
    return tuple(dict.fromkeys(found))


def _has_state(rule: Rule) -> bool:
    return any(isinstance(match, State) for match in rule.matches)


def _ends_of(rule: Rule) -> set[Match]:
    return {match for match in rule.matches if isinstance(match, Interface | Endpoint)}


def of_crossings(applied: Table, now: Table) -> frozenset[str] | None:
    """The crossings whose rules, sets or maps differ, where it is these alone; None where all are concerned."""
    found: set[str] = set()
    for name in dict.fromkeys((*_names(applied.chains), *_names(now.chains))):
        had, has = _rules(applied, name), _rules(now, name)
        lost = Counter(had) - Counter(has)
        if Counter(has) - Counter(had) or (not lost and had != has):
            return None  # what was put in, or moved, may be in anybody's way
        if any(isinstance(rule.verdict, Drop) or not rule.comment for rule in lost):
            return None
        found |= {rule.comment for rule in lost}
    for had_members, has_members in ((_sets(applied), _sets(now)), (_maps(applied), _maps(now))):
        for name in {*had_members, *has_members}:
            if had_members.get(name) != has_members.get(name):
                found |= {label for label in _users(applied, name) if label}
    return frozenset(found) or None


def _without(table: Table, labels: Collection[str]) -> Table:
    """The same without what stands there for these crossings alone."""
    own = [rule for rule in _rules(table, "forward") if rule.comment in labels]
    ends = [_ends_of(rule) for rule in own]
    backs = [_turned(each) for each in ends]
    names = {name for name in (*_sets(table), *_maps(table)) if set(_users(table, name)) <= {*labels, ""}}
    names = {name for name in names if set(_users(table, name)) & set(labels)}

    def is_theirs(rule: Rule) -> bool:
        if rule.comment:
            return rule.comment in labels
        looked_up = {
            match.where.name
            for match in rule.matches
            if isinstance(match, Endpoint | FlowEnd) and isinstance(match.where, NamedSet)
        }
        of_flows = _has_state(rule) and any(each <= set(rule.matches) for each in (*ends, *backs))
        return of_flows or bool(looked_up & names)

    chains = (
        replace(chain, rules=tuple(rule for rule in chain.rules if not is_theirs(rule)))
        for chain in table.chains
    )
    return replace(
        table,
        chains=tuple(chains),
        sets=tuple(each for each in table.sets if each.name not in names),
        maps=tuple(each for each in table.maps if each.name not in names),
    )


def _turned(ends: Iterable[Match]) -> set[Match]:
    """The same of packets that come back."""
    return {_back(each) for each in ends}


def _back(match: Match) -> Match:
    match match:
        case Interface(direction):
            return replace(match, direction="out" if direction == "in" else "in")
        case Endpoint(side):
            return replace(match, side="destination" if side == "source" else "source")
        case _:
            return match


def _users(table: Table, name: str) -> Iterator[str]:
    """The crossings whose rules look a set or a map up."""
    for rule in (rule for chain in table.chains for rule in chain.rules):
        looked_up = (match.where for match in rule.matches if isinstance(match, Endpoint | FlowEnd))
        if NamedSet(name) in looked_up or rule.verdict == SnatByDestination(name):
            yield rule.comment


def _taken_out(lost: Counter[Rule]) -> Iterator[str]:
    """A fence and the crossings by their names; of the rest only how much it is."""
    others = 0
    admitted, translated = Counter[str](), Counter[str]()
    for rule, times in lost.items():
        if isinstance(rule.verdict, Drop):
            yield "its fence was removed"
        elif not rule.comment:
            others += times
        elif isinstance(rule.verdict, Accept):
            admitted[rule.comment] += times
        else:
            translated[rule.comment] += times
    for name in dict.fromkeys((*admitted, *translated)):
        if admitted[name]:
            yield _removed(admitted[name], f"for admitting crossing {name}")
        if translated[name]:
            yield _removed(translated[name], f"for translating crossing {name}")
    if others:
        yield _removed(others, "for packets of open flows")


def _removed(times: int, what: str) -> str:
    return f"a rule {what} was removed" if times == 1 else f"{times} rules {what} were removed"


def _entered(had: Chain | None, has: Chain | None) -> Iterator[str]:
    if had is None and has is not None:
        yield f"somebody put in the chain {has.name}"
    elif had is not None and has is None:
        yield f"the chain {had.name} was removed"
    elif had is not None and has is not None and had.hook != has.hook:
        yield f"the chain {had.name} is entered elsewhere, or with another policy"


def _members(what: str, name: str, had: dict[str, None] | None, has: dict[str, None] | None) -> Iterator[str]:
    if has is None:
        yield f"the {what} {name} was removed"
    elif had is None:
        yield f"somebody put in the {what} {name}"
    else:
        if lost := [member for member in had if member not in has]:
            yield f"{_some(lost, str, 'network')} {_was(lost)} taken out of the {what} {name}"
        if more := [member for member in has if member not in had]:
            yield f"{_some(more, str, 'network')} {_was(more)} put into the {what} {name}"


def _was(some: list[str]) -> str:
    return "was" if len(some) == 1 else "were"


def _some(items: Iterable[object], text: Callable[..., str], what: str) -> str:
    held = [text(item) for item in items]
    return f"the {what} {held[0]}" if what == "rule" and len(held) == 1 else few(held, _SHOWN, ", ")


def _names(chains: Iterable[Chain]) -> Iterator[str]:
    return (chain.name for chain in chains)


def _rules(table: Table, name: str) -> tuple[Rule, ...]:
    chain = table.chain(name)
    return chain.rules if chain else ()


def _sets(table: Table) -> dict[str, dict[str, None]]:
    return {each.name: dict.fromkeys(sorted(map(str, each.members))) for each in table.sets}


def _maps(table: Table) -> dict[str, dict[str, None]]:
    return {
        each.name: dict.fromkeys(sorted(f"{network} → {address}" for network, address in each.entries))
        for each in table.maps
    }
