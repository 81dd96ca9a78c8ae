"""Files of a host: each is there, absent, or cannot be read, and the last is never taken for the second."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from crossnet.facts.question import Question
from crossnet.transport import ABSENT, THERE
from crossnet.transport.batch import Answer, split

# More than any file of crossnet has, and little enough for one answer.
LARGEST = 32 * 2**20

# In the first lines of each file that crossnet writes for others to read.
SIGNATURE = b"Written by crossnet;"

# base64 keeps every byte whatever it is.
_ONE = rf"""
if [ -L "$1" ]; then stat -c 'link %u:%g' -- "$1" 2>/dev/null && exec readlink -- "$1"; fi
{THERE}
told=$(stat -L -c '%s %a %u:%g %h' /proc/self/fd/3) || exit
[ "${{told%% *}}" -le {LARGEST} ] || {{ echo "it has ${{told%% *}} bytes" >&2; exit 1; }}
printf '%s\n' "${{told#* }}" && base64 <&3
"""

# A process costs a host more than what it reads, so one does for as many files as can be: for all links, and for six
# files, as many as any shell can hold open. What is held open stays one and the same file, whatever comes into its
# place; that it has not changed meanwhile is asked once more. What is absent, as most are, is one question, as long as
# every one of them is told to be. It is cat that is asked, for stat loads what SELinux needs, and costs twice as much.
# Where anything is otherwise each is looked at by itself. `eval` sees only positional references that this script wrote
# itself.
READ = rf"""
boundary=$1
shift
one() {{
{_ONE}
}}
tell() {{
    together="$together$some " more="$more$some
$states
$boundary 0
$1
$boundary 0
"
}}
read_links() {{
    states=$(exec stat -c '%f %u:%g' -- "$@" 2>/dev/null) || return
    targets=$(exec readlink -- "$@" 2>/dev/null) || return
    lines=0
    while read -r _; do lines=$((lines + 1)); done <<END
$targets
END
    [ "$lines" -ne $# ] || tell "$targets"
}}
read_open() {{
    states=$(exec stat -L -c '%f %u:%g %a %s %h' -- $open 2>/dev/null) || return
    while read -r kind _ _ size _; do
        case $kind in 8???) room=$((room - size)) ;; *) return ;; esac
    done <<END
$states
END
    [ "$room" -ge 0 ] || return
    data=$({{ {{ cat -- $open 2>/dev/null || echo ! >&9; }} | base64; }} 9>&1)
    # What is written in place while it is read, as a heartbeat is, is looked at by itself.
    [ "$(exec stat -L -c '%f %u:%g %a %s %h' -- $open 2>/dev/null)" = "$states" ] || return
    case $data in *!*) ;; *) tell "$data" ;; esac
}}
together=' ' more= links= words= absent=' ' gone= left=0 open= some= fd=3 number=0 room={LARGEST}
for file; do
    number=$((number + 1))
    if [ -L "$file" ]; then
        links="$links $number" words="$words \"\${{$number}}\""
    elif [ -f "$file" ]; then
        {{ eval "command exec $fd<\"\$file\""; }} 2>/dev/null || continue
        some="$some $number" open="$open /proc/self/fd/$fd" fd=$((fd + 1))
        [ "$fd" -lt 9 ] || {{ read_open; open= some= fd=3; }}
    elif [ ! -e "$file" ]; then
        absent="$absent$number " gone="$gone \"\${{$number}}\"" left=$((left + 1))
    fi
done
[ -z "$open" ] || read_open
some=$links
[ -z "$links" ] || eval "read_links $words"
said=$([ -z "$gone" ] || eval "exec cat -- $gone" 2>&1)
IFS='
'
set -f
for line in $said; do
    case $line in *': No such file or directory') left=$((left - 1)) ;; *) absent=' ' ;; esac
done
[ "$left" = 0 ] || absent=' '
number=0 told=
for file; do
    number=$((number + 1)) code=0
    case $absent$together in
    *" $number "*) case $absent in *" $number "*) code={ABSENT} ;; esac ;;
    *)
        printf %s "$told" && told=
        (one "$file" 2>&1)
        code=$?
        ;;
    esac
    told="$told
