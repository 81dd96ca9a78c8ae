"""What befalls a host while a restarted firewall ends its open transaction: a kill, a power cut, a queued job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import crossnet
from crossnet.errors import CrossnetError, RolledBack
from crossnet.lab import build
from crossnet.lab.build import Lab
from lab.crossing import Bench
from lab.firewalls import NFTABLES
from lab.test_commands import Desk, Held, Site
from lab.test_fence_in_time import TO, Fire, with_outsider
from lab.test_firewalls import FORWARDING, with_firewall, works
from lab.test_open_transaction import UNITS, waiting

pytestmark = pytest.mark.machine

LabUp = Callable[..., Lab]
Eventually = Callable[..., None]

KEPT = "ls -A /var/lib/crossnet"

# Whoever calls the tool so is killed, once, with all of its script; the tool does nothing, and tells whom.
KILLS = """\
#!/bin/sh
PATH=/usr/sbin:/usr/bin
case "$*" in
*{words}*)
    if [ {when} ] && rm /run/once 2>/dev/null; then
        pgrep -s 0 -a -f host- >/run/killed
        kill -KILL $(pgrep -s 0 -f host-)
        exit 1
    fi ;;
esac
exec {tool} "$@"
"""
# It says that it was called so, and does nothing until the power is cut.
STANDS = """\
#!/bin/sh
case "$*" in *ip_forward=0*) [ ! -e /run/reached ] || { echo here >/run/reached; sleep 600; } ;; esac
exec /usr/sbin/sysctl "$@"
"""
SLOW = """\
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'until [ -e /run/go ]; do sleep 0.1; done'
"""


def beside_nftables(lab: Lab) -> Fire:
    fire = with_firewall(lab, NFTABLES)
    fire.bench.check("gateway", "systemctl enable --now nftables")
    return fire


def put_tool(b: Bench, name: str, text: str) -> None:
    b.check("gateway", f"cd /usr/local/sbin && cat >{name} && chmod 755 {name}", stdin=text.encode())


def test_a_roll_back_that_is_killed_is_finished(machines_up: LabUp, eventually: Eventually) -> None:
    """In the middle of it before the firewall goes on; while it clears away in a second, and nobody has to ask."""
    fire = beside_nftables(machines_up(with_outsider()))
    b = fire.bench
    spec = b.spec(TO)
    with waiting(b, spec) as apply:
        assert apply.error is None, apply.error
    units, before = b.check("gateway", UNITS), b.fingerprints()
    transaction = "/var/lib/crossnet/transaction"
    for verb, tool, words, when in (
        ("restart", "sysctl", "ip_forward=0", f"-e {transaction}/decision"),
        ("reload", "sysctl", "ip_forward=0", f"-e {transaction}/decision"),
        ("restart", "systemctl", "daemon-reload", f"! -e {transaction}"),
    ):
        with fire.burning(), waiting(b, spec) as apply:
            put_tool(b, tool, KILLS.format(words=words, when=when, tool=tool))
            # The guard looks each second, and may be the first to hear of the decision.
            guard = b.check("gateway", f"touch /run/once; read -r pid _ <{transaction}/watcher; echo $pid")
            b.check("gateway", f"kill -STOP {guard}")
            assert apply.error is None, apply.error
            b.check("gateway", f"systemctl {verb} nftables")
            b.run("gateway", f"kill -CONT {guard}")
            error = apply.ended()
            assert " yield nftables" in b.check("gateway", f"rm /usr/local/sbin/{tool}; cat /run/killed")
            eventually(lambda: b.check("gateway", KEPT) == "history\n", "nothing is left over")
        assert isinstance(error, RolledBack), error
        eventually(lambda: b.check("gateway", UNITS) == units, "no unit is left over")
        assert b.differences(before) == []


def test_a_power_cut_while_a_firewall_ends_an_apply_boots_the_old_state(
    machines_up: LabUp, eventually: Eventually
) -> None:
    fire = beside_nftables(machines_up(with_outsider()))
    b = fire.bench
    spec = b.spec(TO)
    with waiting(b, spec) as apply:
        assert apply.error is None, apply.error
    units, before = b.check("gateway", UNITS), b.fingerprints()
    with fire.burning(), waiting(b, spec) as apply:
        put_tool(b, "sysctl", STANDS)
        b.check("gateway", "mkfifo /run/reached; systemctl --no-block restart nftables; cat /run/reached")
        asyncio.run(build.reboot(b.lab, "gateway"))
        error = apply.ended()
    b.check("gateway", "rm /usr/local/sbin/sysctl")
    assert isinstance(error, RolledBack), error
    eventually(lambda: b.check("gateway", KEPT) == "history\n", "the boot has ended it")
    assert "nftables.service was started, stopped or reloaded" in b.check(
        "gateway", "tail -n 1 /var/lib/crossnet/history"
    )
    eventually(lambda: b.run("gateway", "systemctl is-active nftables").ok, "the host is up")
    assert b.check("gateway", UNITS) == units
    assert b.differences(before) == []
    b.apply(spec)
    assert works(b)


def test_nothing_begins_while_a_firewall_is_still_to_be_started(machines_up: LabUp) -> None:
    """What was asked before the transaction, and waits for another unit, has nothing of it beside it."""
    fire = beside_nftables(machines_up(with_outsider()))
    b = fire.bench
    spec = b.spec(TO)
    with waiting(b, spec) as apply:
        assert apply.error is None, apply.error
    b.check("gateway", "cat >/run/systemd/system/slow.service", stdin=SLOW.encode())
    b.check(
        "gateway",
        "cd /run/systemd/system && mkdir nftables.service.d &&"
        " printf '[Unit]\\nAfter=slow.service\\n' >nftables.service.d/slow.conf && systemctl daemon-reload",
    )
    units, before = b.check("gateway", UNITS), b.fingerprints()
    for verb, first in (("start", "stop nftables"), ("restart", "start nftables")):
        b.check("gateway", f"rm -f /run/go; systemctl {first}")
        b.check("gateway", f"systemctl --no-block start slow; systemctl --no-block {verb} nftables")
        with fire.burning(), pytest.raises(CrossnetError, match=r"reloading nftables\.service for some sec"):
            b.apply(spec)
        assert b.check("gateway", "systemctl show --value -p Job nftables") != "\n"
        assert b.check("gateway", FORWARDING) == "0\n0\n"
        b.check("gateway", "touch /run/go; systemctl start nftables")
        assert b.check("gateway", UNITS) == units
        assert b.differences(before) == []
    b.apply(spec)
    assert works(b)


def test_a_firewall_that_is_restarted_after_the_confirmation_waits_for_the_end(
    machines_up: LabUp, tmp_path: Path, eventually: Eventually
) -> None:
    """Of an apply of which all who worked at it are killed, and of an undo whose files are still there to be loaded."""
    fire = beside_nftables(machines_up(with_outsider()))
    b = fire.bench
    desk = Desk(tmp_path, {"CROSSNET_LAB": b.lab.name})
    desk.write(f"from: app, via: gateway, {TO}")
    held = Held(Site(desk, b))
    with waiting(b, b.spec(TO)) as apply:
        assert apply.error is None, apply.error
    units, before = b.check("gateway", UNITS), b.fingerprints()

    def is_over() -> bool:
        return not b.run("gateway", "ls -d /var/lib/crossnet/transaction /var/lib/crossnet/gone.*").text

    rules = "/etc/crossnet/.rules.nft.crossnet", "/etc/crossnet/rules.nft"
    with fire.burning(), held.until("gateway", "mv", "-f", "--", *rules) as process:
        b.check("gateway", "systemctl --no-block restart nftables")
        eventually(lambda: b.check("gateway", FORWARDING) == "0\n0\n", "it is closed")
        process.kill()
        process.communicate(timeout=60)
        killed = "read -r pid _ </var/lib/crossnet/transaction/worker; kill -KILL $(pgrep -s $pid)"
        b.check("gateway", killed)
        eventually(is_over, "whom the firewall asks writes what is confirmed")
        eventually(lambda: works(b), "the crossing works")
        b.check("gateway", "umount $(command -v mv); rm -rf /tmp/held /tmp/reached /tmp/go-on")
    assert desk.run("recover").code == 0
    assert b.plan(b.spec(TO)).is_empty

    settings = "rm", "-f", "--", "/etc/sysctl.d/99-zz-crossnet.conf"
    with fire.burning(), held.until("gateway", *settings, command="undo") as process:
        b.check("gateway", "systemctl --no-block restart nftables")
        job = "systemctl show -p Job crossnet-open-gate@nftables.service"
        assert "=0" not in b.check("gateway", job)
        held.go_on("gateway")
        process.communicate(timeout=100)
        assert process.returncode == 0
        eventually(lambda: b.check("gateway", UNITS) == units, "the firewall runs again, and nothing else")
    assert b.differences(before) == []
    (now,) = asyncio.run(crossnet.status(b.spec(TO)))
    assert now.reasons == ("not applied",)
