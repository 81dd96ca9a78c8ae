"""The transactions that ended on a host: who, when, what, and how; kept by the host, also after an undo."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any, TypeVar

from crossnet.facts.question import Question, Unanswered, put, refuse
from crossnet.record import HISTORY
from crossnet.transport import ABSENT, THERE, Host
from crossnet.transport.batch import Answer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Past:
    """A transaction that ended; times in UTC by the clocks of the controller and of the host.

    `decision` is `confirm` or `rollback`; `result` is `written`, `unwritten` or `clean`. `message` is what was said
    about it when it began, `crossings` are those that it is about, `why` is why it was rolled back: each is empty
    where the host does not know it.
    """

    host: str
    started: str
    transaction: str
    who: str
    what: str
    ended: str
    decision: str
    result: str
    message: str = ""
    crossings: tuple[str, ...] = ()
    why: str = ""

    @property
    def is_written(self) -> bool:
        """Whether all of it is there for the next boot."""
        return self.result == "written"

    @property
    def outcome(self) -> str:
        if self.decision != "confirm":
            return "rolled back"
        return "confirmed" if self.is_written else "confirmed, not written for the next boot"


# host.sh keeps 500 lines; whatever else may have grown there, its end is what counts.
_LARGEST = 2**20
_READ = THERE + f'exec tail -c {_LARGEST} -- "$1"'


async def read_history(host: Host, *, legible: bool = False) -> tuple[Past, ...]:
    """What the host remembers, oldest first; a line that cannot be read is left out.

    `legible`: HostError where something is there and no line of it can be read, for whoever only looks at it. A
    transaction ends on a host without its history, too.
    """
    parse = _legible if legible else remembered
    question = end_of(host, HISTORY, partial(parse, host.name))
    return (await put(host, [question]))[question]


def end_of(host: Host, path: str, parse: Callable[[str], tuple[T, ...]]) -> Question[tuple[T, ...]]:
    """What a log of crossnet's own there says, oldest first; nothing where there is none."""
    command = ("sh", "-c", _READ, "sh", str(host.locate(PurePosixPath(path))))
    return Question(f"read {path}", command, parse, _absent)


def remembered(host: str, said: str) -> tuple[Past, ...]:
    """The lines of a host's history."""
    return tuple(past for line in said.split("\n") if (past := _past(host, line.split("\t"))))


def _legible(host: str, said: str) -> tuple[Past, ...]:
    found = remembered(host, said)
    if said and not found:
        raise Unanswered("no line of it can be read", f"Look at {HISTORY} there, and move it away.")
    return found


def _past(host: str, words: list[str]) -> Past | None:
    match words:
        case [started, transaction, who, what, ended, decision, result]:  # by a crossnet that kept no reasons
            return Past(host, started, transaction, who, what, ended, decision, result)
        case [started, transaction, who, what, *about, ended, why, decision, result] if len(about) in (0, 2):
            message, crossings = about or ("", "")
            about_which = tuple(crossings.split(",")) if crossings else ()
            return Past(
                host, started, transaction, who, what, ended, decision, result, message, about_which, why
            )
    return None


def chosen(
    found: Iterable[Past], *, crossing: str | None = None, since: str = "", decision: str | None = None
) -> tuple[Past, ...]:
    """Those about a crossing, that ended since then (in UTC, as the hosts write it), and that were decided so."""
    return tuple(
        past
        for past in found
        if crossing in (None, *past.crossings) and past.ended >= since and decision in (None, past.decision)
    )


def _absent(answer: Answer) -> tuple[Any, ...]:
    if answer.returncode != ABSENT or answer.error_text:
        refuse(answer, "tail")
    return ()
