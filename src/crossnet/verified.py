"""What a gateway keeps of when its crossings were last verified, and how that ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from crossnet.facts import Facts
from crossnet.facts.question import mapping, text
from crossnet.planning import Plan
from crossnet.record import VERIFIED
from crossnet.verdict import Diagnosis, Result, Verification


def last_verified(facts: Facts) -> dict[str, dict[str, str]]:
    """The last verification by crossing; nothing where the file is absent or damaged.

    `time` and `result`; `end` is `proved`, `unproved` or `stopped`, and `why` a sentence where it is not proved.
    """
    state = facts.file(VERIFIED)
    try:
        return {
            name: _texts(one) for name, one in mapping(json.loads(state.data if state else b"{}")).items()
        }
    except (ValueError, KeyError, RecursionError):
        return {}


def worked_at(gateway: Facts, label: str) -> str:
    """When an answer came back through a crossing last, so that all of it was there; nothing where none did."""
    last = last_verified(gateway).get(label, {})
    return last.get("time", "") if last.get("result") == Result.REACHABLE else ""


def _texts(entry: Any) -> dict[str, str]:
    said = mapping(entry)
    later = (key for key in ("end", "why") if key in said)  # 0.1.0 wrote neither
    return {key: text(said, key) for key in ("time", "result", *later)}


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
            by_gateway.setdefault(path.gateway, {})[label] = entry
    return {
        gateway: (json.dumps({**last_verified(facts[gateway]), **entries}) + "\n").encode()
        for gateway, entries in by_gateway.items()
    }


_WORSE = (Result.REACHABLE, Result.UNDETERMINED, Result.UNREACHABLE)


def _end_of(verdict: Diagnosis) -> str:
    if verdict.stopped:
        return "stopped"
    return "proved" if verdict.result is Result.REACHABLE else "unproved"


def ends_otherwise(facts: Facts, kept: bytes) -> bool:
    """Whether what a gateway would keep says something else of a crossing than what it keeps."""

    def ends(entries: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str | None, str | None]]:
        return {name: (one.get("result"), one.get("end")) for name, one in entries.items()}

    return ends(last_verified(facts)) != ends(json.loads(kept))
