"""The seed as people type it in a cloud: port security off on both ports of the gateway."""

from __future__ import annotations

import asyncio
import shlex
import subprocess

import pytest

from crossnet import api
from crossnet.adoption.hosts import hosts_of
from crossnet.api import Adoption
from crossnet.lab.neutron import install
from lab.desk import SUBNETS, Desk, desk
from lab.test_adopt import NARROWS, codes, live, seed_by_hand

__all__ = ["desk"]

pytestmark = [pytest.mark.lab, pytest.mark.openstack, SUBNETS]

OFF = {"port_security_enabled": False, "security_groups": []}


def typed(command: str) -> None:
    """What was shown for the cloud, as an operator runs it."""
    program, *words = shlex.split(command)
    subprocess.run([install.program(program), *words], check=True, timeout=60)


def adopted(desk: Desk) -> Adoption:
    lab = desk.bench.lab.name
    clients, gateways = hosts_of([f"lab:{lab}/app"], [f"lab:{lab}/gateway"], become=False)
    return asyncio.run(api.adopt(clients, gateways, cloud="member", name="seed", file="seed.yaml"))


def test_port_security_off_on_both_ports_is_told_and_left_until_somebody_switches_it_on(desk: Desk) -> None:
    seed_by_hand(desk.bench, "iptables-nft")
    for port in ("B-eth1", "B-eth0"):
        desk.seed.change(port, **OFF)
    before, hosts = desk.state(), desk.bench.fingerprints()
    found = adopted(desk)
    assert desk.state() == before
    assert desk.bench.differences(hosts) == []
    off = {each.text.split(" (")[0]: each.fix for each in found.findings if each.code == "port-security-off"}
    assert set(off) == {"port security of eth1", "port security of eth0"}
    ((eth1,),) = [fix.commands for fix in off["port security of eth1"]]
    ((eth0,),) = [fix.commands for fix in off["port security of eth0"]]
    assert "--allowed-address ip-address=10.0.44.0/24" in eth1
    assert "--allowed-address" not in eth0
    assert found.spec.cloud == "member"
    assert {one.kind for one in live(found)} <= NARROWS

    typed(eth1.replace("GROUP", "default"))
    typed(eth0.replace("GROUP", "default"))
    ports = {name: desk.seed.document(name) for name in ("B-eth1", "B-eth0")}
    assert [one["port_security_enabled"] for one in ports.values()] == [True, True]
    assert [one["ip_address"] for one in ports["B-eth1"]["allowed_address_pairs"]] == ["10.0.44.0/24"]
    again = adopted(desk)
    assert "port-security-off" not in {each.code for each in again.findings}
    assert ("gateway", "pairs-wider") not in codes(again)
    assert {one.kind for one in live(again)} <= {*NARROWS, "port_security"}


def test_pairs_for_everybody_are_told(desk: Desk) -> None:
    seed_by_hand(desk.bench, "iptables-nft")
    desk.seed.change("B-eth1", allowed_address_pairs=[{"ip_address": "0.0.0.0/0"}])
    (wide,) = [each for each in adopted(desk).findings if each.code == "pairs-wider"]
    ((command,),) = [fix.commands for fix in wide.fix]
    typed(command)
    assert desk.seed.document("B-eth1")["allowed_address_pairs"] == []
