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


class Kind(StrEnum):
    """What happens; the values are the words of `--json-events`.

    `step-done` says that a host has done its part in the step that `Event.step` names.
    """

    READS = "reads-facts"
    STAGES = "leaves-journal"
    GUARDED = "guarded"
    CHANGES = "changes"
    SEARCHES = "looks-for-destination"
    PROBES = "sends-probe"
    WAITS = "waits-for-confirmation"
    TIME_LEFT = "time-left-for-confirmation"
    DECIDED = "decided"
    PERSISTS = "persists"
    ROLLS_BACK = "rolls-back"
    CLEARS_AWAY = "clears-away"
    CONFIRMS = "confirms"
    ENDED_BY_OTHER_SCRIPT = "ended-by-its-own-script"
    WAITS_FOR_OTHERS = "waits-for-others"
    ASKS_AGAIN = "asks-again"
    LEFT_OVER = "left-over"
    MAKES_IMAGE = "makes-image"
    INSTALLS_NEUTRON = "installs-neutron"
    DONE = "step-done"


@dataclass(frozen=True, slots=True)
class Described:
    """A change in words: `create`, `change` or `remove`; the kind of resource; which one; what becomes of it."""

    action: str
    kind: str
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens now; `host` is empty when it concerns all.

    `change` is what is made, or written for the next boot. `seconds` are those of the guard, of a person who has the
    last word, or for which a host is asked again. `hosts` counts those that take part in a step, `done` those that
    have done their part; `step` is given with `Kind.DONE`. `timers` are those that guard a host, `probe` is what is
    sent, `addresses` how many are tried, `error` why something was left over.

    `asks` is whether somebody has to do something about it; `phase` is given where a transaction comes to a new one.
    """

    kind: Kind
    host: str = ""
    change: Described | None = None
    seconds: int | None = None
    transaction: str = ""
    step: Kind | None = None
    done: int | None = None
    hosts: int | None = None
    timers: tuple[str, ...] = ()
    probe: str = ""
    addresses: int | None = None
    error: str = ""
    asks: bool = False
    phase: Phase | None = None

    @property
    def is_result(self) -> bool:
        """Whether it says what came of a command, and not how that goes on."""
        return self.asks or self.kind is Kind.LEFT_OVER


Watcher = Callable[[Event], None]


def nobody(event: Event) -> None:
    """The watcher of those who do not want to watch."""


class Tally:
    """How many of the hosts that take part in a step have done their part."""

    def __init__(self, watch: Watcher, step: Kind, hosts: int) -> None:
        self.hosts = hosts
        self._watch, self._step, self._done = watch, step, 0

    def done(self, host: str) -> None:
        self._done += 1
        self._watch(Event(Kind.DONE, host, step=self._step, done=self._done, hosts=self.hosts))


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
