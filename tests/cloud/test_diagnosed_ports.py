"""What a real Neutron says of ports, walked; and the commands of a verdict, typed as they stand there."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cloud.fixtures import GROUP, Seed
from crossnet.diagnosis.course import Hints, course
from crossnet.diagnosis.fixes import fix_of
from crossnet.diagnosis.static import foretell
from crossnet.facts import Facts
from crossnet.lab.neutron import install
from crossnet.values import Probe, address, network
from diagnosis.seeded import seed as seed_hosts
from diagnosis.test_walk import passes

pytestmark = [pytest.mark.openstack, GROUP]

Asking = Callable[..., Any]

BEYOND = (network("10.0.44.0/24"),)
PORTS = {("app", "eth0"): "A", ("gateway", "eth1"): "B-eth1", ("gateway", "eth0"): "B-eth0"}


def hosts(seed: Seed) -> dict[str, Facts]:
    """The seed's hosts, which let everything pass, plugged into the ports of this cloud."""
    found = {}
    for name, facts in seed_hosts().items():
        links = [
            replace(link, hardware=seed.port(PORTS[name, link.name]).mac)
            if (name, link.name) in PORTS
            else replace(link, hardware="")
            for link in facts.links
        ]
        found[name] = replace(facts, links=tuple(links))
    return found


def looked_at(seed: Seed, asking: Asking) -> dict[str, Facts]:
    known = hosts(seed)
    said = asking("member", lambda cloud: cloud.look(known))
    return {name: replace(each, cloud=said[name]) for name, each in known.items()}


def measured(seed: Seed, asking: Asking) -> str:
    said = asking("member", lambda cloud: cloud.look(hosts(seed)))
    return passes(said["app"], said["gateway"])


def pair(*networks: str) -> list[dict[str, str]]:
    return [{"ip_address": each} for each in networks]


def test_what_gets_through_in_each_state_of_a_shared_group(seed: Seed, asking: Asking) -> None:
    (group,) = seed.port("B-eth1").groups
    bare: dict[str, Any] = {
        "port_security_enabled": False,
        "security_groups": [],
        "allowed_address_pairs": [],
    }
    back: dict[str, Any] = {
        "port_security_enabled": True,
        "security_groups": [group],
        "allowed_address_pairs": [],
    }
    for port, change, wanted in (
        ("B-eth1", {}, "ok ok - - -"),
        ("B-eth1", bare, "ok ok ok ok -"),
        ("B-eth1", {"port_security_enabled": True}, "- ok - - -"),
        ("B-eth1", back, "ok ok - - -"),
        ("B-eth0", bare, "ok ok - - ok"),
        ("B-eth0", back, "ok ok - - -"),
        ("B-eth1", {"allowed_address_pairs": pair("10.0.44.0/24")}, "ok ok ok ok ok"),
        ("B-eth1", {"allowed_address_pairs": pair("10.0.44.1/32")}, "ok ok ok - ok"),
        ("B-eth1", {"allowed_address_pairs": []}, "ok ok - - -"),
        ("B-eth1", {"admin_state_up": False}, "- ok - - -"),
    ):
        if change:
            seed.change(port, **change)
        assert measured(seed, asking) == wanted, (port, change)


def test_what_gets_through_where_each_port_has_a_group_of_its_own(seed_apart: Seed, asking: Asking) -> None:
    seed = seed_apart
    assert measured(seed, asking) == "- ok - - -"
    seed.change("B-eth1", allowed_address_pairs=pair("10.0.44.0/24"))
    assert measured(seed, asking) == "- ok - - -"
    (own,) = seed.port("B-eth1").groups
    (of_app,) = seed.port("A").groups
    rule = {"security_group_id": own, "direction": "ingress", "remote_group_id": of_app}
    seed.ask("POST", "/security-group-rules", {"security_group_rule": rule})
    assert measured(seed, asking) == "ok ok ok ok -", "who is in the group of the client is seen"


@pytest.mark.parametrize("probe", ["icmp/10.0.44.1", "tcp/10.0.44.1:443"])
def test_the_commands_of_a_verdict_open_what_they_name(seed_apart: Seed, asking: Asking, probe: str) -> None:
    seed, asked = seed_apart, Probe.from_text(probe)
    seed.change("A", admin_state_up=False)
    known = looked_at(seed, asking)
    way = course("app", ("gateway",), address("10.0.44.1"), known, Hints(beyond=BEYOND))
    said = foretell(way, asked, known, BEYOND)
    # No agent binds these ports: all of them are DOWN, which is a doubt.
    sure = [each for each in said.findings if each.certain]
    assert list(dict.fromkeys((each.host, each.interface, each.code) for each in sure)) == [
        ("app", "eth0", "neutron-port-down"),
        ("gateway", "eth1", "neutron-security-group"),
        ("gateway", "eth1", "neutron-antispoof-source"),
    ]
    fixes = [fix for each in sure for fix in fix_of(each, way, asked, known, said.source)]
    commands = dict.fromkeys(command for fix in fixes for command in fix.commands)
    for command in commands:
        name, *words = shlex.split(command)
        subprocess.run(
            [install.program(name), *words],
            env={**os.environ, "OS_CLIENT_CONFIG_FILE": str(seed.served.clouds)},
            check=True,
            capture_output=True,
        )
    after = looked_at(seed, asking)
    found = foretell(way, asked, after, BEYOND)
    assert [each.code for each in found.findings if each.certain] == []
    assert seed.port("B-eth0").pairs == ()
