"""What became of a flow: its request and its reply, each with the place, the code and the fix."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from crossnet.values import Address, Probe


class Result(StrEnum):
    """The answer for one flow; ambiguous when some probes of one kind pass and some do not."""

    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    AMBIGUOUS = "ambiguous"
    UNDETERMINED = "undetermined"


class Confidence(StrEnum):
    """How sure a code is: direct evidence, by exclusion, or one of several that look the same."""

    PROVED = "proved"
    INFERRED = "inferred"
    CANDIDATES = "candidates"


class Action(StrEnum):
    """What was seen of a packet at a point; `absent` where somebody watched and it did not come."""

    SENT = "sent"
    RECEIVED = "received"
    FORWARDED = "forwarded"
    TRANSLATED = "translated"
    DROPPED = "dropped"
    REJECTED = "rejected"
    DELIVERED = "delivered"
    REPLIED = "replied"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Place:
    """A host, and the interface where that is known."""

    host: str
    interface: str | None = None

    def __str__(self) -> str:
        return f"{self.host} {self.interface}" if self.interface else self.host


@dataclass(frozen=True, slots=True)
class Between:
    """A segment between two points that were looked at: whatever took the packet stands there."""

    sender: Place
    receiver: Place

    def __str__(self) -> str:
        return f"between {self.sender} and {self.receiver}"


@dataclass(frozen=True, slots=True)
class Fix:
    """Commands for one host, each a line for its shell; `spec` says the same as a change of the spec."""

    host: str
    commands: tuple[str, ...]
    spec: str | None = None


@dataclass(frozen=True, slots=True)
class Half:
    """The request or the reply: what became of it, with the code and the sentence that say why.

    `candidates` are codes, likeliest first, where what was observed cannot tell them apart.
    """

    disposition: str
    code: str | None = None
    detail: str = ""
    at: Place | Between | None = None
    confidence: Confidence | None = None
    candidates: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    fix: tuple[Fix, ...] = ()


@dataclass(frozen=True, slots=True)
class Also:
    """What would stop the flow next, when what stops it now is mended; `direction` is `forward` or `reply`."""

    direction: str
    at: Place | Between | None
    code: str
    detail: str = ""
    fix: tuple[Fix, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """What does not stop the flow, and what was assumed or could not be looked at."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Observation:
    """A packet at a point, `at` in seconds since the first; `direction` is `request`, `reply` or `error`.

    `interface` is where it was seen, or `hook` where a rule has seen it; `translation` is `from → to`; `by` is the
    rule or object that did it.
    """

    at: float
    host: str
    interface: str | None
    hook: str | None
    action: Action
    direction: str
    packet: str
    translation: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What became of one flow; `crossing` is None where no spec names it."""

    crossing: str | None
    client: str
    source: Address | None
    probe: Probe
    result: Result
    forward: Half
    reply: Half
    also: tuple[Also, ...] = ()
    notes: tuple[Note, ...] = ()
    observations: tuple[Observation, ...] = ()
