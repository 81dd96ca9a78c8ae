"""What `crossnet adopt` says: what stands there, what of it is wider than needed, and the plan that narrows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from crossnet.show.fixing import fixes_text
from crossnet.show.json import fix_data, plan_data
from crossnet.show.paint import Paint, plain
from crossnet.show.text import WIDTH, plan_text
from crossnet.show.visible import one_line
from crossnet.show.wrapping import wrap

if TYPE_CHECKING:
    from crossnet.adoption.finding import Finding
    from crossnet.api import Adoption


def adoption_text(found: Adoption, *, verbose: bool = False, paint: Paint = plain) -> str:
    """The findings with what mends them, then the plan."""
    lines: list[str] = []
    for title, stops in (
        ("nothing gets through today", True),
        ("wider than needed, or gone at the next boot", False),
    ):
        here = [each for each in found.findings if each.stops is stops]
        if here:
            lines += ["", paint(title, "bold"), *(line for each in here for line in _finding(each))]
        elif not stops:
            lines += ["", "Nothing of it is wider than needed."]
    return "\n".join([*lines[1:], "", plan_text(found.plan, verbose=verbose, paint=paint)])


def _finding(found: Finding) -> Iterator[str]:
    mended = "; `crossnet apply` mends it" if found.by_crossnet else ""
    words = f"{one_line(found.where)}: {one_line(found.text)}{mended}  [{found.code}]"
    yield from wrap(words, WIDTH, initial_indent="  ", subsequent_indent="      ")
    yield from fixes_text(found.fix, "      ")


def adoption_data(found: Adoption) -> dict[str, Any]:
    """The same for programs; `text` is the spec."""
    return {
        "text": found.spec.source,
        "findings": [
            {
                "code": each.code,
                "where": each.where,
                "text": each.text,
                "by_crossnet": each.by_crossnet,
                "fix": [fix_data(fix) for fix in each.fix],
            }
            for each in found.findings
        ],
        "plan": plan_data(found.plan),
    }
