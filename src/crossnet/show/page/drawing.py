"""The path of a flow as a drawing: hosts as boxes, interfaces in them, and a lane each for request and reply."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from crossnet.show.page.hops import (
    ENDS,
    ERROR,
    REPLY,
    REQUEST,
    Hop,
    hops,
    lane_of,
    places,
    side_of,
    stops_here,
)
from crossnet.show.page.words import FLAGS, became, escaped, flow, point, short
from crossnet.verdict import Action, Between, Diagnosis, Half, Observation, Place, Result

# In units of the drawing; a letter of 11 of them takes this much in a fixed font.
LETTER = 6.7
LINE = 15
LEFT = 84
TOP = 10
TITLE = 48
INTERFACE = 22
LONGEST = 36
NAME = 40  # an IPv6 address, for a client or destination that has no other name
MOST_LINES = 5
SCALE = 1.2  # pixels a unit, where the window has room


@dataclass(slots=True)
class Column:
    """One place on the path: within a host, one of its interfaces, or the segment behind a host."""

    kind: str
    hop: int
    interface: str = ""
    side: str = ""
    lines: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: {REQUEST: [], REPLY: []})
    seen: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    mark: dict[str, str] = field(default_factory=dict)
    left: float = 0
    width: float = 0

    @property
    def middle(self) -> float:
        return self.left + self.width / 2


def drawing(found: Diagnosis) -> str:
    """The drawing as SVG, with the same in words for who does not see it."""
    path = hops(found)
    columns = list(_columns(path))
    for lane in (REQUEST, REPLY):
        _tell(found, path, columns, lane)
    _place_ends(found, path, columns)
    _set(path, columns)
    width = columns[-1].left + columns[-1].width + 14
    tops, bottom = _lanes(columns)
    parts = [
        f'<svg class="path" role="img" aria-labelledby="path-title path-words" width="{width * SCALE:.0f}"'
        f' height="{(bottom + 10) * SCALE:.0f}" viewBox="0 0 {width:.0f} {bottom + 10:.0f}">',
        f'<title id="path-title">The path from {escaped(path[0].host)} to {escaped(path[-1].host)}</title>',
        f'<desc id="path-words">{escaped(_in_words(found, path))}</desc>',
        *_boxes(found, path, columns, bottom),
    ]
    for lane, half in ((REQUEST, found.forward), (REPLY, found.reply)):
        parts += _lane(found, columns, lane, half, tops[lane])
    return "\n".join([*parts, "</svg>"])


def _columns(path: Sequence[Hop]) -> Iterator[Column]:
    for index, hop in enumerate(path):
        if index:
            yield Column("segment", index - 1)
        if hop.near:
            yield Column("interface", index, hop.near, "near")
        yield Column("inside", index)
        if hop.far:
            yield Column("interface", index, hop.far, "far")


# ---- what is told in which place -----------------------------------------------------------------


def _tell(found: Diagnosis, path: Sequence[Hop], columns: Sequence[Column], lane: str) -> None:
    for column in columns:
        if column.kind == "segment":
            continue
        hop = path[column.hop]
        own = [one for one in found.observations if one.host == hop.host and lane_of(one.direction) == lane]
        if column.kind == "interface":
            own = [one for one in own if one.interface == column.interface]
            if hop.near == hop.far:
                own = [one for one in own if side_of(one) in ("", column.side)]
            shown = [one for one in own if one.action not in (Action.DROPPED, Action.REJECTED)]
        else:
            shown = [one for one in own if _is_inside(one, hop)]
            translations = dict.fromkeys(one.translation for one in own if one.translation)
            column.lines[lane] += [line for text in translations for line in _translation(str(text))]
        packets = [one for one in shown if one.direction != ERROR]
        if any(one.action is not Action.ABSENT for one in packets):
            column.seen.add(lane)
        elif packets:
            column.absent.add(lane)
        column.lines[lane] += _counted(shown, with_place=column.kind == "inside")


def _is_inside(one: Observation, hop: Hop) -> bool:
    if one.action in (Action.DROPPED, Action.REJECTED) or not one.interface:
        return one.action is not Action.TRANSLATED or not one.translation
    return one.interface in hop.beside


def _counted(shown: Sequence[Observation], *, with_place: bool) -> list[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for one in shown:
        word = "seen" if one.action is Action.TRANSLATED and one.translation else str(one.action)
        if one.direction == ERROR:
            word = f"error {word}"
        if with_place:
            where = (
                f"{one.interface}: "
                if one.interface and one.action not in (Action.DROPPED, Action.REJECTED)
                else ""
            )
            word = f"{where}{word}{f' at {one.hook}' if one.hook else ''}"
        kind = "ends" if one.action in ENDS else "error" if one.direction == ERROR else "word"
        counts[kind, word] += 1
    told = [(kind, f"{word} ×{count}" if count > 1 else word) for (kind, word), count in counts.items()]
    if with_place:
        told += [("rule", by) for by in dict.fromkeys(str(one.by) for one in shown if one.by)]
    return told


def _translation(text: str) -> Iterator[tuple[str, str]]:
    yield "word", "translated"
    for each in text.split(", "):
        before, arrow, after = each.partition(" → ")
        if len(each) <= LONGEST or not arrow:
            yield "translation", each
        else:
            yield "translation", before
            yield "translation", f"→ {after}"


def _place_ends(found: Diagnosis, path: Sequence[Hop], columns: Sequence[Column]) -> None:
    """The marks: where it stops, where that is not decided, where it arrives; and what would stop it next."""
    for lane, half, last in ((REQUEST, found.forward, columns[-1]), (REPLY, found.reply, columns[0])):
        column = _column(half.at, path, columns, lane)
        if found.result is Result.REACHABLE or half.disposition == "delivered":
            last.mark[lane] = "arrives"
            last.lines[lane].insert(0, ("arrives", "arrives"))
        elif column and stops_here(found, half):
            column.mark[lane] = "unsure" if found.result is Result.UNDETERMINED else "stops"
            words = [(column.mark[lane], FLAGS[found.result]), *([("code", half.code)] if half.code else [])]
            column.lines[lane][:0] = words
        elif half.disposition == "not-sent" and lane == REPLY:
            columns[-1].lines[lane].insert(0, ("word", "not sent"))
    for number, also in enumerate(found.also, 1):
        if column := _column(also.at, path, columns, lane_of(also.direction)):
            column.lines[lane_of(also.direction)].append(("also", f"then {number}: {also.code}"))
    for column in columns:
        for lines in column.lines.values():
            if len(lines) > MOST_LINES:
                lines[MOST_LINES - 1 :] = [("word", f"and {len(lines) - MOST_LINES + 1} more")]


def _column(
    at: Place | Between | None, path: Sequence[Hop], columns: Sequence[Column], lane: str
) -> Column | None:
    """Where in the drawing a place is: behind an interface that has seen the packet, at one that has not."""
    names = [hop.host for hop in path]
    if at is None:
        return None
    onward = 1 if lane == REQUEST else -1
    first = names.index(places(at)[0].host)
    inside = next(n for n, one in enumerate(columns) if one.kind == "inside" and one.hop == first)
    if isinstance(at, Between):
        second = names.index(at.receiver.host)
        segment = first if first < second else first - 1
        return next((one for one in columns if one.kind == "segment" and one.hop == segment), columns[inside])
    for number in range(len(columns))[::onward]:
        column = columns[number]
        if column.hop == first and column.kind == "interface" and column.interface == at.interface:
            behind = number + onward
            return columns[behind] if lane in column.seen and 0 <= behind < len(columns) else column
    return columns[inside]


# ---- where everything stands ---------------------------------------------------------------------


def _set(path: Sequence[Hop], columns: Sequence[Column]) -> None:
    """Give each column its width, and each host room for its name."""
    least = {"segment": 76, "interface": 62, "inside": 70}
    for column in columns:
        texts = [short(text, LONGEST + 6) for lines in column.lines.values() for _, text in lines]
        texts.append(short(column.interface, 16))
        column.width = max(least[column.kind], *(_wide(text) * LETTER + 14 for text in texts))
    for index, hop in enumerate(path):
        own = [column for column in columns if column.hop == index and column.kind != "segment"]
        need = max(_wide(short(hop.host, NAME)) * 8.6, _wide(_role(path, index)) * LETTER) + 28
        lacking = need - sum(column.width for column in own)
        inside = next(column for column in own if column.kind == "inside")
        inside.width += max(0, lacking)
    left = float(LEFT)
    for column in columns:
        column.left = left
        left += column.width


def _wide(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _role(path: Sequence[Hop], index: int) -> str:
    hop = path[index]
    role = "client" if index == 0 else "destination" if hop.is_destination else "on the way"
    return role if hop.is_seen else f"{role}, not watched"


def _lanes(columns: Sequence[Column]) -> tuple[dict[str, float], float]:
    """The heights of the two lines, and of the boxes' end."""
    request = TOP + TITLE + INTERFACE + 18.0
    many = {lane: max(1, *(len(column.lines[lane]) for column in columns)) for lane in (REQUEST, REPLY)}
    reply = request + 12 + many[REQUEST] * LINE + 28
    return {REQUEST: request, REPLY: reply}, reply + 12 + many[REPLY] * LINE + 12


