"""Commands on a lab host: their status, their streams, and what happens when one side goes away."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from crossnet.errors import HostError
from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.transport import ENVIRONMENT, Completed, lines
from crossnet.transport.lab import LENGTH, LabHost, Request

pytestmark = pytest.mark.lab

LabUp = Callable[..., Lab]
RunOn = Callable[..., Completed]
Eventually = Callable[..., None]


def app_of(lab: Lab) -> LabHost:
    return LabHost("app", lab.socket("app"))


@pytest.mark.parametrize(
    ("command", "status"),
    [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 128 + 9), ("kill -TERM $$", 128 + 15)],
)
def test_exit_status(lab_up: LabUp, run_on: RunOn, command: str, status: int) -> None:
    assert run_on(lab_up(), "app", command).returncode == status


def test_what_cannot_be_run(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up()
    missing = run_on(lab, "app", ["no-such-program"])
    assert (missing.returncode, missing.error_text) == (127, "no-such-program: not found\n")
    refused = run_on(lab, "app", ["/etc/hosts"])
    assert (refused.returncode, refused.error_text) == (126, "/etc/hosts: Permission denied\n")


def test_streams_are_apart_whole_and_big(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up()
    both = run_on(lab, "app", "echo out; echo err >&2")
    assert (both.stdout, both.stderr) == (b"out\n", b"err\n")
    data = os.urandom(1 << 16) * 64
    echoed = run_on(lab, "app", "tee /dev/stderr", stdin=data)
    assert (echoed.stdout, echoed.stderr) == (data, data)
    # `nft -f -` opens /dev/stdin, which fails on a socket.
    assert run_on(lab, "app", "cat /dev/stdin", stdin=b"x").stdout == b"x"
    assert run_on(lab, "app", "exec <&-; echo done", stdin=data).text == "done\n"


def test_a_set_of_ten_thousand_elements(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up()
    elements = ", ".join(f"10.1.{n >> 8}.{n & 255}" for n in range(10_000))
    rules = f"table ip t {{\n set s {{ type ipv4_addr; elements = {{ {elements} }}; }}\n}}"
    run_on(lab, "app", ["nft", "-f", "-"], stdin=rules.encode()).check()
    assert run_on(lab, "app", ["nft", "-j", "list", "set", "ip", "t", "s"]).text.count("10.1.") == 10_000


def test_the_environment_is_the_transports(
    lab_up: LabUp, run_on: RunOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    lab = lab_up()
    names = {line.partition("=")[0] for line in run_on(lab, "app", ["env"]).text.splitlines()}
    assert names == {"PATH", "LC_ALL"}


def test_files_are_read_and_written_on_the_host(lab_up: LabUp) -> None:
    app = app_of(lab_up())
    path = PurePosixPath("/etc/crossnet/rules")

    async def write_and_read() -> list[bytes | None]:
        seen = [await app.read(path)]
        await app.write(path, b"one\n", mode=0o600)
        seen.append(await app.read(path))
        await app.write(path, None)
        seen.append(await app.read(path))
        return seen

    assert asyncio.run(write_and_read()) == [None, b"one\n", None]


def test_a_stream_is_read_by_lines_and_stopped(lab_up: LabUp) -> None:
    app = app_of(lab_up())

    async def follow() -> list[bytes]:
        process = await app.start(
            ["sh", "-c", "trap 'echo bye; printf end; exit' TERM; echo one; while :; do sleep 0.02; done"]
        )
        seen = []
        async for line in lines(process.output()):
            seen.append(line)
            await process.stop()
        return seen

    assert asyncio.run(follow()) == [b"one\n", b"bye\n", b"end"]


def test_a_stream_may_be_bigger_than_what_is_kept(lab_up: LabUp) -> None:
    app = app_of(lab_up())

    async def count() -> int:
        process = await app.start(["seq", "1000000"])
        seen = 0
        async for _ in lines(process.output()):
            seen += 1
            if seen == 1:
                await asyncio.sleep(0.1)  # a slow reader, for once: the command has to wait
        await process.stop()
        return seen

    assert asyncio.run(count()) == 1_000_000


def test_a_deaf_stream_is_killed(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up()

    async def stop_it() -> None:
        process = await app_of(lab).start(["sh", "-c", "trap '' TERM; echo on; while :; do sleep 0.02; done"])
        async for _ in lines(process.output()):
            break
        await process.stop()

    asyncio.run(stop_it())
    assert "trap" not in run_on(lab, "app", ["ps", "-eo", "args"]).text.replace("ps -eo args", "")


def test_a_command_that_takes_too_long_is_ended(lab_up: LabUp, run_on: RunOn, eventually: Eventually) -> None:
    lab = lab_up()
    with pytest.raises(HostError, match=r"no answer within 0\.2 s"):
        asyncio.run(app_of(lab).run(["sleep", "1000"], timeout=0.2))
    eventually(lambda: "sleep 1000" not in run_on(lab, "app", "ps -eo args").text, "it is ended")


def test_who_goes_away_takes_the_command_along_but_not_a_new_session(
    lab_up: LabUp, run_on: RunOn, eventually: Eventually
) -> None:
    lab = lab_up()
    command = """setsid sh -c 'touch /run/away; exec sleep 1001' >/dev/null 2>&1 &
        sh -c 'trap "" TERM; touch /run/on; while :; do sleep 0.02; done # deaf' & sleep 1000"""

    async def go_away() -> None:
        task = asyncio.create_task(app_of(lab).run(["sh", "-c", command]))
        while not (await app_of(lab).run(["ls", "/run/on", "/run/away"])).ok:
            assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go_away())

    def left() -> str:
        return run_on(lab, "app", ["ps", "-eo", "args"]).text

    eventually(lambda: "sleep 1000" not in left(), "the command is ended")
    eventually(lambda: "deaf" not in left(), "what ignores SIGTERM gets SIGKILL")
    assert "sleep 1001" in left()


def test_a_host_that_dies_is_said_to_be_gone(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up()

    async def pull_the_plug() -> None:
        app = app_of(lab)
        task = asyncio.create_task(app.run(["sh", "-c", "touch /run/on; sleep 1000"]))
        while not (await app.run(["test", "-e", "/run/on"])).ok:
            assert not task.done()
        await build.reboot(lab, "app")
        with pytest.raises(HostError, match="went down"):
            await task

    asyncio.run(pull_the_plug())
    assert run_on(lab, "app", "true").ok


def test_orphans_are_reaped(lab_up: LabUp, run_on: RunOn, eventually: Eventually) -> None:
    lab = lab_up()
    run_on(lab, "app", "for n in 1 2 3 4 5; do (setsid true &) ; done").check()
    eventually(lambda: "defunct" not in run_on(lab, "app", "ps -e").text, "no zombie is left")


def test_nonsense_on_the_socket_does_no_harm(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up()
    whole = Request(("true",), {}).encode()
    for sent in (b"", b"\0", whole[:-3], whole, LENGTH.pack(3) + b"{}x", LENGTH.pack(2) + b"{}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(lab.socket("app")))
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(4) == b""
    assert run_on(lab, "app", "true").ok


def test_a_client_that_goes_just_when_its_command_ends_does_no_harm(lab_up: LabUp, run_on: RunOn) -> None:
    lab = lab_up()
    request = Request(("sleep", "60"), ENVIRONMENT).encode()
    for _ in range(12):
        clients = [socket.socket(socket.AF_UNIX) for _ in range(60)]
        with open(os.devnull, "r+b") as nothing:
            for client in clients:
                client.connect(str(lab.socket("app")))
                socket.send_fds(client, [request], [nothing.fileno()] * 3)
        for client in clients:
            client.send(bytes([signal.SIGKILL]))
        for client in clients:
            client.close()
        assert run_on(lab, "app", "echo here").text == "here\n"


def test_attached_to_the_callers_own_streams(lab_up: LabUp) -> None:
    lab = lab_up()
    program = f"""
import sys
from pathlib import Path
from crossnet.transport.lab import attach
sys.exit(attach("app", Path({str(lab.socket("app"))!r}), ["sh", "-c", sys.argv[1]]))
"""
    answer = subprocess.run(
        [sys.executable, "-c", program, "cat; echo err >&2; exit 5"], input=b"in\n", capture_output=True
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (5, b"in\n", b"err\n")
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            program,
            "trap 'echo caught; exit 9' INT; echo on; while :; do sleep 0.02; done",
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "on\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.read() == "caught\n"
        assert child.wait() == 9
