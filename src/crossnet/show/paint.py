"""Colour, or none."""

from __future__ import annotations

from collections.abc import Callable

# Takes a text and the name of a colour (green, yellow, red, cyan, bold, dim), gives the text to print.
Paint = Callable[[str, str], str]

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}


def plain(text: str, colour: str) -> str:
    """No colour: a pipe, a file, NO_COLOR, --no-color."""
    return text


def ansi(text: str, colour: str) -> str:
    """Colour for a terminal (ECMA-48 SGR)."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"
