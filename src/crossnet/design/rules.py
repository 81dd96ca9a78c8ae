"""The rules of a gateway: what its passages let through, and whom they pretend to be."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from crossnet.design.passage import Passage
from crossnet.facts.firewall import TABLE_FAMILY
from crossnet.netfilter import (
    Accept,
    Chain,
    ClampMss,
    DestinationPorts,
    Drop,
    Endpoint,
    Engine,
    Interface,
    L4Protocol,
    Map,
    Masquerade,
    Match,
    NamedSet,
    Rule,
    Set,
    Snat,
    SnatByDestination,
    State,
    SynOnly,
    Table,
    Verdict,
)
from crossnet.netfilter.normal_form import in_order, join_ports
from crossnet.netfilter.own import HOOKS, TABLE
from crossnet.spec import Translate
from crossnet.values import Family, Network, Ports, Protocol, Traffic

FENCE = "fence"

_ICMP = {Family.V4: "icmp", Family.V6: "ipv6-icmp"}
_ESTABLISHED = State(frozenset({"established", "related"}))

# xt_multiport takes 15 ports a rule, a range counts as two.
_MULTIPORT = 15


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between the engines: nftables has maps, and its accept ends only its own chain."""

    engine: Engine
    has_ipset: bool = True

    def named(self, members: int) -> bool:
        """Whether so many networks become a named set instead of matches."""
        return not self.engine.is_iptables or (members > 1 and self.has_ipset)


def gateway_table(passages: Sequence[Passage], fence: bool, dialect: Dialect) -> Table:
    """crossnet's whole table of one family for these passages, in the order in which a packet meets it."""
    family = passages[0].family
    forward = [
        # First, so that an established packet never walks the rest.
        *_established(passages, dialect),
        *(rule for passage in passages for rule in _admit(passage, dialect)),
        *([Rule((), Drop(), FENCE)] if fence else []),
    ]
    translate = [rule for passage in passages for rule in _translate(passage, dialect)]
    clamp = [rule for passage in passages if passage.clamp for rule in _clamp(passage)]
    chains = [Chain("forward", tuple(forward), HOOKS["forward"])]
    if translate:
        chains.append(Chain("postrouting", tuple(translate), HOOKS["postrouting"]))
    if clamp:
        chains.append(Chain("mangle", tuple(dict.fromkeys(clamp)), HOOKS["mangle"]))
    return Table(
        TABLE_FAMILY[family],
        TABLE,
        tuple(chains),
        tuple(sorted((s for passage in passages for s in _sets(passage, dialect)), key=lambda s: s.name)),
        tuple(sorted((m for passage in passages for m in _maps(passage, dialect)), key=lambda m: m.name)),
    )


# ---- the filter ----------------------------------------------------------------------------------


def _established(passages: Sequence[Passage], dialect: Dialect) -> Iterator[Rule]:
    if not dialect.engine.is_iptables:
        # An accept in an own table never overrides a drop of somebody else (measured), so one rule serves all.
        yield Rule((_ESTABLISHED,), Accept())
        return
    # In iptables the accept is final for the packet: it must not speak for others' flows.
    for passage in passages:
        for where in _where(passage, "clients", dialect):
            yield _rule((*_way(passage), _endpoint("source", where), _ESTABLISHED), Accept())
            yield _rule((*_way_back(passage), _endpoint("destination", where), _ESTABLISHED), Accept())


def _admit(passage: Passage, dialect: Dialect) -> Iterator[Rule]:
    for ends in _ends(passage, dialect):
        for traffic in _traffic(passage):
            yield _rule((*_way(passage), *ends, *traffic), Accept(), passage.crossing.name)


def _rule(matches: tuple[Match, ...], verdict: Verdict, comment: str = "") -> Rule:
    return Rule(in_order(matches), verdict, comment)


def _way(passage: Passage) -> tuple[Match, ...]:
    return Interface("in", passage.ingress), Interface("out", passage.egress)


def _way_back(passage: Passage) -> tuple[Match, ...]:
    return Interface("in", passage.egress), Interface("out", passage.ingress)


def _ends(passage: Passage, dialect: Dialect) -> Iterator[tuple[Match, ...]]:
    for client in _where(passage, "clients", dialect):
        for destination in _where(passage, "destinations", dialect):
            yield _endpoint("source", client), _endpoint("destination", destination)


