"""Files of the operator on this machine: read within limits; written new, whole or not at all.

No link is followed, nothing that somebody else has put there is written into, and nothing is left of a failure.
"""

from __future__ import annotations

import errno
import os
import secrets
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

READING = 30.0  # seconds: a pipe that nobody writes into, a file system whose server is gone


def read(
    path: Path | str,
    limit: int,
    seconds: float = READING,
    *,
    check: Callable[[os.stat_result], None] = lambda _: None,
) -> bytes:
    """All of a file, a pipe or a device; OSError with a `strerror` also where it is too large or takes too long.

    `check` raises where what was opened is not to be read. A thread reads, because a call that a dead file system
    holds cannot be interrupted in any other way.
    """
    answers: SimpleQueue[bytes | Exception] = SimpleQueue()

    def work() -> None:
        # A signal that this thread takes would not wake the one that waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            with open(path, "rb") as file:
                check(os.fstat(file.fileno()))
                answers.put(file.read(limit + 1))
        except Exception as error:
            answers.put(error)

    Thread(target=work, name="reader", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except Empty:
        raise TimeoutError(0, f"it did not end within {seconds:.0f} s") from None
    if isinstance(answer, Exception):
        raise answer
    if len(answer) > limit:
        raise OSError(0, f"it is larger than {limit // 1024} KiB")
    return answer


class NoTemporaryFolder(OSError):
    """This machine has no room for temporary files."""

    TODO = "Make room for temporary files on this machine, or name a folder that has some in TMPDIR."


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is gone afterwards; NoTemporaryFolder where there is none, or no room in it."""
    try:
        made = tempfile.TemporaryDirectory(prefix="crossnet-")
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise NoTemporaryFolder(error.errno, error.strerror) from None
    with made as folder:
        try:
            yield Path(folder)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise NoTemporaryFolder(error.errno, error.strerror) from None


def create(path: Path | str, text: str) -> None:
    """A file that was not there before; FileExistsError where anything stands there, be it a link to nowhere."""
    # open(2): with O_EXCL a link is not followed.
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _fill(number, text)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


@dataclass(frozen=True, slots=True)
class File:
    """What a file is to hold, and its mode, whatever the umask."""

    path: Path
    content: str | bytes
    mode: int


def replace(files: Sequence[File]) -> None:
    """All of these files or, as far as the disk goes, none; what stands there as a regular file is replaced whole.

    OSError where something else stands there: a link, a folder, a device such as /dev/stdout.
    """
    asides: list[tuple[str, Path]] = []
    try:
        for file in files:
            _check_place(file.path)
            aside = os.path.join(file.path.parent, f".crossnet-{secrets.token_hex(8)}")
            number = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            asides.append((aside, file.path))
            os.fchmod(number, file.mode)
            _fill(number, file.content)
        while asides:
            os.replace(*asides[0])
            del asides[0]
    except BaseException:
        for aside, _ in asides:
            with suppress(OSError):
                os.unlink(aside)
        raise


def _check_place(path: Path) -> None:
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(kind):
        link, folder = "a link, which is not followed", "a folder"
        what = link if stat.S_ISLNK(kind) else folder if stat.S_ISDIR(kind) else "a device or a pipe"
        raise OSError(0, f"it is {what}")


def _fill(number: int, content: str | bytes) -> None:
    """Write all, to the disk: of one that is full, NFS tells only then."""
    with open(number, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(number)
