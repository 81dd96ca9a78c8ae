"""The commands that messages advise, with the user's own words: `crossnet apply -f my.yaml --host app`."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Collection

from crossnet.errors import without_passwords
from crossnet.show.visible import one_line

USUAL_FILE = "crossnet.yaml"

_ADVISED = re.compile(r"`crossnet(\s+)([a-z-]+)([^`]*)`")
_WIDTH = 80
_FURTHER = re.compile(r" {4,}(?=\S)")  # how a line begins that goes on with another one's sentence
_NAMES_A_FILE = re.compile(r"(^|\s)(-f|--file\b)")


def as_typed(*more: str) -> str:
    """The command as the user typed it, with these options; no password that stands before an @ is repeated."""
    words = sys.argv[1:]
    at = 1 if "--" in words else len(words)  # behind a `--` nothing is an option any more
    said = ["crossnet", *words[:at], *more, *words[at:]]
    return without_passwords(shlex.join(map(one_line, said)))


class Hints:
    """Which spec this run is about and which of its crossings, and which commands take one, and such a choice."""

    def __init__(self) -> None:
        self.commands: Collection[str] = ()
        self.choosing: Collection[str] = ()
        self.file = USUAL_FILE
        self.choice: tuple[str, ...] = ()

    def own(self, text: str) -> str:
        """The text with this run's spec in every command that would else look for the usual one, and its choice."""
        if self.file in ("", USUAL_FILE) and not self.choice:
            return text
        from crossnet.values import holds_password

        if holds_password(self.file):
            return text
        again = as_typed("--yes")  # has all that was typed already
        told = again.join(_ADVISED.sub(self._as_given, part) for part in text.split(again))
        before, after = text.split("\n"), told.split("\n")
        if len(before) != len(after):
            return told
        return "\n".join(
            _rewrapped(now) if len(line) <= _WIDTH < len(now) else now
            for line, now in zip(before, after, strict=True)
        )

    def advises_own_file(self, text: str) -> bool:
        """Whether one of its commands is told with this run's spec."""
        return any(self._takes_file(found) for found in _ADVISED.finditer(text))

    def _takes_file(self, found: re.Match[str]) -> bool:
        _, command, rest = found.groups()
        takes_one = command in self.commands and not _NAMES_A_FILE.search(rest)
        asks_hosts = command == "list" and rest.strip()  # they tell it all themselves
        return bool(takes_one and not asks_hosts and self.file not in ("", USUAL_FILE))

    def _as_given(self, found: re.Match[str]) -> str:
        space, command, rest = found.groups()
        words: list[str] = []
        if self._takes_file(found):
            words += ["-f", one_line(self.file)]
        if command in self.choosing and not rest.strip():
            words += self.choice
        return f"`crossnet{space}{command}{''.join(f' {shlex.quote(word)}' for word in words)}{rest}`"


def _rewrapped(line: str) -> str:
    """A line of a paragraph that has become longer than it may be."""
    indent = _FURTHER.match(line)
    if indent is None:
        return line
    from crossnet.show.wrapping import wrap

    return "\n".join(wrap(line.strip(), _WIDTH, initial_indent=indent[0], subsequent_indent=indent[0]))


hints = Hints()
