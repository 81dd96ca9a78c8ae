"""Where a crossing leads as it was applied, though the gateway has other networks, or another next hop, by now."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import crossnet
from crossnet.lab import build
from crossnet.lab.topology import load
from crossnet.spec import Spec
from crossnet.values import address
from crossnet.verdict import Diagnosis, Result
from lab.crossing import Bench

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def bench(lab_possible: None) -> Iterator[Bench]:
    lab = asyncio.run(build.up(load("two-gateways"), name=f"t{os.getpid()}-as-applied", lifeline=True))
    yield Bench(lab)
    asyncio.run(build.down(lab.name))


@contextmanager
def applied(b: Bench, crossing: str) -> Iterator[Spec]:
    spec = b.spec(f"{crossing}, persist: none")
    b.apply(spec)
    try:
        yield spec
    finally:
        b.undo(spec)


@contextmanager
def changed(b: Bench, host: str, do: str, back: str) -> Iterator[None]:
    b.check(host, do)
    try:
        yield
    finally:
        b.check(host, back)


def diagnosed(spec: Spec, to: str) -> Diagnosis:
    return asyncio.run(crossnet.diagnose(crossnet.Asked(client="app", to=address(to)), spec)).verdict


def test_a_silent_destination_in_a_summary_route_is_called_silent(bench: Bench) -> None:
    route = "10.0.0.0/8 via 10.0.44.1"
    with (
        changed(bench, "gateway", f"ip route add {route}", f"ip route del {route}"),
        applied(bench, "to: 10.0.0.0/8") as spec,
    ):
        found = diagnosed(spec, "10.99.0.1")
    assert found.result is Result.UNREACHABLE
    half = found.forward if found.forward.code else found.reply
    assert half.code == "destination-silent"
    assert not half.fix
    assert not found.also


def test_a_network_that_the_gateway_has_got_since_then_is_named(bench: Bench) -> None:
    route, bridge = "172.18.0.0/16 via 10.0.44.1", "br-1"
    made = f"ip link add {bridge} type bridge && ip addr add 172.18.4.254/24 dev {bridge} && ip link set {bridge} up"
    with (
        changed(bench, "gateway", f"ip route add {route}", f"ip route del {route}"),
        applied(bench, "to: 172.18.0.0/16") as spec,
        changed(bench, "gateway", made, f"ip link del {bridge}"),
    ):
        half = diagnosed(spec, "172.18.4.1").forward
    assert half.code == "gateway-route-elsewhere"
    assert "172.18.4.0/24 dev br-1" in half.detail
    (fix,) = half.fix
    assert fix.commands == ("ip route replace 172.18.4.1 via 10.0.44.1 dev eth0",)
    assert "`except: 172.18.4.0/24`" in (fix.by_crossnet or "")


@pytest.mark.parametrize("there", [False, True])
def test_a_next_hop_that_has_moved_is_no_wrong_route_of_the_client(bench: Bench, there: bool) -> None:
    """Nobody has it, or the other gateway has."""
    moving = "10.0.43.200/24 dev eth1"
    bench.check("gateway", f"ip addr add {moving}")
    with applied(bench, "to: 10.0.44.0/24, next-hop: 10.0.43.200, probe: icmp/10.0.44.1") as spec:
        bench.check("gateway", f"ip addr del {moving}")
        bench.check("app", "ip neigh flush all")
        if there:
            bench.check("gateway-2", f"ip addr add {moving}")
        try:
            found, verdict = diagnosed(spec, "10.0.44.1"), bench.verify(spec).verdicts[0]
        finally:
            bench.run("gateway-2", f"ip addr del {moving}")
    assert (found.forward.code, verdict.forward.code) == ("next-hop-elsewhere", "next-hop-elsewhere")
    assert all(not fix.commands for fix in found.forward.fix)
