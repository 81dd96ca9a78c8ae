"""What to do about a cause: commands for its host, with the values of the case at hand."""

from __future__ import annotations

import re
from collections.abc import Mapping

from crossnet.diagnosis.course import Course
from crossnet.diagnosis.finding import Finding
from crossnet.diagnosis.fixes import links, ports, programs, routes, rules, settings, translation
from crossnet.diagnosis.fixes.case import Case, Remedying
from crossnet.diagnosis.fixes.rules import engine_of
from crossnet.diagnosis.fixes.translation import NAT_CHAINS
from crossnet.facts import Facts
from crossnet.values import Address, Probe
from crossnet.verdict import Fix

__all__ = ["engine_of", "fix_of"]

# A person pastes it into a shell of root: what a host calls its interfaces and chains is a name there, or there is no
# command.
_NAME = re.compile(r"[A-Za-z0-9_.:@+][A-Za-z0-9_.:@+/-]*")
# What is quoted is one word of it.
_PLAIN = re.compile(r"([A-Za-z0-9 _.,:/@+=-]|'[A-Za-z0-9 _.,:/@+=;-]*')+")

_FIXES: Mapping[str, Remedying] = {
    code: made
    for each in (routes, links, settings, rules, translation, programs, ports)
    for code, made in each.FIXES.items()
}


def fix_of(
    cause: Finding, course: Course, probe: Probe, facts: Mapping[str, Facts], source: Address | None
) -> tuple[Fix, ...]:
    """The commands that take a cause away; none where no command of a managed host does."""
    if cause.host not in facts:
        return ()
    made = _FIXES.get(cause.code)
    chain, remedy = cause.chain, cause.remedy
    names = (cause.interface, remedy.device, remedy.table, *((chain.table, chain.chain) if chain else ()))
    if made is None or not all(_NAME.fullmatch(name) for name in names if name):
        return ()
    fixes = made(Case(cause, course, probe, facts, source))
    return tuple(
        fix for fix in fixes if all(_PLAIN.fullmatch(each) or each in NAT_CHAINS for each in fix.commands)
    )
