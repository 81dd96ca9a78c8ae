"""Lines of files that others keep: which of them match, whatever is in the files and however these are called."""

from __future__ import annotations

import re
from dataclasses import dataclass

# At most 64 MiB of a file, and the last 4096 lines that match: of several the last decides. A NUL, as a power cut may
# leave them in a file, ends a line for systemd (src/basic/fileio.c, read_line) and hides all lines from grep; a
# carriage return ends one for systemd too, and lets the others count.
LINES = r"""
LC_ALL=C
export LC_ALL
newline='
'
in_one_line() { # NAME
    name=$1
    while :; do
        case $name in
            *"$newline"*) name=${name%%"$newline"*}?${name#*"$newline"} ;;
            *) break ;;
        esac
    done
}
unreadable() {
    in_one_line "$1"
    printf 'unreadable %s\n' "$name"
}
there() {
    [ -e "$1" ] || return 1
    [ -f "$1" ] && [ -r "$1" ] && return 0
    unreadable "$1"
    return 1
}
lines() { # KIND FILE PATTERN
    there "$2" || return 0
    in_one_line "$2"
    printf 'file %s %s\n' "$1" "$name"
    {
        { head -c 67108864 <"$2" || unreadable "$2" >&3; } | tr -s '\000' '\r' |
            { grep -nE "$3" || [ $? = 1 ] || unreadable "$2" >&3; } | tail -n 4096 | cut -c 1-1024
    } 3>&1
}
"""

_LINE = re.compile(r"([0-9]{1,9}):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FileLines:
    """Numbered lines of a file that match what was looked for; `kind` is why it was looked at."""

    kind: str
    path: str
    lines: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Read:
    """The files in the order in which they were read, those that could not be, and what else the script said."""

    files: tuple[FileLines, ...]
    unreadable: tuple[str, ...]
    words: tuple[str, ...]


def parse(answer: str, words: tuple[str, ...] = ()) -> Read:
    """`file KIND PATH` with `NUMBER:TEXT` for each line, `unreadable PATH`, or one of these words."""
    heads: list[tuple[str, str, list[tuple[int, str]]]] = []
    unreadable: dict[str, None] = {}
    said: list[str] = []
    for line in filter(None, answer.split("\n")):
        word, _, rest = line.partition(" ")
        if (numbered := _LINE.fullmatch(line)) and heads:
            heads[-1][2].extend((int(numbered[1]), text) for text in numbered[2].split("\r"))
        elif word == "file" and " /" in rest:
            kind, _, path = rest.partition(" ")
            heads.append((kind, path, []))
        elif word == "unreadable":
            unreadable[rest] = None
        elif line in words:
            said.append(line)
        else:
            raise ValueError(f"neither a file nor a line of one: {line[:80]!r}")
    files = (FileLines(kind, path, tuple(lines)) for kind, path, lines in heads)
    return Read(tuple(files), tuple(unreadable), tuple(said))
