"""crossnet itself, with one answer of a host that is nonsense; a program, run by the tests.

It runs the command line on its arguments, as `crossnet` does. Which answer is spoiled is in the environment:

    CROSSNET_FAULT   `WAY N` or `WAY N.M`: a way of `WAYS`; the N-th message, counted from 1 over all hosts, and of a
                     batch the M-th answer alone, within its boundaries. `WAY HOST:SUBJECT`: the first such message;
                     `WAY HOST:N.M`: of the N-th batch to this host, since hosts are asked at the same time, and
                     `WAY HOST:alone:N.1` of the N-th with one question, since some are asked until they change
    CROSSNET_TOLD    a file: a line for each message as it begins, `questions N M` where a batch has M of them, and
                     `fault` when the answer is spoiled
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from crossnet.errors import HostError
from crossnet.transport import Completed
from crossnet.transport.batch import Answer, split
from crossnet.transport.lab import LabHost

Run = Callable[..., Coroutine[Any, Any, Completed]]

# Of what a real host, its shell or a relay before it may answer: to any message, or as one answer of a batch.
CODES = (1, 2, 66, 69, 70, 75, 76, 77, 127, 137, 255)
PRINTED: dict[str, Callable[[Random, bytes], bytes]] = {
    "empty": lambda draw, said: b"",
    "binary": lambda draw, said: draw.randbytes(400),
    "half": lambda draw, said: said[: len(said) // 2],
    "twice": lambda draw, said: said + said,
    "greeting": lambda draw, said: b"Welcome to gateway\n",
    "json": lambda draw, said: draw.choice((b"[]", b"{}", b"null", b"[{}]", b'{"a": [1e999]}', b"[" * 5000)),
    "long": lambda draw, said: said + b"\0x 9" * 500_000,
}
WITHIN = (*PRINTED, *(f"code-{code}" for code in CODES))
# What can happen only to a whole message: that nothing ran, and it ended well; an answer without an end; a way that
# is lost before the message arrives, or before its answer does.
WHOLE = ("nothing", "flood", "lost", "unheard")
WAYS = (*WITHIN, *WHOLE)

_FLOOD = '"$@"; code=$?; head -c 70000000 /dev/zero; exit $code'


@dataclass(frozen=True, slots=True)
class Spoiled:
    """The answer that is spoiled, and how; `answer` is 0 for the whole message.

    `message` is its number, or the first one to a host about something, as `gateway:commit`, or the third
    batch to it, as `gateway:3`, or the third with one question, as `gateway:alone:3`.
    """

    way: str
    message: int | str
    answer: int = 0

    @classmethod
    def of(cls, text: str) -> Spoiled:
        way, place = text.split()
        message, _, answer = place.partition(".")
        return cls(way, int(message) if message.isdecimal() else message, int(answer or 0))

    def __str__(self) -> str:
        return f"{self.way} {self.message}" + (f".{self.answer}" if self.answer else "")


class Messages:
    """The messages of this process, and what becomes of the answer to one of them."""

    def __init__(self, spoiled: Spoiled | None, told: str) -> None:
        self._spoiled = spoiled
        self._told = told
        self._sent = 0
        self._batches: Counter[str] = Counter()

    def of(self, run: Run) -> Run:
        async def message(host: LabHost, argv: Sequence[str], **more: Any) -> Completed:
            self._sent += 1
            boundary = next((word.encode() for word in argv if word.startswith("--crossnet-")), b"")
            self._tell(f"{self._sent} {host.name} {subject(argv)}")
            number = self._sent
            spoiled = self._due((number, f"{host.name}:{subject(argv)}"), range(1))
            answer = await (whole(spoiled, run, host, argv, more) if spoiled else run(host, argv, **more))
            if boundary:
                many = len(split(answer.stdout, b"", boundary))
                self._tell(f"questions {number} {many}")
                kind = of_batch(host.name, many)
                self._batches[kind] += 1
                spoiled = self._due((number, f"{kind}:{self._batches[kind]}"), range(1, many + 1))
                answer = within(spoiled, answer, boundary) if spoiled else answer
            return answer

        return message

    def _due(self, names: tuple[object, ...], answers: range) -> Spoiled | None:
        """What is to be spoiled where it is this message, and one of these answers; once."""
        spoiled = self._spoiled
        if spoiled is None or spoiled.message not in names or spoiled.answer not in answers:
            return None
        self._spoiled = None
        self._tell("fault")
        return spoiled

    def _tell(self, line: str) -> None:
        with open(self._told, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def of_batch(host: str, many: int) -> str:
    """How those of so many questions to a host are counted."""
    return f"{host}:alone" if many == 1 else host


async def whole(
    spoiled: Spoiled, run: Run, host: LabHost, argv: Sequence[str], more: dict[str, Any]
) -> Completed:
    """What becomes of a message of which all is spoiled."""
    lost = HostError(host.name, "asked it", "the connection was lost", "See what stands between.")
    if spoiled.way == "lost":
        raise lost
    if spoiled.way == "nothing":
        return Completed(host.name, tuple(argv), 0, b"", b"")
    if spoiled.way == "flood":
        return await run(host, ["sh", "-c", _FLOOD, "sh", *argv], **more)
    answer = await run(host, argv, **more)
    if spoiled.way == "unheard":
        raise lost
    code, said = spoil(spoiled, answer.returncode, answer.stdout)
    return Completed(host.name, tuple(argv), code, said, b"")


def within(spoiled: Spoiled, answer: Completed, boundary: bytes) -> Completed:
    """A batch, of which one answer is spoiled."""
    answers = split(answer.stdout, b"", boundary)
    one = answers[spoiled.answer - 1]
    answers[spoiled.answer - 1] = Answer(*spoil(spoiled, one.returncode, one.stdout))
    said = b"".join(_framed(each, boundary) for each in answers)
    return Completed(answer.host, answer.argv, answer.returncode, said, answer.stderr)


def spoil(spoiled: Spoiled, code: int, said: bytes) -> tuple[int, bytes]:
    """The exit code and the output that are heard instead."""
    if found := re.fullmatch(r"code-(\d+)", spoiled.way):
        return int(found[1]), b""
    return code if spoiled.way == "half" else 0, PRINTED[spoiled.way](Random(str(spoiled)), said)


def _framed(answer: Answer, boundary: bytes) -> bytes:
    return b"%b\n%b %d\n" % (answer.stdout, boundary, answer.returncode)


def subject(argv: Sequence[str]) -> str:
    """A word for what a message is about: a verb of host.sh, or the tool."""
    verbs = {"stage", "arm", "apply", "status", "extend", "commit", "release", "rollback", "recover"}
    return next((word for word in argv if word in verbs), argv[0] if argv[0] != "sh" else "ask")


def main() -> None:
    fault = os.environ.get("CROSSNET_FAULT")
    messages = Messages(Spoiled.of(fault) if fault else None, os.environ["CROSSNET_TOLD"])
    LabHost.run = messages.of(LabHost.run)  # type: ignore[method-assign]
    from crossnet.cli import main as crossnet

    crossnet()


if __name__ == "__main__":
    main()