$boundary $code
"
done
printf %s "$told$more"
"""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it is: its bytes, its mode bits, its owner as `uid:gid`; for a symbolic link its target too.

    `names` is how many it has: more than one where somebody has made hard links.
    """

    data: bytes
    mode: int
    owner: str
    target: str | None = None
    names: int = 1


NO_FILE = "it is no regular file"  # in the words of THERE


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something is there, or may be, and what it is cannot be told: why."""

    reason: str

    @property
    def is_no_file(self) -> bool:
        """Whether it is a folder, a pipe or the like: whatever was at this path is not there any more."""
        return self.reason == NO_FILE


Found = FileState | Unreadable | None


@dataclass(frozen=True, slots=True)
class Files:
    """The question for what stands at some paths, each with the place where the host keeps it."""

    places: Mapping[str, str]
    question: Question[tuple[Answer | FileState, ...]]

    def found(self, host: str, answers: tuple[Answer | FileState, ...]) -> dict[str, Found]:
        """What each file is, None where nothing is; HostError for an answer that it cannot mean."""
        return {
            path: answer if isinstance(answer, FileState) else file_question(path).meaning(host, answer)
            for path, answer in zip(self.places, answers, strict=True)
        }


def file_question(path: str) -> Question[Found]:
    """The part of that question which is about one path."""
    return Question(f"read {path}", ("sh", "-c", _ONE), _parse, _failed)


def files_question(places: Mapping[str, str]) -> Files:
    """What stands at these paths, in a few processes for all of them."""
    boundary = f"--file-{secrets.token_hex(8)}"

    def parse(answer: str) -> tuple[Answer | FileState, ...]:
        told = split(answer.encode(), b"", boundary.encode())
        each, more = told[: len(places)], [one.text for one in told[len(places) :]]
        if len(each) != len(places):
            raise ValueError(f"{len(each)} answers for {len(places)} files")
        found: list[Answer | FileState] = [
            one if one.ok else Answer(one.returncode, b"", one.stdout.strip()) for one in each
        ]
        for states, what in zip(more[::2], more[1::2], strict=True):
            for number, state in _together(states, what):
                found[number - 1] = state
        return tuple(found)

    words = ("sh", "-c", READ, "sh", boundary, *places.values())
    return Files(places, Question("read the files of crossnet", words, parse))


def _together(states: str, what: str) -> Iterator[tuple[int, FileState]]:
    """Files that were read together: their numbers, a line with the state of each, and their targets or all bytes."""
    first, *lines = states.split("\n")
    numbers, each = map(int, first.split()), [line.split() for line in lines]
    if each[0][0].startswith("a"):  # inode(7): S_IFLNK
        for number, (_, owner), target in zip(numbers, each, what.split("\n"), strict=True):
            yield number, FileState(b"", 0o777, _owner(owner), target)
        return
    data, at = base64.b64decode("".join(what.split()), validate=True), 0
    for number, (_, owner, mode, size, names) in zip(numbers, each, strict=True):
        yield number, FileState(data[at : at + int(size)], int(mode, 8), _owner(owner), names=_names(names))
        at += int(size)
    if at != len(data):
        raise ValueError(f"{len(data)} bytes of files that have {at}")


def _names(count: str) -> int:
    """How many it had: the last one may have gone while it was held open."""
    return max(int(count), 1)


def _owner(owner: str) -> str:
    user, _, group = owner.partition(":")
    if not (user.isdecimal() and group.isdecimal()):
        raise ValueError(f"no owner: {owner[:40]!r}")
    return owner


def _parse(answer: str) -> FileState:
    head, _, body = answer.partition("\n")
    match head.split():
        case ["link", owner]:
            return FileState(b"", 0o777, _owner(owner), target=body.strip())
        case [mode, owner, names]:
            data = base64.b64decode("".join(body.split()), validate=True)
            return FileState(data, int(mode, 8), _owner(owner), names=_names(names))
        case _:
            raise ValueError(f"no file: {head[:40]!r}")


def _failed(answer: Answer) -> Unreadable | None:
    if answer.returncode == ABSENT and not answer.error_text:
        return None
    lines = answer.error_text.splitlines()
    return Unreadable(lines[-1] if lines else f"exit code {answer.returncode} without a word")
