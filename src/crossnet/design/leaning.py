"""The gateway's own ways for a crossing that nothing known brings back at a boot: set by a command, and in no file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from crossnet.design.impacts import Impact
from crossnet.facts import Facts
from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.routes import Route, inside, matching
from crossnet.path import Path
from crossnet.proof import ways_gone
from crossnet.spec import Persist
from crossnet.values import Network

# They set theirs by rtnetlink, as `static`, `dhcp` or `ra`; `ip route add` without a word makes it `boot`. Of who
# sets routes by `ip` itself, as ifupdown and network-scripts do, no route tells whether it stands in a file.
_TELLS_ITS_OWN = (Keeper.NETWORKD, Keeper.NETWORKMANAGER)
_BY_COMMAND = "boot"


def leans_on(gateway: Facts, path: Path) -> Iterator[Route]:
    """The routes by which its packets leave, or their answers, that were set beside who keeps their interface."""
    if path.crossing.persist is Persist.NONE:
        return
    clients = (client.network for client in path.clients)
    for networks, device in ((path.destinations, path.egress), (clients, path.ingress)):
        owner = gateway.owners.get(device)
        if owner is not None and not {owner.keeper, owner.below}.isdisjoint(_TELLS_ITS_OWN):
            yield from (
                route
                for route in _towards(gateway, networks)
                if (route.device, route.protocol) == (device, _BY_COMMAND)
            )


def _towards(gateway: Facts, networks: Iterable[Network]) -> Iterator[Route]:
    for network in networks:
        yield from matching(gateway.routes, network)
        yield from inside(gateway.routes, network)


def way_of(route: Route) -> str:
    """It in words that begin with its destination, as the gateway keeps it of a verification."""
    via = f" via {route.via}" if route.via is not None else ""
    return f"{route.destination}{via} dev {route.device}"


def leaning_impacts(gateway: Facts, path: Path) -> Iterator[Impact]:
    """A line for each of them, and for each that is gone since the crossing was verified."""
    for route in dict.fromkeys(leans_on(gateway, path)):
        yield Impact("way-not-kept", gateway.host, _told(route, gateway.owners[route.device or ""]))
    for words in gone(gateway, path):
        yield Impact("way-gone", gateway.host, words)


def gone(gateway: Facts, path: Path) -> Iterator[str]:
    """Which of its ways the gateway has no more since the crossing was verified, and what carries the packets now."""
    for way, destination in ways_gone(gateway, path.crossing.label):
        now = matching(gateway.routes, destination)
        instead = f": they go by {now[0]} now" if now else ""
        yield (
            f"the route {way}, by which packets went when the crossing was last verified, is gone, and nothing brought "
            f"it back{instead}"
        )


def _told(route: Route, owner: Owner) -> str:
    return (
        f"leans on a route that {owner.label}, which keeps {owner.interface}, has not set, and that nothing known "
        f"brings back at a boot: {route}. `ip route add` sets such a one. Write it where {owner.label} looks for the "
        f"routes of {owner.interface}, unless a program of yours sets it at each boot"
    )
