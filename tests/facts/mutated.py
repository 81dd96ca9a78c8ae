"""Answers of real tools, changed at random: what a broken tool, a newer one or a stranger may print."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

from facts.recorded import Failure

SCALARS: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    65536,
    10**30,
    1.5,
    float("inf"),
    "",
    "x",
    "default",
    "10.0.44.0/33",
    "10.0.44.1",
    "fd00:44::1",
    "\x1b[31m",
    "‮",
    "\ud800",
    [],
    {},
    [None],
    [[]],
    [1],
    {"a": 1},
    [{}],
)
PIECES = (
    "\0",
    "\n",
    "\n\n",
    " ",
    "\t",
    "\x1b]0;x\x07",
    "�",
    "\x85",
    " ",
    "-",
    ":",
    "=",
    "[",
    "{",
    '"',
    "9" * 5000,
    "٣",
    "COMMIT\n",
    "*filter\n",
    "-A FORWARD -j\n",
    "create x hash:net\n",
    "add x 1.2.3.4/99\n",
    "failed 0001 1 x y\n",
    "failed 0 0 0 z\n",
    "held 1\n",
)
CODES = (1, 2, 3, 66, 69, 70, 75, 76, 77, 126, 127, 137, 255)


def mutated(draw: Random, answer: Any) -> Any:
    """The answer of a recording, changed in one way or another."""
    way = draw.random()
    if way < 0.08:
        return draw.randbytes(draw.randrange(60)).decode("latin-1")
    if way < 0.16:
        return Failure(draw.choice(CODES), draw.choice(("", "tool: Protocol not supported", "nonsense")))
    if isinstance(answer, list) and all(isinstance(line, str) for line in answer):
        return changed_text(draw, "".join(f"{line}\n" for line in answer))
    if answer is None or isinstance(answer, str):
        return changed_text(draw, answer or "")
    if way < 0.25:
        return changed_text(draw, json.dumps(answer))
    return json.dumps(changed_json(draw, json.loads(json.dumps(answer)), draw.randrange(1, 4)))


def changed_text(draw: Random, text: str) -> str:
    """Lines and words lost, doubled, cut and exchanged, and pieces put in."""
    for _ in range(draw.randrange(1, 4)):
        lines = text.split("\n")
        at = draw.randrange(len(lines))
        words = lines[at].split(" ")
        match draw.randrange(7):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, draw.choice(lines))
            case 2:
                words[draw.randrange(len(words))] = draw.choice((*PIECES, *words))
                lines[at] = " ".join(words)
            case 3:
                del words[draw.randrange(len(words))]
                lines[at] = " ".join(words)
            case 4:
                return text[: draw.randrange(len(text) + 1)]
            case 5:
                place = draw.randrange(len(text) + 1)
                text = text[:place] + draw.choice(PIECES) + text[place:]
                continue
            case 6:
                lines[at] = draw.choice(PIECES) + lines[at]
        text = "\n".join(lines)
    return text


def changed_json(draw: Random, value: Any, times: int) -> Any:
    """A document with some of its nodes exchanged for others."""
    for _ in range(times):
        places = list(_places(value))
        if not places:
            return deepcopy(draw.choice(SCALARS))
        holder, key = draw.choice(places)
        match draw.randrange(4):
            case 0:
                del holder[key]
            case 1:
                other, at = draw.choice(places)
                holder[key] = deepcopy(other[at])
            case _:
                holder[key] = deepcopy(draw.choice(SCALARS))
    return value


def _places(value: Any) -> Any:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])
