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
from queue import Empty, Queue
from threading import Thread

from crossnet.show.paint import printable
from crossnet.show.visible import cut

OUT, ERR = 1, 2

_ESCAPED = "crossnet.escaped"


_TICK = 1.0  # seconds between two looks of the line that moves


class Printer:
    """Standard output for results, standard error for progress and errors.

    In a terminal progress may be one line that moves: it is drawn below all that is printed, and told anew each second.
    """

    def __init__(self) -> None:
        self._lost: dict[int, OSError] = {}
        self._lines: Queue[tuple[int, bytes]] = Queue()
        self._thread: Thread | None = None
        self._moving = ""
        self._drawn = 0  # columns that the line takes now
        self._is_in_line = False  # what was printed last has no end of its line yet
        self._began = time.monotonic()
        self.has_result = False  # whether anything went to standard output

    def out(self, text: str, *, end: str = "\n") -> None:
        self.has_result = self.has_result or bool(text + end)
        self._put(OUT, text + end)

    def err(self, text: str, *, end: str = "\n") -> None:
        self._put(ERR, text + end)

    @property
    def seconds(self) -> float:
        """For how long the command runs."""
        return time.monotonic() - self._began

    @staticmethod
    def can_move() -> bool:
        """Whether standard error is a terminal on which a line can be drawn again."""
        return os.isatty(ERR) and os.environ.get("TERM", "dumb") != "dumb"

    def move(self, text: str) -> None:
        """From now on this is the line that moves; without a text there is none."""
        if text or self._moving:
            self._moving = text
            self._put(ERR, "")

    @staticmethod
    def has_colours(*, no_color: bool) -> bool:
        return os.isatty(OUT) and not no_color and not os.environ.get("NO_COLOR")

    @staticmethod
    def columns() -> int | None:
        """How many columns the terminal has that results go to; None where that is none, or it does not say."""
        try:
            return os.get_terminal_size(OUT).columns or None
        except OSError:
            return None

    def lost(self, number: int) -> OSError | None:
        """Why not all of it could be written there; None where it was."""
        return self._lost.get(number)

    @staticmethod
    def is_deserted(number: int) -> bool:
        """Whether whoever reads there has gone: of a pipe, or a terminal that was closed."""
        there = select.poll()
        there.register(number, 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in there.poll(0))

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
        self._lines.put((number, printable(text).encode(_encoding(number), _ESCAPED)))

    def _write(self) -> None:
        # Signals are the main thread's: one that came here would not wake it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            try:
                number, left = self._lines.get(timeout=_TICK if self._moving else None)
            except Empty:
                if not self._is_in_line:
                    self._draw()
                continue
            if left and self._drawn:
                self._write_all(ERR, self._erased())
            self._write_all(number, left)
            if left:
                self._is_in_line = not left.endswith(b"\n")
            if self._lines.empty() and not self._is_in_line:
                self._draw()
            self._lines.task_done()

    def _write_all(self, number: int, left: bytes) -> None:
        try:
            while left and number not in self._lost:
                left = left[_write_some(number, left) :]
        except OSError as error:
            self._lost[number] = error

    def _draw(self) -> None:
        """The line that moves as it is now, in the place of what it was."""
        text = printable(self._moving).replace("\n", " ").replace("\t", " ")
        old = self._erased()
        if text:
            encoding = _encoding(ERR)
            told = f"… {self.seconds:.0f} s  {text}".encode(encoding, _ESCAPED).decode(encoding)
            text = cut(told, _columns() - 1)
            self._drawn = 2 * len(text)  # no letter takes more than two columns
        self._write_all(ERR, old + text.encode(_encoding(ERR), _ESCAPED))

    def _erased(self) -> bytes:
        r"""What takes the line away: blanks, because not every terminal knows how to erase."""
        columns = min(self._drawn, _columns() - 1)
        self._drawn = 0
        return b"\r" + b" " * columns + b"\r" if columns > 0 else b""


def _encoding(number: int) -> str:
    stream = sys.__stdout__ if number == OUT else sys.__stderr__
    return stream.encoding if stream is not None else "utf-8"


def _columns() -> int:
    try:
        return os.get_terminal_size(ERR).columns or 80
    except OSError:
        return 80


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
