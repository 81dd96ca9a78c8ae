"""Many questions to a host in one round trip."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from crossnet.errors import HostError, shown
from crossnet.transport import TIMEOUT, Host
from crossnet.transport.output import Flood


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
# wrote itself ("${1}" "${2}" …), never a word of the question. Standard output is passed on as it is; of standard
# error the end is kept, however much a tool complains, with the exit code behind it.
_SCRIPT = r"""
boundary=$1
newline='
'
shift
while [ $# -gt 0 ]; do
    count=$1
    shift
    number=1
    command=
    while [ "$number" -le "$count" ]; do
        command="$command \"\${$number}\""
        number=$((number + 1))
    done
    exec 3>&1
    errors=$({ (eval "$command" 2>&1 1>&3 3>&- </dev/null); printf '\n%s' "$?"; } | tail -c 4096)
    exec 3>&-
    code=${errors##*"$newline"}
    printf '\n%s %s\n' "$boundary" "$code"
    [ "$code" = 0 ] || printf '%s\n%s!\n' "${errors%"$newline"*}" "$boundary"
    shift "$count"
done
"""


async def ask(host: Host, questions: Sequence[Sequence[str]], *, timeout: float = TIMEOUT) -> list[Answer]:
    """The answers to `questions` (commands), in their order, with one command on the host."""
    boundary = f"--crossnet-{secrets.token_hex(8)}"
    words = [word for question in questions for word in (str(len(question)), *question)]
    flooded: HostError | None = None
    try:
        completed = await host.run(["sh", "-c", _SCRIPT, "sh", boundary, *words], timeout=timeout)
    except Flood as flood:
        number = len(_answers(flood.printed, boundary.encode()))
        tried = f"ran `{shown(questions[min(number, len(questions) - 1)])}`"
        flooded = HostError(host.name, tried, flood.seen, flood.todo)
    if flooded is not None:
        raise flooded  # out here, so that what was printed is not kept with it
    answers = _answers(completed.stdout, boundary.encode())
    if len(answers) != len(questions):
        said = completed.error_text.strip()[-300:]
        raise HostError(
            host.name,
            f"asked {len(questions)} questions in one go",
            f"got {len(answers)} answers, then: {said or 'nothing'}",
            "Try `sudo -n true` there as the same user: it must want no password and no terminal (NOPASSWD)."
            if said.startswith("sudo: ")
            else "Check that `sh` on the host is a POSIX shell and that the account may run commands.",
        )
    return answers


def _answers(printed: bytes, boundary: bytes) -> list[Answer]:
    """Nobody can print the boundary who was not told it, so what stands between two of them is any bytes."""
    end = re.compile(rb"\n%b (?:(0)|([1-9][0-9]{0,2})\n(.*?)\n%b!)\n" % (boundary, boundary), re.DOTALL)
    answers: list[Answer] = []
    at = 0
    for found in end.finditer(printed):
        answers.append(
            Answer(int(found[1] or found[2]), printed[at : found.start()], (found[3] or b"").strip())
        )
        at = found.end()
    return answers
