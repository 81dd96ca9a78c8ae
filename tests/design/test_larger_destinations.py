"""Destinations larger than the clients' own networks, and what is excepted: of two routes the longer prefix decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossnet.errors import PlanRefused
from crossnet.planning import Plan, make_plan
from crossnet.resources import RouteResource
from crossnet.specfile import parse
from crossnet.values import Network, network, overlap
from design.factsheet import facts_from

SHEET = """
app:
  eth0 10.0.43.15/24
  {app}
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
  route default via 10.0.44.254 dev eth0
"""
SPEC = (
    "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\ncrossings:\n  one: {via: gateway, %s}\n"
)
DEFAULT = "route default via 10.0.43.1 dev eth0"


def planned(crossing: str, *app: str, without: str = "") -> Plan:
    """The plan of one crossing; `app` are more lines of its sheet, `without` a route that it lacks."""
    facts = facts_from(SHEET.format(app="\n  ".join(app)))
    kept = tuple(route for route in facts["app"].routes if str(route.destination) != without)
    facts["app"] = replace(facts["app"], routes=kept)
    return make_plan(parse(SPEC % crossing, "crossnet.yaml"), facts)


def refused(crossing: str, *app: str, without: str = "") -> set[str]:
    with pytest.raises(PlanRefused) as caught:
        planned(crossing, *app, without=without)
    return {refusal.code for refusal in caught.value.refusals}


def led(made: Plan) -> list[Network]:
    """To where the plan makes routes on the client."""
    return [one.want.route.destination for _, one in made.changes if isinstance(one.want, RouteResource)]


EXCEPT = "from: app, to: {networks: 10.0.0.0/8, except: [10.0.5.0/24, 10.0.6.0/24]}"
FIVE = "route 10.0.5.0/24 via 10.0.43.7 dev eth0"
SIX = "route 10.0.6.0/24 via 10.0.43.7 dev eth0"


@pytest.mark.parametrize(
    ("longer", "bare"),
    [
        ([FIVE, SIX], ""),
        (["route 10.0.4.0/22 via 10.0.43.7 dev eth0"], ""),  # around both
        (["route blackhole 10.0.5.0/24", SIX], ""),
        (["route 10.0.5.0/25 via 10.0.43.7 dev eth0", "route 10.0.5.128/25 via 10.0.43.8 dev eth0", SIX], ""),
        (["route 10.0.5.0/25 via 10.0.43.7 dev eth0", SIX], "10.0.5.0/24"),  # half of it has none
        ([FIVE], "10.0.6.0/24"),
        ([FIVE, "route 10.0.6.0/24 via 10.0.43.7 dev eth0 table 100"], "10.0.6.0/24"),
        (
            [FIVE, "route 10.0.6.0/24 via 10.0.43.101 dev eth0 proto 143"],
            "10.0.6.0/24",
        ),  # crossnet's own goes
    ],
)
def test_an_exception_without_a_longer_route_is_left_out_of_the_routes(longer: list[str], bare: str) -> None:
    found = led(planned(EXCEPT, DEFAULT, *longer))
    if not bare:
        assert found == [network("10.0.0.0/8")]
        return
    assert not [one for one in found if overlap(one, network(bare))]
    assert sum(one.num_addresses for one in found) == 2**24 - network(bare).num_addresses


def test_the_gateway_lets_nothing_through_to_an_exception() -> None:
    made = planned(EXCEPT, DEFAULT, FIVE, SIX)
    ((_, rules),) = made.tables
    (to,) = [one for one in rules.table.sets if one.name.startswith("to-")]
    assert not any(overlap(network("10.0.5.0/24"), member) for member in to.members)
    assert any(overlap(network("10.0.7.0/24"), member) for member in to.members)


@pytest.mark.parametrize(
    ("crossing", "code"),
    [
        ("from: app, to: 0.0.0.0/0", "route-in-use"),
        ("from: app, to: [0.0.0.0/1, 128.0.0.0/1]", None),
        ("from: app, to: 10.0.0.0/8, next-hop: 10.0.43.101", None),
        ("from: app, to: 10.0.0.0/8, next-hop: 10.0.44.63", "next-hop-not-on-link"),
        ("from: app, to: 10.0.43.0/25", "destination-on-link"),
        ("from: 10.0.43.7, to: 10.0.0.0/8", None),
        ("from: 10.0.44.7, to: 10.0.44.0/24", "destination-contains-client-network"),
    ],
)
def test_what_a_larger_destination_may_hold(crossing: str, code: str | None) -> None:
    if code is None:
        assert planned(crossing, DEFAULT).paths
    else:
        assert refused(crossing, DEFAULT) == {code}


def test_a_client_without_a_longer_route_to_its_own_network() -> None:
    """As `ip address add … noprefixroute` leaves it: its neighbours are behind whatever route there is."""
    assert refused("from: app, to: 10.0.0.0/8", DEFAULT, without="10.0.43.0/24") == {
        "destination-contains-client-network"
    }


def test_who_has_no_default_route_may_get_one() -> None:
    assert led(planned("from: app, to: 0.0.0.0/0")) == [network("0.0.0.0/0")]
