"""The rules of a gateway: what its paths let through, and whom they pretend to be."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from crossnet.netfilter import (
    TABLE_FAMILY,
    Accept,
    Chain,
    ClampMss,
    DestinationPorts,
    Drop,
    Endpoint,
    Engine,
    FlowDirection,
    FlowEnd,
    Interface,
    L4Protocol,
    Map,
    Masquerade,
    Match,
    NamedSet,
    Return,
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
from crossnet.netfilter.own import HOOKS, TABLE, collapsed, networks_in_order
from crossnet.path import Path
from crossnet.translation import Masquerade as Masqueraded
from crossnet.translation import Snat as Translated
from crossnet.translation import Untranslated
from crossnet.values import Family, Network, Ports, Protocol, Traffic

FENCE = "fence"
FENCED = "forward"
"""The chain in which the fence stands."""

_ICMP = {Family.V4: "icmp", Family.V6: "ipv6-icmp"}
_ESTABLISHED = State(frozenset({"established", "related"}))
_RELATED = State(frozenset({"related"}))
_ORIGINAL, _REPLY = FlowDirection("original"), FlowDirection("reply")

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


# With what it is of, and with what ipset sets before it.
_LONGEST = 20
# How the name of a set ends that was cut, or is that of another spec than `crossnet`.
_CUT = re.compile(r"\.[0-9a-f]{8}$")

Named = tuple[Network | NamedSet, ...]


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of a path as matches name them: the networks themselves, or sets that hold them.

    The routed ones are those parts of them that lie behind routers.
    """

    path: Path
    sources: Named
    destinations: Named
    routed_sources: Named
    routed_destinations: Named
    sets: tuple[Set, ...]


def gateway_table(paths: Sequence[Path], fence: bool, dialect: Dialect, bridges: Iterable[str] = ()) -> Table:
    """crossnet's whole table of one family for these paths, in the order in which a packet meets it.

    `bridges` are those whose frames meet the rules too (br_netfilter): they are carried and not forwarded, so the
    fence is not for them.
    """
    ends = [_ends(path, dialect) for path in paths]
    forward = [
        # First, so that an established packet never walks the rest.
        *(rule for each in ends for rule in _established(each)),
        *(rule for each in ends for rule in _errors_of_routers(each, dialect)),
        *(rule for each in ends for rule in _admit(each)),
        *([*map(_carried, bridges), Rule((), Drop(), FENCE)] if fence else []),
    ]
    translate = [rule for each in ends for rule in _translate(each, dialect)]
    clamp = [rule for path in paths if path.leg.clamp for rule in _clamp(path)]
    chains = [Chain("forward", tuple(forward), HOOKS["forward"])]
    if translate:
        chains.append(Chain("postrouting", tuple(translate), HOOKS["postrouting"]))
    if clamp:
        chains.append(Chain("mangle", tuple(dict.fromkeys(clamp)), HOOKS["mangle"]))
    sets = sorted((each for one in ends for each in one.sets), key=lambda each: each.name)
    maps = sorted((each for path in paths for each in _maps(path, dialect)), key=lambda each: each.name)
    return Table(TABLE_FAMILY[paths[0].family], TABLE, tuple(chains), tuple(sets), tuple(maps))


def accepting_table(paths: Sequence[Path], dialect: Dialect) -> Table:
    """What only accepts these paths' packets, for an engine beside the one that carries them."""
    table = gateway_table(paths, False, dialect)
    return replace(table, chains=tuple(chain for chain in table.chains if chain.name == FENCED))


def fence_alone(table: Table) -> Table:
    """The same without the rules of any crossing."""
    forward = next(chain for chain in table.chains if chain.name == FENCED)
    rules = tuple(rule for rule in forward.rules if isinstance(rule.verdict, Drop | Return))
    return replace(table, chains=(replace(forward, rules=rules),), sets=(), maps=())


def _ends(path: Path, dialect: Dialect) -> Ends:
    clients = collapsed(client.network for client in path.clients)
    destinations = collapsed(path.destinations)
    sets: list[Set] = []

    def named(what: str, members: frozenset[Network]) -> Named:
        if not members or not dialect.named(len(members)):
            return tuple(networks_in_order(members))
        known = next((each for each in sets if each.members == members), None)
        if known is None:
            known = Set(_name(what, path), members)
            sets.append(known)
        return (NamedSet(known.name),)

    return Ends(
        path,
        named("from", clients),
        named("to", destinations),
        named("near", collapsed(path.leg.routed_clients)),
        named("far", collapsed(path.leg.routed_destinations)),
        tuple(sets),
    )


def _name(what: str, path: Path) -> str:
    """Of a set; a long one is cut, because a name of ipset has at most 31 characters.

    What looks like one that was cut, or like that of another spec's, is made one.
    """
    name, label = path.crossing.name, path.crossing.label
    if label == name and len(name) <= _LONGEST and not _CUT.search(name):
        return f"{what}-{name}"
    return f"{what}-{name[:11]}.{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def _carried(bridge: str) -> Rule:
    """What a bridge carries from port to port looks as if it came in and left by the bridge itself."""
    return _rule((Interface("in", bridge), Interface("out", bridge)), Return(), "bridged")


