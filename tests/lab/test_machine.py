"""A lab of machines: Debians that boot their own systemd, and what a crossing is worth on them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_interface
from pathlib import Path

import pytest

import crossnet
from crossnet.errors import HostError, LabError
from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.lab.depth import Depth
from crossnet.lab.topology import Host, Interface, Network, Topology
from crossnet.transport import Completed, lines
from crossnet.transport.lab import LabHost
from crossnet.verdict import Result
from lab.crossing import Bench
from lab.smoke import SMOKE

pytestmark = pytest.mark.machine

LabUp = Callable[..., Lab]
RunOn = Callable[..., Completed]
Eventually = Callable[..., None]

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
TO = "to: 10.0.44.0/24"
DROP_IN = "/etc/systemd/network/10-eth0.network.d/90-crossnet.conf"
UNITS = "systemctl is-active crossnet-rules.service crossnet.service"


def groups(lab: str) -> list[Path]:
    """Control groups that a lab made on this machine."""
    mounted = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    tops = [Path(fields[1]) / f"crossnet-lab-{lab}" for fields in mounted if fields[2] == "cgroup2"]
    return [top for top in tops if top.exists()]


def restart(b: Bench, eventually: Eventually) -> None:
    """`systemctl reboot` on all managed hosts; back when they have booted."""
    before = {host: b.check(host, BOOT_ID) for host in b.managed}
    for host in b.managed:
        b.run(host, "systemctl reboot")  # its own answer may be lost with the host

    def has_booted(host: str) -> bool:
        try:
            return b.check(host, BOOT_ID) != before[host]
        except HostError:
            return False  # it is down

    for host in b.managed:
        eventually(lambda host=host: has_booted(host), f"{host} has booted again")


def pull_the_plug(b: Bench, eventually: Eventually) -> None:
    b.power_cut()


@pytest.mark.parametrize(
    ("reboot", "firewall"),
    [
        pytest.param(restart, "nftables", marks=SMOKE),
        (restart, "iptables"),
        (pull_the_plug, "nftables"),
        (pull_the_plug, "iptables"),
    ],
)
def test_a_crossing_comes_back_with_systemd(
    machines_up: LabUp,
    eventually: Eventually,
    firewall: str,
    reboot: Callable[[Bench, Eventually], None],
) -> None:
    b = Bench(machines_up("seed"))
    spec = b.spec(f"{TO}, firewall: {firewall}")
    rules = "nft list table ip crossnet" if firewall == "nftables" else "iptables-save | grep CROSSNET"
    before = b.fingerprints()
    b.apply(spec)

    reboot(b, eventually)

    assert b.check("gateway", UNITS) == "active\nactive\n"
    # The lab's machines have their interfaces from systemd-networkd, which keeps the route.
    assert "Destination=10.0.44.0/24" in b.check("app", f"cat {DROP_IN}")
    assert not b.run("app", "systemctl cat crossnet.service").ok
    assert b.check("gateway", "systemctl is-system-running") == "running\n"
    assert "10.0.44.63" in b.check("gateway", rules)
    assert b.check("gateway", "sysctl -n net.ipv4.ip_forward") == "1\n"
    assert "via 10.0.43.101 dev eth0" in b.check("app", "ip route show 10.0.44.0/24")
    assert b.pings("app", "10.0.44.1", wait=4)
    assert b.verify(spec).result is Result.REACHABLE
    assert b.plan(spec).is_empty
    b.check("app", "ip link set eth0 down")
    # networkd 252 fails on any route where the interface is up again before it has noticed.
    eventually(lambda: " off " in b.check("app", "networkctl --no-legend list eth0"), "networkd notices")
    b.check("app", "ip link set eth0 up")
    eventually(lambda: b.pings("app", "10.0.44.1"), "the route comes back with its interface")
    assert b.plan(spec).is_empty
    for host in b.managed:
        b.check(host, "systemctl restart systemd-networkd")
    eventually(lambda: b.pings("app", "10.0.44.1"), "the crossing works after a restart of the network")
    assert b.verify(spec).result is Result.REACHABLE
    assert b.plan(spec).is_empty

    b.undo(spec)
    reboot(b, eventually)

    assert not b.run("gateway", rules).ok
    assert b.check("gateway", "sysctl -n net.ipv4.ip_forward") == "0\n"
    assert b.check("app", "ip route show 10.0.44.0/24") == ""
    for host in b.managed:
        assert b.run(host, "systemctl list-unit-files --no-legend 'crossnet*'").text == ""
        assert b.check(host, "find /etc -name '*crossnet*'") == ""
    assert not b.pings("app", "10.0.44.1")
    assert b.differences(before) == []


def test_rules_are_there_before_the_network_and_nobody_waits_for_all_of_it(
    machines_up: LabUp, eventually: Eventually
) -> None:
    """An interface without carrier keeps network-online.target away for two minutes."""
    b = Bench(machines_up("seed"))
    b.apply(b.spec(TO))
    # Somebody who wants it, which crossnet does not.
    wants = (
        "[Unit]\nWants=network-online.target\nAfter=network-online.target\n[Service]\nExecStart=/bin/true\n"
    )
    b.check("gateway", "cat >/etc/systemd/system/site.service", stdin=wants.encode())
    b.check("gateway", "systemctl add-wants multi-user.target site.service")
    waits = "ExecStartPre=/bin/sh -c 'until [ -e /run/opened ]; do sleep 0.1; done'"
    for unit, line in (
        ("systemd-networkd-wait-online", waits),
        ("crossnet", "ExecStartPost=touch /run/opened"),
    ):
        folder = f"/etc/systemd/system/{unit}.service.d"
        b.check(
            "gateway", f"mkdir {folder} && cat >{folder}/more.conf", stdin=f"[Service]\n{line}\n".encode()
        )
    b.check("gateway", "systemctl enable nftables")  # which closes the gateway, and flushes
    asyncio.run(build.reboot(b.lab, "gateway"))

    eventually(lambda: b.run("gateway", "systemctl is-active network-online.target").ok, "the boot goes on")

    def moment(unit: str, event: str) -> int:
        return int(b.check("gateway", f"systemctl show --value -p {event}TimestampMonotonic {unit}"))

    # Zero is the moment of what did not happen in this boot.
    rules, done = (moment(f"{unit}.service", "ActiveEnter") for unit in ("crossnet-rules", "crossnet"))
    assert 0 < rules <= moment("systemd-networkd.service", "InactiveExit")
    assert (
        0 < moment("network.target", "ActiveEnter") <= done <= moment("network-online.target", "ActiveEnter")
    )
    assert b.pings("app", "10.0.44.1", wait=4)


# A program of a site's own, which systemd knows nothing of.
_LATE = """\
[Unit]
After=network-online.target
[Service]
ExecStartPre=/bin/sh -c 'ip address flush dev eth0; touch /run/flushed'
ExecStart=/bin/sh -c 'sleep 4; ip address add 10.0.43.15/24 dev eth0; sleep 600'
[Install]
WantedBy=multi-user.target
"""


def test_a_route_waits_for_an_address_that_comes_late(machines_up: LabUp, eventually: Eventually) -> None:
    b = Bench(machines_up("seed"))
    spec = b.spec(f"{TO}, persist: unit")
    b.apply(spec)
    b.check("app", "cat >/etc/systemd/system/late.service", stdin=_LATE.encode())
    before = "/etc/systemd/system/crossnet.service.d"
    waits = "[Service]\nExecStartPre=/bin/sh -c 'until [ -e /run/flushed ]; do sleep 0.1; done'\n"
    b.check("app", f"mkdir {before} && cat >{before}/late.conf", stdin=waits.encode())
    b.check("app", "systemctl -q enable late")
    asyncio.run(build.reboot(b.lab, "app"))
    eventually(lambda: b.pings("app", "10.0.44.1"), "the route is set")
    eventually(lambda: b.run("app", "systemctl is-active crossnet").ok, "its unit is done")

    # Where it never comes; the waits are left out.
    b.check("app", "sed -i 's/^for seconds in .*;/for seconds in 0 0;/' /etc/crossnet/start")
    b.check("app", "systemctl stop late; ip address flush dev eth0")
    assert not b.run("app", "systemctl restart crossnet").ok
    (now,) = asyncio.run(crossnet.status(spec))
    assert any("service crossnet.service has failed" in reason for reason in now.reasons)


def test_a_timer_fires_and_is_gone_after_a_power_cut(
    machines_up: LabUp, run_on: RunOn, eventually: Eventually
) -> None:
    lab = machines_up("seed")
    timer = "systemd-run --timer-property=AccuracySec=1s --on-active="
    run_on(lab, "app", f"{timer}2 touch /fired").check()
    assert not run_on(lab, "app", "test -e /fired").ok
    eventually(lambda: run_on(lab, "app", "test -e /fired").ok, "the timer fires")

    run_on(lab, "app", f"{timer}1h --unit=later touch /later").check()
    assert run_on(lab, "app", "systemctl is-active later.timer").ok
    asyncio.run(build.reboot(lab, "app"))
    assert not run_on(lab, "app", "systemctl is-active later.timer").ok


def test_a_reboot_is_one(machines_up: LabUp, run_on: RunOn) -> None:
    lab = machines_up("seed")
    first = run_on(lab, "app", BOOT_ID).check().text
    assert run_on(lab, "app", "cat /proc/1/comm").text == "systemd\n"
    run_on(lab, "app", "touch /run/volatile /tmp/volatile /etc/kept /opt/kept; logger before").check()
    run_on(
        lab,
        "app",
        "ip address add 10.9.9.9/24 dev eth0; nft add table ip mine; sleep 1000 > /dev/null 2>&1 &",
    ).check()
    asyncio.run(build.reboot(lab, "app"))
    assert run_on(lab, "app", BOOT_ID).check().text != first
    assert not run_on(lab, "app", "ls /run/volatile || ls /tmp/volatile").ok
    assert run_on(lab, "app", "ls /etc/kept /opt/kept").ok
    assert run_on(lab, "app", "nft list ruleset; pgrep sleep").text == ""
    assert "10.9.9.9" not in run_on(lab, "app", "ip address").text
    assert " before" in run_on(lab, "app", "journalctl -b -1 -t root").check().text


def test_a_machine_changes_nothing_of_this_one(machines_up: LabUp, run_on: RunOn) -> None:
    lab = machines_up("seed")
    settings = ("net/ipv4/ip_forward", "fs/file-max", "fs/protected_symlinks", "kernel/pid_max")
    before = {key: Path("/proc/sys", key).read_text() for key in settings}
    run_on(lab, "app", "sysctl -qw net.ipv4.ip_forward=1 && systemctl restart systemd-sysctl").check()
    assert not run_on(lab, "app", f"echo {before['fs/file-max'].strip()} > /proc/sys/fs/file-max").ok
    assert not run_on(lab, "app", "date -s @$(date +%s.%N)").ok
    run_on(lab, "app", "touch /usr/mine /var/mine /etc/mine").check()
    assert not run_on(lab, "gateway", "ls /usr/mine || ls /var/mine || ls /etc/mine").ok
    assert not any(Path(place, "mine").exists() for place in ("/usr", "/var", "/etc"))
    assert {key: Path("/proc/sys", key).read_text() for key in settings} == before


def test_a_machine_that_is_switched_off_stays_off(
    machines_up: LabUp, run_on: RunOn, eventually: Eventually
) -> None:
    lab = machines_up("seed")
    run_on(lab, "app", "systemctl poweroff")

    def is_off() -> bool:
        try:
            run_on(lab, "app", "true")
        except HostError as error:
            return "not running" in str(error)
        return False

    eventually(is_off, "app takes no commands")
    eventually(lambda: not run_on(lab, "gateway", "ping -c1 -W1 10.0.43.15").ok, "app is off")
    assert is_off()
    asyncio.run(build.reboot(lab, "app"))
    assert run_on(lab, "gateway", "ping -c1 -W2 10.0.43.15").ok


def test_boot_lines_and_settings_of_the_topology(machines_up: LabUp, run_on: RunOn) -> None:
    lab = machines_up(one_host("nc -lk 8080 &", "echo \"100% of $$\" '%H' > /run/said"))
    for _ in range(2):
        assert run_on(lab, "alone", "nc -z 10.1.1.1 8080").ok
        assert re.fullmatch(r"100% of \d+ %H\n", run_on(lab, "alone", "cat /run/said").text)
        assert run_on(lab, "alone", "sysctl -n net.ipv4.tcp_syncookies").text == "0\n"
        asyncio.run(build.reboot(lab, "alone"))


def test_a_boot_line_that_fails_is_told(machines_up: LabUp) -> None:
    with pytest.raises(LabError, match=r"alone did not boot: .*lab-boot\.service"):
        machines_up(one_host("false", "true"))


def test_commands_are_the_machines_own(machines_up: LabUp, run_on: RunOn) -> None:
    lab = machines_up("seed")
    assert run_on(lab, "app", ["nonsense"]).returncode == 127
    assert run_on(lab, "app", "kill -9 $$").returncode == 137
    assert run_on(lab, "app", "cat; pwd; hostname", stdin=b"in\n").text == "in\n/\napp\n"

    async def told_to_end() -> list[bytes]:
        script = "trap 'echo bye; exit' TERM; echo hello; while :; do sleep 0.1; done"
        process = await LabHost("app", lab.socket("app")).start(["sh", "-c", script])
        seen = []
        async for line in lines(process.output()):
            seen.append(line)
            await process.stop()
        return seen

    assert asyncio.run(told_to_end()) == [b"hello\n", b"bye\n"]
    assert build.find(f"{lab.name}/app").lab.depth is Depth.MACHINE


def test_nothing_is_left(machines_up: LabUp) -> None:
    lab = machines_up("seed")
    assert groups(lab.name)
    asyncio.run(build.down(lab.name))
    assert not groups(lab.name)
    assert not lab.folder.exists()
    assert not Path("/run/systemd/nspawn").exists()


def test_a_killed_supervisor_takes_the_machines_with_it(
    machines_up: LabUp, run_on: RunOn, eventually: Eventually
) -> None:
    lab = machines_up("seed")
    network = run_on(lab, "app", "readlink /proc/self/ns/net").text.strip()
    assert processes_in(network)
    os.kill(int((lab.folder / "supervisor.pid").read_text()), signal.SIGKILL)
    eventually(lambda: not processes_in(network), "all processes have ended")
    asyncio.run(build.down(lab.name))
    assert not groups(lab.name)
    assert not lab.folder.exists()


def test_a_lab_ends_with_its_killed_owner(
    machines_possible: None, lab_name: Callable[[], str], eventually: Eventually
) -> None:
    name = lab_name()
    script = (
        "import asyncio, time\n"
        "from crossnet.lab import build\n"
        "from crossnet.lab.depth import Depth\n"
        "from crossnet.lab.topology import load\n"
        f"asyncio.run(build.up(load('seed'), depth=Depth.MACHINE, name={name!r}, lifeline=True))\n"
        "print('up', flush=True)\n"
        "time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        assert name in build.names()
        owner.kill()
    eventually(lambda: name not in build.names() and not groups(name), "the lab is gone")


def test_a_second_topology(machines_up: LabUp, run_on: RunOn) -> None:
    b = Bench(machines_up("seed-v6"))
    b.apply(b.spec("to: 'fd00:44::/64'"))
    pull_the_plug(b, lambda *_: None)
    assert b.pings("app", "fd00:44::1", wait=4)
    assert run_on(b.lab, "gateway", UNITS).ok


def one_host(*boot: str) -> Topology:
    interface = Interface("eth0", "net", (ip_interface("10.1.1.1/24"),))
    host = Host("alone", "bystander", (interface,), (), (("net.ipv4.tcp_syncookies", "0"),), boot)
    return Topology("one", "", (Network("net"),), (host,))


def processes_in(namespace: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "ns" / "net") == namespace:
                    found.append(int(entry.name))
            except OSError:
                continue  # it has just ended
    return found
