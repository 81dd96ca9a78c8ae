"""One finding about a set-up by hand."""

from __future__ import annotations

from dataclasses import dataclass

from crossnet.verdict import Fix


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wider, or lasts less long, than it should; `by_crossnet`: `crossnet apply` mends it.

    One that `stops` lets nothing through today.
    """

    code: str
    where: str
    text: str
    by_crossnet: bool = False
    fix: tuple[Fix, ...] = ()
    stops: bool = False
