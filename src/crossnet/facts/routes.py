"""Routes of all tables, from what `ip route show table all` prints."""

from __future__ import annotations

import socket
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from crossnet.facts.iproute import Words, dsfield, failed, unsigned, whole, words
from crossnet.facts.links import Link
from crossnet.facts.question import Question, Unanswered
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
    RFC 4191 (low, medium, high). `unknown` are words that crossnet does not know, or what the tool did not tell:
    for which packets the route is, or where they go, cannot be said then. A `protocol` of "" was not told.
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
    expires: int | None = field(default=None, compare=False)
    preference: str = ""
    realm: str = ""
    nexthop: int | None = None  # the id of a nexthop object
    unknown: str = ""

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

    @property
    def with_table(self) -> str:
        """The route in words, with its table where that is not main."""
        return str(self) + (f" table {self.table}" if self.table != MAIN else "")


# rtnetlink(7), and iproute2's rt_names: what may stand in front of a destination.
_WITH_A_WAY = frozenset(("unicast", "local", "broadcast", "anycast", "multicast"))
_TYPES = _WITH_A_WAY | {"blackhole", "unreachable", "prohibit", "throw", "nat", "xresolve"}
# Words of a route that say nothing of where a packet goes, by how many words follow; a `lock` may stand in between.
_ASIDE = {
    **dict.fromkeys(
        ("scope", "error", "window", "rtt", "rttvar", "ssthresh", "cwnd", "advmss", "reordering"), 1
    ),
    **dict.fromkeys(("hoplimit", "initcwnd", "initrwnd", "features", "rto_min", "quickack", "congctl"), 1),
    **dict.fromkeys(("fastopen_no_cookie", "uid", "mark", "iif", "ttl-propagate", "used", "users", "age"), 1),
    **dict.fromkeys(("pervasive", "offload", "trap", "notify", "unresolved", "rt_offload", "rt_trap"), 0),
    **dict.fromkeys(("offload_failed", "rt_offload_failed", "cache", "cloned"), 0),
}


def parse_routes(answer: str, family: Family) -> tuple[Route, ...]:
    """The routes of `ip -4|-6 route show table all`, with or without `-o`; an empty answer means no routes.

    Where no route at all has a protocol, the tool is one that prints none (busybox): it is "" then, not told.
    """
    usual = "boot" if " proto " in answer else ""
    known: dict[str, _Behind] = {}  # 100,000 routes differ in little else
    routes = []
    for line in answer.replace("\n\t", "\\\t").split("\n"):
        if not line:
            continue
        first, _, rest = line.lstrip(" ").partition(" ")
        kind = "unicast"
        if first in _TYPES:
            kind = first
            first, _, rest = rest.lstrip(" ").partition(" ")
        if (said := known.get(rest)) is None:
            said = known[rest] = _said(rest, usual, family)
        before, after = said
        routes.append(_make(_destination(first, family), *before, kind, *after))
    return tuple(_whose_way_is_told(routes))


def _whose_way_is_told(routes: Iterable[Route]) -> Iterator[Route]:
    """busybox prints no next hops of a multipath route, and nothing in their place."""
    for route in routes:
        if route.device is None and not route.hops and route.nexthop is None and route.type in _WITH_A_WAY:
            yield replace(route, unknown=f"{route.unknown} no interface is shown".lstrip())
        else:
            yield route


# The fields of a Route behind its destination: those before its type, and those after.
_Behind = tuple[tuple[Any, ...], tuple[Any, ...]]
_make: Callable[..., Route] = Route


