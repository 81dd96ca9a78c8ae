"""Whoever reads what crossnet says may go away, stand still or raise: what becomes of the hosts is the same."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import crossnet
from crossnet.errors import RolledBack
from crossnet.events import Event
from crossnet.lab.build import Lab
from crossnet.show.progress import event_text
from crossnet.specfile import parse
from lab.crossing import Bench
from lab.test_commands import CROSSING, SPEC, STEPS, Desk, Held, Site
from lab.test_transaction import break_tool, no_lock

pytestmark = pytest.mark.lab


@pytest.fixture
def held(tmp_path: Path, lab_up: Callable[..., Lab]) -> Held:
    lab = lab_up("seed")
    desk = Desk(tmp_path, {"CROSSNET_LAB": lab.name})
    desk.write(f"{CROSSING}, persist: none, probe: icmp/10.0.44.1")
    return Held(Site(desk, Bench(lab)))


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe that nobody reads."""
    reads, writes = os.pipe()
    os.close(reads)
    yield writes
    os.close(writes)


@pytest.fixture
def full() -> Iterator[int]:
    device = os.open("/dev/full", os.O_WRONLY)
    yield device
    os.close(device)


# ---- the command ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["unread", "full"])
def test_nobody_who_reads_takes_nothing_back_and_hides_nothing(
    held: Held, where: str, request: pytest.FixtureRequest
) -> None:
    lost: int = request.getfixturevalue(where)
    desk, bench = held.site.desk, held.site.bench
    before = bench.fingerprints()
    with desk.start("apply", "--yes", stdout=lost, stderr=lost) as process:
        assert process.wait(timeout=60) == 0
    assert bench.pings("app", "10.0.44.1")
    with desk.start("undo", "--yes", "--json", stdout=lost, stderr=lost) as process:
        assert process.wait(timeout=60) == 0
    assert bench.differences(before) == []
    break_tool(bench, "app", "ip", "route add")
    with desk.start("apply", "--yes", stdout=lost, stderr=lost) as process:
        assert process.wait(timeout=60) == 3
    assert no_lock(bench)


def test_standard_streams_that_are_closed_take_nothing_back(held: Held) -> None:
    desk = held.site.desk
    argv = [sys.executable, "-m", "crossnet", "apply", "--yes"]
    words = ["sh", "-c", '"$@" >&- 2>&- <&-', "sh", *argv]
    environment = {**os.environ, **desk.environment}
    assert subprocess.run(words, cwd=desk.folder, env=environment, timeout=60).returncode == 0
    assert held.site.bench.pings("app", "10.0.44.1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupt_puts_back_at_once_also_when_the_reader_has_gone(
    held: Held, unread: int, number: signal.Signals
) -> None:
    bench = held.site.bench
    before = bench.fingerprints()
    with held.until(*STEPS["probe"], stdout=unread, stderr=unread) as process:
        process.send_signal(number)
        assert process.wait(timeout=20) == 3
    assert bench.differences(before) == []


def test_a_terminal_that_stands_still_does_not_hold_up_the_hosts(
    held: Held, eventually: Callable[..., None]
) -> None:
    desk, bench = held.site.desk, held.site.bench
    ours, theirs = pty.openpty()
    termios.tcflow(theirs, termios.TCOOFF)  # Ctrl-S
    process = desk.start("apply", "--yes", stdin=theirs, stdout=theirs, stderr=theirs)
    try:
        eventually(
            lambda: bench.pings("app", "10.0.44.1") and no_lock(bench), "the hosts are confirmed, unseen"
        )
        assert process.poll() is None, "it still has something to say"
        termios.tcflow(theirs, termios.TCOON)
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            seen = b""
            while chunk := _read(terminal.fileno()):
                seen += chunk
        assert b"Confirmed. Transaction " in seen
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait(timeout=60)


