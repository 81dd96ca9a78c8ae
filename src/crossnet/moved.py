"""What moved on the hosts between two plans of one spec: why the earlier one is stale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossnet.design.impacts import OF_THE_MOMENT
from crossnet.planning import Plan
from crossnet.resources import KINDS

# A change as JSON has it: `kind`, `key`, and both sides.
_Change = Mapping[str, Any]
_Changes = Mapping[str, Sequence[_Change]]

MOST_LINES = 8
_MOST_FIELDS = 4
_LONGEST = 60


def moved(before: Plan, now: Plan) -> tuple[str, ...]:
    """What each host needs otherwise than when the plan was made; at most a few lines."""
    old, new = ({name: str(one.engine) for name, one in plan.engines.items()} for plan in (before, now))
    kept = [(one.spec, one.crossing) for one in before.kept]
    told, done = _first(_Side(_by_host(before), old, kept), _Side(_by_host(now), new), now)
    return _shortened(told if done else [*told, *_changes(_by_host(before), _by_host(now), now, done=told)])


def moved_in_documents(before: object, now: Mapping[str, Any], made: Plan) -> tuple[str, ...]:
    """The same of two plans as `crossnet plan --json` prints them; the earlier one comes from a file.

    `made` is the later one itself.
    """
    if not isinstance(before, Mapping):
        return ()
    try:
        return _shortened(_in_documents(before, now, made))
    except (KeyError, TypeError, AttributeError, ValueError):
        return ("the file does not hold what crossnet writes there",)


@dataclass(frozen=True, slots=True)
class _Side:
    """What one plan says: the changes and the engine of each host, and which crossings of others stay."""

    changes: _Changes
    engines: Mapping[str, str | None]
    kept: Sequence[tuple[str, str]] = ()


def _first(before: _Side, now: _Side, made: Plan) -> tuple[list[str], bool]:
    """What explains the rest: that it has been applied, or else who came or went, and another firewall engine.

    Whether that is all there is to tell.
    """
    own = {path.crossing.label: path.crossing.name for path in made.paths}
    standing = {one.label: one for host in made.hosts for one in host.after.crossings}
    if own and any(before.changes.values()) and not made.touched:
        by = {f"crossing {own[label]}": str(standing[label].stamp) for label in own if label in standing}
        return [
            f"it has been applied since: {name}, {words}".rstrip(", ") for name, words in by.items()
        ], True
    there = {(one.spec, one.crossing): one for one in made.kept}
    told = []
    for each, one in there.items():
        if each not in before.kept:
            by_whom = f", {one.stamp}" if str(one.stamp) else ""
            told.append(f"crossing {one.crossing} of spec {one.spec} has come{by_whom}")
    told += [
        f"crossing {name} of spec {spec} has gone" for spec, name in before.kept if (spec, name) not in there
    ]
    for host, engine in now.engines.items():
        was = before.engines.get(host)
        if was and engine and was != engine:
            why = made.engines[host].reason if host in made.engines else ""
            told.append(
                f"{host}: crossnet's rules would now be in {engine}, not in {was}: {why}".rstrip(": ")
            )
    return told, False


def _in_documents(before: Mapping[str, Any], now: Mapping[str, Any], made: Plan) -> Iterator[str]:
    sides = [
        _Side(
            {host["host"]: host["changes"] for host in one["hosts"]},
            {host["host"]: host.get("engine") for host in one["hosts"]},
            [(each["spec"], each["crossing"]) for each in one.get("kept", [])],
        )
        for one in (before, now)
    ]
    first, done = _first(sides[0], sides[1], made)
    yield from first
    if done:
        return
    told = list(_changes(sides[0].changes, sides[1].changes, made, done=first))
    yield from told
    for old, new in _pairs(before["crossings"], now["crossings"], ("crossing", "family")):
        which = old or new
        yield f"crossing {which['crossing']}: {_difference(old, new) or 'takes another path'}"
    if told:
        return
    olds, news = (
        [{name: host[name] for name in ("host", "adopted")} for host in one["hosts"]] for one in (before, now)
    )
    for old, new in _pairs(olds, news, ("host",)):
        yield f"{(old or new)['host']}: {_difference(old, new) or 'what it adopts has changed'}"
    some, others = (
        [f"{each['where']}: {each['detail']}" for each in one["impacts"] if each["code"] not in OF_THE_MOMENT]
        for one in (before, now)
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


def _changes(before: _Changes, now: _Changes, made: Plan, *, done: Sequence[str]) -> Iterator[str]:
    """What is another on the hosts; what is to be another follows from that, and is told where it is all there is.

    What is made of all crossings together, and what holds rules, follows from what is `done` with, where there is such.
    """
    lines: dict[bool, list[str]] = {True: [], False: []}
    for host in dict.fromkeys((*before, *now)):
        wanted = {one.identity for one in made.wanted.get(host, ())}
        recorded = {owned.identity for one in made.hosts if one.host == host for owned in one.before.owned}
        for old, new in _pairs(before.get(host, ()), now.get(host, ()), ("kind", "key")):
            which = old or new
            kind, identity = KINDS.get(which["kind"]), (which["kind"], which["key"])
            if (
                done
                and kind is not None
                and (kind.is_of_all_crossings or kind.is_only_ours or kind.is_in_files)
            ):
                continue
            follows = bool(old and new and old["have"] == new["have"])
            # An undo wants nothing of what it gives back.
            is_wanted = not made.paths or identity in wanted
            words = _told(old, new, is_wanted=is_wanted, was_there=identity in recorded)
            lines[follows].append(f"{host}: {which['kind']} {which['key']} {words}")
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


def _told(old: _Change, new: _Change, *, is_wanted: bool, was_there: bool) -> str:
    if not new:
        if old["have"] is None:
            return "exists now" if is_wanted else "is no longer needed"
        return "is gone" if old["want"] is None else _with("is already as wanted", old["have"], old["want"])
    if not old:
        if new["have"] is None:
            return "is gone" if was_there else "is needed now"
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
