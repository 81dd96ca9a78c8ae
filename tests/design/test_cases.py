"""Every folder of `cases/` is a case: a spec, what the hosts answered, and what a user reads.

The hosts are recordings of real ones (`app.json`, made from the lab) or a few lines (`hosts.txt`); the
outcome is `plan.txt` (`crossnet plan`) or `refused.txt`. A new case is a folder and no code. What the units, scripts
and rules say is the same in nearly all of them: cases named in `VERBOSE` alone show it (`crossnet plan -v`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from crossnet.api import plan
from crossnet.codes.impacts import IMPACTS
from crossnet.codes.refusals import REFUSALS
from crossnet.errors import PlanRefused
from crossnet.facts import Facts
from crossnet.planning import Plan
from crossnet.show.text import plan_text
from crossnet.specfile import parse
from design.factsheet import facts_from
from facts.recorded import facts_in

CASES = Path(__file__).parent / "cases"
VERBOSE = (
    "seed",
    "old-gateway",
    "policy-rule-on-the-client",
)  # nftables, iptables, and a policy rule at boot
GOOD = sorted(path.parent for path in CASES.glob("*/plan.txt"))
BAD = sorted(path.parent for path in CASES.glob("*/refused.txt"))


def name(path: Path) -> str:
    return path.name


def facts(case: Path) -> Mapping[str, Facts]:
    sheet = case / "hosts.txt"
    if sheet.exists():
        return facts_from(sheet.read_text(encoding="utf-8"))
    return {path.stem: facts_in(path) for path in sorted(case.glob("*.json"))}


@cache
def planned(case: Path) -> Plan:
    return plan(parse((case / "spec.yaml").read_text(encoding="utf-8"), "crossnet.yaml"), facts(case))


def golden(path: Path) -> str:
    return path.read_text(encoding="utf-8").removesuffix("\n")


@pytest.mark.parametrize("case", GOOD, ids=name)
def test_plan(case: Path) -> None:
    assert plan_text(planned(case), verbose=case.name in VERBOSE) == golden(case / "plan.txt")


@pytest.mark.parametrize("case", BAD, ids=name)
def test_refusal(case: Path) -> None:
    with pytest.raises(PlanRefused) as refused:
        planned(case)
    assert str(refused.value) == golden(case / "refused.txt")


def codes_in(paths: list[Path], file: str) -> set[str]:
    return {code for path in paths for code in re.findall(r"\[([a-z][a-z-]+)\]", (path / file).read_text())}


def test_every_code_of_a_plan_has_its_case() -> None:
    of_explanations_too = {"no-route", "policy-rule-diverts", "snat-address-not-local"}
    assert codes_in(BAD, "refused.txt") == {code.name for code in REFUSALS} | of_explanations_too
    of_undo = {"tables-stay", "forwarding-stays", "earlier-boot", "other-at-boot"}  # test_dependents
    of_undo |= {"owner-remembers", "edits-lost", "edits-stay"}  # persistence/test_kept
    of_undo.add("taken-away")  # lab/test_suspects
    of_undo.add("forwarding-given-up")  # planning/test_adopted
    of_undo.add("way-gone")  # verification/test_what_came_later
    of_verdicts_too = {"src-route-other-next-hop"}
    given = {impact.code for case in GOOD for impact in planned(case).impacts}
    assert given == ({code.name for code in IMPACTS} - of_undo) | of_verdicts_too


def test_every_case_has_an_outcome() -> None:
    assert {path.parent for path in CASES.glob("*/spec.yaml")} == {*GOOD, *BAD}
