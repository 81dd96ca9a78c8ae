"""A lab as data: networks, and hosts with interfaces, addresses, routes, sysctls and what runs at boot.

    name: seed
    description: one line for `crossnet lab list`
    networks:
      management: {mtu: 1500, description: where the clients are}
      business: {port-security: true}   # its ports are a Neutron's, which filters them
    hosts:
      app:
        role: client                # client | gateway | target | bystander
        interfaces:
          eth0: {network: management, addresses: [10.0.43.15/24], mtu: 1400}
        routes:
          - {to: default, via: 10.0.43.1, dev: eth0}
        sysctls: {net.ipv4.tcp_syncookies: 0}
        boot: [nc -lk 8080 &]
      client-{n}:                   # many hosts of one kind
        count: 20
        interfaces:
          eth0: {network: management, addresses: [{pool: 10.50.0.0/16, first: 10}]}
      router:
        interfaces:
          eth0: {network: business, addresses: [10.0.44.1/24], unmanaged: true}   # Neutron has no port for it
    crossings: |                    # the part of crossnet.yaml that suits this lab
      business: {from: app, via: gateway, to: 10.0.44.0/24}

Everything but `name`, `networks` and `hosts` may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from typing import Any

from crossnet import localfile
from crossnet.errors import LabError
from crossnet.lab.reading import Reader
from crossnet.values import Address, Family, address, family_of, interface_name, network
from crossnet.values import Network as Prefix

_LARGEST = 1 << 20  # bytes of a file

ROLES = ("client", "gateway", "target", "bystander")


@dataclass(frozen=True, slots=True)
class Network:
    """A switch that hosts are plugged into; without an MTU it has the usual 1500 bytes.

    With `port_security` it is a network of an OpenStack cloud: a real Neutron has its ports, and filters them.
    """

    name: str
    mtu: int | None = None
    description: str = ""
    port_security: bool = False


@dataclass(frozen=True, slots=True)
class Interface:
    """A host's plug in a network; the MTU is the network's unless given.

    With `unmanaged` the network's Neutron does not know of it, as of a machine that is none of its cloud: nothing is
    filtered there.
    """

    name: str
    network: str
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    mtu: int | None = None
    unmanaged: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A route that the host has from the start; `default` is kept as 0.0.0.0/0 or ::/0."""

    destination: Prefix
    via: Address | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the lab; `boot` are shell command lines run at every boot, after the network is up."""

    name: str
    role: str = "bystander"
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    boot: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """A lab before it is built; `crossings` is the text of a spec's crossings that suits it."""

    name: str
    description: str
    networks: tuple[Network, ...]
    hosts: tuple[Host, ...]
    crossings: str = ""

    @property
    def is_in_cloud(self) -> bool:
        """Whether a Neutron belongs to it."""
        return any(network.port_security for network in self.networks)

    def host(self, name: str) -> Host:
        """The host of that name, else LabError."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"{self.name} has no host {name!r}: it has {', '.join(h.name for h in self.hosts)}")


def shipped() -> tuple[str, ...]:
    """The names of the topologies that come with crossnet."""
    folder = resources.files("crossnet.lab") / "topologies"
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def load(source: str, *, count: int | None = None) -> Topology:
    """The topology of a shipped name or of a YAML file (a path with a slash or an ending).

    `count` replaces the number of the topology's repeated hosts. LabError says where a file is wrong.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if source in shipped():
        text = (resources.files("crossnet.lab") / "topologies" / f"{source}.yaml").read_text(encoding="utf-8")
    elif "/" in source or "." in source:
        try:
            text = localfile.read(source, _LARGEST).decode()
        except OSError as error:
            raise LabError(f"{source} cannot be read as a topology: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise LabError(f"{source} cannot be read as a topology: {error}") from None
    else:
        raise LabError(
            f"there is no topology {source!r}: crossnet ships {', '.join(shipped())}\n"
            f"  For a file of your own write its path, such as ./{source}.yaml."
        )
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise LabError(f"{source} is not YAML: {error}") from None
    return from_data(data, source=source, count=count)


def from_data(data: object, *, source: str, count: int | None = None) -> Topology:
    """A topology of what YAML or JSON says; LabError names `source` and the place in it."""
    top = Reader(source, "", data)
    top.only("name", "description", "networks", "hosts", "crossings")
    networks = tuple(_network(entry) for entry in top.entries("networks"))
    hosts: list[Host] = []
    repeated = False
    for entry in top.entries("hosts"):
        repeated = repeated or "count" in entry.mapping
        hosts.extend(_hosts(entry, count))
    if count is not None and not repeated:
        raise top.wrong("has no host with a `count`, so none can be given")
    names = [host.name for host in hosts]
    for name in names:
        if names.count(name) > 1:
            raise top.wrong(f"two hosts have the name {name}")
    known = {network.name: network for network in networks}
    for host in hosts:
        for interface in host.interfaces:
            place = f"hosts.{host.name}.interfaces.{interface.name}"
            if interface.network not in known:
                raise top.wrong(
                    f"{place}: there is no network "
                    f"{interface.network!r} in `networks`, which has {', '.join(known) or 'none'}"
                )
            if interface.unmanaged and not known[interface.network].port_security:
                raise top.wrong(
                    f"{place}: `unmanaged` is for a network with `port-security`: "
                    f"no Neutron manages {interface.network}"
                )
    if not hosts:
        raise top.wrong("has no hosts")
    return Topology(
        top.name_of(top.text("name")),
        top.text("description", ""),
        networks,
        tuple(hosts),
        top.text("crossings", ""),
    )


def to_data(topology: Topology) -> dict[str, Any]:
    """What `from_data` makes the same topology of; plain enough for JSON."""
    return {
        "name": topology.name,
        "description": topology.description,
        "networks": {
            n.name: {"mtu": n.mtu, "description": n.description, "port-security": n.port_security}
            for n in topology.networks
        },
        "hosts": {
            host.name: {
                "role": host.role,
                "interfaces": {
                    i.name: {
                        "network": i.network,
                        "addresses": [str(a) for a in i.addresses],
                        "mtu": i.mtu,
                        "unmanaged": i.unmanaged,
                    }
                    for i in host.interfaces
                },
                "routes": [
                    {"to": str(r.destination), "via": r.via and str(r.via), "dev": r.device}
                    for r in host.routes
                ],
                "sysctls": dict(host.sysctls),
                "boot": list(host.boot),
            }
            for host in topology.hosts
        },
        "crossings": topology.crossings,
    }


def spec_for(topology: Topology, lab: str | None = None) -> str:
    """A complete crossnet.yaml for this topology, or for the lab of that name; LabError without a crossing."""
    if not topology.crossings:
        raise LabError(f"the topology {topology.name} has no `crossings`, so there is no spec for it")
    managed = [host for host in topology.hosts if host.role in ("client", "gateway")]
    prefix = f"{lab}/" if lab is not None else ""
    width = max(len(host.name) for host in managed) + 1
    clients = ", ".join(host.name for host in managed if host.role == "client")
    lines = ["crossnet: 1", ""]
    if topology.is_in_cloud:  # the entry of the lab's clouds.yaml
        lines += [f"openstack: {{cloud: {lab or topology.name}}}", ""]
    lines += ["hosts:"]
    lines += [f"  {host.name + ':':<{width}} {{lab: {prefix}{host.name}}}" for host in managed]
    lines += ["", "crossings:"]
    body = topology.crossings.replace("{clients}", f"[{clients}]")
    lines += [f"  {line}" if line else "" for line in body.rstrip().splitlines()]
    return "\n".join(lines) + "\n"


def _network(entry: Reader) -> Network:
    entry.only("mtu", "description", "port-security")
    return Network(
        entry.name_of(entry.key),
        entry.number("mtu"),
        entry.text("description", ""),
        entry.flag("port-security"),
    )


def _hosts(entry: Reader, count: int | None) -> list[Host]:
    entry.only("role", "interfaces", "routes", "sysctls", "boot", "count")
    if "count" not in entry.mapping:
        return [_host(entry, entry.key, 1)]
    if "{n}" not in entry.key:
        raise entry.wrong("has a `count`, so its name needs a {n}, such as client-{n}")
    wanted = count if count is not None else entry.number("count")
    if not wanted or wanted < 1:
        raise entry.wrong("`count` is a number from 1 up")
    return [_host(entry, entry.key.replace("{n}", str(n)), n) for n in range(1, wanted + 1)]


def _host(entry: Reader, name: str, number: int) -> Host:
    role = entry.text("role", "bystander")
    if role not in ROLES:
        raise entry.wrong(f"`role` {role!r} is none of {', '.join(ROLES)}")
    interfaces = tuple(_interface(part, number) for part in entry.entries("interfaces"))
    sysctls = tuple((part.key, str(part.data)) for part in entry.entries("sysctls"))
    for key, _ in sysctls:
        if not key.startswith("net."):
            raise entry.wrong(f"sysctl {key}: only net.* belongs to a host, the rest to the whole machine")
    boot = tuple(part.plain_text() for part in entry.items("boot"))
    routes = tuple(_route(part) for part in entry.items("routes"))
    for route in routes:
        if route.device is not None and route.device not in [i.name for i in interfaces]:
            raise entry.wrong(f"a route leaves by {route.device!r}, which is no interface of this host")
    return Host(entry.name_of(name), role, interfaces, routes, sysctls, boot)


def _interface(entry: Reader, number: int) -> Interface:
    entry.only("network", "addresses", "mtu", "unmanaged")
    try:
        name = interface_name(entry.key)
    except ValueError as error:
        raise entry.wrong(str(error)) from None
    addresses = tuple(_address(part, number) for part in entry.items("addresses"))
    return Interface(name, entry.text("network"), addresses, entry.number("mtu"), entry.flag("unmanaged"))


def _address(entry: Reader, number: int) -> IPv4Interface | IPv6Interface:
    if isinstance(entry.data, Mapping):
        entry.only("pool", "first")
        try:
            pool = ip_network(entry.text("pool"))
        except ValueError as error:
            raise entry.wrong(str(error)) from None
        offset = (entry.number("first") or 1) + number - 1
        if offset >= pool.num_addresses - 1:
            raise entry.wrong(f"{pool} is too small for host number {number}")
        return ip_interface(f"{pool[offset]}/{pool.prefixlen}")
    text = entry.plain_text()
    if "/" not in text:
        raise entry.wrong(f"{text!r} has no prefix length, such as {text}/24")
    try:
        return ip_interface(text)
    except ValueError as error:
        raise entry.wrong(str(error)) from None


def _route(entry: Reader) -> Route:
    entry.only("to", "via", "dev")
    to, via, device = entry.text("to"), entry.text("via", ""), entry.text("dev", "")
    try:
        gateway = address(via) if via else None
        if to == "default":
            v6 = gateway is not None and family_of(gateway) is Family.V6
            destination = network("::/0" if v6 else "0.0.0.0/0")
        else:
            destination = network(to)
    except ValueError as error:
        raise entry.wrong(str(error)) from None
    if not via and not device:
        raise entry.wrong("a route needs `via`, `dev` or both")
    return Route(destination, gateway, device or None)
