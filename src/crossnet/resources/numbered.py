"""Entries that are counted: `ADDRESS0=`, `NETMASK0=`, `GATEWAY0=` of a `route-eth0`, read from 0 to the first gap.

Whatever number such a line has, it is the same line; and where one goes, those behind it move up, or nobody would read
them (initscripts: ifup-routes; NetworkManager's ifcfg-rh plugin). A shell sources the file, so several may stand in one
line. `ADDRESS00=` is another name, and nobody reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

_KEY = rb"(?:ADDRESS|NETMASK|PREFIX|GATEWAY|METRIC|OPTIONS)"
_NUMBER = rb"(?:0|[1-9][0-9]{0,5})"
_LINE = re.compile(rb"^([ \t]*" + _KEY + rb")(" + _NUMBER + rb")(=.*)$", re.MULTILINE)

_QUOTED = rb"""'[^'\n]*'|"[^"\n$`\\]*\""""
_COMMENT = rb"(?<![^ \t\n;])#[^\n]*"
_SET = rb"[A-Za-z_][A-Za-z0-9_]*=(?:" + _QUOTED + rb"""|[^\s'"$`\\;&|<>()])*"""
_PLAIN = re.compile(
    rb"[ \t]*(?:" + _SET + rb"(?:[ \t]*;[ \t]*|[ \t]+|(?=\r?\Z)))*(?:" + _COMMENT + rb")?\r?", re.DOTALL
)
_NAMED = re.compile(_KEY + _NUMBER)
# What is quoted or a comment has no groups.
_ASSIGNED = re.compile(
    _QUOTED + rb"|" + _COMMENT + rb"|(?<![^ \t\n;])(" + _KEY + rb")(" + _NUMBER + rb")(?==)"
)
_FIRST = b"ADDRESS"


def is_numbered(entry: bytes) -> bool:
    """Whether all lines of it are such ones."""
    return all(_LINE.fullmatch(line) for line in entry.splitlines())


def numbers(data: bytes) -> frozenset[int]:
    """The numbers of the entries in a file."""
    return frozenset(int(found[2]) for found in _ASSIGNED.finditer(data) if found[1] == _FIRST)


def is_whole(data: bytes) -> bool:
    """Whether all entries of a file are read, because none of the numbers before them is missing."""
    found = numbers(data)
    return found == frozenset(range(len(found)))


def unplain(data: bytes) -> int:
    """The first line that names one and is more than assignments of plain values; 0 where there is none."""
    lines = enumerate(data.split(b"\n"), 1)
    return next((number for number, line in lines if _NAMED.search(line) and not _PLAIN.fullmatch(line)), 0)


def places(data: bytes, entry: bytes) -> Iterator[tuple[int, int]]:
    """From where to where these lines stand in it, with whatever numbers; the last line of `data` has its end."""
    lines = (_LINE.fullmatch(line) for line in entry.splitlines())
    pattern = b"".join(
        re.escape(line.group(1)) + _NUMBER + re.escape(line.group(3)) + b"\n" for line in lines if line
    )
    yield from (found.span() for found in re.finditer(b"^" + pattern, data, re.MULTILINE))


def counted_from(entry: bytes, first: int) -> bytes:
    """The entry with numbers from `first` on."""
    least = min(numbers(entry), default=0)
    return _with(entry, lambda number: number - least + first)


def moved_up(data: bytes, gone: Collection[int], came: int = 0) -> bytes:
    """A part of a file in which those behind the numbers that went are counted on, and so many came in their place."""
    least = min(gone, default=0)

    def counted(old: int) -> int:
        new = old - sum(one < old for one in gone)
        return new + came if new >= least else new

    return _with(data, counted) if gone else data


def _with(data: bytes, number: Callable[[int], int]) -> bytes:
    def counted(found: re.Match[bytes]) -> bytes:
        return found[1] + b"%d" % number(int(found[2])) if found[1] else found[0]

    return _ASSIGNED.sub(counted, data)
