"""How long answers to the probes are waited for: what facts and packets explain together needs no longer wait."""

from __future__ import annotations

import asyncio

from crossnet.capture import Kind
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.outcome import Outcome
from crossnet.diagnosis.seen import Seen
from crossnet.diagnosis.trail import Part, Trail, forward_end, reply_end
from crossnet.verification.probe import Sending

_LATE = 3.5  # seconds; where some are answered, the others may only be slow
_FULL = 0.3  # seconds without news, when only full-sized ones are missing


class Waiting:
    """The wait for one sending; `quiet` is for how many seconds there was no news of it.

    News is a kind of packet at a point where none of them was seen before.
    """

    def __init__(self, sending: Sending, seen: Seen, found: Outcome) -> None:
        self.quiet = 0.0
        self._sending, self._seen, self._found = sending, seen, found
        self._start = self._last = asyncio.get_running_loop().time()
        self._known = set[tuple[str, str, Part, bool]]()

    @property
    def has_begun(self) -> bool:
        """Whether anything is known of the probes."""
        return bool(self._known or self._sending.ended)

    async def goes_on(self) -> bool:
        """Wait a moment; False when everything is answered, or has ended, or those that are missing are too late."""
        if self._sending.is_over:
            return False
        await self._seen.watch.changed(0.05)
        self._found.read()
        now = asyncio.get_running_loop().time()
        # What is sent once more is no news; that it got further is.
        points = {
            (each.host, each.interface, self._seen.tags.part(each.packet), each.kind is Kind.SENT)
            for each in self._seen.watch.sightings
        }
        if points - self._known:
            self._last, self._known = now, points
        self.quiet = now - self._last
        if self._found.small_answered and (self._found.full_answered or self.quiet > _FULL):
            return False
        return not self._found.some_answered or now - self._start <= _LATE


def is_explained(trail: Trail, foretold: Foretold) -> bool:
    """Whether facts surely say that it stops where the packets were last seen."""
    asked = trail.asked()
    back = reply_end(asked)
    end = forward_end(asked) if back.stop is None else back
    if end.stop is None:
        return False
    direction = "forward" if back.stop is None else "reply"
    near = {end.stop.host, *([end.following.host] if end.following else [])}
    return any(
        each.certain and each.host in near and str(each.direction) == direction for each in foretold.findings
    )


def is_silent(trail: Trail, *, forced: bool = False) -> bool:
    """Whether requests left the last gateway, and nothing at all came back.

    Of a size that was `forced` it is enough that they left the client: smaller ones may get further than these.
    """
    asked = trail.asked()
    if asked.errors():
        return False
    if forced:
        client = trail.course.client.host
        return not asked.watched(client) or bool(asked.left(client, Part.REQUEST))
    if not trail.course.gateways:
        return False
    last = trail.course.gateways[-1].host
    return (
        asked.watched(last)
        and bool(asked.left(last, Part.REQUEST))
        and not asked.came(last, Part.REPLY)
        and not asked.asks(last)
    )


def is_taken_on_the_way(trail: Trail) -> bool:
    """Whether nothing has left the last gateway: then what is answered is not answered by the destination."""
    asked, last = trail.asked(), trail.course.stops[-1]
    return (
        last != trail.course.client and asked.watched(last.host) and not asked.left(last.host, Part.REQUEST)
    )
