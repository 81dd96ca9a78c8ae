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


def test_each_witness_is_run_each_time() -> None:
    names = sorted({mutation.test for mutation in (*MUTATIONS, *OF_REACH)})
    words = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *names]
    ran = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    chosen = [f"{line}[" for line in ran.stdout.splitlines() if "::" in line]
    assert [
        name for name in names if not any(one.startswith((f"{name}[", f"{name}::")) for one in chosen)
    ] == []
