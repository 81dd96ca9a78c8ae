"""What an export consists of, and what stands at the top of every document."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

import crossnet
from crossnet.errors import CrossnetError
from crossnet.planning import Plan
from crossnet.resources import Change, Test
from crossnet.show.json import plan_data
from crossnet.show.text import SYMBOLS

WIDTH = 100


class ExportError(CrossnetError):
    """This plan cannot be said in this format; the message says what can be."""


@dataclass(frozen=True, slots=True)
class Document:
    """One file of an export; `host` is None where it is for all of them."""

    name: str
    text: str
    host: str | None = None
    executable: bool = False


def number(plan: Plan) -> str:
    """What tells documents of one plan from those of another: twelve digits of a digest of all it says."""
    text = json.dumps(plan_data(plan), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def origin(plan: Plan) -> str:
    """Which crossnet made it, from which spec and which plan; no folder of the machine where that was."""
    return (
        f"Made by crossnet {crossnet.__version__} from {PurePath(plan.spec.file).name}, plan {number(plan)}."
    )


def story(plan: Plan) -> Iterator[str]:
    """The crossings, and what they open."""
    for path in plan.paths:
        yield from textwrap.wrap(str(path), WIDTH - 4, subsequent_indent="  ")
    if plan.impacts:
        yield ""
        by_hand = any(change.resource.changed_by for _, change in plan.changes)
        yield "What it opens, together with what is changed by hand:" if by_hand else "What it opens:"
    for impact in plan.impacts:
        yield from textwrap.wrap(
            f"- {impact.where}: {impact.text} [{impact.code}]",
            WIDTH - 4,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )


def wrapped(text: str) -> list[str]:
    """A paragraph of a header."""
    return textwrap.wrap(text, WIDTH + 4, break_long_words=False, break_on_hyphens=False)


def described(change: Change) -> str:
    """A change in one line, as the plan shows it."""
    return f"{SYMBOLS[change.action]} {change.resource.kind} {change.description}"


def functions(tests: Iterable[Test]) -> str:
    """The functions of sh that the tests call, each once."""
    return "".join(dict.fromkeys(function for test in tests for function in test.functions))


def printable(line: str) -> str:
    """A line that stays one: some of it is what a host said."""
    return "".join(one if one.isprintable() else "?" for one in line)


def comment(lines: Iterable[str]) -> str:
    """Lines as a comment of sh, YAML, nft and iptables alike."""
    return "".join(f"# {printable(line)}".rstrip() + "\n" for line in lines)
