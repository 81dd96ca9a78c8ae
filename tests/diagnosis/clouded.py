"""The seed's hosts as machines of a cloud: its ports, its groups, and what becomes of them as somebody changes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from crossnet.facts import Facts
from crossnet.openstack.ports import (
    ADDRESS_PAIRS,
    PORT_SECURITY,
    AddressPair,
    CloudFacts,
    GroupRule,
    Port,
    SecurityGroup,
)
from crossnet.values import Family, network

V4 = Family.V4
OUT = GroupRule("egress", V4)
DEFAULT = SecurityGroup(
    "id-default", "default", "lab", "", (GroupRule("ingress", V4, remote_group="id-default"), OUT)
)
CLIENTS = SecurityGroup("id-clients", "clients", "lab", "", (OUT,))
GATEWAYS = SecurityGroup("id-gateways", "gateways", "lab", "", (OUT,))
EXTRA = SecurityGroup(
    "id-extra", "extra", "lab", "", (GroupRule("ingress", V4, remote=network("10.0.43.15/32")),)
)


def port(name: str, address: str, *groups: SecurityGroup) -> Port:
    last = ip_address(address).packed[-2:]
    mac = f"fa:16:3e:00:{last[0]:02x}:{last[1]:02x}"
    ids = tuple(each.id for each in groups)
    return Port(
        id=f"id-{name}",
        name=name,
        network=f"net-{last[0]}",
        project="lab",
        mac=mac,
        addresses=(ip_address(address),),
        secured=True,
        groups=ids,
        pairs=(),
        revision=1,
        status="ACTIVE",
        is_enabled=True,
        owner="compute:nova",
    )


@dataclass(frozen=True)
class Cloud:
    """All ports of the seed in a cloud; G, 10.0.44.1, is not one of its machines."""

    app: Port
    ingress: Port
    egress: Port
    groups: tuple[SecurityGroup, ...] = (DEFAULT, CLIENTS, GATEWAYS, EXTRA)
    unseen: frozenset[str] = field(default_factory=frozenset)

    def facts(self, host: str) -> CloudFacts:
        ports = {"eth0": self.app} if host == "app" else {"eth1": self.ingress, "eth0": self.egress}
        every = (self.app, self.ingress, self.egress)
        seen = {each.id: each for each in self.groups if each.id not in self.unseen}
        own = {group for each in ports.values() for group in each.groups}
        naming = [each for each in seen.values() if own & {rule.remote_group for rule in each.rules}]
        return CloudFacts(
            "prod",
            ports,
            groups=seen,
            referring=tuple(naming),
            members=every,
            extensions=frozenset((PORT_SECURITY, ADDRESS_PAIRS)),
        )

    def known_to(self, hosts: dict[str, Facts]) -> dict[str, Facts]:
        """The same hosts, with their ports' hardware addresses and what the cloud says of them."""
        return {name: self._plugged(name, facts) for name, facts in hosts.items()}

    def _plugged(self, name: str, facts: Facts) -> Facts:
        said = self.facts(name)
        links = tuple(
            replace(link, hardware=said.ports[link.name].mac) if link.name in said.ports else link
            for link in facts.links
        )
        return replace(facts, links=links, cloud=said)


def shared() -> Cloud:
    """All ports in the default group, which admits its own members."""
    return Cloud(
        port("A", "10.0.43.15", DEFAULT),
        port("B-eth1", "10.0.43.101", DEFAULT),
        port("B-eth0", "10.0.44.63", DEFAULT),
    )


def apart() -> Cloud:
    """Groups of their own, without a rule that lets anything in."""
    return Cloud(
        port("A", "10.0.43.15", CLIENTS),
        port("B-eth1", "10.0.43.101", GATEWAYS),
        port("B-eth0", "10.0.44.63", GATEWAYS),
    )


def off(one: Port) -> Port:
    return replace(one, secured=False, groups=(), pairs=())


def sending(one: Port, *networks: str) -> Port:
    return replace(one, pairs=tuple(AddressPair(network(each), one.mac) for each in networks))


def holding(one: Port, groups: Iterable[SecurityGroup]) -> Port:
    return replace(one, groups=tuple(each.id for each in groups))
