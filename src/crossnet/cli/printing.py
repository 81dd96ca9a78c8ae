"""The one place that prints: escaped, in order, and with no say in what happens.

A thread of its own writes, because a terminal that stands still (Ctrl-S, a reader that is not fast enough) must not
keep a transaction from its guard; and it never raises, because a reader that has gone must not end a roll-back. What
could not be written is known afterwards.
"""

from __future__ import annotations

import codecs
import errno
import os
import select
import signal
import sys
import time
from queue import Queue
from threading import Thread

from crossnet.show.paint import printable

OUT, ERR = 1, 2

_ESCAPED = "crossnet.escaped"


class Printer:
    """Standard output for results, standard error for progress and errors."""

    def __init__(self) -> None:
        self._lost: dict[int, OSError] = {}
        self._lines: Queue[tuple[int, bytes]] = Queue()
        self._thread: Thread | None = None

    def out(self, text: str, *, end: str = "\n") -> None:
        self._put(OUT, text + end)

    def err(self, text: str, *, end: str = "\n") -> None:
        self._put(ERR, text + end)

    @staticmethod
    def has_colours(*, no_color: bool) -> bool:
        return os.isatty(OUT) and not no_color and not os.environ.get("NO_COLOR")

    def lost(self, number: int) -> OSError | None:
        """Why not all of it could be written there; None where it was."""
        return self._lost.get(number)

    def drain(self) -> None:
        """Wait until all is written, or known to be lost."""
        self._lines.join()

    def drain_within(self, seconds: float) -> None:
        """The same for somebody who does not want to wait for a terminal that stands still."""
        until = time.monotonic() + seconds
        while self._lines.unfinished_tasks and time.monotonic() < until:
            time.sleep(0.01)

    def _put(self, number: int, text: str) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._write, name="printer", daemon=True)
            self._thread.start()
        stream = sys.__stdout__ if number == OUT else sys.__stderr__
        encoding = stream.encoding if stream is not None else "utf-8"
        self._lines.put((number, printable(text).encode(encoding, _ESCAPED)))

    def _write(self) -> None:
        # Signals are the main thread's: one that came here would not wake it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            number, left = self._lines.get()
            try:
                while left and number not in self._lost:
                    left = left[_write_some(number, left) :]
            except OSError as error:
                self._lost[number] = error
            finally:
                self._lines.task_done()


def _write_some(number: int, left: bytes) -> int:
    try:
        return os.write(number, left)
    except BlockingIOError:  # whoever shares the terminal or pipe with us has made it so
        select.select([], [number], [])
        return 0


def _escaped(error: UnicodeError) -> tuple[str, int]:
    r"""What a locale does not have, such as an arrow in that of `LC_ALL=C`, as `\u2192`: JSON stays JSON."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4)), error.end


codecs.register_error(_ESCAPED, _escaped)


def keep_numbers() -> None:
    """Take the numbers of the standard streams where they are closed (`>&-`): nothing else may get them.

    Else the next file or connection would be what we print into.
    """
    for number in (0, OUT, ERR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # the lowest number that is free


def is_reader_gone(error: OSError) -> bool:
    """Whether it is only that nobody reads any more (`crossnet plan | head`, a terminal that was closed)."""
    return error.errno in (errno.EPIPE, errno.EIO)


printer = Printer()
