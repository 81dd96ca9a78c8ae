"""The operator's files of SSH: read within limits, and while everything else goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from crossnet import localfile

T = TypeVar("T")

LARGEST = 16 << 20  # bytes: the known_hosts of a hundred thousand hosts
_EACH = 20.0  # seconds for a file
_ALL = 60.0  # and for all that one destination needs, with whatever else a dead file system holds


async def apart(work: Callable[[], T]) -> T:
    """What reads files, in a thread: a signal is heard meanwhile. ValueError where it does not end."""
    try:
        async with asyncio.timeout(_ALL):
            return await asyncio.to_thread(work)
    except TimeoutError:
        raise ValueError(f"the files that it leads to were not read within {_ALL:.0f} s") from None


def read(file: Path) -> bytes:
    """All of a file. OSError where it cannot be opened; ValueError where it does not end, which is no file of SSH."""
    try:
        return localfile.read(file, LARGEST, _EACH)
    except OSError as error:
        if error.errno:
            raise
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None


def readable(file: Path) -> bool:
    """Whether it is one that may be left to asyncssh, which reads all there is."""
    return file.is_file() and os.access(file, os.R_OK) and file.stat().st_size <= LARGEST
