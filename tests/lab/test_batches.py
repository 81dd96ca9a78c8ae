"""Many routes of a client are one step: made whole, or put back whole; whichever of them fails is named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

import crossnet
from crossnet.errors import RolledBack
from crossnet.facts.routes import OWN_PROTOCOL, parse_routes
from crossnet.lab.build import Lab
from crossnet.resources import Change, Command, RouteResource
from crossnet.transaction.batches import batched
from crossnet.values import Family
from lab.crossing import Bench

pytestmark = pytest.mark.lab

MANY = [f"10.0.44.{number}" for number in range(1, 101)]
OTHERS = ["10.0.44.1", *(f"10.0.44.{number}" for number in range(52, 151))]


@pytest.fixture
def bench(lab_up: Callable[..., Lab]) -> Bench:
    return Bench(lab_up("seed"))


def to(destinations: Sequence[str]) -> str:
    return f"to: [{', '.join(destinations)}], persist: none, probe: icmp/10.0.44.1"


def routed(b: Bench) -> int:
    return b.check("app", f"ip -4 route show proto {OWN_PROTOCOL}").count("via 10.0.43.101")


def instead_of_ip(b: Bench, script: str) -> None:
    """`ip` of the client is this; the real one is /tmp/real-ip."""
    b.check("app", "cp $(readlink -f $(command -v ip)) /tmp/real-ip")
    b.check("app", "cat > /tmp/ip && chmod 755 /tmp/ip", stdin=script.encode())
    b.check("app", "mount --bind /tmp/ip $(readlink -f $(command -v ip))")


def test_many_destinations_come_and_go_as_one(bench: Bench) -> None:
    before = bench.fingerprints()
    spec = bench.spec(to(MANY))
    calls = '#!/bin/sh\n[ "$2" != route ] || echo x >>/tmp/calls\nexec /tmp/real-ip "$@"\n'
    instead_of_ip(bench, calls)
    bench.apply(spec)
    assert routed(bench) == len(MANY)
    assert bench.plan(spec).is_empty
    moved = bench.spec(to(OTHERS))
    bench.apply(moved)
    assert routed(bench) == len(OTHERS)
    assert bench.plan(moved).is_empty
    bench.undo(moved)
    # Each change by itself would have been looked at more often than this alone.
    assert int(bench.check("app", "wc -l </tmp/calls")) < len(MANY)
    bench.check("app", "umount $(readlink -f $(command -v ip)); rm -f /tmp/ip /tmp/real-ip /tmp/calls")
    assert bench.differences(before) == []


def test_the_route_that_fails_is_named_and_those_before_it_go_again(bench: Bench) -> None:
    plan = bench.plan(bench.spec(to(MANY)))
    before = bench.fingerprints()
    # Just before the batch somebody else makes one of its routes.
    theirs = "[ -e /tmp/once ] || { : >/tmp/once; /tmp/real-ip route add 10.0.44.70 via 10.0.43.101 proto static; }"
    instead_of_ip(
        bench, f'#!/bin/sh\ncase " $* " in *" -batch - "*) {theirs} ;; esac\nexec /tmp/real-ip "$@"\n'
    )
    with pytest.raises(RolledBack) as failed:
        asyncio.run(crossnet.apply(plan))
    assert "ip -4 route add 10.0.44.70/32 via 10.0.43.101" in str(failed.value)
    assert "File exists" in str(failed.value)
    assert routed(bench) == 0
    assert "proto static" in bench.check("app", "ip route show 10.0.44.70")
    bench.check("app", "/tmp/real-ip route del 10.0.44.70 proto static")
    bench.check("app", "umount $(readlink -f $(command -v ip)); rm -f /tmp/ip /tmp/real-ip /tmp/once")
    assert bench.differences(before) == []


@pytest.mark.parametrize("first", [[], MANY], ids=["made", "exchanged"])
def test_a_batch_that_was_cut_short_is_put_back_whole(bench: Bench, first: Sequence[str]) -> None:
    if first:
        bench.apply(bench.spec(to(first)))
    plan = bench.plan(bench.spec(to(OTHERS)))
    held = bench.fingerprints()
    half = 'head -n 20 >/tmp/half; /tmp/real-ip "$1" -batch /tmp/half; kill -KILL $$'
    instead_of_ip(bench, f'#!/bin/sh\ncase "$*" in "-4 -batch -") {half} ;; esac\nexec /tmp/real-ip "$@"\n')
    with pytest.raises(RolledBack, match="exit code 137"):
        asyncio.run(crossnet.apply(plan))
    bench.check("app", "umount $(readlink -f $(command -v ip)); rm -f /tmp/ip /tmp/real-ip /tmp/half")
    assert bench.differences(held) == []


def test_an_ip_without_batches_makes_them_all_the_same(bench: Bench) -> None:
    """That of busybox, in each direction, and where a part is there already."""
    lines = "".join(f"{each} via 10.0.43.101 dev eth0 proto {OWN_PROTOCOL}\n" for each in MANY)
    changes = [Change(None, RouteResource(route)) for route in parse_routes(lines, Family.V4)]
    (batch,) = batched(changes)
    (do,), (undo,) = batch.steps, batch.undo
    assert isinstance(do, Command)
    assert isinstance(undo, Command)
    before = bench.fingerprints()
    bench.check("app", "mkdir /tmp/bin && ln -s $(command -v busybox) /tmp/bin/ip")
    there = ("env", "PATH=/tmp/bin:/usr/sbin:/usr/bin:/sbin:/bin")

    def run(step: Command) -> str:
        words = " ".join(f"'{word}'" for word in (*there, *step.argv))
        ran = bench.run("app", f"{words} 2>&1", stdin=step.stdin)
        return f"{ran.returncode} {ran.text}"

    assert run(do) == "0 "
    assert routed(bench) == len(MANY)
    bench.check("app", f"ip route del 10.0.44.40 proto {OWN_PROTOCOL}")
    assert "Command failed -:1\n" in run(do)
    assert routed(bench) == len(MANY) - 1
    assert "Command failed -:61\n" in run(undo)
    assert routed(bench) == 0
    bench.check("app", "rm -r /tmp/bin")
    assert bench.differences(before) == []
