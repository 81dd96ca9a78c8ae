"""The cloud of a lab: a Neutron, and the one namespace in which it filters, as the hypervisor of all its networks.

Its API listens at 127.0.0.1, where whoever brought the lab up is at home, and takes everybody for an administrator.
`clouds.yaml` in the lab's folder leads there, `neutron.log` is what it says.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from crossnet.errors import LabError
from crossnet.lab import cache, namespaces
from crossnet.lab.neutron import install
from crossnet.lab.switch import Switch, hardware_address
from crossnet.lab.topology import Network, Topology
from crossnet.transport import ENVIRONMENT

CLOUDS = "clouds.yaml"

_STATE = "neutron"
_LOG = "neutron.log"
_HOME = "127.0.0.1"

# Its first answer waits until it has made its tables: some seconds, many where a machine is busy.
_PATIENCE = 180.0

# As many characters of an id as Neutron takes into the name of a device (neutron_lib.constants.LINUX_DEV_LEN).
_SHORT = 11

# Bridges hand packets to iptables (net/bridge/br_netfilter_hooks.c); a network namespace's own since Linux 5.3.
FILTERED = Path("/proc/sys/net/bridge")
_TABLES = ("iptables", "ip6tables", "arptables")


class Cloud:
    """A Neutron with a port for each interface of the topology's networks that have port security.

    `home` is the network namespace, an open file, in which its API is to be reached.
    """

    def __init__(self, folder: Path, topology: Topology, home: int) -> None:
        self._log = folder / _LOG
        self._home = home
        self._hypervisor = namespaces.new_network()
        with namespaces.inside(self._hypervisor):
            if not FILTERED.is_dir():
                os.close(self._hypervisor)
                raise LabError(
                    f"a network namespace has no {FILTERED}, by which a cloud's ports are filtered: it takes Linux 5.3 "
                    "and the module br_netfilter, `modprobe br_netfilter`"
                )
            for program in _TABLES:
                (FILTERED / f"bridge-nf-call-{program}").write_text("1")
        with socket.socket(fileno=self._listener()) as listener:
            self._port: int = listener.getsockname()[1]
            self._server = self._start(folder / _STATE, listener.fileno())
        self._bridges: dict[str, str] = {}
        self._taps: dict[tuple[str, str], str] = {}
        try:
            self._make(topology)
        except BaseException:
            self.end()
            raise
        _write_clouds(folder / CLOUDS, folder.name, f"http://{_HOME}:{self._port}")

    def switch(self, network: Network) -> Switch:
        """The switch of a network, whose ports are filtered."""
        return Switch(
            network, namespace=self._hypervisor, bridge=self._bridges[network.name], named=self._taps
        )

    def follow(self) -> None:
        """Have it look at which ports are plugged; when this returns, they are filtered."""
        self._ask("/sync")

    def end(self) -> None:
        self._server.kill()
        self._server.wait()

    def _listener(self) -> int:
        with namespaces.inside(self._home):
            listener = socket.socket()
        listener.bind((_HOME, 0))
        listener.listen()
        return listener.detach()

    def _start(self, state: Path, listener: int) -> subprocess.Popen[bytes]:
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT, 0o600)
        state.mkdir(mode=0o700)
        argv = (
            install.program(),
            "-I",
            install.SERVE,
            "--dir",
            state,
            "--listen",
            str(listener),
            "--enforce",
        )
        try:
            with namespaces.inside(self._hypervisor):
                return subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=ENVIRONMENT,
                    cwd="/",
                    pass_fds=(listener,),
                    start_new_session=True,
                )
        except OSError as error:
            raise LabError(f"the lab's Neutron cannot be started: {argv[0]}: {error.strerror}") from None
        finally:
            os.close(log)

    def _make(self, topology: Topology) -> None:
        """Tell it the topology's networks, subnets and ports; their ids name the bridges and devices."""
        networks = [network.name for network in topology.networks if network.port_security]
        plugs = [
            (host, interface)
            for host in topology.hosts
            for interface in host.interfaces
            if interface.network in networks
        ]
        made = self._create("networks", [{"name": name} for name in networks])
        ids = {network["name"]: network["id"] for network in made}
        self._bridges = {name: f"brq{ids[name][:_SHORT]}" for name in networks}
        prefixes = dict.fromkeys((i.network, address.network) for _, i in plugs for address in i.addresses)
        made = self._create(
            "subnets",
            [
                {
                    "name": f"{name}-{prefix}",
                    "network_id": ids[name],
                    "cidr": str(prefix),
                    "ip_version": prefix.version,
                    "gateway_ip": None,
                    "enable_dhcp": False,
                }
                for name, prefix in prefixes
            ],
        )
        subnets = {(subnet["network_id"], ip_network(subnet["cidr"])): subnet["id"] for subnet in made}
        devices = {host.name: str(uuid.uuid4()) for host in topology.hosts}
        managed = [(host, interface) for host, interface in plugs if not interface.unmanaged]
        made = self._create(
            "ports",
            [
                {
                    "name": f"{host.name}-{interface.name}",
                    "network_id": ids[interface.network],
                    "mac_address": hardware_address(topology, host, interface),
                    "fixed_ips": [
                        {
                            "subnet_id": subnets[ids[interface.network], address.network],
                            "ip_address": str(address.ip),
                        }
                        for address in interface.addresses
                    ],
                    "device_id": devices[host.name],
                    "device_owner": "compute:nova",
                }
                for host, interface in managed
            ],
        )
        names = {port["name"]: f"tap{port['id'][:_SHORT]}" for port in made}
        self._taps = {(host.name, i.name): names[f"{host.name}-{i.name}"] for host, i in managed}

    def _create(self, kind: str, wanted: Sequence[Mapping[str, object]]) -> list[dict[str, str]]:
        """Create many at once; what the API says they have become."""
        if not wanted:
            return []
        made: list[dict[str, str]] = self._ask(f"/v2.0/{kind}", {kind: wanted})[kind]
        return made

    def _ask(self, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection(_HOME, self._port, timeout=_PATIENCE)
        try:
            with namespaces.inside(self._home):
                connection.connect()
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise LabError(
                f"the lab's Neutron does not answer: {error}\n    {cache.last_lines(self._log)}"
            ) from None
        finally:
            connection.close()
        if answer.status >= 400:
            raise LabError(f"the lab's Neutron refuses POST {path}: {said.decode(errors='replace')}")
        return json.loads(said) if said else None


def _write_clouds(path: Path, name: str, url: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(file, "w", encoding="utf-8") as clouds:
        clouds.write(
            f"clouds:\n  {json.dumps(name)}:\n    auth_type: none\n    network_endpoint_override: {url}\n"
        )
