"""Containers that came to a gateway after crossnet, and rules that somebody saved with crossnet's in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import crossnet
from crossnet import api
from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.netfilter import Engine
from crossnet.show import text
from lab.crossing import Bench

pytestmark = pytest.mark.lab

# What dockerd makes where it finds forwarding on, with one container.
CONTAINERS = """
ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up
ip netns add box && ip link add veth0 type veth peer name eth0 netns box
ip link set veth0 master docker0 up && ip -n box link set eth0 up && ip -n box addr add 172.17.0.2/16 dev eth0
ip -n box route add default via 172.17.0.1
iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
iptables-nft -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
iptables-nft -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
"""
PING = "ip netns exec box ping -n -c 1 -W 2 10.0.44.1"
FORWARDING = "cat /proc/sys/net/ipv4/ip_forward"


@pytest.mark.parametrize("fence", ["on", "off"])
def test_containers_that_came_later_keep_their_network(lab_up: Callable[..., Lab], fence: str) -> None:
    b = Bench(lab_up("seed"))
    spec = b.spec(f"to: 10.0.44.0/24, fence: {fence}")
    b.apply(spec)
    b.check("gateway", CONTAINERS)
    assert b.run("gateway", PING).ok is (fence == "off")
    (status,) = asyncio.run(crossnet.status(spec))
    assert ("docker, interface docker0" in " ".join(status.reasons)) is (fence == "on")

    undone = b.undo(spec)
    assert b.check("gateway", FORWARDING) == "1\n"
    assert b.run("gateway", PING).ok
    shown = text.undone_text(undone)
    assert "Not everything is as it was before crossnet:\n  gateway: net.ipv4.ip_forward stays 1" in shown
    assert "forwards for everybody what comes in by eth0 and eth1" in shown
    assert "`sysctl -w net.ipv4.ip_forward=0` switches it off" in shown
    assert "crossnet" not in b.check("gateway", "nft list tables; ls /etc/sysctl.d")
    # As the plan says, when nobody needs it any more.
    b.check("gateway", "sysctl -q -w net.ipv4.ip_forward=0")
    assert not asyncio.run(api.plan_undo(spec)).plan.touched


def test_a_file_that_switches_forwarding_off_keeps_nothing_open(lab_up: Callable[..., Lab]) -> None:
    """The kernel takes the number of such a line and leaves the words behind it."""
    b = Bench(lab_up("seed"))
    spec = b.spec("to: 10.0.44.0/24")
    b.apply(spec)
    b.check("gateway", "echo 'net.ipv4.ip_forward = 0 # no router' >/etc/sysctl.d/50-hardening.conf")
    (status,) = asyncio.run(crossnet.status(spec))
    assert "hardening" not in " ".join(status.reasons)
    b.undo(spec)
    assert b.check("gateway", FORWARDING) == "0\n"


def test_crossnets_rules_in_a_saved_file_are_named(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    spec = b.spec("to: [10.0.44.1, 10.0.44.7], firewall: iptables")
    applied = b.apply(spec)
    assert applied.plan.engines["gateway"].engine is not Engine.NFTABLES
    b.check("gateway", "mkdir -p /etc/iptables; iptables-save >/etc/iptables/rules.v4")
    told = text.undo_plan_text(asyncio.run(api.plan_undo(spec)))
    assert "somebody has saved crossnet's own rules in /etc/iptables/rules.v4" in " ".join(told.split())
    (status,) = asyncio.run(crossnet.status(spec))
    assert any("/etc/iptables/rules.v4" in reason for reason in status.reasons)

    b.undo(spec)
    refused = b.run("gateway", "iptables-restore </etc/iptables/rules.v4")
    assert not refused.ok  # as the plan says: the sets are gone
    b.check("gateway", "sed -i -e /CROSSNET-/d -e /xnet4-/d /etc/iptables/rules.v4")
    b.check("gateway", "iptables-restore </etc/iptables/rules.v4")
    assert not asyncio.run(api.plan_undo(spec)).plan.impacts


def test_what_the_host_itself_switched_on_at_its_last_boot_stays(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    spec = b.spec("to: 10.0.44.0/24")
    b.apply(spec)
    router = "/etc/sysctl.d/50-router.conf"
    b.check("gateway", f"echo 'net.ipv4.ip_forward = 1' >{router}")
    asyncio.run(build.reboot(b.lab, "gateway"))
    b.check("gateway", f"sysctl -q -p {router}")  # as every boot does
    told = text.undo_plan_text(asyncio.run(api.plan_undo(spec)))
    assert f"{router} switches it on, and without crossnet would have done so" in " ".join(told.split())
    b.undo(spec)
    assert b.check("gateway", FORWARDING) == "1\n"
