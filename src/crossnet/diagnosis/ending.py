"""Where packets of one direction were last seen, whoever saw them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from crossnet.diagnosis.course import Stop
from crossnet.values import Address


class Ending(StrEnum):
    """How one direction of a flow ends."""

    NOT_SENT = "not-sent"
    UNRESOLVED = "unresolved"  # a host asked for its next hop, and nobody answered
    LOST = "lost"  # it left a host, and did not come to the next
    STOPPED = "stopped"  # it came to a host, and did not leave it
    VANISHED = "vanished"  # a host had it, the next one has not let it pass: it may have stopped on either
    ARRIVED = "arrived"  # it came to the end, or left for a segment that nobody looks at
    UNSEEN = "unseen"  # nobody watched


@dataclass(frozen=True, slots=True)
class End:
    """Where packets of one direction were last seen.

    `stop` is the host that had them last, `interface` where it saw them, `following` the host that did not see them;
    `asked` is the address that nobody answered for. Where that was not seen in packets, `said` is what tells it, and
    `past_rules` that all rules of `stop` have let it pass.
    """

    ending: Ending
    stop: Stop | None = None
    interface: str | None = None
    following: Stop | None = None
    asked: Address | None = None
    said: str = ""
    past_rules: bool = False
