"""What is printed, where it cannot be printed, and how a command ends that waits: no host is asked here."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from crossnet.show.visible import one_line, visible

CROSSNET = [sys.executable, "-m", "crossnet"]
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
# ESC and BEL, C1, DEL, right to left, an isolate, a zero width, two line separators, a byte that is no UTF-8
HOSTILE = "\x1b]0;x\x07\x1b[2J\x9b2J\x7f\u202e\u2066\u200b\u2028\u2029\udcff"


def run(
    *words: str, folder: Path, shell: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    argv = ["sh", "-c", f'"$@" {shell}', "sh", *CROSSNET, *words] if shell else [*CROSSNET, *words]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **(environment or {})}
    if "PYTHONPATH" in os.environ:
        env["PYTHONPATH"] = os.environ["PYTHONPATH"]
    return subprocess.run(
        argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )


def is_harmless(said: bytes) -> bool:
    """No character that is not shown; whole UTF-8."""
    return all(one.isprintable() or one in "\n\t" for one in said.decode())


# ---- what a terminal must not obey ------------------------------------------------------------------------


def test_what_cannot_be_printed_is_shown_as_its_escape() -> None:
    assert visible("a→b\tc\nd é") == "a→b\tc\nd é"
    assert visible(HOSTILE) == (r"\x1b]0;x\x07\x1b[2J\x9b2J\x7f" + r"\u202e\u2066\u200b\u2028\u2029\udcff")
    assert one_line("up\nConfirmed.") == r"up\nConfirmed."


SPEC = """crossnet: 1
hosts: {{app: {{lab: app}}, gateway: {{lab: gateway}}}}
crossings: {{business: {{from: app, via: gateway, to: {to}}}}}
"""
ESCAPED = r'"\e]0;x\a\e[2J\x9b2J\u202e\u2028\x7f"'  # of YAML, in double quotes


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_what_a_spec_says_is_told_harmlessly(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "s.yaml").write_text(SPEC.format(to=ESCAPED))
    ran = run("plan", "-f", "s.yaml", *words, folder=tmp_path)
    assert ran.returncode == 1
    assert rb"\x1b" in ran.stderr
    assert is_harmless(ran.stdout + ran.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "-f", HOSTILE),
        ("apply", HOSTILE),
        ("plan", HOSTILE),
        ("plan", f"--{HOSTILE}"),
        (HOSTILE,),
        ("explain", HOSTILE),
        ("init", "-f", f"no/{HOSTILE}"),
        ("init", "--from", HOSTILE, "--via", HOSTILE, "--to", HOSTILE),
        ("lab", "up", HOSTILE),
        ("plan", "--json", "-f", HOSTILE),
    ],
)
def test_words_of_the_command_line_are_told_harmlessly(tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = run(*words, folder=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr
    assert is_harmless(ran.stdout + ran.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "-f", "SECRET"),
        ("plan", "--json", "-f", "SECRET"),
        ("plan", "SECRET"),
        ("apply", "SECRET"),
        ("apply", "SECRET", "SECRET"),
        ("init", "-f", "no/SECRET"),
        ("init", "--from", "SECRET", "--via", "b", "--to", "10.0.44.0/24"),
        ("explain", "SECRET"),
        ("SECRET",),
        ("connect", "SECRET", "--via", "b", "--to", "10.0.44.0/24", "--save", "SECRET"),
    ],
)
@pytest.mark.parametrize("secret", ["ssh://root:hunter2@h", "root:hunter2@h"])
def test_a_password_among_the_words_is_not_repeated(
    tmp_path: Path, words: tuple[str, ...], secret: str
) -> None:
    ran = run(*(word.replace("SECRET", secret) for word in words), folder=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr
    assert b"hunter2" not in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "words", [("list",), ("diagnose", "--to", "10.0.44.1", "--via", "lab:none/gateway", "--from")]
)
def test_hosts_of_no_spec_are_what_adopt_takes(tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = run(*words, "lab:none/app", folder=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert b"lab" in ran.stderr
    assert b"ssh" not in ran.stderr


def test_a_file_name_cannot_forge_a_line(tmp_path: Path) -> None:
    ran = run("plan", "-f", "x\ncrossnet: all is well", folder=tmp_path)
    assert b"\ncrossnet: all is well" not in ran.stderr


def test_a_saved_plan_of_somebody_else_is_told_harmlessly(tmp_path: Path) -> None:
    keys = {"format_version": "1.0", "kind": "crossnet-plan", "spec_file": HOSTILE, "plan": {}}
    (tmp_path / "p").write_text(json.dumps({**keys, "spec": SPEC.format(to=ESCAPED)}))
    ran = run("apply", "p", "--yes", folder=tmp_path)
    assert ran.returncode == 1
    assert rb"\x1b" in ran.stderr
    assert is_harmless(ran.stdout + ran.stderr)


def test_a_locale_without_arrows_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SPEC.format(to='"10.0.44.0/24 → é 😀"'), encoding="utf-8")
    ran = run("plan", "-f", "s.yaml", folder=tmp_path, environment=ASCII)
    assert ran.returncode == 1
    assert rb"10.0.44.0/24 \u2192 \u00e9" in ran.stderr
    told = run("plan", "--json", "-f", "s.yaml", folder=tmp_path, environment=ASCII)
    assert "→ é 😀" in json.loads(told.stdout)["error"]["message"]


# ---- nobody who reads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("--help",), ("explain",), ("schema",), ("explain", "no-route", "--json")])
@pytest.mark.parametrize(
    ("shell", "said"),
    [
        ("| true", None),
        (">/dev/full", b"standard output cannot be written: No space left on device"),
        (">&-", b"standard output cannot be written"),
        (">/dev/full 2>&1", b""),
        (">&- 2>&- <&-", b""),
    ],
)
def test_what_could_not_be_given_is_1_without_noise(
    tmp_path: Path, words: tuple[str, ...], shell: str, said: bytes | None
) -> None:
    if said is None:
        reads, writes = os.pipe()
        os.close(reads)
        ran = subprocess.run([*CROSSNET, *words], stdout=writes, stderr=subprocess.PIPE, timeout=60)
        os.close(writes)
        assert (ran.returncode, ran.stderr) == (1, b"")
        return
    ran = run(*words, folder=tmp_path, shell=shell)
    assert ran.returncode == 1
    assert said in ran.stderr
    assert b"Traceback" not in ran.stderr
    assert b"Exception ignored" not in ran.stderr
    assert ran.stderr.count(b"\n") == bool(said)


@pytest.mark.parametrize("shell", ["2>&-", "2>/dev/full", "2>&- >&- <&-"])
def test_an_error_that_cannot_be_told_keeps_its_code(tmp_path: Path, shell: str) -> None:
    ran = run("plan", folder=tmp_path, shell=shell)
    assert (ran.returncode, ran.stdout) == (1, b"")


def test_what_was_written_is_written_whoever_hears_of_it(tmp_path: Path) -> None:
    ran = run("init", folder=tmp_path, shell=">/dev/full")
    assert ran.returncode == 0
    assert (tmp_path / "crossnet.yaml").exists()


def test_a_file_never_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """Else what is printed would go into the spec."""
    ran = run("init", folder=tmp_path, shell=">&- 2>&- <&-")
    assert ran.returncode == 0
    assert "Wrote" not in (tmp_path / "crossnet.yaml").read_text()


# ---- waiting ---------------------------------------------------------------------------------------------


def reading(folder: Path, *words: str, before: Callable[[], object] | None = None) -> subprocess.Popen[bytes]:
    """A command that waits for a spec on a pipe into which nobody writes yet."""
    os.mkfifo(folder / "slow.yaml")
    process = subprocess.Popen(
        [*CROSSNET, *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=before,
    )
    # Opens only when the other side has opened it.
    writer = os.open(folder / "slow.yaml", os.O_WRONLY)
    os.set_inheritable(writer, False)
    return process


@pytest.mark.deadlines
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "words", [("plan", "-f", "slow.yaml"), ("apply", "slow.yaml"), ("status", "-f", "slow.yaml")]
)
def test_who_waits_for_a_file_can_be_interrupted(
    tmp_path: Path, number: signal.Signals, words: tuple[str, ...]
) -> None:
    # Whoever runs the tests may have been started with nohup.
    with reading(tmp_path, *words, before=lambda: signal.signal(number, signal.SIG_DFL)) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err.strip()) == (1, b"", b"crossnet: interrupted")


def test_who_was_started_with_nohup_is_not_hung_up_on(tmp_path: Path) -> None:
    with reading(
        tmp_path, "plan", "-f", "slow.yaml", before=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ) as process:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 1


# ---- progress --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("plan",),
        ("plan", "-f", HOSTILE),
        ("plan", "--no-such-option"),
        ("apply", "--guard", "1s"),
        ("explain", "no-such-code"),
        ("no-such-command",),
        ("status", "--json"),
    ],
)
def test_for_programs_standard_error_is_a_json_object_a_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = run(*words, "--json-events", folder=tmp_path)
    assert ran.returncode == 1
    said = [json.loads(line) for line in ran.stderr.decode().splitlines()]
    assert said[-1]["event"] == "error"
    assert said[-1]["exit_code"] == 1
    assert all(next(iter(one)) == "format_version" for one in said)
    assert is_harmless(ran.stderr)


MOVES = r"""
import sys
from crossnet.cli.printing import printer
printer.move("1/2 hosts  app: reads facts" + "\x1b[2J\n" + "x" * 200)
printer.drain()
printer.err("a word beside it")
printer.out("half a ", end="")
printer.move("")
printer.out("result")
printer.drain()
"""


def test_the_line_that_moves_leaves_nothing_behind() -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "vt100", "LC_ALL": "C.UTF-8"}
    with subprocess.Popen([sys.executable, "-c", MOVES], stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        seen = b""
        while chunk := _read(ours):
            seen += chunk
    os.close(ours)
    assert process.returncode == 0
    told = seen.decode()
    assert r"1/2 hosts  app: reads facts\x1b[2J xxx" in told
    assert "\x1b" not in told
    assert shown(told) == ["a word beside it", "half a result"]


def _read(number: int) -> bytes:
    try:
        return os.read(number, 4096)
    except OSError:  # EIO: the other side has gone
        return b""


def shown(told: str, columns: int = 80) -> list[str]:
    """What a terminal shows in the end; it must not have wrapped."""
    lines = [""]
    column = 0
    for letter in told:
        if letter == "\r":
            column = 0
        elif letter == "\n":
            lines.append("")
        else:
            lines[-1] = lines[-1][:column].ljust(column) + letter + lines[-1][column + 1 :]
            column += 1
            assert column < columns
    return [line.rstrip() for line in lines if line.strip()]
