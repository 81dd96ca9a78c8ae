"""Packets seen over SSH: on today's hosts, on old and small ones, and nothing left when the connection goes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from lab.elsewhere import PYTHON
from lab.old_tools_host import make_bare, make_busybox, make_old
from lab.test_capture import LEFT
from lab.test_old_tools import tools_of
from lab.test_ssh import Place, lab_with_sshd, place, sshd_with

pytestmark = pytest.mark.lab

__all__ = ["lab_with_sshd", "place"]  # fixtures

GATEWAY = "10.0.43.101"

# Watches both hosts, sends one ping, and tells what was seen of it.
CAPTURE = """
    import json, time
    from crossnet.capture import Filter, timeline, watching
    from crossnet.values import Protocol

    async def work():
        hosts = {"app": Ssh("app", "root@10.0.43.15"), "gateway": Ssh("gateway", "gw", become=True)}
        for host in hosts.values():
            await host.controller()
        begin = time.monotonic()
        async with watching(hosts, Filter(FILTER)) as watch:
            armed = time.monotonic() - begin
            await hosts["app"].run(["ping", "-c", "1", "-s", "77", "10.0.43.101"])
            await watch.changed(3)
            while await watch.changed(0.5):
                pass
        await asyncio.gather(*(host.close() for host in hosts.values()))
        print(json.dumps({
            "armed": armed,
            "failed": dict(watch.failed),
            "seen": [
                [one.host, one.interface, one.kind, str(one.packet)]
                for one in timeline(watch.sightings).sightings
                if one.packet.protocol != "arp" and not one.packet.is_v6
            ],
        }))
"""
WATCHES = """
import asyncio
from crossnet.capture import Filter, watching
from crossnet.transport.ssh import Ssh

async def main():
    hosts = {"app": Ssh("app", "root@10.0.43.15"), "gateway": Ssh("gateway", "gw", become=True)}
    async with watching(hosts, Filter(), seconds=60) as watch:
        print("watches", dict(watch.failed), flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
REQUEST = f"10.0.43.15 > {GATEWAY} icmp echo request"
REPLY = f"{GATEWAY} > 10.0.43.15 icmp echo reply"
SEEN = [
    ["app", "eth0", "sent", REQUEST],
    ["gateway", "eth1", "received", REQUEST],
    ["gateway", "eth1", "sent", REPLY],
    ["app", "eth0", "received", REPLY],
]


def captured(place: Place, wanted: str = "protocol=Protocol.ICMP, echoes=(77,)") -> dict[str, object]:
    told: dict[str, object] = json.loads(place.python(CAPTURE.replace("FILTER", wanted)))
    return told


def nothing_left(place: Place, host: str) -> bool:
    return place.run(host, LEFT).text == ""


def test_what_crossnet_itself_sends_is_left_out(
    place: Place, record_property: Callable[[str, object], None]
) -> None:
    """Without a filter a capture of its own connection would make more of what it captures, for ever."""
    told = captured(place, "")
    record_property("seconds until both watch", told["armed"])
    assert (told["failed"], told["seen"]) == ({}, SEEN)
    assert nothing_left(place, "app")
    assert nothing_left(place, "gateway")


@pytest.mark.parametrize("make", [make_old, make_busybox, make_bare], ids=["centos-7", "busybox", "bare"])
def test_old_and_small_hosts_see_the_same(place: Place, make: Callable[..., None]) -> None:
    with tools_of(place, make):
        told = captured(place)
        assert (told["failed"], told["seen"]) == ({}, SEEN)
        assert nothing_left(place, "app")
        assert nothing_left(place, "gateway")


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "cut"])
def test_nothing_is_left_when_the_connection_goes(
    place: Place, eventually: Callable[..., None], kill: bool
) -> None:
    place.check("controller", "cat > /tmp/watch.py", stdin=WATCHES.encode())
    place.here(f"sh -c '{PYTHON} /tmp/watch.py >/tmp/told 2>&1 & echo $! >/tmp/controller'")
    eventually(lambda: "watches" in place.run("controller", "cat /tmp/told").text, "it watches")
    assert not nothing_left(place, "app")
    controller = place.check("controller", "cat /tmp/controller")
    if kill:
        place.check("controller", f"kill -9 {controller}")
    else:
        for host in ("app", "gateway"):
            place.run(host, "pkill -f '^sshd: (root|ops)'; pkill -f '^sshd-session: (root|ops)'")
    for host in ("app", "gateway"):
        eventually(lambda host=host: nothing_left(place, host), f"{host} has ended all")
    place.run("controller", f"kill -9 {controller}")


def test_an_account_that_may_not_capture_is_told_what_to_do(place: Place) -> None:
    told = json.loads(
        place.python(CAPTURE.replace("FILTER", "").replace('"gw", become=True', '"gw", become=False'))
    )
    said = told["failed"]["gateway"]
    assert said.startswith("the account may not capture ("), said
    assert said.endswith("): log in as root, or set `become: sudo`")
    assert told["seen"] == [SEEN[0], SEEN[3]]


def test_one_session_at_a_time_is_enough(place: Place) -> None:
    """The capture takes it, and a probe has still to be sent from the same host."""
    with sshd_with(place, "app", "MaxSessions 1"), sshd_with(place, "gateway", "MaxSessions 1"):
        told = captured(place)
        assert (told["failed"], told["seen"]) == ({}, SEEN)
        assert nothing_left(place, "app")
