"""What has to be there after a boot on an interface that somebody keeps, and why it may not be said there."""

from __future__ import annotations

from dataclasses import dataclass

from crossnet.facts.owners import Owner
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Route


class Unfit(Exception):
    """Why the owner of an interface cannot keep it, in words that follow `because`."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The routes that leave by one interface, and the policy rules that stand before them."""

    owner: Owner
    routes: tuple[Route, ...] = ()
    rules: tuple[PolicyRule, ...] = ()
