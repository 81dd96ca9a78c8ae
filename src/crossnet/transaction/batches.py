"""Changes of one host that it makes in one step: a thousand routes cost about what one does."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from crossnet.resources import Change, Check, Command, Line, Locate, Look, Step

_STOP, _GO_ON = "stop", "go-on"


@dataclass(frozen=True, slots=True)
class Batch:
    """Neighbours in the order of a host's changes that begin, and are taken back, together: mostly one alone.

    `last` is the number of the last of them among all changes of the host. A batch of which only some were made is
    put back like a whole one: its undo passes over what is not there.
    """

    changes: tuple[Change, ...]
    last: int

    @property
    def what(self) -> str:
        first, *others = self.changes
        more = f" and {len(others)} more" if others else ""
        return f"{first.resource.kind} {first.description}{more}"

    @property
    def steps(self) -> tuple[Step, ...]:
        return self._steps(self.changes, _STOP)

    @property
    def undo(self) -> tuple[Step, ...]:
        return self._steps([change.inverse() for change in reversed(self.changes)], _GO_ON)

    @property
    def looks(self) -> tuple[Look, ...]:
        first, *others = self.changes
        return (_line(first).look,) if others else first.looks

    def checks(self, locate: Locate) -> tuple[Check, ...]:
        return tuple(check for change in self.changes for check in change.checks(locate))

    def failing(self, step: int, said: str) -> tuple[str, ...]:
        """The words of the command that failed, by the number of its step and what its tool said."""
        found = re.search(r"^Command failed -:(\d+)$", said, re.MULTILINE)
        at, step = (int(found[1]), 1) if found and len(self.changes) > 1 else (1, step)
        failed = self.changes[at - 1].steps[step - 1]
        return failed.argv if isinstance(failed, Command) else (str(failed),)

    def _steps(self, changes: Sequence[Change], after_a_failure: str) -> tuple[Step, ...]:
        if len(changes) == 1:
            return changes[0].steps
        lines = [_line(change) for change in changes]
        text = "".join(f"{line.text}\n" for line in lines)
        return (Command((*lines[0].tool, after_a_failure), text.encode()),)


def batched(changes: Sequence[Change], ends: Collection[int] = ()) -> tuple[Batch, ...]:
    """The changes of a host in batches; none goes on behind a number of `ends`, where the host waits for others."""
    return tuple(_batches(changes, frozenset(ends)))


def _batches(changes: Sequence[Change], ends: Collection[int]) -> Iterator[Batch]:
    begun: list[Change] = []
    before: object = None
    for number, change in enumerate(changes):
        group = _group(change)
        if begun and (group is None or group != before or number in ends):
            yield Batch(tuple(begun), number)
            begun = []
        begun.append(change)
        before = group
    if begun:
        yield Batch(tuple(begun), len(changes))


def _group(change: Change) -> object:
    """What changes of one batch have in common, in either direction; None for one that is made for itself."""
    there, back = change.line, change.inverse().line
    if there is None or back is None:
        return None
    return there.tool, there.look, back.tool, back.look


def _line(change: Change) -> Line:
    line = change.line
    assert line is not None, "only changes with lines are in a batch of several"
    return line
