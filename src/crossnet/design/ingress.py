"""The clients' side: where they arrive on the gateway, and the next hop that their routes need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from crossnet.design.kernel import said, sample, towards
from crossnet.design.longer import keeps_its_network
from crossnet.design.question import Question, Refused, addresses_of, devices_of, each_of
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.facts.links import Link, LinkAddress
from crossnet.facts.routes import matching
from crossnet.path import Client
from crossnet.values import (
    Address,
    Family,
    Network,
    Networks,
    contains,
    family_of,
    host_network,
    overlap,
    show_network,
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One way by which a client reaches the gateway."""

    client: Client
    ingress: str


def arrivals(q: Question) -> list[Arrival]:
    """How each client of the family reaches the gateway."""
    given = q.crossing.ingress
    if given is not None and q.gateway.link(given) is None:
        raise Refused(q.no_such_interface("ingress", given))
    _check_clients_networks(q)
    found = [
        arrival for own in each_of(q.crossing.clients, lambda entry: _arrivals(q, entry)) for arrival in own
    ]
    if not found:
        raise Refused(q.refusal("no-client-in-family", f"no client has an {q.family.label} address"))
    return found


def _check_clients_networks(q: Question) -> None:
    """A destination that covers, or lies in, a network on which a client already stands."""
    refusals = list(_on_both_sides(q))
    for name in (entry for entry in q.crossing.clients if isinstance(entry, str)):
        for link in q.facts[name].links:
            for item in link.of(q.family):
                refusals += [
                    _clash(q, name, link, item, network)
                    for network in q.to
                    if overlap(network, item.network)
                    and (
                        contains(item.network, network)
                        or not keeps_its_network(q.facts[name], link, item, network)
                    )
                ]
    if refusals:
        raise Refused(*refusals)


def _clash(q: Question, name: str, link: Link, item: LinkAddress, network: Network) -> Refusal:
    own = f"{name} {link.name} {item.address}/{item.prefix}"
    if contains(item.network, network):
        return q.refusal(
            "destination-on-link",
            f"{show_network(network)} is on-link for {own}: {name} reaches it without a gateway",
            "Take it out of `to`, or take the client out of `from`.",
        )
    return q.refusal(
        "destination-contains-client-network",
        f"{network} contains {item.network}, the network of {own}, and {name} has no more specific route to it: the "
        "crossing's would take it over",
        f"Leave it out: `except: {item.network}`.",
    )


def _arrivals(q: Question, entry: str | Network) -> list[Arrival]:
    if isinstance(entry, str):
        return [_managed(q, entry)]
    return [_admitted(q, entry)] if family_of(entry) is q.family else []


def _managed(q: Question, name: str) -> Arrival:
    """The one way of a managed client to the gateway."""
    if not any(link.of(q.family) for link in q.facts[name].links):
        raise Refused(
            q.refusal(
                "no-client-in-family",
                f"{name} has no {q.family.label} address, and {show_network(q.to[0])} is {q.family.label}",
                f"Give {name} one, or take that destination out of `to`.",
            )
        )
    found = list(shared_networks(q, name))
    if not found:
        raise Refused(_not_on_link(q, name))
    alive = [way for way in found if _has_carrier(q, name, way)]
    found = _as_the_kernel_goes(q.facts[name], alive or found)
    ways = {(arrival.client.interface, arrival.ingress, arrival.client.next_hop) for arrival in found}
    if len(ways) > 1:
        raise Refused(
            q.refusal(
                "ambiguous-ingress",
                f"{name} reaches {q.gateway.host} in more than one way",
                "Say which one: `ingress: INTERFACE` or `next-hop: ADDRESS`.",
                (
                    f"ingress: {item.ingress}, next-hop: {item.client.next_hop}  (from {name} {item.client.interface})"
                    for item in found
                ),
            )
        )
    return found[0]


def _has_carrier(q: Question, name: str, way: Arrival) -> bool:
    """Whether both ends of a way are up: a bridge of containers of which none runs, for one, leads nowhere."""
    ends = (q.facts[name].link(way.client.interface or ""), q.gateway.link(way.ingress))
    return all(link is not None and link.up for link in ends)


