"""Packets as they pass: a line for each, a column for each point."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from crossnet.capture import Packet, Sighting, Tcp, Timeline, timeline
from crossnet.show.paint import Paint

_REQUEST, _REPLY, _ERROR, _ASIDE = "cyan", "green", "red", "dim"
_NARROWEST = 9  # columns, for the longest word that stands in one
_GAP = 2
_SECONDS = 10
_ENOUGH = 2000  # sightings to align clocks by

Point = tuple[str, str]  # host and interface


class Columns:
    """Lines for sightings as they come; the head comes again when a packet is seen at a new point.

    Times are seconds since the first, by the clock of the first host. Of another whose clock is not aligned yet the
    first packet is taken to have been seen when it came here.
    """

    def __init__(self, paint: Paint) -> None:
        self._paint = paint
        self._points: list[Point] = []
        self._ahead: dict[str, float] = {}  # seconds by which each host's clock is ahead of the first one's
        self._aligned: set[str] = set()
        self._behind: float | None = None  # seconds by which the first one's is behind ours
        self._begin: float | None = None
        self._directions = Directions()

    def lines(self, seen: Sequence[Sighting], new: int) -> list[str]:
        """For what is new of all that was seen, in the order in which it happened."""
        self._align(seen)
        made = []
        for one in sorted(seen[new:], key=self._time):
            point = one.host, one.interface
            if point not in self._points:
                self._points.append(point)
                made.append(self._paint(self._head().rstrip(), "bold"))
            made.append(self._line(one, point))
        return made

    def _time(self, one: Sighting) -> float:
        return one.time - self._ahead[one.host]

    def _align(self, seen: Sequence[Sighting]) -> None:
        hosts = {one.host: one for one in reversed(seen)}
        if not hosts.keys() <= self._aligned:
            told = timeline(seen[:_ENOUGH])
            known = [host for host in told.offsets if host not in told.unaligned]
            self._ahead.update((host, told.offsets[host]) for host in known)
            self._aligned.update(known)
            now = time.time()
            if self._behind is None and seen:
                self._behind = now - seen[0].time
            for host in hosts.keys() - self._ahead.keys():
                self._ahead[host] = hosts[host].time - now + (self._behind or 0.0)

    def _line(self, one: Sighting, point: Point) -> str:
        at = self._time(one)
        self._begin = at if self._begin is None else self._begin
        cells = "".join(
            (str(one.kind) if each == point else "").ljust(self._width(each)) for each in self._points
        )
        said = self._paint(f"{cells}{one.packet}", self._directions.colour(one.packet))
        return f"{at - self._begin:{_SECONDS}.6f}{' ' * _GAP}{said}"

    def _head(self) -> str:
        names = "".join(_name(each).ljust(self._width(each)) for each in self._points)
        return f"{'seconds'.rjust(_SECONDS)}{' ' * _GAP}{names}"

    @staticmethod
    def _width(point: Point) -> int:
        return max(len(_name(point)), _NARROWEST) + _GAP


class Directions:
    """Which packets are requests and which replies, by their kinds, and by who was the first to send."""

    def __init__(self) -> None:
        self._asked: set[tuple[object, ...]] = set()

    def of(self, packet: Packet) -> str | None:
        """`request`, `reply` or `error`; None for what only finds neighbours, or has no ends."""
        if packet.is_neighbour or None in packet.ends:
            return None
        if packet.is_error:
            return "error"
        if packet.is_echo_request or packet.is_echo_reply:
            return "request" if packet.is_echo_request else "reply"
        there, back = (packet.protocol, *packet.ends), (packet.protocol, *packet.ends[::-1])
        if packet.flags & (Tcp.SYN | Tcp.ACK) == Tcp.SYN | Tcp.ACK:
            return "reply"
        if back in self._asked:
            return "reply"
        self._asked.add(there)
        return "request"

    def colour(self, packet: Packet) -> str:
        return {"request": _REQUEST, "reply": _REPLY, "error": _ERROR}.get(self.of(packet) or "", _ASIDE)


def unwatched_text(unwatched: Mapping[str, str]) -> list[str]:
    """A line for each host on which nobody looks."""
    return [f"{host} is not watched: {why}" for host, why in unwatched.items()]


def summary_text(
    told: Timeline, points: Mapping[str, Sequence[str]], lost: Mapping[str, int], file: str | None
) -> str:
    """How many packets were seen at each point, and what may be missing."""
    counted = Counter((one.host, one.interface, one.kind) for one in told.sightings)
    lines = []
    for point in dict.fromkeys((one.host, one.interface) for one in told.sightings):
        kinds = [f"{number} {kind}" for (*at, kind), number in sorted(counted.items()) if tuple(at) == point]
        lines.append(f"{_name(point)}: {', '.join(kinds)}")
    if not lines:
        watched = ", ".join(f"{host} ({', '.join(names)})" for host, names in points.items() if names)
        lines.append(f"No packet that was asked for passed {watched}.")
    for host, number in lost.items():
        lines.append(f"observer-lost-packets: {host} could not keep {number} packets")
    for host in told.unaligned:
        lines.append(
            f"clock-not-aligned: {host}: no packet went there and came back, so its times stand for themselves"
        )
    if file is not None:
        lines.append(f"Wrote {file}: {_packets(len(told.sightings))}.")
    return "\n".join(lines)


def _packets(number: int) -> str:
    return f"{number} packet" if number == 1 else f"{number} packets"


def _name(point: Point) -> str:
    return " ".join(point)


def capture_data(
    told: Timeline,
    points: Mapping[str, Sequence[str]],
    unwatched: Mapping[str, str],
    lost: Mapping[str, int],
    file: str | None,
) -> dict[str, Any]:
    """The same as a document."""
    directions = Directions()
    return {
        "points": {host: list(names) for host, names in points.items() if names},
        "unwatched": dict(unwatched),
        "lost": dict(lost),
        "unaligned": list(told.unaligned),
        "file": file,
        "sightings": [
            {
                "t": round(told.since(one), 6),
                "host": one.host,
                "interface": one.interface,
                "kind": str(one.kind),
                "direction": directions.of(one.packet),
                "packet": str(one.packet),
                "sender_mac": one.sender_mac,
                "ttl": one.packet.ttl,
                "length": one.packet.length,
            }
            for one in told.sightings
        ],
    }
