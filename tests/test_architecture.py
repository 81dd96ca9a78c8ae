"""What a reviewer would have to remember: who may import whom, who may start processes, what is public."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import crossnet
from crossnet import api
from crossnet.codes import CODES

SOURCE = Path(crossnet.__file__).parent

# Lower never imports higher; names on one line may import each other.
LEVELS = (
    {"errors", "values", "verdict", "events", "codes", "localfile", "several"},
    {"netfilter", "transport"},
    {"spec", "translation", "path", "specfile", "template", "facts", "openstack", "lab"},
    {"reach"},
    {"resources"},
    {"sealed"},
    {"standing"},
    {"record"},
    {"joining", "unreached", "proof"},
    {"persistence"},
    {"site"},
    {"design"},
    {"dependents"},
    {"planning"},
    {"unrouted"},
    {"opening", "moved"},
    {"cause", "drift"},
    {"suspects"},
    {"lasting"},
    {"capture"},
    {"verification"},
    {"diagnosis"},
    {"adoption"},
    {"transaction"},
    {"turns"},
    {"exposure", "elsewhere", "healed", "verified"},
    {"health"},
    {"api"},
    {"show"},
    {"savedplan", "demo", "export"},
    {"cli"},
    {"__main__"},
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}

# What can pass is answered from facts alone.
REACH_USES = {"reach", "facts", "netfilter", "transport", "values"}

# The lab stands beside the pipeline: it may know how hosts are reached and named, and a file is read, nothing else.
LAB_USES = {"lab", "transport", "values", "errors", "localfile"}

MODULES = sorted(SOURCE.rglob("*.py"))

CODE = re.compile("[a-z]+(-[a-z]+)+")

# The part of the closed list that nothing gives yet.
NOT_GIVEN_YET = {
    "offload-hides-packet",
}


def part_of(path: Path) -> str:
    """The name in LEVELS that a module belongs to."""
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> set[str]:
    found = {name.split(".")[1] for name in imports(path) if name.startswith("crossnet.")}
    return {name for name in found if name in LEVEL}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_lower_never_imports_higher(path: Path) -> None:
    if path == SOURCE / "__init__.py":
        return  # the front door: it imports the API late
    part = part_of(path)
    assert part in LEVEL, f"{part} has no level: add it to LEVELS"
    higher = {name for name in own_imports(path) if LEVEL[name] > LEVEL[part]}
    assert not higher, f"{part} imports {', '.join(sorted(higher))}, which stand above it"
    if part == "reach":
        assert own_imports(path) <= REACH_USES
    if part == "lab":
        assert own_imports(path) <= LAB_USES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"


def test_only_transport_starts_processes_on_hosts() -> None:
    """The lab starts its own machinery; everything that happens on a host goes through its transport."""
    starters = {
        part_of(path)
        for path in MODULES
        if re.search(r"\bsubprocess\b|create_subprocess|os\.(fork|exec|spawn|system)", path.read_text())
    }
    assert starters <= {"transport", "lab"}


def test_the_library_never_prints() -> None:
    for path in MODULES:
        if part_of(path) in {"cli", "lab"}:
            continue
        calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        assert not any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls), path


def test_the_public_names_are_these() -> None:
    assert sorted(crossnet.__all__) == [
        "Applied",
        "Asked",
        "Ended",
        "Guard",
        "Past",
        "Undo",
        "UndoPlan",
        "__version__",
        "apply",
        "confirm",
        "diagnose",
        "history",
        "load",
        "observe",
        "plan",
        "plan_undo",
        "reach",
        "recover",
        "rollback",
        "status",
        "survey",
        "undo",
        "verify",
    ]
    assert all(hasattr(crossnet, name) for name in crossnet.__all__)
    assert set(crossnet.__all__) - {"__version__"} <= set(api.__all__)
    assert all(hasattr(api, name) for name in api.__all__)


def test_every_code_that_can_be_given_is_explained() -> None:
    """The code is the first word of a refusal and of an impact, and the second of half a verdict.

    In `reach` it is every text of such a form: of a blocker, of a table, of a comparison; the words of enumerations
    are not. In `capture`, `diagnosis` and `resources` it is every text that is a code.
    """
    place = {"Refusal": 0, "Impact": 0, "refusal": 0, "Finding": 0, "Half": 1}
    given: set[str] = set()
    for path in MODULES:
        tree = ast.parse(path.read_text())
        if part_of(path) == "reach":
            given |= set(texts_of(tree, CODE))
        if part_of(path) in ("capture", "diagnosis", "resources"):
            given |= set(texts_of(tree, CODE)) & set(CODES)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            words = node.args[place[name] : place[name] + 1] if name in place else []
            for word in words:
                if isinstance(word, ast.Constant) and isinstance(word.value, str):
                    given.add(word.value)
    assert len(given) > 40, "the search found too few codes to be right"
    assert given <= set(CODES), f"not explained: {sorted(given - set(CODES))}"
    assert set(CODES) - given == NOT_GIVEN_YET, "explained, but never given"


def texts_of(tree: ast.Module, form: re.Pattern[str]) -> Iterator[str]:
    """The texts of a form in a module, but those of its enumerations."""
    enumerations = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any("Enum" in ast.unparse(base) for base in node.bases)
    ]
    theirs = {id(node) for each in enumerations for node in ast.walk(each)}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in theirs else None
        if isinstance(text, str) and form.fullmatch(text):
            yield text
