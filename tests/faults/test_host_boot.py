"""A host that loses its power at any moment: it boots OLD, or NEW when that was decided, and nothing is left over."""

from __future__ import annotations

import itertools

import pytest

from faults.hostside import FEW_AND_MANY, HostSide, T, on_each, spread
from faults.oracle import NEW, OLD, count

pytestmark = pytest.mark.lab

RECOVER = "/etc/systemd/system/multi-user.target.wants/crossnet-recover.service"


@pytest.mark.parametrize(("verb", "number"), FEW_AND_MANY)
def test_power_lost_in_a_verb(booting: list[HostSide], verb: str, number: int) -> None:
    calls = booting[0].calls_of(verb)
    with_unit = itertools.cycle([True, True, False])
    points = [(verb, n, next(with_unit)) for n in spread(calls * 9 // 10, number)]
    on_each(booting, points, lose_power_in)
    count(f"power lost: {verb}", len(points))


def lose_power_in(side: HostSide, point: tuple[str, int, bool]) -> None:
    verb, number, with_unit = point
    start = side.state
    side.begin_before(verb)
    while True:
        killed = side.killed_in(verb, number)
        if killed.reached or not side.is_open():
            break
        number = number * 9 // 10
    side.log.append(f"  killed: {killed.told}")
    confirmed = side.run(f"grep -qx confirm {T}/decision").ok
    # Of one that has ended but for the cleaning up the unit is for good: nobody would lay it again.
    with_unit = with_unit or not side.is_open() or side.run(f"test -e {T}/result").ok
    if not with_unit:
        side.check_run(f"rm -f {RECOVER}")
    side.reboot()
    if not with_unit:
        # Without it nobody ends the transaction, and without the decision nothing of it comes back.
        if not confirmed and verb != "release":
            assert side.state_by_record() == start, side.story()
        side.place()
        side.recover()
        if start == NEW and not confirmed:
            side.undo()
            side.state = OLD
            side.check(OLD)
            return
    # Before the unit is laid nothing was changed: then it is for the next one who asks.
    assert not side.is_open() or not side.run(f"test -e {RECOVER}").ok, side.story()
    expected = start
    if confirmed or (verb == "release" and not confirmed):
        expected = NEW if start == OLD else OLD
    side.place()
    side.recover()
    side.check(expected)
    side.state = expected


def test_power_lost_between_the_changes(booting: list[HostSide]) -> None:
    """After each change of the plan; the boot itself ends it, before anybody asks."""
    side = booting[0]
    side.begin(side.state, ("stage",))
    steps = side.steps
    side.rollback()
    for upto in range(steps + 1):
        side.begin(side.state, ("stage", "arm"))
        assert side.apply(upto).ok, side.story()
        has_unit = side.run(f"test -e {RECOVER}").ok
        side.reboot()
        if not has_unit:
            assert upto < 2, side.story()  # nothing was changed before it was laid
            assert side.is_open()
            side.recover()
        assert not side.is_open(), side.story()
        side.check(side.state)
        if upto and has_unit:
            (last,) = side.run("tail -n 1 /var/lib/crossnet/history").text.splitlines()
            assert "\tthe host was rebooted before it was confirmed\trollback\tclean" in last
        count("power lost: between changes")


def test_another_process_with_the_number_of_the_last_boot_is_left_alone(booting: list[HostSide]) -> None:
    """The session that changed things has a number; after the boot it is that of a daemon whose parent has ended."""
    side = booting[0]
    side.begin(side.state, ("stage",))
    side.check_run(f"rm -f {RECOVER}")
    side.reboot()
    number = side.check_run(
        "setsid sh -c 'sleep 300 </dev/null >/dev/null 2>&1 & echo $$' && sleep 0.2"
    ).strip()
    side.check_run(f"echo '{number} 1' >{T}/worker; echo '{number} 1' >{T}/watcher")
    side.recover()
    assert not side.is_open(), side.story()
    assert side.run(f"pkill -KILL -s {number} sleep").ok, "it was killed"
    if side.state == NEW:
        side.undo()
        side.state = OLD
    side.check(OLD)
    count("foreign process")


def test_files_that_cannot_be_removed_after_a_boot_are_told(booting: list[HostSide]) -> None:
    side = booting[1]
    if side.state == NEW:
        side.undo()
        side.state = OLD
    side.begin(OLD, ("stage", "arm", "apply"))
    # It is not run at this boot, so that the disk can be read only before it is.
    side.check_run(f"mv {RECOVER} /var/lib/foreign/link")
    side.reboot()
    side.check_run(
        "mount --bind /etc/systemd/system /etc/systemd/system; mount -o remount,bind,ro /etc/systemd/system"
    )
    answer = side.rollback()
    assert not answer.ok
    assert "crossnet-recover.service" in answer.text
    assert side.is_open()
    side.check_run("umount /etc/systemd/system; rm -f /var/lib/foreign/link")
    side.recover()
    side.check(OLD)
    count("disk read only")
