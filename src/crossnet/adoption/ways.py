"""The ways that clients go over gateways today, from what their hosts say.

A way begins with a route of a client to an address of a gateway. What of the client's packets goes on from there, to
whom and as whom, is walked with the rules that the gateway has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from crossnet.adoption.routes import is_owned, leading, routes_of, source_by
from crossnet.adoption.walked import Walked
from crossnet.adoption.way import Way, each_once
from crossnet.errors import CrossnetError
from crossnet.facts import Facts
from crossnet.record import read_record
from crossnet.several import few, joined
from crossnet.values import Network, contains, show_network

_MOST = 4  # that a sentence names


def ways(
    clients: Sequence[str], gateways: Sequence[str], facts: Mapping[str, Facts], to: Sequence[Network] = ()
) -> tuple[Way, ...]:
    """All ways from these clients over these gateways, or only those to these networks; CrossnetError where none is."""
    found = [
        way
        for client in clients
        for gateway in gateways
        for way in _between(facts[client], facts[gateway], to)
    ]
    for way in found:
        _refuse_carried(way, facts[way.gateway])
    without = [client for client in clients if not any(client in way.clients for way in found)]
    if without:
        raise CrossnetError(
            "\n".join(_no_way(facts[client], [facts[name] for name in gateways], to) for client in without)
        )
    return tuple(_together(found))


def _between(client: Facts, gateway: Facts, to: Sequence[Network]) -> Iterator[Way]:
    for next_hop in dict.fromkeys(route.via for route in routes_of(client, gateway)):
        if next_hop is None:
            continue
        routes = [route for route in routes_of(client, gateway) if route.via == next_hop]
        asked = [route.destination for route in routes]
        if to:
            asked = [each for each in to if any(contains(route, each) for route in asked)]
        ingress, source = gateway.owner_of(next_hop), source_by(client, routes[0], next_hop)
        if asked and ingress is not None and source is not None:
            default = next((route for route in routes if route.destination.prefixlen == 0), None)
            walked = Walked(gateway, ingress, source, asked)
            for egress in walked.egresses:
                way = walked.way(client.host, next_hop, egress)
                yield replace(way, default_routes=(str(default),)) if default is not None else way


def _refuse_carried(way: Way, gateway: Facts) -> None:
    """CrossnetError where a crossing carries it already."""
    for standing in read_record(gateway).crossings:
        for path in standing.carried:
            clients = [client.network for client in path.clients]
            if all(any(contains(each, source) for each in clients) for source in way.sources) and all(
                any(contains(each, network) for each in path.destinations) for network in way.to
            ):
                reached = few([*map(show_network, way.to)], _MOST, ", ")
                raise CrossnetError(
                    f"{joined(way.clients)} reaches {reached} over {way.gateway} by crossing {standing.label} already: "
                    "nothing of it is to be adopted\n"
                    "  `crossnet list HOST` says who applied it, and from which spec."
                )


def _together(found: Sequence[Way]) -> Iterator[Way]:
    """The same with one way for all clients that differ in nothing else."""
    left = list(found)
    while left:
        first, *rest = left
        alike = [way for way in rest if _alike(way, first)]
        left = [way for way in rest if way not in alike]
        every = (first, *alike)
        yield replace(
            first,
            clients=tuple(name for way in every for name in way.clients),
            sources=tuple(source for way in every for source in way.sources),
            rules=each_once(rule for way in every for rule in way.rules),
            default_routes=tuple(route for way in every for route in way.default_routes),
        )


def _alike(one: Way, other: Way) -> bool:
    return replace(one, clients=(), sources=(), default_routes=()) == replace(
        other, clients=(), sources=(), default_routes=()
    )


def _no_way(client: Facts, gateways: Sequence[Facts], to: Sequence[Network]) -> str:
    names = joined([each.host for each in gateways])
    routes = [route for gateway in gateways for route in routes_of(client, gateway)]
    shown = few([str(route) for route in routes], _MOST)
    if not routes:
        others = [route for gateway in gateways for route in leading(client, gateway)]
        if not others:
            return (
                f"{client.host} has no route to an address of {names}\n"
                "  Name the gateway that its route leads to, or make the crossing with `crossnet connect`."
            )
        found = few([route.with_table for route in others], _MOST)
        if all(is_owned(route, client) for route in others):
            return f"{client.host}: crossnet has made {found}\n  `crossnet list HOST` says by which crossing."
        return (
            f"{client.host} gets to {names} by {found}: no crossing has a route of another table, with several next "
            "hops, or behind another route\n  Give it one in the main table to what it needs, and adopt that."
        )
    if to and not any(contains(route.destination, each) for route in routes for each in to):
        wanted = few([*map(show_network, to)], _MOST, ", ")
        return f"{client.host} has no route to {wanted} by {names}: it has {shown}\n  Name what is in one of these."
    return (
        f"nothing that {client.host} sends by {shown} leaves {names} on the other side\n"
        "  `crossnet diagnose --from HOST --via HOST --to ADDRESS` says where it stops; `crossnet connect` makes a way "
        "that works."
    )
