"""Files of a host, read for real by each shell that a host may have."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from crossnet.facts.files import FileState, Unreadable, files_question
from lacking import lacking

SHELLS = (("dash",), ("bash", "--posix"), ("busybox", "sh"))


@pytest.fixture(params=SHELLS, ids=lambda words: words[0])
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    words: tuple[str, ...] = request.param
    if shutil.which(words[0]) is None:
        lacking(f"{words[0]} is not installed")
    return words


def read(shell: tuple[str, ...], *places: Path) -> dict[str, object]:
    asked = files_question({place.name: str(place) for place in places})
    argv = [*shell, *asked.question.argv[1:]]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, env={**os.environ, "LC_ALL": "C"})
    return dict(asked.found("host", asked.question.parse(done.stdout.decode())))


def test_what_is_there_and_what_is_not(shell: tuple[str, ...], tmp_path: Path) -> None:
    data = bytes(range(256)) * 3
    names = ("gone", "data", "empty", "link", "folder", "pipe", "gone too")
    there = {name: tmp_path / name for name in names}
    there["data"].write_bytes(data)
    there["data"].chmod(0o640)
    there["empty"].touch(0o600)
    there["link"].symlink_to("no such\nplace")
    there["folder"].mkdir()
    os.mkfifo(there["pipe"])
    owner = f"{os.getuid()}:{os.getgid()}"
    no_file = Unreadable("it is no regular file")
    assert read(shell, *there.values()) == {
        "gone": None,
        "data": FileState(data, 0o640, owner),
        "empty": FileState(b"", 0o600, owner),
        "link": FileState(b"", 0o777, f"{os.getuid()}:{os.getgid()}", "no such\nplace"),
        "folder": no_file,
        "pipe": no_file,
        "gone too": None,
    }


def test_a_file_that_comes_and_goes_meanwhile_is_there_or_absent(
    shell: tuple[str, ...], tmp_path: Path
) -> None:
    """As those of a transaction that somebody else ends just now."""
    place, aside, over = tmp_path / "file", tmp_path / "aside", threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            aside.write_bytes(b"x")
            aside.rename(place)
            place.unlink()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        found = [read(shell, place)["file"] for _ in range(150)]
    finally:
        over.set()
        other.join()
    assert {type(each) for each in found} <= {FileState, type(None)}
    assert len({type(each) for each in found}) == 2, "it never came, or never went"


def test_all_absent_or_none_asked_for(shell: tuple[str, ...], tmp_path: Path) -> None:
    assert read(shell, tmp_path / "one", tmp_path / "two") == {"one": None, "two": None}
    assert read(shell) == {}


def test_what_cannot_be_told_is_never_absent_nor_makes_others_unknown(
    shell: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    found = read(
        shell, tmp_path / "gone", tmp_path / "file" / "below", tmp_path / "file", tmp_path / "gone\ntoo"
    )
    below = found.pop("below")
    assert isinstance(below, Unreadable)
    assert below.reason.endswith("Not a directory")
    assert isinstance(found.pop("file"), FileState)
    assert found == {"gone": None, "gone\ntoo": None}
