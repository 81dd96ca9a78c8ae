"""Crossings beside each other on one gateway: when they claim the same packets, and when they do not."""

from __future__ import annotations

import pytest

from crossnet.errors import PlanRefused
from crossnet.facts.routes import OWN_PROTOCOL
from crossnet.planning import Plan, make_plan
from crossnet.specfile import parse
from design.factsheet import SEED, facts_from, route
from planning.fakehost import carry_out, facts_of, hosts_of

DUAL = """
app:
  eth0 10.0.43.15/24 fd00:43::15/64
gateway:
  eth1 10.0.43.101/24 fd00:43::101/64
  eth0 10.0.44.63/24 fd00:44::63/64
"""
HOSTS = "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\n"


def planned(*crossings: str, sheet: str = SEED) -> Plan:
    lines = "".join(f"  c{number}: {{via: gateway, {one}}}\n" for number, one in enumerate(crossings))
    return make_plan(parse(f"{HOSTS}crossings:\n{lines}", "crossnet.yaml"), facts_from(sheet))


def refused(*crossings: str, sheet: str = SEED) -> set[str]:
    with pytest.raises(PlanRefused) as caught:
        planned(*crossings, sheet=sheet)
    return {refusal.code for refusal in caught.value.refusals}


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("tcp/443", "tcp/443", False),
        ("tcp/443", "udp/443", True),
        ("tcp/443", "tcp", False),
        ("tcp/443", "any", False),
        ("icmp", "tcp", True),
        ("icmp", "icmp", False),
        ("tcp/8000-8010", "tcp/8010-8020", False),
        ("tcp/8010", "tcp/8000-8010", False),
        ("tcp/8000-8010", "tcp/8011-8020", True),
        ("tcp/8000-8020", "tcp/8005", False),
    ],
)
def test_the_same_way_for_different_traffic_is_fine(one: str, other: str, apart: bool) -> None:
    crossings = [f"from: app, to: 10.0.44.0/24, allow: {allow}" for allow in (one, other)]
    for pair in (crossings, crossings[::-1]):
        if apart:
            assert len(planned(*pair).paths) == 2
        else:
            assert refused(*pair) == {"crossings-overlap"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("from: app, to: 10.0.44.0/25", "from: app, to: 10.0.44.128/25"),
        ("from: app, to: 10.0.44.0/24", "from: 10.0.43.64/28, to: 10.0.44.0/24"),
        ("from: app, to: 10.0.44.0/24, allow: icmp", "from: app, to: 10.0.44.1, allow: tcp/443"),
        ("from: app, to: 10.0.44.0/24, fence: on", "from: 10.0.43.64/28, to: 10.0.44.0/24, fence: auto"),
    ],
)
def test_different_destinations_or_clients_are_fine(one: str, other: str) -> None:
    assert len(planned(one, other).paths) == 2


@pytest.mark.parametrize(
    "other",
    [
        "from: 10.0.43.0/28, to: 10.0.44.0/24",
        "from: app, to: 10.0.44.9",
        "from: app, to: 10.0.44.0/24, allow: tcp/443, translate: masquerade",
    ],
)
def test_the_same_packets_are_refused(other: str) -> None:
    assert refused("from: app, to: 10.0.44.0/24", other) == {"crossings-overlap"}


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [("firewall", "nftables", "iptables"), ("fence", "on", "off")],
)
def test_a_gateway_has_each_setting_once(key: str, one: str, other: str) -> None:
    apart = ("from: app, to: 10.0.44.0/25", "from: app, to: 10.0.44.128/25")
    assert refused(f"{apart[0]}, {key}: {one}", f"{apart[1]}, {key}: {other}") == {"settings-differ"}
    for same in (one, other):
        assert planned(f"{apart[0]}, {key}: {same}", f"{apart[1]}, {key}: auto").paths


