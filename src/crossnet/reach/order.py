"""What stands at one hook with one priority: in which order, where that is known, and else what all orders agree on.

Of equal priority the kernel enters first what was made last (nf_hook_entries_grow), and a tool lists its own in the
order in which it was made. When another tool, connection tracking or translation came is told by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, permutations
from typing import NamedTuple, TypeAlias

from crossnet.reach.here import Here
from crossnet.reach.rules import Decision, Effect, Place, Walk

_Key: TypeAlias = tuple[Place, Effect, str]


class Step(NamedTuple):
    """One thing at a hook, and whose it is: the order of those that are of one is known.

    `changes` is whether it makes of packets what others see, beside what the rules of the walk count themselves.
    """

    priority: int
    of: str
    run: Callable[[Here], Here]
    changes: bool = False


def by_priority(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """Those of each priority, in the order in which the kernel enters them."""
    for _, together in groupby(sorted(steps, key=_priority), _priority):
        yield list(together)


def _priority(step: Step) -> int:
    return step.priority


def entered(walk: Walk, together: Sequence[Step], here: Here, hook: str) -> Here:
    """What goes on behind all of one priority, whichever comes first."""
    by: dict[str, list[Step]] = {}
    for step in together:
        by.setdefault(step.of, []).append(step)
    begin, before = len(walk.decisions), walk.changes
    first, *others = permutations(by.values())
    after = _run(first, here)
    if not others or (walk.changes == before and not any(step.changes for step in together)):
        # Who only accepts and drops leaves to the others what they would have seen without it.
        return after
    words = f"which of {' and '.join(by)} comes first at {hook}, priority {together[0].priority}"
    decided = _by_place(walk.decisions[begin:])
    for order in others:
        del walk.decisions[begin:]
        other = _run(order, here)
        further = _by_place(walk.decisions[begin:])
        if after.surely != other.surely or decided.keys() != further.keys():
            walk.doubts[words] = None
        after, decided = after.either(other), _agreed(decided, further, words)
    walk.decisions[begin:] = decided.values()
    return after


def _run(order: Sequence[Sequence[Step]], here: Here) -> Here:
    for steps in order:
        for step in steps:
            here = step.run(here) if here else here
    return here


def _by_place(decisions: Iterable[Decision]) -> dict[_Key, Decision]:
    found: dict[_Key, Decision] = {}
    for each in decisions:
        key = each.place, each.effect, each.text
        known = found.get(key)
        found[key] = each if known is None else replace(known, here=known.here.joined(each.here))
    return found


def _agreed(
    some: Mapping[_Key, Decision], others: Mapping[_Key, Decision], words: str
) -> dict[_Key, Decision]:
    """What is decided in either order, and surely what is in both."""
    agreed: dict[_Key, Decision] = {}
    for key in {**some, **others}:
        one, other = some.get(key), others.get(key)
        if one is not None and other is not None:
            here = one.here.either(other.here)
            agreed[key] = (
                replace(one, here=here) if here.surely == one.here.surely else _doubted(one, here, words)
            )
        elif found := one or other:
            agreed[key] = _doubted(found, found.here.perhaps(), words)
    return agreed


def _doubted(decision: Decision, here: Here, words: str) -> Decision:
    return replace(decision, here=here, doubts=tuple(dict.fromkeys((*decision.doubts, words))))
