"""A cloud for tests, and the seed's machines in it; every test has these fixtures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from cloud.served import Served, serve
from crossnet.errors import LabError
from crossnet.facts import Facts
from crossnet.lab.neutron import install
from crossnet.openstack.api import Cloud
from crossnet.openstack.ports import Port
from crossnet.openstack.reading import port_of
from design.factsheet import host_facts
from lacking import lacking

if TYPE_CHECKING:
    from keystoneauth1.session import Session

T = TypeVar("T")

# One Neutron and one Keystone for each of these groups of tests, so that they run side by side.
GROUP = pytest.mark.xdist_group("openstack")
CHANGES = pytest.mark.xdist_group("openstack-changes")

# The seed's machines: A is the client, B the gateway.
MACHINES = {
    "A": ("business", "10.0.43.15"),
    "B-eth1": ("business", "10.0.43.101"),
    "B-eth0": ("far", "10.0.44.63"),
}
_NETWORKS = {"business": "10.0.43.0/24", "far": "10.0.44.0/24"}


@pytest.fixture(scope="session")
def installed() -> None:
    """Neutron and Keystone are there; the first time of all that takes a minute."""
    try:
        asyncio.run(install.make())
    except LabError as error:
        lacking(str(error))


@pytest.fixture(scope="session")
def served(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A Neutron that asks a Keystone, for all tests of this process."""
    with serve(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@dataclass
class Seed:
    """The seed's networks in the project `lab`, and its machines' ports by their names."""

    served: Served
    networks: dict[str, tuple[str, str]] = field(default_factory=dict)
    ports: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self.project = self.session().get_project_id() or ""

    def session(self, user: str = "lab") -> Session:
        if user not in self._sessions:
            self._sessions[user] = self.served.session(user)
        return self._sessions[user]

    def ask(self, method: str, path: str, body: object = None, *, user: str = "lab") -> Any:
        """What the API answers others, here an administrator; an assertion where it refuses."""
        said = self.session(user).request(
            f"{self.served.neutron}/v2.0{path}", method, json=body, raise_exc=False
        )
        assert said.ok, f"{method} {path}: {said.status_code} {said.text}"
        return said.json() if said.content else None

    def make_network(self, cidr: str, **more: object) -> tuple[str, str]:
        """The ids of a network and of its subnet; what is given besides is the network's."""
        user = str(more.pop("user", "lab"))
        network = self.ask("POST", "/networks", {"network": more}, user=user)["network"]["id"]
        wanted = {
            "network_id": network,
            "ip_version": 6 if ":" in cidr else 4,
            "cidr": cidr,
            "gateway_ip": None,
            "enable_dhcp": False,
        }
        subnet = self.ask("POST", "/subnets", {"subnet": wanted}, user=user)["subnet"]["id"]
        return network, subnet

    def make_networks(self) -> None:
        for name, cidr in _NETWORKS.items():
            self.networks[name] = self.make_network(cidr, name=name)

    def make_port(self, name: str, network: tuple[str, str], address: str, **more: object) -> Port:
        """A port besides the seed's, removed with them."""
        user = str(more.pop("user", "lab"))
        of, subnet = network
        fixed = [{"subnet_id": subnet, "ip_address": address}]
        wanted = {"name": name, "network_id": of, "fixed_ips": fixed, **more}
        made = port_of(self.ask("POST", "/ports", {"port": wanted}, user=user)["port"])
        self.ports[name] = made.id
        return made

    def make_ports(self, *, apart: bool = False) -> None:
        """The ports of A, B-eth1 and B-eth0: all in the default group, or each in one that admits nothing."""
        wanted: list[dict[str, Any]] = []
        for name, (network, address) in MACHINES.items():
            of, subnet = self.networks[network]
            fixed = [{"subnet_id": subnet, "ip_address": address}]
            own = {"security_groups": [self.make_group(f"own of {name}")]} if apart else {}
            wanted.append({"name": name, "network_id": of, "fixed_ips": fixed, **own})
        made = self.ask("POST", "/ports", {"ports": wanted})["ports"]
        self.ports = {port["name"]: port["id"] for port in made}

    def make_group(self, name: str, **more: object) -> str:
        """The id of a security group, which lets everything out and nothing in."""
        wanted = {"name": name, **more}
        made: str = self.ask("POST", "/security-groups", {"security_group": wanted})["security_group"]["id"]
        return made

    def admit(self, group: str, **remote: object) -> None:
        """A rule that lets in whoever is named."""
        rule = {"security_group_id": group, "direction": "ingress", "ethertype": "IPv4", **remote}
        self.ask("POST", "/security-group-rules", {"security_group_rule": rule})

    def change(self, name: str, **changed: object) -> None:
        """What somebody else does to a port meanwhile."""
        self.ask("PUT", f"/ports/{self.ports[name]}", {"port": changed})

    def document(self, name: str) -> dict[str, Any]:
        """A port as the API itself writes it, without what tells when and how often it was changed."""
        document = self.ask("GET", f"/ports/{self.ports[name]}")["port"]
        return {
            key: sorted(value, key=str) if isinstance(value, list) else value
            for key, value in document.items()
            if key not in ("revision_number", "updated_at")
        }

    def port(self, name: str) -> Port:
        return port_of(self.ask("GET", f"/ports/{self.ports[name]}")["port"])

    def hosts(self) -> Mapping[str, Facts]:
        """The facts of A and B, with the hardware addresses that their ports have."""
        sheets = {"A": {"eth0": "A"}, "B": {"eth1": "B-eth1", "eth0": "B-eth0"}}
        return {
            host: host_with(host, {interface: self.port(port) for interface, port in interfaces.items()})
            for host, interfaces in sheets.items()
        }

    def remove(self) -> None:
        """Ports and groups go, whoever made them; the networks stay."""
        for port in self.ask("GET", "/ports?fields=id")["ports"]:
            self.ask("DELETE", f"/ports/{port['id']}")
        for group in self.ask("GET", "/security-groups?fields=id&fields=name")["security_groups"]:
            if group["name"] != "default":
                self.ask("DELETE", f"/security-groups/{group['id']}")
        self.ports = {}


def host_with(name: str, ports: Mapping[str, Port]) -> Facts:
    """A host whose interfaces have the addresses and hardware addresses of these ports."""
    sheet = "\n".join(f"{interface} {port.addresses[0]}/24" for interface, port in ports.items())
    facts = host_facts(name, sheet)
    links = tuple(
        replace(link, hardware=ports[link.name].mac) if link.name in ports else link for link in facts.links
    )
    return replace(facts, links=links)


@pytest.fixture(scope="session")
def seed_networks(served: Served) -> Seed:
    seed = Seed(served)
    seed.make_networks()
    return seed


@pytest.fixture
def seed(seed_networks: Seed) -> Iterator[Seed]:
    """The seed's three ports in the shared default group, gone after the test."""
    seed_networks.make_ports()
    yield seed_networks
    seed_networks.remove()


@pytest.fixture
def seed_apart(seed_networks: Seed) -> Iterator[Seed]:
    """The same, where each port is in a group of its own that admits nothing."""
    seed_networks.make_ports(apart=True)
    yield seed_networks
    seed_networks.remove()


@pytest.fixture(scope="session")
def logged_in() -> Iterator[dict[str, Cloud]]:
    """The ways to clouds, by their users: one that is logged in serves several tests."""
    clouds: dict[str, Cloud] = {}
    yield clouds
    for cloud in clouds.values():
        asyncio.run(cloud.close())


@pytest.fixture
def asking(
    served: Served, logged_in: dict[str, Cloud], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """`asking("member", lambda cloud: cloud.port(id))` asks as that user, with clouds.yaml as an operator has it."""
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(served.clouds))

    def ask(user: str, question: Callable[[Cloud], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run(question(logged_in.setdefault(user, Cloud(user))))

    return ask
