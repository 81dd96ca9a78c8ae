"""A fault: one thing that a lab can break on a path that works, and how to put exactly that back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A command for a host of the lab; where `on_switch` is set, `host` is a network and its switch runs it."""

    host: str
    argv: tuple[str, ...]
    on_switch: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """`what` is one line for `crossnet lab break --list`; `codes` are what a diagnosis may call it, the best first.

    What the steps of `keeps` print is kept while the fault lasts, and all others get it on their standard input. A
    step of `heals` whose thing is gone already has nothing to do.
    """

    name: str
    what: str
    codes: tuple[str, ...]
    breaks: tuple[Step, ...]
    heals: tuple[Step, ...]
    keeps: tuple[Step, ...] = ()

    @property
    def place(self) -> str:
        """The host, or the network whose switch, is broken."""
        first = self.heals[0]
        return f"the switch of {first.host}" if first.on_switch else first.host
