"""What crossings cannot have together, and what a host already uses otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from crossnet.design.longer import is_own, own_routes, routed
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.facts.routes import MAIN, Route
from crossnet.path import Client, Path
from crossnet.record import Record, read_record
from crossnet.resources import RouteResource
from crossnet.spec import Crossing, Fence, Firewall, Heal, Persist
from crossnet.standing import Standing
from crossnet.values import Family, Network, Ports, Traffic, overlap, show_network


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What holds for a whole gateway, whichever crossing says it."""

    firewall: Firewall
    fence: Fence
    persist: Persist
    heal: Heal


def gateway_settings(crossings: Sequence[Crossing]) -> GatewaySettings:
    """The settings that the crossings of one host agree on; `auto` gives way to anything else."""
    return GatewaySettings(
        next((c.firewall for c in crossings if c.firewall is not Firewall.AUTO), Firewall.AUTO),
        next((c.fence for c in crossings if c.fence is not Fence.AUTO), Fence.AUTO),
        next((c.persist for c in crossings if c.persist is not Persist.AUTO), Persist.AUTO),
        next((c.heal for c in crossings if c.heal is not Heal.NONE), Heal.NONE),
    )


def conflicts(
    paths: Sequence[Path], facts: Mapping[str, Facts], beside: Mapping[str, Sequence[Standing]]
) -> list[Refusal]:
    """Every reason why these paths cannot stand side by side on these hosts, with what stands there and stays."""
    refusals = []
    for one, other in combinations(paths, 2):
        refusals += [*_overlap(one, other), *_settings(one, other)]
    for one, other, standing in _with_standing(paths, beside):
        refusals += [
            *_overlap(one, other, standing),
            *_settings(one, other, standing),
            *_lasting(one, other),
        ]
    for path in paths:
        refusals += _routes_in_use(path, facts)
    return list(dict.fromkeys(refusals))


def unfenced(
    mine: Iterable[Path], family: Family, record: Record, beside: Iterable[Standing]
) -> Iterator[Refusal]:
    """Crossings that would take away the fence of a gateway that did not forward this family before.

    Whoever has a crossing of another spec there counts on the fence with which it came.
    """
    off = next((one for one in mine if one.crossing.fence is Fence.OFF), None)
    was_off = any(each.crossing.fence is Fence.OFF for one in record.crossings for each in one.carried)
    if off is None or was_off:
        return
    for one in beside:
        if any(each.family is family for each in one.carried) and one.spec != off.crossing.spec:
            yield Refusal(
                "settings-differ",
                f"crossings {off.crossing.label} and {one.label}",
                f"share the gateway {off.gateway}, and {off.crossing.label} asks for `fence: off`: it did not forward "
                f"{family.label} before, and without the fence it is open for everybody{_whose(one)}",
                f"Leave `fence: off` out, or agree with whoever has {one.label}: first it has to ask for the same.",
            )


def _with_standing(
    paths: Sequence[Path], beside: Mapping[str, Sequence[Standing]]
) -> Iterator[tuple[Path, Path, Standing]]:
    """Each path with each that stands on one of its hosts: on its gateway, or for one of its clients."""
    for path in paths:
        clients = {client.host for client in path.clients if client.host is not None}
        for name, standing in beside.items():
            for one in standing:
                if name == path.gateway:
                    yield from ((path, other, one) for other in one.on(name))
                elif name in clients:
                    # By the same next hop it is the same gateway, which tells itself what goes together.
                    others = (
                        each for each in one.of_client(name) if not set(each.next_hops) & set(path.next_hops)
                    )
                    yield from ((path, other, one) for other in others)


def _overlap(one: Path, other: Path, standing: Standing | None = None) -> Iterable[Refusal]:
    """Two crossings that claim the same packets; different traffic on the same way is fine.

    `standing` is the other one, where it is applied and none of those that are asked for.
    """
    if one.family is not other.family or one.crossing.label == other.crossing.label:
        return
    if _way(one) == _way(other) and not _same_traffic(one.crossing.allow, other.crossing.allow):
        return
    clients = [mine for mine in one.clients if any(_same_client(mine, theirs) for theirs in other.clients)]
    networks = [
        max(mine, theirs, key=lambda network: network.prefixlen)
        for mine, theirs in product(one.destinations, other.destinations)
        if overlap(mine, theirs)
    ]
    if clients and networks:
        said, todo = "", "Merge them into one, or make their `from`, `to` or `allow` disjoint."
        if standing is not None and standing.spec == one.crossing.spec:
            todo = (
                f"{standing.label} stands under this spec. If it is the same one under an earlier name, or is to go, "
                "leave out --crossing and --host: what the file has no more goes with a plan of all of it."
            )
        elif standing is not None:
            said = _whose(standing)
            todo = (
                f"Leave what {standing.label} has out of `from`, `to` or `allow`, or agree whose spec has it. If "
                f"it is your own under an earlier name: `name: {standing.spec}`, crossing `{standing.crossing}`."
            )
        yield Refusal(
            "crossings-overlap",
            f"crossings {one.crossing.label} and {other.crossing.label}",
            f"both claim packets from {clients[0]} to {show_network(networks[0])}{said}",
            todo,
        )


def _whose(standing: Standing | None) -> str:
    return f"; {standing.label} was {standing.stamp}" if standing is not None and standing.stamp.who else ""


