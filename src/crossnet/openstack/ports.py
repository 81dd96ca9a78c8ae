"""Ports of a cloud, and what they let through: frozen, as its API (Neutron's, v2.0) had them at one instant.

A port is what a machine's interface is plugged into. Its port security lets nothing out that comes from another source
than its own addresses and its allowed address pairs; its security groups say what else may pass in each direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from crossnet.values import Address, Family, Network, show_network

PORT_SECURITY = "port-security"
ADDRESS_PAIRS = "allowed-address-pairs"
NORMAL = "normal"  # a port of the cloud's own switch


@dataclass(frozen=True, slots=True)
class GroupRule:
    """What a security group lets through: nothing is ever denied, what no rule admits is dropped.

    `direction` is `ingress`, to the machine, or `egress`. Without `protocol` it is any; `ports` are the first and the
    last, for ICMP type and code. Of `remote`, `remote_group` and `remote_addresses` at most one is there: a remote
    group is the addresses and the allowed address pairs of all its ports, the last an address group of the cloud.
    """

    direction: str
    family: Family
    protocol: str | None = None
    ports: tuple[int | None, int | None] | None = None
    remote: Network | None = None
    remote_group: str | None = None
    remote_addresses: str | None = None
    id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """Rules under a name; one that is not `is_stateful` lets no answer through but by a rule of its own."""

    id: str
    name: str
    project: str
    description: str
    rules: tuple[GroupRule, ...]
    is_stateful: bool = True


@dataclass(frozen=True, slots=True)
class AddressPair:
    """What else a port may send and take: `network` with this hardware address, the port's own unless it says so.

    `written` is the network as the cloud has it where that is in another form, such as with host bits: so it can be put
    back exactly.
    """

    network: Network
    mac: str
    written: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """One port; `secured` is None in a cloud without the extension, where nothing can be switched off.

    `groups` are ids. `revision` counts its changes; a change says to which it is made (`If-Match`).
    """

    id: str
    name: str
    network: str
    project: str
    mac: str
    addresses: tuple[Address, ...]
    secured: bool | None
    groups: tuple[str, ...]
    pairs: tuple[AddressPair, ...]
    revision: int
    status: str
    is_enabled: bool
    owner: str  # `device_owner`, such as compute:nova or trunk:subport
    description: str = field(default="", compare=False, repr=False)
    vnic: str = NORMAL  # `binding:vnic_type`

    @property
    def shown(self) -> str:
        """As people find it: its name where it has one, else its id."""
        return self.name or self.id


@dataclass(frozen=True, slots=True)
class HostRoute:
    """A route that a subnet offers to its machines; `written` is its entry as the cloud has it, to put it back so."""

    destination: Network
    next_hop: Address
    written: tuple[str, str] = field(default=("", ""), compare=False)

    def __str__(self) -> str:
        return f"{show_network(self.destination)} via {self.next_hop}"


@dataclass(frozen=True, slots=True)
class Subnet:
    """One subnet; what it offers reaches its machines with DHCP leases, where it `leases` any.

    `gateway` is the router that the leases name. `revision` counts changes, though none of its routes alone (measured
    with Neutron 29); None in a cloud that does not count.
    """

    id: str
    name: str
    network: str
    project: str
    cidr: Network
    leases: bool
    gateway: Address | None
    routes: tuple[HostRoute, ...]
    revision: int | None
    description: str = field(default="", compare=False, repr=False)

    @property
    def shown(self) -> str:
        """As people find it: its name where it has one, with its network."""
        return f"{self.name or self.id} {self.cidr}"


@dataclass(frozen=True, slots=True)
class Sought:
    """What a cloud is asked for by id, beside what it has at the interfaces of a host; `named` are names of groups."""

    ports: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    subnets: frozenset[str] = frozenset()

    def __or__(self, other: Sought) -> Sought:
        return Sought(
            self.ports | other.ports,
            self.groups | other.groups,
            self.named | other.named,
            self.subnets | other.subnets,
        )


@dataclass(frozen=True, slots=True)
class CloudFacts:
    """What a cloud says of one host: `ports` by the host's interface.

    `unfound` says of an interface why it has none. `groups` are those of these ports and those that they refer to, by
    id, as far as whoever asked may see them; `members` are the ports that are in any of these groups, or in one with a
    rule that names one of the ports'; `referring` are the groups with such a rule, whoever is in them. `subnets` are
    those of the ports' networks. What was sought by id stands among the groups, else in `strays`, where it is at none
    of the host's interfaces. `project` is that of whoever asked; who `sees_all` sees what belongs to others too.
    """

    cloud: str
    ports: Mapping[str, Port]
    unfound: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    groups: Mapping[str, SecurityGroup] = field(default_factory=lambda: MappingProxyType({}))
    referring: tuple[SecurityGroup, ...] = ()
    members: tuple[Port, ...] = ()
    extensions: frozenset[str] = frozenset()
    subnets: tuple[Subnet, ...] = ()
    strays: tuple[Port | Subnet, ...] = ()
    project: str = ""
    sees_all: bool = False

    def would_see(self, project: str) -> bool:
        """Whether what belongs to a project is gone where it is not seen."""
        return self.sees_all or (bool(project) and project == self.project)

    def stray(self, wanted: str) -> Port | Subnet | None:
        return next((one for one in self.strays if one.id == wanted), None)


@dataclass(frozen=True, slots=True)
class Unasked:
    """That a cloud could not be asked, and why, as an error says it: what to do stands in lines of its own."""

    cloud: str
    reason: str

    @property
    def seen(self) -> str:
        return self.reason.partition("\n")[0]

    @property
    def todo(self) -> str:
        return " ".join(self.reason.partition("\n")[2].split())
