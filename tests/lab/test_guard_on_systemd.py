"""The guard where systemd runs: its timers are real ones, and a power cut in the middle boots the old state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from crossnet.lab import build
from crossnet.lab.build import Lab
from lab.crossing import Bench
from lab.test_commands import CROSSING, Desk, Held, Site
from lab.test_transaction import no_lock

pytestmark = pytest.mark.machine

Eventually = Callable[..., None]

ROUTE = ("app", "ip", "route", "add")
RULES_FILE = ("gateway", "mv", "-f", "--", "/etc/crossnet/.rules.nft.crossnet", "/etc/crossnet/rules.nft")
SETTINGS_FILE = ("gateway", "rm", "-f", "--", "/etc/sysctl.d/99-zz-crossnet.conf")
# Not those that a crossing has for the next boot.
LASTING = "-e ^crossnet-rules -e ^crossnet-gate@ -e ^crossnet-close@ -e ^crossnet-recover"
UNITS = f"systemctl list-units --all --no-legend --plain 'crossnet-*' | grep -v {LASTING} || true"


@pytest.fixture
def held(tmp_path: Path, machines_up: Callable[..., Lab]) -> Held:
    lab = machines_up("seed")
    desk = Desk(tmp_path, {"CROSSNET_LAB": lab.name})
    desk.write(CROSSING)
    return Held(Site(desk, Bench(lab)))


def left_over(bench: Bench) -> list[str]:
    """Units of a transaction, and processes of its script."""
    found = []
    for host in bench.managed:
        found += [f"{host}: {line}" for line in bench.check(host, UNITS).splitlines()]
        found += [
            f"{host}: {line}"
            for line in bench.run(host, "pgrep -af host-").text.splitlines()
            if "pgrep" not in line
        ]
    return found


def given_up(held: Held, step: tuple[str, ...], *options: str) -> None:
    """Whoever applies is killed in the middle of a step."""
    with held.until(*step, options=options) as process:
        process.kill()
        process.communicate(timeout=60)


def cut_off(held: Held, step: tuple[str, ...], eventually: Eventually, command: str = "apply") -> None:
    """A power cut of the gateway in the middle of a step, and the end of whoever applies; then both hosts are done."""
    with held.until(*step, command=command) as process:
        asyncio.run(build.reboot(held.site.bench.lab, "gateway"))
        process.kill()
        process.communicate(timeout=60)
    eventually(lambda: no_lock(held.site.bench), "both hosts finish")


def test_both_timers_are_proved_and_leave_nothing(held: Held) -> None:
    desk, bench = held.site.desk, held.site.bench
    before = bench.fingerprints()
    applied = desk.run("apply", "--yes")
    assert applied.code == 0, applied.err
    for host in bench.managed:
        assert f"… {host}: guards itself for 120 s (timer, watch)" in applied.err
    assert left_over(bench) == []
    assert desk.run("undo", "--yes").code == 0
    assert left_over(bench) == []
    assert bench.differences(before) == []


@pytest.mark.parametrize("dead", ["watch", "timer"])
def test_either_timer_alone_puts_the_host_back(held: Held, eventually: Eventually, dead: str) -> None:
    bench = held.site.bench
    before = bench.fingerprints()
    given_up(held, ROUTE, "--guard", "15s")
    for host in bench.managed:
        if dead == "watch":
            bench.check(host, "read -r pid _ </var/lib/crossnet/transaction/watcher && kill -KILL -$pid")
        else:
            bench.check(host, "systemctl stop $(cat /var/lib/crossnet/transaction/timers).timer")
    assert not no_lock(bench)
    eventually(lambda: no_lock(bench), "the timer that is left puts the hosts back")
    eventually(lambda: left_over(bench) == [], "what has put them back ends")
    assert bench.differences(before) == []
    assert "rolled back" in held.site.desk.run("history").out


def test_a_power_cut_before_the_confirmation_boots_the_old_state(held: Held) -> None:
    bench = held.site.bench
    before = bench.fingerprints()
    given_up(held, ROUTE)
    bench.power_cut()
    assert no_lock(bench)
    assert bench.differences(before) == []
    assert held.site.desk.run("apply", "--yes").code == 0


def test_a_power_cut_while_files_are_written_boots_the_new_state(held: Held, eventually: Eventually) -> None:
    desk, bench = held.site.desk, held.site.bench
    before = bench.fingerprints()
    cut_off(held, RULES_FILE, eventually)
    eventually(lambda: bench.pings("app", "10.0.44.1"), "the gateway's units have run")
    assert desk.run("status").code == 0
    assert desk.run("undo", "--yes").code == 0
    assert bench.differences(before) == []


def test_a_power_cut_while_an_undo_removes_files_boots_the_old_state(
    held: Held, eventually: Eventually
) -> None:
    """The boot has read the settings before anything of crossnet runs."""
    desk, bench = held.site.desk, held.site.bench
    before = bench.fingerprints()
    assert desk.run("apply", "--yes").code == 0
    cut_off(held, SETTINGS_FILE, eventually, "undo")
    assert bench.check("gateway", "sysctl -n net.ipv4.ip_forward").strip() == "0"
    assert bench.differences(before) == []
