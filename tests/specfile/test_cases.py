"""Every file below `cases/` is a case: `good/*.yaml` loads, `bad/*/*.yaml` is refused, and beside each stands
the exact outcome as `.txt`. A new case is two files and no code."""

from __future__ import annotations

import pprint
from dataclasses import replace
from pathlib import Path

import pytest

from crossnet import specfile
from crossnet.errors import SpecError
from crossnet.spec import Spec

CASES = Path(__file__).parent / "cases"
GOOD = sorted(CASES.glob("good/*.yaml"))
BAD = sorted(CASES.glob("bad/*/*.yaml"))


def name(path: Path) -> str:
    return str(path.relative_to(CASES).with_suffix(""))


def parsed(path: Path) -> Spec:
    return specfile.parse(path.read_text(encoding="utf-8"), path.name)


def golden(path: Path) -> str:
    return path.with_suffix(".txt").read_text(encoding="utf-8").removesuffix("\n")


@pytest.mark.parametrize("path", GOOD, ids=name)
def test_good(path: Path) -> None:
    spec = parsed(path)
    assert spec.source == path.read_text(encoding="utf-8")
    assert pprint.pformat(replace(spec, source="…"), width=110) == golden(path)


@pytest.mark.parametrize("path", BAD, ids=name)
def test_bad(path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        parsed(path)
    assert str(refused.value) == golden(path)


def test_every_outcome_has_its_case() -> None:
    assert GOOD
    assert BAD
    assert {path.with_suffix("") for path in CASES.rglob("*.txt")} == {
        path.with_suffix("") for path in [*GOOD, *BAD]
    }
