"""The routes by which a client sends to a gateway."""

from __future__ import annotations

from collections.abc import Iterable

from crossnet.facts import Facts
from crossnet.facts.links import Link
from crossnet.facts.routes import MAIN, Route
from crossnet.record import read_record
from crossnet.resources import RouteResource
from crossnet.values import Address


def routes_of(client: Facts, gateway: Facts) -> list[Route]:
    """Those that lead to the gateway, and that no crossing of crossnet's has made."""
    return [
        route
        for route in leading(client, gateway)
        if _is_plain(route) and _is_first(route, client) and not is_owned(route, client)
    ]


def leading(client: Facts, gateway: Facts) -> list[Route]:
    """All routes of a client that have an address of the gateway as a next hop."""
    return [
        route
        for route in client.routes
        if route.type == "unicast"
        and any(
            hop is not None and gateway.owner_of(hop) is not None
            for hop in (route.via, *(each.via for each in route.hops))
        )
    ]


def _is_plain(route: Route) -> bool:
    """Whether all packets to its destination take it to the one next hop, as a crossing's route does."""
    return (
        route.table == MAIN and route.via is not None and not (route.dead or route.tos or route.from_network)
    )


def _is_first(route: Route, client: Facts) -> bool:
    """Whether no other route to its destination comes before it."""
    there = (each for each in client.routes_to(route.destination) if each.table == MAIN and not each.dead)
    return route.metric <= min(each.metric for each in there)


def is_owned(route: Route, client: Facts) -> bool:
    """Whether crossnet has made it, by the client's record."""
    owned = (one.applied for one in read_record(client).owned)
    return any(isinstance(one, RouteResource) and one.key == RouteResource(route).key for one in owned)


def source_by(client: Facts, route: Route, next_hop: Address) -> Address | None:
    """As whom the client sends by a route."""
    if route.source is not None:
        return route.source
    links: Iterable[Link] = [link for link in client.links if route.device in (None, link.name)]
    return next((own.address for link in links if (own := link.on_link(next_hop)) is not None), None)
