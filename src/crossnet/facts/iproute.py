"""What `ip -j` prints, and what an `ip` says that cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from crossnet.facts.question import Unanswered, objects, refuse
from crossnet.transport.batch import Answer

_NEEDED = "This version of crossnet needs an `ip` that prints JSON (iproute2 4.17 or later)."


def printed_json(answer: str) -> Any:
    """What it printed; nothing at all is an empty list."""
    answer = answer.strip()
    if answer and not answer.startswith("["):
        raise Unanswered(answer.splitlines()[0][:200], _NEEDED)
    return json.loads(answer or "[]")


def entries(value: Any) -> list[Mapping[str, Any]]:
    """A list of objects; iproute2 also prints empty ones, for what a filter left out."""
    return [entry for entry in objects(value) if entry]


def failed(answer: Answer) -> NoReturn:
    """`Option "-j" is unknown` before 4.13, `invalid option -- 'j'` from busybox."""
    words = answer.error_text
    if "unknown" in words or "invalid option" in words:
        raise Unanswered(words.splitlines()[0][:200], _NEEDED)
    refuse(answer, "ip")
