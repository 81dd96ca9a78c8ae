"""A gateway whose fence is gone while it forwards is said to be open for everybody, and what closes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

import crossnet
from crossnet.api.diagnosing import Asked
from crossnet.health import CrossingStatus, State
from crossnet.lab.build import Lab
from crossnet.netfilter import Engine
from crossnet.show import json, text
from crossnet.show.diagnosis import diagnosis_text
from crossnet.spec import Spec
from crossnet.values import Family
from lab.crossing import Bench
from lab.engines import WITH_IPTABLES_NFT
from lab.test_fence_in_time import TO, applied, flush

pytestmark = pytest.mark.lab

BOTH = {Family.V4, Family.V6}
OFF = "sysctl -q -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0"


def status(spec: Spec) -> CrossingStatus:
    (found,) = asyncio.run(crossnet.status(spec))
    return found


def damages(engine: Engine) -> dict[str, set[Family]]:
    """What somebody does to the rules, and the families in which the gateway is open then."""
    if engine is Engine.NFTABLES:
        return {
            "nft flush ruleset": BOTH,
            "nft delete table ip crossnet": {Family.V4},
            "nft flush chain ip6 crossnet forward": {Family.V6},
        }
    variant = engine.removeprefix("iptables")
    jump = "FORWARD -m comment --comment crossnet -j CROSSNET-FORWARD"
    return {
        flush(engine): BOTH,
        f"iptables{variant} -D {jump}": {Family.V4},
        f"ip6tables{variant} -F CROSSNET-FORWARD": {Family.V6},
    }


@pytest.mark.parametrize("engine", WITH_IPTABLES_NFT)
def test_a_gateway_without_its_fence_is_open_for_everybody(
    lab_up: Callable[..., Lab], engine: Engine
) -> None:
    b = Bench(lab_up("seed-dual"))
    spec = applied(b, engine)
    assert status(spec).exposures == ()
    variant = engine.removeprefix("iptables")
    if engine.is_iptables:  # what the fence drops too may be dropped before it
        b.check("gateway", f"iptables{variant} -I FORWARD -s 10.0.43.99 -j DROP")
        assert status(spec).state is State.UP
        b.check("gateway", f"iptables{variant} -D FORWARD -s 10.0.43.99 -j DROP")
    some: set[Family] = set()
    before_it: dict[str, set[Family]] = (
        {"nft insert rule ip crossnet forward accept": {Family.V4}}
        if engine is Engine.NFTABLES
        else {
            f"iptables{variant} -I FORWARD -i eth1 -j ACCEPT": {Family.V4},
            f"ip6tables{variant} -I FORWARD -i eth1 -p tcp --dport 22 -j ACCEPT": some,
        }
    )
    for damage, families in {**damages(engine), **before_it}.items():
        b.check("gateway", damage)
        found = status(spec)
        assert found.state is State.DRIFTED
        assert {exposure.family for exposure in found.exposures} == families, damage
        # What is accepted before the fence by an interface leaves the other one fenced.
        by = {"eth1"} if "-i eth1" in damage else {"eth0", "eth1"}
        assert all(set(exposure.interfaces) == by for exposure in found.exposures)
        b.check("gateway", OFF)  # as the message says
        assert status(spec).exposures == ()
        b.apply(spec)
        assert status(spec).state is State.UP


@pytest.mark.parametrize(
    ("engine", "end"),
    [
        (Engine.NFTABLES, "apply"),
        (Engine.IPTABLES_LEGACY, "undo"),
        pytest.param(Engine.NFTABLES, "undo", marks=pytest.mark.variants),
        pytest.param(Engine.IPTABLES_LEGACY, "apply", marks=pytest.mark.variants),
    ],
)
def test_also_where_the_record_is_lost_with_it(lab_up: Callable[..., Lab], engine: Engine, end: str) -> None:
    b = Bench(lab_up("seed-dual"))
    spec = applied(b, engine)
    for damage, families in list(damages(engine).items())[:: 2 if end == "apply" else -1]:
        b.check("gateway", f"{damage}; rm /var/lib/crossnet/applied.json")
        found = status(spec)
        assert found.state is State.UNRECORDED
        assert {exposure.family for exposure in found.exposures} == families, damage
        if end == "undo":
            break
        b.apply(spec)
        assert status(spec).state is State.UP
    if end == "undo":
        b.undo(spec)
        asked = b.check("gateway", "sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding")
        assert asked.split() == ["0", "0"]


def test_it_is_told_to_people_and_to_programs(lab_up: Callable[..., Lab]) -> None:
    """First of all, and by which interface; also where the hosts allow no plan any more."""
    b = Bench(lab_up("seed-dual"))
    spec = applied(b, Engine.NFTABLES)
    b.check("gateway", "sysctl -q -w net.ipv4.conf.eth0.forwarding=0; nft delete table ip crossnet")
    found = status(spec)
    _, first, *_ = text.status_text([found]).splitlines()
    assert first == (
        "  gateway is open for everybody: its fence for IPv4 is gone, and it forwards what comes in by eth1. "
        "`crossnet apply` brings the fence back; `sysctl -w net.ipv4.ip_forward=0` on gateway closes it at once"
    )
    (shown,) = json.status_data((found,))["crossings"]
    assert shown["open_for_everybody"] == [{"gateway": "gateway", "family": 4, "interfaces": ["eth1"]}]
    b.check("gateway", "ip address flush dev eth1")
    refused = status(spec)
    # Until that is mended no apply would bring it back.
    assert refused.exposures == tuple(replace(each, mendable=False) for each in found.exposures)
    assert refused.state is State.DRIFTED


def test_no_alarm_where_no_fence_was_asked_for(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed-dual"))
    b.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    spec = b.spec(f"{TO}, firewall: nftables")
    b.apply(spec)
    b.check("gateway", "nft flush ruleset")
    found = status(spec)
    assert (found.state, found.exposures) == (State.DRIFTED, ())


# ---- what verify and diagnose say of it -----------------------------------------------------------

FORWARD_V4 = "sysctl -q -w net.ipv4.ip_forward"


def advice(b: Bench, spec: Spec) -> list[str]:
    """All that verify and diagnose tell, as a person reads it, of a flow of IPv4."""
    asked = Asked("business", to=ip_address("10.0.44.1"))
    diagnosed = asyncio.run(crossnet.diagnose(asked, spec)).verdict
    verified = b.verify(spec)
    return [text.verification_text(verified), diagnosis_text(diagnosed)]


@pytest.mark.parametrize("engine", [Engine.NFTABLES, Engine.IPTABLES_NFT])
def test_no_advice_opens_a_gateway_whose_fence_is_gone(lab_up: Callable[..., Lab], engine: Engine) -> None:
    """As where healing gave up: it is closed, and by hand it would be opened for everybody."""
    b = Bench(lab_up("seed"))
    spec = b.spec(f"to: 10.0.44.0/24, firewall: {engine.value.partition('-')[0]}")
    b.apply(spec)
    for closed in (f"{FORWARD_V4}=0", "sysctl -q -w net.ipv4.conf.eth1.forwarding=0"):
        b.check("gateway", f"{flush(engine)}; {closed}")
        for told in advice(b, spec):
            assert "fix on gateway" not in told
            assert "with crossnet:  `crossnet apply`" in told
        b.apply(spec)


def test_forwarding_by_hand_is_advised_behind_the_fence_and_else_with_a_word(
    lab_up: Callable[..., Lab],
) -> None:
    b = Bench(lab_up("seed"))
    spec = b.spec("to: 10.0.44.0/24")
    b.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101")
    by_hand = "  fix on gateway:  sysctl -w net.ipv4.ip_forward=1\n"
    _, told = advice(b, spec)
    assert (
        f"{by_hand}                   (then gateway forwards for everybody on all of its networks)\n" in told
    )
    b.apply(spec)
    b.check("gateway", f"{FORWARD_V4}=0")
    for told in advice(b, spec):
        assert by_hand in told
        assert "everybody" not in told


def test_verify_and_diagnose_say_that_it_is_open_too(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.check("target", "ip route add 10.0.43.0/24 via 10.0.44.63")
    spec = b.spec("to: 10.0.44.0/24")
    b.apply(spec)
    b.check("gateway", "nft flush ruleset")
    (exposure,) = status(spec).exposures
    verified, diagnosed = (" ".join(each.split()) for each in advice(b, spec))
    assert verified.startswith(str(exposure))
    assert "the rule of gateway that lets the crossing through, and counts it, is gone" in verified
    assert str(exposure) in diagnosed
    assert json.verification_data(b.verify(spec))["exposed"] == [str(exposure)]
