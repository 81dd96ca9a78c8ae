"""What was seen, along the time: a row for each point of the path, to zoom into."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crossnet.show.page.hops import ERROR, REPLY, hops, lane_of
from crossnet.show.page.words import escaped, moment, short
from crossnet.verdict import Action, Diagnosis, Observation

WIDTH, LEFT, RIGHT, ROW, TOP = 1000, 210, 984, 30, 30
LABEL = 66  # what the words beside a mark take


@dataclass(frozen=True, slots=True)
class Row:
    """One point of the path with what was seen there, and the directions that were waited for in vain."""

    name: str
    seen: tuple[Observation, ...]
    absent: tuple[str, ...]


def timeline(found: Diagnosis) -> str:
    """The timeline as SVG; its script moves the marks by their `data-at`, in seconds."""
    rows = _rows(found)
    waited = [0.0, *(one.at for one in found.observations)]
    times = [one.at for row in rows for one in row.seen] or waited
    spare = (max(times) - min(times)) * 0.06 or 0.0005
    start, end = min(times) - spare, max(times) + spare * 2.5
    bottom = TOP + ROW * len(rows)
    parts = [
        f'<svg class="time" role="img" aria-labelledby="time-title" viewBox="0 0 {WIDTH} {bottom + 8}"'
        f' data-start="{start:.9f}" data-end="{end:.9f}" data-left="{LEFT}" data-right="{RIGHT}">',
        f'<title id="time-title">{_title(rows)}</title>',
        '<g class="ticks">',
        *_ticks(start, end, bottom),
        "</g>",
    ]
    for number, row in enumerate(rows):
        parts += _row(row, TOP + ROW * number, start, end)
    return "\n".join([*parts, "</svg>"])


def _title(rows: Sequence[Row]) -> str:
    count = sum(len(row.seen) for row in rows)
    return f"{count} observations at {len(rows)} points along the time; the table below has the same"


def _rows(found: Diagnosis) -> list[Row]:
    """The points in the order of the path: on each host its near interface, what is within, its far interface."""
    keys: dict[tuple[str, str], list[Observation]] = {}
    for hop in hops(found):
        own = [one for one in found.observations if one.host == hop.host]
        own.sort(key=lambda one: (one.interface != hop.near, one.interface == hop.far))
        for one in own:
            within = f"hook {one.hook}" if one.hook else ""
            keys.setdefault((one.host, one.interface or within), []).append(one)
    return [
        Row(
            f"{host} {name}".strip(),
            tuple(sorted((one for one in own if one.action is not Action.ABSENT), key=lambda one: one.at)),
            tuple(dict.fromkeys(one.direction for one in own if one.action is Action.ABSENT)),
        )
        for (host, name), own in keys.items()
    ]


def _ticks(start: float, end: float, bottom: float) -> Iterator[str]:
    step = _step(end - start)
    for number in range(math.ceil(start / step), math.floor(end / step) + 1):
        x = LEFT + (number * step - start) / (end - start) * (RIGHT - LEFT)
        yield f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom}"/>'
        yield f'<text x="{x:.1f}" y="16" text-anchor="middle">{_tick(number * step, step)}</text>'


def _step(span: float) -> float:
    """The next of 1, 2, 5, 10, … that gives eight ticks or fewer."""
    power: float = 10.0 ** math.floor(math.log10(span / 8))
    return next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor * 8 >= span)


def _tick(at: float, step: float) -> str:
    if step >= 0.5:
        return f"{at:.1f} s"
    return f"{at * 1000:.{max(0, -math.floor(math.log10(step * 1000) + 1e-9))}f} ms"


def _row(row: Row, top: float, start: float, end: float) -> Iterator[str]:
    middle = top + ROW / 2
    yield f'<g class="row"><line class="track" x1="{LEFT}" y1="{middle}" x2="{RIGHT}" y2="{middle}"/>'
    yield f'<text class="point" x="{LEFT - 12}" y="{middle + 4}" text-anchor="end">{short(row.name, 29)}</text>'
    if row.absent:
        words = f"{' and '.join(row.absent)} absent"
        yield f'<line class="absent" x1="{LEFT}" y1="{middle}" x2="{RIGHT}" y2="{middle}"/>'
        yield (
            f'<text class="absent" x="{RIGHT}" y="{middle + 13}" text-anchor="end">{escaped(words)}</text>'
        )
    xs = [LEFT + (one.at - start) / (end - start) * (RIGHT - LEFT) for one in row.seen]
    for number, (one, x) in enumerate(zip(row.seen, xs, strict=True)):
        crowded = number + 1 < len(xs) and xs[number + 1] - x < LABEL + 12
        told = f"{moment(one.at)}: {row.name} {one.direction} {one.action}: {one.packet}"
        ends = " ends" if one.action in (Action.DROPPED, Action.REJECTED) else ""
        yield (
            f'<g class="seen {_kind(one)}{ends}{" crowded" if crowded else ""}" data-at="{one.at:.9f}"'
            f' transform="translate({x:.2f} {middle})"><title>{escaped(told)}</title>{_shape(one)}'
            f'<text x="11" y="-4">{moment(one.at)}</text></g>'
        )
    yield "</g>"


def _kind(one: Observation) -> str:
    return ERROR if one.direction == ERROR else lane_of(one.direction)


def _shape(one: Observation) -> str:
    """A request points on, a reply back; an error is a square, and where one ended is a cross."""
    if one.action in (Action.DROPPED, Action.REJECTED):
        return '<path d="M-6 -6 L6 6 M6 -6 L-6 6"/>'
    if one.direction == ERROR:
        return '<rect x="-5" y="-5" width="10" height="10"/>'
    return f'<path d="{"M6 0 L-6 -6.5 L-6 6.5 Z" if lane_of(one.direction) != REPLY else "M-6 0 L6 -6.5 L6 6.5 Z"}"/>'
