"""Lines in a file that others keep: exactly these bytes, put there once and taken out again, and nothing else of it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import ClassVar, Self

from crossnet.facts import Facts, FileState
from crossnet.facts.files import NO_FILE, SIGNATURE
from crossnet.facts.question import text
from crossnet.resources import numbered
from crossnet.resources.resource import Encoded, Phase, Resource
from crossnet.resources.sh_tests import Locate, Test
from crossnet.resources.steps import Check, Look, Splice, Step
from crossnet.several import MOST_NAMES, few
from crossnet.values import absolute_path

LONGEST = 120
"""Characters of a line of others that are told."""

_HAS_DIGEST = """
# has_digest PATH SHA256: whether the bytes of the file have it; without a second word, whether it is not there
has_digest() {
    if [ -z "${2-}" ]; then [ ! -e "$1" ] && [ ! -L "$1" ] && return; fi
    [ -f "$1" ] && [ ! -L "$1" ] && [ "$(sha256sum <"$1")" = "$2  -" ]
}
"""


@dataclass(frozen=True, slots=True)
class Lines(Resource):
    """All of crossnet's lines in one file of somebody else, together and at its end; the rest of it is never touched.

    They are found again by their bytes, wherever they stand by then; entries that are counted (see `numbered`) whatever
    their number, and get the next one. `made` is whether the file was not there before
    them: it goes with them where it is empty again. `ended` is whether the line before them had no end, which it got
    for them and loses with them. `applied` are the lines as they were applied last, `file` is the file as it was read,
    and not `is_file` where something else has come in its place. `checked_by` is as of a `File`.
    """

    kind: ClassVar[str] = "lines"
    rank: ClassVar[int] = 5  # with the files
    place_shown: ClassVar[int] = 5
    is_of_all_crossings: ClassVar[bool] = True
    clients_have: ClassVar[bool] = True
    is_in_files: ClassVar[bool] = True
    repair: ClassVar[str] = (
        "Leave crossnet's lines there once and as it wrote them, or none of them; the rest of the file is yours."
    )
    path: str
    entry: bytes
    made: bool = False
    ended: bool = False
    applied: bytes | None = field(default=None, compare=False)
    file: FileState | None = field(default=None, compare=False, repr=False)
    checked_by: tuple[str, ...] = field(default=(), compare=False)
    is_file: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        if not self.entry.strip() or not self.entry.endswith(b"\n") or b"\0" in self.entry:
            raise ValueError(f"{self.path}: an entry is one or more whole lines: {self.entry[:60]!r}")
        if SIGNATURE in self.entry:
            raise ValueError(
                f"{self.path}: an entry that says so would make the file crossnet's: {self.entry[:60]!r}"
            )

    @property
    def phase(self) -> Phase:
        return Phase.PERSISTENT

    @property
    def key(self) -> str:
        return self.path

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,)

    def current(self, facts: Facts) -> Self | None:
        """These lines, else those that were applied last."""
        file = facts.file_left(self.path)
        if file is None:
            return None
        if file.target is not None:
            return replace(self, file=file)
        found = self._found_in(file.data)
        return replace(self, entry=found[0], file=file) if found else None

    def ours(self, facts: Facts) -> Self | None:
        """Also what is left of them: the longest of their lines is nobody else's."""
        file = facts.file_left(self.path)
        found = self.current(facts)
        if found is not None or file is None:
            return found
        longest = max((self.applied or self.entry).splitlines(keepends=True), key=len)
        return replace(self, file=file) if _places(file.data, longest) else None

    def knowing(self, before: Resource | None, facts: Facts) -> Self:
        file = facts.file_left(self.path)
        data = file.data if file else b""
        known = before if isinstance(before, Lines) else None
        if known is not None and _places(data, known.entry):
            same = replace(self, made=known.made, ended=known.ended, applied=known.entry, file=file)
            if numbered.is_numbered(self.entry) == numbered.is_numbered(known.entry):
                return same
            left = same._without or b""  # they move to its end
            return replace(same, ended=bool(left) and not left.endswith(b"\n"))
        return replace(
            self,
            made=file is None or (known is not None and known.made),
            ended=bool(data) and not data.endswith(b"\n"),
            applied=known.entry if known else None,
            file=file,
            is_file=not facts.is_no_file(self.path),
        )

    def satisfied_by(self, have: Self) -> bool:
        return self.entry == have.entry and not have._disturbed

    def differences(self, now: Self | None) -> tuple[str, ...]:
        if now is not None and now._disturbed:
            return (f"lines {self.path}: {now._disturbed}",)
        if edited := self._edited:
            return (f"lines {self.path}: somebody has edited crossnet's entry: {few(edited, MOST_NAMES)}",)
        why = "" if self.is_file else f": {NO_FILE}"
        return (f"lines {self.path}: crossnet's entry is not there{why}",)

    def edited(self, facts: Facts) -> str:
        if self.ours(facts) is not None:
            return ""
        lines = replace(self, file=facts.file_left(self.path))._edited
        return (
            f"{self.path}: somebody has edited crossnet's entry, so it stays: {few(lines, MOST_NAMES)}"
            if lines
            else ""
        )

    @property
    def _edited(self) -> tuple[str, ...]:
        """The lines of the file that are about the same as those that are not found as they were written."""
        about = frozenset(word for line in self.entry.splitlines() for word in _subjects(line))
        lines = enumerate(self.file.data.split(b"\n") if self.file else (), 1)
        return tuple(
            f"line {number} says `{_readable(line)}`"
            for number, line in lines
            if not line.lstrip().startswith(b"#") and not about.isdisjoint(_subjects(line))
        )

    @property
    def flaw(self) -> str:
        if disturbed := self._disturbed:
            return disturbed
        found = self._found_in(self.file.data) if self.file is not None else None
        return self._uncountable(*found[1:]) if found and numbered.is_numbered(found[0]) else ""

    def _uncountable(self, start: int, end: int) -> str:
        """Why the entries behind this part of the file cannot get other numbers, where they would need them."""
        assert self.file is not None, "it stands in a file"
        data = self.file.data
        rest = data[:start] + data[end:]
        gone = numbered.numbers(data[start:end]) - numbered.numbers(rest)
        line = numbered.unplain(data)
        if not line or numbered.moved_up(rest, gone) == rest:
            return ""
        return f"line {line} is more than plain `NAME=value`, so the entries behind crossnet's cannot get other numbers"

    @property
    def _disturbed(self) -> str:
        if self.file is None:
            return ""
        if self.file.target is not None:
            return f"it is a link to {self.file.target}"
        times = len(_places(self.file.data, self.entry))
        if times == 1:
            return ""
        return f"its lines stand there {times} times" if times else "somebody has edited its lines"

    def look(self) -> tuple[Look, ...]:
        return (PurePosixPath(self.path),)

    def holds(self, locate: Locate) -> Test:
        return self._has(self._with, locate)

    def lacks(self, locate: Locate) -> Test:
        return self._has(self._without, locate)

    def _has(self, data: bytes | None, locate: Locate) -> Test:
        digest = _digest(data)
        return Test.of("has_digest", locate(self.path), *([digest] if digest else []), function=_HAS_DIGEST)

    def checks(self, locate: Locate) -> tuple[Check, ...]:
        return (Check(self.checked_by, self._with, locate(self.path)),) if self.checked_by else ()

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        side = want or have
        assert side is not None, "a change has at least one side"
        before = have._with if have else side._without
        after = want._with if want else side._without
        return (Splice.between(PurePosixPath(side.path), before, after),)

    def _found_in(self, data: bytes) -> tuple[bytes, int, int] | None:
        """What of crossnet stands in the file, and from where to where.

        In the file as it was read that is what was applied last: the lines beside it are somebody else's, though they
        may be what crossnet wants now. Later it may be either, and of one that is a part of the other it is the longer.
        """
        entries = [*([self.applied] if self.applied is not None else []), self.entry]
        if self.file is None or data != self.file.data:
            entries.sort(key=len, reverse=True)
        for entry in entries:
            for start, end in _places(data, entry):
                return entry, start, end
        return None

    @property
    def _with(self) -> bytes:
        """The file when it has these lines: where those stood that were applied last, else at its end."""
        data = self.file.data if self.file else b""
        is_counted = numbered.is_numbered(self.entry)
        found = self._found_in(data)
        if found is not None:
            entry, start, end = found
            if entry == self.entry:
                return data
            if is_counted == numbered.is_numbered(entry):
                return (
                    self._in_place_of(data, start, end)
                    if is_counted
                    else data[:start] + self.entry + data[end:]
                )
            data = self._without or b""  # the file has got another form since then
        data += b"\n" if self.ended and not data.endswith(b"\n") else b""
        return data + (
            numbered.counted_from(self.entry, len(numbered.numbers(data))) if is_counted else self.entry
        )

    def _in_place_of(self, data: bytes, start: int, end: int) -> bytes:
        gone, came = numbered.numbers(data[start:end]), len(numbered.numbers(self.entry))
        entry = numbered.counted_from(self.entry, min(gone))
        return numbered.moved_up(data[:start], gone, came) + entry + numbered.moved_up(data[end:], gone, came)

    @property
    def _without(self) -> bytes | None:
        """The file when it has none; None where there is no such file then."""
        if self.file is None:
            return None
        data = self.file.data
        found = self._found_in(data)
        if found is None:
            return data
        entry, start, end = found
        head, tail = data[:start], data[end:]
        # What came behind them since then stands on a line of its own.
        left = head.removesuffix(b"\n") if self.ended and not tail else head + tail
        if numbered.is_numbered(entry):  # another with its number closes the gap
            left = numbered.moved_up(left, numbered.numbers(data[start:end]) - numbered.numbers(left))
        return left if left or not self.made else None

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        count = side.entry.count(b"\n")
        return f"{side.path}: {count} line{'s' if count != 1 else ''}"

    def shown(self) -> Encoded:
        """With the digest of the file as it was read."""
        return {**self.encode(), "file": _digest(self.file.data if self.file else None)}

    def encode(self) -> Encoded:
        return {
            **self.state(),
            **({"made": True} if self.made else {}),
            **({"ended": True} if self.ended else {}),
        }

    def state(self) -> Encoded:
        """That they are there: the rest of the file is for others to change."""
        return {"path": self.path, "entry": base64.b64encode(self.entry).decode()}

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        return cls(
            absolute_path(text(encoded, "path")),
            base64.b64decode(text(encoded, "entry"), validate=True),
            made=encoded.get("made") is True,
            ended=encoded.get("ended") is True,
        )


