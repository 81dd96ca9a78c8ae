"""Everything that crossnet raises on purpose, and the exit code of each.

CrossnetError                 1  it could not be done; nothing was changed
├── SpecError                 1  what is written cannot be meant: file, line, column, nearest word
├── HostError                 1  a host cannot be reached or asked
│   ├── CommandFailed         1  a command on a host answered with an error
│   ├── CloudError            1  a cloud cannot be reached or asked, or says no
│   └── CloudUnasked          1  what a cloud holds for a host is not known
├── HostsFailed               1  the same of several hosts at once
├── PlanRefused               1  the spec is fine, the hosts do not allow it; each refusal has a code
├── StalePlan                 1  the hosts moved since the plan was saved
├── Locked                    5  another transaction is under way on a host
├── ApplyFailed                  the transaction did not end confirmed
│   ├── RolledBack            3  every host was read again and equals its old state
│   ├── RollbackNotProved     4  a host must be looked at
│   └── HostsDisagree         6  some hosts hold it, others went back: `crossnet recover`
├── LabError                  1  the lab on this machine cannot do it
└── Bug                       1  crossnet's own mistake
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar

# `user:password@`, also as a URL writes it: whatever an error repeats, somebody may have written one into it.
_PASSWORD = re.compile(r"(?::|%3[aA])(?!//)(?=\S)")


def without_passwords(text: str) -> str:
    """The text with `…` in the place of each password before an @."""
    *before, rest = text.split("@")
    return "".join(f"{_hidden(part)}@" for part in before) + rest


def _hidden(text: str) -> str:
    """The text without what follows the first colon of its last word."""
    word = len(text) - len(re.split(r"\s", text)[-1])
    found = _PASSWORD.search(text, word)
    return f"{text[: found.end()]}…" if found else text


class CrossnetError(Exception):
    """Root of everything crossnet raises; `str()` is complete enough to be shown to a user as it is.

    No password that stands before an @ is repeated in it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(without_passwords(message))


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a spec, with where it stands; line and column count from 1, 0 is "the whole file"."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        file = self.file.replace("\n", "\\n")
        where = f"{file}:{self.line}:{self.column}" if self.line else file
        return f"{where}: {self.message}"


