"""Who else on a host may stop what it forwards, lead it past crossnet's rules, or has rules that are for it alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from crossnet.facts.firewall import Firewall
from crossnet.facts.firewalld import is_of_firewalld
from crossnet.netfilter import TABLE_FAMILY, Engine
from crossnet.netfilter.foreign import (
    Accept,
    Chain,
    Choice,
    Drop,
    Field,
    Jump,
    Map,
    Names,
    Numbers,
    Offload,
    Queue,
    Reject,
    Rule,
    RulePlace,
    Statement,
    Table,
    Test,
    Tool,
    Tproxy,
    Translate,
    Translation,
    Unknown,
    VerdictMap,
)
from crossnet.netfilter.iptables_own import is_own_chain
from crossnet.path import Path
from crossnet.values import Address, Family, Network

# What says of a forwarded packet whose it is.
_WHO = frozenset(
    {
        *(Field.IIF, Field.OIF, Field.PHYS_IN, Field.PHYS_OUT, Field.MARK),
        *(Field.SOURCE4, Field.DESTINATION4, Field.SOURCE6, Field.DESTINATION6),
    }
)
_ENDS = {
    Family.V4: (Field.SOURCE4, Field.DESTINATION4),
    Family.V6: (Field.SOURCE6, Field.DESTINATION6),
}
# firewalld lets packets pass within each zone, whether anybody needs it or not (firewalld.zone(5), `forward`).
_OF_EVERY_ZONE = re.compile(r"(filter_)?FWD[IO]?_.+")


def named(tool: Tool, family: str, table: str, chain: str) -> str:
    """A chain in the words of its tool, and the tool where it is one of iptables, of which two may be live."""
    if tool is Tool.NFT:
        return f"table {family} {table} chain {chain}"
    return f"{tool.replace('iptables', 'ip6tables') if family == 'ip6' else tool} {table} {chain}"


def may_drop(
    firewall: Firewall,
    engine: Engine,
    families: Collection[Family] = tuple(Family),
    *,
    but_firewalld: bool = False,
) -> bool:
    """Whether a policy or rule of this engine may drop or reject a forwarded packet, whatever it is.

    Without those of firewalld where crossings get past them in firewalld's own way.
    """
    return any(
        chain.hook is not None and chain.hook.policy == "drop"
        for family in families
        for _, chain in _forwarding(firewall, family, (engine,))
    ) or any(
        _rule_may_drop(table, rule)
        for family in families
        for table, chain in _reached(_forwarding(firewall, family, (engine,)))
        for rule in chain.rules
        if not (but_firewalld and is_of_firewalld(chain, rule))
    )


def offload_forwarded(firewall: Firewall, family: Family) -> tuple[str, ...]:
    """One line for each foreign rule that puts forwarded flows into a flowtable.

    Their packets meet no further rule at the forward hook, crossnet's included (nft(8), FLOWTABLES).
    """
    return tuple(
        _line(table, chain, rule)
        for table, chain in _reached(_forwarding(firewall, family, tuple(Engine)))
        for rule in chain.rules
        if any(isinstance(each, Offload) for each in rule.statements)
    )


def rules_for_forwarded(
    firewall: Firewall, family: Family, own: Collection[Address], paths: Collection[Path] = ()
) -> Iterator[RulePlace]:
    """Each rule of others that is there for forwarded packets: lets some pass by name, or translates them.

    `own` are the host's addresses: what is translated to one of these is not forwarded. What lets pass just packets of
    these paths is left out.
    """
    for table, chain in _reached(_forwarding(firewall, family, tuple(Engine))):
        for rule in () if _OF_EVERY_ZONE.fullmatch(chain.name) else chain.rules:
            accepts = any(isinstance(each, Accept) for each in _results(table, rule))
            of_crossings = any(_is_of_path(rule, each) for each in paths)
            if accepts and not of_crossings and _is_of(family, rule) and _says_whose(rule):
                yield place_of(table, chain, rule)
    for hook in ("prerouting", "postrouting"):
        for table, chain in _reached(_at(hook, firewall, family, tuple(Engine))):
            for rule in chain.rules:
                if _is_of(family, rule) and any(
                    isinstance(each, Translate) and _forwards(each, own) for each in rule.statements
                ):
                    yield place_of(table, chain, rule)


def _line(table: Table, chain: Chain, rule: Rule) -> str:
    return said(place_of(table, chain, rule))


def place_of(table: Table, chain: Chain, rule: Rule) -> RulePlace:
    return RulePlace(table.tool, table.family, table.name, chain.name, rule.text)


def said(rule: RulePlace) -> str:
    """A rule in its owner's words, and where it stands."""
    where = named(rule.tool, rule.family, rule.table, rule.chain)
    return f"{where}: rule {rule.text.removeprefix(f'-A {rule.chain} ')}"


def _is_of(family: Family, rule: Rule) -> bool:
    """Whether a rule may be for packets of a family; of a table of both it says for which."""
    number = int(family.value)
    return not any(
        isinstance(each, Test)
        and each.fields == (Field.FAMILY,)
        and isinstance(each.values, Numbers)
        and any(first <= number <= last for first, last in each.values.ranges) is each.negated
        for each in rule.statements
    )


