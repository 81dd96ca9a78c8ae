"""Entries that are counted: `ADDRESS0=`, `NETMASK0=`, `GATEWAY0=` of a `route-eth0`, read from 0 to the first gap.

Whatever number such a line has, it is the same line; and where one goes, those behind it move up, or nobody would read
them (initscripts: ifup-routes; NetworkManager's ifcfg-rh plugin).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

_LINE = re.compile(
    rb"^([ \t]*(?:ADDRESS|NETMASK|PREFIX|GATEWAY|METRIC|OPTIONS))([0-9]{1,6})(=.*)$", re.MULTILINE
)
_FIRST = b"ADDRESS"


def is_numbered(entry: bytes) -> bool:
    """Whether all lines of it are such ones."""
    return all(_LINE.fullmatch(line) for line in entry.splitlines())


def numbers(data: bytes) -> frozenset[int]:
    """The numbers of the entries in a file."""
    return frozenset(int(found.group(2)) for found in _LINE.finditer(data) if _FIRST in found.group(1))


def is_whole(data: bytes) -> bool:
    """Whether all entries of a file are read, because none of the numbers before them is missing."""
    found = numbers(data)
    return found == frozenset(range(len(found)))


def places(data: bytes, entry: bytes) -> Iterator[tuple[int, int]]:
    """From where to where these lines stand in it, with whatever numbers; the last line of `data` has its end."""
    lines = (_LINE.fullmatch(line) for line in entry.splitlines())
    pattern = b"".join(
        re.escape(line.group(1)) + b"[0-9]{1,6}" + re.escape(line.group(3)) + b"\n" for line in lines if line
    )
    yield from (found.span() for found in re.finditer(b"^" + pattern, data, re.MULTILINE))


def counted_from(entry: bytes, first: int) -> bytes:
    """The entry with numbers from `first` on."""
    least = min(numbers(entry), default=0)
    return _LINE.sub(lambda found: _with(found, int(found.group(2)) - least + first), entry)


def moved_up(data: bytes, gone: Collection[int], came: int = 0) -> bytes:
    """A part of a file in which those behind the numbers that went are counted on, and so many came in their place."""
    least = min(gone, default=0)

    def number(found: re.Match[bytes]) -> bytes:
        old = int(found.group(2))
        new = old - sum(one < old for one in gone)
        return _with(found, new + came if new >= least else new)

    return _LINE.sub(number, data) if gone else data


def _with(found: re.Match[bytes], number: int) -> bytes:
    return found.group(1) + b"%d" % number + found.group(3)
