"""One explanation code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """A stable key, with what it means, what shows it, and what to do about it."""

    name: str
    meaning: str
    evidence: str
    fix: str
