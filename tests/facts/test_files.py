"""Files of a host, read for real by each shell that a host may have."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from crossnet.facts.files import NO_FILE, FileState, Unreadable, files_question
from lacking import lacking

SHELLS = (("dash",), ("bash", "--posix"), ("busybox", "sh"))


@pytest.fixture(params=SHELLS, ids=lambda words: words[0])
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    words: tuple[str, ...] = request.param
    if shutil.which(words[0]) is None:
        lacking(f"{words[0]} is not installed")
    return words


def read(shell: tuple[str, ...], *places: Path, path: str = os.environ["PATH"]) -> dict[str, object]:
    asked = files_question({place.name: str(place) for place in places})
    argv = [shutil.which(shell[0]) or "", *shell[1:], *asked.question.argv[1:]]
    environment = {**os.environ, "LC_ALL": "C", "PATH": path}
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, env=environment)
    return dict(asked.found("host", asked.question.parse(done.stdout.decode())))


def test_what_is_there_and_what_is_not(shell: tuple[str, ...], tmp_path: Path) -> None:
    data = bytes(range(256)) * 3
    names = ("gone", "data", "empty", "link", "two names", "folder", "pipe", "gone too")
    there = {name: tmp_path / name for name in names}
    there["data"].write_bytes(data)
    there["data"].chmod(0o640)
    there["empty"].touch(0o600)
    there["link"].symlink_to("no such\nplace")
    there["two names"].write_bytes(b"x")
    there["two names"].chmod(0o640)
    os.link(there["two names"], tmp_path / "other")
    there["folder"].mkdir()
    os.mkfifo(there["pipe"])
    owner = f"{os.getuid()}:{os.getgid()}"
    no_file = Unreadable(NO_FILE)
    assert read(shell, *there.values()) == {
        "gone": None,
        "data": FileState(data, 0o640, owner),
        "empty": FileState(b"", 0o600, owner),
        "link": FileState(b"", 0o777, f"{os.getuid()}:{os.getgid()}", "no such\nplace"),
        "two names": FileState(b"x", 0o640, owner, names=2),
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
        found: list[object] = []
        while len(found) < 150 or (len({type(each) for each in found}) < 2 and len(found) < 3000):
            found.append(read(shell, place)["file"])
    finally:
        over.set()
        other.join()
    assert {type(each) for each in found} <= {FileState, type(None)}
    assert len({type(each) for each in found}) == 2, "it never came, or never went"


def test_files_and_links_that_are_read_together(shell: tuple[str, ...], tmp_path: Path) -> None:
    there = {
        name: tmp_path / name for name in ("gone", "first", "link", "empty", "other link", "last", "lost")
    }
    there["first"].write_bytes(bytes(range(256)) * 3)
    there["first"].chmod(0o640)
    there["link"].symlink_to("../some where")
    there["empty"].touch(0o600)
    there["other link"].symlink_to("first")
    there["last"].write_bytes(b"no end of line")
    there["last"].chmod(0o4755)
    owner = f"{os.getuid()}:{os.getgid()}"
    assert read(shell, *there.values()) == {
        "gone": None,
        "first": FileState(bytes(range(256)) * 3, 0o640, owner),
        "link": FileState(b"", 0o777, owner, "../some where"),
        "empty": FileState(b"", 0o600, owner),
        "other link": FileState(b"", 0o777, owner, "first"),
        "last": FileState(b"no end of line", 0o4755, owner),
        "lost": None,
    }


def test_what_a_file_is_and_what_is_in_it_are_of_one_instant(shell: tuple[str, ...], tmp_path: Path) -> None:
    """Somebody puts another one in its place all the time."""
    place, beside, over = tmp_path / "file", tmp_path / "beside", threading.Event()
    beside.touch()
    owner = f"{os.getuid()}:{os.getgid()}"
    kinds = (FileState(b"old", 0o600, owner), FileState(b"new", 0o644, owner))

    def replace() -> None:
        for kind in itertools.cycle(kinds):
            aside = tmp_path / "aside"
            aside.write_bytes(kind.data)
            aside.chmod(kind.mode)
            aside.rename(place)
            if over.is_set():
                return

    other = threading.Thread(target=replace)
    other.start()
    try:
        found = [read(shell, beside, place)["file"] for _ in range(100)]
    finally:
        over.set()
        other.join()
    assert set(found) - {None} == set(kinds)


def test_many_files_take_no_more_processes_than_some(shell: tuple[str, ...], tmp_path: Path) -> None:
    tools, log = tmp_path / "tools", tmp_path / "log"
    tools.mkdir()
    for name in ("stat", "readlink", "cat", "base64"):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\necho {name} >>{log}\nexec {shutil.which(name)} "$@"\n')
        tool.chmod(0o755)

    def taken(number: int) -> list[str]:
        log.write_text("")
        places = [tmp_path / f"{kind}{each}" for each in range(number) for kind in ("file", "link", "gone")]
        for place in places:
            if place.name.startswith("file"):
                place.write_text(place.name)
            elif place.name.startswith("link") and not place.is_symlink():
                place.symlink_to(place.name)
        found = read(shell, *places, path=f"{tools}:{os.environ['PATH']}")
        assert [name for name, each in found.items() if each is None] == [
            f"gone{each}" for each in range(number)
        ]
        return sorted(log.read_text().split())

    assert taken(1) == taken(6)
    assert len(taken(60)) < 50


def test_a_file_that_grows_while_it_is_read_is_read_by_itself(shell: tuple[str, ...], tmp_path: Path) -> None:
    """A heartbeat is written in place; that its size was another a moment ago makes no answer unreadable."""
    tools, beats, still = tmp_path / "tools", tmp_path / "heartbeat", tmp_path / "still"
    tools.mkdir()
    beats.write_text("1\n")
    still.write_text("the same")
    tool = tools / "cat"
    tool.write_text(f'#!/bin/sh\necho 23 >>{beats}\nexec {shutil.which("cat")} "$@"\n')
    tool.chmod(0o755)
    found = read(shell, still, beats, path=f"{tools}:{os.environ['PATH']}")
    states = {name: each for name, each in found.items() if isinstance(each, FileState)}
    assert states["still"].data == b"the same"
    assert states["heartbeat"].data.startswith(b"1\n23\n")


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
