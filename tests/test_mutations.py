"""Each mutation still takes away what it names, and its witness is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from faults.controller_mutations import MUTATIONS, PACKAGE, ROOT, Mutation
from reach.mutations import MUTATIONS as OF_REACH


@pytest.mark.parametrize("mutation", [*MUTATIONS, *OF_REACH], ids=lambda mutation: mutation.name)
def test_a_mutation_finds_its_place_and_its_witness(mutation: Mutation) -> None:
    text = (PACKAGE / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1
    file, _, name = mutation.test.partition("::")
    if name:
        assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")


def test_each_witness_can_be_run() -> None:
    names = sorted({mutation.test for mutation in (*MUTATIONS, *OF_REACH)})
    quiet = ("-qq", "--collect-only", "-p", "no:cacheprovider")
    words = [sys.executable, "-m", "pytest", *quiet, "-m", "", *names]
    ran = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
