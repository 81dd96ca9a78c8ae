"""Lines of sh by which a host sees for itself whether a resource is as it should be."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

# Where a host keeps a file: a namespace has its own below a folder of the machine.
Locate = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Test:
    """A line of sh that ends well when something is so; `stdin` is what it reads, None where it reads nothing.

    `functions` are the functions of sh that it calls, each as its text.
    """

    line: str
    stdin: bytes | None = None
    functions: tuple[str, ...] = ()

    @classmethod
    def of(cls, *words: str, stdin: bytes | None = None, function: str = "") -> Self:
        """One command; `function` is its text where it is one of these."""
        return cls(shlex.join(words), stdin, (function,) if function else ())


@dataclass(frozen=True, slots=True)
class Listed:
    """How it is found among many: of the lines that it reads, `test` prints those of which the host has nothing.

    `line` is its own. The test ends well when the host could be asked.
    """

    test: Test
    line: str


IS_ABSENT = """
# is_absent PATH: whether nothing has this name
is_absent() { [ ! -e "$1" ] && [ ! -L "$1" ]; }
"""


def is_absent(path: str) -> Test:
    """Whether nothing has this name."""
    return Test.of("is_absent", path, function=IS_ABSENT)


def is_link(path: str, target: str) -> Test:
    """Whether this name is a symbolic link to there."""
    return Test(f'[ "$(readlink {shlex.quote(path)})" = {shlex.quote(target)} ]')


def both(tests: Iterable[Test]) -> Test:
    """Whether all of this is so, of tests that read nothing."""
    several = tuple(tests)
    functions = dict.fromkeys(function for test in several for function in test.functions)
    return Test(" && ".join(test.line for test in several), functions=tuple(functions))
