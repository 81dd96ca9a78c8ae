"""What a host has brought back by itself after somebody else took it away, by its own notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from crossnet.facts import Facts, FileState
from crossnet.persistence.heal import UNIT
from crossnet.record import HEALED
from crossnet.values import write_moment

_LONGEST = 12  # digits of a time


@dataclass(frozen=True, slots=True)
class Healing:
    """One time: when by the host's clock, `brought-back`, `failed` or `gave-up`, and what was gone, in words."""

    at: datetime
    outcome: str
    what: str


def healings(facts: Facts) -> tuple[Healing, ...]:
    """What the host notes of it, oldest first: the last hundred times; a line that cannot be read is left out."""
    state = facts.files.get(HEALED)
    said = state.data.decode(errors="replace") if isinstance(state, FileState) else ""
    return tuple(found for line in said.splitlines() if (found := _healing(line)) is not None)


def _healing(line: str) -> Healing | None:
    at, _, rest = line.partition("\t")
    outcome, _, what = rest.partition("\t")
    if not at.isdecimal() or len(at) > _LONGEST:
        return None
    try:
        return Healing(datetime.fromtimestamp(int(at), UTC), outcome, what)
    except (ValueError, OverflowError):  # no year that a calendar has
        return None


def gave_up(facts: Facts) -> str:
    """That it does not heal any more because somebody else wants it otherwise; nothing where it does."""
    found = healings(facts)
    if not found or found[-1].outcome != "gave-up" or (facts.units or {}).get(UNIT):
        return ""
    return (
        f"{facts.host}: gave up healing at {write_moment(found[-1].at)}, because somebody else took it away again and "
        f"again: {found[-1].what}; `crossnet apply` brings it back, and heals from then on"
    )


def told(facts: Facts) -> Iterator[str]:
    """How often it healed, and when last."""
    found = [one for one in healings(facts) if one.outcome == "brought-back"]
    if found:
        times = f"{len(found)} times since {write_moment(found[0].at)}, last at" if found[1:] else "once, at"
        yield f"{facts.host}: healed by itself {times} {write_moment(found[-1].at)}: {found[-1].what}"
