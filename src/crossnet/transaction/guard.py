"""How long a host waits before it puts itself back, and who says that it need not."""

from __future__ import annotations

from dataclasses import dataclass

SHORTEST = 10  # seconds: less than that, and a slow connection is taken for a lost one
LONGEST = 3600


@dataclass(frozen=True, slots=True)
class Guard:
    """The guard of a transaction, in seconds; ValueError outside SHORTEST and LONGEST.

    `confirm_within` leaves the last word to a person for so long. `has_console` goes on where no timer was
    seen to go off: then only the operator's other way to the hosts can put them back.
    """

    seconds: int = 120
    confirm_within: int | None = None
    has_console: bool = False

    def __post_init__(self) -> None:
        for what, seconds in (("a guard waits", self.seconds), ("a person has", self.confirm_within)):
            if seconds is not None and not SHORTEST <= seconds <= LONGEST:
                raise ValueError(f"{what} {SHORTEST} s to {LONGEST // 60} min, not {seconds} s")
