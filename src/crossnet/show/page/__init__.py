"""A diagnosis as one page for a browser: `page`."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from string import Template

from crossnet import __version__
from crossnet.show.page.drawing import drawing
from crossnet.show.page.hops import ENDS, stops_here
from crossnet.show.page.timeline import timeline
from crossnet.show.page.words import (
    CONFIDENCE,
    FLAGS,
    RESULTS,
    SIGNS,
    became,
    block,
    escaped,
    flow,
    headline,
    moment,
    place,
    point,
    prose,
    reason,
    said,
)
from crossnet.verdict import Diagnosis, Fix, Half, Observation

# So much of each list is printed; the rest is counted there.
PRINTED = 6
PRINTED_OBSERVATIONS = 16

# Pixels a unit of the drawing below which its letters are too small: in a narrow window it is moved instead.
LEGIBLE = 0.85

# A sheet of A4 without its margins, in mm, and the largest that a drawing takes of it (page.css).
SHEET_WIDTH, SHEET_HEIGHT, DRAWN = 192, 279, 54

# What a printed line takes, in mm for each point of its letters; and what title, headings and foot take, in lines.
LINE_HEIGHT, FRAME_LINES = 0.5, 13


def page(found: Diagnosis) -> str:
    """The diagnosis as one HTML file that asks nothing of any network: it can be sent, kept and printed as it is.

    What comes from hosts is only ever text in it. Its policy (CSP) allows its own style and its own script, by their
    hashes, and nothing else.
    """
    client, target = flow(found)
    halves = [_half("Request", found, found.forward), _half("Reply", found, found.reply)]
    body = {
        "lead": _lead(found),
        "path": drawing(found),
        "halves": "\n".join(halves),
        "fix": _fixes(found),
        "also": _also(found),
        "notes": _notes(found),
        "time": timeline(found) if found.observations else "",
        "observations": _observations(found.observations),
    }
    rest = "".join(body[name] for name in ("lead", "fix", "also", "notes", "observations"))
    printed = _printed_size(body["path"] + body["time"], halves, rest)
    narrow = _sizes(body["path"])[0][0] * LEGIBLE
    style = (
        f"{_asset('page.css')}@media screen {{ .path {{ min-width: {narrow:.0f}px; }} }}\n"
        f"@media print {{ html {{ font-size: {printed:.2f}pt; }} }}\n"
    )
    script = _asset("page.js")
    return Template(_asset("page.html")).substitute(
        body,
        title=f"{RESULTS[found.result]}: {escaped(client)} → {escaped(target)}",
        style=style,
        script=script,
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        kind=str(found.result),
        timed="" if found.observations else "hidden",
        version=__version__,
    )


@cache
def _asset(name: str) -> str:
    return files("crossnet.show.page").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _printed_size(drawings: str, halves: Iterable[str], rest: str) -> float:
    """The size of letters, in points, at which what is printed of a page stays on one sheet."""
    height = float(SHEET_HEIGHT)
    for width, tall in _sizes(drawings):
        height -= min(DRAWN, tall / width * SHEET_WIDTH)
    lines = max(_printed_lines(half, 50) for half in halves) + _printed_lines(rest, 100) + FRAME_LINES
    return min(8.6, height / lines / LINE_HEIGHT)


def _sizes(drawings: str) -> list[tuple[int, int]]:
    """Width and height of each drawing, in its own units."""
    return [(int(wide), int(tall)) for wide, tall in re.findall(r'viewBox="0 0 (\d+) (\d+)"', drawings)]


def _printed_lines(body: str, columns: int) -> float:
    """The lines of a part on paper, each section and command with the room around it."""
    printed = re.sub(r"<(li|tr) class=\"?more.*?</\1>", "", body, flags=re.DOTALL)
    texts = (re.sub("<[^>]*>", "", line) for line in re.split(r"</(?:p|li|tr|h[1-4]|thead)>|\n", printed))
    lines = sum(math.ceil(len(text) / columns) for text in texts)
    return lines + 1.6 * printed.count("<h2") + 1.2 * printed.count("<pre") + 0.2 * printed.count("<tr")


# ---- the parts -----------------------------------------------------------------------------------


def _lead(found: Diagnosis) -> str:
    client, target = flow(found)
    crossing = f'<p class="crossing">Crossing {said(found.crossing)}</p>' if found.crossing else ""
    because = ""
    if (why := reason(found)) and why[1].code and why[1].detail:
        because = f'\n<p class="because"><code>{said(why[1].code)}</code>: {prose(why[1].detail)}</p>'
    return (
        f"<h1>{said(client)} <span>→</span> {said(target)}</h1>\n{crossing}"
        f'<p class="result"><span class="sign" aria-hidden="true">{SIGNS[found.result]}</span> '
        f"{RESULTS[found.result]}</p>\n<p class='headline'>{said(headline(found))}</p>{because}"
    )


def _half(name: str, found: Diagnosis, half: Half) -> str:
    is_end = stops_here(found, half)
    flag = f'<span class="flag">{FLAGS[found.result]}</span>' if is_end else ""
    parts = [
        f'<section class="half{" ends" if is_end else ""}"><h3>{name} {flag}</h3>',
        f'<p class="became">{said(_capital(became(half)))}</p>',
    ]
    if half.code:
        sure = f" <span>{CONFIDENCE[half.confidence]}</span>" if half.confidence else ""
        parts.append(f'<p class="code"><code>{said(half.code)}</code>{sure}</p>')
    if half.detail:
        parts.append(f"<p>{prose(half.detail)}</p>")
    if half.candidates:
        names = ", ".join(f"<code>{said(one)}</code>" for one in half.candidates)
        parts.append(f'<p class="candidates">Likeliest first: {names}</p>')
    if half.evidence:
        parts += ["<h4>Evidence</h4>", _list(prose(one) for one in half.evidence)]
    return "\n".join([*parts, "</section>"])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _list(items: Iterable[str], kind: str = "ul") -> str:
    return f"<{kind}>{_some('li', list(items), PRINTED)}</{kind}>"


def _some(tag: str, items: Sequence[str], most: int) -> str:
    """Items, of which those beyond what is printed are marked, and counted on paper."""
    shown = [
        f"<{tag}{' class=more' if number >= most else ''}>{item}</{tag}>" for number, item in enumerate(items)
    ]
    if len(items) > most:
        shown.append(f'<{tag} class="left">… and {len(items) - most} more in the page itself</{tag}>')
    return "".join(shown)


def _fixes(found: Diagnosis) -> str:
    fixes = [*found.forward.fix, *found.reply.fix]
    if not fixes:
        return ""
    return _section("fix", "Fix", "".join(_fix(fix) for fix in dict.fromkeys(fixes)))


def _fix(fix: Fix) -> str:
    parts = []
    if fix.commands:
        lines = "\n".join(escaped(command) for command in fix.commands)
        parts.append(_copied(f"On {said(fix.host)}", f"commands for {fix.host}", lines))
        if fix.warning:
            parts.append(f"<p>{said(fix.warning)}</p>")
    if fix.by_crossnet:
        parts.append(_copied("With crossnet", "what crossnet does", block(fix.by_crossnet)))
    return f'<div class="fix">{"".join(parts)}</div>'


def _copied(title: str, what: str, text: str) -> str:
    return (
        f'<div class="copied"><p>{title}</p>'
        f'<button type="button" class="copy" aria-label="Copy {escaped(what)}">Copy</button>'
        f"<pre><code>{text}</code></pre></div>"
    )


def _also(found: Diagnosis) -> str:
    if not found.also:
        return ""
    items = []
    for also in found.also:
        lane = "reply" if also.direction == "reply" else "request"
        where = f" {said(place(also.at))}" if also.at else ""
        detail = f": {prose(also.detail)}" if also.detail else ""
        fixes = "".join(_fix(fix) for fix in also.fix)
        items.append(f"<code>{said(also.code)}</code>, the {lane}{where}{detail}{fixes}")
    words = "<p>When that is mended, this stops the flow next, in this order:</p>"
    return _section("also", "Then also", words + _list(items, "ol"))


def _notes(found: Diagnosis) -> str:
    if not found.notes:
        return ""
    items = (
        (f"<code>{said(note.code)}</code>: " if note.code else "") + prose(note.detail)
        for note in found.notes
    )
    return _section("notes", "Notes", _list(items))


def _section(name: str, title: str, inside: str) -> str:
    return f'<section class="{name}" aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{inside}</section>'


def _observations(observations: Sequence[Observation]) -> str:
    if not observations:
        return "<p>No packet was observed.</p>"
    has_more = {"Translation": "translation", "By": "by"}
    extra = [name for name, key in has_more.items() if any(getattr(one, key) for one in observations)]
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("Time", "Host", "Point", "What", "Packet", *extra)
    )
    rows = [
        "".join(_cells(one, [getattr(one, has_more[name]) or "" for name in extra])) for one in observations
    ]
    shown = []
    for number, (one, row) in enumerate(zip(observations, rows, strict=True)):
        kinds = [
            *(["more"] if number >= PRINTED_OBSERVATIONS else []),
            *(["ends"] if one.action in ENDS else []),
        ]
        shown.append(f'<tr class="{" ".join(kinds)}">{row}</tr>' if kinds else f"<tr>{row}</tr>")
    if (left := len(rows) - PRINTED_OBSERVATIONS) > 0:
        words = f"… and {left} more in the page itself"
        shown.append(f'<tr class="left"><td colspan="{5 + len(extra)}">{words}</td></tr>')
    return (
        "<table><caption>What was seen at each point, and what was waited for in vain</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(shown)}</tbody></table>"
    )


def _cells(one: Observation, extra: Sequence[str]) -> Iterator[str]:
    yield f'<td class="at">{moment(one.at)}</td><th scope="row">{said(one.host)}</th><td>{said(point(one))}</td>'
    yield f'<td>{said(f"{one.direction} {one.action}")}</td><td class="packet">{said(one.packet)}</td>'
    yield from (f'<td class="packet">{said(text)}</td>' for text in extra)


__all__ = ["page"]
