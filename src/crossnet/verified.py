"""What a gateway keeps of when its crossings were last verified, and how that ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from crossnet.design.leaning import leans_on, way_of
from crossnet.facts import Facts
from crossnet.planning import Plan
from crossnet.proof import last_verified, read_entries
from crossnet.record import read_record
from crossnet.standing import packets_of
from crossnet.verdict import Diagnosis, Result, Verification


def verified(
    found: Verification, made: Plan, facts: Mapping[str, Facts], *, is_applied: bool = True
) -> dict[str, bytes]:
    """What each gateway keeps of when its crossings were last verified, for whoever asks for the status.

    Where the plan `is_applied` not, only of those that stand there as it has them: of others it would be untrue.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    by_gateway: dict[str, dict[str, dict[str, str]]] = {}
    for path in made.paths:
        name, label = path.crossing.name, path.crossing.label
        if verdicts := [verdict for verdict in found.verdicts if verdict.crossing == name]:
            worst = max(verdicts, key=lambda one: (one.stopped, _WORSE.index(one.result)))
            of = packets_of(one for one in made.paths if one.crossing.label == label)
            if not is_applied and of != _standing(label, facts[path.gateway]):
                continue
            entry = {"time": now, "result": str(worst.result), "end": _end_of(worst), "of": of}
            if worst.result is not Result.REACHABLE:
                entry["why"] = worst.why
            if ways := _ways(label, of, worst, made, facts[path.gateway]):
                entry["ways"] = ways
            by_gateway.setdefault(path.gateway, {})[label] = entry
    return {
        gateway: (json.dumps({**last_verified(facts[gateway]), **entries}) + "\n").encode()
        for gateway, entries in by_gateway.items()
    }


def _standing(label: str, gateway: Facts) -> str:
    standing = read_record(gateway).standing(label)
    return packets_of(standing.paths) if standing is not None else ""


def _ways(label: str, of: str, worst: Diagnosis, made: Plan, gateway: Facts) -> str:
    """By which of its own routes it went; where nothing came back, by which the same packets did when something did."""
    last = last_verified(gateway).get(label)
    if last is not None and last.get("of", of) == of and worst.result is not Result.REACHABLE:
        return last.get("ways", "")
    paths = (path for path in made.paths if path.crossing.label == label)
    return "; ".join(dict.fromkeys(way_of(route) for path in paths for route in leans_on(gateway, path)))


_WORSE = (Result.REACHABLE, Result.UNDETERMINED, Result.UNREACHABLE)


def _end_of(verdict: Diagnosis) -> str:
    if verdict.stopped:
        return "stopped"
    return "proved" if verdict.result is Result.REACHABLE else "unproved"


def merged(kept: bytes, there: bytes) -> bytes:
    """What a gateway is to keep, with what others wrote there since it was read: of each crossing the later one."""
    found = read_entries(there)
    for label, said in read_entries(kept).items():
        if label not in found or found[label]["time"] <= said["time"]:
            found[label] = said
    return (json.dumps(found) + "\n").encode()


def ends_otherwise(facts: Facts, kept: bytes) -> bool:
    """Whether what a gateway would keep says something else of a crossing than what it keeps."""

    def ends(entries: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str | None, ...]]:
        return {name: tuple(map(one.get, ("result", "end", "why", "ways"))) for name, one in entries.items()}

    return ends(last_verified(facts)) != ends(json.loads(kept))
