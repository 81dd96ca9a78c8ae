"""What subnets of an OpenStack cloud have to offer to their machines, in place of a route on each client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crossnet.design.at_cloud import cloud_of_paths, port_unknown
from crossnet.design.impacts import Impact
from crossnet.design.leases import comes_with_leases
from crossnet.design.question import Refused
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.facts.routes import MAIN, matching
from crossnet.openstack.entry import command
from crossnet.openstack.ports import CloudFacts, HostRoute, Subnet
from crossnet.openstack.typed import host_route_words
from crossnet.path import Client, Path
from crossnet.record import Record
from crossnet.resources import HostRoutes
from crossnet.resources.host_routes import offered
from crossnet.several import few
from crossnet.values import Family, contains, show_network

_HOST = "Or write `routes: host`, which sets the routes on the clients themselves."
_MOST = 6  # routes that a sentence names
USUAL_MOST = 20  # neutron.conf: max_subnet_host_routes; no API tells a cloud's own


def host_routes(
    facts: Facts, record: Record, paths: Sequence[Path]
) -> tuple[tuple[HostRoutes, ...], tuple[Impact, ...]]:
    """What subnets are to offer for all that a gateway carries; Refused where that cannot be told, or gets nowhere."""
    asked = [path for path in paths if path.crossing.cloud and comes_with_leases(path)]
    if not asked:
        return (), ()
    cloud = cloud_of_paths(facts, asked)
    refusals: list[Refusal] = []
    offers: dict[str, dict[HostRoute, Path]] = {}
    subnets = {subnet.id: subnet for subnet in cloud.subnets}
    for path in asked:
        if refusal := _unable(path):
            refusals.append(refusal)
            continue
        for client in path.clients:
            subnet = _subnet_of(facts, cloud, path, client)
            if isinstance(subnet, Refusal):
                refusals.append(subnet)
                continue
            if refusal := _led_astray(facts, path, subnet):
                refusals.append(refusal)
                continue
            own = offers.setdefault(subnet.id, {})
            for network in path.destinations:
                own.setdefault(HostRoute(network, client.next_hop), path)
    wanted: list[HostRoutes] = []
    impacts: list[Impact] = []
    for name, own in offers.items():
        subnet = subnets[name]
        one = HostRoutes(
            cloud.cloud, subnet.id, subnet.shown, tuple(sorted(own, key=_place)), project=subnet.project
        )
        known = record.find(one)
        applied = known.applied if known is not None and isinstance(known.applied, HostRoutes) else None
        one = one.knowing(applied, facts)
        refusals += _ambiguous(cloud, subnet, own)
        refusals += _against_others(cloud, subnet, applied, one)
        wanted.append(one)
        impacts += _impacts(facts, subnet, applied, one)
    if refusals:
        raise Refused(*dict.fromkeys(refusals))
    return tuple(wanted), tuple(impacts)


def _place(route: HostRoute) -> tuple[int, int, int]:
    return int(route.destination.network_address), route.destination.prefixlen, int(route.next_hop)


def _unable(path: Path) -> Refusal | None:
    """Why no lease can hold the routes of a path."""
    where = f"crossing {path.crossing.name}"
    if path.family is not Family.V4:
        # DHCPv6 has no option for routes, and Neutron writes none (neutron/agent/linux/dhcp.py).
        return Refusal(
            "host-routes-not-offered",
            where,
            f"no IPv6 route reaches a client with its lease: {path.crossing.shown(path.family)}",
            "Write `routes: host` for it, in a crossing of its own.",
        )
    if any(network.prefixlen == 0 for network in path.destinations):
        # Neutron takes a host route to 0.0.0.0/0 for the subnet's gateway, and where it has one for nothing.
        return Refusal(
            "host-routes-not-offered",
            where,
            "a default route is no host route of a subnet: that is its gateway_ip",
            "Write narrower networks in `to`, or `routes: host`.",
        )
    return None


def _subnet_of(facts: Facts, cloud: CloudFacts, path: Path, client: Client) -> Subnet | Refusal:
    """The subnet whose leases a client takes."""
    port = cloud.ports.get(path.ingress)
    if port is None:
        return port_unknown(facts, cloud, path.ingress, _HOST)
    near = [subnet for subnet in cloud.subnets if subnet.network == port.network]
    for subnet in near:
        if contains(subnet.cidr, client.network) and client.next_hop in subnet.cidr:
            return subnet
    known = ", ".join(subnet.shown for subnet in near) or "none that may be seen"
    return Refusal(
        "subnet-unknown",
        f"crossing {path.crossing.name}",
        f"{client} takes no lease of a subnet in which its next hop {client.next_hop} is: the network of "
        f"{facts.host} {path.ingress} has {known}",
        f"Name in `from` only clients of one of these. {_HOST}",
    )


def _takes_leases(facts: Facts, subnet: Subnet) -> Iterator[str]:
    """The interfaces of the gateway that have an address of the subnet from a DHCP server."""
    for link in facts.links:
        if any(item.leased and item.address in subnet.cidr for item in link.addresses):
            yield link.name


def _led_astray(facts: Facts, path: Path, subnet: Subnet) -> Refusal | None:
    """Where the gateway would lose the destinations with its own next lease.

    A route through one of its own addresses is taken by the kernel for one to a network on that interface (measured
    with 6.18: `ip route get` shows no next hop then, and nobody answers there).
    """
    own = {item.address for link in facts.links for item in link.addresses}
    ways = [route for route in facts.routes if route.table == MAIN and route.via not in own]
    for interface in _takes_leases(facts, subnet):
        for network in path.destinations:
            known = matching(ways, network)
            if known and known[0].destination.prefixlen >= network.prefixlen:
                continue
            way = str(known[0]) if known else "no route"
            return Refusal(
                "gateway-takes-lease",
                facts.host,
                f"{interface} takes leases of subnet {subnet.shown} too: with the next one it would get a route to "
                f"{show_network(network)} through itself, which is longer than its own way there ({way})",
                f"Give {facts.host} a route to {show_network(network)} of its own, or have its DHCP client take no "
                f"routes on {interface} and set the address there for good. {_HOST}",
            )
    return None


def _ambiguous(cloud: CloudFacts, subnet: Subnet, own: dict[HostRoute, Path]) -> Iterator[Refusal]:
    """Destinations to which crossings lead by several next hops: all machines of a subnet get all its routes."""
    first: dict[object, HostRoute] = {}
    for route, path in own.items():
        other = first.setdefault(route.destination, route)
        if other != route:
            yield Refusal(
                "host-routes-differ",
                f"crossing {path.crossing.name}",
                f"subnet {subnet.shown} in cloud {cloud.cloud} would offer {other} and {route}: its machines get both",
                f"Give both the same `next-hop`. {_HOST}",
            )


def _against_others(
    cloud: CloudFacts, subnet: Subnet, applied: HostRoutes | None, one: HostRoutes
) -> Iterator[Refusal]:
    own = applied.offers if applied is not None else ()
    wanted = (*one.offers, *one.given)
    others = [
        other
        for other in subnet.routes
        if other not in own
        and any(
            contains(each.destination, other.destination) and each.next_hop != other.next_hop
            for each in wanted
        )
    ]
    if not others:
        return
    shown = few(list(map(str, others)), _MOST, ", ")
    narrower = any(all(each.destination != other.destination for each in wanted) for other in others)
    unset = ("subnet", "unset", *host_route_words(others[:1]), subnet.id)
    yield Refusal(
        "host-route-of-others",
        f"cloud {cloud.cloud}",
        f"somebody else has subnet {subnet.shown} offer {shown}: of two routes to one destination a machine uses "
        "either, and of routes to a network and to a part of it the latter",
        f"Remove that one, if nobody needs it: `{command(cloud.cloud, *unset)}`."
        + (" Or leave that part out of `to`, with `except`." if narrower else "")
        + f" {_HOST}",
    )


def _impacts(facts: Facts, subnet: Subnet, applied: HostRoutes | None, one: HostRoutes) -> Iterator[Impact]:
    shown = few([*map(str, (*one.offers, *one.given))], _MOST, ", ")
    yield Impact(
        "routes-for-all",
        facts.host,
        f"every machine of subnet {subnet.shown} that takes a DHCP lease gets {shown}, not the clients alone: what the "
        f"others send there goes to {facts.host}, whose rules say who gets through",
    )
    for interface in _takes_leases(facts, subnet):
        yield Impact(
            "gateway-takes-lease",
            facts.host,
            f"{interface} takes leases of subnet {subnet.shown} too, and gets these routes with the next one, through "
            "itself: have its DHCP client take no routes there (systemd-networkd: UseRoutes=no; NetworkManager: "
            "ipv4.ignore-auto-routes), or see that its own routes to the destinations have the lower metric",
        )
    if not subnet.leases:
        yield Impact(
            "subnet-without-dhcp",
            facts.host,
            f"subnet {subnet.shown} has no DHCP (enable_dhcp is off): no machine gets its routes with a lease",
        )
    elif subnet.gateway is not None:
        yield Impact(
            "lease-has-default",
            facts.host,
            f"of a lease that holds routes clients ignore the router option (RFC 3442): Neutron puts the default route "
            f"via {subnet.gateway} among the routes; another DHCP server of that subnet has to do the same",
        )
    made = offered(subnet, applied, one)
    if len(made) > USUAL_MOST:
        yield Impact(
            "many-host-routes",
            facts.host,
            f"subnet {subnet.shown} would offer {len(made)} routes; a cloud allows {USUAL_MOST} where whoever runs it "
            "has not set max_subnet_host_routes higher, and refuses more",
        )


__all__ = ["host_routes"]
