"""YAML text as plain data, and where every key and value of it stands.

The tree is put together from ruamel.yaml's events instead of its ready-made nodes, because duplicate
keys have to be reported and not overwritten, a plain word means the same whatever `%YAML` says, and
nesting and aliases must not be able to exhaust the machine.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError

from crossnet.errors import Problem, SpecError
from crossnet.values import holds_password

Path = tuple[str | int, ...]

# A spec needs five levels; the recursion below must end long before Python's own limit.
_DEEPEST = 20

# Of values, with what aliases and `<<` repeat: ten anchors are enough to say a billion.
_MOST_VALUES = 50_000

# YAML 1.2 and editors break lines here only; ruamel.yaml also at others, so its line numbers are not used.
_LINE_BREAK = re.compile(r"\r\n|\n|\r")


class Mark(NamedTuple):
    """A place in the text; line and column count from 1."""

    line: int
    column: int


class Lines:
    """The lines of a text, to find the place of a character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(found.end() for found in _LINE_BREAK.finditer(text))]

    def mark(self, index: int) -> Mark:
        """The place of the character at this index."""
        line = bisect_right(self._starts, index)
        return Mark(line, index - self._starts[line - 1] + 1)

    def indent(self, mark: Mark) -> str:
        """The white space that this line begins with."""
        rest = self._text[self._starts[mark.line - 1] :]
        return rest[: len(rest) - len(rest.lstrip(" \t"))]


class Finding(NamedTuple):
    """One mistake, before it is known under which file it is reported."""

    mark: Mark
    message: str


