"""A tool that host.sh calls fails, does its work and then says that it failed, or hangs and ignores SIGTERM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from crossnet.errors import HostError
from crossnet.transport import Completed
from faults.hostside import CROSSINGS, ENGINES, ROOT, HostSide, T, on_each, sides_of
from faults.oracle import NEW, OLD, count

pytestmark = pytest.mark.lab

TOOLS = {
    "nftables": [
        "ip",
        "nft",
        "sysctl",
        "mv",
        "ln",
        "sync",
        "flock",
        "grep",
        "sha256sum",
        "logger",
        "timeout",
        "setsid",
    ],
    "iptables": ["iptables", "sysctl"],
}

# With one call of it, or with every one from then on.
ONE, EVERY = "one", "every"

KINDS = {
    "counts": "",
    "fails": "echo broken on purpose >&2; exit 1",
    "lies": '(exec -a "${0##*/}" $real "$@"); exit 1',
    "hangs": "trap '' TERM HUP INT; exec sleep 1000",
}

SHIM = """
echo >>/tmp/calls-@tool@
mapfile -t calls </tmp/calls-@tool@
if [ ${#calls[@]} -@compare@ @number@ ]; then
    echo >>/tmp/reached
    @fault@
fi
exec -a "${0##*/}" $real "$@"
"""

PHASES = {
    "stage": (),
    "apply": ("stage", "arm"),
    "rollback": ("stage", "arm", "apply"),
    "release": ("stage", "arm", "apply", "commit"),
}


@dataclass(frozen=True, slots=True)
class Point:
    """The N-th call of a tool in a verb, or it and all later ones."""

    phase: str
    tool: str
    kind: str
    number: int
    calls: str = ONE


# `note` calls a tool behind the back of whoever asked.
REACHED = "for _ in $(seq 50); do [ ! -e /tmp/reached ] || exit 0; sleep 0.1; done; exit 1"


@pytest.fixture(scope="module", params=ENGINES)
def sides(request: pytest.FixtureRequest, lab_possible: None) -> Iterator[list[HostSide]]:
    with sides_of(CROSSINGS[request.param]) as made:
        yield made


# Each engine and verb; of iptables no tool is called where files are written.
EACH = [
    (engine, phase) for engine in CROSSINGS for phase in PHASES if phase != "release" or engine != "iptables"
]
each_phase = pytest.mark.parametrize(("sides", "phase"), EACH, indirect=["sides"])


@pytest.fixture
def tools(sides: list[HostSide]) -> list[str]:
    engine = "iptables" if sides[0].spec.crossings[0].firewall == "iptables" else "nftables"
    return TOOLS[engine]


@each_phase
def test_a_tool_that_fails_or_says_so(sides: list[HostSide], tools: list[str], phase: str) -> None:
    points = []
    for tool, calls in _counted(sides[0], tools, phase).items():
        # Without flock everybody waits a minute and a half before he goes on.
        points.append(Point(phase, tool, "fails", 1, ONE if tool == "flock" else EVERY))
        points.append(Point(phase, tool, "lies", (calls + 1) // 2))
    _try(sides, points)


@each_phase
def test_a_tool_that_fails_at_any_call(sides: list[HostSide], tools: list[str], phase: str) -> None:
    points = []
    for tool, calls in _counted(sides[0], tools, phase).items():
        for number in range(1, calls + 1):
            points += [
                Point(phase, tool, kind, number, how) for kind in ("fails", "lies") for how in (ONE, EVERY)
            ]
    _try(sides, points)


@each_phase
def test_a_tool_that_hangs(sides: list[HostSide], tools: list[str], phase: str) -> None:
    _try(sides, [Point(phase, tool, "hangs", 1) for tool in _counted(sides[0], tools, phase)])


def test_a_change_that_hangs_is_ended_by_the_guard(sides: list[HostSide], tools: list[str]) -> None:
    points = [Point("apply", tool, "hangs", 1) for tool in tools if tool in ("nft", "sysctl", "iptables")]
    _try(sides, points)


# The last crossing takes with it what it was seen to do; a change that is written whole, the mark of one that is not.
@pytest.mark.parametrize(("state", "name"), [(NEW, "verified.json"), (OLD, "unwritten")])
def test_a_removal_that_is_killed_is_made_up_for(sides: list[HostSide], state: str, name: str) -> None:
    side = sides[0]
    if state == NEW:
        side.whole(OLD)
    side.begin(state, ("stage", "arm", "apply", "commit"))
    side.check_run(f"rm -f /tmp/once; touch {ROOT}/{name}")
    once = f'case "$*" in *{ROOT}/{name}*) [ -e /tmp/once ] || {{ : >/tmp/once; kill -KILL $$; }} ;; esac'
    side.shim("rm", f'{once}; exec "$real" "$@"')
    try:
        side.release()
        if side.is_open():
            side.pass_time()
            side.until_over()
    finally:
        side.mend("rm")
    assert side.run("test -e /tmp/once").ok, "the removal was not killed"
    assert not side.run(f"test -e {ROOT}/{name}").ok
    if side.check() == NEW:
        side.undo()
    count("removal that is killed")


def _try(sides: Sequence[HostSide], points: Sequence[Point]) -> None:
    assert points, "no tool of these is called then"
    reached: list[Point] = []

    def attempt(side: HostSide, point: Point) -> None:
        if _break(side, point):
            reached.append(point)

    on_each(sides, points, attempt)
    # The last call of many may not be made: who waits for the lock asks as often as it takes, and of a verb and its
    # guard it is not always the same one that looks whether all is done.
    assert len(reached) >= 0.9 * len(points), set(points) - set(reached)
    assert all(point in reached for point in points if point.number == 1)
    for kind in {point.kind for point in points}:
        count(f"tool that {kind}", sum(point.kind == kind for point in reached))


def _counted(side: HostSide, tools: Sequence[str], phase: str) -> dict[str, int]:
    """How often each tool is called at least when nothing is wrong; those only that are called at all.

    Who waits for the lock in one run, as for the guard's look at the time, asks for it many times more.
    """
    runs = [_calls(side, tools, phase) for _ in range(3)]
    least = {tool: min(run[tool] for run in runs) for tool in tools}
    return {tool: number for tool, number in least.items() if number}


def _calls(side: HostSide, tools: Sequence[str], phase: str) -> dict[str, int]:
    _begin(side, phase)
    for tool in tools:
        _put(side, Point(phase, tool, "counts", 1, EVERY))
    _call(side, phase)
    for tool in tools:
        side.mend(tool)
    calls = {tool: int(side.check_run(f"cat /tmp/calls-{tool} 2>/dev/null | wc -l")) for tool in tools}
    _leave(side)
    return calls


def _begin(side: HostSide, phase: str) -> None:
    side.begin(OLD, PHASES[phase])
    if phase == "stage":  # the tools that place the script are not those of the script
        side.place()
        side.prove()


def _put(side: HostSide, point: Point) -> None:
    side.check_run(f"rm -f /tmp/calls-{point.tool} /tmp/reached")
    values = {
        "tool": point.tool,
        "compare": "ge" if point.calls == EVERY else "eq",
        "number": str(point.number),
        "fault": KINDS[point.kind],
    }
    text = SHIM
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    side.shim(point.tool, text)


def _call(side: HostSide, phase: str, timeout: float = 240) -> Completed:
    verbs: dict[str, Callable[..., Completed]] = {"apply": side.apply, "rollback": side.rollback}
    if phase == "stage":
        return side.stage(OLD, timeout=timeout)
    if phase == "release":
        return side.release(timeout=timeout)
    return verbs[phase](timeout=timeout)


def _break(side: HostSide, point: Point) -> bool:
    """Whether it was reached; the host is as it says in any case."""
    _begin(side, point.phase)
    _put(side, point)
    try:
        said = _suffer(side, point)
        reached = side.run(REACHED).ok
        if reached and point.phase == "apply" and point.kind == "hangs":
            side.pass_time()
            side.until_over()
    finally:
        side.mend(point.tool)
    side.check_run("pkill -KILL -f '^sleep 1000' || true")
    if "clean" in said:
        side.check(OLD)
    if "written" in said:
        side.check(NEW)
    _leave(side)
    return reached


def _suffer(side: HostSide, point: Point) -> list[str]:
    """What the verb says that meets it."""
    try:
        # What hangs in a change is ended by the guard, whose time is asked for below.
        short = point.kind == "hangs" and point.phase in ("stage", "apply")
        answer = _call(side, point.phase, 3 if short else 240)
        # One that could not clean up behind itself says so with its exit code, and is asked again below.
        said = answer.text.splitlines() if answer.ok else []
    except HostError:
        assert point.kind == "hangs", side.story()
        said = []
    return said


def _leave(side: HostSide) -> None:
    """The tool is as it was: what the host was told is done now, or was done and can be undone."""
    if side.run(f"test -e {T}/decision && grep -q confirm {T}/decision").ok:
        side.release()
    elif side.is_open():
        side.pass_time()
        side.rollback()
    side.place()
    side.recover()
    if side.state_by_record() == NEW:
        side.undo()
    side.check(OLD)
