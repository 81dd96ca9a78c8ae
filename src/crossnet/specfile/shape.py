"""Which keys and values have the wrong shape, and what the rest of the file says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from crossnet.specfile import schema
from crossnet.specfile.document import Entry, Finding, Node, Path, last_key, short
from crossnet.specfile.words import listed, nearest_word
from crossnet.values import PASSWORD, holds_password


@dataclass(frozen=True, slots=True)
class Sound:
    """The part of a file without mistakes in its shape: what it says, and where.

    `hosts` names all hosts of the file, because one that is itself described wrongly is still a host. `cut` are the
    keys of crossings that lack some of what is written there: what is left of a list tells what is wrong with that,
    and nothing of what it holds in all.
    """

    says: schema.File
    root: Node
    hosts: tuple[str, ...]
    cut: frozenset[tuple[str, str]] = frozenset()


def check(root: Node) -> tuple[Sound, list[Finding]]:
    """The sound part of the file, and all mistakes in the shape of the rest.

    A misspelt key counts as the one that was meant, and a crossing with a name that is none as one with another name.
    """
    findings: list[Finding] = []
    root = _as_meant(root, (), findings)
    findings += _incomplete(root)
    hosts = tuple(root.section("hosts"))
    try:
        return Sound(schema.File.model_validate(root.data), root, hosts), findings
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    findings += [_finding(detail, root) for detail in details]
    locs = [detail["loc"] for detail in details]
    of_names = {loc for loc in locs if loc[0] == "crossings" and loc[2:] == ("[key]",)}
    misnamed = {str(loc[1]) for loc in of_names}
    parts = {_part(loc) for loc in locs if loc not in of_names}
    names = dict(_other_names(root, misnamed))
    sound = _renamed(_without_keys(root, parts), names)
    cut = {(names.get(str(loc[1]), str(loc[1])), str(loc[2])) for loc in locs if len(loc) > 3}
    return Sound(schema.File.model_validate(sound.data), sound, hosts, frozenset(cut)), findings


def _as_meant(node: Node, path: Path, findings: list[Finding]) -> Node:
    """The mapping with its misspelt keys as they were meant, and those of the mappings in it."""
    entries: dict[str, Entry] = {}
    free = path in (("hosts",), ("crossings",))  # names of one's own
    known = [] if free else schema.model_at(path).key_names()
    for key, entry in node.entries.items():
        near = None if free or key in known or key in schema.KEYS_NOT_YET else nearest_word(key, known)
        meant = key if near is None or near in node.entries or near in entries else near
        if meant != key:
            findings.append(Finding(entry.key, _unknown(key, near)))
        inner = (*path, meant)
        goes_on = len(inner) < 3 or (inner[0] == "crossings" and inner[2:] == ("to",))
        made = _as_meant(entry.node, inner, findings) if goes_on and entry.node.entries else entry.node
        entries[meant] = replace(entry, node=made)
    data = {name: entry.node.data for name, entry in entries.items()}
    return replace(node, entries=entries, data=data)


def _other_names(root: Node, misnamed: Collection[str]) -> Iterator[tuple[str, str]]:
    taken = root.section("crossings")
    free = (f"c{number}" for number in count() if f"c{number}" not in taken)
    return zip(misnamed, free, strict=False)


def _renamed(root: Node, names: Mapping[str, str]) -> Node:
    """The file with other names for these crossings."""
    if not names or "crossings" not in root.entries:
        return root
    section = root.entries["crossings"]
    crossings = {names.get(name, name): entry for name, entry in section.node.entries.items()}
    data = {name: entry.node.data for name, entry in crossings.items()}
    entries = {
        **root.entries,
        "crossings": replace(section, node=replace(section.node, entries=crossings, data=data)),
    }
    return replace(root, entries=entries, data={name: entry.node.data for name, entry in entries.items()})


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
    return _unknown(key, nearest_word(key, keys), keys)


def _unknown(key: str, near: str | None, keys: Sequence[str] = ()) -> str:
    hint = f"did you mean {near!r}?" if near else f"the keys here are {listed(keys)}"
    return f"unknown key {short(key)}: {hint}"


# Half of one of these lists is still sound by itself.
_SOUND_BY_ITEM = ("from", "to", "allow", "probe")


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
    openstack = root.entries.get("openstack")
    if openstack is not None and isinstance(openstack.node.data, dict):
        yield from _missing(openstack.node, "`openstack`", schema.OpenStack)
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
    node: Node, subject: str, model: type[schema.File | schema.Crossing | schema.Excepting | schema.OpenStack]
) -> Iterator[Finding]:
    missing = [key for key in model.required if key not in node.entries]
    if missing:
        yield Finding(node.mark, f"{subject} lacks {listed(missing)}")


def _ways(node: Node, subject: str) -> Iterator[Finding]:
    ways = [key for key in node.entries if key in schema.WAYS]
    if len(ways) > 1:
        mark = node.entries[ways[1]].key
        yield Finding(mark, f"{subject} has {listed(ways)}: exactly one way to reach it is needed")
    elif not ways:
        yield Finding(node.mark, f"{subject} lacks a way to reach it: {listed(schema.WAYS, 'or')}")
