"""How messages list and guess words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return f" {last} ".join([*([", ".join(words[:-1])] if len(words) > 1 else []), *words[-1:]])


def nearest_word(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant; case does not count."""
    lower = {right.lower(): right for right in known}
    near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.65)
    return lower[near[0]] if near else None


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'via'?`, or nothing where no word is near."""
    near = nearest_word(word, known)
    return f"; did you mean {near!r}?" if near else ""
