"""Progress leaves the library as events; whoever wants to show it passes a function that takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens now, in the user's words; `host` is empty when it concerns all.

    `asks` is whether somebody has to do something about it.
    """

    text: str
    host: str = ""
    asks: bool = False


Watcher = Callable[[Event], None]


def nobody(event: Event) -> None:
    """The watcher of those who do not want to watch."""