@dataclass(frozen=True, slots=True)
class Node:
    """One YAML value: its plain data and its place, and those of what it holds."""

    data: object
    mark: Mark
    items: tuple[Node, ...] = ()
    entries: Mapping[str, Entry] = field(default_factory=dict)
    size: int = 1  # values in it, itself included, those of aliases each time

    def find(self, path: Path) -> Node:
        """The value at this path, or the innermost one around it that exists.

        Paths come from the models, where one value and a list of one look the same.
        """
        node = self
        for step in path:
            if isinstance(step, str) and step in node.entries:
                node = node.entries[step].node
            elif isinstance(step, int) and step < len(node.items):
                node = node.items[step]
            else:
                break
        return node

    def key_mark(self, path: Path) -> Mark:
        """Where the key that ends this path stands."""
        return self.find(path[:-1]).entries[str(path[-1])].key

    def section(self, key: str) -> Mapping[str, Entry]:
        """What the mapping below this key holds; nothing where there is none."""
        return self.entries[key].node.entries if key in self.entries else {}


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key: value` of a mapping."""

    key: Mark
    node: Node


def read(text: str, file: str) -> tuple[Node, list[Finding]]:
    """The one document of this text, which is a mapping, and the mistakes that do not stop the reading.

    SpecError when it is no YAML, empty, more than one document, or something else than a mapping.
    """
    composer = _Composer(text.removeprefix("\ufeff"), file)  # a byte order mark is in no editor's column
    return composer.document(), composer.findings


# The core schema of YAML 1.2 (10.3.2): `on`, `yes`, `1:30` and dates are plain words.
_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(
    r"0o[0-7]+|0x[0-9a-fA-F]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


def plain_scalar(word: str) -> str | bool | int | float | None:
    """What YAML 1.2 takes this unquoted word for."""
    if _NULL.fullmatch(word):
        return None
    if _BOOL.fullmatch(word):
        return word.lower() == "true"
    if _INT.fullmatch(word) and len(word) < 20:
        return int(word)
    if _NUMBER.fullmatch(word):
        return float("nan")  # no key of a spec takes such a number: that it is one is enough
    return word


_KINDS: Mapping[Path, str] = {("hosts",): "host", ("crossings",): "crossing"}  # what a key names there


class _Composer:
    def __init__(self, text: str, file: str) -> None:
        self.findings: list[Finding] = []
        self._lines = Lines(text)
        self._file = file
        self._anchors: dict[str, Node] = {}
        self._depth = 0
        self._values = 0
        self._events: Iterator[Event] = iter(YAML(typ="safe", pure=True).parse(text))
        self._here = Mark(1, 1)

    def document(self) -> Node:
        self._next()  # the start of the stream
        if isinstance(self._next(), StreamEndEvent):
            self._refuse(
                Mark(1, 1),
                "the file is empty: `crossnet init` writes a spec to start from, into a file that is not there yet",
            )
        root = self._node(self._next(), ())
        self._next()  # the end of the document
        event = self._next()
        if isinstance(event, DocumentStartEvent):
            self._refuse(self._start(event), "a second YAML document begins here: a spec is one document")
        if not isinstance(root.data, dict):
            self._refuse(
                root.mark,
                f"a spec is a mapping with the keys crossnet, hosts and crossings, not {describe(root.data)}",
            )
        return root

    def _node(self, event: Event, path: Path) -> Node:
        if isinstance(event, AliasEvent):
            return self._alias(event)
        self._count(1, self._start(event))
        self._refuse_tag(event)
        if isinstance(event, ScalarEvent):
            plain = event.style is None
            node = Node(plain_scalar(event.value) if plain else event.value, self._start(event))
        else:
            node = self._collection(event, path)
        if isinstance(event, NodeEvent) and event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: AliasEvent) -> Node:
        mark = self._start(event)
        if event.anchor not in self._anchors:
            # What is no plain name may be a text that was to stand in quotes, with a password in it.
            plain = re.fullmatch(r"[\w.-]+", event.anchor)
            which = (
                f"*{event.anchor} refers to no anchor &{event.anchor}"
                if plain
                else "this refers to no anchor"
            )
            self._refuse(mark, f"{which} before it")
        meant = self._anchors[event.anchor]
        self._count(meant.size, mark)
        return replace(meant, mark=mark)

    def _count(self, more: int, mark: Mark) -> None:
        self._values += more
        if self._values > _MOST_VALUES:
            self._refuse(
                mark, f"more than {_MOST_VALUES} values, counting what aliases repeat: no spec has so many"
            )

    def _refuse_tag(self, event: Event) -> None:
        if isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent) and event.ctag is not None:
            message = "tags (`!…`) have no meaning in a spec: remove it"
            self.findings.append(Finding(self._start(event), message))

    def _collection(self, event: Event, path: Path) -> Node:
        if self._depth == _DEEPEST:
            self._refuse(self._start(event), f"nested more than {_DEEPEST} levels deep: no spec is")
        self._depth += 1
        if isinstance(event, MappingStartEvent):
            node = self._mapping(event, path)
        else:
            node = self._sequence(event, path)
        self._depth -= 1
        return node

    def _sequence(self, start: Event, path: Path) -> Node:
        assert isinstance(start, SequenceStartEvent)
        items: list[Node] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        size = 1 + sum(item.size for item in items)
        return Node([item.data for item in items], self._start(start), items=tuple(items), size=size)

    def _mapping(self, start: MappingStartEvent, path: Path) -> Node:
        entries: dict[str, Entry] = {}
        merged: list[Node] = []
        while not isinstance(event := self._next(), MappingEndEvent):
            name = self._key(event, path)
            key = self._start(event)
            entry = Entry(key, self._value(self._next(), (*path, name or ""), key))
            if name is None:
                continue
            if name in entries:
                self._found_twice(path, name, entry.key, entries[name].key)
            elif name == "<<":
                merged += self._merge_sources(entry.node)
            else:
                entries[name] = entry
        for source in merged:  # what is written here wins, then the earlier source: the rule of YAML's `<<`
            for name, entry in source.entries.items():
                entries.setdefault(name, entry)
        data = {name: entry.node.data for name, entry in entries.items()}
        size = 1 + sum(1 + entry.node.size for entry in entries.values())
        return Node(data, self._start(start), entries=entries, size=size)

    def _value(self, event: Event, path: Path, key: Mark) -> Node:
        node = self._node(event, path)
        # A value that is not there has no place; ruamel.yaml gives it the next key's.
        nowhere = isinstance(event, ScalarEvent) and event.style is None and not event.value
        return replace(node, mark=key) if nowhere else node

    def _key(self, event: Event, path: Path) -> str | None:
        """The key's text exactly as written, also where YAML would take it for a number."""
        node = self._node(event, path)
        if isinstance(event, ScalarEvent) and event.value and event.value.isprintable():
            return str(event.value)
        self.findings.append(Finding(node.mark, "a key must be a plain word"))
        return None

    def _merge_sources(self, node: Node) -> tuple[Node, ...]:
        sources = node.items or (node,)
        if all(isinstance(source.data, dict) for source in sources):
            return sources
        self.findings.append(Finding(node.mark, "`<<` takes an alias of a mapping, such as `<<: *common`"))
        return ()

    def _found_twice(self, path: Path, name: str, second: Mark, first: Mark) -> None:
        kind = _KINDS.get(path, "key")
        message = f"{kind} {short(name)} is given twice, first at line {first.line}"
        self.findings.append(Finding(second, message))

    def _next(self) -> Event:
        try:
            event = next(self._events)
        except MarkedYAMLError as error:
            self._refuse(*_syntax_finding(error, self._lines))
        except ReaderError as error:
            mark = self._lines.mark(error.position)
            self._refuse(mark, "this character cannot be printed: YAML allows it only as an escape in quotes")
        except (ArithmeticError, ValueError, LookupError, TypeError, AttributeError, AssertionError):
            # ruamel.yaml leaks these on odd escapes, tags and directives, with no place of their own.
            message = "not valid YAML in or after this place: an escape that names no character?"
            self._refuse(self._here, message)
        self._here = self._lines.mark(event.end_mark.index)
        return event

    def _start(self, event: Event) -> Mark:
        return self._lines.mark(event.start_mark.index)

    def _refuse(self, mark: Mark, message: str) -> NoReturn:
        raise SpecError([Problem(self._file, *mark, message)])


# (a part of ruamel.yaml's own words, what the user has to know); the first that fits is shown.
_IN_THE_USERS_WORDS = (
    (
        "mapping values are not allowed",
        "a second `: ` in this value or a wrong indentation: quote or align it",
    ),
    ("could not find expected ':'", "this line is no `key: value`"),
    ("unexpected end of stream", "the quote that opens here is not closed"),
    ("found character", "this character cannot begin a word: put the word in quotes"),
    ("<stream end>", "the file ends before a `[` or `{` is closed"),
    ("expected <block end>", "the indentation does not fit the lines above, or a `:` or `-` is missing"),
    ("expected ',' or", "a `,` or the closing bracket is missing before this place"),
)

# Where these begin is the mistake; where ruamel.yaml notices it is lines later.
_TOLD_WHERE_IT_BEGINS = ("while scanning a simple key", "while scanning a quoted scalar")


def _syntax_finding(error: MarkedYAMLError, lines: Lines) -> Finding:
    mark = error.problem_mark or error.context_mark
    if error.context in _TOLD_WHERE_IT_BEGINS and error.context_mark is not None:
        mark = error.context_mark
    place = lines.mark(mark.index if mark is not None else 0)
    if "\t" in lines.indent(place):
        return Finding(place, "not valid YAML: a tab cannot indent, use spaces")
    problem = str(error.problem)
    meant = next((words for part, words in _IN_THE_USERS_WORDS if part in problem), problem)
    return Finding(place, f"not valid YAML: {meant}")


def last_key(path: Path) -> str:
    """The key that this path leads to, also where it goes on into the key's list."""
    return next(step for step in reversed(path) if isinstance(step, str))


def describe(data: object) -> str:
    """What a value is, in the user's words: "a number", "a list", "'abc'"."""
    match data:
        case None:
            return "nothing"
        case bool():
            return str(data).lower()
        case int() | float():
            return "a number"
        case str():
            return short(data)
        case list():
            return "a list"
        case dict() if not data:
            return "an empty mapping"
        case _:
            return "a mapping"


def short(text: str, limit: int = 60) -> str:
    """A text in quotes, cut where it would fill the screen; no password is repeated."""
    if holds_password(text):
        return "a text with a password in it"
    return repr(text) if len(text) <= limit else repr(text[:limit] + "…")
