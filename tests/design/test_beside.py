"""Forwarding that docker switches on at the boot, and drops by policy then, is left to it: only then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossnet.design.beside import docker_forwards
from crossnet.facts.firewall import Firewall
from crossnet.facts.managers import managers_of
from crossnet.facts.sysctls import BootSetting
from crossnet.netfilter.foreign import Tool
from crossnet.netfilter.xtables_save import parse_save
from crossnet.persistence.settings import SYSCTL_FILE
from crossnet.planning import make_plan
from crossnet.record import read_record
from crossnet.resources import File, RuleTable
from crossnet.specfile import parse
from design.factsheet import SEED, facts_from, host_facts

DOCKER = "*filter\n:FORWARD {} [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n"

SPEC = parse(
    "crossnet: 1\nhosts: {app: {lab: app}, gateway: {lab: gateway}}\n"
    "crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24}}\n",
    "crossnet.yaml",
)


@pytest.mark.parametrize(
    ("save", "file", "left"),
    [
        (DOCKER.format("DROP"), "", True),
        (DOCKER.format("DROP"), SYSCTL_FILE, True),
        (
            DOCKER.format("DROP"),
            "/etc/sysctl.d/50-mine.conf",
            False,
        ),  # dockerd finds it on, whatever crossnet does
        (DOCKER.format("ACCEPT"), "", False),
        (DOCKER.format("DROP").replace("DOCKER-USER", "theirs"), "", False),
    ],
)
def test_forwarding_is_left_to_docker_that_drops(save: str, file: str, left: bool) -> None:
    rules = Firewall(foreign=tuple(parse_save(save, "ip", Tool.IPTABLES_NFT)))
    facts = replace(
        host_facts("gateway", "sysctl net.ipv4.ip_forward 1", firewall=rules),
        managers=managers_of((), (), rules.foreign),
        boot_settings=(BootSetting(file, "net.ipv4.ip_forward", "1"),) if file else (),
    )
    assert (docker_forwards(facts, read_record(facts)) is not None) is left


@pytest.mark.parametrize("value", ["0", "1"])
def test_a_plan_beside_docker_where_forwarding_is_off_has_a_fence_and_brings_both_back(value: str) -> None:
    """After dockerd somebody may switch it off, such as `sysctl -p` with a hardening's file."""
    rules = Firewall(foreign=tuple(parse_save(DOCKER.format("DROP"), "ip", Tool.IPTABLES_NFT)))
    hosts = facts_from(SEED)
    own = replace(hosts["gateway"], firewall=rules, managers=managers_of((), (), rules.foreign))
    hosts["gateway"] = replace(own, sysctls={**own.sysctls, "net.ipv4.ip_forward": value})
    made = make_plan(SPEC, hosts)
    files = [each for each in made.wanted["gateway"] if isinstance(each, File)]
    by_crossnet = any(each.path == SYSCTL_FILE and b"net.ipv4.ip_forward = 1" in each.data for each in files)
    fenced = any(each.holds_fence for each in made.wanted["gateway"] if isinstance(each, RuleTable))
    assert (by_crossnet, fenced) == ((True, True) if value == "0" else (False, False))
