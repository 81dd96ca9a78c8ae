"""A program whose lines are read as it prints them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from crossnet.transport.following import Following
from crossnet.transport.local import Local


def heard(script: str, enough: str = "") -> tuple[list[str], Following]:
    """The lines that were read before one said enough, or the program ended."""
    read: list[str] = []

    async def reader(lines: AsyncIterator[str]) -> None:
        async for line in lines:
            read.append(line)
            if line == enough:
                return

    async def follow() -> Following:
        following = Following(Local("here"), ["sh", "-c", script], reader)
        await following.start()
        await following.over.wait()
        await following.stop()
        return following

    return read, asyncio.run(asyncio.wait_for(follow(), 20))


def test_half_a_line_says_nothing() -> None:
    assert heard("printf 'one\\ntwo\\nthr'")[0] == ["one", "two"]


def test_a_program_is_ended_when_it_has_said_enough() -> None:
    assert heard("echo one; echo two; exec sleep 1000", enough="two")[0] == ["one", "two"]


def test_one_that_is_ended_by_a_signal_has_been_heard_to_its_end() -> None:
    read, following = heard("echo one; kill -9 $$")
    assert (read, following.failed) == (["one"], None)
