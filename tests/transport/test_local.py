"""This machine as a host: commands run to their end or are ended, files are there whole or not at all."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from crossnet.errors import CommandFailed, HostError
from crossnet.transport import ENVIRONMENT, Completed, ShellHost, lines
from crossnet.transport.batch import ask
from crossnet.transport.lab import LabHost
from crossnet.transport.local import Local
from crossnet.transport.ssh.connection import Connection
from lacking import lacking
from transport.shells import SHELLS, through

HERE = Local("here")


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def host(request: pytest.FixtureRequest) -> ShellHost:
    return through(request.param)


def run(*argv: str, stdin: bytes = b"", timeout: float = 30) -> Completed:
    return asyncio.run(HERE.run(argv, stdin=stdin, timeout=timeout))


# ---- commands ------------------------------------------------------------------------------------


def test_output_errors_and_exit_code_are_kept_apart() -> None:
    done = run("sh", "-c", "cat; echo bad >&2; exit 7", stdin=b"\x00\xff in\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"\x00\xff in\n", b"bad\n")
    assert not done.ok
    assert (done.text, done.error_text) == ("\x00� in\n", "bad\n")


def test_words_are_not_interpreted() -> None:
    assert (
        run("printf", "%s|", "$(id)", "`id`", "a b", "'", '"', "\n", "*", "").text
        == "$(id)|`id`|a b|'|\"|\n|*||"
    )


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
@pytest.mark.parametrize(
    "way",
    [
        HERE.run,
        HERE.start,
        LabHost("here", Path("/nowhere")).run,
        partial(Connection("here", [], become=False).run, stdin=b"", timeout=1),
    ],
    ids=["local", "local stream", "lab", "ssh"],
)
def test_what_can_be_no_word_of_a_command_is_refused_before_a_host_is_asked(
    way: Callable[[list[str]], Coroutine[Any, Any, object]], word: str
) -> None:
    with pytest.raises(HostError, match="no command can have such a word"):
        asyncio.run(way(["printf", word]))


def test_a_failed_command_says_what_ran_where_and_what_it_said() -> None:
    with pytest.raises(CommandFailed) as failed:
        run("sh", "-c", "echo no such thing >&2; exit 3").check()
    assert str(failed.value) == (
        "here: ran `sh -c echo no such thing >&2; exit 3`: exit code 3: no such thing\n"
        "  Run it by hand on the host to see more."
    )
    assert (failed.value.returncode, failed.value.host) == (3, "here")
    assert run("true").check().ok


def test_a_command_that_is_not_there_is_127_as_in_a_shell() -> None:
    done = run("no-such-command-anywhere")
    assert done.returncode == 127
    assert "no-such-command-anywhere: not found" in done.error_text


@pytest.mark.parametrize("command", ["/etc/passwd", "/", "/etc/passwd/x"], ids=["file", "folder", "below"])
def test_a_command_that_cannot_be_executed_is_126_as_in_a_shell(command: str) -> None:
    done = run(command)
    assert done.returncode == 126
    assert done.error_text.startswith(f"{command}: ")


def test_nothing_of_the_callers_environment_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("PATH", "/nowhere")
    lines = dict(line.split("=", 1) for line in run("env").text.splitlines())
    assert lines == {"LC_ALL": "C", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def test_a_command_is_out_of_reach_of_the_terminals_interrupt() -> None:
    """A Ctrl-C goes to the foreground group of the terminal: the command has a session of its own."""
    assert int(run("sh", "-c", "ps -o sid= -p $$").text) != os.getsid(0)


def test_much_input_that_nobody_reads_is_no_error() -> None:
    assert run("true", stdin=b"x" * 1_000_000).ok


def test_a_command_that_takes_too_long_is_ended_and_told(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    with pytest.raises(HostError, match=r"here: ran `sh -c .*: no answer within 1 s"):
        run("sh", "-c", 'echo $$ > "$1"; exec sleep 600', "sh", str(mark), timeout=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_an_answer_that_still_comes_in_is_waited_for() -> None:
    """Eight parts of 300 kB, half a second apart: more time than was allowed, for as long as it is worth it."""
    script = "for part in 1 2 3 4 5 6 7 8; do head -c 300000 /dev/zero; sleep 0.5; done"
    start = time.monotonic()
    answer = run("sh", "-c", script, timeout=3)
    assert (answer.returncode, len(answer.stdout)) == (0, 2_400_000)
    assert time.monotonic() - start > 3


def test_a_command_that_prints_a_little_now_and_then_is_ended_in_time() -> None:
    start = time.monotonic()
    with pytest.raises(HostError, match=r"no answer within 0\.5 s; it was ended"):
        run("sh", "-c", "while :; do echo still here; sleep 0.05; done", timeout=0.5)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("output", ["", ">/dev/null 2>&1"], ids=["holds-our-pipe", "holds-nothing"])
def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path, output: str) -> None:
    mark = tmp_path / "pid"
    script = f'sleep 600 {output} & echo $! > "$1"; wait'

    async def too_long() -> None:
        async with asyncio.timeout(20):  # a pipe that is still held would keep us here for the ten minutes
            await HERE.run(["sh", "-c", script, "sh", str(mark)], timeout=0.5)

    with pytest.raises(HostError, match="no answer within"):
        asyncio.run(too_long())
    child = Path("/proc") / mark.read_text().strip() / "stat"
    deadline = time.monotonic() + 20
    while _runs(child):
        assert time.monotonic() < deadline, "what the command started goes on"
        time.sleep(0.02)


def _runs(stat: Path) -> bool:
    """Whether a process is there and no zombie: whoever inherits it may be slow to take note of its end."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_cancelled_command_is_ended(tmp_path: Path) -> None:
    pipe = tmp_path / "pid"
    os.mkfifo(pipe)

    async def cancelled() -> int:
        task = asyncio.create_task(HERE.run(["sh", "-c", 'echo $$ > "$1"; exec sleep 600', "sh", str(pipe)]))
        pid = int(await asyncio.to_thread(pipe.read_text))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pid

    with pytest.raises(ProcessLookupError):
        os.kill(asyncio.run(cancelled()), 0)


