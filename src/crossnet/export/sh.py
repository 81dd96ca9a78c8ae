"""One POSIX sh script for each host: made to be read by a person, then run, twice if need be, and taken back."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

from crossnet.export.document import (
    Document,
    comment,
    described,
    functions,
    origin,
    printable,
    story,
    wrapped,
)
from crossnet.export.splice import spliced
from crossnet.export.work import ByHand, Work, by_hand, in_order
from crossnet.planning import Plan
from crossnet.record import APPLIED, FOLDER, JOURNAL, VERIFIED
from crossnet.resources import Change, Command, Splice, Step, Test, Write, goes_with_its_last, is_absent
from crossnet.transport import PATH

# What stands in a script as it is, because every editor, terminal and shell shows and keeps it alike.
_CLEAN = re.compile(rb"([\x20-\x7e\t]*\n)*")

_SETTINGS = """
# Functions are called by the number of their change.
# shellcheck disable=SC2317,SC2329
set -u
PATH={path} LC_ALL=C
export PATH LC_ALL
umask 022
"""

_COMMON = r"""
say() { printf '%s: %s\n' "$host" "$*"; }
refuse() {
    say "$* Nothing was changed." >&2
    exit 1
}

# folder PATH MODE: make it where it is missing
folder() { [ -d "$1" ] || { mkdir -p "$1" && chmod "$2" "$1"; }; }

# put PATH MODE [OWNER]: standard input becomes the file in one instant
put() {
    [ ! -d "$1" ] && folder "${1%/*}" 755 || return
    aside=${1%/*}/.${1##*/}.crossnet
    (umask 077 && cat >"$aside") && { [ -z "${3-}" ] || chown "$3" "$aside"; } && chmod "$2" "$aside" &&
        { sync "$aside" 2>/dev/null || sync; } && mv -f "$aside" "$1" && return
    rm -f "$aside"
    return 1
}
"""

_RUN = r"""
ready() {
    [ "$(id -u)" -eq 0 ] || refuse "This has to be run as root, for example with sudo."
    for tool in $tools; do
        command -v "$tool" >/dev/null || refuse "There is no $tool here."
    done
    is_here || refuse "None of this host's addresses is $addresses: this script is for $host."
    [ ! -e "$journal" ] || refuse "A transaction of crossnet is not finished here: see crossnet status."
    is_before || is_during || is_after ||
        refuse "crossnet changed this host after the script was made: export it anew, or use crossnet undo."
}

is_here() {
    for address in $addresses; do
        [ -z "$(ip -o address show to "$address")" ] || return 0
    done
    [ -z "$addresses" ]
}

# all is_made, all is_back: whether it is so for every change
all() {
    for n in $changes; do "$1_$n" || return; done
}

# Until the record says that it was begun, everything that others could change is as the plan found it.
unmoved() {
    for n in $others; do
        "is_back_$n" || { begun && "is_made_$n"; } ||
            refuse "No longer as the plan found it: $(name "make_$n"). Make a new plan."
    done
}

stopped() {
    say "STOPPED: $1 failed; its message stands above. What comes after it was not done." >&2
    say "Fix the cause and run the same again, or $2." >&2
    exit 4
}

make() {
    ready
    all is_made && is_after && say "All of it is done already: nothing to do." && exit 0
    unmoved
    is_during || record_during || stopped "the record" "run it with the argument undo"
    for n in $changes; do
        if "is_made_$n"; then
            say "$n of $count is so already: $(name "make_$n")"
        else
            say "$n of $count: $(name "make_$n")"
            "make_$n" || stopped "change $n of $count" "put back what is done: run it with the argument undo"
        fi
    done
    is_after || record_after || stopped "the record" "run it with the argument undo"
    say "Done."
}

undo() {
    ready
    all is_back && is_before && say "Everything is as it was before: nothing to undo." && exit 0
    begun || refuse "This script was not run here, so it takes nothing back."
    is_during || record_during || stopped "the record" "run it with no argument"
    for n in $reversed; do
        if "is_back_$n"; then
            say "$n of $count is as before already"
        else
            say "$n of $count back: $(name "back_$n")"
            "back_$n" || stopped "the way back of change $n of $count" "make all of it again: run it with no argument"
        fi
    done
    is_before || record_before || stopped "the record" "run it with no argument"
    say "Undone: this host is as it was when the plan was made."
}

