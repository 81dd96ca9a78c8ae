"""Progress leaves the library as events; whoever wants to show it passes a function that takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """How far a transaction has come, as far as it matters to somebody who wants to stop it."""

    BEFORE = "before the first change"
    CHANGING = "changing the hosts"
    BACK = "putting the hosts back"
    CONFIRMED = "confirmed, and being finished"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens now, in the user's words; `host` is empty when it concerns all.

    `asks` is whether somebody has to do something about it; `phase` is given where a transaction comes to a new one.
    """

    text: str
    host: str = ""
    asks: bool = False
    phase: Phase | None = None


Watcher = Callable[[Event], None]


def nobody(event: Event) -> None:
    """The watcher of those who do not want to watch."""


def without_a_say(watch: Watcher) -> Watcher:
    """The watcher as the library calls it: whatever it raises, nothing of what happens to the hosts changes.

    As with any callback of asyncio, the loop's exception handler is told.
    """

    def tell(event: Event) -> None:
        try:
            watch(event)
        except BaseException as error:
            context = {"message": "a watcher of crossnet raised", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    return tell