def test_a_running_command_gives_its_lines_until_it_is_stopped() -> None:
    async def some() -> list[bytes]:
        process = await HERE.start(["sh", "-c", "echo one; echo two; exec sleep 600"])
        seen = []
        async for line in lines(process.output()):
            seen.append(line)
            if len(seen) == 2:
                await process.stop()
        await process.stop()
        return seen

    assert asyncio.run(some()) == [b"one\n", b"two\n"]


# ---- files ---------------------------------------------------------------------------------------


def write(host: ShellHost, path: Path, data: bytes | None, mode: int = 0o644) -> None:
    asyncio.run(host.write(PurePosixPath(path), data, mode=mode))


def read(host: ShellHost, path: Path) -> bytes | None:
    return asyncio.run(host.read(PurePosixPath(path)))


@pytest.mark.parametrize("data", [b"", b"text\n", b"no newline", b"\x00\xff\n\r" * 100, b"x" * 1_000_000])
def test_what_is_written_is_read(host: ShellHost, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    write(host, path, data)
    assert path.read_bytes() == data
    assert read(host, path) == data


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o4750])
def test_mode(host: ShellHost, tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o777)
    write(host, path, b"new", mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_the_file_is_another_one_and_nothing_is_left_beside_it(host: ShellHost, tmp_path: Path) -> None:
    """Whoever has the old file open goes on reading the old one."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with open(path, "rb") as reader:
        write(host, path, b"new")
        assert reader.read() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_folders_are_made(host: ShellHost, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write(host, path, b"x")
    assert path.read_bytes() == b"x"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


@pytest.mark.parametrize("name", ["with blank", "-n", "--help", "$(id)", "a'b\"c", "new\nline", "*", "ü"])
def test_any_name(host: ShellHost, tmp_path: Path, name: str) -> None:
    path = tmp_path / name / name
    assert read(host, path) is None
    write(host, path, b"x")
    assert path.read_bytes() == read(host, path) == b"x"
    write(host, path, None)
    assert list(path.parent.iterdir()) == []


def test_an_absent_file(host: ShellHost, tmp_path: Path) -> None:
    assert read(host, tmp_path / "none") is None
    write(host, tmp_path / "none", None)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "none")
    assert read(host, dangling) is None
    write(host, dangling, None)
    assert not dangling.is_symlink()


def test_a_link_is_replaced_and_its_target_left_alone(host: ShellHost, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"somebody else's")
    link.symlink_to(target)
    write(host, link, b"ours")
    assert target.read_bytes() == b"somebody else's"
    assert link.read_bytes() == b"ours"


def test_what_cannot_be_written_or_read_is_told_and_leaves_nothing(host: ShellHost, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    with pytest.raises(HostError):
        read(host, folder)
    (tmp_path / "plain").write_bytes(b"x")
    with pytest.raises(HostError):
        write(host, tmp_path / "plain" / "file", b"x")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "plain"]


def test_a_folder_is_not_written_into_when_it_stands_where_a_file_belongs(
    host: ShellHost, tmp_path: Path
) -> None:
    """mv(1) moves into a folder that has the name of its target, and calls that a success."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(HostError, match="is a folder"):
        write(host, folder, b"x")
    assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == [folder]


def test_a_reader_never_sees_half_a_file(host: ShellHost, tmp_path: Path) -> None:
    """However often it is replaced: always one of the two, whole."""
    path = tmp_path / "file"
    one, other = b"a" * 200_000, b"b" * 200_000
    write(host, path, one)

    async def replaced_while_read() -> None:
        async def writer() -> None:
            for data in (other, one, other, one):
                await host.write(PurePosixPath(path), data)

        task = asyncio.create_task(writer())
        while not task.done():
            assert path.read_bytes() in (one, other)
            await asyncio.sleep(0)
        await task

    asyncio.run(replaced_while_read())


def test_a_write_that_fails_in_the_middle_leaves_the_old_file(host: ShellHost, small_disk: Path) -> None:
    path = small_disk / "file"
    path.write_bytes(b"old")
    with pytest.raises(HostError, match="No space left"):
        write(host, path, b"x" * 60_000)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in small_disk.iterdir()] == ["file"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "none", place], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        lacking(f"no small file system here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


# ---- what never stops printing --------------------------------------------------------------------

FLOODS = {
    "output": "exec cat /dev/zero",
    "errors": "exec cat /dev/zero >&2",
    "a-child-of-it": "cat /dev/zero & wait",
}


@pytest.mark.parametrize("script", FLOODS.values(), ids=FLOODS)
def test_a_command_that_prints_without_end_is_ended_and_told(script: str) -> None:
    with pytest.raises(HostError, match=r"here: ran `sh -c .*: it printed more than 2 MiB") as told:
        asyncio.run(HERE.run(["sh", "-c", script], timeout=20, limit=2 * 2**20))
    assert len(str(told.value)) < 600
    assert not _children()


def test_as_much_as_was_asked_for_comes_whole() -> None:
    whole = asyncio.run(HERE.run(["head", "-c", "2000000", "/dev/zero"], limit=2_000_000))
    assert len(whole.stdout) == 2_000_000


def test_of_many_questions_the_one_that_floods_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    run_whole = Local.run

    async def run_little(self: Local, *words: Any, **more: Any) -> Completed:
        return await run_whole(self, *words, **{**more, "limit": 2**20})

    monkeypatch.setattr(Local, "run", run_little)
    with pytest.raises(HostError, match=r"^here: ran `cat /dev/zero`: it printed more than 1 MiB") as told:
        asyncio.run(ask(HERE, [("echo", "a"), ("false",), ("cat", "/dev/zero"), ("echo", "b")]))
    assert r"which begin with '\x00\x00" in str(told.value), "what is no part of its answer"
    assert told.value.__context__ is None, "what was printed is kept with the error"


def test_a_stream_without_end_is_held_back_and_the_end_of_its_errors_is_kept() -> None:
    async def slow() -> tuple[int, bytes, int | None]:
        process = await HERE.start(
            ["sh", "-c", "yes complaint | head -c 1000000 >&2; echo last >&2; exec yes"]
        )
        taken = 0
        async for chunk in process.output():
            taken += len(chunk)
            await asyncio.sleep(0.2)  # yes(1) would print a gigabyte meanwhile
            if taken > 300_000:
                break
        await process.stop()
        left = sum([len(chunk) async for chunk in process.output()])
        return left, process.errors, process.status

    left, errors, status = asyncio.run(slow())
    assert left < 4 * 2**20
    assert errors.endswith(b"complaint\nlast\n")
    assert len(errors) <= 4096
    assert status == 128 + 15


def test_a_line_without_an_end_comes_in_pieces() -> None:
    async def pieces() -> list[int]:
        process = await HERE.start(["sh", "-c", "head -c 5000000 /dev/zero; echo; printf end"])
        found = [len(line) async for line in lines(process.output())]
        await process.stop()
        return found

    found = asyncio.run(pieces())
    assert sum(found) == 5_000_004
    assert max(found) < 2 * 2**20
    assert found[-1] == 3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "it is no regular file"),
        (os.mkfifo, "it is no regular file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.parent.rmdir() or path.parent.write_text(""), "Not a directory"),
    ],
    ids=["folder", "pipe", "circle", "below-a-file"],
)
def test_what_cannot_be_read_is_not_taken_for_absent(
    host: ShellHost, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    make(path)
    with pytest.raises(HostError, match=f"read {path}: .*{said}"):
        asyncio.run(host.read(PurePosixPath(path)))


def _children() -> list[str]:
    found = subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True, check=False)
    return [
        pid for pid in found.stdout.split() if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"cat")
    ]


