"""Machines whose interface ifup or NetworkManager keeps: a crossing comes back with them, and goes without a trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from crossnet.lab.build import Lab
from crossnet.verdict import Result
from lab.crossing import Bench
from lab.firewalls import archive
from lab.smoke import SMOKE
from lab.test_machine import restart

pytestmark = pytest.mark.machine

LabUp = Callable[..., Lab]
Eventually = Callable[..., None]

_INTERFACES = """\
auto lo eth0
iface lo inet loopback
iface eth0 inet static
    address 10.0.43.15/24
    gateway 10.0.43.1
"""
_PROFILE = """\
[connection]
id=wired
uuid=11111111-2222-3333-4444-555555555555
type=ethernet
interface-name=eth0
[ipv4]
method=manual
address1=10.0.43.15/24,10.0.43.1
route1=10.77.0.0/16,10.0.43.9
"""


@dataclass(frozen=True, slots=True)
class Program:
    """What keeps the interface: its packages, where it reads of it, its unit, how it is taken down and up; what shows
    that it keeps the crossing's route, and what it has of others."""

    packages: tuple[str, ...]
    path: str
    text: str
    unit: str
    again: str
    evidence: str
    theirs: str


IFUPDOWN = Program(
    ("ifupdown",),
    "/etc/network/interfaces",
    _INTERFACES,
    "networking",
    "ifdown eth0; ifup eth0",
    "test -x /etc/network/if-up.d/crossnet",
    "ls /etc/network/if-up.d",
)
NETWORKMANAGER = Program(
    ("network-manager",),
    "/etc/NetworkManager/system-connections/wired.nmconnection",
    _PROFILE,
    "NetworkManager",
    "nmcli connection up wired",
    "nmcli -g ipv4.routes connection show wired | grep -F '10.0.44.0/24 10.0.43.101 0'",
    "nmcli -g ipv4.routes,ipv4.addresses,ipv4.gateway,ipv6.method connection show wired",
)


def with_program(b: Bench, program: Program, eventually: Eventually) -> None:
    """`app` has its interface from it from now on."""
    b.check("app", "tar -xf - -C /", stdin=archive(program.packages).read_bytes())
    b.check("app", f"cat >{program.path} && chmod 600 {program.path}", stdin=program.text.encode())
    b.check("app", "rm /etc/systemd/network/10-eth0.network")
    b.check("app", f"systemctl daemon-reload && systemctl enable {program.unit}")
    b.check("app", "systemctl disable systemd-networkd systemd-networkd-wait-online")
    restart(b, eventually)


@pytest.mark.parametrize(
    ("program", "engine"),
    [
        pytest.param(IFUPDOWN, "nftables", marks=SMOKE),
        (IFUPDOWN, "iptables"),
        (NETWORKMANAGER, "nftables"),
        pytest.param(NETWORKMANAGER, "iptables", marks=SMOKE),
    ],
    ids=lambda value: value.unit if isinstance(value, Program) else value,
)
def test_a_crossing_comes_back_with_who_keeps_the_interface(
    machines_up: LabUp, eventually: Eventually, program: Program, engine: str
) -> None:
    b = Bench(machines_up("seed"))
    with_program(b, program, eventually)
    before, theirs = b.fingerprints(), b.check("app", program.theirs)
    spec = b.spec(f"to: 10.0.44.0/24, firewall: {engine}")
    b.apply(spec)
    b.check("app", program.evidence)
    assert not b.run("app", "systemctl cat crossnet.service").ok

    restart(b, eventually)
    eventually(lambda: b.pings("app", "10.0.44.1"), "the crossing works by itself")
    assert b.verify(spec).result is Result.REACHABLE
    assert b.plan(spec).is_empty
    for again in (program.again, f"systemctl restart {program.unit}"):
        b.check("app", again)
        eventually(lambda: b.pings("app", "10.0.44.1"), f"the crossing works after: {again}")
        assert b.verify(spec).result is Result.REACHABLE
        assert b.plan(spec).is_empty

    b.undo(spec)
    restart(b, eventually)
    # NetworkManager writes the profile anew, and what it has seen.
    assert [line for line in b.differences(before) if "NetworkManager" not in line] == []
    assert b.run("app", program.theirs).text == theirs