def _endpoint(side: Literal["source", "destination"], where: Network | NamedSet) -> Endpoint:
    return Endpoint(side, where)


def _traffic(passage: Passage) -> Iterator[tuple[Match, ...]]:
    """The matches for each rule that `allow` needs: one a protocol, however many ports."""
    allow = passage.crossing.allow
    if allow is None:
        yield ()
        return
    for protocol in Protocol:
        entries = [traffic for traffic in allow if traffic.protocol is protocol]
        if not entries:
            continue
        name = L4Protocol(_ICMP[passage.family] if protocol is Protocol.ICMP else str(protocol))
        if any(entry.ports is None for entry in entries):
            yield (name,)
        else:
            yield from ((name, DestinationPorts(group)) for group in _port_groups(entries))


def _port_groups(entries: Iterable[Traffic]) -> Iterator[tuple[Ports, ...]]:
    """The ports in groups that one rule of either engine can hold, neighbours and overlaps merged."""
    group: list[Ports] = []
    size = 0
    for ports in join_ports(entry.ports for entry in entries if entry.ports):
        cost = 1 if ports.first == ports.last else 2
        if size + cost > _MULTIPORT:
            yield tuple(group)
            group, size = [], 0
        group.append(ports)
        size += cost
    yield tuple(group)


# ---- translation ---------------------------------------------------------------------------------


def _translate(passage: Passage, dialect: Dialect) -> Iterator[Rule]:
    if passage.crossing.translate is Translate.NONE:
        return
    for verdict, destinations in _translations(passage, dialect):
        for client in _where(passage, "clients", dialect):
            for destination in destinations:
                for traffic in _traffic(passage):
                    # The ingress is unknown here: a packet that leaves has forgotten where it came in.
                    ends = (_endpoint("source", client), _endpoint("destination", destination))
                    out = Interface("out", passage.egress)
                    yield _rule((out, *ends, *traffic), verdict, passage.crossing.name)


def _translations(
    passage: Passage, dialect: Dialect
) -> Iterator[tuple[Verdict, Sequence[Network | NamedSet]]]:
    """What to do for which destinations: one map lookup in nftables, one rule an address in iptables."""
    everywhere = list(_where(passage, "destinations", dialect))
    if passage.crossing.translate is Translate.MASQUERADE:
        yield Masquerade(), everywhere
    elif not dialect.engine.is_iptables:
        yield SnatByDestination(_name("snat", passage)), everywhere
    else:
        addresses = dict.fromkeys(source for _, source in passage.sources)
        if len(addresses) == 1:
            yield Snat(next(iter(addresses))), everywhere
            return
        for source in addresses:
            yield Snat(source), [network for network, own in passage.sources if own == source]


def _clamp(passage: Passage) -> Iterator[Rule]:
    for way in (_way(passage), _way_back(passage)):
        yield Rule((*way, L4Protocol("tcp"), SynOnly()), ClampMss())


# ---- sets and maps -------------------------------------------------------------------------------


def _name(what: str, passage: Passage) -> str:
    return f"{what}-{passage.crossing.name}"


def _networks(passage: Passage, what: Literal["clients", "destinations"]) -> tuple[Network, ...]:
    if what == "destinations":
        return collapse(passage.destinations)
    return collapse(client.network for client in passage.clients)


def _where(
    passage: Passage, what: Literal["clients", "destinations"], dialect: Dialect
) -> Iterator[Network | NamedSet]:
    networks = _networks(passage, what)
    if dialect.named(len(networks)):
        yield NamedSet(_name("from" if what == "clients" else "to", passage))
    else:
        yield from networks


def _sets(passage: Passage, dialect: Dialect) -> Iterator[Set]:
    for what, name in (("clients", "from"), ("destinations", "to")):
        networks = _networks(passage, "clients" if what == "clients" else "destinations")
        if dialect.named(len(networks)):
            yield Set(_name(name, passage), frozenset(networks))


def _maps(passage: Passage, dialect: Dialect) -> Iterator[Map]:
    if passage.sources and not dialect.engine.is_iptables:
        yield Map(_name("snat", passage), frozenset(passage.sources))


def collapse(networks: Iterable[Network]) -> tuple[Network, ...]:
    """The same addresses in the fewest networks; all of one family."""
    return tuple(ipaddress.collapse_addresses(networks))  # type: ignore[type-var]  # typeshed wants one family
