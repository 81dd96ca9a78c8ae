"""host.sh killed with SIGKILL at every system call that changes something: the host ends OLD, or it ends NEW."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from faults.hostside import CROSSINGS, ENGINES, HostSide, T, on_each, sides_of, spread
from faults.oracle import NEW, OLD, count

pytestmark = pytest.mark.lab

HOWS = ("self", "all")

# What a controller has said before the verb that is killed, and who ends the transaction after it.
VERBS = {
    "stage": ((), ("caller", "another")),
    "arm": (("stage",), ("caller", "rollback", "another")),
    "apply": (("stage", "arm"), ("guard", "rollback", "caller", "another")),
    "commit": (("stage", "arm", "apply"), ("guard", "again", "rollback", "caller", "another")),
    "release": (("stage", "arm", "apply", "commit"), ("guard", "again", "rollback", "caller", "another")),
    "rollback": (("stage", "arm", "apply"), ("guard", "rollback", "caller", "another")),
    "watch": (("stage", "arm", "apply"), ("again", "rollback", "caller", "another")),
    "expire": (("stage", "arm", "apply"), ("guard", "rollback", "caller", "another")),
    "recover": (("stage", "arm", "apply"), ("rollback", "caller", "another")),
}

# By whose own time the host is put back: the guard that is already there has died, or is too late.
ITS_TIME_HAS_COME = ("watch", "expire", "recover")


@dataclass(frozen=True, slots=True)
class Point:
    """The N-th call of a verb, who is killed there, and who ends the transaction then."""

    verb: str
    number: int
    how: str
    ender: str


@pytest.fixture(scope="module", params=ENGINES)
def sides(request: pytest.FixtureRequest, lab_possible: None) -> Iterator[list[HostSide]]:
    with sides_of(CROSSINGS[request.param]) as made:
        yield made


@pytest.fixture(params=[pytest.param("bash", marks=pytest.mark.faults), "busybox"])
def sides_with_shell(request: pytest.FixtureRequest, lab_possible: None) -> Iterator[list[HostSide]]:
    with sides_of(CROSSINGS["nftables"]) as made:
        for side in made:
            side.shell(request.param)
        yield made


@pytest.mark.parametrize(
    "verb",
    [
        pytest.param(one, marks=[pytest.mark.faults] * (one in ("arm", "watch", "expire", "recover")))
        for one in VERBS
    ],
)
def test_killed_here_and_there(sides: list[HostSide], verb: str) -> None:
    _try(sides, verb, 2)


@pytest.mark.faults
@pytest.mark.parametrize("verb", list(VERBS))
def test_killed_at_every_call(sides: list[HostSide], verb: str) -> None:
    _try(sides, verb, 160)


def test_killed_under_another_shell(sides_with_shell: list[HostSide]) -> None:
    _try(sides_with_shell, "rollback", 4)


@pytest.mark.faults
@pytest.mark.parametrize("verb", list(VERBS))
def test_killed_at_every_call_under_another_shell(sides_with_shell: list[HostSide], verb: str) -> None:
    _try(sides_with_shell, verb, 40)


def _try(sides: list[HostSide], verb: str, number: int) -> None:
    calls = _clean(sides[0], verb)
    assert calls > 20
    hows, enders = itertools.cycle(HOWS), itertools.cycle(VERBS[verb][1])
    points = [Point(verb, n, next(hows), next(enders)) for n in spread(calls * 19 // 20, number)]
    on_each(sides, points, _kill)
    count(f"host.sh killed: {verb}", len(points))


def _clean(side: HostSide, verb: str) -> int:
    """How many calls the verb makes when nobody disturbs it; the host is OLD after that."""
    if side.state == NEW:
        side.state = side.whole(NEW)
    _begin(side, verb)
    killed = side.killed_in(verb, 0, "self")
    assert killed.completed.ok, side.story()
    _end(side, "caller")
    if side.check() == NEW:
        side.whole(NEW)
    side.state = OLD
    return killed.count


def _kill(side: HostSide, point: Point) -> None:
    """A verb makes fewer calls the less often it has to wait: then an earlier one is hit."""
    while not _killed(side, point):
        point = replace(point, number=point.number * 9 // 10)


def _killed(side: HostSide, point: Point) -> bool:
    start = side.state
    _begin(side, point.verb)
    killed = side.killed_in(point.verb, point.number, point.how)
    side.log.append(f"  killed: {killed.told}")
    decision = side.run(f"cat {T}/decision").text.strip()
    _end(side, point.ender)
    other = NEW if start == OLD else OLD
    if point.verb == "release":
        expected = other
    elif point.verb == "commit":
        told = "confirmed" in killed.completed.text
        assert decision == "confirm" or not told, f"{point}{side.story()}"
        confirmed_again = point.ender == "again"
        expected = other if decision == "confirm" or confirmed_again else start
    else:
        expected = start
    if (side.transaction, "confirm", "unwritten") in side.history():
        # A part of a step was killed, and that was told: what is missing comes, or goes, with the next change.
        assert point.how == "self", f"{point}{side.story()}"
        side.undo()
        expected = OLD
    side.check(expected)
    side.state = expected
    return killed.reached


def _begin(side: HostSide, verb: str) -> None:
    side.begin(side.state, VERBS[verb][0])
    if verb in ITS_TIME_HAS_COME:
        side.kill_watcher()
        side.pass_time()


def _end(side: HostSide, ender: str) -> None:
    """What a host goes through after something has died there, until its transaction is over."""
    decision = side.run(f"cat {T}/decision").text.strip()
    if ender == "guard" and side.is_open():
        side.pass_time()
        if not side.has_watcher():  # it was what has been killed: the timer of systemd is the second one
            side.expire()
        side.until_over()
    elif ender == "again":
        if decision == "rollback":
            side.rollback()
        else:
            side.commit()
            side.release()
    elif ender == "rollback":
        answer = side.rollback()
        assert answer.ok or "gone" in answer.text or answer.returncode in (2, 127), side.story()
        if "gone confirm" in answer.text:
            side.release()
    elif ender == "another":
        ended = side.transaction
        side.pass_time()
        answer = side.stage(side.state_by_record())
        assert answer.ok, side.story()
        rolled = side.rollback()
        assert "clean" in rolled.text, side.story()
        side.transaction = ended
    side.pass_time()
    side.place()
    side.recover()
