"""Paragraphs for a terminal, in which no command is broken: one that was could not be pasted."""

from __future__ import annotations

import re
import textwrap

# What stands between backquotes, close to them and apart from other words: somebody's own words may have one that
# belongs to no other. Tools quote a name as `name'.
_COMMAND = re.compile(r"(?<!\w)`(?!\s|\w+')[^`\n]+(?<!\s)`(?!\w)")
_HELD = "\0"  # in place of its spaces; nothing that is shown has one


def wrap(text: str, width: int, *, initial_indent: str = "", subsequent_indent: str = "") -> list[str]:
    """The lines of a paragraph, each as long as it may be; a command that is longer stands on a line of its own."""
    held = _COMMAND.sub(lambda command: command[0].replace(" ", _HELD), text)
    lines = textwrap.wrap(
        held,
        width,
        initial_indent=initial_indent,
        subsequent_indent=subsequent_indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_HELD, " ") for line in lines]
