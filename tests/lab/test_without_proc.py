"""A controller that has no /proc, such as macOS."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crossnet.lab.build import Lab
from lab.crossing import Bench

pytestmark = pytest.mark.lab

HIDE = 'mount -t tmpfs nothing /proc && exec "$@"'


def crossnet(*words: str) -> subprocess.CompletedProcess[str]:
    """The command line where /proc is an empty folder; the hosts have theirs."""
    hidden = ("unshare", "--mount", "sh", "-c", HIDE, "sh")
    return subprocess.run(
        [*hidden, sys.executable, "-m", "crossnet", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_the_life_of_a_crossing(lab_up: Callable[..., Lab], sshd_possible: None, tmp_path: Path) -> None:
    b = Bench(lab_up("seed"))
    before = b.fingerprints()
    file = tmp_path / "crossnet.yaml"
    file.write_text(b.spec("to: 10.0.44.0/24, probe: icmp/10.0.44.1").source)
    for words in (
        ("plan",),
        ("apply", "--yes"),
        ("status",),
        ("verify",),
        ("recover", "--yes"),
        ("history",),
    ):
        ran = crossnet(*words, "-q", "-f", str(file))
        assert ran.returncode == 0, ran.stderr
        assert "/proc" not in ran.stderr
    assert b.pings("app", "10.0.44.1")
    assert crossnet("undo", "--yes", "-q", "-f", str(file)).returncode == 0
    assert b.differences(before) == []


def test_nobody_takes_it_for_dead_before_its_time_is_over(
    lab_up: Callable[..., Lab], sshd_possible: None, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    b = Bench(lab_up("seed"))
    file = tmp_path / "crossnet.yaml"
    file.write_text(b.spec("to: 10.0.44.0/24, probe: icmp/10.0.44.1").source)
    waiting = subprocess.Popen(
        [
            *("unshare", "--mount", "sh", "-c", HIDE, "sh", sys.executable, "-m", "crossnet"),
            *("apply", "--yes", "-f", str(file), "--confirm-within", "60s"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: b.pings("app", "10.0.44.1"), "the crossing is made")
        seen = subprocess.run(
            [sys.executable, "-m", "crossnet", "recover", "--yes", "-q", "-f", str(file)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert seen.returncode == 5, seen.stderr
    finally:
        waiting.terminate()
        assert waiting.wait(60) == 3
