"""Programs of Debian that keep the interfaces of a lab's machines: each with its packages, files and units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from crossnet.facts.owners import Keeper
from crossnet.lab.topology import Host, Interface, Route
from crossnet.values import Family, family_of
from lab.crossing import Bench
from lab.firewalls import archive
from lab.test_machine import restart


@dataclass(frozen=True, slots=True)
class Program:
    """What keeps interfaces: its packages, the files that say of a host's, its unit, and how an interface is taken down
    and up; what shows on `app` that it keeps the crossing's routes, and what it has of others there."""

    name: str
    keeper: Keeper
    unit: str
    packages: tuple[str, ...]
    files: Callable[[Host], Mapping[str, str]]
    again: str
    evidence: str
    theirs: str = ":"
    keeps_routes: bool = True

    def __str__(self) -> str:
        return self.name


def with_program(b: Bench, program: Program, eventually: Callable[..., None]) -> None:
    """The managed hosts have their interfaces from it from now on."""
    for name in b.managed:
        if program.packages:
            b.check(name, "tar -xf - -C /", stdin=archive(program.packages).read_bytes())
        if program is not NETWORKD:
            b.check(name, "rm /etc/systemd/network/10-*.network")
        if program.unit != _NETWORKD_UNIT:
            b.check(name, f"systemctl disable {_NETWORKD_UNIT} systemd-networkd-wait-online")
        for path, text in program.files(b.lab.topology.host(name)).items():
            b.check(name, f"cat >{path} && chmod 600 {path}", stdin=text.encode())
        b.check(name, f"systemctl daemon-reload && systemctl enable {program.unit}")
    restart(b, eventually)


def interfaces(host: Host) -> str:
    """What the topology gives a host, as interfaces(5)."""
    stanzas = ["auto lo\niface lo inet loopback\n"]
    for interface in host.interfaces:
        stanzas.append(f"auto {interface.name}\n")
        for address in interface.addresses:
            family = family_of(address)
            word = "inet" if family is Family.V4 else "inet6"
            stanzas.append(f"iface {interface.name} {word} static\n    address {address}\n")
            stanzas += [f"    gateway {each.via}\n" for each in _defaults(host, interface, family)]
    return "".join(stanzas)


def _defaults(host: Host, interface: Interface, family: Family) -> list[Route]:
    """The default routes that leave by an interface."""
    return [
        route
        for route in host.routes
        if route.destination.prefixlen == 0
        and family_of(route.destination) is family
        and any(route.via in address.network for address in interface.addresses)
    ]


def _profiles(host: Host) -> dict[str, str]:
    """A profile of NetworkManager for each interface, one of them with a route of somebody else."""
    found = {}
    for number, interface in enumerate(host.interfaces, 1):
        text = (
            f"[connection]\nid=wired-{interface.name}\nuuid=11111111-2222-3333-4444-55555555555{number}\n"
            f"type=ethernet\ninterface-name={interface.name}\n"
        )
        for family, section in ((Family.V4, "ipv4"), (Family.V6, "ipv6")):
            own = [address for address in interface.addresses if family_of(address) is family]
            gateways = "".join(f"gateway={each.via}\n" for each in _defaults(host, interface, family))
            text += f"[{section}]\nmethod={'manual' if own else 'disabled'}\n{gateways}"
            text += "".join(f"address{place}={address}\n" for place, address in enumerate(own, 1))
            if own and family is Family.V4:
                text += f"route1=10.77.{number}.0/24,{own[0].network[9]}\n"
        found[f"/etc/NetworkManager/system-connections/wired-{interface.name}.nmconnection"] = text
    return found


def _netplan(renderer: str) -> Callable[[Host], dict[str, str]]:
    def files(host: Host) -> dict[str, str]:
        text = f"network:\n  version: 2\n  renderer: {renderer}\n  ethernets:\n"
        for interface in host.interfaces:
            addresses = ", ".join(f'"{address}"' for address in interface.addresses)
            text += f"    {interface.name}:\n      accept-ra: false\n      addresses: [{addresses}]\n"
            routes = [
                f'        - {{to: default, via: "{each.via}"}}\n'
                for family in Family
                for each in _defaults(host, interface, family)
            ]
            text += "      routes:\n" + "".join(routes) if routes else ""
        return {"/etc/netplan/10-lab.yaml": text}

    return files


_NETWORKD_UNIT = "systemd-networkd"

# networkd 252 fails on any route where the interface is up again before it has noticed that it is down.
_NETWORKD_AGAIN = """
ip link set {0} down
until networkctl --no-legend list {0} | grep -q ' off '; do sleep 0.05; done
ip link set {0} up
"""

NETWORKD = Program(
    "networkd",
    Keeper.NETWORKD,
    _NETWORKD_UNIT,
    (),
    lambda host: {},  # the lab's own
    _NETWORKD_AGAIN,
    "grep -F Destination=10.0.44.0/24 /etc/systemd/network/10-eth0.network.d/90-crossnet.conf",
)
NETWORKMANAGER = Program(
    "NetworkManager",
    Keeper.NETWORKMANAGER,
    "NetworkManager",
    ("network-manager",),
    _profiles,
    "nmcli connection up wired-{0}",
    "nmcli -g ipv4.routes connection show wired-eth0 | grep -F '10.0.44.0/24 10.0.43.101 0'",
    "nmcli -g ipv4.routes,ipv4.addresses,ipv4.gateway,ipv6.routes,ipv6.method connection show wired-eth0",
)
IFUPDOWN = Program(
    "ifupdown",
    Keeper.IFUPDOWN,
    "networking",
    ("ifupdown",),
    lambda host: {"/etc/network/interfaces": interfaces(host)},
    "ifdown {0}; ifup {0}",
    "test -x /etc/network/if-up.d/crossnet",
    "ls /etc/network/if-up.d",
)
IFUPDOWN_NG = replace(
    IFUPDOWN, name="ifupdown-ng", packages=("ifupdown-ng",), theirs="find /etc/network -type f"
)
NETPLAN_NETWORKD = Program(
    "netplan-networkd",
    Keeper.NETPLAN,
    _NETWORKD_UNIT,
    ("netplan.io",),
    _netplan("networkd"),
    _NETWORKD_AGAIN,
    "grep -F Destination=10.0.44.0/24 /etc/systemd/network/10-netplan-eth0.network.d/90-crossnet.conf",
    "cat /etc/netplan/*",
)
NETPLAN_NETWORKMANAGER = Program(
    "netplan-NetworkManager",
    Keeper.NETPLAN,
    "NetworkManager",
    ("netplan.io", "network-manager"),
    _netplan("NetworkManager"),
    "nmcli connection up netplan-{0}",
    "grep -F '10.0.44.0/24 via 10.0.43.101' /etc/crossnet/routes",
    "cat /etc/netplan/*",
    keeps_routes=False,  # but crossnet's own unit, at a boot
)
PROGRAMS = (NETWORKD, NETWORKMANAGER, IFUPDOWN, IFUPDOWN_NG, NETPLAN_NETWORKD, NETPLAN_NETWORKMANAGER)
