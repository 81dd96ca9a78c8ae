"""The transactions that ended on a host: who, when, what, and how; kept by the host, also after an undo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from crossnet.facts.question import Question, put, refuse
from crossnet.record import HISTORY
from crossnet.transport import ABSENT, THERE, Host
from crossnet.transport.batch import Answer


@dataclass(frozen=True, slots=True)
class Past:
    """A transaction that ended; times in UTC by the clocks of the controller and of the host.

    `decision` is `confirm` or `rollback`; `result` is `written`, `unwritten` or `clean`.
    """

    host: str
    started: str
    transaction: str
    who: str
    what: str
    ended: str
    decision: str
    result: str

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


async def read_history(host: Host) -> tuple[Past, ...]:
    """What the host remembers, oldest first; a line that cannot be read is left out."""
    place = str(host.locate(PurePosixPath(HISTORY)))

    def parse(said: str) -> tuple[Past, ...]:
        lines = (line.split("\t") for line in said.split("\n"))
        return tuple(Past(host.name, *words) for words in lines if len(words) == 7)

    question = Question(f"read {HISTORY}", ("sh", "-c", _READ, "sh", place), parse, _absent)
    return (await put(host, [question]))[question]


def _absent(answer: Answer) -> tuple[Past, ...]:
    if answer.returncode != ABSENT or answer.error_text:
        refuse(answer, "tail")
    return ()
