"""What stands for a crossing whose spec names no probe: to verify it, and to diagnose it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossnet.facts.routes import Route
from crossnet.planning import make_plan
from crossnet.specfile import parse
from crossnet.values import address, network
from crossnet.verification.choice import stands_for, targets
from planning.fakehost import facts_of
from planning.test_side_by_side import begun, spec

SPEC = """\
crossnet: 1
hosts: {app: {lab: app}, gateway: {lab: gateway}}
crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24%s}}
"""


@pytest.mark.parametrize(
    ("allow", "sent"),
    [
        ("", "icmp/10.0.44.1"),
        (", allow: [tcp/443, icmp]", "icmp/10.0.44.1"),
        (", allow: [udp/53, tcp/8000-8010]", "tcp/10.0.44.1:8000"),
        (", allow: tcp", "tcp/10.0.44.1:443"),
        (", allow: udp/53", "udp/10.0.44.1:53"),
    ],
)
def test_what_may_pass_and_is_answered_if_anything_is(allow: str, sent: str) -> None:
    (crossing,) = parse(SPEC % allow, "").crossings
    assert str(stands_for(crossing, address("10.0.44.1"))) == sent


def test_of_a_wide_network_the_wire_behind_the_gateway_is_looked_at_first() -> None:
    hosts = begun()
    wide = Route(network("10.0.0.0/8"), via=address("10.0.44.254"), device="eth0")
    hosts["gateway"] = replace(hosts["gateway"], routes=[*hosts["gateway"].routes, wide])
    for to in ("10.0.44.0/24", "{networks: [10.0.0.0/8], except: [10.0.45.0/24, 10.0.43.0/24]}"):
        asked = spec("office", f"business: {{from: app, via: gateway, to: {to}}}")
        (path,) = make_plan(asked, facts_of(hosts)).paths
        assert [*map(str, targets(path, facts_of(hosts)))][:2] == ["10.0.44.1", "10.0.44.2"]
    assert address("10.0.0.1") in targets(path, facts_of(hosts))
