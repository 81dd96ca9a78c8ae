"""Many questions in one round trip, asked for real of this machine through every shell that it has."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossnet.errors import HostError
from crossnet.transport import LIMIT, TIMEOUT, Completed
from crossnet.transport.batch import Answer, ask
from crossnet.transport.local import Local
from transport.shells import SHELLS, Through, through


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def host(request: pytest.FixtureRequest) -> Through:
    return through(request.param)


def answers(host: Through, *questions: Sequence[str]) -> list[Answer]:
    return asyncio.run(ask(host, questions))


def script(text: str, *words: str) -> tuple[str, ...]:
    return ("sh", "-c", text, "sh", *words)


def test_answers_come_in_order_with_their_exit_codes(host: Through) -> None:
    asked = [script(f"echo {number}; exit {number}") for number in (0, 3, 0, 255, 1)]
    assert [answer.returncode for answer in answers(host, *asked)] == [0, 3, 0, 255, 1]
    assert [answer.text.splitlines()[0] for answer in answers(host, *asked)] == ["0", "3", "0", "255", "1"]


def test_no_questions(host: Through) -> None:
    assert answers(host) == []


def test_errors_are_told_only_where_a_question_failed(host: Through) -> None:
    fine, failed, silent = answers(
        host,
        script("echo said; echo complaint >&2"),
        script("echo said; echo complaint >&2; exit 1"),
        script("exit 1"),
    )
    assert fine == Answer(0, b"said\n")
    assert failed == Answer(1, b"said\n", b"complaint")
    assert silent == Answer(1, b"", b"")


def test_of_a_tool_that_complains_at_length_the_end_is_told(host: Through) -> None:
    (found,) = answers(
        host, script("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo last words >&2; exit 5")
    )
    assert (found.returncode, found.stdout) == (5, b"")
    assert found.stderr.endswith(b"xxlast words")
    assert len(found.stderr) < 4200


def test_a_command_that_is_not_there(host: Through) -> None:
    missing, there = answers(host, ("no-such-command-anywhere", "-j"), ("echo", "after"))
    assert missing.returncode == 127
    assert "no-such-command-anywhere" in missing.error_text
    assert there == Answer(0, b"after\n")


@pytest.mark.parametrize(
    "output",
    ["", "\n", "\n\n", "no newline at the end", "one\n", "one\n\n", "\nleading", "tab\there\n", "  blanks  "],
)
def test_output_comes_as_it_is(host: Through, output: str) -> None:
    one, other = answers(host, ("printf", "%s", output), ("printf", "%s", output))
    assert one == other == Answer(0, output.encode())


def test_output_that_is_no_text(host: Through) -> None:
    """It comes as it is, its text has replacements in it, and nothing behind it is lost."""
    binary, after = answers(host, script(r"printf '\377\376 \001\033[31m x'"), ("echo", "after"))
    assert binary.stdout == b"\xff\xfe \x01\x1b[31m x"
    assert binary.text == "�� \x01\x1b[31m x"
    assert after == Answer(0, b"after\n")


def test_a_big_answer_comes_whole(host: Through) -> None:
    big, after = answers(
        host, script("i=0; while [ $i -lt 40000 ]; do echo line $i; i=$((i+1)); done"), ("true",)
    )
    assert big.text == "".join(f"line {number}\n" for number in range(40000))
    assert after.ok


def test_a_question_cannot_read_what_was_sent_for_others(host: Through) -> None:
    assert answers(host, ("cat",), ("echo", "after")) == [Answer(0, b""), Answer(0, b"after\n")]


def test_a_question_changes_nothing_for_the_next(host: Through, tmp_path: Path) -> None:
    _, _, _, where, variables = answers(
        host,
        ("cd", str(tmp_path)),
        ("set", "--", "a", "b"),
        ("exit", "9"),
        ("pwd",),
        script('echo "${boundary-none} ${count-none} ${number-none} ${words-none} ${script-none}"'),
    )
    assert where.text != f"{tmp_path}\n"
    assert variables.text == "none none none none none\n"


def test_a_script_is_run_by_the_shell_that_is_there_already(host: Through) -> None:
    """One that ends, fails or has functions of its own changes nothing for the next, with and without words."""
    one, failed, own, other = answers(
        host,
        ("sh", "-c", 'echo "$$ $#"'),
        script("set -eu; false; echo never"),
        script('question() { echo "own $1"; }; question "$2"', "a", "b c"),
        script('echo "$$ $#"', "a", "b"),
    )
    assert (failed.returncode, failed.stdout) == (1, b"")
    assert own.text == "own b c\n"
    shell, count = one.text.split()
    assert (count, other.text) == ("0", f"{shell} 2\n")


def test_a_question_holds_nothing_of_the_script_open(host: Through) -> None:
    """What a question leaves running in the background must not keep the answer from ending."""
    (found,) = answers(host, script("for n in 3 4 5 6; do [ -e /proc/self/fd/$n ] && echo $n; done; true"))
    assert "3" not in found.text.split()


HOSTILE = [
    "$(touch /tmp/crossnet-was-interpreted)",
    "`touch /tmp/crossnet-was-interpreted`",
    "; touch /tmp/crossnet-was-interpreted",
    "' \" \\ $HOME ${PATH} *",
    "a\nb\n",
    "-n",
    "--",
    "",
    " ",
    "ü→語",
    "3>&1",
    "!history",
    "%s %d \\n",
    "\x01\x7f",
]


@pytest.mark.parametrize("word", HOSTILE, ids=repr)
def test_a_word_is_never_interpreted(host: Through, word: str) -> None:
    one, other = answers(host, ("printf", "%s|", word, word), script('printf "%s|" "$@"', word, "end"))
    assert one == Answer(0, f"{word}|{word}|".encode())
    assert other == Answer(0, f"{word}|end|".encode())
    assert not Path("/tmp/crossnet-was-interpreted").exists()


def test_more_than_nine_words(host: Through) -> None:
    words = [str(number) for number in range(1, 25)]
    (one,) = answers(host, ("echo", *words))
    assert one.text.split() == words


WORDS = st.lists(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8), max_size=6
)


@given(st.lists(WORDS, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_words(questions: list[list[str]]) -> None:
    asked = [("printf", "%s\n", *words) if words else ("true",) for words in questions]
    found = asyncio.run(ask(Local("here"), asked))
    assert found == [Answer(0, "".join(f"{word}\n" for word in words).encode()) for words in questions]


# ---- what a host may say to lead astray -------------------------------------------------------------


class Overheard(Local):
    """Keeps the command that was run."""

    argv: tuple[str, ...] = ()

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed:
        self.argv = tuple(argv)
        return await super().run(argv, stdin=stdin, timeout=timeout, limit=limit)


def test_the_boundary_is_another_one_each_time_and_not_to_be_guessed() -> None:
    host = Overheard("here")
    seen = set()
    for _ in range(5):
        asyncio.run(ask(host, [("true",)]))
        boundary = host.argv[4]
        assert len(boundary) >= 16
        seen.add(boundary)
    assert len(seen) == 5


def test_an_answer_that_looks_like_the_end_of_one() -> None:
    text = "\n--crossnet-0123456789abcdef 0\n\n--crossnet- 0\n"
    assert asyncio.run(ask(Local("here"), [("printf", "%s", text), ("echo", "b")])) == [
        Answer(0, text.encode()),
        Answer(0, b"b\n"),
    ]


@pytest.mark.parametrize("said", [b"", b"sh: command not found\n", b"\n--crossnet-x 0\n"])
def test_a_host_whose_sh_is_none_is_told(said: bytes) -> None:
    class Broken(Local):
        async def run(
            self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
        ) -> Completed:
            return Completed("old", tuple(argv), 127, said, b"nologin: this account is closed\n")

    with pytest.raises(HostError) as refused:
        asyncio.run(ask(Broken("old"), [("true",), ("true",)]))
    assert "asked 2 questions in one go" in str(refused.value)
    assert "this account is closed" in str(refused.value)


def test_a_host_that_stops_in_the_middle_is_an_error_not_half_an_answer() -> None:
    class Cut(Local):
        async def run(
            self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
        ) -> Completed:
            whole = await super().run(argv, stdin=stdin, timeout=timeout, limit=limit)
            return Completed("here", tuple(argv), 255, whole.stdout[:-3], b"connection lost")

    with pytest.raises(HostError, match="connection lost"):
        asyncio.run(ask(Cut("here"), [("echo", "a"), ("echo", "b")]))


def test_questions_that_take_too_long_are_told_without_the_script_that_asks_them() -> None:
    with pytest.raises(HostError) as late:
        asyncio.run(ask(Local("here"), [("sleep", "600")], timeout=0.3))
    told = str(late.value)
    assert "no answer within 0.3 s" in told
    assert len(told.splitlines()) == 2
    assert "eval" not in told


def test_of_many_questions_the_one_that_hangs_is_named(host: Through) -> None:
    asked = [("echo", "a"), script("echo half; sleep 600"), ("echo", "b")]
    with pytest.raises(
        HostError, match=r"^here: ran `sh -c echo half; sleep 600 sh`: no answer within 0.5 s;"
    ):
        asyncio.run(ask(host, asked, timeout=0.5))
    with pytest.raises(HostError, match=r"^here: thought hard: no answer within"):
        asyncio.run(ask(host, asked, tried=("said a", "thought hard", "said b"), timeout=0.5))


def test_what_a_question_leaves_running_is_told(host: Through) -> None:
    with pytest.raises(HostError, match=r"asked 2 questions in one go: all were answered, but something"):
        asyncio.run(ask(host, [script("sleep 600 & echo a"), ("echo", "b")], timeout=0.5))


def test_what_is_written_in_the_script_is_posix() -> None:
    """Only words that were given as words reach `eval`."""
    host = Overheard("here")
    asyncio.run(ask(host, [("echo", "$(id)")]))
    assert "$(id)" not in host.argv[2]
    assert shlex.join(host.argv[5:]) == "2 echo '$(id)'"