def _boxes(found: Diagnosis, path: Sequence[Hop], columns: Sequence[Column], bottom: float) -> Iterator[str]:
    for index, hop in enumerate(path):
        own = [column for column in columns if column.hop == index and column.kind != "segment"]
        left, width = own[0].left, sum(column.width for column in own)
        kind = "host" if hop.is_seen else "host unseen"
        yield (
            f'<rect class="{kind}" x="{left:.1f}" y="{TOP}" width="{width:.1f}" height="{bottom - TOP:.1f}" rx="8"/>'
        )
        yield _text("name", left + 14, TOP + 20, hop.host, NAME, anchor="start")
        yield _text("role", left + 14, TOP + 36, _role(path, index), 30, anchor="start")
        for column in own:
            if column.kind == "interface":
                top = TOP + TITLE - 4
                yield (
                    f'<rect class="interface" x="{column.left + 5:.1f}" y="{top}" width="{column.width - 10:.1f}"'
                    f' height="{bottom - top - 7:.1f}" rx="5"/>'
                )
                yield _text("port", column.middle, top + 16, column.interface, 16)


def _lane(found: Diagnosis, columns: Sequence[Column], lane: str, half: Half, y: float) -> Iterator[str]:
    onward = 1 if lane == REQUEST else -1
    order = list(columns)[::onward]
    start = order[0].middle
    name = "request →" if lane == REQUEST else "← reply"
    yield _text(f"lane {lane}", 8, y + 4, name, 12, anchor="start")
    yield f'<line class="unknown" x1="{start:.1f}" y1="{y}" x2="{order[-1].middle:.1f}" y2="{y}"/>'
    reached = _reached(order, lane, half)
    if reached is not None:
        end = order[reached].middle
        if end != start:
            yield f'<line class="passed {lane}" x1="{start:.1f}" y1="{y}" x2="{end:.1f}" y2="{y}"/>'
        for column in order[: reached + 1]:
            if column.kind == "segment" and lane not in column.mark:
                tip = column.middle + 6 * onward
                back = tip - 11 * onward
                yield (
                    f'<path class="tip {lane}" d="M{tip:.1f} {y} L{back:.1f} {y - 6} L{back:.1f} {y + 6} Z"/>'
                )
    for column in columns:
        x = column.middle
        if mark := column.mark.get(lane):
            yield _mark(mark, x, y)
        elif lane in column.seen and column.kind == "interface":
            yield f'<circle class="seen {lane}" cx="{x:.1f}" cy="{y}" r="4.5"/>'
        elif lane in column.absent and column.kind == "interface":
            yield f'<circle class="absent" cx="{x:.1f}" cy="{y}" r="5.5"/>'
        for number, (kind, text) in enumerate(column.lines[lane]):
            yield _text(kind, x, y + 24 + number * LINE, text, LONGEST + 6)


