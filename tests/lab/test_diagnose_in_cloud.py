"""A diagnosis asks a real Neutron for the ports of hosts, and lays on them what its firewall really drops."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

import crossnet
from crossnet.errors import LabError
from crossnet.lab import build, needs
from crossnet.lab.build import Lab
from crossnet.lab.neutron import install
from crossnet.lab.topology import load
from crossnet.verdict import Confidence, Diagnosis, Half, Place, Result
from lab.crossing import Bench
from lab.neutron import Neutron
from lacking import lacking

pytestmark = [pytest.mark.lab, pytest.mark.openstack]

PAIR = {"allowed_address_pairs": [{"ip_address": "10.0.44.0/24"}]}
NO_GROUP: dict[str, Any] = {"security_groups": []}


@pytest.fixture(scope="module")
def lab(lab_possible: None) -> Iterator[Lab]:
    """The seed in a cloud, with the routes and rules of a crossing that somebody has typed."""
    try:
        needs.check(cloud=True)
        asyncio.run(install.make())
    except LabError as error:
        lacking(str(error))
    up = asyncio.run(build.up(load("seed-port-security"), name=f"t{os.getpid()}-asked", lifeline=True))
    bench = Bench(up)
    bench.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101")
    bench.check("gateway", "sysctl -qw net.ipv4.ip_forward=1")
    bench.check(
        "gateway", "iptables -t nat -A POSTROUTING -s 10.0.43.0/24 -o eth0 -j SNAT --to-source 10.0.44.63"
    )
    yield up
    asyncio.run(build.down(up.name))


def diagnosed(lab: Lab, monkeypatch: pytest.MonkeyPatch, **ports: dict[str, Any]) -> Diagnosis:
    """The verdict while ports are changed so; then they are as they were."""
    assert lab.clouds is not None
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(lab.clouds))
    cloud = Neutron(lab)
    before = cloud.ports()
    names = {name: name.replace("_", "-") for name in ports}
    for name, wanted in ports.items():
        cloud.change(names[name], **wanted)
    asyncio.run(build.on_switch(lab, "management", ["conntrack", "-F"]))
    try:
        spec = Bench(lab).spec("to: 10.0.44.0/24, probe: icmp/10.0.44.1, persist: none")
        return asyncio.run(crossnet.diagnose(crossnet.Asked("business", cloud=lab.name), spec)).verdict
    finally:
        for name, wanted in ports.items():
            cloud.change(names[name], **{key: before[names[name]][key] for key in wanted})


def stopped_at(half: Half) -> tuple[str | None, Place | None]:
    assert half.confidence is Confidence.PROVED
    assert half.at is None or isinstance(half.at, Place)
    return half.code, half.at


def test_the_answer_is_dropped_by_the_gateways_port(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = diagnosed(lab, monkeypatch)
    assert found.result is Result.UNREACHABLE
    assert stopped_at(found.reply) == ("neutron-antispoof-source", Place("gateway", "eth1"))
    assert found.forward.code is None
    assert (found.also, found.notes) == ((), ())


def test_with_a_pair_it_passes_and_nothing_is_said_of_ports(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = diagnosed(lab, monkeypatch, gateway_eth1=PAIR)
    assert (found.result, found.notes) == (Result.REACHABLE, ())


@pytest.mark.parametrize(
    ("port", "place"),
    [
        ("gateway_eth1", Place("gateway", "eth1")),
        pytest.param("gateway_eth0", Place("gateway", "eth0"), marks=pytest.mark.variants),
    ],
)
def test_a_port_without_a_group_lets_no_request_in_or_out(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, port: str, place: Place
) -> None:
    ports = {"gateway_eth1": PAIR, port: {**(PAIR if port == "gateway_eth1" else {}), **NO_GROUP}}
    found = diagnosed(lab, monkeypatch, **ports)
    assert stopped_at(found.forward) == ("neutron-security-group", place)
    assert found.also == ()


def test_a_client_whose_port_lets_nothing_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = diagnosed(lab, monkeypatch, app_eth0=NO_GROUP, gateway_eth1=PAIR)
    assert stopped_at(found.forward) == ("neutron-security-group", Place("app", "eth0"))
    # It is no member of the group any more that the gateway's port admits.
    assert [(each.code, each.at) for each in found.also] == [
        ("neutron-security-group", Place("gateway", "eth1"))
    ]