@pytest.mark.parametrize(
    ("there", "free"),
    [
        ("route 10.0.44.0/24 via 10.0.43.101 dev eth0 proto static", True),  # the same way: adopted
        ("route 10.0.44.0/24 via 10.0.43.7 dev eth0 proto 143", True),  # crossnet's own: replaced
        ("route 10.0.44.0/24 via 10.0.43.7 dev eth0 table 100", True),
        ("route 10.0.0.0/8 via 10.0.43.7 dev eth0", True),
        ("route 10.0.44.0/24 via 10.0.43.7 dev eth0 proto static", False),
        ("route 10.0.44.0/24 via 10.0.43.7 dev eth0 metric 500", False),
        ("route blackhole 10.0.44.0/24", False),
        ("route 10.0.44.0/24 nexthop via 10.0.43.7 dev eth0 nexthop via 10.0.43.101 dev eth0", False),
    ],
)
def test_a_route_of_somebody_else_by_another_way(there: str, free: bool) -> None:
    sheet = SEED.replace("gateway:", f"  {there}\ngateway:")
    if free:
        assert planned("from: app, to: 10.0.44.0/24", sheet=sheet).paths
    else:
        assert refused("from: app, to: 10.0.44.0/24", sheet=sheet) == {"route-in-use"}


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ("route 10.0.44.128/25 via 10.0.43.7 dev eth0", "10.0.44.128/25 another way"),
        ("route 10.0.44.9 via 10.0.43.7 dev eth0", "10.0.44.9 another way"),
        ("route 10.0.44.128/25 via 10.0.43.101 dev eth0", None),  # through the gateway all the same
        ("route 10.0.44.128/25 via 10.0.43.7 dev eth0 table 100", None),
    ],
)
def test_a_part_that_the_client_goes_on_to_reach_another_way_is_told(there: str, told: str | None) -> None:
    """The route of somebody else is the longer one, so it stays in force beside crossnet's."""
    made = planned("from: app, to: 10.0.44.0/24", sheet=SEED.replace("gateway:", f"  {there}\ngateway:"))
    found = [impact.text for impact in made.impacts if impact.code == "src-route-other-next-hop"]
    assert len(found) == (told is not None)
    assert all(told in text for text in found if told)


@pytest.mark.parametrize(
    ("to", "there", "wins"),
    [
        ("10.0.44.0/24", "10.0.44.0/24 via 10.0.43.7 dev eth0 metric 100", False),
        ("10.0.44.0/24", "blackhole 10.0.44.0/24 metric 4278198272", False),
        ("fd00:44::/64", "fd00:44::/64 via fd00:43::7 dev eth0 metric 2000", False),
        ("fd00:44::/64", "fd00:44::/64 via fd00:43::7 dev eth0 metric 100", True),
    ],
)
def test_beside_crossnets_own_route_the_better_metric_decides(to: str, there: str, wins: bool) -> None:
    asked = parse(
        f"{HOSTS}crossings: {{one: {{via: gateway, persist: none, from: app, to: '{to}'}}}}", "crossnet.yaml"
    )
    hosts = hosts_of(facts_from(DUAL))
    carry_out(make_plan(asked, facts_of(hosts)), hosts)
    hosts["app"].routes.append(route(there))
    if wins:
        with pytest.raises(PlanRefused) as found:
            make_plan(asked, facts_of(hosts))
        assert {one.code for one in found.value.refusals} == {"route-in-use"}
        return
    again = make_plan(asked, facts_of(hosts))
    assert again.touched == ()
    assert [(one.code, one.where) for one in again.impacts if "metric" in one.text] == [
        ("route-overruled", "app")
    ]
    # The same where crossnet's own one is taken away: it is made again, and wins again.
    hosts["app"].routes = [one for one in hosts["app"].routes if one.protocol != OWN_PROTOCOL]
    (change,) = make_plan(asked, facts_of(hosts)).changes
    assert change[1].action == "create"


def test_who_keeps_the_routes_is_each_clients_affair_and_whether_anybody_does_the_gateways() -> None:
    one, other = "from: app, to: 10.0.44.1, persist: unit", "from: 10.0.43.16, to: 10.0.44.2, persist: "
    assert len(planned(one, f"{other}network-scripts").paths) == 2
    assert refused(one, f"{other}none") == {"settings-differ"}
