"""Ctrl-C, a closed terminal, a kill: ask the work to end once, and let it put things back in peace."""

from __future__ import annotations

import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Like `asyncio.run`, but only the first signal interrupts: a rollback is never cut by the second."""
    import asyncio

    try:
        return asyncio.run(_interruptible(work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    task = asyncio.ensure_future(work)

    def interrupt() -> None:
        if task.cancelling():
            click.echo("crossnet: putting things back; this takes a moment", err=True)
        else:
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt)
    return await task
