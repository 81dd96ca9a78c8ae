"""A crossing beside programs that no lab has, by their rules: loaded, and changed as they do it at a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossnet.lab.build import Lab
from crossnet.show.text import plan_text
from lab.coexistence import Outsiders, Row, crosses, rules, serve, topology
from lab.crossing import Bench

pytestmark = pytest.mark.lab

LabUp = Callable[..., Lab]

RULESETS = Path(__file__).with_name("rulesets")
TO = "to: [10.0.44.0/24, 'fd00:44::/64'], fence: on"
FORWARDS = "sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"


def load(name: str, tool: str) -> str:
    return f"{tool} <<'END'\n{(RULESETS / name).read_text(encoding='utf-8')}END"


def bridge(name: str, address: str) -> str:
    return f"ip link add {name} type bridge && ip address add {address} dev {name} && ip link set {name} up"


def first_again(*jumps: str, table: str = "filter") -> str:
    """Each of these jumps is deleted and inserted at the top of its chain."""
    return "\n".join(f"iptables -t {table} -D {jump} && iptables -t {table} -I {jump}" for jump in jumps)


ROWS = (
    Row(
        "kubernetes",
        (FORWARDS, load("kubernetes.save", "iptables-restore")),
        keeps=(
            # kube-proxy syncs its own chains; calico's felix wants its jump first and brings it back there.
            load("kube-proxy-sync.save", "iptables-restore --noflush"),
            first_again("FORWARD -m comment --comment cali:wUHhoiAYhphO9Mso -j cali-FORWARD"),
        ),
    ),
    Row(
        "libvirt",
        (FORWARDS, bridge("virbr0", "192.168.122.1/24"), load("libvirt.save", "iptables-restore")),
        keeps=(
            first_again(
                *(f"FORWARD -j LIBVIRT_{chain}" for chain in ("FWO", "FWI", "FWX")),
                "INPUT -j LIBVIRT_INP",
                "OUTPUT -j LIBVIRT_OUT",
            ),
            first_again("POSTROUTING -j LIBVIRT_PRT", table="nat"),
        ),
    ),
    Row(
        "tailscale",
        (
            FORWARDS,
            "ip tuntap add tailscale0 mode tun && ip address add 100.101.102.103/32 dev tailscale0 && "
            "ip link set tailscale0 up && ip rule add priority 5270 lookup 52 && "
            "ip route add 100.64.0.9/32 dev tailscale0 table 52",
            load("tailscale.save", "iptables-restore"),
        ),
        keeps=(
            first_again("FORWARD -j ts-forward"),
            first_again("POSTROUTING -j ts-postrouting", table="nat"),
        ),
    ),
    Row(
        "docker",
        (FORWARDS, bridge("docker0", "172.17.0.1/16"), load("docker-bridges.nft", "nft -f -")),
        keeps=("nft delete table ip docker-bridges", load("docker-bridges.nft", "nft -f -")),
        names_itself=False,
    ),
    Row(
        "wireguard",
        (
            FORWARDS,
            "ip tuntap add wg0 mode tun && ip address add 10.66.0.1/24 dev wg0 && ip link set wg0 up",
            load("wg-quick.nft", "nft -f -"),
            "iptables -A FORWARD -i wg0 -j ACCEPT && iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE",
        ),
        keeps=(
            "nft delete table ip wg-quick-wg0 && iptables -D FORWARD -i wg0 -j ACCEPT && "
            "iptables -t nat -D POSTROUTING -o eth0 -j MASQUERADE",
            load("wg-quick.nft", "nft -f -"),
            "iptables -A FORWARD -i wg0 -j ACCEPT && iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE",
        ),
        names_itself=False,
    ),
)


def rows(first: int) -> list[Any]:
    """Every one of them, every second of them in scripts/variants."""
    often = ROWS[first::2]
    return [
        pytest.param(row, id=row.name, marks=() if row in often else pytest.mark.variants) for row in ROWS
    ]


def beside(lab: Lab) -> tuple[Bench, Outsiders]:
    b = Bench(lab)
    serve(b)
    outsiders = Outsiders(b)
    outsiders.watched()
    return b, outsiders


@pytest.mark.parametrize("row", rows(0))
def test_a_crossing_beside_what_was_there_first(lab_up: LabUp, row: Row) -> None:
    b, outsiders = beside(lab_up(topology()))
    for command in row.start:
        b.check("gateway", command)
    before = rules(b)
    spec = b.spec(TO)
    plan = b.plan(spec)
    if row.names_itself:
        assert f"beside {row.name}" in plan_text(plan)
    b.apply(spec)
    with outsiders.sending():
        assert crosses(b)
        for command in row.keeps:
            b.check("gateway", command)
            assert crosses(b), f"TCP passes after `{command}`"
        assert b.plan(spec).is_empty
    b.undo(spec)
    # The programs themselves put theirs in another order.
    assert sorted(rules(b)) == sorted(before)


@pytest.mark.parametrize("row", rows(1))
def test_a_crossing_that_was_there_before(lab_up: LabUp, row: Row) -> None:
    b, outsiders = beside(lab_up(topology()))
    spec = b.spec(TO)
    b.apply(spec)
    with outsiders.sending():
        for command in (*row.start, *row.keeps):
            b.check("gateway", command)
            assert crosses(b), f"TCP passes after `{command}`"
        b.apply(spec)
        assert crosses(b)
    b.undo(spec)
    assert not any("crossnet" in line.casefold() for line in rules(b))
