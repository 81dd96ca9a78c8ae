"""A crossing with `until` is taken back by its hosts themselves, with nobody connected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

import crossnet
from crossnet.events import Event, Kind
from crossnet.health.status import State
from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.netfilter import Engine
from crossnet.transaction.guard import Guard
from lab.crossing import Bench
from lab.old_tools_host import make_bare, make_busybox, make_new, make_old

pytestmark = pytest.mark.lab

_SOON = 12  # seconds: an apply takes a few of them


KILL_WHO_WAITS = "read -r it _ </var/lib/crossnet/until/watcher && kill -KILL -$it"
IN_SECONDS = (
    "read -r now _ </proc/uptime && read -r of </proc/sys/kernel/random/boot_id && "
    'in_seconds() { echo "$((${now%.*} + $1)) $of"; } && in_seconds'
)
_LOOKS = b"""\
[Service]
Type=oneshot
ExecStart=/bin/sh -c '{ nft list ruleset; iptables-save; } >/etc/seen'
"""


def tool(b: Bench, instead: str) -> None:
    """On the client something happens before a route is removed."""
    script = f'#!/bin/sh\ncase "$*" in *route*del*) {instead} ;; esac\nexec /tmp/real-ip "$@"\n'
    b.check(
        "app",
        "place=$(readlink -f $(command -v ip)) && cp $place /tmp/real-ip && cat >/tmp/ip && chmod 755 /tmp/ip && "
        "mount --bind /tmp/ip $place && echo $place >/tmp/place",
        stdin=script.encode(),
    )


def soon(seconds: int = _SOON) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def wait_past(until: str) -> None:
    """Come back when that time is over by a second or more."""
    time.sleep(max(0.0, datetime.fromisoformat(until).timestamp() - time.time()) + 1)


def until_is_empty(b: Bench, *hosts: str, within: float = 40) -> None:
    """Wait until nothing waits there any more."""
    deadline = time.monotonic() + within
    while left := [host for host in hosts if b.run(host, "ls /var/lib/crossnet/until").ok]:
        assert time.monotonic() < deadline, f"still waiting: {left}"
        time.sleep(0.3)


def until_ends_well(b: Bench, host: str, command: str, *, within: float) -> None:
    """Wait until a command there does."""
    deadline = time.monotonic() + within
    while not b.run(host, command).ok:
        assert time.monotonic() < deadline, f"never so: {command}"
        time.sleep(0.2)


@pytest.mark.parametrize("engine", [Engine.NFTABLES, Engine.IPTABLES_NFT])
def test_both_hosts_take_it_back_themselves(lab_up: Callable[..., Lab], engine: Engine) -> None:
    b = Bench(lab_up("seed"))
    before = b.fingerprints()
    firewall = "iptables" if engine.is_iptables else "nftables"
    spec = b.spec(f"to: 10.0.44.0/24, firewall: {firewall}, until: {soon()}")
    applied = b.apply(spec)
    assert not applied.unwritten
    assert b.pings("app", "10.0.44.1")

    until_is_empty(b, "app", "gateway")

    assert not b.pings("app", "10.0.44.1")
    assert b.check("app", "ip route show 10.0.44.0/24") == ""
    assert not b.run("app", "ls /var/lib/crossnet/applied.json").ok
    # Whether others live on forwarding by now only a look from outside tells: so it stays, behind the fence.
    assert b.check("gateway", "cat /proc/sys/net/ipv4/ip_forward").strip() == "1"
    assert "10.0.44" not in b.check("gateway", "nft list ruleset; iptables-save")
    assert "drop" in b.check("gateway", "nft list ruleset; iptables-save").lower()
    history = b.check("gateway", "tail -n 1 /var/lib/crossnet/history").split("\t")
    assert history[2:4] == ["the host itself", f"until {spec.crossings[0].until:%Y-%m-%dT%H:%M:%SZ}"]
    assert history[-2:] == ["confirm", "written\n"]
    plan = b.plan(spec)
    assert "over" in [impact.code for impact in plan.impacts]
    b.apply(spec)
    assert b.differences(before) == []


@pytest.mark.parametrize("late", [False, True], ids=["before its time", "after it"])
def test_it_goes_also_where_a_person_had_the_last_word(lab_up: Callable[..., Lab], late: bool) -> None:
    """Who confirms uses the script that lies with the transaction, and that is gone when the time comes."""
    b = Bench(lab_up("seed"))
    until = soon(10 if late else 25)
    spec = b.spec(f"to: 10.0.44.0/24, probe: icmp/10.0.44.1, until: {until}")
    told: list[str] = []

    def watch(event: Event) -> None:
        if event.kind is Kind.WAITS:
            told.append(event.transaction)

    async def apply_and_confirm() -> None:
        made = crossnet.plan(spec, await crossnet.observe(spec))
        waiting_for = asyncio.ensure_future(crossnet.apply(made, guard=Guard(120, 60), watch=watch))
        while not told:
            assert not waiting_for.done()
            await asyncio.sleep(0.1)
        if late:
            await asyncio.sleep(max(0.0, datetime.fromisoformat(until).timestamp() - time.time()) + 1)
        await crossnet.confirm(spec, told[0])
        await waiting_for

    asyncio.run(apply_and_confirm())
    until_is_empty(b, "app", "gateway", within=60)
    assert not b.pings("app", "10.0.44.1")
    assert b.check("app", "ip route show 10.0.44.0/24") == ""


def two(first: str, second: str, firewall: str = "auto") -> str:
    common = f"from: app, via: gateway, firewall: {firewall}"
    return (
        f"crossings:\n  business: {{{common}, to: 10.0.44.0/24, allow: [icmp], until: {first}}}\n"
        f"  web: {{{common}, to: 10.0.44.0/24, allow: [tcp/80]{f', until: {second}' if second else ''}}}\n"
    )


ENGINES = [
    Engine.NFTABLES,
    *(pytest.param(each, marks=pytest.mark.faults) for each in Engine if each.is_iptables),
]


@pytest.mark.parametrize("engine", ENGINES)
def test_another_crossing_goes_on(lab_up: Callable[..., Lab], engine: Engine) -> None:
    b = Bench(lab_up("seed"))
    if engine is Engine.IPTABLES_LEGACY:
        for plain in ("iptables", "ip6tables"):
            b.check("gateway", f"ln -sf /usr/sbin/{plain}-legacy /etc/alternatives/{plain}")
            b.check("gateway", f"ln -sf /usr/sbin/{plain}-legacy-restore /etc/alternatives/{plain}-restore")
            b.check("gateway", f"ln -sf /usr/sbin/{plain}-legacy-save /etc/alternatives/{plain}-save")
    before = b.fingerprints()
    spec = b.spec(two(soon(), "", "iptables" if engine.is_iptables else "nftables"))
    applied = b.apply(spec)
    assert {table.engine for _, table in applied.plan.tables} == {engine}
    assert b.pings("app", "10.0.44.1")

    until_is_empty(b, "app", "gateway")

    assert not b.pings("app", "10.0.44.1")
    assert b.check("app", "ip route show 10.0.44.0/24") != ""
    assert b.plan(spec).is_empty
    reboot(b)
    assert b.plan(spec).is_empty
    b.undo(spec)
    assert b.differences(before) == []


def reboot(b: Bench) -> None:
    for host in b.managed:
        asyncio.run(build.reboot(b.lab, host))


def test_an_undo_before_leaves_nothing_that_waits(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    before = b.fingerprints()
    b.apply(b.spec("to: 10.0.44.0/24"))
    spec = b.spec("to: 10.0.44.0/24, until: 2036-12-24T18:00Z")
    (now,) = asyncio.run(crossnet.status(spec))
    assert now.state is State.PENDING
    assert not any("takes it back at its time" in reason for reason in now.reasons)  # of what nobody applied
    b.apply(spec)
    assert waiting(b, "gateway")
    b.undo(spec)
    assert b.differences(before) == []
    assert not waiting(b, "gateway")


def waiting(b: Bench, host: str) -> list[str]:
    """The processes that wait for the time."""
    return [
        line for line in b.run(host, "pgrep -af 'host-.* await'").text.splitlines() if "pgrep" not in line
    ]


def test_a_later_time_takes_the_place_of_the_former(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    soonest = soon()
    b.apply(b.spec(f"to: 10.0.44.0/24, until: {soonest}"))
    later = b.spec("to: 10.0.44.0/24, until: 2036-12-24T18:00Z")
    b.apply(later)
    assert len(waiting(b, "gateway")) == 1
    wait_past(soonest)
    assert b.pings("app", "10.0.44.1")
    assert b.plan(later).touched == ()


@pytest.mark.parametrize("engine", ENGINES[:2])
def test_what_was_over_while_the_host_was_down_is_never_open(
    lab_up: Callable[..., Lab], engine: Engine
) -> None:
    b = Bench(lab_up("seed"))
    until = soon(10)
    spec = b.spec(two(until, "2036-12-24T18:00Z", "iptables" if engine.is_iptables else "nftables"))
    b.apply(spec)
    for host in b.managed:
        b.check(host, KILL_WHO_WAITS)
    # In between of crossnet's own units, by their names: after the rules, and before all else.
    b.check("gateway", "cat >/etc/systemd/system/multi-user.target.wants/crossnet-seen.service", stdin=_LOOKS)
    wait_past(until)
    assert b.pings("app", "10.0.44.1")

    reboot(b)

    seen = b.check("gateway", "cat /etc/seen")
    assert "web" in seen
    assert "business" not in seen
    assert not b.pings("app", "10.0.44.1")
    assert b.plan(spec).touched == ()
    assert len(waiting(b, "gateway")) == len(waiting(b, "app")) == 1


def test_a_host_that_is_started_anew_in_the_middle_of_it_ends_it(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    before = b.fingerprints()
    tool(b, "touch /tmp/begun; sleep 600")
    spec = b.spec(f"to: 10.0.44.0/24, until: {soon()}")
    b.apply(spec)
    until_ends_well(b, "app", "ls /tmp/begun && grep -q . /var/lib/crossnet/transaction/step", within=40)
    asyncio.run(build.reboot(b.lab, "app"))
    assert not b.run("app", "ls /var/lib/crossnet/applied.json /var/lib/crossnet/transaction").ok
    assert b.check("app", "ip route show 10.0.44.0/24") == ""
    history = [line.split("\t") for line in b.check("app", "cat /var/lib/crossnet/history").splitlines()]
    assert [line[-2] for line in history] == ["confirm", "rollback", "confirm"]
    until_is_empty(b, "gateway")
    b.apply(spec)
    assert b.differences(before) == []


@pytest.mark.faults
def test_what_dies_in_the_middle_is_put_back_and_tried_again(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    tool(b, "[ -e /tmp/begun ] || { touch /tmp/begun; sleep 600; }")
    spec = b.spec(f"to: 10.0.44.0/24, until: {soon()}")
    b.apply(spec)
    until_ends_well(b, "app", "ls /tmp/begun", within=40)
    # Who waited for it and who works on it are gone, and its time is over.
    b.check("app", KILL_WHO_WAITS)
    b.check("app", "read -r it _ </var/lib/crossnet/transaction/worker && kill -KILL -$it")
    b.check("app", f"cd /var/lib/crossnet/transaction && {IN_SECONDS} 1 >deadline")
    until_is_empty(b, "app", "gateway", within=60)
    history = [line.split("\t") for line in b.check("app", "cat /var/lib/crossnet/history").splitlines()]
    assert [line[-2] for line in history] == ["confirm", "rollback", "confirm"]
    assert b.check("app", "ip route show 10.0.44.0/24") == ""


def test_what_somebody_has_taken_already_is_no_failure(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    spec = b.spec(f"to: 10.0.44.0/24, until: {soon()}")
    b.apply(spec)
    b.check("app", "ip route del 10.0.44.0/24")
    b.check("gateway", "nft delete table ip crossnet")
    until_is_empty(b, "app", "gateway")
    assert b.check("gateway", "nft list table ip crossnet").count("drop") == 1


@pytest.mark.faults
def test_a_step_that_fails_is_told_and_tried_again(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    tool(b, "echo no such luck >&2; exit 2")
    spec = b.spec(f"to: 10.0.44.0/24, until: {soon()}")
    b.apply(spec)
    until_ends_well(b, "app", "ls /var/lib/crossnet/until/failed", within=40)
    until_is_empty(b, "gateway")
    (status,) = asyncio.run(crossnet.status(spec))
    assert status.state == "over"
    assert "no such luck" in " ".join(status.reasons)
    assert b.check("app", "ip route show 10.0.44.0/24") != ""
    b.check("app", "umount $(cat /tmp/place)")
    until_is_empty(b, "app", within=60)
    assert b.check("app", "ip route show 10.0.44.0/24") == ""


@pytest.mark.faults
def test_it_waits_until_somebody_elses_transaction_has_ended(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    spec = b.spec(two(soon(20), "2036-12-24T18:00Z"))
    b.apply(spec)
    # One that ends with its time, as every one does of which nobody hears any more.
    b.check(
        "app",
        "mkdir /var/lib/crossnet/transaction && cd /var/lib/crossnet/transaction && cp ../until/host.sh . && "
        "cat /proc/sys/kernel/random/boot_id >boot && echo confirm >confirm && echo rollback >rollback && "
        f"echo audit >audit && : >step && {IN_SECONDS} 30 >deadline && echo feedbeef >id",
    )
    until_is_empty_of(b, "gateway")
    assert b.run("app", "cat /var/lib/crossnet/transaction/id").text.strip() == "feedbeef"
    until_is_empty_of(b, "app", within=60)
    assert b.plan(spec).touched == ()


def until_is_empty_of(b: Bench, host: str, within: float = 40) -> None:
    """Wait until one of two times has been done."""
    deadline = time.monotonic() + within
    while b.check(host, "ls -d /var/lib/crossnet/until/[0-9]* | wc -l").strip() != "1":
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_with_another_record_nothing_is_done_and_that_is_told(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    spec = b.spec(f"to: 10.0.44.0/24, until: {soon()}")
    b.apply(spec)
    b.check("app", "echo >>/var/lib/crossnet/applied.json")
    until_is_empty(b, "gateway")
    until_ends_well(b, "app", "cat /var/lib/crossnet/until/failed", within=20)
    assert b.check("app", "ip route show 10.0.44.0/24") != ""
    (status,) = asyncio.run(crossnet.status(spec))
    assert "not the one for which it was prepared" in " ".join(status.reasons)
    b.apply(spec)
    assert b.check("app", "ip route show 10.0.44.0/24") == ""


def make_bash(b: Bench, host: str) -> None:
    b.check(host, "mount --bind $(readlink -f /bin/bash) $(readlink -f /bin/sh)")


MAKES = {"bare": make_bare, "busybox": make_busybox, "centos-7": make_old, "bash": make_bash}


@pytest.mark.faults
@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES.keys())
def test_with_few_or_old_tools(lab_up: Callable[..., Lab], make: Callable[[Bench, str], None]) -> None:
    """The shells and tools of others, and where there is no systemd a process alone that waits."""
    b = Bench(lab_up("seed"))
    for host in b.managed:
        make(b, host)
    spec = b.spec(f"to: 10.0.44.0/24, until: {soon(15)}")
    applied = b.apply(spec)
    assert not applied.unwritten
    assert b.pings("app", "10.0.44.1")
    until_is_empty(b, "app", "gateway")
    for host in b.managed if make is not make_bash else ():
        make_new(b, host)
    assert b.check("app", "ip route show 10.0.44.0/24") == ""
    rules = b.check("gateway", "nft list ruleset; iptables-save; iptables-legacy-save 2>/dev/null")
    assert "drop" in rules.lower()
    assert "10.0.44" not in rules
    history = b.check("gateway", "cat /var/lib/crossnet/history").splitlines()
    assert [line.split("\t")[-2] for line in history] == ["confirm", "confirm"]
