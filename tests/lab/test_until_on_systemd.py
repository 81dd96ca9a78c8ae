"""A crossing with `until` where systemd runs: its timer is a real one, and so is the order of a boot."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import pytest

from crossnet.lab.build import Lab
from lab.crossing import Bench
from lab.test_until import IN_SECONDS, soon, tool, two, until_ends_well, until_is_empty, wait_past, waiting

pytestmark = pytest.mark.machine

TIMER = "systemctl show -p ActiveState -p NextElapseUSecRealtime crossnet-until.timer"
UNITS = "systemctl list-units --no-legend --plain 'crossnet*'; ls /etc/systemd/system | grep crossnet"


def test_a_timer_of_systemd_starts_it(machines_up: Callable[..., Lab]) -> None:
    b = Bench(machines_up("seed"))
    before = b.fingerprints()
    until = soon(20)
    spec = b.spec(f"to: 10.0.44.0/24, until: {until}")
    applied = b.apply(spec)
    assert not applied.unwritten
    for host in b.managed:
        shown = b.check(host, TIMER)
        assert "ActiveState=active" in shown
        assert until[:10] in shown
        assert not waiting(b, host)
    assert b.plan(spec).touched == ()

    until_is_empty(b, "app", "gateway", within=60)

    late = time.time() - datetime.fromisoformat(until).timestamp()
    assert late < 15, f"{late} s after its time"
    assert not b.pings("app", "10.0.44.1")
    time.sleep(2)  # its own unit is to end first
    assert b.run("app", UNITS).text.strip() == ""
    b.apply(spec)
    assert b.differences(before) == []
    assert b.run("gateway", UNITS).text.strip() == ""


def test_what_was_over_while_it_was_down_is_gone_before_anything_is_loaded(
    machines_up: Callable[..., Lab],
) -> None:
    b = Bench(machines_up("seed"))
    before = b.fingerprints()
    until = soon(20)
    spec = b.spec(two(until, "2036-12-24T18:00Z"))
    b.apply(spec)
    for host in b.managed:
        b.check(host, "systemctl stop crossnet-until.timer")
    b.check("gateway", "cat >/etc/systemd/system/seen.service && systemctl enable seen.service", stdin=_LOOKS)
    wait_past(until)
    b.power_cut()
    until_gone = b.check("gateway", "cat /etc/seen")
    assert "web" in until_gone
    assert "business" not in until_gone
    assert b.plan(spec).touched == ()
    assert "2036" in b.check("gateway", TIMER)
    b.check("gateway", "systemctl disable seen.service; rm -f /etc/systemd/system/seen.service /etc/seen")
    b.undo(spec)
    assert b.differences(before) == []


def test_a_host_that_was_down_over_two_times_comes_up_without_either(machines_up: Callable[..., Lab]) -> None:
    """Nothing that is done early in a boot waits for a systemd that waits for it."""
    b = Bench(machines_up("seed"))
    before = b.fingerprints()
    until, later = soon(20), soon(22)
    spec = b.spec(two(until, later))
    b.apply(spec)
    for host in b.managed:
        b.check(host, "systemctl stop crossnet-until.timer")
    wait_past(later)
    b.power_cut()
    until_is_empty(b, "app", "gateway", within=5)
    assert b.check("gateway", "systemctl is-system-running --wait; true").strip() in ("running", "degraded")
    assert not b.pings("app", "10.0.44.1")
    history = [line.split("\t") for line in b.check("gateway", "cat /var/lib/crossnet/history").splitlines()]
    assert [line[-2] for line in history] == ["confirm", "confirm", "confirm"]
    b.undo(spec)
    assert b.differences(before) == []


def test_what_is_killed_in_the_middle_is_put_back_and_started_again(machines_up: Callable[..., Lab]) -> None:
    b = Bench(machines_up("seed"))
    tool(b, "[ -e /tmp/begun ] || { touch /tmp/begun; sleep 600; }")
    spec = b.spec(f"to: 10.0.44.0/24, until: {soon(20)}")
    b.apply(spec)
    until_ends_well(b, "app", "ls /tmp/begun", within=60)
    timers = b.check("app", "cat /var/lib/crossnet/transaction/timers").split()
    assert b.check("app", f"systemctl is-active {timers[0]}.timer").strip() == "active"
    b.check("app", "systemctl kill -s KILL crossnet-until.service")
    b.check("app", f"cd /var/lib/crossnet/transaction && {IN_SECONDS} 1 >deadline")
    until_is_empty(b, "app", "gateway", within=90)
    history = [line.split("\t") for line in b.check("app", "cat /var/lib/crossnet/history").splitlines()]
    assert [line[-2] for line in history] == ["confirm", "rollback", "confirm"]
    assert b.check("app", "ip route show 10.0.44.0/24") == ""


_LOOKS = b"""\
[Unit]
DefaultDependencies=no
After=crossnet-rules.service
Before=network-pre.target crossnet.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'nft list ruleset >/etc/seen'
[Install]
WantedBy=multi-user.target
"""
