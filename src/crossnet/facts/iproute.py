"""What `ip` prints, of any age: lines of words, in which one blank or two make no difference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from crossnet.facts.question import refuse
from crossnet.transport.batch import Answer

# `-o` writes a backslash where a new line would begin with blanks; no name of an interface holds a blank.
_BREAK = re.compile(r"\\(?=[ \t])")

# rt_dsfield of iproute2 (the names of RFC 2474, 2597 and 3246, and those of RFC 1349).
_DSFIELD = {
    "default": 0,
    "lowcost": 0x02,
    "mincost": 0x02,
    "reliability": 0x04,
    "throughput": 0x08,
    "lowdelay": 0x10,
    "flash-override": 0x80,
    "EF": 0xB8,
    **{f"CS{number}": number << 5 for number in range(8)},
    **{f"AF{high}{low}": high << 5 | low << 3 for high in range(1, 5) for low in range(1, 4)},
}


def failed(answer: Answer) -> NoReturn:
    """It is `ip` that failed, whatever script it was in."""
    refuse(answer, "ip")


def words(line: str) -> list[str]:
    """The words of a line: blanks and tabs divide them, and no other white space (a name may hold U+00A0)."""
    return [word for word in line.replace("\t", " ").split(" ") if word]


def records(answer: str) -> Iterator[list[str]]:
    """What stands on one line with `-o`, in its parts: lines that begin with a blank belong to the one before."""
    record: list[str] = []
    for line in answer.split("\n"):
        if line.startswith((" ", "\t")) and record:
            record += _BREAK.split(line)
        elif line:
            if record:
                yield record
            record = _BREAK.split(line)
    if record:
        yield record


@dataclass(slots=True)
class Words:
    """Words that are read one after the other."""

    left: list[str]
    at: int = 0

    def __bool__(self) -> bool:
        return self.at < len(self.left)

    def next(self) -> str:
        """The next word; ValueError at the end: each key that is known has a value."""
        if self.at >= len(self.left):
            raise ValueError(f"nothing behind {self.left[-1]!r}" if self.left else "an empty line")
        self.at += 1
        return self.left[self.at - 1]

    def peek(self) -> str:
        """The next word, and nothing at the end."""
        return self.left[self.at] if self.at < len(self.left) else ""

    def skip(self, word: str) -> bool:
        """Whether the next word is this one, which is then read."""
        if self.peek() != word:
            return False
        self.at += 1
        return True


def dsfield(word: str) -> int | None:
    """A type of service, as a number or by its name in rt_dsfield; None for a name of the host's own."""
    if word.startswith("0x"):
        return _within(int(word, 16), 0xFF)
    if word.isdecimal():
        return _within(int(word), 0xFF)
    return _DSFIELD.get(word)


def whole(word: str, most: int = 0xFFFFFFFF) -> int:
    """A number that is not negative."""
    if not (word.isascii() and word.isdecimal()) or len(word) > 20:
        raise ValueError(f"{word[:40]!r} is not a number")
    return _within(int(word), most)


def unsigned(word: str) -> int:
    """A number of 32 bits, which busybox prints as a signed one."""
    return -whole(word[1:], 0x80000000) & 0xFFFFFFFF if word.startswith("-") else whole(word)


def _within(number: int, most: int) -> int:
    if number > most:
        raise ValueError(f"{number} is more than {most}")
    return number