class SpecError(CrossnetError, ValueError):
    """All mistakes of a spec at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(
            replace(one, file=without_passwords(one.file), message=without_passwords(one.message))
            for one in sorted(problems)
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


class HostError(CrossnetError):
    """A host cannot be reached or asked: what was tried, what was seen, what to do next.

    `is_silent` is whether nothing was heard of it at all, as of a host that will never come back.
    """

    def __init__(self, host: str, tried: str, seen: str, todo: str, *, is_silent: bool = False) -> None:
        self.host, self.is_silent = host, is_silent
        self.tried, self.seen, self.todo = map(without_passwords, (tried, seen, todo))
        # Further lines of what was seen are indented: what a host says never begins a line of ours.
        super().__init__(f"{host}: {tried}: {indented(seen)}\n  {todo}")


class CommandFailed(HostError):
    """A command on a host ended with an error; carries the command, its exit code and its output."""

    def __init__(self, host: str, argv: Sequence[str], returncode: int, stderr: str) -> None:
        self.argv, self.returncode, self.stderr = tuple(argv), returncode, stderr
        super().__init__(
            host,
            f"ran `{shown(argv)}`",
            f"exit code {returncode}: {stderr.strip() or 'no message'}",
            "Run it by hand on the host to see more.",
        )


class Outcome(StrEnum):
    """What became of a change that a cloud was asked for and that did not end well.

    OPEN: it may be made, or may yet be. PASSING: it was not made, and may be when asked again. REFUSED: it was not
    made, and will not be.
    """

    OPEN = "open"
    PASSING = "passing"
    REFUSED = "refused"


class CloudError(HostError):
    """A cloud cannot be reached or asked, or says no; its `host` is `cloud NAME`.

    `status` is that of HTTP, None where nothing answered; `kind` the cloud's own word for it, such as PortNotFound,
    or one of crossnet's where the cloud has none. `is_open` is whether a change may have been made all the same, and
    `is_passing` whether the same request may well be taken later, though nothing was done.
    """

    def __init__(
        self,
        cloud: str,
        tried: str,
        seen: str,
        todo: str,
        *,
        status: int | None = None,
        kind: str = "",
        is_open: bool = False,
        is_passing: bool = False,
    ) -> None:
        super().__init__(f"cloud {cloud}", tried, seen, todo)
        self.cloud, self.status, self.kind, self.is_open = cloud, status, kind, is_open
        self._is_passing = is_passing

    @property
    def outcome(self) -> Outcome:
        """What is known of the change that was asked for, and so whether to ask again."""
        if self.is_open:
            return Outcome.OPEN
        overloaded = self.status is not None and (self.status == 429 or self.status >= 500)
        return Outcome.PASSING if self._is_passing or overloaded else Outcome.REFUSED


class CloudUnasked(HostError):
    """Nothing is known of what a cloud holds for a host: nobody could ask it, or nobody has."""


class HostsFailed(CrossnetError):
    """What went wrong on several hosts, each with its own message; what is the same of all is told once."""

    def __init__(self, errors: Sequence[CrossnetError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(dict.fromkeys(map(str, errors))))


def indented(seen: str) -> str:
    """Text of a host, of which only the first line stands where the text begins."""
    return "\n    ".join(seen.splitlines())


def shown(argv: Sequence[str]) -> str:
    """A command for people: a script that is one of its words is cut to its beginning."""
    return " ".join(_short(word) for word in argv)


def _short(word: str, limit: int = 60) -> str:
    line = word.strip().splitlines()[0] if word.strip() else "''"
    return line if len(line) <= limit and line == word else line[:limit] + " …"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why a plan cannot be made: a stable code, where, what was seen, what to do."""

    code: str
    where: str
    message: str
    todo: str
    candidates: tuple[str, ...] = ()

    def __str__(self) -> str:
        listed = "".join(f"\n    {indented(candidate)}" for candidate in self.candidates)
        return f"{self.where}: {indented(self.message)} [{self.code}]{listed}\n  {self.todo}"


class PlanRefused(CrossnetError):
    """All reasons why no plan can be made from this spec on these hosts."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        self.refusals = tuple(refusals)
        super().__init__("\n".join(str(refusal) for refusal in self.refusals))


class StalePlan(CrossnetError):
    """The hosts are not any more what the plan was made from; `moved` says what moved, each with its host."""

    def __init__(self, message: str, moved: Sequence[str] = (), todo: str = "Make a new plan") -> None:
        self.moved = tuple(map(without_passwords, moved))
        lines = "".join(f"\n    {' '.join(line.splitlines())}" for line in self.moved)
        super().__init__(f"{message}{':' if lines else ''}{lines}\n  Nothing was changed. {todo}.")


class Locked(CrossnetError):
    """Another transaction holds a host.

    `waits` are the seconds for which it is worth to wait while its `state` stays the same; 0 where nobody is at work.
    """

    exit_code = 5

    def __init__(
        self, message: str, *, host: str = "", transaction: str = "", waits: float = 0.0, state: str = ""
    ) -> None:
        super().__init__(message)
        self.host, self.transaction, self.waits, self.state = host, transaction, waits, state


class ApplyFailed(CrossnetError):
    """A transaction that did not end confirmed."""


class RolledBack(ApplyFailed):
    """The change failed, and every host was read again and equals what it was before."""

    exit_code = 3


class RollbackNotProved(ApplyFailed):
    """The change failed, and at least one host could not be shown to equal what it was before."""

    exit_code = 4


class HostsDisagree(ApplyFailed):
    """Some hosts hold the transaction and others have rolled it back."""

    exit_code = 6


class LabError(CrossnetError):
    """The lab cannot be built, found or used on this machine."""


class Bug(CrossnetError):
    """crossnet did something that it must never do."""

    def __init__(self, what: str) -> None:
        super().__init__(f"this is a mistake of crossnet itself, not yours: {what}\n  Please report it.")
