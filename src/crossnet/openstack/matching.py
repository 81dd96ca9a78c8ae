"""Which port an interface of a host is plugged into: the one with its hardware address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crossnet.facts.links import Link
from crossnet.openstack.ports import Port
from crossnet.several import few
from crossnet.values import Address

_SUBPORT = "trunk:subport"


def hardware_of(link: Link) -> str:
    return link.hardware.lower()


def port_of(link: Link, links: Mapping[str, Link], ports: Sequence[Port]) -> Port | str:
    """The port of an interface among all that may be it, or in words why there is none.

    Two ports of different networks may have one hardware address; then the one with an address of the interface is
    it. A port with none of its addresses is it only where no other port has them: a machine may give itself the
    hardware address of another. An interface upon another, such as a VLAN, is a port of its own only as the subport of
    a trunk.
    """
    mac = hardware_of(link)
    if not mac:
        return "it has no hardware address, so that it is not plugged into a port"
    same = [port for port in ports if port.mac == mac]
    own = {item.address for item in link.addresses}
    holding = [port for port in same if own.intersection(port.addresses)]
    if len(holding) == 1:
        return holding[0]
    if len(holding) > 1:
        return f"{_shown(holding)} have both its hardware address {mac} and its address"
    upon = links.get(link.parent)
    if link.parent and upon is not None and link.vlan is not None:
        subports = [port for port in same if port.owner == _SUBPORT]
        if len(subports) == 1:
            return _unless_elsewhere(subports[0], own, ports)
        if same:
            return (
                f"{_shown(same)} has its hardware address {mac}, but is the port of {link.parent}: no port is the "
                f"subport of a trunk for {link.name}"
            )
    if len(same) == 1:
        return _unless_elsewhere(same[0], own, ports)
    if len(same) > 1:
        return f"{_shown(same)} all have its hardware address {mac}, and none has its address"
    return _unfound(mac, own, ports)


def _unless_elsewhere(port: Port, own: set[Address], ports: Sequence[Port]) -> Port | str:
    others = [each for each in ports if own.intersection(each.addresses)]
    if not others:
        return port
    return (
        f"{_shown([port])} has its hardware address {port.mac}, but {_shown(others)} its address: one of the two is "
        "not its own"
    )


def _unfound(mac: str, own: set[Address], ports: Sequence[Port]) -> str:
    """Why no port has that hardware address, as far as ports with the interface's address tell it."""
    others = [port for port in ports if own.intersection(port.addresses)]
    if others:
        return (
            f"no port has its hardware address {mac}; {_shown(others)} has its address, but "
            f"{few(sorted({port.mac for port in others}), 2, ', ')}"
        )
    return (
        f"no port that this user sees has its hardware address {mac}: it is in another project or cloud, or is no "
        "port of a cloud at all"
    )


def _shown(ports: Sequence[Port]) -> str:
    return few([f"port {port.shown} of network {port.network}" for port in ports], 3, " and ")
