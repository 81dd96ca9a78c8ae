"""A crossing in one address family, with everything discovered."""

from __future__ import annotations

from dataclasses import dataclass

from crossnet.several import MOST_NAMES, first_of
from crossnet.spec import Crossing, Translate
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
class Path:
    """Where packets of a crossing enter and leave, as whom, and to where; all of one family.

    `sources` gives the source address for each destination under `translate: snat`, else it is empty.
    `clamp` says that a TCP segment that fits the client's link may not fit the path behind the gateway,
    or the other way round. The routed ones are the parts of either side that the gateway reaches through
    a router: only there somebody else than the two ends has reason to send an ICMP error.
    """

    crossing: Crossing
    family: Family
    ingress: str
    egress: str
    clients: tuple[Client, ...]
    destinations: tuple[Network, ...]
    sources: tuple[tuple[Network, Address], ...] = ()
    clamp: bool = False
    routed_clients: tuple[Network, ...] = ()
    routed_destinations: tuple[Network, ...] = ()

    @property
    def gateway(self) -> str:
        return self.crossing.via

    @property
    def next_hops(self) -> tuple[Address, ...]:
        """The gateway's addresses that the clients use, each once."""
        return tuple(dict.fromkeys(client.next_hop for client in self.clients))

    @property
    def source_text(self) -> str:
        if self.crossing.translate is Translate.MASQUERADE:
            return f"the address of {self.egress}"
        found = sorted({str(source) for _, source in self.sources})
        return ", ".join(found) or "unchanged"

    def __str__(self) -> str:
        clients = first_of([*map(str, self.clients)])
        via = ", ".join(str(next_hop) for next_hop in self.next_hops)
        to = self.crossing.shown(self.family, MOST_NAMES)
        return (
            f"crossing {self.crossing.name}: {clients} → {self.gateway} {self.ingress} {via}"
            f" ⇒ {self.egress}, source {self.source_text} → {to}"
        )
