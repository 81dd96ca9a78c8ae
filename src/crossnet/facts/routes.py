"""Routes of all tables, from `ip -j route show table all`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from crossnet.facts.iproute import entries, failed, printed_json
from crossnet.facts.question import (
    Question,
    mapping,
    number,
    number_or,
    text,
    text_or,
)
from crossnet.values import Address, Family, Network, address, contains, family_of, network

MAIN = "main"

# rtnetlink(7) leaves 143 unassigned; iproute2's rt_protos names no such number, so `ip` prints it as it is.
OWN_PROTOCOL = "143"


@dataclass(frozen=True, slots=True)
class Hop:
    """One next hop of a multipath route; `weight` counts from 1, and `dead` is what the kernel passes over."""

    via: Address | None
    device: str
    weight: int = 1
    onlink: bool = False
    dead: bool = False
    linkdown: bool = False
    encap: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One route; `protocol` and `table` are as `ip` prints them, `metric` 0 means none is set.

    `hops` holds the next hops of a multipath route, which then has neither `via` nor `device`. `tos` and
    `from_network` (IPv6) narrow the packets that it is for. `dead` and `linkdown` are told of a route whose
    interface is down or has no carrier. `encap` is the tunnel's own words, `expires` seconds, `preference` that of
    RFC 4191 (low, medium, high).
    """

    destination: Network
    via: Address | None = None
    device: str | None = None
    source: Address | None = None
    protocol: str = OWN_PROTOCOL
    metric: int = 0
    table: str = MAIN
    type: str = "unicast"
    mtu: int | None = None
    hops: tuple[Hop, ...] = ()
    tos: int = 0
    from_network: Network | None = None
    onlink: bool = False
    dead: bool = False
    linkdown: bool = False
    encap: str = ""
    expires: int | None = None
    preference: str = ""
    realm: str = ""
    nexthop: int | None = None  # the id of a nexthop object

    def __str__(self) -> str:
        target = "default" if self.destination.prefixlen == 0 else str(self.destination)
        words = [target] if self.type == "unicast" else [self.type, target]
        if self.via:
            words += ["via", str(self.via)]
        if self.device:
            words += ["dev", self.device]
        for hop in self.hops:
            words += ["nexthop", *(("via", str(hop.via)) if hop.via else ()), "dev", hop.device]
        if self.source:
            words += ["src", str(self.source)]
        if self.metric:
            words += ["metric", str(self.metric)]
        return " ".join(words)


def parse_routes(answer: str, family: Family) -> tuple[Route, ...]:
    """The routes of `ip -j -4|-6 route show table all`; an empty answer means no routes."""
    return tuple(_route(entry, family) for entry in entries(printed_json(answer)))


def _route(entry: Mapping[str, Any], family: Family) -> Route:
    target, source = text(entry, "dst"), text_or(entry, "prefsrc", None)
    destination = default_network(family)
    if target != "default":
        destination = ipaddress.ip_network(target, strict=False)
    if family_of(destination) is not family:
        raise ValueError(f"{target} is no {family.label} network")
    metrics = entries(entry.get("metrics", []))
    return Route(
        destination=destination,
        via=_via(entry),
        device=text_or(entry, "dev", None),
        source=address(source) if source is not None else None,
        protocol=_name(entry, "protocol", "boot"),
        metric=number_or(entry, "metric", 0),
        table=_name(entry, "table", MAIN),
        type=text_or(entry, "type", "unicast"),
        mtu=number_or(metrics[0], "mtu", None) if metrics else None,
        hops=tuple(Hop(_via(hop), text(hop, "dev")) for hop in entries(entry.get("nexthops", []))),
    )


def _name(entry: Mapping[str, Any], key: str, usual: str) -> str:
    """A table or a protocol: a name, or a number where iproute2 knows no name for it."""
    value = entry.get(key, usual)
    return str(number(entry, key)) if isinstance(value, int) else text({key: value}, key)


def _via(entry: Mapping[str, Any]) -> Address | None:
    if "gateway" in entry:
        return address(text(entry, "gateway"))
    # RFC 5549: an IPv4 route with an IPv6 next hop is printed as {"via": {"family", "host"}}.
    return address(text(mapping(entry["via"]), "host")) if "via" in entry else None


ROUTES4 = Question(
    "ran `ip -j -4 route`",
    ("ip", "-j", "-4", "route", "show", "table", "all"),
    partial(parse_routes, family=Family.V4),
    failed,
)
# A kernel without IPv6, or one that was booted with ipv6.disable=1, has no such file (net/ipv6/addrconf.c), and `ip`
# says there what it also says of real failures.
ROUTES6 = Question(
    "ran `ip -j -6 route`",
    ("sh", "-c", "[ -e /proc/net/if_inet6 ] || exit 0; exec ip -j -6 route show table all"),
    partial(parse_routes, family=Family.V6),
    failed,
)


def matching(routes: Iterable[Route], target: Network, table: str = MAIN) -> tuple[Route, ...]:
    """A table's routes that hold all of `target` and would win: longest prefix, then lowest metric.

    More than one only where the kernel itself holds equals. Policy rules are not walked.
    """
    covering = [route for route in routes if route.table == table and contains(route.destination, target)]
    if not covering:
        return ()
    longest = max(route.destination.prefixlen for route in covering)
    closest = [route for route in covering if route.destination.prefixlen == longest]
    lowest = min(route.metric for route in closest)
    return tuple(route for route in closest if route.metric == lowest)


def inside(routes: Iterable[Route], target: Network, table: str = MAIN) -> tuple[Route, ...]:
    """A table's routes to a smaller part of `target`."""
    return tuple(
        route
        for route in routes
        if route.table == table and route.destination != target and contains(target, route.destination)
    )


def beyond_routers(routes: Iterable[Route], target: Network) -> tuple[Network, ...]:
    """The parts of `target` that the main table's routes reach through a router, by the longest prefix."""
    found: list[Network] = []
    known = list(routes)
    smaller = sorted(inside(known, target), key=lambda route: (route.destination.prefixlen, -route.metric))
    for route in (*matching(known, target), *smaller):
        part = route.destination if contains(target, route.destination) else target
        found = [rest for each in found for rest in _without(each, part)]
        if route.via or any(hop.via for hop in route.hops):
            found.append(part)
    return tuple(found)


def _without(whole: Network, part: Network) -> tuple[Network, ...]:
    if contains(part, whole):
        return ()
    if not contains(whole, part):
        return (whole,)
    return tuple(rest for half in whole.subnets() for rest in _without(half, part))


def default_network(family: Family) -> Network:
    return network("0.0.0.0/0" if family is Family.V4 else "::/0")


def of_family(routes: Iterable[Route], family: Family) -> tuple[Route, ...]:
    return tuple(route for route in routes if family_of(route.destination) is family)
