"""Ctrl-C before a command has begun: no traceback, wherever it meets what is being loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Interrupts itself when it looks for the n-th module since its first line.
PROGRAM = """
import os, signal, sys
from crossnet.__main__ import main

class Counting:
    left = int(sys.argv.pop(1))

    def find_spec(self, name, path, target=None):
        Counting.left -= 1
        if not Counting.left:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
sys.meta_path.insert(0, Counting())
main()
"""

# Interrupted in what nobody calls, where Python can tell nobody of it.
IN_A_FINALIZER = """
import os, signal
import crossnet.cli.reference
from crossnet.__main__ import main

class Kept:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

def instead(**_):
    Kept()
    for _ in range(100):
        pass

signal.signal(signal.SIGINT, signal.default_int_handler)
crossnet.cli.reference.schema.callback = instead
main()
"""


def run(program: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", program, *words]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("number", [1, 2, 10, 40, 100, 150])
def test_while_it_is_loaded_it_says_no_more_than_that(number: int, tmp_path: Path) -> None:
    ended = run(PROGRAM, str(number), "diagnose", "business", folder=tmp_path)
    assert (ended.returncode, ended.stderr.strip()) == (1, "crossnet: interrupted")


def test_what_python_would_swallow_ends_it_too(tmp_path: Path) -> None:
    ended = run(IN_A_FINALIZER, "schema", folder=tmp_path)
    assert (ended.returncode, ended.stderr.strip()) == (1, "crossnet: interrupted")
