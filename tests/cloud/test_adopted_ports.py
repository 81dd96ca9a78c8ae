"""The commands that are shown for a cloud, typed as they stand there."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from cloud.fixtures import CHANGES, Seed
from crossnet.adoption.ports import ports_of_clients, ports_of_gateway
from crossnet.adoption.way import Way
from crossnet.errors import PlanRefused
from crossnet.facts import Facts
from crossnet.lab.neutron import install
from crossnet.openstack.reading import subnet_of
from crossnet.planning import make_plan
from crossnet.spec import SnatTo
from crossnet.specfile import parse
from crossnet.values import address, network
from design.test_host_routes import BY_LEASE, SUBNET
from design.test_port_security import cloud, hosts, spec

pytestmark = [pytest.mark.openstack, CHANGES]

WAY = Way(
    clients=("A",),
    sources=(address("10.0.43.15"),),
    gateway="B",
    next_hop=address("10.0.43.101"),
    ingress="eth1",
    egress="eth0",
    to=(network("10.0.44.0/24"),),
    allow=None,
    translate=SnatTo(),
    rules=(),
)


def typed(seed: Seed, commands: Iterable[str]) -> None:
    for command in commands:
        name, *words = shlex.split(command)
        said = subprocess.run(
            [install.program(name), *words],
            env={**os.environ, "OS_CLIENT_CONFIG_FILE": str(seed.served.clouds)},
            capture_output=True,
            text=True,
        )
        assert said.returncode == 0, f"{command}: {said.stderr}"


def commands(seed: Seed, asking: Callable[..., Any]) -> list[str]:
    said = asking("member", lambda one: one.look(seed.hosts()))
    facts: dict[str, Facts] = {name: replace(each, cloud=said[name]) for name, each in seed.hosts().items()}
    found = [*ports_of_gateway(facts["B"], [WAY]), *ports_of_clients([WAY], facts)]
    return [command for each in found for fix in each.fix for command in fix.commands]


def test_what_narrows_ports(seed: Seed, asking: Callable[..., Any]) -> None:
    needed = {"ip_address": "10.0.44.0/24"}
    wide = [
        {"ip_address": "0.0.0.0/0"},
        {"ip_address": "10.0.43.200", "mac_address": "00:00:5e:00:01:2a"},  # of VRRP
        {"ip_address": "10.1.2.3/8"},
        {"ip_address": "fd00::7/128"},
    ]
    (group,) = seed.port("A").groups
    seed.change("B-eth1", allowed_address_pairs=[needed, *wide])
    for name in ("A", "B-eth0"):
        seed.change(name, port_security_enabled=False, security_groups=[])
    typed(seed, (each.replace("GROUP", group) for each in commands(seed, asking)))
    assert [str(each.network) for each in seed.port("B-eth1").pairs] == ["10.0.44.0/24"]
    assert [str(each.network) for each in seed.port("B-eth0").pairs] == ["10.0.43.15/32"]
    assert [(seed.port(name).secured, seed.port(name).groups) for name in ("A", "B-eth0")] == [
        (True, (group,))
    ] * 2
    assert commands(seed, asking) == []


def test_what_takes_a_rival_way_from_a_subnet(seed: Seed) -> None:
    _, subnet = seed.networks["business"]
    rival = {"destination": "10.0.44.128/25", "nexthop": "10.0.43.9"}
    seed.ask("PUT", f"/subnets/{subnet}", {"subnet": {"host_routes": [rival]}})
    there = subnet_of(seed.ask("GET", f"/subnets/{subnet}")["subnet"])
    now = cloud(cloud="member", subnets=(replace(SUBNET, id=subnet, routes=there.routes),))
    with pytest.raises(PlanRefused) as caught:
        make_plan(parse(spec(BY_LEASE).source.replace("prod", "member"), "crossnet.yaml"), hosts(now))
    (refusal,) = caught.value.refusals
    typed(seed, [refusal.todo.split("`")[1]])
    assert seed.ask("GET", f"/subnets/{subnet}")["subnet"]["host_routes"] == []
