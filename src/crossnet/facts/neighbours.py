"""Addresses that a host has heard of lately, from `ip neigh`."""

from __future__ import annotations

from crossnet.facts.question import Question
from crossnet.values import Address, address


def parse_neighbours(answer: str) -> tuple[Address, ...]:
    """Addresses that answered lately; failed and incomplete ones are left out."""
    found = []
    for line in answer.split("\n"):
        if words := line.split():
            known = address(words[0])
            if "lladdr" in words and words[-1] not in ("FAILED", "INCOMPLETE"):
                found.append(known)
    return tuple(found)


NEIGHBOURS = Question("ran `ip neigh`", ("ip", "neigh"), parse_neighbours)
