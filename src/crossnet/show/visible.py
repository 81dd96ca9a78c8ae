"""Text from elsewhere, so that a terminal shows it and does nothing else."""

from __future__ import annotations

import unicodedata
from collections.abc import Set

_OWN = frozenset("\n\t")


def visible(text: str, also: Set[str] = frozenset()) -> str:
    r"""The text with every character that a terminal would obey, hide or reorder shown as its escape, `\x1b`.

    Those are all that Unicode does not call printable: the control characters C0 and C1 with DEL, what changes the
    direction of writing (U+202E and the like), what has no width, other line separators, lone surrogates (bytes that
    were no UTF-8). Newlines and tabs stay, and what `also` holds.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in _OWN or one in also else _escaped(one) for one in text)


def one_line(text: str) -> str:
    r"""The same of a text that has to stay one line: nobody else begins a line of ours."""
    return visible(text).replace("\n", r"\n")


def cut(text: str, columns: int) -> str:
    """As much of a line as so many columns of a terminal hold, where some letters of East Asia take two."""
    width = 0
    for place, letter in enumerate(text):
        width += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if width > columns:
            return text[:place]
    return text


def _escaped(one: str) -> str:
    number = ord(one)
    return (
        f"\\x{number:02x}"
        if number < 0x100
        else f"\\u{number:04x}"
        if number < 0x10000
        else f"\\U{number:08x}"
    )
