"""The controller killed with SIGKILL at its messages: all hosts end OLD, or all end NEW, with nothing left over."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from faults.controller import Fault, Ground, Grounds, Ran
from faults.oracle import NEW, OLD, count

pytestmark = pytest.mark.lab

AT_ONCE = 6
GUARD = 30  # seconds
EXTENDED = 60  # seconds that every guard has when the decision is made
UNARMED = 60  # seconds for which a host is kept where no guard was armed
LATE = 25  # seconds more, on a machine that does many things

APPLY = ("apply", "--yes", "--guard", f"{GUARD}s")
UNDO = ("undo", "--yes", "--guard", f"{GUARD}s")


def die(ground: Ground, command: Sequence[str], fault: Fault) -> Ran:
    """Run until the fault; that it was reached is part of the test."""
    ran = ground.operator.run(*command, fault=fault)
    assert ran.reached, f"{fault} was never reached: {ran}"
    assert ran.code == -9, ran
    return ran


def is_decided(ran: Ran) -> str | None:
    """What must come out by the last message that was begun: None where both may."""
    seen = [line.split(maxsplit=1)[1] for line in ran.messages]
    if "gateway commit" not in seen:
        return OLD
    return None if seen[-1] == "gateway commit" else NEW


def ends(ground: Ground, way: str, ran: Ran, was: str) -> None:
    """Let it end in that way, and hold the hosts against what must come out."""
    decided = is_decided(ran)
    other = NEW if was == OLD else OLD
    expected = None if decided is None else was if decided == OLD else other
    if way == "here":
        told = ground.operator.run("recover", "--yes")
    elif way == "elsewhere":
        told = ground.operator.elsewhere().recovered(max(EXTENDED, UNARMED) + LATE)
    else:
        is_armed = any(line.endswith((" apply", " extend")) for line in ran.messages)
        if is_armed:
            # Nobody does anything: what was not decided goes back on every host, by itself.
            ground.operator.until_over(EXTENDED + LATE)
            if expected == was:
                ground.alike(expected, told=ran)
        told = ground.operator.elsewhere().recovered(UNARMED + LATE)
    assert told.code in (0, 3, 6), f"{ran}\nrecover: {told}"
    state = ground.alike(expected, told=f"{ran}\nrecover: {told}")
    assert told.code != 3 or state == was, f"{ran}\nrecover: {told}"


# ---- apply -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "subject", "when"),
    [
        ("app", "stage", "during"),
        ("app", "apply", "during"),
        ("gateway", "commit", "before"),
        ("gateway", "commit", "after"),
    ],
)
def test_apply_killed_and_recovered(ground: Ground, host: str, subject: str, when: str) -> None:
    ran = die(ground, APPLY, Fault(ground.applied.number(host, subject), "kill", when))
    ends(ground, "here", ran, OLD)
    again = ground.operator.elsewhere().run("recover", "--yes")
    assert again.code == 0, again
    assert "Nothing to recover" in again.out
    count("controller killed: apply")


@pytest.mark.faults
@pytest.mark.parametrize(
    ("when", "way"),
    [
        ("before", "here"),
        ("during", "here"),
        ("after", "here"),
        ("during", "guards"),
        ("after", "guards"),
        ("during", "elsewhere"),
    ],
)
def test_apply_killed_at_every_message(grounds: Grounds, when: str, way: str) -> None:
    sweep(grounds, APPLY, when, way, OLD)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("when", "way"), [("before", "here"), ("during", "here"), ("after", "here"), ("during", "guards")]
)
def test_undo_killed_at_every_message(grounds: Grounds, when: str, way: str) -> None:
    sweep(grounds, UNDO, when, way, NEW)


def sweep(grounds: Grounds, command: Sequence[str], when: str, way: str, was: str) -> None:
    first = grounds.take()
    last = len((first.applied if was == OLD else first.undone).messages)
    grounds.give_back(first)

    def attempt(ground: Ground, point: int) -> None:
        if was == NEW:
            ground.carry_out("apply")
        ran = ground.operator.run(*command, fault=Fault(point, "kill", when))
        if not ran.reached:  # one more than a clean run sends
            assert point > last - 2, ran
            assert ran.code == 0, ran
            return
        assert ran.code == -9, ran
        ends(ground, way, ran, was)
        count(f"controller killed: {command[0]}")

    grounds.each(range(1, last + 2), attempt, AT_ONCE)
