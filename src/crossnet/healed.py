"""What a host has brought back by itself after somebody else took it away, by its own notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from crossnet.facts import Facts, FileState
from crossnet.facts.moments import MOMENTS, Moments
from crossnet.facts.question import put
from crossnet.persistence.heal import has_given_up
from crossnet.record import HEALED
from crossnet.transaction.history import end_of
from crossnet.transport import Host
from crossnet.values import write_moment

_LONGEST = 12  # digits of a time
_MOST = 100  # lines that a host keeps
# From what takes a thing away until it is brought back: the time between two looks, and what loading takes.
_SOON = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Healing:
    """One time: when by the host's clock, `brought-back`, `failed` or `gave-up`, and what was gone, in words.

    `beside` is what else happened there just before, of what is known to take such things away.
    """

    host: str
    at: datetime
    outcome: str
    what: str
    beside: tuple[str, ...] = ()

    @property
    def when(self) -> str:
        return write_moment(self.at)


async def read_healings(host: Host) -> tuple[Healing, ...]:
    """What the host notes of it, oldest first, and what else happened there just before each time."""
    notes = end_of(host, HEALED, partial(noted, host.name))
    said = await put(host, [notes, MOMENTS])
    return tuple(replace(one, beside=tuple(just_before(one, said[MOMENTS]))) for one in said[notes])


def healings(facts: Facts) -> tuple[Healing, ...]:
    """What the host notes of it, oldest first."""
    state = facts.files.get(HEALED)
    return noted(facts.host, state.data.decode(errors="replace") if isinstance(state, FileState) else "")


def noted(host: str, said: str) -> tuple[Healing, ...]:
    """The lines of a host's notes, the last hundred; one that cannot be read is left out."""
    return tuple(found for line in said.splitlines()[-_MOST:] if (found := _healing(host, line)) is not None)


def _healing(host: str, line: str) -> Healing | None:
    at, _, rest = line.partition("\t")
    outcome, _, what = rest.partition("\t")
    if not at.isdecimal() or len(at) > _LONGEST:
        return None
    try:
        return Healing(host, datetime.fromtimestamp(int(at), UTC), outcome, what)
    except (ValueError, OverflowError):  # no year that a calendar has
        return None


def just_before(one: Healing, moments: Moments) -> Iterator[str]:
    """Of units, and of an interface whose route it was, the last that happened, which is all that a host tells."""
    for unit, times in moments.units.items():
        match tuple(_is_before(at, one) for at in (times.started, times.stopped, times.changed)):
            case (True, True, _):
                yield f"{unit}.service was restarted"
            case (True, False, _):
                yield f"{unit}.service was started"
            case (False, True, _):
                yield f"{unit}.service was stopped"
            case (False, False, True):
                yield f"{unit}.service was reloaded"
            case _:
                pass
    for link, at in moments.links.items():
        if link in one.what.split() and _is_before(at, one):
            yield f"{link} changed its state"


def _is_before(at: datetime | None, one: Healing) -> bool:
    return at is not None and one.at - _SOON <= at <= one.at


def gave_up(facts: Facts) -> str:
    """That it does not heal any more because somebody else wants it otherwise; nothing where it does."""
    found = healings(facts)
    if not found or not has_given_up(facts):
        return ""
    return (
        f"{facts.host}: gave up healing at {found[-1].when}, because somebody else took it away again and "
        f"again: {found[-1].what}; `crossnet apply` brings it back, and heals from then on"
    )


def told(facts: Facts) -> Iterator[str]:
    """How often it healed, and when last."""
    found = [one for one in healings(facts) if one.outcome == "brought-back"]
    if found:
        times = f"{len(found)} times since {found[0].when}, last at" if found[1:] else "once, at"
        yield f"{facts.host}: healed by itself {times} {found[-1].when}: {found[-1].what}"
