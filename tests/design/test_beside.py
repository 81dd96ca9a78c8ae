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
from crossnet.record import read_record
from design.factsheet import host_facts

DOCKER = "*filter\n:FORWARD {} [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n"


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
