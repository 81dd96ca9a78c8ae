"""crossnet's own rules in the form in which a packet can be walked through them, beside those of others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from crossnet import netfilter as own
from crossnet.netfilter import Engine, foreign
from crossnet.netfilter.foreign import Field, Lazily, Names, Numbers, Statement, Tool
from crossnet.netfilter.iptables_own import PLACES
from crossnet.netfilter.own import TABLE
from crossnet.netfilter.protocol_names import PROTOCOLS
from crossnet.values import Network

T = TypeVar("T")

_TOOL = {
    Engine.NFTABLES: Tool.NFT,
    Engine.IPTABLES_NFT: Tool.IPTABLES_NFT,
    Engine.IPTABLES_LEGACY: Tool.IPTABLES_LEGACY,
}
_STATES = {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}
_ENDS = {
    ("ip", "source"): (Field.SOURCE4, Field.CT_SOURCE4),
    ("ip", "destination"): (Field.DESTINATION4, Field.CT_DESTINATION4),
    ("ip6", "source"): (Field.SOURCE6, Field.CT_SOURCE6),
    ("ip6", "destination"): (Field.DESTINATION6, Field.CT_DESTINATION6),
}
_SYN, _SYN_RST = 2, 6


def with_own(
    tables: Iterable[foreign.Table], wanted: Iterable[tuple[Engine, own.Table]]
) -> tuple[foreign.Table, ...]:
    """The tables of a host as they are when crossnet's own have the place of what it has there now."""
    kept = [_without_own(table) for table in tables if (table.tool, table.name) != (Tool.NFT, TABLE)]
    for engine, table in wanted:
        if engine is Engine.NFTABLES:
            kept.append(_table(table, Tool.NFT, TABLE, table.chains))
        else:
            for chain in table.chains:
                _enter(kept, _TOOL[engine], table, chain)
    return tuple(kept)


def unfiltered(tables: Iterable[foreign.Table]) -> tuple[foreign.Table, ...]:
    """The tables as they are where crossnet's own rules in iptables let nothing pass and stop nothing."""
    return tuple(_without_own(table) if table.name == PLACES["forward"].table else table for table in tables)


def _without_own(table: foreign.Table) -> foreign.Table:
    chains = {
        place.chain: chain
        for place in PLACES.values()
        if (chain := table.chains.get(place.chain)) is not None
    }
    if not chains:
        return table
    kept = {
        name: _with_rules(chain, tuple(rule for rule in chain.rules if not _jumps_into(rule, chains)))
        for name, chain in table.chains.items()
        if name not in chains
    }
    return replace(table, chains=MappingProxyType(kept))


def _jumps_into(rule: foreign.Rule, chains: Mapping[str, foreign.Chain]) -> bool:
    return any(isinstance(each, foreign.Jump) and each.chain in chains for each in rule.statements)


def _with_rules(chain: foreign.Chain, rules: tuple[foreign.Rule, ...]) -> foreign.Chain:
    return foreign.Chain(chain.name, chain.hook, len(rules), lambda: rules)


def _enter(tables: list[foreign.Table], tool: Tool, table: own.Table, chain: own.Chain) -> None:
    """Put a chain of crossnet's own into the table of iptables, and the jump first into the chain of its hook."""
    place = PLACES[chain.name]
    written = _table(table, tool, place.table, ())
    into = next((n for n, one in enumerate(tables) if _identity(one) == _identity(written)), None)
    here = written if into is None else tables[into]
    hook = chain.hook
    assert hook is not None, "every chain of crossnet's own is entered at a hook"
    entered = here.chains.get(place.entered_from) or foreign.Chain(
        place.entered_from,
        foreign.Hook(hook.name, "nat" if place.table == "nat" else "filter", _priority(place.table)),
        0,
        tuple,
    )
    jump = foreign.Rule((foreign.Jump(place.chain),), f"-j {place.chain}", "crossnet")
    chains = {
        **here.chains,
        entered.name: _with_rules(entered, (jump, *entered.rules)),
        place.chain: _with_rules(foreign.Chain(place.chain, None, 0, tuple), _rules(table, chain)),
    }
    made = replace(
        here,
        chains=MappingProxyType(chains),
        sets=_beside(written.sets, here.sets),
        maps=_beside(written.maps, here.maps),
    )
    if into is None:
        tables.append(made)
    else:
        tables[into] = made


def _beside(mine: Mapping[str, T], theirs: Mapping[str, T]) -> Mapping[str, T]:
    """Both, of which none is read for that."""
    return Lazily({name: partial(of.__getitem__, name) for of in (theirs, mine) for name in of})


