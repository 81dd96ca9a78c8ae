"""How a command tells what it does and what went wrong: on standard error, so that results stay alone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from crossnet.cli.hints import hints
from crossnet.cli.outcome import outcome
from crossnet.cli.printing import printer

if TYPE_CHECKING:
    from crossnet.errors import CrossnetError
    from crossnet.events import Event
    from crossnet.show.progress import Line

EVENTS = "--json-events"


def wants_events() -> bool:
    """Whether standard error is for programs, one JSON object a line; asked also where no command came to begin."""
    return EVENTS in sys.argv[1:]


def say(text: str) -> None:
    """A word beside the result."""
    text = hints.own(text)
    if wants_events():
        from crossnet.show.progress import said_line

        text = said_line(text, printer.seconds)
    printer.err(text)


def error_data(error: CrossnetError) -> dict[str, Any]:
    """What went wrong, for programs; what it advises is about the user's own spec here too."""
    from crossnet.show import json

    data = json.error_data(error)
    data["error"]["message"] = hints.own(data["error"]["message"])
    return data


def tell(error: CrossnetError) -> None:
    """What went wrong."""
    if wants_events():
        from crossnet.show.progress import error_line

        printer.err(error_line(error_data(error), printer.seconds))
    else:
        printer.err(f"crossnet: {hints.own(str(error))}")


class Progress:
    """Progress as this command shows it: one line that moves in a terminal, a line for each event elsewhere."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self._quiet = quiet
        self._moves = printer.can_move() and not verbose
        self._line: Line | None = None

    def see(self, event: Event) -> None:
        from crossnet.show.progress import Line, event_line, event_text, stays

        outcome.see(event)
        if wants_events():
            printer.err(event_line(event, printer.seconds))
            return
        if self._quiet and not event.is_result:
            return
        text = hints.own(event_text(event))
        if text and (stays(event) or not self._moves):
            printer.err(f"… {text}")
        if self._moves and not self._quiet:
            self._line = self._line or Line()
            printer.move(hints.own(self._line.after(event)))
