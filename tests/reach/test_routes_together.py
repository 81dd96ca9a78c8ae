"""Routes that go alike are looked up as one: the same packets, the same ways, and each of these by its name."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address

from hypothesis import given
from hypothesis import strategies as st

from crossnet.facts.routes import Route
from crossnet.netfilter.foreign import Field
from crossnet.reach.packets import Packets, Space
from crossnet.reach.routing import Led, Routing, Way
from crossnet.values import Family
from reach.test_path import facts, link

NETWORKS = st.builds(
    lambda bits, n: IPv4Network((bits << 26 >> 32 - n << 32 - n, n)), st.integers(0, 63), st.integers(2, 6)
)
ROUTES = st.lists(
    st.builds(
        Route,
        NETWORKS,
        via=st.sampled_from([ip_address("10.0.43.1"), ip_address("10.0.43.2")]),
        device=st.just("eth0"),
        metric=st.sampled_from([0, 0, 0, 5]),
        type=st.sampled_from(["unicast", "unicast", "unicast", "blackhole", "throw"]),
        unknown=st.sampled_from(["", "", "", "", "strange"]),
    ),
    max_size=14,
)


def by_hop(space: Space, found: list[Led]) -> dict[object, tuple[Packets, Packets]]:
    bounds: dict[object, tuple[Packets, Packets]] = {}
    for led in found:
        key = led.way.hop, led.way.refusal, led.way.untold
        must, can = bounds.get(key, (space.none, space.none))
        bounds[key] = must | led.must, can | led.can
    return bounds


def ways(found: list[Led]) -> set[Way]:
    return {way for led in found for way in (led.way, *led.others)}


@given(ROUTES, st.lists(NETWORKS, min_size=1, max_size=3))
def test_as_one_after_the_other(routes: list[Route], asked: list[IPv4Network]) -> None:
    space = Space()
    routing = Routing(facts("app", [link("eth0", "10.0.43.15/24")], *routes), space)
    packets = space.any_of(space.network(Field.DESTINATION6, each) for each in asked)
    alone = routing.lookup(packets, Family.V4)
    together = routing.lookup(packets, Family.V4, together=True)
    assert by_hop(space, together) == by_hop(space, alone)
    assert ways(together) == ways(alone)


def test_thousands_that_go_alike_are_few() -> None:
    space = Space()
    router = ip_address("10.0.43.1")
    many = [Route(IPv4Network((10 << 24 | 60 << 16 | n << 8, 24)), router, "eth0") for n in range(250)]
    routing = Routing(facts("app", [link("eth0", "10.0.43.15/24")], *many), space)
    packets = space.any_of(space.network(Field.DESTINATION6, each.destination) for each in many[:100])
    (led,) = routing.lookup(packets, Family.V4, together=True)
    assert led.can == led.must == packets
    assert ways([led]) == {Way(route, led.way.hop, led.way.rule) for route in many[:100]}
