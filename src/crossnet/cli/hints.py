"""The commands that messages advise, with the user's own spec: `crossnet recover -f my.yaml`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection

from crossnet.show.visible import one_line

USUAL_FILE = "crossnet.yaml"

_ADVISED = re.compile(r"`crossnet\s+([a-z-]+)([^`]*)`")
_NAMES_A_FILE = re.compile(r"(^|\s)(-f|--file)\b")


class Hints:
    """Which spec this run is about, and which commands take one."""

    def __init__(self) -> None:
        self.commands: Collection[str] = ()
        self.file = USUAL_FILE

    def own(self, text: str) -> str:
        """The text with this run's spec in every command that would else look for the usual one."""
        if self.file in ("", USUAL_FILE):
            return text
        from crossnet.values import holds_password

        return text if holds_password(self.file) else _ADVISED.sub(self._with_file, text)

    def _with_file(self, found: re.Match[str]) -> str:
        command, rest = found.groups()
        if command not in self.commands or _NAMES_A_FILE.search(rest):
            return found[0]
        return f"`crossnet {command} -f {shlex.quote(one_line(self.file))}{rest}`"


hints = Hints()
