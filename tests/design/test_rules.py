"""The rules of a gateway say the same in every dialect, whatever the crossings, and every engine can hold them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossnet.design.rules import Dialect, gateway_table
from crossnet.netfilter import (
    Accept,
    DestinationPorts,
    Drop,
    Endpoint,
    Engine,
    FlowDirection,
    FlowEnd,
    Interface,
    L4Protocol,
    Masquerade,
    Match,
    NamedSet,
    Rule,
    Snat,
    SnatByDestination,
    State,
    Table,
)
from crossnet.netfilter.iptables import write_chains, write_ipsets
from crossnet.netfilter.nft import write_table
from crossnet.netfilter.own import check_own
from crossnet.path import Client, Leg, Path
from crossnet.spec import Crossing
from crossnet.translation import Masquerade as Masqueraded
from crossnet.translation import Snat as Translated
from crossnet.translation import Translation, Untranslated
from crossnet.values import (
    Address,
    Family,
    Network,
    Ports,
    Protocol,
    Traffic,
    address,
    contains,
    host_network,
    network,
    overlap,
)
from design.factsheet import networks

NEXT_HOP = address("10.0.43.101")
NFT = Dialect(Engine.NFTABLES)
IPSET = Dialect(Engine.IPTABLES_LEGACY)
LINEAR = Dialect(Engine.IPTABLES_LEGACY, has_ipset=False)
DIALECTS = (NFT, IPSET, LINEAR)


# ---- packets, to say what rules do -----------------------------------------------------------------


@dataclass(frozen=True)
class Packet:
    """A packet as connection tracking sees it; `about` is the destination, or source, of its flow's first packet."""

    came: str
    leaves: str
    source: Address
    destination: Address
    protocol: str = "tcp"
    port: int = 443
    state: str = "new"
    way: str = "original"
    about: Address | None = None


def matches(table: Table, match: Match, packet: Packet) -> bool:
    match match:
        case Interface(direction="in"):
            return match.name == packet.came
        case Interface():
            return match.name == packet.leaves
        case Endpoint():
            end = packet.source if match.side == "source" else packet.destination
            return any(contains(where, end) for where in _where(table, match))
        case L4Protocol():
            return match.name == packet.protocol
        case DestinationPorts():
            return any(ports.first <= packet.port <= ports.last for ports in match.ranges)
        case State():
            return packet.state in match.names
        case FlowDirection():
            return match.name == packet.way
        case FlowEnd():
            return packet.about is not None and any(
                contains(each, packet.about) for each in _where(table, match)
            )
        case _:
            raise AssertionError(f"no crossing needs {match}")


def _where(table: Table, match: Endpoint | FlowEnd) -> tuple[Network, ...]:
    if not isinstance(match.where, NamedSet):
        return (match.where,)
    (found,) = [each.members for each in table.sets if each.name == match.where.name]
    return tuple(found)


def first_rule(table: Table, chain: str, packet: Packet) -> Rule | None:
    rules = found.rules if (found := table.chain(chain)) else ()
    return next((rule for rule in rules if all(matches(table, m, packet) for m in rule.matches)), None)


def passes(table: Table, packet: Packet) -> bool:
    rule = first_rule(table, "forward", packet)
    return rule is None or not isinstance(rule.verdict, Drop)


def seen_as(table: Table, packet: Packet) -> Address | str:
    """The source that the destination sees."""
    rule = first_rule(table, "postrouting", packet)
    match rule.verdict if rule else None:
        case None:
            return packet.source
        case Masquerade():
            return "the egress"
        case Snat(address=source):
            return source
        case SnatByDestination(map=name):
            (entries,) = [each.entries for each in table.maps if each.name == name]
            (source,) = [value for where, value in entries if contains(where, packet.destination)]
            return source
        case verdict:
            raise AssertionError(f"no translation: {verdict}")


# ---- one path, written down -----------------------------------------------------------------------


