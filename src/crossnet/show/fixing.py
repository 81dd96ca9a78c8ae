"""What to do, as commands that can be pasted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from crossnet.show.visible import one_line
from crossnet.show.wrapping import wrap
from crossnet.verdict import Fix

# What is read in columns, or pasted, is broken only where it is longer than this.
LONGEST = 100


def fixes_text(fixes: Iterable[Fix], indent: str, width: int = LONGEST) -> Iterator[str]:
    """The commands of each host, a line for each where that fits."""
    for fix in fixes:
        words = f"{indent}fix on {one_line(fix.host)}:  "
        for number, command in enumerate(fix.commands):
            first, *more = _command(one_line(command), width - len(words))
            yield f"{' ' * len(words) if number else words}{first}"
            yield from (f"{' ' * len(words)}{line}" for line in more)
        if fix.commands and fix.warning:
            said = f"({one_line(fix.warning)})"
            inside = " " * len(words)
            yield from wrap(said, width, initial_indent=inside, subsequent_indent=inside)


_WORD = re.compile(
    r"(?:[^\s']|'[^']*')+"
)  # of a shell's line: what is quoted is one with what stands beside it


def _command(command: str, width: int) -> list[str]:
    """A command that can still be pasted: what is too long for a line goes on behind a backslash."""
    if len(command) <= width:
        return [command]
    first, *words = _WORD.findall(command)
    lines = [first]
    for word in words:
        if len(lines[-1]) + 1 + len(word) + 2 > width:
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}"
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]
