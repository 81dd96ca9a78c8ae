"""The example of `docs/library.md` runs on the lab and prints what the page says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crossnet.lab.build import ENVIRONMENT_NAME, Lab
from test_documents import ROOT, blocks

pytestmark = pytest.mark.lab


def test_example_of_the_library_page(lab_up: Callable[..., Lab], tmp_path: Path) -> None:
    page = blocks(ROOT / "docs" / "library.md")
    place = next(number for number, (words, _) in enumerate(page) if words == "python")
    program, promised = page[place][1], page[place + 1][1]
    file = tmp_path / "example.py"
    file.write_text(program, encoding="utf-8")
    lab = lab_up("seed")
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        env={**os.environ, ENVIRONMENT_NAME: lab.name},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == promised
