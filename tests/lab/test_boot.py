"""What was applied comes back after a reboot, and only what was confirmed and not undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import product

import pytest

from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.netfilter import Engine
from lab.crossing import Bench

pytestmark = pytest.mark.lab


def reboot(b: Bench) -> None:
    for host in b.managed:
        asyncio.run(build.reboot(b.lab, host))


VARIANTS = {("seed", Engine.IPTABLES_NFT), ("seed-v6", Engine.IPTABLES_LEGACY)}


@pytest.mark.parametrize(
    ("topology", "engine"),
    [
        pytest.param(*each, marks=pytest.mark.variants if each in VARIANTS else ())
        for each in product(("seed", "seed-v6"), Engine)
    ],
)
def test_crossing_comes_back_after_a_reboot(
    lab_up: Callable[..., Lab], topology: str, engine: Engine
) -> None:
    b = Bench(lab_up(topology))
    target, to = ("10.0.44.1", "10.0.44.0/24") if topology == "seed" else ("fd00:44::1", "'fd00:44::/64'")
    if engine is Engine.IPTABLES_LEGACY:
        # `iptables` stands for the variant here: which one it is, is the host's choice of alternatives.
        for plain in ("iptables", "ip6tables"):
            b.check("gateway", f"ln -sf /usr/sbin/{plain}-legacy /etc/alternatives/{plain}")
            b.check("gateway", f"ln -sf /usr/sbin/{plain}-legacy-restore /etc/alternatives/{plain}-restore")
    spec = b.spec(f"to: {to}, firewall: {'iptables' if engine.is_iptables else 'nftables'}")
    before = b.fingerprints()
    applied = b.apply(spec)
    assert {table.engine for _, table in applied.plan.tables} == {engine}

    reboot(b)

    assert b.pings("app", target, wait=4)
    assert b.plan(spec).is_empty
    b.undo(spec)
    assert b.differences(before) == []
    reboot(b)
    assert b.differences(before) == []
    assert not b.pings("app", target)


def test_persist_none_is_gone_after_a_reboot(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    spec = b.spec("to: 10.0.44.0/24, persist: none")
    applied = b.apply(spec)
    assert [impact.code for impact in applied.plan.impacts].count("not-persistent") == 2
    assert b.pings("app", "10.0.44.1")
    reboot(b)
    assert not b.pings("app", "10.0.44.1")
    assert not b.plan(spec).is_empty
    b.apply(spec)
    assert b.pings("app", "10.0.44.1")


def test_a_route_that_is_used_as_it_is_comes_back_too_and_stays_its_owners(
    lab_up: Callable[..., Lab],
) -> None:
    """Nothing but the running host had it; undo takes away what brings it back, and not the route."""
    b = Bench(lab_up("seed"))
    b.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101 dev eth0 proto static mtu 1400")
    before = b.fingerprints()
    spec = b.spec("to: 10.0.44.0/24")
    applied = b.apply(spec)
    assert {item.kind for host in applied.plan.hosts if host.host == "app" for item in host.adopted} == {
        "route"
    }

    reboot(b)

    assert b.check("app", "ip route show 10.0.44.0/24").split() == (
        ["10.0.44.0/24", "via", "10.0.43.101", "dev", "eth0", "proto", "static", "mtu", "1400"]
    )
    assert b.pings("app", "10.0.44.1", wait=4)
    assert b.plan(spec).is_empty
    b.undo(spec)
    assert b.differences(before) == []
    reboot(b)
    assert b.check("app", "ip route show 10.0.44.0/24") == ""
