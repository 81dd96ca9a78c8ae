"""What facts say of a flow before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from crossnet.diagnosis.finding import Direction, Finding
from crossnet.values import Address


@dataclass(frozen=True, slots=True)
class Foretold:
    """What facts say of a flow: what stops it, and as whom it should arrive.

    `passes` is what they say as things are: None where they do not tell. `others` are the rules, not crossnet's, that
    do something else to it than to stop it: `others-translate`, `not-tracked`.
    """

    findings: tuple[Finding, ...]
    source: Address | None
    passes: bool | None
    others: tuple[Finding, ...] = ()

    def of(self, direction: Direction) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.direction is direction)