def _as_the_kernel_goes(client: Facts, ways: list[Arrival]) -> list[Arrival]:
    """Of ways to one next hop by several interfaces, that by which the client's kernel goes there."""
    goes = {}
    for way in ways:
        route = towards(client, way.client.next_hop)
        if route is not None:
            goes[way.client.next_hop] = route.device
    kept = [
        way for way in ways if goes.get(way.client.next_hop, way.client.interface) == way.client.interface
    ]
    return kept or ways


def shared_networks(q: Question, name: str) -> Iterable[Arrival]:
    """Every way by which a managed client and the gateway are neighbours."""
    for link in q.facts[name].links:
        stable = [item for item in link.of(q.family) if item.stable] or list(link.of(q.family))
        chosen = _sources(q, name, link)
        stable.sort(key=lambda item: item.address not in chosen)
        several = len(link.of(q.family)) > 1
        for item in stable:
            # One next hop an ingress: its first address. The first address of the client that shares a
            # network is the one that the kernel takes as source.
            hops = dict(reversed(list(_next_hops(q, name, link, item))))
            network = host_network(item.address)
            yield from (
                Arrival(Client(network, next_hop, name, link.name, several), ingress)
                for ingress, next_hop in hops.items()
            )
            if hops:
                break


def _sources(q: Question, name: str, near: Link) -> set[Address | None]:
    """The sources that the client's kernel chooses towards the gateway by an interface."""
    own = {item.address for link in q.gateway.links for item in link.of(q.family)}
    own |= {q.crossing.next_hop} if q.crossing.next_hop is not None else set()
    routes = [towards(q.facts[name], address) for address in own]
    return {route.source for route in routes if route is not None and route.device == near.name}


def _next_hops(q: Question, name: str, near: Link, client: LinkAddress) -> Iterable[tuple[str, Address]]:
    """Ingress and next hop for a client's address on one of its interfaces, as far as the spec leaves them open."""
    given = q.crossing.next_hop
    wanted = given if given is not None and family_of(given) is q.family else None
    if wanted is not None and not _is_gateways(q, name, wanted):
        # An address that moves between gateways, such as a VRRP one, or stands on lo: only the client can tell.
        if _is_on_link(q.facts[name], near, client, wanted):
            yield ingress_towards(q, host_network(client.address)), wanted
        return
    for link in q.gateway.links:
        if q.crossing.ingress not in (None, link.name) or not link.has_wire:
            continue
        for address in _shared(q, name, near, client, link):
            if wanted in (None, address):
                yield link.name, address
            elif wanted is not None and wanted.is_link_local and link.has(wanted):
                yield link.name, wanted


def _is_gateways(q: Question, name: str, wanted: Address) -> bool:
    """Whether it is the gateway's; a link-local one, which anybody may have, on a segment of the client."""
    held = [link for link in q.gateway.links if link.has_wire and link.has(wanted)]
    if not wanted.is_link_local:
        return bool(held)
    return any(
        any(_shared(q, name, near, item, link))
        for link in held
        for near in q.facts[name].links
        for item in near.of(q.family)
    )


def _shared(q: Question, name: str, near: Link, client: LinkAddress, link: Link) -> Iterator[Address]:
    """The addresses of an interface of the gateway that a client's interface reaches without a router."""
    for item in link.of(q.family):
        if _is_on_link(q.facts[name], near, client, item.address):
            yield item.address


def _is_on_link(client: Facts, near: Link, own: LinkAddress, target: Address) -> bool:
    """Whether the client reaches an address without a router, by this interface; its own it does not leave for.

    A cloud's host has an address without a network, and a route that says so (net/ipv4/fib_semantics.c asks the
    routes, not the addresses, whether a next hop is on-link).
    """
    if client.owner_of(target) is not None:
        return False
    if contains(own.network, target):
        return True
    found = matching(client.routes, host_network(target))
    return any((route.type, route.via, route.device) == ("unicast", None, near.name) for route in found)


