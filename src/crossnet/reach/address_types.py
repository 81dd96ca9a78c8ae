"""Of which type an address is to a host, as rules ask for it."""

from __future__ import annotations

from crossnet.netfilter.address_types import ADDRESS_TYPES
from crossnet.netfilter.foreign import Field, Numbers
from crossnet.reach.packets import Packets
from crossnet.reach.routing import REFUSED, Routing
from crossnet.values import Family, network


def typed(routing: Routing, field: Field, types: Numbers) -> tuple[Packets, Packets]:
    """Packets whose address is of one of the types (RTN_*): surely, and perhaps.

    IPv4 asks the local table only (inet_addr_type); IPv6 looks up the way to the address (nft_fib6_eval_type).
    """
    four = _typed4(routing, field, types) & routing.space.ipv4
    must, can = _typed6(routing, field, types)
    return four | must, four | can


def _typed4(routing: Routing, field: Field, types: Numbers) -> Packets:
    space = routing.space
    every = space.address(field, network("255.255.255.255/32").network_address)
    found = {
        "multicast": space.network(field, network("224.0.0.0/4")),
        "broadcast": every | space.network(field, network("0.0.0.0/8")),
    }
    for route in routing.of_host(Family.V4):
        if route.type in ADDRESS_TYPES and route.type not in ("unicast", "multicast"):
            known = found.get(route.type, space.none)
            found[route.type] = known | space.network(field, route.destination)
    found["unicast"] = ~space.any_of(found.values())
    return space.any_of(found[kind] for kind in _named(types) if kind in found)


def _typed6(routing: Routing, field: Field, types: Numbers) -> tuple[Packets, Packets]:
    space, wanted = routing.space, _named(types)
    many = space.network(field, network("ff00::/8"))
    found = many if "multicast" in wanted else space.none
    single, first = space.ipv6 & ~many, routing.rules[Family.V6][0]
    if (
        wanted <= {"local", "anycast", "multicast"}
        and first.is_usual
        and (first.table, first.unknown) == ("local", "")
    ):
        # The host's own addresses are asked before everything else.
        own = [route for route in routing.of_host(Family.V6) if route.type in wanted]
        found |= single & space.any_of(space.network(field, route.destination) for route in own)
        return found, found
    must = can = found
    for led in routing.lookup(single, Family.V6, back=field is Field.SOURCE6, marked=False):
        if (REFUSED.get(led.way.refusal) or led.way.type) in wanted:
            must, can = must | led.must, can | led.can
    return must, can


def _named(types: Numbers) -> set[str]:
    return {
        name
        for name, number in ADDRESS_TYPES.items()
        if any(first <= number <= last for first, last in types.ranges)
    }
