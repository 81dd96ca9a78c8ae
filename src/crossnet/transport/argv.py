"""The words of a command, as execve(2) takes them: any bytes but NUL."""

from __future__ import annotations

from collections.abc import Sequence

from crossnet.errors import HostError, shown


def check_word(word: str) -> None:
    """ValueError where no command can be given this word: a NUL would end it, a lone surrogate has no bytes."""
    if "\0" in word:
        raise ValueError(f"{word[:60]!r} holds a NUL")
    try:
        word.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{word[:60]!r} is no Unicode") from None


def check(host: str, argv: Sequence[str]) -> None:
    """HostError where a command cannot be run on any host, so that none is asked."""
    try:
        for word in argv:
            check_word(word)
    except ValueError as error:
        raise HostError(
            host,
            f"would run `{shown(argv)}`",
            f"no command can have such a word: {error}",
            "Look for it among the names on the host; please report it.",
        ) from None
