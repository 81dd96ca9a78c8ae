"""What somebody without any right on a gateway can do to crossnet there: nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crossnet.lab.build import Lab
from lab.crossing import Bench

pytestmark = pytest.mark.lab

AS_ANYBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups"


@pytest.mark.parametrize(
    ("called", "word"),
    [
        ("cp /bin/sleep /tmp/named/firewalld && chmod 755 /tmp/named/firewalld", "300"),
        # A program of root's, which is root's own process while it asks for a password.
        ("ln -s $(command -v su) /tmp/named/firewalld", "root"),
    ],
)
def test_a_process_called_firewalld_is_none(lab_up: Callable[..., Lab], called: str, word: str) -> None:
    b = Bench(lab_up("seed"))
    spec = b.spec("to: 10.0.44.1")
    if not b.run("gateway", f"{AS_ANYBODY} true").ok:
        pytest.skip("this lab has one user")
    b.check("gateway", f"mkdir -p /tmp/named && chmod 755 /tmp/named && {called}")
    b.check(
        "gateway",
        f"(sleep 300 | {AS_ANYBODY} /tmp/named/firewalld {word}) >/dev/null 2>&1 & "
        "until grep -lx firewalld /proc/[0-9]*/comm; do sleep 0.1; done",
    )
    b.apply(spec)
    assert b.plan(spec).is_empty
    b.undo(spec)


START = "PATH=/tmp/tools:$PATH sh /etc/crossnet/start"
FORWARDING = "cat /proc/sys/net/ipv4/ip_forward"
# What becomes of each lock that is asked for.
NOTED = "mkdir -p /tmp/tools; printf '#!/bin/sh\\n/usr/bin/flock \"$@\"; got=$?; echo $got >>/tmp/got; exit $got\\n' "
NOTED += ">/tmp/tools/flock; chmod 755 /tmp/tools/flock"


@pytest.fixture
def gate(lab_up: Callable[..., Lab]) -> Bench:
    """A gateway with a fence, on which one may look who gets which lock."""
    b = Bench(lab_up("seed"))
    b.apply(b.spec("to: 10.0.44.1"))
    b.check("gateway", NOTED)
    return b


def test_what_opens_and_closes_the_gateway_waits_for_nobody(gate: Bench) -> None:
    """Whatever an ordinary user can open, he holds a lock on."""
    hold = (
        "for each in /etc/crossnet /etc/crossnet/* /run /run/crossnet*; do "
        "(exec 9<$each && flock 9 && exec sleep 300) & done; sleep 300"
    )
    gate.check(
        "gateway",
        "(umask 077; >/run/crossnet.lock); "
        f"({AS_ANYBODY} sh -c '{hold}') >/dev/null 2>&1 & "
        "until ! flock -n /etc/crossnet true; do sleep 0.1; done",
    )
    gate.check("gateway", f"{START} close")
    assert gate.check("gateway", FORWARDING) == "0\n"
    gate.check("gateway", START)
    assert gate.check("gateway", FORWARDING) == "1\n"
    assert gate.check("gateway", "sort -u /tmp/got; find /run -name 'crossnet*'") == "0\n"


def test_without_the_lock_nothing_is_opened(gate: Bench) -> None:
    gate.check("gateway", "printf '#!/bin/sh\\nexit 1\\n' >/tmp/tools/flock")
    assert not gate.run("gateway", START).ok
    assert gate.check("gateway", FORWARDING) == "0\n"


def test_the_lock_goes_from_one_to_the_next(gate: Bench) -> None:
    """Who waited for a lock that is gone takes the one that is there."""
    gate.check(
        "gateway",
        "mkfifo /tmp/on; "
        "(flock /run/crossnet.lock sh -c 'read -r on </tmp/on; rm /run/crossnet.lock') >/dev/null 2>&1 & "
        "until ! flock -n /run/crossnet.lock true; do sleep 0.1; done; "
        f"({START}; echo $? >/tmp/ended) >/dev/null 2>&1 & "
        "until [ -e /run/crossnet.leave ]; do sleep 0.1; done; echo go >/tmp/on; "
        "until [ -e /tmp/ended ]; do sleep 0.1; done",
    )
    assert gate.check("gateway", "cat /tmp/ended") == "0\n"
    assert gate.check("gateway", FORWARDING) == "1\n"
    assert gate.check("gateway", "find /run -name 'crossnet*'") == ""
