"""What a crossing to larger networks leaves as it is: of two routes the longer one decides, whoever made the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from crossnet.facts import Facts
from crossnet.facts.links import Link, LinkAddress
from crossnet.facts.routes import MAIN, Route, inside, matching
from crossnet.record import Owned, read_record
from crossnet.resources import RouteResource
from crossnet.spec import Crossing
from crossnet.values import Family, Network, contains, family_of, without


def routed(facts: Facts, crossing: Crossing, family: Family) -> tuple[Network, ...]:
    """To which networks a client gets routes: as the user names them, where its own routes keep the exceptions.

    An exception for which it has no longer route is left out, so that it goes on by the shorter one, or none.
    """
    networks = crossing.networks(family)
    excepted = [part for part in crossing.excepted if family_of(part) is family]
    if not excepted:
        return networks
    others = tuple(of_others(facts))
    bare = [part for part in excepted if not _has_longer(others, part, networks)]
    return without(networks, bare) if bare else networks


def _has_longer(routes: Sequence[Route], part: Network, networks: Iterable[Network]) -> bool:
    """Whether all of a part goes by routes that are longer than the network it lies in."""
    around = next((network for network in networks if contains(network, part)), part)
    found = matching(routes, part)
    if found and found[0].destination.prefixlen > around.prefixlen:
        return True
    return part != around and not without([part], (route.destination for route in inside(routes, part)))


def keeps_its_network(facts: Facts, link: Link, item: LinkAddress, network: Network) -> bool:
    """Whether a host goes on to reach the network of its interface there, when a larger one gets a route.

    An interface that is down has no route, and gets it when it comes up (net/ipv4/fib_frontend.c, fib_add_ifaddr).
    """
    if not link.up:
        return True
    found = matching(of_others(facts), item.network)
    return any(
        (route.via, route.device) == (None, link.name) and route.destination.prefixlen > network.prefixlen
        for route in found
    )


def of_others(facts: Facts) -> Iterable[Route]:
    """The routes of the main table that crossnet did not make."""
    own = own_routes(read_record(facts).owned)
    return (route for route in facts.routes if route.table == MAIN and not is_own(route, own))


def own_routes(known: Iterable[Owned]) -> Mapping[Network, Sequence[RouteResource]]:
    """The routes that crossnet made, by their destination: a host's record says so, whatever their protocol."""
    found: dict[Network, list[RouteResource]] = {}
    for owned in known:
        if isinstance(owned.applied, RouteResource):
            found.setdefault(owned.applied.route.destination, []).append(owned.applied)
    return found


def is_own(route: Route, own: Mapping[Network, Sequence[RouteResource]]) -> bool:
    """Whether a route of the host is one of `own_routes`."""
    return any(each.is_at(route) for each in own.get(route.destination, ()))