def _digest(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def _subjects(line: bytes) -> frozenset[bytes]:
    """What a line is about, whatever else it says of it: networks and paths; the address of a numbered entry."""
    words = [word for word in re.split(rb"[\s=;\"'#]+", line) if word]
    named = pairwise(words)
    return frozenset(
        [
            *(word for word in words if b"/" in word),
            *(word for key, word in named if key.startswith(b"ADDRESS")),
        ]
    )


def _readable(line: bytes) -> str:
    """With what ends it otherwise than a line of Unix."""
    return line.strip(b" \t").decode(errors="replace").replace("\r", "\\r")[:LONGEST]


def _places(data: bytes, entry: bytes) -> tuple[tuple[int, int], ...]:
    """From where to where these lines stand in a file; the last line of one may lack its end."""
    return tuple(_found(data, entry))


def _found(data: bytes, entry: bytes) -> Iterator[tuple[int, int]]:
    ended = data if data.endswith(b"\n") else data + b"\n"
    if numbered.is_numbered(entry):
        yield from ((start, min(end, len(data))) for start, end in numbered.places(ended, entry))
        return
    start = ended.find(entry)
    while start != -1:
        if start == 0 or ended[start - 1 : start] == b"\n":
            yield start, min(start + len(entry), len(data))
        start = ended.find(entry, start + 1)
