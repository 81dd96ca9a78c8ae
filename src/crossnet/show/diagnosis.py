"""A diagnosis for people: what was seen on the way, where it stops, why, and what to do."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from crossnet.show.paint import Paint, plain
from crossnet.show.text import WIDTH
from crossnet.show.visible import one_line
from crossnet.values import Probe
from crossnet.verdict import (
    Action,
    Also,
    Between,
    Confidence,
    Diagnosis,
    Fix,
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


def diagnosis_text(found: Diagnosis, *, paint: Paint = plain) -> str:
    """The verdict on one flow."""
    return "\n".join(_lines(found, paint))


def summary(found: Diagnosis, *, paint: Paint = plain) -> str:
    """The verdict and what to do now, for where the observations stand anyway or nobody needs them."""
    lines = [_headline(found, paint)]
    for half in (found.forward, found.reply):
        if half.code or half.detail:
            lines += _half(half, paint)
    return "\n".join(lines)


def _lines(found: Diagnosis, paint: Paint) -> Iterator[str]:
    yield _headline(found, paint)
    if found.observations:
        yield ""
        yield from _observations(found, paint)
    for half in (found.forward, found.reply):
        if half.code or half.candidates or (half.detail and half.disposition != "delivered"):
            yield ""
            yield from _half(half, paint)
    for number, also in enumerate(found.also):
        if not number:
            yield ""
        yield from _also(also)
    halves = [fix for half in (found.forward, found.reply) for fix in half.fix]
    offered = dict.fromkeys(fix.spec for fix in halves if fix.spec)
    offered |= dict.fromkeys(fix.spec for also in found.also for fix in also.fix if fix.spec)
    if offered:
        yield ""
        for spec in offered:
            said = f"`{spec}`" if spec == "crossnet apply" else one_line(spec)
            yield from _wrapped(f"with crossnet:  {said}", "  ")
    if found.notes:
        yield ""
        for note in found.notes:
            code = f"{note.code}: " if note.code else ""
            yield from _wrapped(f"note: {code}{one_line(note.detail)}", "  ")


def _headline(found: Diagnosis, paint: Paint) -> str:
    source = f" {found.source}" if found.source else ""
    result = paint(_WORDS[found.result], _COLOURS[found.result])
    where = _stop(found)
    return f"{found.client}{source}{_to(found.probe)}   {result}{where}"


def _to(probe: Probe | None) -> str:
    if probe is None:
        return ""
    port = f":{probe.port}" if probe.port is not None else ""
    target = f"[{probe.destination}]" if port and probe.destination.version == 6 else f"{probe.destination}"
    return f" → {target}{port} {probe.protocol}"


def _stop(found: Diagnosis) -> str:
    for what, half in (("", found.forward), ("the reply ", found.reply)):
        if half.code or half.candidates:
            if half.at is None:
                return ""
            return f"   {what}stops {_at(half.at)}"
    return ""


def _at(at: Place | Between) -> str:
    return f"at {one_line(str(at))}" if isinstance(at, Place) else one_line(str(at))


def _observations(found: Diagnosis, paint: Paint) -> Iterator[str]:
    rows = [
        (
            one_line(one.host),
            one_line(one.interface or one.hook or ""),
            f"{one.direction} {one.action}",
            "" if one.action is Action.ABSENT else _packet(one),
        )
        for one in found.observations
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, (row, one) in enumerate(zip(rows, found.observations, strict=True)):
        *words, packet = (word.ljust(width) for word, width in zip(row, widths, strict=True))
        if one.action is Action.ABSENT:
            yield paint(f"  {'  '.join(words)}".rstrip(), "red")
            continue
        when = f"{'+' if number else ''}{one.at * 1000:.1f} ms"
        yield f"  {'  '.join(words)}  {packet}  {when:>10}"


def _packet(one: Observation) -> str:
    """Its ends, and what it is where the direction does not say that already."""
    text = one_line(one.packet).replace(" > ", " → ", 1)
    for said in (" icmp echo request", " icmp echo reply"):
        text = text.removesuffix(said)
    return text


def _half(half: Half, paint: Paint) -> Iterator[str]:
    code = half.code or "not known"
    sure = f" ({half.confidence})" if half.confidence else ""
    yield from _wrapped(f"{paint(code, 'bold')}{sure}: {one_line(half.detail)}", "  ")
    if half.confidence is Confidence.CANDIDATES and len(half.candidates) > 1:
        yield from _wrapped(f"one of, likeliest first: {', '.join(half.candidates)}", "      ")
    for line in half.evidence:
        yield from _wrapped(one_line(line), "      ")
    yield from _fixes(half.fix, "  ")


def _also(also: Also) -> Iterator[str]:
    at = f" {_at(also.at)}" if also.at is not None else ""
    what = _NAMES.get(also.direction, also.direction)
    yield from _wrapped(f"then also, for the {what}{at}: {also.code}: {one_line(also.detail)}", "  ")
    yield from _fixes(also.fix, "    ")


_NAMES = {"forward": "request"}


def _fixes(fixes: tuple[Fix, ...], indent: str) -> Iterator[str]:
    for fix in fixes:
        for number, command in enumerate(fix.commands):
            words = f"fix on {one_line(fix.host)}:"
            yield f"{indent}{words if not number else ' ' * len(words)}  {one_line(command)}"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
