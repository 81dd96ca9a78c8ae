"""A crossing beside the firewalls that gateways have, as real programs on a real systemd: TCP, reloads, outsiders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

import crossnet
from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.show.text import plan_text, status_text
from lab.coexistence import PORT, Outsiders, Row, crosses, rules, serve, topology
from lab.crossing import Bench
from lab.firewalls import NETFILTER_PERSISTENT, SHOREWALL, UFW, Firewall

pytestmark = pytest.mark.machine

LabUp = Callable[..., Lab]
Eventually = Callable[..., None]

TO = "to: [10.0.44.0/24, 'fd00:44::/64']"
# What EL's iptables-services has as it is installed; ICMP errors and what is established pass before the reject.
FINAL_REJECT = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -j REJECT --reject-with {reject}
COMMIT
"""
DOCKER = Firewall("docker", ("docker.io",), {"/etc/docker/daemon.json": '{"storage-driver": "vfs"}\n'})
KILLED = """
kill -KILL "$(systemctl show --value -p MainPID docker)"
while systemctl --quiet is-active docker; do sleep 0.05; done
systemctl reset-failed docker; systemctl start docker
"""
# Whatever crossnet has written into others' files and folders.
FILES = "grep -rl crossnet /etc /usr/share/netfilter-persistent 2>/dev/null || :"
UFW_DENIES = replace(UFW, commands=("ufw default deny routed", "ufw allow 22/tcp"))
REJECTS = replace(
    NETFILTER_PERSISTENT,
    files={
        "/etc/iptables/rules.v4": FINAL_REJECT.format(reject="icmp-host-prohibited"),
        "/etc/iptables/rules.v6": FINAL_REJECT.format(reject="icmp6-adm-prohibited"),
    },
)
SHOREWALL_REJECTS = replace(
    SHOREWALL,
    files={**SHOREWALL.files, "/etc/shorewall/policy": "fw all ACCEPT\nall fw ACCEPT\nall all REJECT\n"},
)

ROWS = (
    Row(
        "docker",
        ("systemctl start docker",),
        DOCKER,
        keeps=(
            "systemctl restart docker",
            "systemctl reload docker",
            KILLED,
            "docker network create -o com.docker.network.bridge.enable_icc=false apart",
            "docker network rm apart",
            "systemctl stop docker docker.socket; systemctl start docker",
        ),
    ),
    Row(
        "ufw",
        ("ufw --force enable", "systemctl restart ufw"),
        UFW_DENIES,
        keeps=(
            "ufw reload",
            "ufw allow 443/tcp",
            "ufw delete allow 443/tcp",
            "systemctl restart ufw",
            "ufw disable",
            "ufw --force enable",
        ),
    ),
    Row(
        "netfilter-persistent",
        ("systemctl start netfilter-persistent",),
        REJECTS,
        keeps=("systemctl restart netfilter-persistent", "netfilter-persistent reload"),
        flushes=("iptables-restore </etc/iptables/rules.v4; ip6tables-restore </etc/iptables/rules.v6",),
    ),
    Row(
        "shorewall",
        ("systemctl start shorewall",),
        SHOREWALL_REJECTS,
        keeps=(
            "systemctl restart shorewall",
            "systemctl reload shorewall",
            "shorewall reload",
            "shorewall restart",
            "shorewall stop; shorewall start",
        ),
    ),
    Row(
        "a stock DROP",
        ("iptables -P FORWARD DROP", "ip6tables -P FORWARD DROP"),
        names_itself=False,
    ),
)
every_row = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])


def beside(lab: Lab, row: Row) -> tuple[Bench, Outsiders]:
    b = Bench(lab)
    row.install(b)
    serve(b)
    outsiders = Outsiders(b)
    outsiders.watched()
    return b, outsiders


@every_row
def test_a_crossing_beside_what_was_there_first(machines_up: LabUp, eventually: Eventually, row: Row) -> None:
    b, outsiders = beside(machines_up(topology()), row)
    for command in row.start:
        b.check("gateway", command)
    before = rules(b)
    spec = b.spec(TO)
    with outsiders.sending():
        if row.names_itself:
            assert f"beside {row.name}" in plan_text(b.plan(spec))
        b.apply(spec)
        assert crosses(b)
        b.undo(spec)
        assert rules(b) == before
        b.apply(spec)
        for command in row.keeps:
            b.check("gateway", command)
            eventually(lambda: crosses(b), f"TCP passes after `{command}`")
        assert b.plan(spec).is_empty
        for command in row.flushes:
            b.check("gateway", command)
            assert not crosses(b), f"nothing passes after `{command}`"
            b.apply(spec)
            assert crosses(b), f"TCP passes when `{command}` was healed"
        b.undo(spec)
    # docker itself puts its own in another order when it starts again.
    assert sorted(rules(b)) == sorted(before)
    assert b.check("gateway", FILES) == ""


