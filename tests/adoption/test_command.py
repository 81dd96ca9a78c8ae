"""What `crossnet adopt` refuses before it asks any host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["web", "--via", "gw", "--to", "10.0.44.1/24"], "the network is 10.0.44.0/24"),
        (["web", "--via", "gw", "--to", "business"], "'business' is not an IP network"),
        (["web", "--via", "web"], "cannot be a client and its own gateway"),
        (["web"], "--via"),
        (["--via", "gw"], "CLIENT"),
        (["root:secret@web", "--via", "gw"], "log in with a key"),
    ],
)
def test_words_that_cannot_be_meant(words: list[str], said: str, tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "crossnet", "adopt", *words, "-f", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert done.stdout == ""
    assert not file.exists()


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "crossnet", "adopt", "web", "--via", "gw", "-f", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, file.read_text()) == (1, "mine")
    assert "is left as it is" in done.stderr
