"""The commands that messages advise, with the user's own spec and choice: `crossnet apply -f my.yaml --host app`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection

from crossnet.show.visible import one_line

USUAL_FILE = "crossnet.yaml"

_ADVISED = re.compile(r"`crossnet\s+([a-z-]+)([^`]*)`")
_NAMES_A_FILE = re.compile(r"(^|\s)(-f|--file)\b")


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

        return text if holds_password(self.file) else _ADVISED.sub(self._as_given, text)

    def _as_given(self, found: re.Match[str]) -> str:
        command, rest = found.groups()
        words: list[str] = []
        if command in self.commands and self.file not in ("", USUAL_FILE) and not _NAMES_A_FILE.search(rest):
            words += ["-f", one_line(self.file)]
        if command in self.choosing and not rest.strip():
            words += self.choice
        return f"`crossnet {command}{''.join(f' {shlex.quote(word)}' for word in words)}{rest}`"


hints = Hints()
