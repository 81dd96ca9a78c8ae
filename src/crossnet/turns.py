"""Several people at the same hosts: who comes second waits for the first, and goes on where that was none of theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from crossnet.design.impacts import OF_THE_MOMENT
from crossnet.errors import HostsFailed, Locked
from crossnet.events import Event, Kind, Watcher
from crossnet.planning import Plan

T = TypeVar("T")

LONGEST = 300.0  # seconds, however many come before
AGAIN = 1.0


async def in_turn(attempt: Callable[[], Awaitable[T]], watch: Watcher) -> T:
    """The outcome of an attempt that is made again while others are at work on its hosts.

    Locked when it is not worth to wait, or no longer: `Locked.waits` is how long it is, while nothing changes.
    """
    now = asyncio.get_running_loop().time
    began, since, last = now(), now(), ""
    while True:
        try:
            return await attempt()
        except (Locked, HostsFailed) as error:
            locked = _locked(error)
            if locked is None:
                raise
            if locked.state != last:
                since, last = now(), locked.state
            if now() - since >= locked.waits or now() - began >= LONGEST:
                raise locked from None
            watch(
                Event(
                    Kind.WAITS_FOR_OTHERS,
                    locked.host,
                    seconds=int(locked.waits),
                    transaction=locked.transaction,
                )
            )
        await asyncio.sleep(AGAIN)


def _locked(error: Locked | HostsFailed) -> Locked | None:
    """Where several hosts are held, the first of them tells."""
    if isinstance(error, Locked):
        return error
    held = [one for one in error.errors if isinstance(one, Locked)]
    return held[0] if len(held) == len(error.errors) else None


def ends_no_more(agreed: Plan, now: Plan) -> bool:
    """Whether an undo that was planned anew takes back no crossing that whoever agreed to the first has not seen.

    What it gives back besides follows: where somebody else has undone theirs meanwhile, these are the last ones.
    """
    return {one.label for one in now.ended} <= {one.label for one in agreed.ended}


def says_the_same(agreed: Plan, now: Plan) -> bool:
    """Whether a plan that was made anew is one that whoever agreed to the first has agreed to.

    The same packets are let through, nothing more is told of it, nothing more ends, and what is changed besides is made
    of all crossings together: somebody else's came to them, or went.
    """
    known = set(agreed.changes)
    further = [change for change in now.changes if change not in known]
    return (
        agreed.paths == now.paths
        and {one for one in now.impacts if one.code not in OF_THE_MOMENT} <= set(agreed.impacts)
        and {one.label for one in now.ended} <= {one.label for one in agreed.ended}
        and all(change.resource.is_of_all_crossings for _, change in further)
    )
