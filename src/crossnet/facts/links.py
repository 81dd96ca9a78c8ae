"""Interfaces and their addresses, from `ip -j addr`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crossnet.facts.iproute import entries, failed, printed_json
from crossnet.facts.question import Question, number, text, text_or, texts
from crossnet.values import (
    Address,
    Family,
    Network,
    address,
    contains,
    family_of,
    host_network,
    interface_name,
    network,
)


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """One global address of an interface; `stable` is false for IPv6 privacy and deprecated addresses.

    `lifetime` is for how many seconds it is valid, None where it stays; `leased` that a server or a router
    advertisement gave it, `advertised` that it was the latter.
    """

    address: Address
    prefix: int
    stable: bool = True
    peer: Address | None = None
    scope: str = "global"
    lifetime: int | None = None
    leased: bool = False
    advertised: bool = False
    noprefixroute: bool = False

    @property
    def network(self) -> Network:
        """The network that is on-link through this address; at a point-to-point link that is the peer."""
        if self.peer is not None:
            return host_network(self.peer)
        shift = self.address.max_prefixlen - self.prefix
        first = type(self.address)(int(self.address) >> shift << shift)
        return network(f"{first}/{self.prefix}")


@dataclass(frozen=True, slots=True)
class Link:
    """An interface; `up` means administratively up and with a carrier.

    `kind` is veth, bridge, vlan, bond, vrf, tun, …, empty for hardware; `master` the bridge, bond or VRF that it
    is a part of, `parent` the interface below a VLAN or the like, `table` the routing table of a VRF.
    """

    name: str
    mtu: int
    up: bool
    addresses: tuple[LinkAddress, ...] = ()
    kind: str = ""
    master: str = ""
    parent: str = ""
    vlan: int | None = None
    table: str = ""
    group: str = "default"
    flags: frozenset[str] = frozenset()

    def of(self, family: Family) -> tuple[LinkAddress, ...]:
        return tuple(item for item in self.addresses if family_of(item.address) is family)

    def on_link(self, target: Address) -> LinkAddress | None:
        """The interface's address in whose network `target` lies."""
        return next((item for item in self.addresses if contains(item.network, target)), None)


def parse_links(answer: str) -> tuple[Link, ...]:
    """The links of `ip -j addr`; only addresses of global scope are kept, and a loopback only with such."""
    links = []
    for entry in entries(printed_json(answer)):
        flags = texts(entry.get("flags", []))
        addresses = tuple(
            _address(info)
            for info in entries(entry.get("addr_info", []))
            if info.get("scope") == "global" and "local" in info
        )
        if addresses or "LOOPBACK" not in flags:
            up = "UP" in flags and "LOWER_UP" in flags
            links.append(Link(interface_name(text(entry, "ifname")), number(entry, "mtu"), up, addresses))
    return tuple(links)


def _address(info: Mapping[str, Any]) -> LinkAddress:
    # ip-address(8): temporary addresses (RFC 8981) change by themselves, deprecated ones end soon.
    passing = info.get("temporary") or info.get("deprecated") or info.get("tentative")
    local, prefix = address(text(info, "local")), number(info, "prefixlen")
    if not 0 <= prefix <= local.max_prefixlen:
        raise ValueError(f"prefixlen is {prefix}")
    peer = text_or(info, "address", None)
    return LinkAddress(local, prefix, not passing, address(peer) if peer is not None else None)


LINKS = Question("ran `ip -j addr`", ("ip", "-j", "addr"), parse_links, failed)