def _said(line: str, usual: str, family: Family) -> _Behind:
    first, *more = (Words(words(part)) for part in line.split("\\\t"))
    via, device, source, protocol, metric, table = None, None, None, usual, 0, MAIN
    mtu, tos, origin, expires, nexthop = None, 0, None, None, None
    encap = preference = realm = ""
    flags, unknown = set[str](), list[str]()
    while first:
        match word := first.next():
            case "via":
                via = _via(first)
            case "dev":
                device = first.next()
            case "table":
                table = first.next()
            case "proto":
                protocol = first.next()
            case "src":
                source = _address(first.next(), family)
            case "metric":
                metric = unsigned(first.next())
            case "mtu":
                first.skip("lock")
                mtu = whole(first.next())
            case "tos":
                name = first.next()
                if (number := dsfield(name)) is None:
                    unknown += [word, name]
                tos = number or 0
            case "from":
                origin = _destination(first.next(), family)
            case "nhid":
                nexthop = whole(first.next())
            case "expires":
                expires = whole(first.next().removesuffix("sec"))
            case "pref":
                preference = first.next()
            case "realm" | "realms":
                realm = first.next()
            case "encap":
                encap = _encap(first)
            case "onlink" | "dead" | "linkdown":
                flags.add(word)
            case _:
                unknown += _aside(word, first)
    hops = tuple(hop_of(hop) for hop in more if hop.skip("nexthop"))
    before = (via, device, source, protocol, metric, table)
    told = ("onlink" in flags, "dead" in flags, "linkdown" in flags)
    return before, (
        mtu,
        hops,
        tos,
        origin,
        *told,
        encap,
        expires,
        preference,
        realm,
        nexthop,
        " ".join(unknown),
    )


def hop_of(said: Words) -> Hop:
    """One hop of a route or of a nexthop object: `via 192.0.2.2 dev eth0 weight 2`."""
    via, device, weight, encap = None, "", 1, ""
    flags = set[str]()
    while said:
        match word := said.next():
            case "via":
                via = _via(said)
            case "dev":
                device = said.next()
            case "weight":
                weight = whole(said.next())
            case "encap":
                encap = _encap(said)
            case "realm" | "realms":
                said.next()
            case "onlink" | "dead" | "linkdown":
                flags.add(word)
            case _:
                _aside(word, said)
    return Hop(via, device, weight, "onlink" in flags, "dead" in flags, "linkdown" in flags, encap)


def _via(said: Words) -> Address:
    """RFC 5549: the next hop of an IPv4 route may be an IPv6 one, whose family is then named (`via inet6 fe80::1`)."""
    if said.peek() in ("inet", "inet6"):
        said.next()
    return address(said.next())


def _encap(said: Words) -> str:
    """A tunnel's own words: as far as the nexthop, the router or the interface of the route.

    ip-route(8): `encap ip` has a `tos` of its own among its words, which stands before that of the route.
    """
    taken = [said.next()]
    while said and said.peek() not in ("nhid", "via", "dev"):
        if said.peek() == "tos" and ("tos" in taken or taken[0] not in ("ip", "ip6")):
            break
        taken.append(said.next())
    return " ".join(taken)


def _aside(word: str, said: Words) -> list[str]:
    """Reads what follows a word that decides nothing; gives the word where it is not known."""
    follow = _ASIDE.get(word)
    if follow:
        said.skip("lock")
        said.next()
    return [word] if follow is None else []


def _destination(word: str, family: Family) -> Network:
    if word == "default":
        return default_network(family)
    first, slash, length = word.partition("/")
    if family is Family.V4:
        if first.isdecimal():  # `0/8`: a network without an address
            first = "0.0.0.0"
        number = _number(socket.AF_INET, first, word)
        bits = whole(length, 32) if slash else 32
        return IPv4Network((number >> 32 - bits << 32 - bits, bits))
    number = _number(socket.AF_INET6, first, word)
    bits = whole(length, 128) if slash else 128
    return IPv6Network((number >> 128 - bits << 128 - bits, bits))


def _number(family: socket.AddressFamily, text: str, word: str) -> int:
    """inet_pton(3), which is ten times as fast as ipaddress, and as strict."""
    try:
        return int.from_bytes(socket.inet_pton(family, text), "big")
    except (OSError, ValueError):
        version = "IPv4" if family is socket.AF_INET else "IPv6"
        raise ValueError(f"{word[:60]!r} is no {version} network") from None


def _address(word: str, family: Family) -> Address:
    found = address(word)
    if family_of(found) is not family:
        raise ValueError(f"{word} is no {family.label} address")
    return found


def not_silent(routes: tuple[Route, ...], links: Iterable[Link], family: Family) -> None:
    """Unanswered where no route was printed of a host that must have some: to its own addresses.

    The kernel has one to each address of an interface that is up (fib_add_ifaddr, addrconf.c); to one of IPv6 when
    nobody else was found to hold it.
    """
    if routes:
        return
    for link in links:
        for item in (*link.addresses, *link.narrow):
            if "UP" in link.flags and item.stable and family_of(item.address) is family:
                raise Unanswered(f"it printed no route, and {link.name} has the address {item.address}")