def _reached(order: Sequence[Column], lane: str, half: Half) -> int | None:
    """How far along its lane a packet is known to have come."""
    if lane in order[-1].mark and order[-1].mark[lane] == "arrives":
        return len(order) - 1
    reached = max((number for number, column in enumerate(order) if lane in column.seen), default=None)
    if reached is None:
        return None
    if half.disposition in ("delivered-to-segment", "exits-observed-area"):
        reached = min(reached + 1, len(order) - 1)
    return max([reached, *(number for number, column in enumerate(order) if lane in column.mark)])


def _mark(kind: str, x: float, y: float) -> str:
    """A shape of its own for each, so that it does not need its colour."""
    if kind == "stops":
        corners = ((-4, -10), (4, -10), (10, -4), (10, 4), (4, 10), (-4, 10), (-10, 4), (-10, -4))
        points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
        cross = f"M{x - 4:.1f} {y - 4} l8 8 M{x + 4:.1f} {y - 4} l-8 8"
        return f'<polygon class="mark stops" points="{points}"/><path class="sign" d="{cross}"/>'
    if kind == "arrives":
        tick = f"M{x - 4.5:.1f} {y + 0.5} l3.2 3.5 l6 -7"
        return f'<circle class="mark arrives" cx="{x:.1f}" cy="{y}" r="9"/><path class="sign" d="{tick}"/>'
    diamond = f"M{x:.1f} {y - 12} l12 12 l-12 12 l-12 -12 Z"
    return f'<path class="mark unsure" d="{diamond}"/>{_text("sign", x, y + 4.5, "?", 1)}'


def _text(kind: str, x: float, y: float, text: str, columns: int, anchor: str = "middle") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{short(text, columns)}</text>'
    )


# ---- the same in words ---------------------------------------------------------------------------


def _in_words(found: Diagnosis, path: Sequence[Hop]) -> str:
    source, target = flow(found)
    hosts = ", then ".join(
        " ".join(filter(None, (hop.near, hop.host, hop.far if hop.far != hop.near else None))) for hop in path
    )
    told = [f"From {source} to {target}: {hosts}."]
    for name, half in (("request", found.forward), ("reply", found.reply)):
        seen = [
            f"{one.host} {point(one)} {one.action}".replace("  ", " ")
            for one in found.observations
            if lane_of(one.direction) == name and one.direction != ERROR
        ]
        words = "; ".join([*seen[:12], *([f"and {len(seen) - 12} more"] if len(seen) > 12 else [])])
        stops_word = "It stops here: the" if stops_here(found, half) else "The"
        told.append(f"{name.capitalize()}: {words or 'seen nowhere'}. {stops_word} {name} {became(half)}.")
    return " ".join(told)
