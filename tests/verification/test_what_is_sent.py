"""What stands for a crossing whose spec names no probe: to verify it, and to diagnose it."""

from __future__ import annotations

import pytest

from crossnet.specfile import parse
from crossnet.values import address
from crossnet.verification.choice import stands_for

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
