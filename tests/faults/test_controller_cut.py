"""The way between controller and hosts is cut, in one direction or both, at a message over real SSH."""

from __future__ import annotations

import itertools
import os
import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from faults.controller import Fault
from faults.controller_over_ssh import MANAGED, SshGround
from faults.oracle import NEW, OLD, count

pytestmark = pytest.mark.lab

AT_ONCE = 6
GUARD = 20
EXTENDED = 60
AFTER = 5  # seconds

APPLY = ("apply", "--yes", "--guard", f"{GUARD}s")

STEPS = (
    ("gateway", "stage"),
    ("app", "stage"),
    ("gateway", "arm"),
    ("app", "arm"),
    ("gateway", "apply"),
    ("app", "apply"),
    ("gateway", "extend"),
    ("app", "extend"),
    ("gateway", "commit"),
    ("app", "commit"),
    ("gateway", "release"),
    ("app", "release"),
)
DECIDING = ("extend", "commit", "release")


@dataclass(frozen=True, slots=True)
class Cut:
    """From before a message to a host on, in a direction; healed 3 s later, or when the guards went off."""

    host: str
    subject: str
    direction: str
    healed: str

    def __str__(self) -> str:
        return f"{self.host} {self.subject} {self.direction}, healed {self.healed}"

    @property
    def lasts(self) -> float:
        if self.healed == "soon":
            return 3
        return (EXTENDED if self.subject in DECIDING else GUARD) + AFTER


ALL = tuple(
    Cut(host, subject, direction, healed)
    for (host, subject), direction, healed in itertools.product(
        STEPS, ("in", "out", "both"), ("soon", "after the guard")
    )
)
SOME = (
    Cut("app", "apply", "both", "soon"),
    Cut("gateway", "commit", "out", "soon"),
)


class SshGrounds:
    def __init__(self) -> None:
        self._free: queue.SimpleQueue[SshGround] = queue.SimpleQueue()
        self._made: list[SshGround] = []
        self._numbers = itertools.count(1)

    def take(self) -> SshGround:
        try:
            return self._free.get_nowait()
        except queue.Empty:
            made = SshGround(f"t{os.getpid()}-s{next(self._numbers)}")
            self._made.append(made)
            made.learn()
            return made

    def each(self, points: tuple[Cut, ...], attempt: Callable[[SshGround, Cut], None]) -> None:
        def one(point: Cut) -> str:
            ground = self.take()
            try:
                attempt(ground, point)
                ground.restore()
            except Exception as error:
                return f"---- {point}: {type(error).__name__}: {error}"
            self._free.put(ground)
            return ""

        with ThreadPoolExecutor(AT_ONCE) as workers:
            failed = [text for text in workers.map(one, points) if text]
        assert not failed, f"{len(failed)} points failed\n" + "\n".join(failed)

    def down(self) -> None:
        for ground in self._made:
            ground.down()


@pytest.fixture(scope="module")
def grounds(sshd_possible: None) -> Iterator[SshGrounds]:
    made = SshGrounds()
    yield made
    made.down()


def suffer(ground: SshGround, point: Cut) -> None:
    fault = Fault(ground.applied.number(point.host, point.subject), "stop", "before")
    running = ground.start(*APPLY, fault=fault)
    running.until_stopped()
    ground.cut(point.direction, [point.host])
    running.go_on()
    time.sleep(point.lasts)  # the length of the cut is the fault itself
    assert ground.heal([point.host]) > 0, "nothing was dropped"
    told = running.end()
    tell_truth(ground, point, told.code, str(told))
    count("way cut")


def tell_truth(ground: SshGround, point: Cut, code: int, told: str) -> None:
    """What the exit code says holds in this moment; and whatever it is, recover brings the hosts together."""
    if code == 0:
        ground.alike(NEW, told=f"{point}\n{told}")
    elif code == 3:
        ground.alike(OLD, told=f"{point}\n{told}")
    elif code == 1:
        assert point.subject in ("stage", "arm"), f"{point}: something was changed before: {told}"
    elif code == 6:
        # The answer to the first host's commit was lost for longer than the other's guard waits, or the other way.
        assert point.subject == "commit", f"{point}\n{told}"
        assert point.healed != "soon", f"{point}\n{told}"
    else:
        raise AssertionError(f"{point}: {told}")
    recovered = ground.recovered()
    assert recovered.code in (0, 3), f"{point}\n{told}\nrecover: {recovered}"
    expected = {0: NEW, 1: OLD, 3: OLD, 6: None}[code]
    ground.alike(expected, told=f"{point}\n{told}\nrecover: {recovered}")


def test_way_cut_at_some_messages(grounds: SshGrounds) -> None:
    grounds.each(SOME, suffer)


@pytest.mark.faults
@pytest.mark.parametrize("healed", ["soon", "after the guard"])
@pytest.mark.parametrize("direction", ["in", "out", "both"])
def test_way_cut_at_every_message(grounds: SshGrounds, direction: str, healed: str) -> None:
    grounds.each(tuple(cut for cut in ALL if (cut.direction, cut.healed) == (direction, healed)), suffer)


@pytest.mark.faults
@pytest.mark.parametrize("subject", ["apply", "commit"])
def test_way_that_is_never_healed_is_not_told_as_rolled_back(grounds: SshGrounds, subject: str) -> None:
    """The host puts itself back, and the controller, who cannot see it, says that it does not know."""
    ground = grounds.take()
    fault = Fault(ground.applied.number("app", subject), "stop", "before")
    running = ground.start(*APPLY, fault=fault)
    running.until_stopped()
    ground.cut("both", MANAGED)
    running.go_on()
    told = running.end()
    assert ground.heal(MANAGED) > 0
    assert told.code == (4 if subject == "apply" else 6), told
    assert "crossnet recover" in told.err
    assert "app: " in told.err
    recovered = ground.recovered()
    assert recovered.code == 0, recovered
    ground.alike(OLD if subject == "apply" else NEW)
    count("way cut")