# ---- sudo ------------------------------------------------------------------------------------------


@pytest.fixture
def as_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `sudo` that starts the command where it cannot be signalled: in a session of its own."""
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\n[ "$1 $2" = "-n --" ] || exit 9\nshift 2\nsetsid "$@"\n')
    sudo.chmod(0o755)
    found = {**ENVIRONMENT, "PATH": f"{tmp_path}:{ENVIRONMENT['PATH']}"}
    for module in ("leash", "child"):
        monkeypatch.setattr(f"crossnet.transport.{module}.ENVIRONMENT", found)
    return sudo


def test_sudo_passes_on_input_output_and_status(as_sudo: Path) -> None:
    big = bytes(range(256)) * 4000
    for data in b"", b"\n", big:
        done = asyncio.run(
            Local("here", become=True).run(["sh", "-c", "cat; echo bad >&2; exit 7"], stdin=data)
        )
        assert (done.returncode, done.stdout, done.stderr) == (7, data, b"bad\n")


def test_a_sudo_that_refuses_is_told_with_what_it_must_permit(as_sudo: Path) -> None:
    as_sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    with pytest.raises(HostError) as refused:
        asyncio.run(ask(Local("here", become=True), [["true"]]))
    assert "sudo: a password is required\n  Try `sudo -n true` there" in str(refused.value)
    assert "POSIX shell" not in str(refused.value)


@pytest.mark.deadlines
@pytest.mark.parametrize("script", ["sleep 600", "trap '' TERM; sleep 600; sleep 600"], ids=["plain", "deaf"])
def test_what_sudo_has_started_is_ended_when_its_time_is_over(
    as_sudo: Path, tmp_path: Path, script: str
) -> None:
    """Nobody but root may signal it: what stands beside it does."""
    mark = tmp_path / "pid"
    with pytest.raises(HostError, match="no answer within 1 s; it was ended"):
        asyncio.run(
            Local("here", become=True).run(
                ["sh", "-c", f'echo $$ > "$1"; {script}', "sh", str(mark)], timeout=1
            )
        )
    assert not _runs(Path(f"/proc/{mark.read_text().strip()}/stat"))


def test_a_flood_through_sudo_is_ended(as_sudo: Path) -> None:
    with pytest.raises(HostError, match="more than 1 MiB"):
        asyncio.run(Local("here", become=True).run(["cat", "/dev/zero"], timeout=20, limit=2**20))


def test_a_stream_through_sudo_is_stopped(as_sudo: Path) -> None:
    async def some() -> tuple[bytes, int | None]:
        process = await Local("here", become=True).start(["sh", "-c", "echo $$; exec sleep 600"])
        first = await anext(process.output())
        await process.stop()
        return first, process.status

    pid, status = asyncio.run(some())
    assert status == 128 + 15
    assert not _runs(Path(f"/proc/{int(pid)}/stat"))
