"""The words of the page; what comes from hosts is escaped here and nowhere else."""

from __future__ import annotations

import re
from html import escape

from crossnet.show.page.hops import stops_here
from crossnet.show.visible import cut, one_line, visible
from crossnet.verdict import Between, Confidence, Diagnosis, Half, Observation, Place, Result

RESULTS = {
    Result.REACHABLE: "Reachable",
    Result.UNREACHABLE: "Not reachable",
    Result.AMBIGUOUS: "Some pass, some do not",
    Result.UNDETERMINED: "Not decided",
}
# Beside the half that has the reason.
FLAGS = {
    Result.UNREACHABLE: "stops here",
    Result.AMBIGUOUS: "some stop here",
    Result.UNDETERMINED: "not decided",
}
SIGNS = {
    Result.REACHABLE: "✓",
    Result.UNREACHABLE: "✕",
    Result.AMBIGUOUS: "≈",
    Result.UNDETERMINED: "?",
}
CONFIDENCE = {
    Confidence.PROVED: "proved",
    Confidence.INFERRED: "inferred by exclusion",
    Confidence.CANDIDATES: "one of several that look the same",
}
_BECAME = {
    "delivered": "arrived",
    "delivered-to-segment": "left for the destination's own network",
    "exits-observed-area": "went on to where nobody watched",
    "dropped": "was dropped",
    "rejected": "was rejected",
    "consumed-locally": "was taken by a host that it was not for",
    "lost-between": "was lost",
    "not-sent": "was not sent",
    "undetermined": "could not be followed to its end",
}


def escaped(text: str) -> str:
    """Text from elsewhere for an attribute or a drawing: one line, nothing in it obeyed."""
    return escape(one_line(text))


def said(text: str) -> str:
    """The same within the page, where a name that is written from right to left turns nothing around it."""
    return f"<bdi>{escaped(text)}</bdi>"


def prose(text: str) -> str:
    """A sentence in which what stands between backticks is a command or a value."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", said(text))


def block(text: str) -> str:
    """Text from elsewhere that has lines of its own."""
    return escape(visible(text))


def short(text: str, columns: int) -> str:
    """The same for a drawing, where so many columns of one line hold it."""
    line = one_line(text)
    kept = cut(line, columns)
    return escape(line if kept == line else f"{cut(line, columns - 1)}…")


def place(at: Place | Between | None) -> str:
    match at:
        case Place():
            return f"at {at}"
        case Between():
            return str(at)
        case None:
            return ""


def flow(found: Diagnosis) -> tuple[str, str]:
    """Who asks whom, as two texts: `app 10.0.43.15`, `10.0.44.1 tcp port 443`."""
    source = str(found.source) if found.source else ""
    client = found.client if source in ("", found.client) else f"{found.client} {source}"
    probe = found.probe
    if probe is None:
        return client, ""
    port = f" port {probe.port}" if probe.port is not None else ""
    return client, f"{probe.destination} {probe.protocol}{port}"


def became(half: Half) -> str:
    """What became of a half: `was dropped at gateway eth1`."""
    if half.disposition == "not-sent" and isinstance(half.at, Place):
        return f"did not leave {half.at}"
    if half.disposition == "undetermined" and half.at:
        return f"was lost sight of {place(half.at)}"
    return f"{_BECAME.get(half.disposition, half.disposition)} {place(half.at)}".strip()


def reason(found: Diagnosis) -> tuple[str, Half] | None:
    """The half that has the reason why it does not pass, by name."""
    halves = (("request", found.forward), ("reply", found.reply))
    return next((each for each in halves if stops_here(found, each[1])), None)


def headline(found: Diagnosis) -> str:
    """Where it stops, in one sentence."""
    if found.result is Result.REACHABLE:
        return "The request arrives, and the reply comes back."
    if why := reason(found):
        name, half = why
        some = "Some of what is sent stops here: the" if found.result is Result.AMBIGUOUS else "The"
        return f"{some} {name} {became(half)}."
    return f"The request {became(found.forward)}; the reply {became(found.reply)}."


def moment(seconds: float) -> str:
    """A time since the first packet: `0 ms`, `+0.12 ms`, `+1.0200 s`."""
    if abs(seconds) >= 1:
        return f"{seconds:+.4f} s"
    return f"{seconds * 1000:+.2f} ms" if seconds else "0 ms"


def point(one: Observation) -> str:
    """Where on its host something was seen: `eth1`, `hook forward`, `eth0 at postrouting`."""
    hook = f"hook {one.hook}" if one.hook and not one.interface else f"at {one.hook}" if one.hook else ""
    return f"{one.interface or ''} {hook}".strip()
