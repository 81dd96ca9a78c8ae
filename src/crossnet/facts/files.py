"""Files of a host: each is there, absent, or cannot be read, and the last is never taken for the second."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from crossnet.facts.question import Question
from crossnet.transport import ABSENT, THERE
from crossnet.transport.batch import Answer, split

# More than any file of crossnet has, and little enough for one answer.
LARGEST = 32 * 2**20

# base64 keeps every byte whatever it is.
_ONE = rf"""
if [ -L "$1" ]; then stat -c 'link %u:%g' -- "$1" 2>/dev/null && exec readlink -- "$1"; fi
{THERE}
told=$(stat -L -c '%s %a %u:%g' /proc/self/fd/3) || exit
[ "${{told%% *}}" -le {LARGEST} ] || {{ echo "it has ${{told%% *}} bytes" >&2; exit 1; }}
printf '%s\n' "${{told#* }}" && base64 <&3
"""

# Most are absent, and whether they are is one question for all of them: as long as every one of them is told to be.
# Else each is looked at by itself, as is what is there. It is cat that is asked, for stat loads what SELinux needs, and
# costs twice as much; `eval` sees only positional references that this script wrote itself.
READ = rf"""
boundary=$1
shift
one() {{
{_ONE}
}}
absent=' ' words= left=0 number=0
for file; do
    number=$((number + 1))
    [ -e "$file" ] || [ -L "$file" ] || {{
        absent="$absent$number " words="$words \"\${{$number}}\""
        left=$((left + 1))
    }}
done
said=$([ -z "$words" ] || eval "exec cat -- $words" 2>&1)
IFS='
'
set -f
for line in $said; do
    case $line in *': No such file or directory') left=$((left - 1)) ;; *) absent=' ' ;; esac
done
[ "$left" = 0 ] || absent=' '
number=0 told=
for file; do
    number=$((number + 1))
    case $absent in
    *" $number "*) code={ABSENT} ;;
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
printf %s "$told"
"""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it is: its bytes, its mode bits, its owner as `uid:gid`; for a symbolic link its target too."""

    data: bytes
    mode: int
    owner: str
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something is there, or may be, and what it is cannot be told: why."""

    reason: str


Found = FileState | Unreadable | None


@dataclass(frozen=True, slots=True)
class Files:
    """The question for what stands at some paths, each with the place where the host keeps it."""

    places: Mapping[str, str]
    question: Question[tuple[Answer, ...]]

    def found(self, host: str, answers: tuple[Answer, ...]) -> dict[str, Found]:
        """What each file is, None where nothing is; HostError for an answer that it cannot mean."""
        return {
            path: file_question(path).meaning(host, answer)
            for path, answer in zip(self.places, answers, strict=True)
        }


def file_question(path: str) -> Question[Found]:
    """The part of that question which is about one path."""
    return Question(f"read {path}", ("sh", "-c", _ONE), _parse, _failed)


def files_question(places: Mapping[str, str]) -> Files:
    """What stands at these paths, in one process for all that are absent."""
    boundary = f"--file-{secrets.token_hex(8)}"

    def parse(answer: str) -> tuple[Answer, ...]:
        told = split(answer.encode(), b"", boundary.encode())
        if len(told) != len(places):
            raise ValueError(f"{len(told)} answers for {len(places)} files")
        return tuple(one if one.ok else Answer(one.returncode, b"", one.stdout.strip()) for one in told)

    words = ("sh", "-c", READ, "sh", boundary, *places.values())
    return Files(places, Question("read the files of crossnet", words, parse))


def _parse(answer: str) -> FileState:
    head, _, body = answer.partition("\n")
    mode, owner = head.split()
    user, _, group = owner.partition(":")
    if not (user.isdecimal() and group.isdecimal()):
        raise ValueError(f"no owner: {owner[:40]!r}")
    if mode == "link":
        return FileState(b"", 0o777, owner, target=body.strip())
    return FileState(base64.b64decode("".join(body.split()), validate=True), int(mode, 8), owner)


def _failed(answer: Answer) -> Unreadable | None:
    if answer.returncode == ABSENT and not answer.error_text:
        return None
    lines = answer.error_text.splitlines()
    return Unreadable(lines[-1] if lines else f"exit code {answer.returncode} without a word")