def path(
    to: str = "10.0.44.0/24",
    *,
    clients: str = "10.0.43.15",
    allow: str | None = None,
    translation: Translation | None = None,
    sources: str = "10.0.44.63",
    name: str = "business",
    routed_clients: str = "",
    routed_destinations: str = "",
) -> Path:
    own = networks(*to.split())
    traffic = None if allow is None else tuple(Traffic.from_text(word) for word in allow.split())
    addresses = [address(word) for word in sources.split()]
    crossing = Crossing(name, networks(*clients.split()), "gateway", own, traffic)
    leg = Leg(
        gateway="gateway",
        ingress="eth1",
        egress="eth0",
        translation=translation
        or Translated(tuple(zip(own, addresses * (len(own) // len(addresses)), strict=True))),
        routed_clients=networks(*routed_clients.split()),
        routed_destinations=networks(*routed_destinations.split()),
    )
    return Path(
        crossing=crossing,
        family=Family.V4,
        clients=tuple(Client(each, NEXT_HOP) for each in networks(*clients.split())),
        destinations=own,
        legs=(leg,),
    )


def packet(source: str = "10.0.43.15", destination: str = "10.0.44.1", **more: Any) -> Packet:
    plain = Packet("eth1", "eth0", address(source), address(destination))
    return replace(plain, **more)


def rules_of(table: Table, chain: str = "forward") -> tuple[Rule, ...]:
    found = table.chain(chain)
    return found.rules if found else ()


PORTS = [*range(1000, 1040, 2), *range(2000, 2100, 10)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_more_ports_than_one_rule_can_hold(dialect: Dialect) -> None:
    allow = " ".join([f"tcp/{port}" for port in PORTS] + ["tcp/8000-8010", "tcp/8005-8020", "udp/53"])
    table = gateway_table([path(allow=allow)], True, dialect)
    check_own(table)
    allowed = {*PORTS, *range(8000, 8021)}
    for port in range(990, 8030):
        assert passes(table, packet(port=port)) is (port in allowed)
        assert (seen_as(table, packet(port=port)) == address("10.0.44.63")) is (port in allowed)
    assert passes(table, packet(protocol="udp", port=53))
    assert not passes(table, packet(protocol="udp", port=1000))
    assert not passes(table, packet(protocol="icmp"))
    for rule in rules_of(table):
        for match in rule.matches:
            if isinstance(match, DestinationPorts):
                assert sum(1 if one.first == one.last else 2 for one in match.ranges) <= 15


@pytest.mark.parametrize("dialect", DIALECTS)
def test_whole_protocol_beside_one_of_its_ports(dialect: Dialect) -> None:
    table = gateway_table([path(allow="tcp/443 tcp icmp")], True, dialect)
    assert passes(table, packet(port=22))
    assert passes(table, packet(protocol="icmp"))
    assert not passes(table, packet(protocol="udp", port=443))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_destination_sees_its_own_source(dialect: Dialect) -> None:
    one = path("10.0.44.0/24 10.0.45.0/24 10.8.0.0/16", sources="10.0.44.63 10.0.45.63 10.0.44.63")
    table = gateway_table([one], True, dialect)
    check_own(table)
    for target, source in (
        ("10.0.44.9", "10.0.44.63"),
        ("10.0.45.9", "10.0.45.63"),
        ("10.8.7.6", "10.0.44.63"),
    ):
        assert seen_as(table, packet(destination=target)) == address(source)
    assert seen_as(table, packet(destination="10.0.46.9")) == address("10.0.43.15")


def test_nftables_looks_up_many_networks_in_one_rule() -> None:
    clients = " ".join(f"10.0.43.{n}" for n in range(1, 200, 2))
    table = gateway_table([path(clients=clients)], True, NFT)
    assert len(rules_of(table)) == 4  # established there and back, the crossing, the fence
    assert len(rules_of(table, "postrouting")) == 1
    assert {each.name for each in table.sets} == {"from-business", "to-business"}


def test_iptables_uses_a_set_for_several_networks_and_none_for_one() -> None:
    alone = gateway_table([path()], True, IPSET)
    assert alone.sets == ()
    many = gateway_table([path(clients="10.0.43.15 10.0.43.17")], True, IPSET)
    assert {each.name for each in many.sets} == {"from-business"}
    assert len(rules_of(many)) == 4  # there and back, the crossing, the fence
    without = gateway_table([path("10.0.44.1 10.0.44.3", clients="10.0.43.15 10.0.43.17")], True, LINEAR)
    assert without.sets == ()
    assert len([rule for rule in rules_of(without) if rule.comment == "business"]) == 4


@pytest.mark.parametrize("dialect", DIALECTS)
def test_established_is_first_and_the_fence_is_last(dialect: Dialect) -> None:
    table = gateway_table([path(), path("10.0.45.0/24", name="third")], True, dialect)
    first, *_, last = rules_of(table)
    assert any(isinstance(match, State) for match in first.matches)
    assert (last.matches, last.verdict, last.comment) == ((), Drop(), "fence")
    assert not passes(table, back(state="new", way="original"))
    assert passes(table, back())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_without_a_fence_nothing_is_dropped(dialect: Dialect) -> None:
    table = gateway_table([path(allow="icmp")], False, dialect)
    assert not any(isinstance(rule.verdict, Drop) for rule in rules_of(table))


def back(source: str = "10.0.44.1", destination: str = "10.0.43.15", **more: Any) -> Packet:
    plain = packet(source, destination, came="eth0", leaves="eth1", state="established", way="reply")
    return replace(plain, **more)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("fence", [True, False])
def test_established_speaks_for_no_flow_but_those_of_the_crossing(dialect: Dialect, fence: bool) -> None:
    """In iptables an accept is final, also for the rules of others behind it."""
    two = path("10.0.44.0/28 10.0.45.0/24", clients="10.0.43.15 10.0.43.77", translation=Untranslated())
    table = gateway_table([two], fence, dialect)
    for mine in (packet(state="established", port=1), back(), back(state="related")):
        assert isinstance(rule := first_rule(table, "forward", mine), Rule)
        assert isinstance(rule.verdict, Accept)
    for stranger in (
        packet("10.0.43.99", state="established"),
        packet(destination="10.0.44.99", state="established"),
        packet(came="eth2", state="established"),
        packet(leaves="eth2", state="established"),
        back(destination="10.0.43.99"),
        back("10.0.44.99"),
        back("10.0.46.1", state="related", protocol="icmp", about=address("10.0.44.1")),
        back(came="eth2"),
        back(leaves="eth2"),
        back(way="original"),  # a flow that the destination began
    ):
        rule = first_rule(table, "forward", stranger)
        assert (rule and rule.verdict) == (Drop() if fence else None)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_routers_on_the_way_may_send_icmp_errors_about_what_lies_behind_them(dialect: Dialect) -> None:
    one = path("10.0.44.0/24 10.9.0.0/16", translation=Untranslated(), routed_destinations="10.9.0.0/16")
    table = gateway_table([one], True, dialect)
    check_own(table)
    error = back("192.0.2.1", state="related", protocol="icmp", about=address("10.9.0.1"))
    assert passes(table, error)
    for other in (
        replace(error, about=address("10.0.44.1")),  # nobody stands between the gateway and that one
        replace(error, protocol="tcp"),
        replace(error, state="established"),
        replace(error, way="original"),
        replace(error, came="eth2"),
        replace(error, destination=address("10.0.43.99")),
    ):
        assert not passes(table, other)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_routers_on_the_way_to_the_clients_may_send_icmp_errors_too(dialect: Dialect) -> None:
    one = path(clients="10.0.43.15 10.7.0.0/16", routed_clients="10.7.0.0/16")
    table = gateway_table([one], True, dialect)
    error = packet("192.0.2.1", state="related", protocol="icmp", about=address("10.7.0.1"))
    assert passes(table, error)
    assert not passes(table, replace(error, about=address("10.0.43.15")))
    assert not passes(table, replace(error, destination=address("10.0.45.1")))


def test_iptables_cannot_ask_in_a_set_of_which_flow_an_error_tells() -> None:
    two = path("10.8.0.0/16 10.10.0.0/16", routed_destinations="10.8.0.0/16 10.10.0.0/16")
    table = gateway_table([two], True, IPSET)
    error = back("192.0.2.1", state="related", protocol="icmp")
    assert passes(table, error)
    assert not passes(table, replace(error, destination=address("10.0.43.99")))


# ---- any paths --------------------------------------------------------------------------------------


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,19}", fullmatch=True)
FAMILIES = st.sampled_from(Family)


def some_networks(family: Family, base: str) -> st.SearchStrategy[tuple[Network, ...]]:
    """Networks that do not overlap, as a spec has them: close together, so that they join and touch."""
    bits = 32 if family is Family.V4 else 128
    start = int(network(base).network_address)
    one = st.builds(
        lambda offset, size: network(
            f"{type(network(base).network_address)(start + (offset >> size << size))}/{bits - size}"
        ),
        st.integers(0, 63),
        st.integers(0, 4),
    )
    return st.lists(one, min_size=1, max_size=6).map(_apart)


def _apart(found: list[Network]) -> tuple[Network, ...]:
    kept: list[Network] = []
    for each in found:
        if not any(overlap(each, other) for other in kept):
            kept.append(each)
    return tuple(kept)


PORT = st.integers(1, 65535)
TRAFFIC = st.one_of(
    st.just(Traffic(Protocol.ICMP)),
    st.builds(Traffic, st.sampled_from([Protocol.TCP, Protocol.UDP])),
    st.builds(
        lambda protocol, one, other: Traffic(protocol, Ports(min(one, other), max(one, other))),
        st.sampled_from([Protocol.TCP, Protocol.UDP]),
        PORT,
        st.one_of(PORT, st.integers(1, 100)),
    ),
)
BASES = {
    Family.V4: ("10.0.43.0/32", "10.0.44.0/32", "10.0.44.63", "10.0.44.64"),
    Family.V6: ("fd00:43::/128", "fd00:44::/128", "fd00:44::63", "fd00:44::64"),
}


@st.composite
def some_paths(draw: st.DrawFn) -> tuple[Path, ...]:
    family = draw(FAMILIES)
    from_base, to_base, *own = BASES[family]
    made = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        clients = draw(some_networks(family, from_base))
        to = draw(some_networks(family, to_base))
        allow = draw(st.none() | st.lists(TRAFFIC, min_size=1, max_size=25, unique=True).map(tuple))
        sources = st.tuples(*(st.sampled_from(own).map(address) for _ in to))
        fixed = sources.map(lambda found: Translated(tuple(zip(to, found, strict=True))))  # noqa: B023
        others: list[Translation] = [Masqueraded(), Untranslated()]
        translation: Translation = draw(st.sampled_from(others) | fixed)
        # A managed host may lie inside a network of `from`.
        hosts = draw(st.sampled_from(["", "app"]))
        inside = [Client(host_network(clients[0][0]), NEXT_HOP, hosts, "eth0")] if hosts else []
        leg = Leg(
            gateway="gateway",
            ingress="eth1",
            egress=draw(st.sampled_from(["eth0", "eth0.100", "eth1"])),
            translation=translation,
            clamp=draw(st.booleans()),
            routed_clients=draw(st.sampled_from([(), clients, clients[:1]])),
            routed_destinations=draw(st.sampled_from([(), to, to[:1]])),
        )
        made.append(
            Path(
                crossing=Crossing(name, clients, "gateway", to, allow),
                family=family,
                clients=(*inside, *(Client(each, NEXT_HOP) for each in clients)),
                destinations=to,
                legs=(leg,),
            )
        )
    return tuple(made)


@given(some_paths(), st.booleans(), st.sampled_from(DIALECTS))
@settings(max_examples=150, deadline=None)
def test_every_table_can_be_written_by_its_engine(
    paths: tuple[Path, ...], fence: bool, dialect: Dialect
) -> None:
    table = gateway_table(paths, fence, dialect)
    check_own(table)
    if dialect.engine.is_iptables:
        assert write_chains(None, table)
        assert bool(write_ipsets(None, table)[0]) is bool(table.sets)
    else:
        assert "table" in write_table(table)


@given(some_paths(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_packet_passes_where_a_crossing_names_it_and_nowhere_else(
    paths: tuple[Path, ...], data: st.DataObject
) -> None:
    family = paths[0].family
    from_base, to_base, *_ = BASES[family]
    near = st.integers(0, 70)
    one = Packet(
        "eth1",
        data.draw(st.sampled_from(["eth0", "eth0.100", "eth1", "eth2"])),
        network(from_base)[0] + data.draw(near),
        network(to_base)[0] + data.draw(near),
        data.draw(st.sampled_from(["tcp", "udp", "icmp" if family is Family.V4 else "ipv6-icmp", "sctp"])),
        data.draw(PORT | st.integers(1, 100)),
    )
    named = [each for each in paths if _names(each, one)]
    for dialect in DIALECTS:
        table = gateway_table(paths, True, dialect)
        assert passes(table, one) is bool(named)
        if len(named) == 1 and len([each for each in paths if _translates(each, one)]) <= 1:
            assert seen_as(table, one) == _source(named[0], one)


def _translates(path: Path, packet: Packet) -> bool:
    return path.leg.translates and _names(path, packet)


def _names(path: Path, packet: Packet) -> bool:
    allow = path.crossing.allow
    protocol = packet.protocol.removeprefix("ipv6-")
    return (
        (packet.came, packet.leaves) == (path.ingress, path.egress)
        and any(contains(client.network, packet.source) for client in path.clients)
        and any(contains(where, packet.destination) for where in path.destinations)
        and (
            allow is None
            or any(
                entry.protocol == protocol
                and (entry.ports is None or entry.ports.first <= packet.port <= entry.ports.last)
                for entry in allow
            )
        )
    )


def _source(path: Path, packet: Packet) -> Address | str:
    match path.leg.translation:
        case Untranslated():
            return packet.source
        case Masqueraded():
            return "the egress"
        case Translated(sources):
            (found,) = [source for where, source in sources if contains(where, packet.destination)]
            return found


def test_the_rules_accept_or_drop_and_nothing_else() -> None:
    table = gateway_table([path()], True, NFT)
    assert {type(rule.verdict) for rule in rules_of(table)} == {Accept, Drop}
