"""The path of a topology that faults break: client, gateway and target, with what faults need to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface

from crossnet.errors import LabError
from crossnet.lab.switch import hardware_address
from crossnet.lab.topology import Host, Interface, Topology
from crossnet.values import Address, Family, family_of

Interfaced = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Plug:
    """A host's interface in one of the two networks; `vacant` is an address there that nobody has."""

    host: str
    interface: str
    network: str
    own: Interfaced
    mac: str
    vacant: Address

    @property
    def address(self) -> str:
        return str(self.own.ip)

    @property
    def alone(self) -> str:
        """The address as a network of one."""
        return f"{self.own.ip}/{self.own.max_prefixlen}"

    @property
    def prefix(self) -> str:
        return str(self.own.network)


@dataclass(frozen=True, slots=True)
class Scene:
    """client → ingress, egress → target, in one address family."""

    client: Plug
    ingress: Plug
    egress: Plug
    target: Plug

    @property
    def family(self) -> Family:
        return family_of(self.target.own.ip)

    @property
    def v6(self) -> bool:
        return self.family is Family.V6

    @property
    def ip(self) -> tuple[str, str]:
        """The command for addresses, routes and policy rules of this family."""
        return "ip", "-6" if self.v6 else "-4"

    @property
    def word(self) -> str:
        """How nft calls the family."""
        return "ip6" if self.v6 else "ip"


def scene(topology: Topology) -> Scene:
    """The path of the topology's first client, in IPv4 where that has one; LabError where it has none."""
    for family in Family:
        for client in _of(topology, "client"):
            for gateway in _of(topology, "gateway"):
                for target in _of(topology, "target"):
                    found = _between(topology, family, client, gateway, target)
                    if found is not None:
                        return found
    raise LabError(
        f"the topology {topology.name} has no path to break: that takes a client, a gateway, and a target in another "
        "network\n  `crossnet lab up seed` has one."
    )


def _of(topology: Topology, role: str) -> list[Host]:
    return [host for host in topology.hosts if host.role == role]


def _between(topology: Topology, family: Family, client: Host, gateway: Host, target: Host) -> Scene | None:
    near, far = _joined(topology, family, client, gateway), _joined(topology, family, target, gateway)
    if near is None or far is None or near[0].own.network.overlaps(far[0].own.network):
        return None
    return Scene(near[0], near[1], far[1], far[0])


def _joined(topology: Topology, family: Family, one: Host, gateway: Host) -> tuple[Plug, Plug] | None:
    """Where the two stand in one network: the plug of the first, and the gateway's."""
    for mine in one.interfaces:
        for theirs in gateway.interfaces:
            if mine.network == theirs.network:
                plugs = _plug(topology, family, one, mine), _plug(topology, family, gateway, theirs)
                if plugs[0] is not None and plugs[1] is not None:
                    return plugs[0], plugs[1]
    return None


def _plug(topology: Topology, family: Family, host: Host, interface: Interface) -> Plug | None:
    own = next((one for one in interface.addresses if family_of(one.ip) is family), None)
    if own is None:
        return None
    used = {one.ip for each in topology.hosts for plug in each.interfaces for one in plug.addresses}
    used |= {route.via for each in topology.hosts for route in each.routes if route.via is not None}
    network = own.network
    last = network.num_addresses - 2  # the one before a broadcast address
    vacant = next((network[n] for n in range(last, max(0, last - 1000), -1) if network[n] not in used), None)
    if vacant is None:
        return None
    mac = hardware_address(topology, host, interface)
    return Plug(host.name, interface.name, interface.network, own, mac, vacant)
