"""Progress leaves the library as events; whoever wants to show it passes a function that takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens now, in the user's words; `host` is empty when it concerns all."""

    text: str
    host: str = ""


Watcher = Callable[[Event], None]


def nobody(event: Event) -> None:
    """The watcher of those who do not want to watch."""