@every_row
def test_a_crossing_that_was_there_before(machines_up: LabUp, eventually: Eventually, row: Row) -> None:
    b, outsiders = beside(machines_up(topology()), row)
    spec = b.spec(TO)
    with outsiders.sending():
        b.apply(spec)
        assert crosses(b)
        for command in row.start:
            b.check("gateway", command)
        if not b.plan(spec).is_empty:
            b.apply(spec)
        eventually(lambda: crosses(b), "TCP passes beside what came later")
        for command in row.keeps:
            b.check("gateway", command)
            eventually(lambda: crosses(b), f"TCP passes after `{command}`")
    # docker sets no policy where it finds forwarding on; undo leaves it on, and says so.
    b.undo(spec)
    assert not any("crossnet" in line.casefold() for line in rules(b))


@pytest.mark.parametrize("row", [row for row in ROWS if row.firewall], ids=lambda row: row.name)
def test_a_crossing_and_what_was_there_first_after_a_power_cut(
    machines_up: LabUp, eventually: Eventually, row: Row
) -> None:
    b, outsiders = beside(machines_up(topology()), row)
    for command in (*row.start, f"systemctl enable {row.unit}"):
        b.check("gateway", command)
    spec = b.spec(TO)
    b.apply(spec)
    asyncio.run(build.reboot(b.lab, "gateway"))
    eventually(lambda: crosses(b), "TCP passes again")
    with outsiders.sending():
        assert crosses(b)
    eventually(lambda: b.plan(spec).is_empty, "all of it is there again")
    b.undo(spec)
    assert b.check("gateway", FILES) == ""


def test_docker_that_kept_others_out_and_does_not_start_leaves_a_fence_behind(
    machines_up: LabUp, eventually: Eventually
) -> None:
    """Without a fence the next apply would let everybody through, whom its policy had kept out."""
    row = next(row for row in ROWS if row.name == "docker")
    b, outsiders = beside(machines_up(topology()), row)
    for command in (*row.start, f"systemctl enable {row.unit}"):
        b.check("gateway", command)
    spec = b.spec("to: 10.0.44.0/24")
    b.apply(spec)
    assert "live and persistent (docker, whenever it starts)" in status_text(
        asyncio.run(crossnet.status(spec)), verbose=True
    )
    b.check("gateway", "systemctl disable docker docker.socket")
    asyncio.run(build.reboot(b.lab, "gateway"))
    assert b.check("gateway", "sysctl -n net.ipv4.ip_forward") == "0\n"
    with outsiders.sending():
        (found,) = asyncio.run(crossnet.status(spec))
        assert any("net.ipv4.ip_forward was left to" in each for each in found.reasons)
        assert not any("systemd-sysctl" in each for each in found.reasons)
        made = b.plan(spec)
        assert "forwarding-given-up" in {impact.code for impact in made.impacts}
        b.apply(spec)
        eventually(lambda: b.connects("app", "10.0.44.1", PORT), "TCP passes again")
        assert b.plan(spec).is_empty
        asyncio.run(build.reboot(b.lab, "gateway"))
        eventually(lambda: b.connects("app", "10.0.44.1", PORT), "TCP passes after one more boot")
        assert b.plan(spec).is_empty
        b.undo(spec)
        assert b.check("gateway", "sysctl -n net.ipv4.ip_forward") == "0\n"


def test_what_a_hand_flushed_comes_back_by_itself(machines_up: LabUp, eventually: Eventually) -> None:
    """The accept is gone for two seconds, the fence at no time."""
    row = next(row for row in ROWS if row.flushes)
    b, outsiders = beside(machines_up(topology()), row)
    for command in row.start:
        b.check("gateway", command)
    spec = b.spec(f"{TO}, heal: auto")
    b.apply(spec)
    with outsiders.sending():
        for command in row.flushes:
            b.check("gateway", command)
            assert not crosses(b)
            eventually(lambda: crosses(b), f"TCP passes again after `{command}`")
        assert b.plan(spec).is_empty
    b.undo(spec)
