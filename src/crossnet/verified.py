"""What a gateway keeps of when its crossings were last verified, and how that ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from crossnet.design.leaning import leans_on, way_of
from crossnet.facts import Facts
from crossnet.planning import Plan
from crossnet.proof import last_verified
from crossnet.verdict import Diagnosis, Result, Verification


def verified(found: Verification, made: Plan, facts: Mapping[str, Facts]) -> dict[str, bytes]:
    """What each gateway keeps of when its crossings were last verified, for whoever asks for the status."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    by_gateway: dict[str, dict[str, dict[str, str]]] = {}
    for path in made.paths:
        name, label = path.crossing.name, path.crossing.label
        if verdicts := [verdict for verdict in found.verdicts if verdict.crossing == name]:
            worst = max(verdicts, key=lambda one: (one.stopped, _WORSE.index(one.result)))
            entry = {"time": now, "result": str(worst.result), "end": _end_of(worst)}
            if worst.result is not Result.REACHABLE:
                entry["why"] = worst.why
            if ways := _ways(label, worst, made, facts[path.gateway]):
                entry["ways"] = ways
            by_gateway.setdefault(path.gateway, {})[label] = entry
    return {
        gateway: (json.dumps({**last_verified(facts[gateway]), **entries}) + "\n").encode()
        for gateway, entries in by_gateway.items()
    }


def _ways(label: str, worst: Diagnosis, made: Plan, gateway: Facts) -> str:
    """By which of its own routes it went; where nothing came back, by which it did when something did."""
    last = last_verified(gateway).get(label)
    if last is not None and worst.result is not Result.REACHABLE:
        return last.get("ways", "")
    paths = (path for path in made.paths if path.crossing.label == label)
    return "; ".join(dict.fromkeys(way_of(route) for path in paths for route in leans_on(gateway, path)))


_WORSE = (Result.REACHABLE, Result.UNDETERMINED, Result.UNREACHABLE)


def _end_of(verdict: Diagnosis) -> str:
    if verdict.stopped:
        return "stopped"
    return "proved" if verdict.result is Result.REACHABLE else "unproved"


def ends_otherwise(facts: Facts, kept: bytes) -> bool:
    """Whether what a gateway would keep says something else of a crossing than what it keeps."""

    def ends(entries: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str | None, ...]]:
        return {name: tuple(map(one.get, ("result", "end", "why", "ways"))) for name, one in entries.items()}

    return ends(last_verified(facts)) != ends(json.loads(kept))
