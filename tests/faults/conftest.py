"""The labs of the lab tests, and those in which controllers die."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.controller import Ground, Grounds
from faults.controller_mutations import MUTATIONS
from faults.hostside import CROSSINGS, ENGINES, HostSide, sides_of, start_units
from lab.conftest import eventually, lab_name, lab_possible, lab_up, run_on, sshd_possible

__all__ = [
    "booting",
    "eventually",
    "ground",
    "grounds",
    "lab_name",
    "lab_possible",
    "lab_up",
    "run_on",
    "sshd_possible",
]


FOLDER = Path(__file__).parent

# Whoever takes a safeguard away sees one of these go red; the others take the faults at more points of the same.
WITNESSES = frozenset(mutation.test for mutation in MUTATIONS)


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the faults the witnesses of the mutations are tried each time, all of them by scripts/faults."""
    for item in items:
        if FOLDER not in item.path.parents:
            continue
        if item.nodeid in WITNESSES:  # however long it takes
            item.own_markers[:] = [mark for mark in item.own_markers if mark.name != "faults"]
        elif item.nodeid.partition("[")[0] not in WITNESSES:
            item.add_marker("faults")


@pytest.fixture(scope="session")
def grounds(lab_possible: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    """Labs that are used again and again: to make one takes longer than to try a point on it."""
    made = Grounds(tmp_path_factory.mktemp("grounds"))
    yield made
    made.down()


@pytest.fixture(scope="module", params=ENGINES)
def booting(request: pytest.FixtureRequest, lab_possible: None) -> Iterator[list[HostSide]]:
    """Gateways that are rebooted, and start their units then."""
    with sides_of(CROSSINGS[request.param], own_clock=False, prepare=start_units) as made:
        yield made


@pytest.fixture
def ground(grounds: Grounds, request: pytest.FixtureRequest) -> Iterator[Ground]:
    """One of them; when the test has ended it is as it was again, or used no more."""
    failed = request.session.testsfailed
    one = grounds.take()
    yield one
    if request.session.testsfailed == failed:
        grounds.give_back(one)
    else:
        one.operator.end_all()
