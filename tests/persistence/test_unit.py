"""When crossnet's own unit is started in a boot."""

from __future__ import annotations

import pytest

from crossnet.persistence import unit
from crossnet.resources import File, RouteResource, Sysctl
from design.factsheet import route

V4, V6 = Sysctl("net.ipv4.ip_forward", "1"), Sysctl("net.ipv6.conf.all.forwarding", "1")
OF_ONE = Sysctl("net.ipv6.conf.eth1.accept_ra", "2")
ROUTE = RouteResource(route("10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"))


@pytest.mark.parametrize(
    ("live", "by_networkmanager", "waits"),
    [
        ([V4, V6], False, False),
        ([V4], True, False),
        ([V4, V6], True, True),
        ([OF_ONE], False, True),
        ([ROUTE], False, True),
    ],
    ids=["networkd", "networkmanager-v4", "networkmanager-v6", "one interface", "route"],
)
def test_it_waits_for_the_network_where_an_interface_set_up_later_undoes_it(
    live: list[RouteResource | Sysctl], by_networkmanager: bool, waits: bool
) -> None:
    made = unit.persistent(live, ["business"], by_networkmanager=by_networkmanager)
    (text,) = [
        one.data for one in made if isinstance(one, File) and one.path.endswith("system/crossnet.service")
    ]
    assert (b"After=network-online.target" in text) is waits
    assert (b"After=network.target" in text) is not waits
