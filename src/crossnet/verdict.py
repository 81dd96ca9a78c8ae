"""What became of a flow: its request and its reply, each with the place, the code and the fix."""

from __future__ import annotations

from dataclasses import dataclass, field
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


class HowFar(StrEnum):
    """The last place of its way at which a flow was seen."""

    NOT_SENT = "not-sent"
    SENT = "sent"
    ADMITTED = "admitted"
    TRANSLATED = "translated"
    LEFT = "left"
    CAME_BACK = "came-back"  # the answer, to the gateway
    ANSWERED = "answered"
    UNKNOWN = "unknown"


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
    """Commands for one host, each a line for its shell; `by_crossnet` is how crossnet does the same.

    That is a command of crossnet, or in words what to write into the spec; None where it does not. `warning` is what
    the commands do besides.
    """

    host: str
    commands: tuple[str, ...]
    by_crossnet: str | None = None
    warning: str = ""


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
    """What does not stop the flow, and what was assumed or could not be looked at; some have no code."""

    code: str | None
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
    """What became of one flow; `crossing` is None where no spec names it, `probe` where nothing was sent.

    `how_far` is the last place at which it was seen. `stopped` is whether it was seen not to get as far as leaving the
    gateway: a place that was looked at behind `how_far` has not seen it; a place that could not be looked at says
    nothing. `demanded` is whether the spec itself names the probe, `counted` how many packets the crossing's rule
    counted meanwhile, `translated_to` the source that the destination sees, as connection tracking tells it.
    """

    crossing: str | None
    client: str
    source: Address | None
    probe: Probe | None
    result: Result
    forward: Half
    reply: Half
    also: tuple[Also, ...] = ()
    notes: tuple[Note, ...] = ()
    observations: tuple[Observation, ...] = ()
    how_far: HowFar = HowFar.UNKNOWN
    stopped: bool = False
    demanded: bool = False
    counted: int | None = None
    translated_to: Address | None = None

    @property
    def to(self) -> str:
        """The destination, where something was sent to it."""
        return str(self.probe.destination) if self.probe else ""

    @property
    def is_broken(self) -> bool:
        """Whether the flow is known not to do what the spec promises; a UDP probe may just stay unanswered."""
        return self.result is Result.UNREACHABLE or self.forward.code == "static-dynamic-disagree"

    @property
    def is_refuted(self) -> bool:
        """Whether a change that was made for it does not hold: reason enough to roll back."""
        return self.stopped or (self.demanded and self.is_broken)

    @property
    def why(self) -> str:
        """How far it came and why not further, in one line."""
        told = self.forward.detail or self.reply.detail or "; ".join(note.detail for note in self.notes)
        to = f" → {self.probe}" if self.probe else ""
        return f"{self.client}{to}: {told or self.result}"


@dataclass(frozen=True, slots=True)
class Verification:
    """All verdicts, what was read back different from what the spec asks for, and hosts that could not be read.

    `exposed` are gateways that are open for everybody, each in words.
    """

    verdicts: tuple[Diagnosis, ...]
    differences: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    result: Result = field(init=False)

    def __post_init__(self) -> None:
        results = {verdict.result for verdict in self.verdicts}
        if self.differences or self.exposed or Result.UNREACHABLE in results:
            result = Result.UNREACHABLE
        elif Result.UNDETERMINED in results or not results:
            result = Result.UNDETERMINED
        else:
            result = Result.REACHABLE
        object.__setattr__(self, "result", result)

    @property
    def refuted(self) -> tuple[Diagnosis, ...]:
        """Flows that do not pass, and have to."""
        return tuple(verdict for verdict in self.verdicts if verdict.is_refuted)

    @property
    def unproved(self) -> tuple[Diagnosis, ...]:
        """Flows of which no answer came back through the crossing."""
        return tuple(verdict for verdict in self.verdicts if verdict.result is not Result.REACHABLE)
