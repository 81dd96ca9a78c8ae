"""The transactions that ended on a host: who, when, what, and how; kept by the host, also after an undo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from crossnet.record import HISTORY
from crossnet.transport import Host


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


async def read_history(host: Host) -> tuple[Past, ...]:
    """What the host remembers, oldest first; a line that cannot be read is left out."""
    data = await host.read(PurePosixPath(HISTORY))
    lines = (line.split("\t") for line in (data or b"").decode(errors="replace").splitlines())
    return tuple(Past(host.name, *words) for words in lines if len(words) == 7)
