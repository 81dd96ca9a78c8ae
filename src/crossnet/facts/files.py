"""Files of a host: each is there, absent, or cannot be read, and the last is never taken for the second."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from crossnet.facts.question import Question
from crossnet.transport import ABSENT, THERE
from crossnet.transport.batch import Answer

# More than any file of crossnet has, and little enough for one answer.
LARGEST = 32 * 2**20

# One file a time; base64 keeps every byte whatever it is.
_READ = rf"""
if [ -L "$1" ]; then echo link && exec readlink -- "$1"; fi
{THERE}
size=$(stat -c %s -- "$1") || exit
[ "$size" -le {LARGEST} ] || {{ echo "it has $size bytes" >&2; exit 1; }}
stat -c '%a %u:%g' -- "$1" && base64 <"$1"
"""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it is: its bytes, its mode bits, its owner as `uid:gid`; for a symbolic link its target."""

    data: bytes
    mode: int
    owner: str
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something is there, or may be, and what it is cannot be told: why."""

    reason: str


Found = FileState | Unreadable | None


def file_question(path: str, place: str) -> Question[Found]:
    """What stands at a path, which the host keeps at `place`; None where nothing does."""
    return Question(f"read {path}", ("sh", "-c", _READ, "sh", place), _parse, _failed)


def _parse(answer: str) -> FileState:
    head, _, body = answer.partition("\n")
    if head == "link":
        return FileState(b"", 0o777, "", target=body.strip())
    mode, owner = head.split()
    user, _, group = owner.partition(":")
    if not (user.isdecimal() and group.isdecimal()):
        raise ValueError(f"no owner: {owner[:40]!r}")
    return FileState(base64.b64decode("".join(body.split()), validate=True), int(mode, 8), owner)


def _failed(answer: Answer) -> Unreadable | None:
    if answer.returncode == ABSENT and not answer.error_text:
        return None
    lines = answer.error_text.splitlines()
    return Unreadable(lines[-1] if lines else f"exit code {answer.returncode} without a word")
