"""The sessions of a connection: as many at a time as the host permits (MaxSessions in sshd_config(5))."""

from __future__ import annotations

import asyncio
from collections import deque

# MaxSessions is 10 unless the host says otherwise; it does not tell, it refuses what is more.
SESSIONS = 10

_AGAIN = 0.02  # seconds until a refused session is asked for again
_LINGERS = 2.0  # seconds for which sshd may count a session that has ended


class AllTaken(Exception):
    """Every session that the host permits is a stream's, and a stream ends when somebody ends it."""


class Places:
    """How many there are is learned from what is refused."""

    def __init__(self) -> None:
        self.most = SESSIONS
        self.taken = 0
        self.streams = 0  # of those that are taken
        self.left: deque[float] = deque(maxlen=SESSIONS)  # when the last ones were given back
        self.news = asyncio.Event()


class Place:
    """One of them, once it is entered."""

    def __init__(self, places: Places, *, stream: bool = False) -> None:
        self._places = places
        self._stream = stream
        self.is_held = False

    async def enter(self) -> None:
        """When there is room; AllTaken where there will be none."""
        while self._places.taken >= self._places.most:
            if self._places.streams >= self._places.most:
                raise AllTaken
            self._places.news.clear()
            await self._places.news.wait()
        self._count(1)
        self.is_held = True

    def leave(self) -> None:
        """Give it back; nothing where it was not entered."""
        if self.is_held:
            self.is_held = False
            self._count(-1)
            self._places.left.append(_now())
            self._places.news.set()

    async def again(self) -> bool:
        """Whether to ask once more for a session that was refused; then there is room for it as far as we know."""
        if any(_now() - moment < _LINGERS for moment in self._places.left):
            await asyncio.sleep(_AGAIN)
            return True
        if self._places.taken == 1:
            return False  # it was the only one
        self._places.most = min(self._places.most, self._places.taken - 1)
        self._count(-1)
        self.is_held = False
        self._places.news.set()
        await self.enter()
        return True

    def _count(self, one: int) -> None:
        self._places.taken += one
        self._places.streams += one if self._stream else 0


def _now() -> float:
    return asyncio.get_running_loop().time()
