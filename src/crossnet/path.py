"""A crossing in one address family, with everything discovered."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crossnet.several import MOST_NAMES, first_of
from crossnet.spec import Crossing
from crossnet.translation import Translation, Untranslated
from crossnet.values import Address, Family, Network, show_network


@dataclass(frozen=True, slots=True)
class Client:
    """Who may cross: a managed host with its address and interface, or a network crossnet only admits.

    `next_hop` is where its route points: the gateway's address on the client's own network.
    """

    network: Network
    next_hop: Address
    host: str | None = None
    interface: str | None = None
    several_addresses: bool = False

    def __str__(self) -> str:
        shown = show_network(self.network)
        return f"{self.host} {shown}" if self.host else shown


@dataclass(frozen=True, slots=True)
class Leg:
    """The part of a path that leads over one gateway: where packets enter and leave it, and as whom.

    `clamp` says that a TCP segment that fits the link on one side may not fit the path on the other. The routed ones
    are the parts of either side that the gateway reaches through a router: only there somebody else than the two ends
    has reason to send an ICMP error.
    """

    gateway: str
    ingress: str
    egress: str
    translation: Translation
    clamp: bool = False
    routed_clients: tuple[Network, ...] = ()
    routed_destinations: tuple[Network, ...] = ()

    @property
    def translates(self) -> bool:
        """Whether destinations see another address than the client's own."""
        return not isinstance(self.translation, Untranslated)

    @property
    def source_text(self) -> str:
        """What destinations see as source, in words."""
        return self.translation.shown(self.egress)


@dataclass(frozen=True, slots=True)
class Path:
    """The way of a crossing's packets from its clients to its destinations, all of one family, leg after leg.

    Today every path has one leg.
    """

    crossing: Crossing
    family: Family
    clients: tuple[Client, ...]
    destinations: tuple[Network, ...]
    legs: tuple[Leg, ...]

    @property
    def leg(self) -> Leg:
        """The one leg."""
        (leg,) = self.legs
        return leg

    @property
    def gateway(self) -> str:
        return self.leg.gateway

    @property
    def ingress(self) -> str:
        return self.leg.ingress

    @property
    def egress(self) -> str:
        return self.leg.egress

    @property
    def next_hops(self) -> tuple[Address, ...]:
        """The gateway's addresses that the clients use, each once."""
        return tuple(dict.fromkeys(client.next_hop for client in self.clients))

    def over(self, gateway: str) -> Path:
        """The same where its gateway is called so."""
        return replace(
            self,
            crossing=replace(self.crossing, via=gateway),
            legs=tuple(replace(leg, gateway=gateway) for leg in self.legs),
        )

    def __str__(self) -> str:
        clients = first_of([*map(str, self.clients)])
        via = ", ".join(str(next_hop) for next_hop in self.next_hops)
        to = self.crossing.shown(self.family, MOST_NAMES)
        return (
            f"crossing {self.crossing.name}: {clients} → {self.gateway} {self.ingress} {via}"
            f" ⇒ {self.egress}, source {self.leg.source_text} → {to}"
        )
