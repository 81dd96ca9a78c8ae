"""Texts of others that are not part of the project: they are read beside its checkout, where they are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


def beside(folder: str) -> Path:
    """`../shared/FOLDER` of the checkout, or of the one that this is a worktree of; the test is skipped without it."""
    here = Path(__file__).parents[1]
    asked = ["git", "-C", str(here), "rev-parse", "--path-format=absolute", "--git-common-dir"]
    kept = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    for checkout in (here, Path(kept).parent if kept else here):
        place = checkout.parent / "shared" / folder
        if place.is_dir():
            return place
    pytest.skip(f"../shared/{folder} is not beside this checkout")
