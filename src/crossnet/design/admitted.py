"""What crossnet's own rules on a gateway let pass, as sets of flows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from crossnet.design.flows import ANY, Flows, Span, addresses, merged, of_protocol
from crossnet.netfilter import (
    Accept,
    DestinationPorts,
    Drop,
    Endpoint,
    Interface,
    L4Protocol,
    Map,
    Masquerade,
    NamedSet,
    Return,
    Rule,
    Snat,
    SnatByDestination,
    State,
    Table,
)
from crossnet.netfilter.protocol_names import PROTOCOLS
from crossnet.values import Family, network

_ALL = {Family.V4: addresses([network("0.0.0.0/0")]), Family.V6: addresses([network("::/0")])}


@dataclass(frozen=True, slots=True)
class Admitted:
    """What the rules admit; `fenced` is whether they stop all the rest, but frames that these `bridges` carry."""

    flows: tuple[Flows, ...] = ()
    fenced: bool = False
    bridges: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Match:
    """The packets that a rule is for."""

    ingress: str
    egress: str
    sources: Span
    destinations: Span
    traffic: Span


def admitted(gateway: str, family: Family, table: Table) -> Admitted:
    """What a table of crossnet's own lets pass, and as whom.

    Rules that are not of the form in which crossnet admits a crossing make a table that is no fence.
    """
    sets = {each.name: addresses(each.members) for each in table.sets}
    forward = table.chain("forward")
    flows: list[Flows] = []
    bridges: set[str] = set()
    fenced = understood = forward is not None
    for rule in forward.rules if forward else ():
        match rule.verdict:
            case Drop():
                fenced = True
                break
            case Return():
                bridges |= {each.name for each in rule.matches if isinstance(each, Interface)}
            case Accept() if not any(isinstance(each, State) for each in rule.matches):
                found = _matched(rule, sets, family)
                if found is None or not (found.ingress and found.egress):
                    understood = False
                    continue
                flows.append(
                    Flows(
                        gateway,
                        family,
                        found.ingress,
                        found.egress,
                        found.sources,
                        found.destinations,
                        found.traffic,
                        rule.comment,
                    )
                )
    else:
        fenced = False
    translated = [part for each in merged(flows) for part in _translated(each, table, sets)]
    passing = merged(each for each in translated if each)
    return Admitted(passing, fenced and understood, frozenset(bridges))


def _matched(rule: Rule, sets: Mapping[str, Span], family: Family) -> _Match | None:
    """What a rule of crossnet's own form matches; None of another form."""
    ways = {"in": "", "out": ""}
    ends = {"source": _ALL[family], "destination": _ALL[family]}
    number, ports = None, None
    for each in rule.matches:
        match each:
            case Interface(direction=direction, name=name, negated=False):
                ways[direction] = name
            case Endpoint(side=side, where=NamedSet(name=name), negated=False):
                ends[side] = sets.get(name, Span())
            case Endpoint(side=side, where=where, negated=False) if not isinstance(where, NamedSet):
                ends[side] = addresses([where])
            case L4Protocol(name=name, negated=False):
                if name not in PROTOCOLS:
                    return None
                number = PROTOCOLS[name]
            case DestinationPorts(ranges=ranges):
                ports = ranges
            case _:
                return None
    traffic = ANY if number is None else of_protocol(number, ports)
    return _Match(ways["in"], ways["out"], ends["source"], ends["destination"], traffic)


def _translated(flows: Flows, table: Table, sets: Mapping[str, Span]) -> Iterator[Flows]:
    """The same flows, with whom their destinations see as their source."""
    chain = table.chain("postrouting")
    left: tuple[Flows, ...] = (flows,)
    for rule in chain.rules if chain else ():
        found = _matched(rule, sets, flows.family)
        if found is None or found.egress != flows.egress:
            continue
        for destinations, source in _sources(rule, table.maps, found):
            meant = replace(flows, sources=found.sources, destinations=destinations, traffic=found.traffic)
            yield from (replace(part, seen_as=(source,)) for each in left if (part := each.both(meant)))
            left = tuple(part for each in left for part in each.without(meant))
    yield from left


def _sources(rule: Rule, maps: Iterable[Map], found: _Match) -> Iterator[tuple[Span, str]]:
    """The source that a rule gives to packets, and to which destinations."""
    match rule.verdict:
        case Snat(address=source):
            yield found.destinations, str(source)
        case Masquerade():
            yield found.destinations, f"the address of {found.egress}"
        case SnatByDestination(map=name):
            given: dict[str, list[tuple[int, int]]] = {}
            for where, source in next((each.entries for each in maps if each.name == name), ()):
                given.setdefault(str(source), []).append(
                    (int(where.network_address), int(where.broadcast_address))
                )
            for text in sorted(given):
                yield found.destinations & Span.of(given[text]), text
