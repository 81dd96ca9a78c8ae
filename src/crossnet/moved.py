"""What moved on the hosts between two plans of one spec: why the earlier one is stale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from crossnet.planning import Plan

# A change as JSON has it: `kind`, `key`, and both sides.
_Change = Mapping[str, Any]
_Changes = Mapping[str, Sequence[_Change]]

MOST_LINES = 8
_MOST_FIELDS = 4
_LONGEST = 60


def moved(before: Plan, now: Plan) -> tuple[str, ...]:
    """What each host needs otherwise than when the plan was made; at most a few lines."""
    return _shortened(_changes(_by_host(before), _by_host(now)))


def moved_in_documents(before: object, now: Mapping[str, Any]) -> tuple[str, ...]:
    """The same of two plans as `crossnet plan --json` prints them; the earlier one comes from a file."""
    if not isinstance(before, Mapping):
        return ()
    try:
        return _shortened(_in_documents(before, now))
    except (KeyError, TypeError, AttributeError, ValueError):
        return ("the file does not hold what crossnet writes there",)


def _in_documents(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    changes = [{host["host"]: host["changes"] for host in one["hosts"]} for one in (before, now)]
    told = list(_changes(*changes))
    yield from told
    for old, new in _pairs(before["crossings"], now["crossings"], ("crossing", "family")):
        which = old or new
        yield f"crossing {which['crossing']}: {_difference(old, new) or 'takes another path'}"
    if told:
        return
    for old, new in _pairs(before["hosts"], now["hosts"], ("host",)):
        yield f"{(old or new)['host']}: {_difference(old, new) or 'what it adopts has changed'}"
    some, others = (
        [f"{each['where']}: {each['detail']}" for each in one["impacts"]] for one in (before, now)
    )
    yield from (f"no longer so: {each}" for each in some if each not in others)
    yield from (f"new: {each}" for each in others if each not in some)
    if before.get("opening") != now.get("opening"):
        yield "what it opens or closes has changed"


def _by_host(plan: Plan) -> dict[str, list[_Change]]:
    return {
        host.host: [
            {
                "kind": change.resource.kind,
                "key": change.resource.key,
                "have": change.have.shown() if change.have else None,
                "want": change.want.shown() if change.want else None,
            }
            for change in host.changes
        ]
        for host in plan.hosts
    }


def _changes(before: _Changes, now: _Changes) -> Iterator[str]:
    """What is another on the hosts; what is to be another follows from that, and is told where it is all there is."""
    lines: dict[bool, list[str]] = {True: [], False: []}
    for host in dict.fromkeys((*before, *now)):
        for old, new in _pairs(before.get(host, ()), now.get(host, ()), ("kind", "key")):
            which = old or new
            follows = bool(old and new and old["have"] == new["have"])
            lines[follows].append(f"{host}: {which['kind']} {which['key']} {_told(old, new)}")
    yield from lines[False] or lines[True]


def _pairs(
    before: Iterable[_Change], now: Iterable[_Change], names: Sequence[str]
) -> Iterator[tuple[_Change, _Change]]:
    """What is of one name in both and not equal; an empty one where it is missing."""
    olds, news = ({tuple(each[name] for name in names): each for each in one} for one in (before, now))
    for name in dict.fromkeys((*olds, *news)):
        old, new = olds.get(name, {}), news.get(name, {})
        if old != new:
            yield old, new


def _told(old: _Change, new: _Change) -> str:
    if not new:
        if old["have"] is None:
            return "exists now"
        return "is gone" if old["want"] is None else _with("is already as wanted", old["have"], old["want"])
    if not old:
        if new["have"] is None:
            return "is gone"
        return "exists now" if new["want"] is None else _with("has changed", new["want"], new["have"])
    if old["have"] != new["have"]:
        if old["have"] is None:
            return "exists now, but not as wanted"
        return "is gone" if new["have"] is None else _with("has changed", old["have"], new["have"])
    return _with("would now become something else", old["want"], new["want"])


def _with(words: str, old: object, new: object) -> str:
    difference = _difference(old, new)
    return f"{words}: {difference}" if difference else words


def _difference(old: object, new: object) -> str:
    """The fields in which two sides differ, where they are short enough to be read."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return ""
    shown = [
        f"{name} {_value(old.get(name))} → {_value(new.get(name))}"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name) and all(_is_short(one.get(name)) for one in (old, new))
    ]
    return ", ".join(shown[:_MOST_FIELDS])


def _is_short(value: object) -> bool:
    return (value is None or isinstance(value, str | int)) and len(str(value)) <= _LONGEST


def _value(value: object) -> str:
    return "nothing" if value is None else str(value)


def _shortened(lines: Iterable[str]) -> tuple[str, ...]:
    found = list(lines)
    if len(found) <= MOST_LINES:
        return tuple(found)
    return (*found[: MOST_LINES - 1], f"and {len(found) - MOST_LINES + 1:,} more")
