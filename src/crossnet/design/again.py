"""What brings back on a host itself what others take away there, of what is really written for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossnet.persistence import heal, init_scripts, rules, start
from crossnet.resources import InitScript, Resource, Service


@dataclass(frozen=True, slots=True)
class Again:
    """What loads all of it `at_boot`, at its end, in words, nothing where nothing does; `paths` are the files.

    `around_units`: crossnet's own units load the rules again around the units of other firewalls; `heals`: whatever is
    taken away comes back within seconds.
    """

    at_boot: str = ""
    around_units: bool = False
    heals: bool = False
    paths: frozenset[str] = frozenset()

    @property
    def until(self) -> str:
        """Until when that stays away which nothing but a boot brings back."""
        return "the next boot or `crossnet apply`" if self.at_boot else "`crossnet apply`"


def again(written: Sequence[Resource]) -> Again:
    """What of it the resources for the next boot do."""
    units = {each.unit for each in written if isinstance(each, Service)}
    scripts = {each.name for each in written if isinstance(each, InitScript)}
    by_script = "crossnet's init script" if init_scripts.SCRIPT in scripts else ""
    return Again(
        start.UNIT if start.UNIT in units else by_script,
        rules.CLOSE in units,
        heal.UNIT in units,
        frozenset(path for each in written for path in each.paths),
    )
