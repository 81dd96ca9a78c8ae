"""Who comes second waits as long as somebody is at work and something moves, and no longer."""

from __future__ import annotations

import asyncio

import pytest

from crossnet.errors import CrossnetError, HostError, HostsFailed, Locked
from crossnet.events import Event, Kind
from crossnet.turns import in_turn


def held(state: str, waits: float = 5.0) -> Locked:
    return Locked(
        "app: a transaction is under way", host="app", transaction="1234abcd", waits=waits, state=state
    )


def attempts(*outcomes: CrossnetError | str) -> tuple[str, list[Event]]:
    left, told = list(outcomes), list[Event]()

    async def attempt() -> str:
        outcome = left.pop(0)
        if isinstance(outcome, str):
            return outcome
        raise outcome

    return asyncio.run(in_turn(attempt, told.append)), told


def test_it_goes_on_when_the_other_one_is_done() -> None:
    done, told = attempts(held("1"), "done")
    assert done == "done"
    assert [(event.kind, event.host) for event in told] == [(Kind.WAITS_FOR_OTHERS, "app")]


def test_two_hosts_that_are_held_are_one_lock() -> None:
    assert attempts(HostsFailed([held("1"), held("1")]), "done")[0] == "done"
    with pytest.raises(Locked):
        attempts(HostsFailed([held("1", 0), held("1", 0)]))


def test_nobody_waits_where_nobody_is_at_work_or_a_host_says_something_else() -> None:
    with pytest.raises(Locked):
        attempts(held("1", 0))
    with pytest.raises(HostsFailed):
        attempts(HostsFailed([held("1"), HostError("app", "asked it", "gone", "Look there.")]))
