"""A network of the lab: a bridge in a network namespace, with one port per interface."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

from crossnet.errors import LabError
from crossnet.lab import namespaces
from crossnet.lab.boot import PATIENCE, ip_batch
from crossnet.lab.topology import Host, Interface, Network, Topology
from crossnet.transport import ENVIRONMENT

_MTU = 1500

_numbers = itertools.count(1)  # of ports: several bridges may be in one namespace


class Switch:
    """A bridge that forwards at once and floods like a plain switch.

    Without waiting for a spanning tree and without multicast snooping, neighbour discovery works from
    the first packet on. It has a namespace of its own, unless it is one of several in one `namespace`; `named` are
    the names of ports that matter to somebody, by host and interface.
    """

    def __init__(
        self,
        network: Network,
        *,
        namespace: int | None = None,
        bridge: str = "switch",
        named: Mapping[tuple[str, str], str] = MappingProxyType({}),
    ) -> None:
        self._network = network
        self._namespace = namespaces.new_network() if namespace is None else namespace
        self._bridge = bridge
        self._named = named
        self._ports: dict[str, list[str]] = {}
        with namespaces.inside(self._namespace):
            ip_batch(
                [
                    "link set lo up",
                    f"link add name {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                    f"link set {bridge} addrgenmode none up",
                ]
            )

    def plug(self, topology: Topology, hosts: Sequence[tuple[Host, int]]) -> None:
        """Give the hosts, each with its network namespace, their interfaces in this network."""
        lines: list[str] = []
        for host, namespace in hosts:
            for interface in host.interfaces:
                if interface.network == self._network.name:
                    lines += self._port(topology, host, interface, namespace)
        if lines:
            with namespaces.inside(self._namespace):
                ip_batch(lines, files=[namespace for _, namespace in hosts])

    def unplug(self, host: str) -> None:
        """Remove the ports of a host, if it is still there or not."""
        # A dead host's ports go with its namespace, but only when the kernel comes round to it; a port
        # that is gone already is no mistake.
        with namespaces.inside(self._namespace):
            for port in self._ports.pop(host, []):
                with suppress(LabError):
                    ip_batch([f"link delete {port}"])

    def run(self, argv: Sequence[str]) -> None:
        """Run a command where the bridge is; LabError carries what it said when it fails."""
        with namespaces.inside(self._namespace):
            answer = subprocess.run(argv, capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE)
        if answer.returncode != 0:
            raise LabError(f"`{' '.join(argv)}` failed: {answer.stderr.strip() or answer.returncode}")

    def _port(self, topology: Topology, host: Host, interface: Interface, namespace: int) -> list[str]:
        port = self._named.get((host.name, interface.name)) or f"port{next(_numbers)}"
        self._ports.setdefault(host.name, []).append(port)
        mtu = self._network.mtu or _MTU
        address = hardware_address(topology, host, interface)
        return [
            f"link add name {port} mtu {mtu} type veth peer name {interface.name} address {address}"
            f" mtu {interface.mtu or mtu} netns /proc/self/fd/{namespace}",
            f"link set {port} master {self._bridge} addrgenmode none up",
        ]


def hardware_address(topology: Topology, host: Host, interface: Interface) -> str:
    # The same after a reboot, as a real machine's: its neighbours still have it in their caches. The
    # second bit of the first byte says "locally administered" (IEEE 802).
    number = topology.hosts.index(topology.host(host.name))
    port = host.interfaces.index(interface)
    return f"02:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}:{port:02x}"