def test_in_a_terminal_progress_is_one_line_that_goes(held: Held) -> None:
    ours, theirs = pty.openpty()
    words = ("-m", "crossnet", "apply", "--yes")
    environment = {**os.environ, **held.site.desk.environment, "TERM": "vt100"}
    with subprocess.Popen(
        [sys.executable, *words], cwd=held.site.desk.folder, env=environment, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            seen = b""
            while chunk := _read(terminal.fileno()):
                seen += chunk
    assert process.returncode == 0
    told = seen.decode()
    assert re.search(r"\r… \d+ s  1/2 hosts  \w+: writes its journal", told)
    assert re.search(r"\r… \d+ s  2/2 hosts  ", told)
    stays = [line.rpartition("\r")[2] for line in told.split("\r\n")]
    assert not [line for line in stays if line.startswith("…")], "no event has a line of its own"
    assert "Confirmed. Transaction " in stays[-2]


def test_events_for_programs_are_a_json_object_a_line(held: Held) -> None:
    desk, bench = held.site.desk, held.site.bench
    break_tool(bench, "app", "ip", "route add")
    ran = desk.run("apply", "--yes", "--json-events")
    assert ran.code == 3
    said = [json.loads(line) for line in ran.err.splitlines()]
    assert all(next(iter(one)) == "format_version" for one in said)
    kinds = list(dict.fromkeys(one["event"] for one in said if one["event"] != "step-done"))
    assert kinds == ["reads-facts", "leaves-journal", "guarded", "changes", "rolls-back", "error"]
    over = [one for one in said if one["event"] == "step-done" and one["step"] == "leaves-journal"]
    assert [(one["done"], one["hosts"]) for one in over] == [(1, 2), (2, 2)]
    assert said[-1]["outcome"] == "rolled-back"
    asked = desk.run("apply", "--json-events")
    assert asked.code == 1
    assert "with --json-events no question is asked" in json.loads(asked.err.splitlines()[-1])["message"]


def test_an_interrupt_of_words_that_nobody_reads_keeps_the_code(
    held: Held, eventually: Callable[..., None]
) -> None:
    bench = held.site.bench
    ours, theirs = pty.openpty()
    termios.tcflow(theirs, termios.TCOOFF)
    process = held.site.desk.start("apply", "--yes", stdout=theirs, stderr=theirs)
    try:
        eventually(
            lambda: bench.pings("app", "10.0.44.1") and no_lock(bench), "the hosts are confirmed, unseen"
        )

        def ends() -> (
            bool
        ):  # one that comes while it is still finished says so, and waits to be read like the rest
            process.send_signal(signal.SIGTERM)
            return process.poll() is not None

        eventually(ends, "it ends without having been read")
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait(timeout=60)
        os.close(ours)
        os.close(theirs)


def _read(number: int) -> bytes:
    try:
        return os.read(number, 4096)
    except OSError:  # EIO: the last one to have the terminal open has gone
        return b""


# ---- the second Ctrl-C ---------------------------------------------------------------------------------


def test_a_second_interrupt_says_what_is_true(held: Held) -> None:
    bench = held.site.bench
    before = bench.fingerprints()
    with held.until(*STEPS["probe"]) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "the hosts are being put back" in err or "the hosts are asked to stop" in err
    assert bench.differences(before) == []


# ---- the library ---------------------------------------------------------------------------------------


class Gone(BaseException):
    """Not even an Exception."""


@pytest.mark.parametrize(
    ("raised", "breaks"),
    [
        (BrokenPipeError, False),
        (ValueError, True),
        (Gone, True),
        (KeyboardInterrupt, False),
        (SystemExit, True),
        pytest.param(BrokenPipeError, True, marks=pytest.mark.variants),
        pytest.param(ValueError, False, marks=pytest.mark.variants),
        pytest.param(Gone, False, marks=pytest.mark.variants),
        pytest.param(KeyboardInterrupt, True, marks=pytest.mark.variants),
        pytest.param(SystemExit, False, marks=pytest.mark.variants),
    ],
)
def test_a_watcher_that_raises_has_no_say(
    tmp_path: Path, lab_up: Callable[..., Lab], raised: type[BaseException], breaks: bool
) -> None:
    lab = lab_up("seed")
    bench = Bench(lab)
    crossing = f"{CROSSING}, persist: none, probe: icmp/10.0.44.1"
    text = SPEC.format(crossing=crossing).replace("lab: app", f"lab: {lab.name}/app")
    spec = parse(text.replace("lab: gateway", f"lab: {lab.name}/gateway"), "s.yaml")
    before = bench.fingerprints()
    told: list[str] = []

    def watch(event: Event) -> None:
        raise raised(event_text(event))

    async def work() -> str:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))
        plan = crossnet.plan(spec, await crossnet.observe(spec))
        try:
            await crossnet.apply(plan, watch=watch)
        except RolledBack as error:
            return str(error)
        return "holds"

    if breaks:
        break_tool(bench, "app", "ip", "route add")
    said = asyncio.run(work())
    if breaks:
        assert "Rolled back: every host was read again" in said
        assert "broken on purpose" in said
        assert "gateway: puts back what was changed" in told
        assert bench.differences(before) == []
    else:
        assert said == "holds"
        assert bench.pings("app", "10.0.44.1")
    assert "gateway: writes its journal" in told
