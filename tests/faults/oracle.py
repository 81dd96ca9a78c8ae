"""What is asked after every fault: whether a host is as before or as planned, and nothing is left over."""

from __future__ import annotations

import os

_COUNTS = "CROSSNET_FAULT_COUNTS"


def count(kind: str, points: int = 1) -> None:
    """Note how many points of one kind were tried, for the sum that `scripts/faults` prints."""
    if _COUNTS in os.environ:
        with open(os.environ[_COUNTS], "a", encoding="utf-8") as file:
            file.write(f"{kind}\t{points}\n")