def _is_of_path(rule: Rule, path: Path) -> bool:
    """Whether a rule is for a crossing's clients alone, on the way there or back."""
    clients = tuple(client.network for client in path.clients)
    source, destination = _ENDS[path.family]
    there, back = _tested(rule, source), _tested(rule, destination)
    return (_within(there, clients) and (not back or _within(back, path.destinations))) or (
        _within(back, clients) and _within(there, path.destinations)
    )


def _tested(rule: Rule, field: Field) -> list[Test]:
    return [each for each in rule.statements if isinstance(each, Test) and each.fields == (field,)]


def _within(tests: Collection[Test], networks: Iterable[Network]) -> bool:
    """Whether such tests are there, and hold for nothing but what lies in these networks."""
    spans = [(int(each.network_address), int(each.broadcast_address)) for each in networks]
    return any(
        isinstance(each.values, Numbers)
        and not each.negated
        and each.mask is None
        and all(
            any(low <= first and last <= high for low, high in spans) for first, last in each.values.ranges
        )
        for each in tests
    )


def _says_whose(rule: Rule) -> bool:
    tests = [each for each in rule.statements if isinstance(each, Test)]
    # Nothing that is forwarded came by the loopback.
    local = any(each.fields == (Field.IIF,) and each.values == Names(frozenset({"lo"})) for each in tests)
    return not local and any(field in _WHO for each in tests for field in each.fields)


def _forwards(each: Translate, own: Collection[Address]) -> bool:
    if each.kind is Translation.REDIRECT:
        return False
    if each.kind is not Translation.DESTINATION or each.addresses is None:
        return True
    numbers = {int(address) for address in own}
    return not all(
        first == last and (first in numbers or _is_loopback(first)) for first, last in each.addresses.ranges
    )


def _is_loopback(number: int) -> bool:
    return number == 1 or number >> 24 == 127


def arp_filters(firewall: Firewall, interfaces: Collection[str]) -> Iterator[str]:
    """A line for each policy and rule of others that may drop ARP on one of these interfaces (family `arp` of nft).

    Without ARP a neighbour is not found: whatever the rules of IP say, nothing comes to it.
    """
    bases = [
        (table, chain)
        for _, table, chain in firewall.others()
        if table.family == "arp" and not table.dormant and chain.hook is not None
    ]
    for table, chain in bases:
        if chain.hook is not None and chain.hook.policy == "drop":
            yield f"{named(table.tool, table.family, table.name, chain.name)}: policy drop"
    for table, chain in _reached(bases):
        for rule in chain.rules:
            if _rule_may_drop(table, rule) and not _is_for_others(rule, interfaces):
                yield f"{named(table.tool, table.family, table.name, chain.name)}: rule {rule.text}"


def _is_for_others(rule: Rule, interfaces: Collection[str]) -> bool:
    """Whether a rule is for other interfaces than these."""
    for each in rule.statements:
        if isinstance(each, Test) and each.fields in ((Field.IIF,), (Field.OIF,)):
            names = each.values
            if isinstance(names, Names) and not any(
                (name in names.exact or name.startswith(tuple(names.prefixes))) is not each.negated
                for name in interfaces
            ):
                return True
    return False


def _forwarding(
    firewall: Firewall, family: Family, engines: Collection[Engine]
) -> Iterator[tuple[Table, Chain]]:
    """The base chains of others that forwarded packets of this family come into."""
    return _at("forward", firewall, family, engines)


def _at(
    hook: str, firewall: Firewall, family: Family, engines: Collection[Engine]
) -> Iterator[tuple[Table, Chain]]:
    """The base chains of others at a hook."""
    for engine, table, chain in firewall.others():
        entered = table.family in (TABLE_FAMILY[family], "inet") and not table.dormant
        if engine in engines and entered and chain.hook is not None and chain.hook.name == hook:
            yield table, chain


def _reached(bases: Iterable[tuple[Table, Chain]]) -> Iterator[tuple[Table, Chain]]:
    """These chains and every one that they lead to, each once."""
    seen: set[tuple[int, str]] = set()
    todo = list(bases)
    while todo:
        table, chain = todo.pop(0)
        if (id(table), chain.name) in seen or is_own_chain(chain.name):
            continue
        seen.add((id(table), chain.name))
        yield table, chain
        targets = {
            each.chain: None
            for rule in chain.rules
            for each in _results(table, rule)
            if isinstance(each, Jump)
        }
        todo += [(table, table.chains[target]) for target in targets if target in table.chains]


def _rule_may_drop(table: Table, rule: Rule) -> bool:
    return any(isinstance(each, Drop | Reject | Queue | Tproxy | Unknown) for each in _results(table, rule))


def _results(table: Table, rule: Rule) -> Iterator[object]:
    """What a rule does, that of its maps and choices too."""
    for statement in rule.statements:
        yield from _of_statement(table, statement)


def _of_statement(table: Table, statement: Statement) -> Iterator[object]:
    match statement:
        case VerdictMap(map=Map() as given):
            yield from (result for _, result in given.entries)
        case VerdictMap(map=named):
            held = table.maps.get(getattr(named, "name", ""))
            if held is None or held.map is None or not held.settled:
                yield Unknown("a map")
            if held is not None and held.map is not None:
                yield from (result for _, result in held.map.entries)
        case Choice(verdicts=verdicts):
            yield from verdicts
        case _:
            yield statement
