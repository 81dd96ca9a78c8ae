"""Clients that get their routes from their cloud, with the lease of their interface: what they lack until then."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping

from crossnet.design.applied import as_applied
from crossnet.design.impacts import Impact
from crossnet.facts import Facts
from crossnet.facts.owners import Keeper
from crossnet.facts.routes import MAIN, OWN_PROTOCOL, Route
from crossnet.path import Client, Path
from crossnet.resources import Resource
from crossnet.resources.route import DEFAULT_METRIC
from crossnet.several import MOST_NAMES, few
from crossnet.spec import Routes
from crossnet.values import Network, contains

_ARRIVES = "it comes with its next DHCP lease"


def comes_with_leases(path: Path) -> bool:
    """Whether clients of a path get their routes from the cloud."""
    return path.crossing.routes is Routes.NEUTRON


def awaited(path: Path, client: Client, facts: Facts) -> tuple[Network, ...]:
    """The destinations to which a client has no route by its next hop, where that comes with its lease."""
    if not comes_with_leases(path) or client.host is None:
        return ()
    led = [route.destination for route in facts.routes if (route.table, route.via) == (MAIN, client.next_hop)]
    return tuple(each for each in path.destinations if not any(contains(one, each) for one in led))


def leased(paths: Iterable[Path], facts: Mapping[str, Facts]) -> dict[str, list[Route]]:
    """The routes that managed clients have when they have renewed their leases, and have not yet."""
    found: dict[str, list[Route]] = {}
    for path in paths:
        for client in path.clients:
            for network in awaited(path, client, facts[client.host]) if client.host is not None else ():
                route = Route(
                    network,
                    via=client.next_hop,
                    device=client.interface,
                    protocol=OWN_PROTOCOL,
                    metric=DEFAULT_METRIC[path.family],
                )
                found.setdefault(client.host or "", []).append(route)
    return found


def from_leases(here: Facts, paths: Iterable[Path]) -> Iterator[Route]:
    """The routes that a host gets with a lease, client or not, because it stands in the network of a next hop."""
    for path in paths:
        if not comes_with_leases(path) or path.gateway == here.host:
            continue
        for hop in path.next_hops:
            for link in here.links:
                if any(hop in item.network for item in link.of(path.family)):
                    for network in path.destinations:
                        yield Route(network, via=hop, device=link.name, protocol="dhcp")


def waiting(path: Path, facts: Mapping[str, Facts]) -> Iterator[tuple[Client, str]]:
    """Which managed clients have to renew their lease first, each with what it lacks and how it gets it, in words."""
    for client in path.clients:
        if client.host is None:
            continue
        here = facts[client.host]
        if lacking := awaited(path, client, here):
            command = renewing(client.interface or "", here)
            now = f"; `{command}` there asks for one now" if command is not None else ""
            yield client, f"no route to {', '.join(map(str, lacking))} yet: {_ARRIVES}{now}"


def lease_impacts(
    path: Path, facts: Mapping[str, Facts], wanted: Mapping[str, Iterable[Resource]]
) -> Iterator[Impact]:
    """That clients, when they have what is wanted on them, get there only with their next leases."""
    if not comes_with_leases(path):
        return
    clients = dict.fromkeys(client.host for client in path.clients if client.host is not None)
    later = list(waiting(path, {name: as_applied(facts[name], wanted[name]) for name in clients}))
    for client, why in later:
        yield Impact("route-with-lease", client.host or "", why)
        if not _takes_leases(client, facts[client.host or ""]):
            yield Impact(
                "address-not-leased",
                client.host or "",
                f"{client.interface} has {client.network.network_address} without an end, so perhaps not from a DHCP "
                "server: without leases the route never comes",
            )
    if others := [client for client in path.clients if client.host is None]:
        shown = few([*map(str, others)], MOST_NAMES, ", ")
        yield Impact(
            "route-with-lease",
            f"crossing {path.crossing.name}",
            f"{shown}: what has no route there yet gets it with its next DHCP lease, usually within half of its time",
        )


def _takes_leases(client: Client, facts: Facts) -> bool:
    """Whether its address may come from a DHCP server, as far as the kernel tells."""
    link = facts.link(client.interface or "")
    own = [item for item in link.addresses if item.address in client.network] if link is not None else []
    return any(item.leased for item in own)


def renewing(device: str, facts: Facts) -> str | None:
    """The command by which a host asks for a lease on an interface now; None where that may cost it its address."""
    owner = facts.owners.get(device)
    keeper = (owner.below or owner.keeper) if owner is not None else Keeper.NOBODY
    if keeper in (Keeper.NETWORKD, Keeper.NETPLAN):
        return shlex.join(("networkctl", "renew", device))  # since systemd 244
    if keeper is Keeper.NETWORKMANAGER and owner is not None:
        which = ("uuid", owner.profile) if owner.profile else ("ifname", device)
        return shlex.join(("nmcli", "connection", "up", *which))
    link = facts.link(device)
    if link is None or not any(item.leased for item in link.addresses):
        return None  # an address that came with no lease comes back with none
    # dhclient(8) gives the address up with -r: the second half must not wait for who is connected over it.
    first, then = shlex.join(("dhclient", "-r", device)), shlex.join(("dhclient", device))
    return shlex.join(("nohup", "sh", "-c", f"{first}; {then}"))


__all__ = ["awaited", "comes_with_leases", "from_leases", "lease_impacts", "leased", "renewing", "waiting"]