def _same_client(one: Client, other: Client) -> bool:
    """One host with two addresses still has one routing table."""
    return overlap(one.network, other.network) or (one.host is not None and one.host == other.host)


def _way(path: Path) -> tuple[object, ...]:
    leg = path.leg
    return (leg.gateway, leg.ingress, leg.egress, type(leg.translation), frozenset(leg.translation.addresses))


def _same_traffic(one: tuple[Traffic, ...] | None, other: tuple[Traffic, ...] | None) -> bool:
    if one is None or other is None:
        return True
    return any(a.protocol is b.protocol and _ports_meet(a.ports, b.ports) for a in one for b in other)


def _ports_meet(one: Ports | None, other: Ports | None) -> bool:
    if one is None or other is None:
        return True
    return one.first <= other.last and other.first <= one.last


def _settings(one: Path, other: Path, standing: Standing | None = None) -> Iterable[Refusal]:
    """A gateway has one engine, one fence and one way to survive a reboot."""
    if one.gateway != other.gateway or one.crossing.label == other.crossing.label:
        return
    pairs = {
        "firewall": (one.crossing.firewall, other.crossing.firewall),
        "fence": (one.crossing.fence, other.crossing.fence),
        "persist": (one.crossing.persist, other.crossing.persist),
    }
    # Who keeps the routes of its clients is no matter of the gateway: only whether anybody does.
    if Persist.NONE not in pairs["persist"]:
        del pairs["persist"]
    for key, (mine, theirs) in pairs.items():
        if mine != theirs and "auto" not in (mine, theirs):
            yield Refusal(
                "settings-differ",
                f"crossings {one.crossing.label} and {other.crossing.label}",
                f"ask for `{key}: {mine}` and `{key}: {theirs}`, and share the gateway {one.gateway}{_whose(standing)}",
                f"Write the same `{key}` in both.",
            )
    mine, theirs = one.crossing.persist, other.crossing.persist
    clients = {client.host for client in one.clients} & {client.host for client in other.clients} - {None}
    if mine != theirs and not {mine, theirs} & {Persist.AUTO, Persist.NONE} and clients:
        for shared in sorted(set(one.destinations) & set(other.destinations), key=str)[:1]:
            yield Refusal(
                "settings-differ",
                f"crossings {one.crossing.label} and {other.crossing.label}",
                f"ask for `persist: {mine}` and `persist: {theirs}`, and share the route of "
                f"{min(map(str, clients))} to {show_network(shared)}",
                "Write the same `persist` in both.",
            )


def _lasting(one: Path, other: Path) -> Iterable[Refusal]:
    """What other specs have for the next boot is neither taken away nor given because this one wants it otherwise."""
    settings = (one.crossing.persist, other.crossing.persist)
    mine, theirs = (each is not Persist.NONE for each in settings)
    if one.gateway == other.gateway and mine != theirs and Persist.AUTO in settings:
        yield Refusal(
            "settings-differ",
            f"crossings {one.crossing.label} and {other.crossing.label}",
            f"ask for `persist: {one.crossing.persist}` and `persist: {other.crossing.persist}`, and share the gateway "
            f"{one.gateway}",
            "Write the same `persist` in both.",
        )


def _routes_in_use(path: Path, facts: Mapping[str, Facts]) -> Iterable[Refusal]:
    """A route of somebody else to the very destination, by another way: crossnet replaces nothing it does not own."""
    for client in path.clients:
        if client.host is None:
            continue
        own = own_routes(read_record(facts[client.host]).owned)
        to = frozenset(routed(facts[client.host], path.crossing, path.family))
        for route in facts[client.host].routes:
            if route.destination not in to or is_own(route, own):
                continue
            if _is_rival(route, client) and not _is_worse(route, client, facts[client.host], own):
                maker = f" proto {route.protocol}" if route.protocol else ""
                yield Refusal(
                    "route-in-use",
                    client.host,
                    f"already has a route to {route.destination} by another way: {route}{maker}",
                    "Remove it if it is not needed, or take this destination out of `to`."
                    if route.destination.prefixlen
                    else "Remove it if it is not needed, or name the networks behind the gateway in `to`.",
                )


def overruled(client: Client, destination: Network, facts: Facts) -> Iterator[Route]:
    """The routes of others on a client by another way, that are there beside one that wins by its metric."""
    own = own_routes(read_record(facts).owned)
    for route in facts.routes_to(destination):
        if (
            not is_own(route, own)
            and _is_rival(route, client)
            and not route.tos
            and _is_worse(route, client, facts, own)
        ):
            yield route


def _is_worse(
    route: Route, client: Client, facts: Facts, own: Mapping[Network, Sequence[RouteResource]]
) -> bool:
    """Whether a route to the same destination that leads to the gateway has a better metric than this one.

    One that crossnet made is there, or made again.
    """
    there = (
        each
        for each in facts.routes_to(route.destination)
        if not (_is_rival(each, client) or each.tos or each.dead or each.linkdown) and each.table == MAIN
    )
    leading = (*(each.route for each in own.get(route.destination, ())), *there)
    return any(each.metric < route.metric for each in leading)


def _is_rival(route: Route, client: Client) -> bool:
    if route.table != MAIN:
        return False
    if (route.via, route.device) != (client.next_hop, client.interface):
        return True
    # The same way with a source of its own: the gateway would not know those packets.
    return route.source not in (None, client.network.network_address)
