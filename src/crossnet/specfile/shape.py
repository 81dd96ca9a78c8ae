"""Which keys and values have the wrong shape, and what the rest of the file says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from crossnet.specfile import schema
from crossnet.specfile.document import Entry, Finding, Node, Path, last_key, short
from crossnet.specfile.words import listed, nearest_word
from crossnet.values import PASSWORD, holds_password


def check(root: Node) -> tuple[schema.File, Node, list[Finding]]:
    """What the sound part of the file says, that part itself, and all mistakes in the shape of the rest."""
    findings = list(_incomplete(root))
    try:
        return schema.File.model_validate(root.data), root, findings
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    findings += [_finding(detail, root) for detail in details]
    sound = _without_keys(root, {_part(detail["loc"]) for detail in details})
    return schema.File.model_validate(sound.data), sound, findings


def _finding(detail: ErrorDetails, root: Node) -> Finding:
    loc = detail["loc"]
    if detail["type"] == "extra_forbidden":
        return Finding(root.key_mark(loc), _unknown_key(loc))
    message = str(detail["ctx"]["error"])  # every other mistake is a ValueError of `schema`
    if loc[-1] == "[key]":
        return Finding(root.key_mark(loc[:-1]), f"{loc[0]}: {_discreet(message, loc[-2])}")
    node = root.find(loc)
    return Finding(node.mark, f"{_subject(loc)}: {_discreet(message, node.data)}")


def _discreet(message: str, about: object) -> str:
    """A message that may repeat what it is about, but no password, wherever somebody wrote one."""
    return PASSWORD if isinstance(about, str) and holds_password(about) else message


def _subject(path: Path) -> str:
    """What a message is about: `host 'app'`, and elsewhere the key."""
    match path:
        case ("hosts", str(name)):
            return f"host {short(name)}"
        case ("crossings", str(name)):
            return f"crossing {short(name)}"
        case _:
            return last_key(path)


def _unknown_key(path: Path) -> str:
    key = str(path[-1])
    if key in schema.KEYS_NOT_YET:
        return f"key {key!r} is not in this version yet"
    keys = schema.model_at(path[:-1]).key_names()
    near = nearest_word(key, keys)
    hint = f"did you mean {near!r}?" if near else f"the keys here are {listed(keys)}"
    return f"unknown key {short(key)}: {hint}"


# Half of one of these lists is still sound by itself; half of `to` or `allow` would make others look wrong.
_SOUND_BY_ITEM = ("from", "probe")


def _part(loc: Path) -> Path:
    """The part of the file that a mistake makes worthless."""
    if loc[-1] == "[key]":
        return loc[:-1]
    return loc[:4] if loc[2:3] and loc[2] in _SOUND_BY_ITEM else loc[:3]


def _without_keys(node: Node, parts: Iterable[Path]) -> Node:
    """This mapping without these parts; an entry that has nothing left goes as well."""
    entries: dict[str, Entry] = {}
    for name, entry in node.entries.items():
        tails = {part[1:] for part in parts if part[0] == name}
        kept = entry.node if not tails else _without(entry.node, tails)
        if kept is not None:
            entries[name] = replace(entry, node=kept)
    return replace(node, entries=entries, data={name: entry.node.data for name, entry in entries.items()})


def _without(node: Node, parts: set[Path]) -> Node | None:
    if () in parts:
        return None
    if node.items:
        items = tuple(item for index, item in enumerate(node.items) if (index,) not in parts)
        return replace(node, items=items, data=[item.data for item in items]) if items else None
    if any(isinstance(part[0], int) for part in parts):
        return None  # one item that stands without a list
    kept = _without_keys(node, parts)
    return kept if kept.entries else None


def _incomplete(root: Node) -> Iterator[Finding]:
    yield from _missing(root, "the file", schema.File)
    for name, host in _named(root, "hosts"):
        yield from _ways(host, f"host {short(name)}")
    for name, crossing in _named(root, "crossings"):
        yield from _missing(crossing, f"crossing {short(name)}", schema.Crossing)
        to = crossing.entries.get("to")
        if to is not None and to.node.entries:
            yield from _missing(to.node, f"`to` of crossing {short(name)}", schema.Excepting)


def _named(root: Node, section: str) -> Iterator[tuple[str, Node]]:
    """The mappings below `hosts` or `crossings`."""
    for name, entry in root.section(section).items():
        if isinstance(entry.node.data, dict):
            yield name, entry.node


def _missing(
    node: Node, subject: str, model: type[schema.File | schema.Crossing | schema.Excepting]
) -> Iterator[Finding]:
    missing = [key for key in model.required if key not in _meant(node.entries, model.key_names())]
    if missing:
        yield Finding(node.mark, f"{subject} lacks {listed(missing)}")


def _ways(node: Node, subject: str) -> Iterator[Finding]:
    ways = [key for key in node.entries if key in schema.WAYS]
    if len(ways) > 1:
        mark = node.entries[ways[1]].key
        yield Finding(mark, f"{subject} has {listed(ways)}: exactly one way to reach it is needed")
    elif not _meant(node.entries, schema.Host.key_names()) & set(schema.WAYS):
        yield Finding(node.mark, f"{subject} lacks a way to reach it: {listed(schema.WAYS, 'or')}")


def _meant(keys: Mapping[str, object], known: list[str]) -> set[str]:
    """The keys that are there or were meant: what is misspelt is not missing as well."""
    return {key if key in known else nearest_word(key, known) or key for key in keys}
