"""crossnet's own security groups: exactly the rules that are wanted, however often and however far it got before."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cloud.fixtures import GROUP, Seed
from crossnet.lab.neutron import install
from crossnet.openstack.api import Cloud
from crossnet.openstack.ports import AddressPair, GroupRule, SecurityGroup
from crossnet.values import Family, network

pytestmark = [pytest.mark.openstack, GROUP]

Asking = Callable[..., Any]
CLIENT = network("10.0.43.15")
WEB = GroupRule("ingress", Family.V4, "tcp", (443, 443), CLIENT)
PING = GroupRule("ingress", Family.V4, "icmp", None, CLIENT)
PING6 = GroupRule("ingress", Family.V6, "ipv6-icmp", None, network("fd00:43::15"))
ANY = GroupRule("ingress", Family.V4, remote=CLIENT)


def made(seed: Seed, asking: Asking, rules: Sequence[GroupRule]) -> SecurityGroup:
    def make(cloud: Cloud) -> Any:
        return cloud.make_group("crossnet-x", "made by crossnet", seed.project, rules)

    group = asking("member", make)
    said = seed.ask("GET", f"/security-groups/{group.id}")["security_group"]
    assert (said["name"], said["description"]) == ("crossnet-x", "made by crossnet")
    assert len(said["security_group_rules"]) == len(group.rules)
    found: SecurityGroup = group
    return found


def test_a_new_group_has_no_rule_but_those_that_are_wanted(seed: Seed, asking: Asking) -> None:
    """Every new one of the cloud's lets everything out."""
    group = made(seed, asking, [WEB, PING, PING6, ANY, WEB])
    assert set(group.rules) == {WEB, PING, PING6, ANY}
    assert [one.id for one in asking("member", lambda cloud: cloud.groups("crossnet-x", seed.project))] == [
        group.id
    ]


def test_it_is_brought_to_other_rules(seed: Seed, asking: Asking) -> None:
    before = made(seed, asking, [WEB, PING])
    after = made(seed, asking, [PING, ANY])
    assert after.id == before.id
    assert set(after.rules) == {PING, ANY}
    kept = {rule: rule.id for rule in before.rules}
    assert {rule.id for rule in after.rules if rule == PING} == {kept[PING]}
    assert made(seed, asking, []).rules == ()


def test_one_that_was_left_half_made(seed: Seed, asking: Asking) -> None:
    seed.make_group("crossnet-x", description="made by crossnet")
    assert made(seed, asking, [WEB]).rules == (WEB,)


def test_a_group_that_is_not_there(seed: Seed, asking: Asking) -> None:
    assert asking("member", lambda cloud: cloud.groups("crossnet-x", seed.project)) == []
    other = seed.session("stranger").get_project_id()
    seed.make_group("crossnet-x")
    assert asking("lab", lambda cloud: cloud.groups("crossnet-x", other)) == []


def test_an_operator_sees_it_with_the_client_of_the_cloud(seed: Seed, asking: Asking) -> None:
    group = made(seed, asking, [WEB])
    port = seed.port("B-eth1")
    pairs = [AddressPair(network("10.0.44.0/24"), port.mac)]

    def change(cloud: Cloud) -> Any:
        return cloud.change_port(
            port.id, revision=port.revision, groups=[*port.groups, group.id], pairs=pairs
        )

    asking("member", change)
    shown = listed(seed, "port", "show", "B-eth1")
    assert shown["allowed_address_pairs"] == [{"ip_address": "10.0.44.0/24", "mac_address": port.mac}]
    assert set(shown["security_group_ids"]) == {*port.groups, group.id}
    [rule] = listed(seed, "security", "group", "rule", "list", "crossnet-x")
    assert (rule["Direction"], rule["IP Protocol"]) == ("ingress", "tcp")
    assert (rule["IP Range"], rule["Port Range"]) == ("10.0.43.15/32", "443:443")


def listed(seed: Seed, *words: str) -> Any:
    argv = [str(install.program("openstack")), "--os-cloud", "member", *words, "-f", "json"]
    known = {"PATH": "/usr/bin:/bin", "OS_CLIENT_CONFIG_FILE": str(seed.served.clouds)}
    said = subprocess.run(argv, env=known, capture_output=True, text=True, check=True)
    return json.loads(said.stdout)
