"""Many questions to a host in one round trip."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from crossnet.errors import HostError
from crossnet.transport import TIMEOUT, Host


@dataclass(frozen=True, slots=True)
class Answer:
    """What one question of a batch was answered; stderr is at the end of a failed answer's text."""

    returncode: int
    text: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0


# Each question comes as a count and that many words. `eval` sees only positional references that this script
# wrote itself ("${1}" "${2}" …), never a word of the question. Standard output is passed on as it is, standard
# error only where the question failed.
_SCRIPT = r"""
boundary=$1
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
    errors=$(eval "$command" 2>&1 1>&3 3>&- </dev/null)
    code=$?
    exec 3>&-
    [ "$code" -eq 0 ] || printf '%s\n' "$errors"
    printf '\n%s %s\n' "$boundary" "$code"
    shift "$count"
done
"""


async def ask(host: Host, questions: Sequence[Sequence[str]], *, timeout: float = TIMEOUT) -> list[Answer]:
    """The answers to `questions` (commands), in their order, with one command on the host."""
    boundary = f"--crossnet-{secrets.token_hex(8)}"
    words = [word for question in questions for word in (str(len(question)), *question)]
    completed = await host.run(["sh", "-c", _SCRIPT, "sh", boundary, *words], timeout=timeout)
    parts = re.split(rf"\n{boundary} (\d+)\n", completed.text)
    answers = [Answer(int(code), text) for text, code in zip(parts[0::2], parts[1::2], strict=False)]
    if len(answers) != len(questions):
        raise HostError(
            host.name,
            f"asked {len(questions)} questions in one go",
            f"got {len(answers)} answers, then: {completed.error_text.strip()[-300:] or 'nothing'}",
            "Check that `sh` on the host is a POSIX shell and that the account may run commands.",
        )
    return answers
