"""A confirmation that meets the deadline and two rollbacks: exactly one decision, and everybody is told that one."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossnet.transaction.agent import script_text
from crossnet.transaction.bundle import packed
from faults.hostside import CROSSINGS, HostSide, T, sides_of, spread
from faults.oracle import OLD, count
from lab.elsewhere import PYTHON

# Two that come within milliseconds of each other.
pytestmark = [pytest.mark.lab, pytest.mark.deadlines]

RACE = Path(__file__).with_name("hostside_race.py").read_text(encoding="utf-8")
FOLDER = "/var/lib/race/template"

# A transaction with one change, which is made: `mark` beside it says new instead of old.
FILES = {
    "journal.json": "{}",
    "audit": "now\tt\tsomebody\ta race\n",
    "services": "",
    "live/0001/what": "file mark\n",
    "live/0001/do.01": f"write\n{FOLDER}/mark\n644\n-\n",
    "live/0001/do.01.data": "new\n",
    "live/0001/undo.01": f"write\n{FOLDER}/mark\n644\n-\n",
    "live/0001/undo.01.data": "old\n",
    "live/0001/look.01": f"state\n{FOLDER}/mark\n",
}


@pytest.fixture(scope="module")
def side(lab_possible: None) -> Iterator[HostSide]:
    with sides_of(CROSSINGS["nftables"], 1, own_clock=False) as (made,):
        yield made


@pytest.mark.parametrize("rounds", [24, pytest.param(1000, marks=pytest.mark.faults)])
def test_one_decision_at_the_deadline(side: HostSide, rounds: int) -> None:
    _template(side)
    winners: Counter[str] = Counter()
    # Wider than the 50 ms in question: on a busy machine a process is started later than it was meant to.
    for jitter in (0.05, 0.6):
        for result in _play(side, rounds // 2, jitter):
            winners[_judge(result)] += 1
    assert len(winners) == 2, winners  # else they never met
    side.check_run("rm -rf /var/lib/race")
    side.check(OLD)
    count("confirm against timer", rounds)


def _judge(result: dict[str, Any]) -> str:
    told = f"{result}"
    decision: str
    ((decision, how),) = result["history"]
    commit, *backs = [answer for answer in result["answers"] if answer[0] in ("commit", "rollback")]
    assert (commit[2] == "confirmed") == (decision == "confirm"), told
    for back in backs:
        assert (
            back[2]
            in {"rollback": ("clean", "gone t", "gone none"), "confirm": ("gone confirm", "gone none")}[
                decision
            ]
        ), told
    assert (decision, how) in (("confirm", "written"), ("rollback", "clean")), told
    assert result["mark"] == {"confirm": "new", "rollback": "old"}[decision], told
    assert result["left"] == [], told
    return decision


def _template(side: HostSide) -> None:
    bundle = packed((name, text.encode()) for name, text in FILES.items())
    digest = hashlib.sha256(bundle).hexdigest()
    side.check_run(f"rm -rf /var/lib/race; mkdir -p {FOLDER}; umask 022; echo old >{FOLDER}/mark")
    side.write(f"{FOLDER}/host.sh", script_text().encode())
    staged = side.words("sh", f"{FOLDER}/host.sh", "stage", "t", digest, stdin=bundle)
    assert staged.ok, staged
    side.check_run(f"rm -rf {FOLDER}/drill; sleep 1.5; echo 1 >{FOLDER}/transaction/step")


def _play(side: HostSide, rounds: int, jitter: float) -> list[dict[str, Any]]:
    answer = side.words(PYTHON, "-I", "-S", "-c", RACE, FOLDER, str(rounds), str(jitter), timeout=1800)
    assert answer.ok, answer.error_text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_commit_that_wakes_up_late_decides_nothing(side: HostSide) -> None:
    """It stood still after it had asked which transaction is open; that one is over, and another one is open."""
    side.begin(OLD, ("stage", "arm", "apply"))
    late = side.transaction
    script = side.script("commit")
    calls = side.killing("self", 0, side.commit).count
    side.release()
    side.undo()
    for number in spread(calls, 3):
        side.begin(OLD, ("stage", "arm", "apply"))
        late = side.transaction
        side.check_run("rm -f /tmp/stopped /tmp/late")
        side.in_background(["sh", script, "commit", late], "stop", number, "/tmp/late")
        side.until(lambda: side.run("test -e /tmp/stopped || test -e /tmp/late.done").ok, "the stop")
        if side.run("test -e /tmp/late.done").ok:
            break
        decided = side.run(f"cat {T}/decision").text.strip()
        assert side.rollback().ok or decided == "confirm", side.story()
        if decided == "confirm":
            side.release()
            side.bench.undo(side.spec)
        side.begin(OLD, ("stage", "arm"))
        side.check_run("kill -CONT $(cat /tmp/stopped)")
        side.until(lambda: side.run("test -e /tmp/late.done").ok, "the end of the late one")
        said = side.check_run("cat /tmp/late")
        if "confirmed" in said:
            assert decided == "confirm", f"{number}: {said}{side.story()}"
        assert not side.run(f"test -e {T}/decision").ok, f"{number}: decided another one{side.story()}"
        assert side.rollback().ok
        side.check(OLD)
        count("late commit")