main() {
    case "$#,${1-}" in
        0,) make ;;
        1,undo) undo ;;
        *) refuse "The only argument that it takes is undo." ;;
    esac
}

# Only the last line starts it, so that a script that was cut on its way does nothing.
main "$@" </dev/null
"""


def script(plan: Plan, work: Work, todo: Sequence[Work]) -> Document:
    """The script of one host; `todo` are all hosts of the plan in their order."""
    texts = _Texts()
    both = [way for change in work.changes for way in (change, change.inverse())]
    lines = [way.is_made(work.locate) for way in both]
    lines += [spliced(step, work.locate) for way in both for step in way.steps if isinstance(step, Splice)]
    parts = (
        "#!/bin/sh\n",
        comment(_head(plan, work, todo)),
        _SETTINGS.format(path=PATH),
        _variables(work),
        _COMMON,
        functions((*lines, is_absent(APPLIED))),
        *(_change(number, change, work, texts) for number, change in enumerate(work.changes, 1)),
        _record(work, texts),
        _names(work),
        _RUN,
    )
    return Document(f"{work.name}.sh", "".join(parts), work.name, executable=True)


def _head(plan: Plan, work: Work, todo: Sequence[Work]) -> Iterator[str]:
    name = f"{work.name}.sh"
    run = (
        f"sh {name}" if work.host.netns is None else f"ip netns exec {shlex.quote(work.host.netns)} sh {name}"
    )
    yield f"What crossnet would change on {work.name}: to be read first, then run there as root."
    yield ""
    yield from story(plan)
    yield ""
    yield f"On {work.name}:"
    for number, change in enumerate(work.changes, 1):
        yield f"{number:>4}. {described(change)}"
    yield f"      and crossnet's own record in {work.locate(FOLDER)}: `crossnet status` and `crossnet undo` know of it."
    yield ""
    steps = in_order(plan, todo)
    yield from by_hand(steps, [work.name])
    yield f"    {run}        makes the changes; what is so already stays untouched"
    yield f"    {run} undo   puts everything back as it was when the plan was made"
    yield ""
    yield from wrapped(f"Order of the hosts: {_order(work, steps)}. The way back: the other way round.")
    yield "It stops at the first failure. Exit codes: 0 done, or nothing to do; 1 refused, nothing was changed;"
    yield "4 stopped halfway."
    yield ""
    yield origin(plan)


def _order(work: Work, steps: Sequence[Work | ByHand]) -> str:
    def shown(each: Work | ByHand) -> str:
        if isinstance(each, ByHand):
            return f"{each.name} ({'above' if each.host == work.name else f'see {each.host}.sh'})"
        return f"{each.name} (this script)" if each is work else each.name

    return ", ".join(f"{number}. {shown(each)}" for number, each in enumerate(steps, 1))


def _variables(work: Work) -> str:
    numbers = [str(number) for number, _ in enumerate(work.changes, 1)]
    others = [n for n, change in zip(numbers, work.changes, strict=True) if not change.resource.is_only_ours]
    both = (step for change in work.changes for way in (change, change.inverse()) for step in way.steps)
    tools = dict.fromkeys(step.argv[0] for step in both if isinstance(step, Command))
    values = {
        "host": work.name,
        "addresses": " ".join(map(str, work.addresses)),
        "tools": " ".join(dict.fromkeys((*tools, "ip", "cmp", "stat"))),
        "changes": " ".join(numbers),
        "reversed": " ".join(reversed(numbers)),
        "others": " ".join(others),
        "count": str(len(numbers)),
        "journal": work.locate(JOURNAL),
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _change(number: int, change: Change, work: Work, texts: _Texts) -> str:
    made = texts.feed(change.is_made(work.locate))
    back = texts.feed(change.inverse().is_made(work.locate))
    make = _steps(change.steps, work, texts)
    undo = _steps(change.inverse().steps, work, texts)
    return "".join(
        (
            "\n",
            comment([f"---- {number}. {described(change)}"]),
            texts.new(),
            f"is_made_{number}() {{ {made}; }}\n",
            f"is_back_{number}() {{ {back}; }}\n",
            f"make_{number}() {{\n    {make}\n}}\n",
            f"back_{number}() {{\n    {undo}\n}}\n",
        )
    )


def _steps(steps: Iterable[Step], work: Work, texts: _Texts) -> str:
    return " &&\n        ".join(line for step in steps for line in _step(step, work, texts))


def _step(step: Step, work: Work, texts: _Texts) -> Iterator[str]:
    if isinstance(step, Command):
        yield texts.feed(Test(shlex.join(step.argv), step.stdin or None))
        return
    if isinstance(step, Splice):
        yield texts.feed(spliced(step, work.locate))
        return
    path, folder = (shlex.quote(work.locate(str(place))) for place in (step.path, step.path.parent))
    if isinstance(step, Write) and step.data is not None:
        owner = f" {shlex.quote(step.owner)}" if step.owner else ""
        yield texts.feed(Test(f"put {path} {step.mode:o}{owner}", step.data))
    elif not isinstance(step, Write) and step.target is not None:
        yield f"folder {folder} 755"
        yield f"ln -sfn {shlex.quote(step.target)} {path}"
        if step.owner:
            yield f"chown -h {shlex.quote(step.owner)} {path}"
    else:
        yield f"rm -f {path}"
        if goes_with_its_last(step.path.parent):
            yield f"{{ rmdir {folder} 2>/dev/null || :; }}"


def _record(work: Work, texts: _Texts) -> str:
    """The functions for crossnet's record before, during and after the changes."""
    applied, verified = (shlex.quote(work.locate(path)) for path in (APPLIED, VERIFIED))
    own = shlex.quote(work.locate(FOLDER))
    lines = []
    known: dict[bytes | None, str] = {}
    for word, data in (("before", work.before), ("during", work.during), ("after", work.after)):
        same = known.setdefault(data, word)
        if same != word:
            look, keep = f"is_{same}", f"record_{same}"
        elif data is None:
            look = f"is_absent {applied}"
            keep = f"rm -f {applied} {verified} && {{ rmdir {own} 2>/dev/null || :; }}"
        else:
            look = texts.feed(Test(f"cmp -s - {applied}", data))
            keep = f"folder {own} 700 && {texts.feed(Test(f'put {applied} 600', data))}"
        lines.append(f"is_{word}() {{ {look}; }}\nrecord_{word}() {{ {keep}; }}\n")
    begun = "true" if work.before == work.during else "! is_before"
    lines.append(f"begun() {{ {begun}; }}\n")
    return "".join(("\n# ---- crossnet's own record\n", texts.new(), *lines))


