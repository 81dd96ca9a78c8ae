"""What others did is told beside what it took away, by `status` and by the plan; on a real systemd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import crossnet
from crossnet.lab.build import Lab
from crossnet.spec import Spec
from lab.crossing import Bench

pytestmark = pytest.mark.machine

LabUp = Callable[..., Lab]
Eventually = Callable[..., None]


def suspected(spec: Spec) -> list[str]:
    (found,) = asyncio.run(crossnet.status(spec))
    return [line for line in found.reasons if "perhaps that is why" in line or "has seen a change" in line]


def in_plan(b: Bench, spec: Spec) -> list[str]:
    return [one.text for one in b.plan(spec).impacts if one.code == "taken-away"]


def test_who_flushed_is_named_and_nobody_else(machines_up: LabUp, eventually: Eventually) -> None:
    b = Bench(machines_up("seed"))
    b.check("gateway", "systemctl start nftables")
    spec = b.spec(
        "to: 10.0.44.0/24, persist: none"
    )  # with units of crossnet it would not be flushed for long
    b.apply(spec)

    b.check("gateway", "nft flush ruleset")
    assert suspected(spec) == in_plan(b, spec) == []  # somebody by hand
    b.apply(spec)

    for verb, did in (("restart", "restarted"), ("reload", "reloaded")):
        # Times are told in seconds, and a reload within two of them after a start is not told from it.
        b.check("gateway", f"sleep 3; systemctl {verb} nftables")
        (line,) = suspected(spec)
        assert line.startswith(f"gateway: nftables.service was {did} at ")
        assert in_plan(b, spec) == [line.removeprefix("gateway: ")]
        b.apply(spec)
        assert suspected(spec) == []

    b.check("app", "sleep 3; ip link set eth0 down")
    eventually(lambda: " off " in b.check("app", "networkctl --no-legend list eth0"), "networkd notices")
    b.check("app", "ip link set eth0 up")
    eventually(lambda: " routable " in b.check("app", "networkctl --no-legend list eth0"), "and again")
    (line,) = suspected(spec)
    assert line.startswith("app: systemd-networkd has seen a change of eth0 at ")


def test_a_firewall_that_was_stopped_is_named_with_what_opens_the_gateway(
    machines_up: LabUp, eventually: Eventually
) -> None:
    b = Bench(machines_up("seed"))
    b.check("gateway", "systemctl start nftables")
    spec = b.spec("to: 10.0.44.0/24")
    b.apply(spec)
    # Times are told in seconds.
    b.check("gateway", "sleep 3; systemctl stop nftables")
    eventually(lambda: not b.run("gateway", "systemctl is-active crossnet").ok, "the gateway is closed")
    (found,) = asyncio.run(crossnet.status(spec))
    (line,) = (each for each in found.reasons if "nftables.service" in each)
    assert line.startswith("gateway: nftables.service was stopped at ")
    assert "`systemctl start nftables` opens it again" in line
    assert in_plan(b, spec) == [line.removeprefix("gateway: ")]
    b.check("gateway", "systemctl start nftables")
    eventually(lambda: b.plan(spec).is_empty, "all is as it was applied")
    b.check("gateway", "nft flush ruleset")
    assert not b.plan(spec).is_empty
    assert suspected(spec) == []  # crossnet's units had brought the rules back after nftables


def test_a_way_of_the_gateway_that_no_boot_brings_back_is_told_before_and_missed_after(
    machines_up: LabUp,
) -> None:
    b = Bench(machines_up("seed"))
    way = "10.0.99.0/24 via 10.0.44.1 dev eth0"
    b.check("target", "ip address add 10.0.99.1/32 dev lo")
    b.check("gateway", f"ip route add {way}")
    spec = b.spec("to: 10.0.99.0/24, probe: icmp/10.0.99.1")
    b.apply(spec)
    (found,) = asyncio.run(crossnet.status(spec))
    assert found.is_well
    (told,) = (line for line in found.reasons if way in line)
    assert told.startswith("gateway: leans on a route that systemd-networkd, which keeps eth0, has not set")

    b.power_cut()
    (found,) = asyncio.run(crossnet.status(spec))
    assert not found.is_well
    (told,) = (line for line in found.reasons if way in line)
    assert told.startswith(f"gateway: the route {way}, by which packets went")
    assert [one.code for one in b.plan(spec).impacts if way in one.text] == ["way-gone"]
