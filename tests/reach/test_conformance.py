"""A few of the random configurations of scripts/conformance: what reach says is what happens."""

from __future__ import annotations

import os
import shutil

import pytest

from lacking import lacking
from reach import conformance

TOOLS = ("ip", "nft", "iptables-legacy-restore", "iptables-nft-restore")

pytestmark = pytest.mark.lab


@pytest.fixture(autouse=True)
def possible() -> None:
    if os.geteuid() != 0:
        lacking("makes network namespaces by ip-netns, as root")
    if not all(map(shutil.which, TOOLS)):
        lacking(f"needs {', '.join(TOOLS)} to make rules of every kind")


def test_what_reach_says_is_what_happens() -> None:
    result = conformance.run(first=1, configurations=12, count=26)
    assert not result.disagreements, "\n".join(result.disagreements)
    assert result.packets == 12 * 26
    assert result.delivered > 40, "too little passes for this to say anything"
    assert result.undetermined <= result.packets * 0.05
