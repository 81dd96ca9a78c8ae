"""Many questions to a host in one round trip."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from crossnet.errors import HostError, shown
from crossnet.transport import TIMEOUT, Host
from crossnet.transport.output import Unfinished


@dataclass(frozen=True, slots=True)
class Answer:
    """What one question of a batch was answered; standard error is told only where the question failed."""

    returncode: int
    stdout: bytes
    stderr: bytes = b""

    @property
    def ok(self) -> bool:
        return self.returncode == 0

    @property
    def text(self) -> str:
        """Standard output as text; what is no UTF-8 is replaced: names and comments of others are any bytes."""
        return self.stdout.decode(errors="replace")

    @property
    def error_text(self) -> str:
        return self.stderr.decode(errors="replace").strip()


# Each question comes as a count and that many words. `eval` sees only positional references that this script
# wrote itself ("${1}" "${2}" …), never a word of the question, but where the question is a script for `sh`. A question
# costs its host one process, which becomes the command, or runs the script: another `sh` would cost as much as most
# tools. Both outputs are passed on as they are, and the boundary stands in both of them behind it.
_SCRIPT = r"""
question() {
    unset boundary count number words
    [ "$1 $2" = "sh -c" ] || exec "$@"
    script=$3
    shift 3
    [ $# -eq 0 ] || shift
    eval "unset script
$script"
}
boundary=$1
shift
printf '%s\n' "$boundary" >&2
while [ $# -gt 0 ]; do
    count=$1
    shift
    number=1
    words=
    while [ "$number" -le "$count" ]; do
        words="$words \"\${$number}\""
        number=$((number + 1))
    done
    (eval "question $words" </dev/null)
    printf '\n%s %s\n' "$boundary" "$?"
    printf '\n%s\n' "$boundary" >&2
    shift "$count"
done
"""

_MOST = 4096  # bytes of what a question that failed has told


async def ask(
    host: Host, questions: Sequence[Sequence[str]], *, tried: Sequence[str] = (), timeout: float = TIMEOUT
) -> list[Answer]:
    """The answers to `questions` (commands), in their order, with one command on the host.

    `tried` is what an error says of each, instead of the command.
    """
    boundary = f"--crossnet-{secrets.token_hex(8)}"
    words = [word for question in questions for word in (str(len(question)), *question)]
    without: HostError | None = None
    try:
        completed = await host.run(["sh", "-c", _SCRIPT, "sh", boundary, *words], timeout=timeout)
    except Unfinished as error:
        number = len(split(error.printed, b"", boundary.encode()))
        if number < len(questions):
            doing = tried[number] if tried else f"ran `{shown(questions[number])}`"
            seen = error.seen_in(re.split(_ending(boundary.encode()), error.printed)[-1])
            without = HostError(host.name, doing, seen, error.todo)
        else:
            doing = f"asked {len(questions)} questions in one go"
            seen = f"all were answered, but something that one of them started is still running; {error.seen}"
            without = HostError(
                host.name, doing, seen, "Look for what its tools leave running in the background."
            )
    if without is not None:
        raise without  # out here, so that what was printed is not kept with it
    answers = split(completed.stdout, completed.stderr, boundary.encode())
    if len(answers) != len(questions):
        said = completed.error_text.rpartition(f"{boundary}\n")[2].strip()[-300:]
        raise HostError(
            host.name,
            f"asked {len(questions)} questions in one go",
            f"got {len(answers)} answers, then: {said or 'nothing'}",
            "Try `sudo -n true` there as the same user: it must want no password and no terminal (NOPASSWD)."
            if said.startswith("sudo: ")
            else "Check that `sh` on the host is a POSIX shell and that the account may run commands.",
        )
    return answers


def split(printed: bytes, complained: bytes, boundary: bytes) -> list[Answer]:
    """The answers between boundaries, each of which tells an exit code.

    Nobody can print the boundary who was not told it, so what stands between two of them is any bytes.
    """
    # What stands before the first one is not of a question: a login may have complained.
    complaints = complained.split(boundary + b"\n")[1:]
    answers: list[Answer] = []
    at = 0
    for found in re.finditer(_ending(boundary), printed):
        code = int(found[1])
        told = complaints[len(answers)] if code and len(answers) < len(complaints) else b""
        answers.append(Answer(code, printed[at : found.start()], told[-_MOST:].strip()))
        at = found.end()
    return answers


def _ending(boundary: bytes) -> bytes:
    """What stands behind an answer, with its exit code."""
    return rb"\n%b (0|[1-9][0-9]{0,2})\n" % boundary
