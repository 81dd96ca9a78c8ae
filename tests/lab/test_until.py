"""A crossing with `until` is taken back by its hosts themselves, with nobody connected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.netfilter import Engine
from lab.crossing import Bench

pytestmark = pytest.mark.lab

# What a lab host says: its own clock.
_SOON = 12  # seconds: an apply takes a few of them


def soon(seconds: int = _SOON) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def until_is_empty(b: Bench, *hosts: str, within: float = 40) -> None:
    """Wait until nothing waits there any more."""
    deadline = time.monotonic() + within
    while left := [host for host in hosts if b.run(host, "ls /var/lib/crossnet/until").ok]:
        assert time.monotonic() < deadline, f"still waiting: {left}"
        time.sleep(0.3)


@pytest.mark.parametrize("engine", [Engine.NFTABLES, Engine.IPTABLES_NFT])
def test_both_hosts_take_it_back_themselves(lab_up: Callable[..., Lab], engine: Engine) -> None:
    b = Bench(lab_up("seed"))
    before = b.fingerprints()
    firewall = "iptables" if engine.is_iptables else "nftables"
    spec = b.spec(f"to: 10.0.44.0/24, firewall: {firewall}, until: {soon()}")
    applied = b.apply(spec)
    assert not applied.unwritten
    assert b.pings("app", "10.0.44.1")

    until_is_empty(b, "app", "gateway")

    assert not b.pings("app", "10.0.44.1")
    assert b.check("app", "ip route show 10.0.44.0/24") == ""
    assert not b.run("app", "ls /var/lib/crossnet/applied.json").ok
    # Whether others live on forwarding by now only a look from outside tells: so it stays, behind the fence.
    assert b.check("gateway", "cat /proc/sys/net/ipv4/ip_forward").strip() == "1"
    assert "10.0.44" not in b.check("gateway", "nft list ruleset; iptables-save")
    assert "drop" in b.check("gateway", "nft list ruleset; iptables-save").lower()
    history = b.check("gateway", "tail -n 1 /var/lib/crossnet/history").split("\t")
    assert history[2:4] == ["the host itself", f"until {spec.crossings[0].until:%Y-%m-%dT%H:%M:%SZ}"]
    assert history[-2:] == ["confirm", "written\n"]
    plan = b.plan(spec)
    assert "over" in [impact.code for impact in plan.impacts]
    b.apply(spec)
    assert b.differences(before) == []


def reboot(b: Bench) -> None:
    for host in b.managed:
        asyncio.run(build.reboot(b.lab, host))
