"""What a shell offers, and what messages advise: with the user's own spec."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from crossnet import api
from crossnet.cli import cli
from crossnet.cli.failure import run
from crossnet.cli.hints import Hints, as_typed, hints
from crossnet.cli.outcome import outcome
from crossnet.cli.printing import printer
from crossnet.cli.progress import Progress, say
from crossnet.errors import CrossnetError, HostsDisagree, Locked, RollbackNotProved, RolledBack
from crossnet.events import Event, Kind
from crossnet.record import Owned, Record
from crossnet.resources import Sysctl
from crossnet.site import Answers
from crossnet.standing import Stamp, Standing

SPEC = """crossnet: 1
hosts: {app: {lab: app}, gateway: {lab: gateway}, gateway-2: {lab: gateway, sudo: yes}}
crossings:
  business: {from: app, via: gateway, to: 10.0.44.0/24}
  bus-2: {from: app, via: nobody, to: 10.0.44.1/24}
"""


def offered(words: list[str], incomplete: str) -> list[tuple[str, str]]:
    made = ShellComplete(cli, {}, "crossnet", "_CROSSNET_COMPLETE").get_completions(words, incomplete)
    return [(item.type, item.value) for item in made]


@pytest.mark.parametrize(
    ("words", "incomplete", "names"),
    [
        (["facts"], "", ["app", "gateway", "gateway-2"]),
        (["facts"], "gate", ["gateway", "gateway-2"]),
        (["export", "--host"], "a", ["app"]),
        (["verify"], "bus", ["business", "bus-2"]),
        (["verify"], "x", []),
        (["verify", "--from"], "a", ["app"]),
        (["explain"], "no-route-", ["no-route-to-client"]),
        (["completion"], "z", ["zsh"]),
        (["lab", "up"], "seed", ["seed", "seed-dual", "seed-port-security", "seed-v6"]),
        (["lab", "break"], "forward-p", ["forward-policy", "forward-policy-legacy"]),
    ],
)
def test_names_of_the_spec_are_offered_whatever_is_wrong_with_it(
    words: list[str], incomplete: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crossnet.yaml").write_text(SPEC)
    assert offered(words, incomplete) == [("plain", name) for name in names]


def test_nothing_is_offered_that_a_shell_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("c`touch${IFS}x`", "c$(id)", "c;id", "c d", "c'", "c\\", "c*", "~", "cc")
    (tmp_path / "crossnet.yaml").write_text(
        "".join(f"{part}: {json.dumps(dict.fromkeys(names))}\n" for part in ("hosts", "crossings"))
    )
    assert offered(["status", "--host"], "") == offered(["verify"], "") == [("plain", "cc")]


@pytest.mark.parametrize("before", ["", '{"first": 1}'])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ZeroDivisionError("1/0"), "mistake of crossnet itself, not yours: ZeroDivisionError: 1/0"),
        (OSError(errno.EMFILE, "Too many open files"), "files open at once, and its hosts need more"),
        (OSError(errno.ENFILE, "Too many open files in system"), "as many files open as it can"),
        (KeyboardInterrupt(), "interrupted"),
        (click.ClickException("--pcap: cannot write it"), "--pcap: cannot write it"),
        (CrossnetError("no host answers"), "no host answers"),
    ],
    ids=["mistake", "files", "all files", "interrupted", "refused", "foreseen"],
)
def test_what_breaks_off_is_a_document_where_none_was_printed(
    error: BaseException, words: str, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[int, str] = {1: "", 2: ""}

    def broken(**_: object) -> None:
        if before:
            printer.out(before)
        raise error

    def put(_: object, number: int, text: str) -> None:
        written[number] += text

    monkeypatch.setattr(printer, "has_result", False)
    monkeypatch.setattr(type(printer), "_put", put)
    monkeypatch.setattr(cli, "main", broken)
    monkeypatch.setattr(sys, "argv", ["crossnet", "plan", "--json"])
    assert run(cli) == 1
    assert words in written[2]
    told = json.loads(written[1])
    assert told == {"first": 1} if before else words in told["error"]["message"]


@pytest.mark.parametrize("quiet", [True, False])
def test_what_is_left_over_is_told_also_where_progress_is_not(
    quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(type(printer), "_put", lambda _, number, text: written.append(f"{number} {text}"))
    progress = Progress(quiet=quiet, verbose=True)
    progress.see(Event(Kind.READS, "gateway"))
    progress.see(Event(Kind.LEFT_OVER, "gateway", error="transaction 1 is not ended there"))
    told = "2 … gateway: transaction 1 is not ended there\n"
    assert written == ([told] if quiet else ["2 … gateway: reads facts\n", told])


def test_a_list_advises_no_undo_of_a_whole_spec_for_what_is_left_and_repeats_the_words_of_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stamp = Stamp("bob", "2026-11-28T09:00:00Z", "desk", "Bob ran `crossnet recover`")
    carries = Record((Standing("office", "business", "gateway", stamp=stamp),))
    left = Record((), (Owned(None, Sysctl("net.ipv4.ip_forward", "1")),))

    async def carried(*_: object, **__: object) -> Answers[Record]:
        return Answers({"gateway": carries, "old": left}, {})

    written: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "carried", carried)
    monkeypatch.setattr(type(printer), "_put", lambda _, number, text: written.append(text))
    monkeypatch.setattr(hints, "file", "")
    monkeypatch.setattr(sys, "argv", ["crossnet", "list", "gateway", "old", "-f", "my.yaml"])
    assert run(cli) == 0
    told = "".join(written)
    assert "net.ipv4.ip_forward; the next apply or undo of a spec with this host removes it" in told
    assert "`crossnet undo" not in told
    assert "Bob ran `crossnet recover`\n" in told


@pytest.mark.parametrize(
    "words",
    ["undo --crossing a --crossing b", "export --format sh --host a --host b", "lab up --name a --name b"],
)
def test_of_what_is_given_twice_no_half_is_done(
    words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["crossnet", *words.split()])
    assert run(cli) == 1
    option = next(word for word in reversed(words.split()) if word.startswith("--"))
    assert f"{option} is given more than once, and only one can be meant." in capfd.readouterr().err


def test_a_crossing_that_is_taken_for_a_plan_is_told_as_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["crossnet", "apply", "business"])
    assert run(cli) == 1
    assert "If it is a crossing's name: `crossnet apply --crossing business`" in capfd.readouterr().err


def test_the_spec_that_is_meant_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(SPEC)
    assert offered(["verify", "-f", "my.yaml"], "") == [("plain", "business"), ("plain", "bus-2")]
    assert offered(["verify"], "") == []
    (tmp_path / "my.yaml").write_text("no: [yaml")
    assert offered(["verify", "-f", "my.yaml"], "") == []


@pytest.mark.parametrize(
    "words", [["plan", "-f"], ["plan", "--out"], ["apply"], ["connect", "--save"], ["lab", "up", "--spec"]]
)
def test_files_are_offered_by_the_shell(words: list[str]) -> None:
    assert offered(words, "my") == [("file", "my")]
    assert offered(["lab", "up"], "./my") == [("file", "./my")]


@pytest.mark.parametrize(
    ("file", "text", "own"),
    [
        ("my.yaml", "`crossnet recover` ends it.", "`crossnet recover -f my.yaml` ends it."),
        ("my.yaml", "`crossnet confirm 1a2b`", "`crossnet confirm -f my.yaml 1a2b`"),
        (
            "my.yaml",
            "`crossnet apply --yes`, `crossnet undo`",
            "`crossnet apply -f my.yaml --yes`, `crossnet undo -f my.yaml`",
        ),
        ("my spec.yaml", "`crossnet plan`", "`crossnet plan -f 'my spec.yaml'`"),
        ("my.yaml", "`crossnet plan -f other.yaml`", "`crossnet plan -f other.yaml`"),
        (
            "my.yaml",
            "`crossnet explain no-route`, `crossnet lab up`",
            "`crossnet explain no-route`, `crossnet lab up`",
        ),
        (
            "my.yaml",
            "  crossing business: what cloud prod holds for it stays too, until `crossnet\n"
            "      apply` or `crossnet undo`, and what somebody else has set there stays\n",
            "  crossing business: what cloud prod holds for it stays too, until `crossnet\n"
            "      apply -f my.yaml` or `crossnet undo -f my.yaml`, and what somebody else\n"
            "      has set there stays\n",
        ),
        ("crossnet.yaml", "`crossnet recover`", "`crossnet recover`"),
        ("", "`crossnet recover`", "`crossnet recover`"),
        ("x\n`rm -rf`\x1b.yaml", "`crossnet plan`", "`crossnet plan -f 'x\\n`rm -rf`\\x1b.yaml'`"),
        ("root:secret@h.yaml", "`crossnet plan`", "`crossnet plan`"),
    ],
)
def test_advice_is_about_the_users_own_spec(file: str, text: str, own: str) -> None:
    hints = Hints()
    hints.commands = {
        name for name, one in cli.commands.items() if any("-f" in each.opts for each in one.params)
    }
    hints.file = file
    assert hints.own(text) == own


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("`crossnet apply`", "`crossnet apply -f my.yaml --crossing 'two words' --host app`"),
        ("`crossnet recover`", "`crossnet recover -f my.yaml`"),
        ("`crossnet verify third`", "`crossnet verify -f my.yaml third`"),
    ],
)
def test_advice_is_about_the_crossings_that_were_chosen(text: str, own: str) -> None:
    hints = Hints()
    hints.commands, hints.choosing = {"apply", "recover", "verify"}, {"apply", "verify"}
    hints.file, hints.choice = "my.yaml", ("--crossing", "two words", "--host", "app")
    assert hints.own(text) == own


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (["undo", "--crossing", "two"], "crossnet undo --crossing two --yes"),
        (["apply", "p.json", "--message", "CHG 5"], "crossnet apply p.json --message 'CHG 5' --yes"),
        (["apply", "-fmy.yaml", "--json"], "crossnet apply -fmy.yaml --json --yes"),
        (["forget", "--", "-odd"], "crossnet forget --yes -- -odd"),
        (
            ["connect", "root@a", "--via", "root@b", "--to", "10.0.44.0/24"],
            "crossnet connect root@a --via root@b --to 10.0.44.0/24 --yes",
        ),
        (["undo", "--message", "root:secret@h"], "crossnet undo --message root:…@h --yes"),
        (["undo", "--message", "a `b` c"], "crossnet undo --message 'a `b` c' --yes"),
    ],
)
def test_a_command_is_repeated_as_it_was_typed(
    words: list[str], again: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/crossnet", *words])
    assert as_typed("--yes").replace("'root:…@h'", "root:…@h") == again
    hints = Hints()
    hints.commands = hints.choosing = {"undo", "apply", "forget"}
    hints.file, hints.choice = "saved.yaml", ("--crossing", "web")
    told = "Run `{}` if you mean it; `crossnet {}` ends it."
    own = hints.own(told.format(as_typed("--yes"), "undo"))
    assert own == told.format(as_typed("--yes"), "undo -f saved.yaml --crossing web")


def test_words_beside_the_result_advise_about_the_own_spec_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hints, "file", "leave.yaml")
    say("with crossnet:  `port-security: least` in the spec; then `crossnet apply`")
    printer.drain()
    assert "then `crossnet apply -f leave.yaml`" in capfd.readouterr().err


_FORGET = CrossnetError("client: no route to host\n  If it will never come back: `crossnet forget client`.")
_OF_OTHERS = Locked("gateway: transaction 1a2b is under way\n  `crossnet rollback -f SPEC 1a2b` ends it now.")
_ABANDONED = Locked(
    "gateway: transaction 1a2b was not finished\n  `crossnet recover` puts the hosts back now."
)
_BACK = RolledBack("it did not pass\nRolled back: every host was read again and is as it was before.")
_AT_A_CLOUD = RolledBack(
    "it did not pass\n  Its ports are left as they are at the cloud: `crossnet recover` ends that."
)
_FILE = "a-to-10.0.44.0-24.yaml"


@pytest.mark.parametrize(
    ("error", "code", "ends"),
    [
        (_FORGET, None, f"for what is advised with `-f {_FILE}`."),
        (_OF_OTHERS, None, ""),
        (_ABANDONED, 5, f"for what is advised with `-f {_FILE}`."),
        (_BACK, 3, ""),
        (_AT_A_CLOUD, 3, f"for what is advised with `-f {_FILE}`."),
        (RollbackNotProved("Rollback not proved."), 4, f"for `crossnet recover -f {_FILE}`."),
        (HostsDisagree("They disagree."), 6, f"for `crossnet recover -f {_FILE}`."),
        (ZeroDivisionError(), 8, f"then `crossnet undo -f {_FILE}`."),
    ],
    ids=[
        "forget",
        "held by others",
        "abandoned",
        "back",
        "left at a cloud",
        "not back",
        "split",
        "it stands",
    ],
)
def test_a_connect_without_a_file_says_how_its_spec_is_written_where_that_is_of_use(
    error: BaseException,
    code: int | None,
    ends: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def failing(*_: object, **__: object) -> None:
        outcome.code = code
        raise error

    monkeypatch.setattr(api, "plan_in_turn", failing)
    monkeypatch.setattr(hints, "file", hints.file)
    monkeypatch.setattr(outcome, "code", None)
    words = ["connect", "root@a", "--via", "root@b", "--to", "10.0.44.0/24", "-q"]
    with pytest.raises(type(error)):
        cli.main(words, standalone_mode=False)
    printer.drain()
    told = capfd.readouterr().err
    assert (f"--to 10.0.44.0/24 -f {_FILE}` writes " in told) is bool(ends)
    assert told.strip().endswith(ends)
    assert ("shows it later" in told) is (code == 8)
