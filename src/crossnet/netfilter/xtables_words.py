"""The lines of iptables-save and `ipset save`, and the words of a line, as their own readers take them apart.

xtables-save.c and ipset's session.c quote a value that has other characters than letters and digits, and print it as
it is: with blanks, with line ends, with what other programs take for line ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# A comment has at most 255 bytes (xt_comment.h), so a quote that is open longer was never meant as one.
_MOST_LINES_OF_ONE = 256

_QUOTED = re.compile(r'((?:[^\s"]|"(?:[^"\\]|\\.)*")+)', re.DOTALL)
_PART = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Quoted(str):
    """A word that stood in quotes: always a value, whatever it begins with."""

    __slots__ = ()


def split_lines(text: str) -> Iterator[str]:
    """The lines of a text; a line end in quotes is a part of its line."""
    every = text.split("\n")
    if '"' not in text:
        yield from every
        return
    at = 0
    while at < len(every):
        line = every[at]
        at += 1
        if '"' in line and not _is_whole(line):
            joined = line
            for further in range(at, min(at + _MOST_LINES_OF_ONE, len(every))):
                joined += "\n" + every[further]
                if '"' in every[further] and _is_whole(joined):
                    line, at = joined, further + 1
                    break
        yield line


def _is_whole(line: str) -> bool:
    count = line.count('"')
    return not count & 1 if "\\" not in line else not _ESCAPED.sub("", line).count('"') & 1


def split_words(line: str) -> list[str]:
    """The words of a line without their quotes; blanks in quotes belong to the word."""
    if '"' not in line:
        # str.split() also splits at what Unicode calls a blank, and a name of an interface may have that
        return line.split() if line.isascii() else [word for word in re.split("[ \t\n]+", line) if word]
    words: list[str] = []
    for word in _QUOTED.findall(line):
        if '"' in word:
            words.append(Quoted(_PART.sub(lambda part: _ESCAPED.sub(r"\1", part[1]), word)))
        else:
            words.append(word)
    return words
