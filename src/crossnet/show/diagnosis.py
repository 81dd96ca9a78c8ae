"""A diagnosis for people: what was seen on the way, where it stops, why, and what to do."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from crossnet.show.fixing import LONGEST, fixes_text
from crossnet.show.paint import Paint, plain
from crossnet.show.text import WIDTH
from crossnet.show.visible import one_line
from crossnet.show.wrapping import wrap
from crossnet.values import Probe
from crossnet.verdict import (
    Action,
    Also,
    Between,
    Confidence,
    Diagnosis,
    Half,
    Observation,
    Place,
    Result,
)

_COLOURS = {
    Result.REACHABLE: "green",
    Result.UNREACHABLE: "red",
    Result.AMBIGUOUS: "yellow",
    Result.UNDETERMINED: "yellow",
}
_WORDS = {
    Result.REACHABLE: "REACHABLE",
    Result.UNREACHABLE: "NOT REACHABLE",
    Result.AMBIGUOUS: "SOMETIMES REACHABLE",
    Result.UNDETERMINED: "NOT DETERMINED",
}

_TIME = 10  # columns of a time, such as `+1109.4 ms`
_LEAST = 24  # columns for a packet; with less it stands below its point


def diagnosis_text(found: Diagnosis, *, paint: Paint = plain, width: int = LONGEST) -> str:
    """The verdict on one flow; `width` are the columns of the terminal that shows it."""
    return "\n".join(_lines(found, paint, width))


def summary(found: Diagnosis, *, paint: Paint = plain, width: int = LONGEST) -> str:
    """The verdict and what to do now, for where the observations stand anyway or nobody needs them."""
    lines = _headline(found, paint, width)
    for half in (found.forward, found.reply):
        if half.code or half.detail:
            lines += _half(half, paint, width)
    return "\n".join(lines)


def _lines(found: Diagnosis, paint: Paint, width: int) -> Iterator[str]:
    yield from _headline(found, paint, width)
    if found.observations:
        yield ""
        yield from _observations(found, paint, width)
    for half in (found.forward, found.reply):
        if half.code or half.candidates or (half.detail and half.disposition != "delivered"):
            yield ""
            yield from _half(half, paint, width)
    for number, also in enumerate(found.also):
        if not number:
            yield ""
        yield from _also(also, width)
    halves = [fix for half in (found.forward, found.reply) for fix in half.fix]
    offered = dict.fromkeys(fix.by_crossnet for fix in halves if fix.by_crossnet)
    offered |= dict.fromkeys(fix.by_crossnet for also in found.also for fix in also.fix if fix.by_crossnet)
    if offered:
        yield ""
        for way in offered:
            said = f"`{way}`" if way.startswith("crossnet ") else one_line(way)
            yield from _wrapped(f"with crossnet:  {said}", "  ", width)
    if found.notes:
        yield ""
        for note in found.notes:
            code = f"{note.code}: " if note.code else ""
            yield from _wrapped(f"note: {code}{one_line(note.detail)}", "  ", width)


def _headline(found: Diagnosis, paint: Paint, width: int) -> list[str]:
    source = f" {found.source}" if found.source else ""
    flow = f"{found.client}{source}{_to(found.probe)}"
    parts = [(flow, flow), (_WORDS[found.result], paint(_WORDS[found.result], _COLOURS[found.result]))]
    lines, columns = [""], -3
    for plain_words, words in (*parts, *((where, where) for where in _stop(found))):
        columns += 3 + len(plain_words)
        if columns > width and lines[-1]:
            lines.append(f"    {words}")
            columns = 4 + len(plain_words)
        else:
            lines[-1] += f"   {words}" if lines[-1] else words
    return lines


def _to(probe: Probe | None) -> str:
    if probe is None:
        return ""
    port = f":{probe.port}" if probe.port is not None else ""
    target = f"[{probe.destination}]" if port and probe.destination.version == 6 else f"{probe.destination}"
    return f" → {target}{port} {probe.protocol}"


def _stop(found: Diagnosis) -> Iterator[str]:
    for what, half in (("", found.forward), ("the reply ", found.reply)):
        if half.code or half.candidates:
            if half.at is not None:
                yield f"{what}stops {_at(half.at)}"
            return


def _at(at: Place | Between) -> str:
    return f"at {one_line(str(at))}" if isinstance(at, Place) else one_line(str(at))


def _observations(found: Diagnosis, paint: Paint, width: int) -> Iterator[str]:
    rows = [
        (
            one_line(one.host),
            one_line(one.interface or one.hook or ""),
            f"{one.direction} {one.action}",
        )
        for one in found.observations
    ]
    packets = ["" if one.action in _ENDS else _packet(one) for one in found.observations]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    begin = 2 + sum(widths) + 2 * len(widths)
    room = width - begin - 2 - _TIME
    beside = room >= _LEAST
    indent = " " * (begin if beside else 6)
    room = room if beside else width - len(indent)
    told = [textwrap.wrap(packet, room, break_on_hyphens=False) or [""] for packet in packets]
    widest = max(len(line) for lines in told for line in lines)
    for number, (row, one) in enumerate(zip(rows, found.observations, strict=True)):
        words = "  ".join(word.ljust(columns) for word, columns in zip(row, widths, strict=True))
        if one.action in _ENDS:
            at = f"  at {one.hook}" if one.hook and one.interface else ""
            yield paint(f"  {words if at else words.rstrip()}{at}", "red")
            continue
        when = f"{'+' if number else ''}{one.at * 1000:.1f} ms".rjust(_TIME)
        first, *more = told[number]
        yield f"  {words}  {f'{first.ljust(widest)}  ' if beside else ''}{when}"
        yield from (f"{indent}{line}" for line in (more if beside else told[number]))


# When these were is not seen.
_ENDS = frozenset({Action.ABSENT, Action.DROPPED, Action.REJECTED})


def _packet(one: Observation) -> str:
    """Its ends, and what it is where the direction does not say that already."""
    text = one_line(one.packet).replace(" > ", " → ", 1)
    for said in (" icmp echo request", " icmp echo reply"):
        text = text.removesuffix(said)
    return text


def _half(half: Half, paint: Paint, width: int) -> Iterator[str]:
    code = half.code or "not known"
    sure = f" ({half.confidence})" if half.confidence else ""
    yield from _wrapped(f"{paint(code, 'bold')}{sure}: {one_line(half.detail)}", "  ", width)
    if half.confidence is Confidence.CANDIDATES and len(half.candidates) > 1:
        yield from _wrapped(f"one of, likeliest first: {', '.join(half.candidates)}", "      ", width)
    for line in half.evidence:
        yield from _wrapped(one_line(line), "      ", width)
    yield from fixes_text(half.fix, "  ", width)


def _also(also: Also, width: int) -> Iterator[str]:
    at = f" {_at(also.at)}" if also.at is not None else ""
    what = _NAMES.get(also.direction, also.direction)
    words = f"then also, for the {what}{at}: {also.code}: {one_line(also.detail)}"
    yield from _wrapped(words, "  ", width)
    yield from fixes_text(also.fix, "    ", width)


_NAMES = {"forward": "request"}


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return wrap(text, min(width, WIDTH), initial_indent=indent, subsequent_indent=f"{indent}    ")
