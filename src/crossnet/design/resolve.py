"""Discover what a crossing leaves open: ingress, next hop, egress, source address.

Every question that the hosts answer in more than one way is refused with the candidates and the key of
the spec that decides, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from crossnet.design.passage import Client, Passage
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.facts.links import Link, LinkAddress
from crossnet.facts.routes import Route, inside, matching
from crossnet.spec import Crossing, Translate
from crossnet.values import (
    Address,
    Family,
    Network,
    contains,
    family_of,
    host_network,
    overlap,
    show_network,
)


class Refused(Exception):
    """Internal to the design: this crossing cannot be resolved; the refusals say why."""

    def __init__(self, *refusals: Refusal) -> None:
        self.refusals = refusals
        super().__init__(*refusals)


@dataclass(frozen=True, slots=True)
class Approach:
    """One way by which a client reaches the gateway."""

    client: Client
    ingress: str
    next_hop: Address


def resolve(crossing: Crossing, facts: Mapping[str, Facts]) -> tuple[Passage, ...]:
    """One passage for each family of `to`; raises Refused with every reason found."""
    refusals: list[Refusal] = []
    passages = []
    for family in sorted({family_of(network) for network in crossing.to}):
        try:
            passages.append(_Resolver(crossing, family, facts).passage())
        except Refused as refused:
            refusals += refused.refusals
    if refusals:
        raise Refused(*refusals)
    return tuple(passages)


@dataclass
class _Resolver:
    crossing: Crossing
    family: Family
    facts: Mapping[str, Facts]
    gateway: Facts = field(init=False)
    to: tuple[Network, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.gateway = self.facts[self.crossing.via]
        self.to = tuple(network for network in self.crossing.to if family_of(network) is self.family)

    def passage(self) -> Passage:
        self._check_clients_networks()
        approaches = [approach for entry in self.crossing.clients for approach in self._approach(entry)]
        if not approaches:
            raise Refused(
                self._refusal("no-client-in-family", f"no client has an {self.family.label} address")
            )
        ingress = self._one_ingress(approaches)
        routes = [self._route(network) for network in self.to]
        egress = self._one_egress(routes, ingress)
        return Passage(
            crossing=self.crossing,
            family=self.family,
            ingress=ingress,
            egress=egress,
            next_hop=approaches[0].next_hop,
            clients=tuple(dict.fromkeys(approach.client for approach in approaches)),
            destinations=self.to,
            sources=self._sources(egress, routes),
            clamp=self._needs_clamp(ingress, egress, routes),
        )

    def _refusal(
        self, code: str, message: str, todo: str = "Correct the spec.", candidates: Iterable[str] = ()
    ) -> Refusal:
        return Refusal(code, f"crossing {self.crossing.name}", message, todo, tuple(candidates))

    # ---- the clients' side ---------------------------------------------------------------------

    def _check_clients_networks(self) -> None:
        """A destination that covers, or lies in, a network on which a client already stands."""
        refusals = []
        for name in (entry for entry in self.crossing.clients if isinstance(entry, str)):
            for link in self.facts[name].links:
                for item in link.of(self.family):
                    refusals += [
                        self._clash(name, link, item, network)
                        for network in self.to
                        if overlap(network, item.network)
                    ]
        if refusals:
            raise Refused(*refusals)

    def _clash(self, name: str, link: Link, item: LinkAddress, network: Network) -> Refusal:
        own = f"{name} {link.name} {item.address}/{item.prefix}"
        if contains(item.network, network):
            return self._refusal(
                "destination-on-link",
                f"{show_network(network)} is on-link for {own}: {name} reaches it without a gateway",
                "Take it out of `to`, or take the client out of `from`.",
            )
        return self._refusal(
            "destination-contains-client-network",
            f"{network} contains {item.network}, the network of {own}: "
            "the route would take over the client's own network, and the path crossnet works on",
            "Name only the networks behind the gateway in `to`.",
        )

    def _approach(self, entry: str | Network) -> list[Approach]:
        if isinstance(entry, str):
            return [self._managed(entry)]
        return [self._admitted(entry)] if family_of(entry) is self.family else []

    def _managed(self, name: str) -> Approach:
        """The one way of a managed client to the gateway."""
        found = list(self._shared_networks(name))
        if not found:
            raise Refused(self._not_on_link(name))
        ways = {(approach.client.interface, approach.ingress, approach.next_hop) for approach in found}
        if len(ways) > 1:
            raise Refused(
                self._refusal(
                    "ambiguous-ingress",
                    f"{name} reaches {self.gateway.host} in more than one way",
                    "Say which one: `ingress: INTERFACE` or `next-hop: ADDRESS`.",
                    (
                        f"ingress: {item.ingress}, next-hop: {item.next_hop}  (from {name} {item.client.interface})"
                        for item in found
                    ),
                )
            )
        return found[0]

    def _shared_networks(self, name: str) -> Iterable[Approach]:
        for link in self.facts[name].links:
            stable = [item for item in link.of(self.family) if item.stable] or list(link.of(self.family))
            several = len(link.of(self.family)) > 1
            for item in stable:
                # One next hop an ingress: its first address. The first address of the client that shares a
                # network is the one that the kernel takes as source.
                hops = dict(reversed(list(self._next_hops(item))))
                client = Client(host_network(item.address), name, link.name, several)
                yield from (Approach(client, ingress, next_hop) for ingress, next_hop in hops.items())
                if hops:
                    break

    def _next_hops(self, client: LinkAddress) -> Iterable[tuple[str, Address]]:
        """Ingress and next hop for a client's address, as far as the spec leaves them open."""
        wanted = self.crossing.next_hop
        if wanted is not None and family_of(wanted) is self.family and self.gateway.owner_of(wanted) is None:
            # An address that moves between gateways, such as a VRRP one: only the client can tell.
            if contains(client.network, wanted):
                yield self._ingress_towards(host_network(client.address)), wanted
            return
        for link in self.gateway.links:
            if self.crossing.ingress not in (None, link.name):
                continue
            for item in link.of(self.family):
                given = wanted if wanted is not None and family_of(wanted) is self.family else item.address
                if item.address == given and contains(client.network, item.address):
                    yield link.name, item.address

    def _not_on_link(self, name: str) -> Refusal:
        wanted = self.crossing.next_hop
        client = self.facts[name]
        if wanted is not None:
            message = f"next hop {wanted} is not on-link for {name}"
        else:
            where = f" on {self.crossing.ingress}" if self.crossing.ingress else ""
            message = (
                f"{self.gateway.host} has no {self.family.label} address{where} that is on-link for {name}"
            )
        return self._refusal(
            "next-hop-not-on-link",
            message,
            f"Client and gateway need a network in common; the next hop is {self.gateway.host}'s address there.",
            [*_addresses(client, self.family), *_addresses(self.gateway, self.family)],
        )

    def _admitted(self, network: Network) -> Approach:
        """A client that crossnet does not manage: where its packets come in, and where its route must point."""
        ingress = self._ingress_towards(network)
        link = self.gateway.link(ingress)
        own = [item.address for item in link.of(self.family)] if link else []
        given = self.crossing.next_hop
        if given is not None and family_of(given) is self.family:
            next_hop = given
        elif own:
            near = [address for address in own if link and _on_link_of(link, address, network)]
            next_hop = (near or own)[0]
        else:
            raise Refused(
                self._refusal(
                    "next-hop-not-on-link",
                    f"{self.gateway.host} {ingress} has no {self.family.label} address to be the next hop",
                )
            )
        return Approach(Client(network), ingress, next_hop)

    def _ingress_towards(self, network: Network) -> str:
        if self.crossing.ingress is not None:
            return self.crossing.ingress
        found = matching(self.gateway.routes, network)
        devices = sorted(_devices(found))
        if not devices:
            raise Refused(
                self._refusal(
                    "no-route-to-client",
                    f"{self.gateway.host} has no route to the client {show_network(network)}: "
                    "no reply would find its way back",
                    f"Give {self.gateway.host} a route to it, or take it out of `from`.",
                )
            )
        if len(devices) > 1:
            raise Refused(
                self._refusal(
                    "ambiguous-ingress",
                    f"{self.gateway.host} reaches the client {show_network(network)} in more than one way",
                    "Say which one: `ingress: INTERFACE`.",
                    (f"ingress: {device}" for device in devices),
                )
            )
        return devices[0]

    def _one_ingress(self, approaches: Sequence[Approach]) -> str:
        given = self.crossing.ingress
        if given is not None and self.gateway.link(given) is None:
            raise Refused(
                self._refusal(
                    "no-such-interface",
                    f"{self.gateway.host} has no interface {given}",
                    "Correct `ingress`.",
                    (link.name for link in self.gateway.links),
                )
            )
        ways = sorted({(approach.ingress, str(approach.next_hop)) for approach in approaches})
        if len({ingress for ingress, _ in ways}) > 1:
            raise Refused(
                self._refusal(
                    "ambiguous-ingress",
                    "the clients arrive on different interfaces of the gateway",
                    "Write one crossing for each, with its own `from`.",
                    (f"ingress: {ingress}, next-hop: {next_hop}" for ingress, next_hop in ways),
                )
            )
        return approaches[0].ingress

    # ---- the destinations' side ----------------------------------------------------------------

    def _route(self, network: Network) -> Route:
        """The gateway's own route to a destination."""
        routes = [route for route in self.gateway.routes if route.type != "local"]
        if self.crossing.egress is not None:
            routes = [route for route in routes if self.crossing.egress in _devices([route])]
        found = matching(routes, network)
        if not found or not _devices(found):
            raise Refused(self._no_route(network, found))
        smaller = [route for route in inside(routes, network) if _devices([route])]
        devices = _devices([*found, *smaller])
        if len(devices) > 1:
            raise Refused(
                self._refusal(
                    "ambiguous-egress",
                    f"{self.gateway.host} reaches {show_network(network)} through more than one interface",
                    "Say which one: `egress: INTERFACE`.",
                    (
                        f"egress: {device}  ({route})"
                        for route in (*found, *smaller)
                        for device in _devices([route])
                    ),
                )
            )
        return found[0]

    def _no_route(self, network: Network, found: Sequence[Route]) -> Refusal:
        through = f" through {self.crossing.egress}" if self.crossing.egress else ""
        seen = f": {found[0]}" if found else ""
        return self._refusal(
            "no-route",
            f"{self.gateway.host} itself has no route to {show_network(network)}{through}{seen}",
            f"Give {self.gateway.host} a route to it first; a crossing goes only where its gateway can go.",
        )

    def _one_egress(self, routes: Sequence[Route], ingress: str) -> str:
        devices = sorted(_devices(routes))
        if len(devices) > 1:
            raise Refused(
                self._refusal(
                    "ambiguous-egress",
                    "the destinations lie behind different interfaces of the gateway",
                    "Write one crossing for each, with its own `to`.",
                    (
                        f"{show_network(network)}: egress {', '.join(sorted(_devices([route])))}"
                        for network, route in zip(self.to, routes, strict=True)
                    ),
                )
            )
        egress = devices[0]
        if egress == ingress and self.crossing.egress is None:
            raise Refused(
                self._refusal(
                    "same-interface",
                    f"{self.gateway.host} reaches the destination through {egress}, on which the clients arrive: "
                    "it does not stand in both networks",
                    f"Choose another gateway; if it is meant, write `egress: {egress}`.",
                    (str(route) for route in routes),
                )
            )
        return egress

    def _sources(self, egress: str, routes: Sequence[Route]) -> tuple[tuple[Network, Address], ...]:
        if self.crossing.translate is not Translate.SNAT:
            return ()
        given = self.crossing.snat_address
        if given is not None and family_of(given) is self.family:
            if self.gateway.owner_of(given) is None:
                raise Refused(
                    self._refusal(
                        "snat-address-not-local",
                        f"{given} is not an address of {self.gateway.host}: replies to it would never come back",
                        "Use one of the gateway's addresses, or leave `translate: snat` to choose.",
                        _addresses(self.gateway, self.family),
                    )
                )
            return tuple((network, given) for network in self.to)
        return tuple(
            (network, self._source(egress, network, route))
            for network, route in zip(self.to, routes, strict=True)
        )

    def _source(self, egress: str, network: Network, route: Route) -> Address:
        """The egress's address inside the destination, else the one the kernel would use on that route."""
        link = self.gateway.link(egress)
        own = [item for item in link.of(self.family) if item.stable] if link else []
        inside_it = [item.address for item in own if overlap(item.network, network)]
        towards = [item.address for item in own if route.via and contains(item.network, route.via)]
        choices = [
            *inside_it,
            *([route.source] if route.source else []),
            *towards,
            *(item.address for item in own),
        ]
        if not choices:
            raise Refused(
                self._refusal(
                    "no-source-address",
                    f"{self.gateway.host} {egress} has no {self.family.label} address to use as source",
                    "Give it one, or write `translate: none` if the destination has a way back.",
                )
            )
        return choices[0]

    def _needs_clamp(self, ingress: str, egress: str, routes: Sequence[Route]) -> bool:
        inner, outer = self.gateway.link(ingress), self.gateway.link(egress)
        sizes = {link.mtu for link in (inner, outer) if link} | {route.mtu for route in routes if route.mtu}
        return len(sizes) > 1


def _devices(routes: Iterable[Route]) -> set[str]:
    """Every interface that the routes may leave by; blackholes and the like have none."""
    usable = [route for route in routes if route.type == "unicast"]
    single = {route.device for route in usable if route.device}
    return single | {device for route in usable for _, device in route.hops}


def _addresses(facts: Facts, family: Family) -> list[str]:
    return [
        f"{facts.host} {link.name} {item.address}/{item.prefix}"
        for link in facts.links
        for item in link.of(family)
    ]


def _on_link_of(link: Link, own: Address, network: Network) -> bool:
    return any(item.address == own and contains(item.network, network) for item in link.addresses)
