"""What a diagnosis makes of hosts that cannot be asked, may not be asked, or have few tools."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab.old_tools_host import make_bare, make_busybox, make_old
from lab.test_old_tools import tools_of
from lab.test_ssh import SPEC, Place, lab_with_sshd, place

pytestmark = pytest.mark.lab

__all__ = ["lab_with_sshd", "place"]  # fixtures

ROUTE = "ip route replace 10.0.44.0/24 via 10.0.43.101"
NOT_ROUTE = "ip route del 10.0.44.0/24"
WORKS = """echo 1 >/proc/sys/net/ipv4/ip_forward
iptables -w -t nat -A POSTROUTING -o eth0 -j SNAT --to-source 10.0.44.63"""
NOT_WORKS = "echo 0 >/proc/sys/net/ipv4/ip_forward; iptables -w -t nat -F POSTROUTING; iptables -w -F FORWARD"
DROPS = "iptables -w -A FORWARD -d 10.0.44.1 -j DROP"


@contextmanager
def path(place: Place, *broken: str, spec: str = SPEC) -> Iterator[None]:
    """A path that works, but for what these commands do to the gateway."""
    place.check("controller", "cat > /tmp/crossnet.yaml", stdin=spec.encode())
    place.check("app", ROUTE)
    place.check("gateway", "\n".join((WORKS, *broken)))
    try:
        yield
    finally:
        place.run("app", NOT_ROUTE)
        place.run("gateway", NOT_WORKS)


def shown(place: Place, *words: str) -> str:
    """What a person is told."""
    ran = place.crossnet(" ".join(("diagnose", *words)))
    assert "Traceback" not in ran.text + ran.error_text
    assert "mistake of crossnet" not in ran.error_text
    return ran.text


def diagnosed(place: Place, *words: str) -> dict[str, Any]:
    """The same for a program."""
    told: dict[str, Any] = json.loads(shown(place, "--json", *words))
    return told


def notes(told: dict[str, Any]) -> dict[str, str]:
    return {each["code"]: each["detail"] for each in told["notes"]}


NOBODY = SPEC.replace("ssh: gw", "ssh: root@10.0.43.250")
NO_ROOT = SPEC.replace("{ssh: gw, become: sudo}", "{ssh: gw}")


def test_a_gateway_that_cannot_be_reached_is_no_error(place: Place) -> None:
    with path(place, spec=NOBODY):
        told = diagnosed(place)
        assert (told["result"], told["forward"]["disposition"]) == ("reachable", "delivered")
        assert "gateway: tried to connect to root@10.0.43.250" in notes(told)["facts-missing"]
        assert "host-not-observed" in notes(told)
    with path(place, DROPS, spec=NOBODY):
        told = diagnosed(place)
        ends = [point["host"] for point in told["forward"]["at"]["between"]]
        assert ends == ["app", "10.0.44.1"]
        assert (told["result"], told["forward"]["disposition"]) == ("unreachable", "undetermined")
        assert told["forward"]["confidence"] == "candidates"
        assert {"filter-rule-drop", "ip-forward-disabled", "destination-silent"} <= set(
            told["forward"]["candidates"]
        )
        assert all("\n" not in detail for detail in notes(told).values())


def test_without_root_on_the_gateway_it_says_what_it_lost(place: Place) -> None:
    with path(place, spec=NO_ROOT):
        told = diagnosed(place)
        assert told["result"] == "reachable"
        assert "the account may not capture" in notes(told)["insufficient-privilege"]
        assert "`become: sudo`" in notes(told)["insufficient-privilege"]
        assert "host-not-observed" not in notes(told)
    with path(place, "echo 0 >/proc/sys/net/ipv4/ip_forward", spec=NO_ROOT):
        told = diagnosed(place)
        assert (told["result"], told["forward"]["code"]) == ("unreachable", "ip-forward-disabled")
        assert told["forward"]["confidence"] == "inferred"
        assert told["forward"]["at"]["host"] == "gateway"
        assert "Ip.InAddrErrors rose by " in "".join(told["forward"]["evidence"])
    with path(place, DROPS, spec=NO_ROOT):
        told = diagnosed(place)
        assert told["result"] == "unreachable"
        assert told["forward"]["confidence"] == "candidates"
        assert {"filter-rule-drop", "destination-silent"} <= set(told["forward"]["candidates"])
        assert "only root may read its rules" in told["forward"]["detail"]


def test_without_root_on_the_client_the_gateway_says_where_it_stops(place: Place) -> None:
    spec = SPEC.replace("root@10.0.43.15", "ops@10.0.43.15")
    with path(place, DROPS, spec=spec):
        told = diagnosed(place)
        assert (told["result"], told["forward"]["code"]) == ("unreachable", "filter-rule-drop"), told
        assert told["forward"]["at"]["host"] == "gateway"
        assert "the account may not capture" in notes(told)["insufficient-privilege"]


@pytest.mark.parametrize("make", [make_old, make_busybox, make_bare], ids=["centos-7", "busybox", "bare"])
def test_old_and_small_hosts(place: Place, make: Callable[..., None]) -> None:
    with tools_of(place, make):
        with path(place):
            told = diagnosed(place)
            assert (told["result"], told["forward"]["code"]) == ("reachable", None), told
        with path(place, DROPS):
            told = diagnosed(place)
            assert (told["result"], told["forward"]["code"]) == ("unreachable", "filter-rule-drop"), told
            assert told["forward"]["at"] == {"host": "gateway", "interface": "eth1"}
            assert told["forward"]["confidence"] == "proved"
            assert "-d 10.0.44.1/32 -j DROP" in told["forward"]["detail"]


def test_without_anything_that_captures_facts_and_counters_decide(place: Place) -> None:
    hidden = "for each in $(ls -d /usr/bin/tcpdump /usr/sbin/tcpdump /usr/bin/python3* 2>/dev/null); do "
    for host in ("app", "gateway"):
        place.check(
            host,
            f"printf '#!/bin/sh\\nexit 127\\n' >/tmp/none; chmod 755 /tmp/none; {hidden} "
            "mount --bind /tmp/none $each; done",
        )
    try:
        for broken, code in (
            ("", None),
            (DROPS, "filter-rule-drop"),
            ("echo 0 >/proc/sys/net/ipv4/ip_forward", "ip-forward-disabled"),
            ("iptables -w -t nat -F POSTROUTING", "snat-missing"),
        ):
            with path(place, broken):
                told = diagnosed(place)
                assert told["result"] == ("unreachable" if code else "reachable"), told
                half = told["reply"] if code == "snat-missing" else told["forward"]
                assert half["code"] == code, told
                assert notes(told)["host-not-observed"].endswith("to see packets there")
    finally:
        for host in ("app", "gateway"):
            place.run(host, f"{hidden} umount $each; done")


def test_a_client_without_ping_and_bash_connects_with_nc(place: Place) -> None:
    place.check("target", "nc -l -k -n -p 8080 >/dev/null 2>&1 & until ss -ltn | grep -q :8080; do :; done")
    with tools_of(place, make_busybox):
        place.check("app", "rm /tmp/tools/bin/ping /tmp/tools/bin/ping6")
        with path(place):
            told = diagnosed(place, "--to", "10.0.44.1:8080")
            assert told["result"] == "reachable"
            told = diagnosed(place, "--to", "10.0.44.1:8081")
            assert told["result"] == "reachable"
            assert "destination-port-closed" in notes(told)
            told = diagnosed(place)
            assert told["result"] == "undetermined"
            assert "app has no tool to send" in notes(told)["facts-missing"]
        with path(place, DROPS):
            told = diagnosed(place, "--to", "10.0.44.1:8080")
            assert (told["result"], told["forward"]["code"]) == ("unreachable", "filter-rule-drop"), told


@contextmanager
def hung(place: Place, host: str) -> Iterator[None]:
    """Every sshd of a host stands still: connections are taken by its kernel, and nobody answers."""
    which = "$(cat /tmp/sshd/pid)"
    place.check(host, f"kill -STOP {which}")
    try:
        yield
    finally:
        place.check(host, f"kill -CONT {which}")


def test_a_gateway_that_stands_still_holds_nobody_up(place: Place) -> None:
    with path(place), hung(place, "gateway"):
        begun = time.monotonic()
        ran = place.crossnet("diagnose")
        took = time.monotonic() - begun
    assert "REACHABLE" in ran.text, ran.text + ran.error_text
    assert "note: facts-missing: gateway" in ran.text
    assert took < 40


def test_a_tool_that_never_ends_costs_its_host_and_not_the_others(place: Place) -> None:
    """Facts are waited for as always, for half a minute; packets are still seen after it."""
    place.check("gateway", "cat >/tmp/slow; chmod 755 /tmp/slow", stdin=b"#!/bin/sh\nexec sleep 1234\n")
    with path(place, DROPS):
        place.check("gateway", "mount --bind /tmp/slow $(readlink -f $(command -v nft))")
        try:
            told = diagnosed(place)
        finally:
            place.run("gateway", "umount $(readlink -f $(command -v nft))")
    assert told["forward"]["at"] == {"host": "gateway", "interface": "eth1"}
    assert set(notes(told)) == {"facts-missing", "return-path-not-checked"}
    assert "no answer within 30" in notes(told)["facts-missing"]
    assert "sleep 1234" not in place.check("gateway", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
