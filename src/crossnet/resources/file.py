"""A file: persistence is an ordinary resource, so "works now, gone after the reboot" is a line of the diff."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.files import NO_FILE, SIGNATURE
from crossnet.facts.question import text, text_or
from crossnet.facts.sysctls import FORWARDING
from crossnet.resources.init_script import GUARD_SCRIPT, script_file
from crossnet.resources.resource import Encoded, Phase, Resource
from crossnet.resources.service import GUARD_UNIT, unit_file
from crossnet.resources.sh_tests import Locate, Test, is_absent, is_link
from crossnet.resources.steps import Check, Link, Look, Step, Write
from crossnet.values import Family, absolute_path

_GUARDS = frozenset({unit_file(GUARD_UNIT), script_file(GUARD_SCRIPT)})

_IS_FILE = """
# is_file PATH MODE [OWNER]: whether the file has these, and what is on standard input
is_file() {
    cmp -s - "$1" && [ "$(stat -c %a "$1")" = "$2" ] && { [ -z "${3-}" ] || [ "$(stat -c %u:%g "$1")" = "$3" ]; }
}
"""


@dataclass(frozen=True, slots=True)
class File(Resource):
    """A file's bytes, mode and owner (`uid:gid`); of a symbolic link its target and its owner.

    `checked_by` is the command of its reader that only looks whether it could take what it reads as standard input.
    """

    kind: ClassVar[str] = "file"
    rank: ClassVar[int] = 5  # nothing is written for the next boot before the change is confirmed
    place_shown: ClassVar[int] = 5
    clients_have: ClassVar[bool] = True
    is_in_files: ClassVar[bool] = True
    is_of_all_crossings: ClassVar[bool] = True
    repair: ClassVar[str] = "Take away what is in its place, then again."
    path: str
    data: bytes
    mode: int = 0o644
    owner: str | None = None  # None: whoever crossnet is on that host
    target: str | None = None
    is_file: bool = True  # a folder may have come in its place
    checked_by: tuple[str, ...] = field(default=(), compare=False)

    @property
    def key(self) -> str:
        return self.path

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,)

    @property
    def phase(self) -> Phase:
        return Phase.GUARD if self.path in _GUARDS else Phase.PERSISTENT

    @property
    def crossings(self) -> tuple[str, ...]:
        """The crossings for which crossnet wrote it, by its first line."""
        for line in self.data.splitlines()[:2]:
            head, signature, _ = line.partition(SIGNATURE)
            if signature:
                names = head.decode(errors="replace").partition("crossnet:")[2].strip(" .")
                return tuple(name.strip() for name in names.split(",") if name.strip())
        return ()

    def opens(self, family: Family) -> bool:
        return any(line.startswith(FORWARDING[family].encode()) for line in self.data.splitlines())

    @classmethod
    def traces(cls, facts: Facts) -> tuple[Self, ...]:
        """The files whose beginning says so; behind `#!`, where there is one."""
        return tuple(
            cls(path, state.data, state.mode, state.owner)
            for path in facts.files
            if "crossnet"
            in path  # what stands in files of others, and whether they can be read, says nothing
            and (state := facts.file_left(path)) is not None
            and state.target is None
            and any(SIGNATURE in line for line in state.data.splitlines()[:2])
        )

    def current(self, facts: Facts) -> Self | None:
        if facts.is_no_file(self.path):
            return type(self)(self.path, b"", is_file=False)
        state = facts.file(self.path)
        if state is None:
            return None
        if state.target is not None:
            return type(self)(self.path, b"", 0o777, state.owner, state.target)
        return type(self)(self.path, state.data, state.mode, state.owner)

    def satisfied_by(self, have: Self) -> bool:
        return have.is_file and (self.data, self.mode, self.target) == (have.data, have.mode, have.target)

    @property
    def flaw(self) -> str:
        return "" if self.is_file else NO_FILE

    def differences(self, now: Self | None) -> tuple[str, ...]:
        if now is None:
            return (f"file {self.path} was removed",)
        if not now.is_file:
            return (f"file {self.path} was replaced: {NO_FILE}",)
        if now.target is not None or self.target is not None:
            return (f"file {self.path} is {_shown(now)}, was applied as {_shown(self)}",)
        found = []
        if now.data != self.data:
            found.append(f"file {self.path} was edited: it no longer says what was applied")
        if now.mode != self.mode:
            found.append(f"file {self.path} has mode {now.mode:04o}, was applied with {self.mode:04o}")
        return tuple(found)

    def added_to(self, now: Self) -> tuple[str, ...]:
        own = set(self.data.splitlines())
        added = (line.strip() for line in now.data.splitlines() if line not in own)
        return tuple(line.decode(errors="replace") for line in added if line)

    def look(self) -> tuple[Look, ...]:
        return (PurePosixPath(self.path),)

    def holds(self, locate: Locate) -> Test:
        if self.target is not None:
            return is_link(locate(self.path), self.target)
        words = (locate(self.path), f"{self.mode:o}", *([self.owner] if self.owner else []))
        return Test.of("is_file", *words, stdin=self.data, function=_IS_FILE)

    def lacks(self, locate: Locate) -> Test:
        return is_absent(locate(self.path))

    def checks(self, locate: Locate) -> tuple[Check, ...]:
        """A script by the shell of the host, where nobody else is named."""
        argv = self.checked_by or (("sh", "-n") if self.data.startswith(b"#!") else ())
        return (Check(argv, self.data),) if argv else ()

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        side = want or have
        assert side is not None, "a change has at least one side"
        if want is None:
            return (Write(PurePosixPath(side.path), None),)
        if want.target is not None:
            return (Link(PurePosixPath(want.path), want.target, want.owner),)
        return (Write(PurePosixPath(want.path), want.data, want.mode, want.owner),)

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        if want is not None and have is not None and (want.target or have.target):
            return f"{side.path}  ({_shown(have)} → {_shown(want)})"
        return side.path

    def encode(self) -> Encoded:
        data = base64.b64encode(self.data).decode()
        mode = f"{self.mode:04o}"
        return {"path": self.path, "data": data, "mode": mode, "owner": self.owner, "target": self.target}

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        return cls(
            absolute_path(text(encoded, "path")),
            base64.b64decode(text(encoded, "data"), validate=True),
            int(text(encoded, "mode"), 8),
            text_or(encoded, "owner", None),
            text_or(encoded, "target", None),
        )


def _shown(file: File) -> str:
    return f"a link to {file.target}" if file.target is not None else "a file"
