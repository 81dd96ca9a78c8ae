"""Which crossing carries a flow that somebody wants to try, and what is said where none does."""

from __future__ import annotations

from functools import cache

import pytest

from crossnet.design import Path
from crossnet.planning import make_plan
from crossnet.specfile import parse
from crossnet.values import Probe
from crossnet.verification.carried import NotCarried, carrying
from design.factsheet import SEED, facts_from

SPEC = """crossnet: 1
hosts: {app: {lab: app}, gateway: {lab: gateway}}
crossings:
  web: {from: [app, 10.0.43.20], via: gateway, to: 10.0.44.0/25, allow: [icmp, tcp/443], probe: icmp/10.0.44.1}
  any: {from: app, via: gateway, to: 10.0.44.128/25}
  others: {from: 10.0.43.30, via: gateway, to: 10.0.44.0/24, allow: tcp/22}
"""


@cache
def paths() -> tuple[Path, ...]:
    return make_plan(parse(SPEC, "crossnet.yaml"), facts_from(SEED)).paths


def probe(text: str | None) -> Probe | None:
    return Probe.from_text(text) if text else None


@pytest.mark.parametrize(
    ("client", "flow", "names"),
    [
        ("app", "tcp/10.0.44.5:443", ["web"]),
        (None, "tcp/10.0.44.5:443", ["web"]),
        ("app", "udp/10.0.44.200:53", ["any"]),
        ("app", None, ["web", "any"]),
        (None, "icmp/10.0.44.200", ["any"]),
    ],
)
def test_what_carries_it_sends_it_alone(client: str | None, flow: str | None, names: list[str]) -> None:
    found = carrying(paths(), client, probe(flow))
    assert [one.crossing.name for one in found] == names
    for one in found:
        assert [each.host for each in one.clients] == ["app"]
        if flow:
            assert one.crossing.probes == (probe(flow),)


@pytest.mark.parametrize(
    ("client", "flow", "told"),
    [
        ("app", "tcp/10.0.44.5:80", "Nearest is web: its `allow` is icmp, tcp/443."),
        ("app", "udp/10.0.45.1:53", "Nearest is any: 10.0.45.1 does not lie in its `to` (10.0.44.128/25)."),
        (
            "gateway",
            "icmp/10.0.44.1",
            "Nearest is web: there is no gateway in its `from` (app, 10.0.43.20).",
        ),
        (None, "tcp/10.0.44.5:22", "Nearest is web: its `allow` is icmp, tcp/443."),
        ("app", "icmp/fd00::1", "Nearest is web: its `to` is IPv4 (10.0.44.0/25)."),
    ],
)
def test_where_none_does_the_nearest_says_why(client: str | None, flow: str, told: str) -> None:
    with pytest.raises(NotCarried) as refused:
        carrying(paths(), client, probe(flow))
    first, second = str(refused.value).splitlines()
    assert first.startswith(f"no crossing carries {flow}")
    assert second.strip() == told
