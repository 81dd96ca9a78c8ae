"""The operator's files of SSH: read within limits, and while everything else goes on."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from crossnet import localfile

T = TypeVar("T")

SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")

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
    return _read(file, lambda _: None)


def read_config(file: Path, home: str) -> bytes:
    """The same of a file of ssh_config(5), which can name commands; ValueError where somebody else can write to it.

    The system's own file is not looked at, as with `ssh`. Under `sudo -E` the files in $HOME are not root's.
    """
    owners = {0, os.getuid()}
    with suppress(OSError):
        owners.add(os.stat(home).st_uid)

    def check(state: os.stat_result) -> None:
        others = stat.S_IWOTH if _has_group_alone(state) else stat.S_IWOTH | stat.S_IWGRP
        if state.st_uid not in owners or state.st_mode & others:
            raise ValueError(
                f"{file}: bad owner or permissions: it has to be yours or root's, and nobody else may write to it"
            )

    return _read(file, (lambda _: None) if file == SYSTEM_CONFIG else check)


def _has_group_alone(state: os.stat_result) -> bool:
    """Whether its group has nobody in it but its owner: Debian's `ssh` lets such a group write, as its umask does."""
    try:
        owner = pwd.getpwuid(state.st_uid).pw_name
        members = set(grp.getgrgid(state.st_gid).gr_mem)
    except KeyError:
        return False
    return members | {user.pw_name for user in pwd.getpwall() if user.pw_gid == state.st_gid} == {owner}


def _read(file: Path, check: Callable[[os.stat_result], None]) -> bytes:
    try:
        return localfile.read(file, LARGEST, _EACH, check=check)
    except OSError as error:
        if error.errno:
            raise
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None


def readable(file: Path) -> bool:
    """Whether it is one that may be left to asyncssh, which reads all there is."""
    return file.is_file() and os.access(file, os.R_OK) and file.stat().st_size <= LARGEST