ROUTES4 = Question(
    "ran `ip -4 route show table all`",
    ("ip", "-4", "route", "show", "table", "all"),
    partial(parse_routes, family=Family.V4),
)
# A kernel without IPv6, or one that was booted with ipv6.disable=1, has no such file (net/ipv6/addrconf.c), and `ip`
# says there what it also says of real failures.
ROUTES6 = Question(
    "ran `ip -6 route show table all`",
    ("sh", "-c", "[ -e /proc/net/if_inet6 ] || exit 0; exec ip -6 route show table all"),
    partial(parse_routes, family=Family.V6),
    failed,
)


class Routes(tuple[Route, ...]):
    """The routes of a host, of which those to a network are found without a look at all the others."""

    def to(self, destination: Network) -> tuple[Route, ...]:
        """Those to this very destination, in whatever table."""
        return self._at([destination])

    def around(self, target: Network) -> tuple[Route, ...]:
        """Those to a network that holds the target, or is it."""
        return self._at(
            target.supernet(new_prefix=length)
            for length in self._lengths[target.version]
            if length <= target.prefixlen
        )

    def within(self, target: Network) -> tuple[Route, ...]:
        """Those to a part of the target, or to it."""
        begins, networks = self._in_order[target.version]
        first, last = int(target.network_address), int(target.broadcast_address)
        near = networks[bisect_left(begins, first) : bisect_right(begins, last)]
        return self._at(network for network in near if network.prefixlen >= target.prefixlen)

    def _at(self, networks: Iterable[Network]) -> tuple[Route, ...]:
        """The routes to these networks, in their order."""
        places = sorted(place for network in networks for place in self._places.get(network, ()))
        return tuple(self[place] for place in places)

    @cached_property
    def _places(self) -> Mapping[Network, Sequence[int]]:
        found: dict[Network, list[int]] = {}
        for place, route in enumerate(self):
            found.setdefault(route.destination, []).append(place)
        return found

    @cached_property
    def _lengths(self) -> Mapping[int, Collection[int]]:
        return {
            version: {network.prefixlen for network in self._places if network.version == version}
            for version in (4, 6)
        }

    @cached_property
    def _in_order(self) -> Mapping[int, tuple[Sequence[int], Sequence[Network]]]:
        found: dict[int, tuple[list[int], list[Network]]] = {4: ([], []), 6: ([], [])}
        for destination in sorted(self._places, key=lambda one: int(one.network_address)):
            begins, networks = found[destination.version]
            begins.append(int(destination.network_address))
            networks.append(destination)
        return found


def matching(routes: Iterable[Route], target: Network, table: str = MAIN) -> tuple[Route, ...]:
    """A table's routes that hold all of `target` and would win: longest prefix, then lowest metric.

    More than one only where the kernel itself holds equals. Policy rules are not walked.
    """
    around = routes.around(target) if isinstance(routes, Routes) else routes
    covering = [route for route in _in_use(around, table) if contains(route.destination, target)]
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
        for route in _in_use(routes.within(target) if isinstance(routes, Routes) else routes, table)
        if route.destination != target and contains(target, route.destination)
    )


def _in_use(routes: Iterable[Route], table: str) -> Iterator[Route]:
    """Those of a table that any packet may take: none for a type of service, or a source, of its own.

    fib_select_path() and ip6_pol_route() of the kernel pass over what is dead.
    """
    return (
        route
        for route in routes
        if route.table == table and not (route.tos or route.from_network or route.dead)
    )


def is_same(own: Route, route: Route) -> bool:
    """Whether a route of a host is one that crossnet keeps there: to the same place, with the same metric and protocol.

    OWN_PROTOCOL is nobody else's, so there it may have been led another way since. Of every other protocol, and of one
    that the tool does not tell (busybox), only the way says that it is the same.
    """
    place = (own.table, own.destination, own.metric) == (route.table, route.destination, route.metric)
    if not place or route.protocol not in ("", own.protocol):
        return False
    return route.protocol == OWN_PROTOCOL or (own.via, own.device) == (route.via, route.device)


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
