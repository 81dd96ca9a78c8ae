"""How the last verification of each crossing ended, as its gateway keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from crossnet.errors import PlanRefused
from crossnet.facts import Facts
from crossnet.facts.question import mapping, read_json, text
from crossnet.facts.routes import MAIN
from crossnet.record import VERIFIED, read_record
from crossnet.standing import packets_of
from crossnet.values import Network, network
from crossnet.verdict import Result


def last_verified(facts: Facts) -> dict[str, dict[str, str]]:
    """The last verification by crossing; nothing where the file is absent or damaged, or it is of other packets.

    `time` and `result`; `end` is `proved`, `unproved` or `stopped`, and `why` a sentence where it is not proved. `ways`
    are the gateway's own routes that it went by and that nothing known brings back at a boot, with `; ` between them.
    `of` tells which packets it is of, where the one who wrote it kept that.
    """
    return dict(facts.derived(_last_verified))


def _last_verified(facts: Facts) -> dict[str, dict[str, str]]:
    state = facts.file(VERIFIED)
    kept = read_entries(state.data) if state else {}
    try:
        standing = {one.label: one for one in read_record(facts).crossings}
    except PlanRefused:
        return kept
    return {
        label: said
        for label, said in kept.items()
        if "of" not in said or (label in standing and packets_of(standing[label].paths) == said["of"])
    }


def read_entries(data: bytes) -> dict[str, dict[str, str]]:
    """The entries of such a file, each for itself: one that cannot be understood says nothing of the others."""
    found = {}
    try:
        document = mapping(read_json(data))
    except (ValueError, RecursionError):
        return {}
    for label, said in document.items():
        with suppress(ValueError, KeyError):
            found[label] = _texts(said)
    return found


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
    later = (key for key in ("end", "why", "ways", "of") if key in said)
    texts = {key: text(said, key) for key in ("time", "result", *later)}
    _ways(texts)
    return texts
