"""A lab host's network as systemd-networkd reads it, so that it comes up in the boot as on a real machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from crossnet.errors import LabError
from crossnet.lab.topology import Host, Interface, Route

_FOLDER = PurePosixPath("/etc/systemd/network")


def files(host: Host) -> Mapping[PurePosixPath, str]:
    """A systemd.network(5) file for each interface; LabError for a route that leaves by none of them."""
    routes = {interface.name: "" for interface in host.interfaces}
    for route in host.routes:
        routes[_device(host, route)] += _route(route)
    return {
        _FOLDER / f"10-{interface.name}.network": _interface(interface) + routes[interface.name]
        for interface in host.interfaces
    }


def _interface(interface: Interface) -> str:
    # A plug without an address is not waited for: where IPv6 is off, it never gets one.
    required = "yes" if interface.addresses else "no"
    addresses = "".join(f"Address={address}\n" for address in interface.addresses)
    return (
        f"[Match]\nName={interface.name}\n"
        f"[Link]\nRequiredForOnline={required}\n"
        f"[Network]\nIPv6AcceptRA=no\nLinkLocalAddressing=ipv6\n{addresses}"
    )


def _route(route: Route) -> str:
    gateway = f"Gateway={route.via}\n" if route.via is not None else ""
    return f"[Route]\nDestination={route.destination}\n{gateway}"


def _device(host: Host, route: Route) -> str:
    if route.device is not None:
        return route.device
    for interface in host.interfaces:
        if any(route.via in address.network for address in interface.addresses if route.via is not None):
            return interface.name
    raise LabError(
        f"{host.name}: the route to {route.destination} via {route.via} is on none of its networks"
    )
