"""What another program takes away is brought back by the host itself, with `heal: auto`; on a real systemd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Thread

import pytest

import crossnet
from crossnet.events import Event, Kind
from crossnet.healed import Healing, read_healings
from crossnet.health import CrossingStatus, State
from crossnet.lab.build import Lab
from crossnet.spec import Spec
from crossnet.transaction.guard import Guard
from crossnet.transport.lab import LabHost
from lab.crossing import Bench
from lab.smoke import SMOKE
from lab.test_fence_in_time import under_fire, with_outsider
from lab.test_machine import restart

pytestmark = pytest.mark.machine

LabUp = Callable[..., Lab]
Eventually = Callable[..., None]

HEAL = "to: 10.0.44.0/24, heal: auto"
RUNS = "systemctl is-active crossnet-heal.service"
FORWARDING = "sysctl -n net.ipv4.ip_forward"
# A program of somebody else that does so again and again.
FLUSHES = "systemd-run --quiet --unit=somebody sh -c 'while :; do {}; sleep 0.5; done'"
TAKEN = {
    "nftables": (
        "nft delete table ip crossnet",
        "nft flush ruleset",
        "nft flush chain ip crossnet postrouting",
    ),
    "iptables": (
        "iptables -F CROSSNET-FORWARD",
        "iptables -t nat -D POSTROUTING 1",
        "iptables -F && iptables -t nat -F && iptables -X && iptables -t nat -X",
        "iptables -I FORWARD -j DROP",
    ),
}


def status(spec: Spec) -> CrossingStatus:
    (found,) = asyncio.run(crossnet.status(spec))
    return found


def notes(b: Bench, host: str) -> list[str]:
    """What the host noted of it: a time, what became of it, and what was gone."""
    said = b.run(host, "cat /var/lib/crossnet/healed").text
    return [line.split("\t", 1)[1] for line in said.splitlines()]


def history(b: Bench, host: str) -> tuple[Healing, ...]:
    """The same as crossnet tells it."""
    return asyncio.run(read_healings(LabHost(host, b.lab.socket(host))))


def listens(b: Bench) -> None:
    b.check("target", "systemd-run --quiet --unit=listens nc -lk 8443")


def works(b: Bench) -> bool:
    return b.connects("app", "10.0.44.1", 8443)


def looked(b: Bench) -> int:
    """Each look of the gateway takes its processor some milliseconds; in nanoseconds."""
    return int(b.check("gateway", "systemctl show -p CPUUsageNSec --value crossnet-heal.service"))


@pytest.mark.parametrize("firewall", [pytest.param("nftables", marks=SMOKE), "iptables"])
def test_what_is_taken_away_comes_back_by_itself(
    machines_up: LabUp, eventually: Eventually, firewall: str
) -> None:
    b = Bench(machines_up("seed"))
    listens(b)
    before = b.fingerprints()
    spec = b.spec(f"{HEAL}, firewall: {firewall}")
    b.apply(spec)
    eventually(lambda: works(b), "it listens")
    for host in b.managed:
        assert b.check(host, RUNS) == "active\n"

    taken = (*TAKEN[firewall], "sysctl -q -w net.ipv4.ip_forward=0")
    for number, command in enumerate(taken, 1):
        b.check("gateway", command)
        eventually(lambda number=number: len(notes(b, "gateway")) >= number, f"{command} is noticed")
        eventually(lambda: b.plan(spec).is_empty and works(b), f"it works again after {command}")
    b.check("app", "ip route del 10.0.44.0/24")
    eventually(lambda: works(b), "the route comes back")
    eventually(lambda: bool(notes(b, "app")), "that is noted")

    assert notes(b, "app") == ["brought-back\troute 10.0.44.0/24 via 10.0.43.101 dev eth0"]
    assert notes(b, "gateway")[-1] == "brought-back\tnet.ipv4.ip_forward = 1"
    assert all(line.startswith("brought-back\t") for line in notes(b, "gateway"))
    logged = b.check("gateway", "journalctl --quiet --no-pager -o cat -t crossnet")
    assert "was gone or changed, and is brought back: net.ipv4.ip_forward = 1\n" in logged
    found = status(spec)
    assert found.state is State.UP
    assert any(f"gateway: healed by itself {len(taken)} times since " in line for line in found.reasons)
    assert any("app: healed by itself once, at " in line for line in found.reasons)
    assert [(one.outcome, one.what) for one in history(b, "gateway")][-1] == (
        "brought-back",
        "net.ipv4.ip_forward = 1",
    )
    assert len(history(b, "gateway")) == len(taken)
    b.check("app", "systemctl restart systemd-networkd")
    eventually(lambda: works(b), "it works after the restart")
    b.check("app", "ip route del 10.0.44.0/24")
    eventually(lambda: len(notes(b, "app")) > 1, "it comes back again")
    assert "systemd-networkd.service was restarted" in history(b, "app")[-1].beside

    if firewall == "iptables":
        b.check("gateway", "iptables -D FORWARD -j DROP")
    restart(b, eventually)
    eventually(lambda: works(b), "it works after a reboot")
    b.check("gateway", "nft flush ruleset")
    eventually(lambda: works(b), "and heals")

    b.undo(spec)
    assert b.differences(before) == []
    for host in b.managed:
        assert b.run(host, "pgrep -f '[c]rossnet/heal'").text == ""
        assert b.check(host, "find /etc -name '*crossnet*'; ls /var/lib/crossnet") == "history\n"
        assert b.check(host, "systemctl --failed --no-legend") == ""


def test_nobody_gets_through_who_is_not_to(machines_up: LabUp, eventually: Eventually) -> None:
    """But for as long as the flush is not noticed: then the gateway is closed first, and loads after that."""
    fire = under_fire(machines_up(with_outsider()))
    b = fire.bench
    spec = b.spec("to: [10.0.44.0/24, 'fd00:44::/64'], heal: auto")
    b.apply(spec)
    for number in (1, 2):
        b.check("gateway", "nft flush ruleset")
        eventually(lambda number=number: len(notes(b, "gateway")) == number, "it is brought back")
        with fire.burning():
            eventually(lambda: b.pings("app", "10.0.44.1"), "the crossing works again")


def test_jumps_that_others_put_first_are_no_fight(machines_up: LabUp, eventually: Eventually) -> None:
    """As dockerd does for each network that it makes; the fence is in a table of nftables."""
    b = Bench(machines_up("seed"))
    listens(b)
    b.check(
        "gateway", "iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -I FORWARD -j DOCKER-USER"
    )
    spec = b.spec(HEAL)
    b.apply(spec)
    eventually(lambda: works(b), "it listens")
    first = "iptables -D FORWARD -j DOCKER-USER; iptables -I FORWARD -j DOCKER-USER; iptables -S FORWARD"
    listed = b.check("gateway", first)
    assert listed.index("DOCKER-USER") < listed.index("CROSSNET-FORWARD")
    b.check("gateway", "sysctl -q -w net.ipv4.ip_forward=0")  # so that it is seen to have looked
    eventually(lambda: bool(notes(b, "gateway")) and works(b), "forwarding comes back")
    assert notes(b, "gateway") == ["brought-back\tnet.ipv4.ip_forward = 1"]
    b.check("gateway", "iptables -D FORWARD -m comment --comment crossnet -j CROSSNET-FORWARD")
    eventually(lambda: works(b), "the accept comes back")


def test_it_stays_away_from_a_transaction(machines_up: LabUp, eventually: Eventually) -> None:
    b = Bench(machines_up("seed"))
    b.apply(b.spec(HEAL))
    spec = b.spec(f"{HEAL}, allow: [icmp]")

    def waits_for(seen: Event) -> None:
        """Everything goes as soon as somebody has to confirm it; they do so when the host has looked several times."""
        if seen.kind is not Kind.WAITS:
            return
        b.check("app", "ip route del 10.0.44.0/24")
        b.check(
            "gateway", "nft flush chain ip crossnet postrouting"
        )  # without the fence nobody could confirm it
        since = looked(b)
        eventually(lambda: looked(b) > since + 30_000_000, "it has looked several times")
        assert notes(b, "gateway") == notes(b, "app") == []
        assert "counter" not in b.check("gateway", "nft list chain ip crossnet postrouting")
        b.check("gateway", "ln /var/lib/crossnet/transaction/confirm /var/lib/crossnet/transaction/decision")

    def say(seen: Event) -> None:
        thread = Thread(target=waits_for, args=(seen,))
        thread.start()
        thread.join()

    asyncio.run(crossnet.apply(b.plan(spec), guard=Guard(confirm_within=120), watch=say))
    eventually(lambda: b.pings("app", "10.0.44.1"), "it is brought back when the transaction is over")
    eventually(lambda: bool(notes(b, "gateway") and notes(b, "app")), "that is noted")
    assert b.plan(spec).is_empty


def test_it_goes_by_nothing_that_could_not_be_written(machines_up: LabUp, eventually: Eventually) -> None:
    """What is live then is what was confirmed, and its own files are of the change before."""
    b = Bench(machines_up("seed"))
    b.apply(b.spec(HEAL))
    narrower = b.spec(f"{HEAL}, allow: [icmp]")
    b.check("gateway", "mount --bind /etc/crossnet /etc/crossnet && mount -o remount,ro,bind /etc/crossnet")
    assert b.apply(narrower).unwritten
    applied = b.check("gateway", "nft -s list table ip crossnet")
    since = looked(b)
    eventually(lambda: looked(b) > since + 40_000_000, "it has looked several times")
    assert b.check("gateway", "nft -s list table ip crossnet") == applied

    b.check("gateway", "umount /etc/crossnet")
    assert not b.apply(narrower).unwritten
    b.check("gateway", "nft flush ruleset")
    eventually(lambda: bool(notes(b, "gateway")), "it heals again, and what was confirmed")
    assert b.check("gateway", "nft -s list table ip crossnet") == applied
    assert b.plan(narrower).is_empty


def test_it_fights_nobody_for_ever(machines_up: LabUp, eventually: Eventually) -> None:
    b = Bench(machines_up("seed"))
    spec = b.spec(HEAL)
    b.apply(spec)
    b.check("gateway", FLUSHES.format("nft flush ruleset"))
    eventually(lambda: len(notes(b, "gateway")) >= 4, "it heals")
    eventually(lambda: b.run("gateway", RUNS).text == "failed\n", "it gives up")
    assert b.check("gateway", FORWARDING) == "0\n"
    assert notes(b, "gateway")[-1].startswith("gave-up\ttable crossnet")
    assert len(notes(b, "gateway")) == 7
    logged = b.check("gateway", "journalctl --quiet --no-pager -o cat -t crossnet")
    assert "gave up, because it was brought back 6 times within 600 seconds" in logged
    assert "The gateway forwards nothing from now on." in logged
    found = status(spec)
    assert found.state is State.DRIFTED
    assert any("gateway: gave up healing at " in line for line in found.reasons)
    told = history(b, "gateway")
    assert len(told) == 7
    assert told[-1].outcome == "gave-up"
    assert told[-1].what.startswith("table crossnet")

    b.check("gateway", "systemctl stop somebody")
    b.apply(spec)
    eventually(lambda: b.run("gateway", RUNS).text == "active\n", "it runs again")
    b.check("gateway", "nft flush ruleset")
    eventually(lambda: notes(b, "gateway")[-1].startswith("brought-back"), "it heals again")
    assert b.pings("app", "10.0.44.1")
    assert not any("gave up" in line for line in status(spec).reasons)


def test_who_heals_is_started_again_when_it_is_killed(machines_up: LabUp, eventually: Eventually) -> None:
    """Also in the middle of loading: closed until it is loaded."""
    b = Bench(machines_up("seed"))
    spec = b.spec(HEAL)
    b.apply(spec)
    # An nft that never ends to load.
    slow = '#!/bin/sh\ncase $* in *-f*/etc/*) : >/run/loading; sleep 600 ;; esac\nexec /usr/sbin/nft "$@"\n'
    b.check("gateway", "cat >/usr/local/sbin/nft && chmod 755 /usr/local/sbin/nft", stdin=slow.encode())
    b.check("gateway", "nft flush ruleset")
    eventually(lambda: b.run("gateway", "test -e /run/loading").ok, "it loads")
    assert b.check("gateway", FORWARDING) == "0\n"
    pid = b.check("gateway", "systemctl show --value -p MainPID crossnet-heal.service")
    b.check("gateway", "systemctl kill -s KILL crossnet-heal.service; rm /usr/local/sbin/nft")
    eventually(lambda: b.pings("app", "10.0.44.1"), "it is started again, and heals")
    assert b.check("gateway", "systemctl show --value -p MainPID crossnet-heal.service") != pid
    for signal in ("TERM", "HUP", "SEGV"):
        pid = b.check("gateway", "systemctl show --value -p MainPID crossnet-heal.service")
        b.check("gateway", f"systemctl kill -s {signal} crossnet-heal.service")
        eventually(
            lambda pid=pid: (
                b.check("gateway", "systemctl show --value -p MainPID crossnet-heal.service")
                not in (pid, "0\n")
            ),
            f"it is started again after a {signal}",
        )
    b.undo(spec)


def test_a_firewall_that_is_stopped_leaves_it_closed(machines_up: LabUp, eventually: Eventually) -> None:
    """What its units close is not opened behind their backs."""
    b = Bench(machines_up("seed"))
    spec = b.spec(HEAL)
    b.check("gateway", "systemctl start nftables")
    b.apply(spec)
    for _ in range(3):
        b.check("gateway", "systemctl restart nftables")
        eventually(lambda: b.pings("app", "10.0.44.1"), "it works after the restart")
    b.check("gateway", "systemctl stop nftables")
    assert b.check("gateway", FORWARDING) == "0\n"
    since = looked(b)
    eventually(lambda: looked(b) > since + 60_000_000, "it has looked several times")
    assert b.check("gateway", FORWARDING) == "0\n"
    b.check("gateway", "systemctl start nftables")
    eventually(lambda: b.pings("app", "10.0.44.1"), "it works when that is started again")
    assert not any(line.startswith("failed") for line in notes(b, "gateway"))
