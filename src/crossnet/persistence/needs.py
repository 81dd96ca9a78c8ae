"""What has to be there after a boot on an interface that somebody keeps, and why it may not be said there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from crossnet.facts import Facts, Unreadable
from crossnet.facts.owners import Owner
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Route

_GOES_ON = re.compile(rb"\\[\r\n]*\Z")


class Unfit(Exception):
    """Why the owner of an interface cannot keep it, in words that follow `because`."""


def file_of_others(facts: Facts, path: str) -> bytes:
    """What stands in a file to which lines may be added at its end; Unfit where that cannot be."""
    state = facts.files.get(path)
    if isinstance(state, Unreadable):
        raise Unfit(f"{path} cannot be read: {state.reason}")
    if state is not None and state.target is not None:
        raise Unfit(f"{path} is a link to {state.target}")
    if state is not None and state.names > 1:
        raise Unfit(f"{path} has another name too (a hard link), under which it would stay as it is")
    data = state.data if state is not None else b""
    if _GOES_ON.search(data):
        raise Unfit(f"the last line of {path} ends with a backslash, and goes on in the next one")
    return data


@dataclass(frozen=True, slots=True)
class Needs:
    """The routes that leave by one interface, and the policy rules that stand before them."""

    owner: Owner
    routes: tuple[Route, ...] = ()
    rules: tuple[PolicyRule, ...] = ()