def _identity(table: foreign.Table) -> tuple[bool, str, str]:
    """What tells it from every other in the kernel, where iptables-nft has its tables beside those of nft."""
    return table.tool is Tool.IPTABLES_LEGACY, table.family, table.name


def _priority(table: str) -> int:
    # netfilter_ipv4.h: NF_IP_PRI_MANGLE, NF_IP_PRI_FILTER, NF_IP_PRI_NAT_SRC
    return {"mangle": -150, "filter": 0, "nat": 100}[table]


def _table(table: own.Table, tool: Tool, name: str, chains: Iterable[own.Chain]) -> foreign.Table:
    return foreign.Table(
        tool,
        table.family,
        name,
        MappingProxyType({chain.name: _chain(table, chain) for chain in chains}),
        MappingProxyType({each.name: foreign.Set(each.name, numbers(each.members)) for each in table.sets}),
        MappingProxyType({each.name: foreign.NamedMap(each.name, _map(each)) for each in table.maps}),
    )


def _chain(table: own.Table, chain: own.Chain) -> foreign.Chain:
    hook = chain.hook
    entered = None
    if hook is not None:
        kind = "nat" if hook.type == "nat" else "filter"
        entered = foreign.Hook(hook.name, kind, hook.priority, hook.policy)
    return _with_rules(foreign.Chain(chain.name, entered, 0, tuple), _rules(table, chain))


def _rules(table: own.Table, chain: own.Chain) -> tuple[foreign.Rule, ...]:
    return tuple(
        foreign.Rule(
            (*(_test(table.family, match) for match in rule.matches), *_action(table.family, rule.verdict)),
            rule.comment or "a rule of crossnet's own",
            rule.comment,
        )
        for rule in chain.rules
    )


def _test(family: str, match: own.Match) -> Statement:
    match match:
        case own.Interface(direction=direction, name=name, negated=negated):
            field = Field.IIF if direction == "in" else Field.OIF
            return foreign.Test((field,), Names(frozenset({name})), negated)
        case own.Endpoint(side=side, where=where, negated=negated):
            return foreign.Test((_ENDS[family, side][0],), _where(where), negated)
        case own.FlowEnd(side=side, where=where):
            return foreign.Test((_ENDS[family, side][1],), _where(where))
        case own.L4Protocol(name=name, negated=negated):
            return foreign.Test((Field.PROTOCOL,), _one(PROTOCOLS[name]), negated)
        case own.DestinationPorts(ranges=ranges):
            ports = Numbers.of((each.first, each.last) for each in ranges)
            return foreign.Test((Field.DESTINATION_PORT,), ports)
        case own.State(names=names):
            return foreign.Test((Field.CT_STATE,), Numbers(()), any_bit=sum(_STATES[name] for name in names))
        case own.FlowDirection(name=name):
            return foreign.Test((Field.CT_DIRECTION,), _one(0 if name == "original" else 1))
        case own.SynOnly():
            return foreign.Test((Field.TCP_FLAGS,), _one(_SYN), mask=_SYN_RST)
        case own.UnknownMatch(text=text):
            return foreign.Perhaps(text, foreign.Why.NOT_UNDERSTOOD)


def _action(family: str, verdict: own.Verdict) -> tuple[Statement, ...]:
    match verdict:
        case own.Accept():
            return (foreign.Accept(),)
        case own.Drop():
            return (foreign.Drop(),)
        case own.Reject():
            return (foreign.Reject(),)
        case own.Return():
            return (foreign.Return(),)
        case own.Snat(address=address):
            return (foreign.Translate(foreign.Translation.SOURCE, _one(int(address))),)
        case own.SnatByDestination(map=name):
            to = (_ENDS[family, "destination"][0],)
            return (foreign.Translate(foreign.Translation.SOURCE, fields=to, map=foreign.Named(name)),)
        case own.Masquerade():
            return (foreign.Translate(foreign.Translation.MASQUERADE),)
        case own.Jump(chain=chain, goto=goto):
            return (foreign.Jump(chain, goto),)
        case own.ClampMss() | own.Continue():
            return ()
        case own.UnknownVerdict(text=text):
            return (foreign.Unknown(text),)


def _where(where: Network | own.NamedSet) -> Numbers | foreign.Named:
    return foreign.Named(where.name) if isinstance(where, own.NamedSet) else numbers([where])


def _map(each: own.Map) -> foreign.Map:
    return foreign.Map(
        tuple(((numbers([network]),), _one(int(address))) for network, address in each.entries)
    )


def numbers(networks: Iterable[Network]) -> Numbers:
    """All addresses of these networks, of one family."""
    return Numbers.of((int(each.network_address), int(each.broadcast_address)) for each in networks)


def _one(number: int) -> Numbers:
    return Numbers(((number, number),))