def _names(work: Work) -> str:
    cases = (
        f"        {way}_{number}) printf '%s\\n' {shlex.quote(printable(described(one)))} ;;\n"
        for number, change in enumerate(work.changes, 1)
        for way, one in (("make", change), ("back", change.inverse()))
    )
    return "".join(("\nname() {\n    case $1 in\n", *cases, "    esac\n}\n"))


class _Texts:
    """What is fed to commands or written to files: each text stands once, in front of its first use."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._shown = 0

    def feed(self, test: Test) -> str:
        """The line with what it reads in front of it."""
        if test.stdin is None:
            return test.line
        number = self._numbers.setdefault(test.stdin, len(self._numbers) + 1)
        return f"text_{number} | {test.line}"

    def new(self) -> str:
        """The functions for the texts that were used since this was asked last."""
        texts = list(self._numbers)[self._shown :]
        found = "".join(
            f"text_{number}() {{\n    {_here(text)}}}\n" for number, text in enumerate(texts, self._shown + 1)
        )
        self._shown = len(self._numbers)
        return found


def _here(data: bytes) -> str:
    """A command that prints the data: as a document in the script where it is clean text, else as base64."""
    command, text = "cat", data.decode("ascii", errors="replace")
    if not _CLEAN.fullmatch(data):
        command, text = "base64 -d", base64.encodebytes(data).decode()
    end = "END"
    while end in text.splitlines():
        end += "_"
    return f"{command} <<'{end}'\n{text}{end}\n"