def _not_on_link(q: Question, name: str) -> Refusal:
    wanted = q.crossing.next_hop
    client = q.facts[name]
    if wanted is not None:
        message = f"next hop {wanted} is not on-link for {name}"
    else:
        where = f" on {q.crossing.ingress}" if q.crossing.ingress else ""
        message = f"{q.gateway.host} has no {q.family.label} address{where} that is on-link for {name}"
    alone = [
        (link, own, hop)
        for link in client.links
        for own in link.of(q.family)
        if own.prefix == own.address.max_prefixlen
        for gate in q.gateway.links
        for hop in gate.of(q.family)
        if contains(hop.network, own.address) and wanted in (None, hop.address)
    ]
    if alone:
        link, own, hop = alone[0]
        add = "ip -6 route add" if q.family is Family.V6 else "ip route add"
        return q.refusal(
            "next-hop-not-on-link",
            f"{message}: {name}'s {own.address}/{own.prefix} is an address without a network, and no route says that "
            f"{hop.address} is on its link",
            f"Give it the network, or a route: `{add} {hop.address} dev {link.name}` on {name}.",
        )
    return q.refusal(
        "next-hop-not-on-link",
        message,
        f"Client and gateway need a network in common; the next hop is {q.gateway.host}'s address there.",
        [*addresses_of(client, q.family), *addresses_of(q.gateway, q.family)],
    )


def _admitted(q: Question, network: Network) -> Arrival:
    """A client that crossnet does not manage: where its packets come in, and where its route must point."""
    ingress = ingress_towards(q, network)
    link = q.gateway.link(ingress)
    own = [item.address for item in link.of(q.family)] if link else []
    given = q.crossing.next_hop
    if given is not None and family_of(given) is q.family:
        next_hop = given
    elif own:
        near = [address for address in own if link and _on_link_of(link, address, network)]
        next_hop = (near or own)[0]
    else:
        raise Refused(
            q.refusal(
                "next-hop-not-on-link",
                f"{q.gateway.host} {ingress} has no {q.family.label} address to be the next hop",
            )
        )
    return Arrival(Client(network, next_hop), ingress)


def _on_both_sides(q: Question) -> Iterable[Refusal]:
    """Destinations that hold an unmanaged client, to which the gateway knows no nearer way than to them."""
    destinations = Networks(q.to)
    for client in q.crossing.clients:
        if isinstance(client, str) or (around := destinations.around(client)) is None:
            continue
        found = matching(q.gateway.routes, client)
        if not any(route.destination.prefixlen > around.prefixlen for route in found):
            yield q.refusal(
                "destination-contains-client-network",
                f"{show_network(around)} contains the client {show_network(client)}, and {q.gateway.host} has no more "
                "specific route to it: it cannot be on both sides",
                f"Leave it out: `except: {show_network(client)}`.",
            )


def ingress_towards(q: Question, network: Network) -> str:
    if q.crossing.ingress is not None:
        return q.crossing.ingress
    devices = sorted(devices_of(matching(q.gateway.routes, network)) or _by_kernel(q.gateway, network))
    if not devices:
        untold = [route for route in matching(q.gateway.routes, network) if route.unknown]
        whole = f" that its `ip` shows in full ({untold[0]}: {untold[0].unknown})" if untold else ""
        raise Refused(
            q.refusal(
                "no-route-to-client",
                f"{q.gateway.host} has no route to the client {show_network(network)}{whole}: "
                "no reply would find its way back",
                f"Give {q.gateway.host} a route to it, or take it out of `from`.",
            )
        )
    if len(devices) > 1:
        raise Refused(
            q.refusal(
                "ambiguous-ingress",
                f"{q.gateway.host} reaches the client {show_network(network)} in more than one way",
                "Say which one: `ingress: INTERFACE`.",
                (f"ingress: {device}" for device in devices),
            )
        )
    return devices[0]


def _by_kernel(gateway: Facts, network: Network) -> set[str]:
    """By which interface the gateway's kernel goes to a client of which its routes tell no way."""
    target = sample(gateway, network)
    answer = said(gateway, target) if target is not None else None
    return devices_of([answer.route]) if answer is not None and answer.route is not None else set()


def one_ingress(q: Question, arrivals: Sequence[Arrival]) -> str:
    """The one interface on which all clients arrive."""
    ways = sorted({(arrival.ingress, str(arrival.client.next_hop)) for arrival in arrivals})
    if len({ingress for ingress, _ in ways}) > 1:
        raise Refused(
            q.refusal(
                "ambiguous-ingress",
                "the clients arrive on different interfaces of the gateway",
                "Write one crossing for each, with its own `from`.",
                (f"ingress: {ingress}, next-hop: {next_hop}" for ingress, next_hop in ways),
            )
        )
    return arrivals[0].ingress


def _on_link_of(link: Link, own: Address, network: Network) -> bool:
    return any(item.address == own and contains(item.network, network) for item in link.addresses)
