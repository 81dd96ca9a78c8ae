"""What is done to its end whoever wants to stop: putting back, and what follows a decision."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from crossnet.errors import Bug, CrossnetError, HostError, HostsFailed

T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which goes on to its end whoever wants to stop."""
    task = asyncio.ensure_future(work)
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise


# What one host may do to such work, or a mistake of our own: it is told, and the other hosts come to their end.
FAILURES = (Exception, asyncio.CancelledError)


async def told(work: Coroutine[Any, Any, T]) -> T:
    """The same result; any failure is an error of crossnet, which is told beside those of other hosts."""
    try:
        return await work
    except CrossnetError:
        raise
    except FAILURES as error:
        raise CrossnetError(reason(error)) from error


_LONGEST = 300  # characters of why something ended, where one line of a history has to hold it


def in_short(cause: BaseException) -> str:
    """The same in one line, without what to do about it.

    A host that is told it gets it as an argument, which ends at a NUL (execve(2)): what cannot be printed is a "?".
    """
    match cause:
        case HostError():
            said = f"{cause.host}: {cause.tried}: {cause.seen}"
        case HostsFailed():
            said = "; ".join(map(in_short, cause.errors))
        case _:
            said = reason(cause)
    line = " ".join(said.split())[:_LONGEST]
    return "".join(sign if sign.isprintable() else "?" for sign in line)


def reason(cause: BaseException) -> str:
    """Why something ended, for people; an exception that crossnet does not raise on purpose is its own mistake."""
    if isinstance(cause, asyncio.CancelledError | KeyboardInterrupt):
        return "interrupted"
    return str(cause if isinstance(cause, CrossnetError) else Bug(f"{type(cause).__name__}: {cause}"))
