"""Files of the operator: whole or not at all, through no link, within limits."""

from __future__ import annotations

import os
import resource
import signal
import stat
from pathlib import Path

import pytest

from crossnet.localfile import File, create, read, replace


def test_the_mode_is_the_promised_one_whatever_the_umask_and_whatever_stood_there(tmp_path: Path) -> None:
    place = tmp_path / "plan"
    place.write_text("old")
    place.chmod(0o666)
    before = os.umask(0o277)
    try:
        replace([File(place, "new", 0o600)])
    finally:
        os.umask(before)
    assert (place.read_text(), stat.S_IMODE(place.stat().st_mode)) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "fifo"])
def test_what_is_no_file_of_its_own_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    place, other = tmp_path / "plan", tmp_path / "other"
    match kind:
        case "link":
            other.write_text("theirs")
            place.symlink_to(other)
        case "dangling":
            place.symlink_to(other)
        case "folder":
            place.mkdir()
        case _:
            os.mkfifo(place)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="it is a"):
        replace([File(tmp_path / "first", "x", 0o600), File(place, "x", 0o600)])
    with pytest.raises(FileExistsError):
        create(place, "x")
    assert sorted(tmp_path.iterdir()) == before
    assert not other.exists() or other.read_text() == "theirs"


def test_nothing_is_left_of_what_cannot_be_written(tmp_path: Path) -> None:
    """A limit of the file's size stands for the disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            replace([File(tmp_path / "a", "x", 0o600), File(tmp_path / "b", "x" * 9000, 0o600)])
        with pytest.raises(OSError, match="File too large"):
            create(tmp_path / "c", "x" * 9000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_reading_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="did not end within"):
        read(tmp_path / "pipe", 100, seconds=0.2)
    with pytest.raises(OSError, match="larger than"):
        read("/dev/zero", 1 << 20)
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert read(tmp_path / "file", 100) == b"x" * 100
