"""What the readers of iptables' matches have in common: an option's values become statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from crossnet.netfilter.foreign import AnyOf, Field, Numbers, Statement, Test

Reader = Callable[..., tuple[Statement, ...]]

NO_LATER_FRAGMENT = Test((Field.FRAGMENT,), Numbers(((0, 0),)))

# What holds for no packet
NEVER = AnyOf(())


def all_of(negated: bool, tests: Sequence[Test]) -> tuple[Statement, ...]:
    """All these tests hold; negated, one of them does not (and a packet without the field fails that too)."""
    if not negated:
        return tuple(tests)
    turned = tuple(replace(test, negated=not test.negated) for test in tests)
    return turned if len(turned) == 1 else (AnyOf(turned),)


def not_said() -> tuple[Statement, ...]:
    raise ValueError("in no words of the form")
