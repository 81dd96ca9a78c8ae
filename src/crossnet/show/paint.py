"""Colour, or none.

A colour travels through the text as one character, and becomes an escape sequence only where it is printed, after all
that hosts and files say was made visible. The characters are of Unicode's private planes, drawn by lot for each run,
so that nobody else can write them.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from crossnet.show.visible import visible

# Takes a text and the name of a colour (green, yellow, red, cyan, bold, dim), gives the text to print.
Paint = Callable[[str, str], str]

# ECMA-48, SGR
_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
_END = 0

_PLANE = 0xF0000
_FIRST = _PLANE + int.from_bytes(os.urandom(2)) % 0xFF00
_MARKS = {code: chr(_FIRST + code) for code in (_END, *_CODES.values())}
_SEQUENCES = {ord(mark): f"\x1b[{code}m" for code, mark in _MARKS.items()}


def plain(text: str, colour: str) -> str:
    """No colour: a pipe, a file, NO_COLOR, --no-color."""
    return text


def marked(text: str, colour: str) -> str:
    """Colour for a terminal, as marks that `coloured` knows."""
    return f"{_MARKS[_CODES[colour]]}{text}{_MARKS[_END]}"


def printable(text: str) -> str:
    """What is printed of a text: all visible, and the marks as what a terminal takes for colours."""
    return visible(text, frozenset(_MARKS.values())).translate(_SEQUENCES)
