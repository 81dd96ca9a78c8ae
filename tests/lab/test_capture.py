"""Packets seen on several hosts of a lab at once, with real tcpdump, and what is left there: nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from itertools import pairwise

import pytest

from crossnet.capture import Filter, Kind, Sighting, Watch, timeline, watching
from crossnet.lab.build import Lab
from crossnet.transport import Completed, Process
from crossnet.transport.lab import LabHost
from crossnet.values import Protocol
from lab.elsewhere import PYTHON, python_path

pytestmark = pytest.mark.lab

GATEWAY = "10.0.43.101"
SIZE = 77  # bytes of data in an echo, as nobody else sends them

# The controller is one more process of the host that it watches, so that all it may leave is there to be found.
CONTROLLER = """
import asyncio, sys
from crossnet.capture import Filter, watching
from crossnet.transport.local import Local

async def main():
    print("begins", flush=True)
    async with watching({"here": Local("here")}, Filter(), seconds=600) as watch:
        print("watches", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""

LEFT = r"""
: the-one-who-looks
for place in /proc/[0-9]*; do
    words=$(tr '\0' ' ' <"$place/cmdline" 2>/dev/null) || continue
    case $words in
        *the-one-who-looks*) ;;
        *tcpdump* | *AF_PACKET* | *capture=* | *"sleep "*) echo "$words" ;;
    esac
done
"""

# In one command, because what a command leaves running on a host of a lab is ended with it.
KILL = rf"""
mkfifo /tmp/said
CONTROLLER >/tmp/said 2>/dev/null &
exec 3</tmp/said
read -r line <&3
sleep WHEN
kill -9 $! || exit 2
rm /tmp/said
tries=0
while left=$({LEFT}) && [ -n "$left" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || {{ echo "$left" && exit 1; }}
    sleep 0.05
done
"""


def hosts_of(lab: Lab, *names: str) -> dict[str, LabHost]:
    return {name: LabHost(name, lab.socket(name)) for name in names}


async def seen(watch: Watch, enough: Callable[[list[Sighting]], bool]) -> None:
    """Wait until enough was seen."""
    async with asyncio.timeout(10):
        while not enough(watch.sightings):
            await watch.changed(1)


def test_a_request_and_its_reply_are_seen_at_each_end(lab_up: Callable[..., Lab]) -> None:
    lab = lab_up("seed")
    hosts = hosts_of(lab, "app", "gateway")

    async def watch_a_ping() -> Watch:
        async with watching(hosts, Filter(protocol=Protocol.ICMP, echoes=(SIZE,))) as watch:
            assert watch.failed == {}
            assert {"eth0", "eth1"} <= set(watch.points["gateway"])
            await hosts["app"].run(["ping", "-c", "1", "-s", "56", GATEWAY])  # somebody else's
            await hosts["app"].run(["ping", "-c", "1", "-s", str(SIZE), GATEWAY])
            await seen(watch, lambda all_: sum(one.packet.is_echo_reply for one in all_) == 2)
        return watch

    watch = asyncio.run(watch_a_ping())

    for host, interface, kinds in (
        ("app", "eth0", (Kind.SENT, Kind.RECEIVED)),
        ("gateway", "eth1", (Kind.RECEIVED, Kind.SENT)),
    ):
        there = [one for one in watch.sightings if one.host == host]
        echoes = [one for one in there if one.packet.protocol == "icmp"]
        assert [str(one.packet) for one in echoes] == [
            f"10.0.43.15 > {GATEWAY} icmp echo request",
            f"{GATEWAY} > 10.0.43.15 icmp echo reply",
        ]
        assert tuple(one.kind for one in echoes) == kinds
        assert {one.interface for one in there} == {interface}
        assert all(abs(one.time - time.time()) < 60 for one in there)
        assert any(one.packet.asks == ip_address(GATEWAY) for one in there)
    assert (watch.failed, watch.lost) == ({}, {})


def test_who_watched_long_enough_says_so(lab_up: Callable[..., Lab]) -> None:
    hosts = hosts_of(lab_up("seed"), "app")

    async def watch(*, most: int, seconds: int) -> str:
        async with watching(hosts, Filter(), most=most, seconds=seconds) as watch:
            await hosts["app"].run(["ping", "-c", "3", "-i", "0.2", GATEWAY])
            for _ in range(100):
                if watch.failed:
                    break
                await watch.changed(0.1)
        return watch.failed["app"]

    assert asyncio.run(watch(most=2, seconds=20)) == "it had seen 2 packets, and was not to see more"
    assert asyncio.run(watch(most=99, seconds=1)) == "the time that it was to watch was over"


def test_a_capture_that_is_killed_gives_no_reason(lab_up: Callable[..., Lab]) -> None:
    """What it said when it began is none."""
    hosts = hosts_of(lab_up("seed"), "app")

    async def watch() -> str:
        async with watching(hosts, Filter(), most=99, seconds=20) as watch:
            await hosts["app"].run(["sh", "-c", "kill -KILL $(pidof tcpdump)"])
            while not watch.failed:
                await watch.changed(0.1)
        return watch.failed["app"]

    assert "listening" not in asyncio.run(watch())


class Endless(LabHost):
    """A host whose tcpdump does not end when it has seen enough."""

    async def start(self, argv: Sequence[str]) -> Process:
        return await super().start(
            ["9999" if before == "-c" and word == "5" else word for before, word in pairwise(["", *argv])]
        )


def test_a_host_that_goes_on_and_on_is_ended(lab_up: Callable[..., Lab]) -> None:
    lab = lab_up("seed")
    host = Endless("app", lab.socket("app"))

    async def watch() -> Watch:
        async with watching({"app": host}, Filter(), most=5) as watch:
            await host.run(["ping", "-c", "40", "-i", "0.02", GATEWAY])
            for _ in range(100):
                if watch.failed:
                    break
                await watch.changed(0.1)
        return watch

    seen = asyncio.run(watch())
    assert seen.failed == {"app": "it had seen 5 packets, and was not to see more"}
    assert len(seen.sightings) < 40


def take_away(lab: Lab, run_on: Callable[..., Completed], host: str, *tools: str) -> None:
    """From now on the host has none of these: other programs see a folder in which they are not."""
    run_on(
        lab,
        host,
        "mkdir /tmp/bin && ln -s /usr/bin/* /tmp/bin/ && cd /tmp/bin && rm -f "
        + " ".join(tools)
        + " && mkdir /tmp/bin.real && mount --bind /usr/bin /tmp/bin.real"
        ' && for one in /tmp/bin/*; do ln -sf "/tmp/bin.real/${one##*/}" "$one"; done'
        " && mount --bind /tmp/bin /usr/bin",
    ).check()


def test_a_host_without_tcpdump_is_watched_by_its_python(
    lab_up: Callable[..., Lab], run_on: Callable[..., Completed]
) -> None:
    lab = lab_up("seed")
    hosts = hosts_of(lab, "app", "gateway")
    for host in hosts:
        take_away(lab, run_on, host, "tcpdump")

    async def watch_a_ping() -> Watch:
        async with watching(hosts, Filter(protocol=Protocol.ICMP, echoes=(SIZE,))) as watch:
            await hosts["app"].run(["ping", "-c", "1", "-s", "56", GATEWAY])
            await hosts["app"].run(["ping", "-c", "1", "-s", str(SIZE), GATEWAY])
            await seen(watch, lambda all_: sum(one.packet.is_echo_reply for one in all_) == 2)
        return watch

    watch = asyncio.run(watch_a_ping())
    assert (watch.failed, watch.lost) == ({}, {})
    echoes = [one for one in timeline(watch.sightings).sightings if one.packet.protocol == "icmp"]
    assert [(one.host, one.interface, one.kind) for one in echoes] == [
        ("app", "eth0", Kind.SENT),
        ("gateway", "eth1", Kind.RECEIVED),
        ("gateway", "eth1", Kind.SENT),
        ("app", "eth0", Kind.RECEIVED),
    ]
    macs = run_on(lab, "app", "ip -br link show eth0").text
    assert f" {echoes[0].sender_mac} " in macs
    for host in hosts:
        assert run_on(lab, host, LEFT).text == ""


def test_a_host_where_nothing_can_watch_is_told_while_the_others_do(
    lab_up: Callable[..., Lab], run_on: Callable[..., Completed]
) -> None:
    lab = lab_up("seed")
    hosts = hosts_of(lab, "app", "gateway")
    take_away(lab, run_on, "app", "tcpdump", "python3*")

    async def watch_without() -> Watch:
        async with watching(hosts, Filter()) as watch:
            return watch

    watch = asyncio.run(watch_without())
    assert watch.failed["app"].startswith("there is no tcpdump: install the package")
    assert "gateway" not in watch.failed
    assert watch.points["app"] == ()


WHENS = (0.0, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.06, 0.1, 0.5)


@pytest.mark.parametrize(
    ("when", "lacks"),
    [*((when, "") for when in WHENS), (0.05, "tcpdump"), (0.1, "tcpdump"), (1.0, "tcpdump")],
)
def test_nothing_is_left_when_the_controller_is_killed(
    lab_up: Callable[..., Lab], run_on: Callable[..., Completed], when: float, lacks: str
) -> None:
    """`when` is in seconds after it has begun; to watch it takes some 30 ms. No packet comes that would end it."""
    lab = lab_up("seed")
    run_on(lab, "app", "ip link set eth0 down").check()
    if lacks:
        take_away(lab, run_on, "app", lacks)
    before = run_on(lab, "app", "ls -A /tmp /run").check().text
    controller = f"PYTHONPATH='{python_path()}' '{PYTHON}' -c '{CONTROLLER}'"
    ended = run_on(lab, "app", KILL.replace("CONTROLLER", controller).replace("WHEN", str(when)))
    assert (ended.text, ended.returncode) == ("", 0)
    assert run_on(lab, "app", "ls -A /tmp /run").check().text == before
