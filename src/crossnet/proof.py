"""How the last verification of each crossing ended, as its gateway keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crossnet.facts import Facts
from crossnet.facts.question import mapping, read_json, text
from crossnet.facts.routes import MAIN
from crossnet.record import VERIFIED
from crossnet.values import Network, network
from crossnet.verdict import Result


def last_verified(facts: Facts) -> dict[str, dict[str, str]]:
    """The last verification by crossing; nothing where the file is absent or damaged.

    `time` and `result`; `end` is `proved`, `unproved` or `stopped`, and `why` a sentence where it is not proved. `ways`
    are the gateway's own routes that it went by and that nothing known brings back at a boot, with `; ` between them.
    """
    state = facts.file(VERIFIED)
    try:
        return {name: _texts(one) for name, one in mapping(read_json(state.data if state else b"{}")).items()}
    except (ValueError, KeyError, RecursionError):
        return {}


def worked_at(gateway: Facts, label: str) -> str:
    """When an answer came back through a crossing last, so that all of it was there; nothing where none did."""
    last = last_verified(gateway).get(label, {})
    return last.get("time", "") if last.get("result") == Result.REACHABLE else ""


def ways_gone(gateway: Facts, label: str) -> Iterator[tuple[str, Network]]:
    """Those of its `ways`, each with its destination, to which it has no route of that very length any more."""
    for way, destination in _ways(last_verified(gateway).get(label, {})):
        if not any(route.table == MAIN for route in gateway.routes_to(destination)):
            yield way, destination


def _ways(said: Mapping[str, str]) -> list[tuple[str, Network]]:
    """Each with its destination, the first of its words."""
    ways = said.get("ways", "")
    return [(way, network(way.partition(" ")[0])) for way in (ways.split("; ") if ways else ())]


def _texts(entry: Any) -> dict[str, str]:
    said = mapping(entry)
    later = (key for key in ("end", "why", "ways") if key in said)
    texts = {key: text(said, key) for key in ("time", "result", *later)}
    _ways(texts)
    return texts
