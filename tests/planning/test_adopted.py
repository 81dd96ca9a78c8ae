"""What is used as it is lasts as long as the crossing does."""

from __future__ import annotations

import pytest

from crossnet.planning import Plan, make_plan
from crossnet.resources import File
from crossnet.specfile import parse
from design.factsheet import facts_from

HOSTS = """
app:
  eth0 10.0.43.15/24
  route 10.0.44.0/24 via 10.0.43.101 dev eth0{}
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
"""
SPEC = """crossnet: 1
hosts: {app: {lab: app}, gateway: {lab: gateway}}
crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24}}
"""


def planned(words: str) -> Plan:
    return make_plan(parse(SPEC, "crossnet.yaml"), facts_from(HOSTS.format(words)))


def start_script(made: Plan) -> str:
    files = (item for item in made.wanted["app"] if isinstance(item, File))
    return next((file.data.decode() for file in files if file.path == "/etc/crossnet/start"), "")


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("", "keep_route -4 10.0.44.0/24 via 10.0.43.101 dev eth0 proto boot"),
        (
            " proto static mtu 1400",
            "keep_route -4 10.0.44.0/24 via 10.0.43.101 dev eth0 proto static mtu 1400",
        ),
        (
            " proto static metric 5",
            "keep_route -4 10.0.44.0/24 via 10.0.43.101 dev eth0 proto static metric 5",
        ),
    ],
)
def test_a_route_of_somebody_else_is_made_again_where_it_is_not_there(words: str, kept: str) -> None:
    made = planned(words)
    (app,) = (host for host in made.hosts if host.host == "app")
    assert [item.kind for item in app.adopted] == ["route"]
    assert kept in start_script(made).splitlines()
    assert "/etc/crossnet/routes" not in start_script(made)


@pytest.mark.parametrize("protocol", ["dhcp", "ra", "bird", "zebra"])
def test_a_route_that_a_daemon_gives_is_the_daemons(protocol: str) -> None:
    assert start_script(planned(f" proto {protocol}")) == ""


def test_crossnets_own_route_is_brought_back_as_before() -> None:
    own = HOSTS.replace("  route 10.0.44.0/24 via 10.0.43.101 dev eth0{}\n", "")
    made = make_plan(parse(SPEC, "crossnet.yaml"), facts_from(own))
    assert "/etc/crossnet/routes" in start_script(made)
    assert "keep_route" not in start_script(made)
