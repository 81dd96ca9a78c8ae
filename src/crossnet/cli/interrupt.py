"""Ctrl-C, a closed terminal, a kill: ask the work to end once, let it put things back in peace, say how far it is."""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from crossnet.cli.outcome import outcome
from crossnet.cli.printing import printer
from crossnet.cli.progress import say
from crossnet.errors import CrossnetError

if TYPE_CHECKING:
    import asyncio

    from crossnet.site import Ways

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Listener:
    """The handler of these signals from the first line to the last: whatever waits can be interrupted."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._is_over = False
        self.runner: asyncio.Runner | None = None  # of several runs in a row

    def begin(self) -> None:
        for number in _SIGNALS:
            # Who starts us with `nohup` does not want to be hung up on.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self)

    def end(self) -> None:
        """From now on none of them changes anything: what is left takes no time."""
        self._is_over = True

    async def around(self, work: Coroutine[Any, Any, T]) -> T:
        """The work, which the first signal asks to end."""
        import asyncio

        task = self._task = asyncio.ensure_future(work)
        try:
            result: T = await task
            return result
        finally:
            self._task = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        task = self._task
        if self._is_over:
            return
        # Where no transaction is under way nothing has to be put back: the second one waits for nobody.
        if task is None or (task.cancelling() and outcome.phase is None):
            raise KeyboardInterrupt
        # Wakes the loop, too: Python calls a handler between two instructions, or out of a waiting system call.
        task.get_loop().call_soon_threadsafe(_interrupt, task)


def _interrupt(task: asyncio.Task[Any]) -> None:
    from crossnet.events import Phase

    under_way = {
        Phase.BEFORE: "nothing was changed, and what was prepared is cleared away",
        Phase.CHANGING: "the hosts are asked to stop",
        Phase.BACK: "the hosts are being put back",
        Phase.CONFIRMED: "it is confirmed, and is being finished",
    }
    if outcome.phase in (Phase.BACK, Phase.CONFIRMED) or task.cancelling():
        if outcome.phase is not None:
            say(f"crossnet: {under_way[outcome.phase]}; this takes a moment")
    else:
        task.cancel()


listener = _Listener()


def run(work: Coroutine[Any, Any, T], code: Callable[[T], int] | None = None) -> T:
    """Like `asyncio.run`, but only the first signal interrupts: a roll-back is never cut by the second.

    With `code`, which makes an exit code of the result, the work changes hosts: its exit code is settled before
    anything else can happen.
    """
    import asyncio

    outcome.phase = None
    try:
        kept = listener.runner
        with nullcontext(kept) if kept is not None else asyncio.Runner(loop_factory=_loop) as runner:
            return runner.run(listener.around(_settling(work, code) if code is not None else work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        printer.move("")


@contextmanager
def staying() -> Iterator[Ways]:
    """Ways to the hosts on which what one `run` has connected is there for the next one."""
    import asyncio

    from crossnet.site import Ways

    ways = Ways()
    with asyncio.Runner(loop_factory=_loop) as listener.runner:
        try:
            yield ways
        finally:
            try:
                run(ways.close())
            finally:
                listener.runner = None


async def _settling(work: Coroutine[Any, Any, T], code: Callable[[T], int]) -> T:
    try:
        result = await work
    except CrossnetError as error:
        outcome.settle(outcome.truly(error.exit_code))
        raise
    except BaseException:
        outcome.settle(outcome.truly(1))
        raise
    outcome.settle(code(result))
    return result


def _loop() -> asyncio.AbstractEventLoop:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    class NotWaitedFor(ThreadPoolExecutor):
        """Where names are looked up: a name server that does not answer holds nobody up who wants to stop."""

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=True)

    loop = asyncio.new_event_loop()
    loop.set_default_executor(NotWaitedFor())
    return loop