def _rule(matches: tuple[Match, ...], verdict: Verdict, comment: str = "") -> Rule:
    return Rule(in_order(match for match in matches if not _is_of_all(match)), verdict, comment)


def _is_of_all(match: Match) -> bool:
    """Whether a match by an address takes every one: iptables would not print it back."""
    return (
        isinstance(match, Endpoint | FlowEnd)
        and not isinstance(match.where, NamedSet)
        and match.where.prefixlen == 0
    )


# ---- the filter ----------------------------------------------------------------------------------


def _established(ends: Ends) -> Iterator[Rule]:
    """There and back, between the ends, for flows that a client began: a state alone says nothing of these."""
    for source, destination in product(ends.sources, ends.destinations):
        there = (Endpoint("source", source), Endpoint("destination", destination), _ORIGINAL)
        back = (Endpoint("source", destination), Endpoint("destination", source), _REPLY)
        yield _rule((*_way(ends.path), *there, _ESTABLISHED), Accept())
        yield _rule((*_way_back(ends.path), *back, _ESTABLISHED), Accept())


def _errors_of_routers(ends: Ends, dialect: Dialect) -> Iterator[Rule]:
    """ICMP errors about flows to or from what lies behind routers: each of these may send one.

    Without them a path with a smaller MTU swallows large packets (RFC 1191, RFC 8201). They go to the other end.
    """
    icmp = L4Protocol(_ICMP[ends.path.family])
    way, back = _way(ends.path), _way_back(ends.path)
    for far, source in product(ends.routed_destinations, ends.sources):
        about = _flow_end("destination", far, dialect)
        yield _rule((*back, Endpoint("destination", source), icmp, _RELATED, _REPLY, *about), Accept())
    for near, destination in product(ends.routed_sources, ends.destinations):
        about = _flow_end("source", near, dialect)
        yield _rule((*way, Endpoint("destination", destination), icmp, _RELATED, _ORIGINAL, *about), Accept())


def _flow_end(
    side: Literal["source", "destination"], where: Network | NamedSet, dialect: Dialect
) -> tuple[FlowEnd, ...]:
    """Which flow it is about, where the engine can say that: iptables has no sets for the ends of a flow."""
    return () if dialect.engine.is_iptables and isinstance(where, NamedSet) else (FlowEnd(side, where),)


def _admit(ends: Ends) -> Iterator[Rule]:
    for source, destination in product(ends.sources, ends.destinations):
        for traffic in _traffic(ends.path):
            between = (Endpoint("source", source), Endpoint("destination", destination))
            matches = (*_way(ends.path), *between, *traffic)
            yield _rule(matches, Accept(), ends.path.crossing.label)


def _way(path: Path) -> tuple[Match, ...]:
    return Interface("in", path.ingress), Interface("out", path.egress)


def _way_back(path: Path) -> tuple[Match, ...]:
    return Interface("in", path.egress), Interface("out", path.ingress)


def _traffic(path: Path) -> Iterator[tuple[Match, ...]]:
    """The matches for each rule that `allow` needs: one a protocol, however many ports."""
    allow = path.crossing.allow
    if allow is None:
        yield ()
        return
    for protocol in Protocol:
        entries = [traffic for traffic in allow if traffic.protocol is protocol]
        if not entries:
            continue
        name = L4Protocol(_ICMP[path.family] if protocol is Protocol.ICMP else str(protocol))
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


def _translate(ends: Ends, dialect: Dialect) -> Iterator[Rule]:
    path = ends.path
    # The ingress is unknown here: a packet that leaves has forgotten where it came in.
    out = Interface("out", path.egress)
    for verdict, destinations in _translations(ends, dialect):
        for source, destination in product(ends.sources, destinations):
            for traffic in _traffic(path):
                between = (Endpoint("source", source), Endpoint("destination", destination))
                yield _rule((out, *between, *traffic), verdict, path.crossing.label)


def _translations(ends: Ends, dialect: Dialect) -> Iterator[tuple[Verdict, Named]]:
    """What to do for which destinations: one map lookup in nftables, one rule an address in iptables."""
    match ends.path.leg.translation:
        case Untranslated():
            return
        case Masqueraded():
            yield Masquerade(), ends.destinations
        case Translated() if not dialect.engine.is_iptables:
            yield SnatByDestination(_name("snat", ends.path)), ends.destinations
        case Translated(addresses=(address,)):
            yield Snat(address), ends.destinations
        case Translated(sources, addresses=addresses):
            for address in addresses:
                yield Snat(address), tuple(network for network, own in sources if own == address)


def _clamp(path: Path) -> Iterator[Rule]:
    for way in (_way(path), _way_back(path)):
        yield _rule((*way, L4Protocol("tcp"), SynOnly()), ClampMss())


def _maps(path: Path, dialect: Dialect) -> Iterator[Map]:
    if isinstance(path.leg.translation, Translated) and not dialect.engine.is_iptables:
        yield Map(_name("snat", path), frozenset(path.leg.translation.sources))
