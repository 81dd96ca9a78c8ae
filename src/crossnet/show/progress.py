"""What happens now, as text and as JSON."""

from __future__ import annotations

from typing import Any

from crossnet.events import Event, Kind
from crossnet.show.json import line
from crossnet.show.visible import one_line


def event_text(event: Event) -> str:
    """An event in the user's words, in one line, with the host that it concerns; nothing where a step is only over."""
    said = _said(event)
    return one_line(f"{event.host}: {said}" if event.host and said else said)


def _said(event: Event) -> str:
    match event.kind:
        case Kind.READS:
            return "reads facts"
        case Kind.STAGES:
            return "writes its journal"
        case Kind.GUARDED:
            return f"guards itself for {event.seconds} s ({', '.join(event.timers) or 'nobody'})"
        case Kind.CHANGES | Kind.PERSISTS:
            change = event.change
            return f"{change.action}s {change.kind} {change.text}" if change else ""
        case Kind.SEARCHES:
            return f"looks for a host in `to` that answers ({event.addresses} addresses)"
        case Kind.PROBES:
            return f"sends {event.probe}"
        case Kind.WAITS:
            return f"waits {event.seconds} s for {_confirm(event)}, or puts the hosts back"
        case Kind.TIME_LEFT:
            return f"{event.seconds} s left for {_confirm(event)}"
        case Kind.DECIDED:
            return "has decided for all: it holds"
        case Kind.ROLLS_BACK:
            return (
                f"puts back {f'transaction {event.transaction}' if event.transaction else 'what was changed'}"
            )
        case Kind.CLEARS_AWAY:
            return "cleans up what it had prepared"
        case Kind.CONFIRMS:
            return f"confirms transaction {event.transaction}"
        case Kind.ENDED_BY_OTHER_SCRIPT:
            return f"ends transaction {event.transaction} by its own script there"
        case Kind.ASKS_AGAIN:
            return f"does not answer; asking it again for {event.seconds} s"
        case Kind.WAITS_FOR_OTHERS:
            return f"waits for transaction {event.transaction} of somebody else to finish"
        case Kind.LEFT_OVER:
            return event.error
        case Kind.MAKES_IMAGE:
            return "making the Debian that the hosts are copies of; once, and it takes a minute"
        case Kind.INSTALLS_NEUTRON:
            return "installing the Neutron that filters its ports: 410 MB in your cache; once, and it takes a minute"
        case Kind.DONE:
            return ""


def _confirm(event: Event) -> str:
    return f"`crossnet confirm {event.transaction}`"


def event_line(event: Event, at: float) -> str:
    """An event as one line of JSON; `at` are the seconds since the command began."""
    return line({"event": str(event.kind), "at": round(at, 3), **_data(event)})


def said_line(text: str, at: float) -> str:
    """A word of crossnet that is no event, as one line of JSON."""
    return line({"event": "said", "at": round(at, 3), "text": text})


def error_line(data: dict[str, Any], at: float) -> str:
    """An error as one line of JSON, with the same keys as in a document."""
    return line({"event": "error", "at": round(at, 3), **data["error"]})


def _data(event: Event) -> dict[str, Any]:
    change = event.change
    given = {
        "host": event.host,
        "change": change
        and {"action": change.action, "kind": change.kind, "key": change.key, "text": change.text},
        "seconds": event.seconds,
        "transaction": event.transaction,
        "step": event.step and str(event.step),
        "done": event.done,
        "hosts": event.hosts,
        "timers": list(event.timers),
        "probe": event.probe,
        "addresses": event.addresses,
        "error": event.error,
        "phase": event.phase and event.phase.name.lower(),
    }
    return {key: value for key, value in given.items() if value not in (None, "", [])}


# What has to be read again when the next step has begun: it stays a line of its own in a terminal too.
_STAYS = (Kind.WAITS, Kind.ASKS_AGAIN, Kind.LEFT_OVER)


def stays(event: Event) -> bool:
    return event.kind in _STAYS


class Line:
    """The line that moves: how many of all hosts have done the step that goes on, and what one does that has not."""

    def __init__(self) -> None:
        self._text = ""
        self._step: Kind | None = None
        self._done = self._hosts = 0
        self._under_way: dict[str, str] = {}

    def after(self, event: Event) -> str:
        step = event.step if event.kind is Kind.DONE else event.kind
        begins_again = event.kind is not Kind.DONE and 0 < self._hosts <= self._done
        if step is not self._step or begins_again:
            self._step, self._done, self._hosts, self._under_way = step, 0, event.hosts or 0, {}
        if event.kind is Kind.DONE:
            self._done = event.done or 0
            self._under_way.pop(event.host, None)
            self._text = next(reversed(self._under_way.values()), self._text)
        else:
            self._text = event_text(event)
            self._under_way[event.host] = self._text
        return f"{self._done}/{self._hosts} hosts  {self._text}" if self._hosts else self._text
