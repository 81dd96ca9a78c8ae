"""Names in a row, as a sentence takes them."""

from __future__ import annotations

from collections.abc import Sequence

MOST_NAMES = 4


def joined(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1] if names else "")))


def first_of(names: Sequence[str], most: int | None = MOST_NAMES) -> str:
    """`a, b`, and of more than these `a, b, c and 17 more`; all of them where `most` is None."""
    if most is None or len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])} and {len(names) - most + 1:,} more"


def few(words: Sequence[str], most: int, separator: str = "; ") -> str:
    """`a; b; c and 17 more`: so many of them, and how many there are besides."""
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return f"{separator.join(words[:most])}{more}"
