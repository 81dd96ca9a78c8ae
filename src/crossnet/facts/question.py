"""The one door for what a host says: a question, what its answer means, and what becomes of any other answer.

No answer, whatever its bytes and its exit code, leaves this door as anything but a value that was checked or a
HostError with the host, the question in words and what was said instead.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from crossnet.errors import CrossnetError, HostError
from crossnet.facts.packages import PACKAGES
from crossnet.transport import TIMEOUT, Host
from crossnet.transport.argv import check_word
from crossnet.transport.batch import Answer, ask

T = TypeVar("T")

BY_HAND = "Run it by hand on the host to see more."

_MOST = 200  # characters of an answer in a message
_LONG = 2**20  # bytes

# POSIX sh: the command is not there, it cannot be run.
_NOT_FOUND = 127
_MISSING = re.compile(r"([^\s:]+): (?:command )?not found")

NEEDS_ROOT = "crossnet needs root there: add `become: sudo` to the host, or connect as root."


class Unanswered(Exception):
    """What a parser raises where a tool could not say it: what was seen, and what to do next."""

    def __init__(self, seen: str, todo: str = BY_HAND) -> None:
        self.seen, self.todo = seen, todo
        super().__init__(seen)


@dataclass(frozen=True, slots=True, eq=False)
class Question(Generic[T]):
    """A command for a host, and what its answer means; `tried` is what an error says of it.

    `parse` takes what the command printed when it ended well, `failed` the answer when it did not: where that
    is None a failure is an error. Both may raise whatever they like. What is no UTF-8 is replaced in the text:
    names and comments of others are any bytes.
    """

    tried: str
    argv: tuple[str, ...]
    parse: Callable[[str], T]
    failed: Callable[[Answer], T] | None = None

    def meaning(self, host: str, answer: Answer) -> T:
        """What the host says; HostError for anything that it cannot mean."""
        with door(host, self.tried, answer.stdout), _without_collector(len(answer.stdout)):
            if answer.ok:
                return self.parse(answer.text)
            if self.failed is None:
                refuse(answer, self.argv[0])
            return self.failed(answer)


@contextmanager
def door(host: str, tried: str, said: bytes, todo: str = BY_HAND) -> Iterator[None]:
    """What is done within ends well, or in a CrossnetError: any surprise about `said` becomes a HostError."""
    try:
        yield
    except CrossnetError:
        raise
    except Unanswered as error:
        raise HostError(host, tried, error.seen, error.todo) from None
    except Exception as error:
        seen = f"cannot be understood ({_reason(error)}): {first_line(said)}"
        raise HostError(host, tried, seen, todo) from error


@contextmanager
def _without_collector(size: int) -> Iterator[None]:
    """Python looks for no cycles of objects meanwhile, where an answer of so many bytes is a long one.

    Values have none, and as they become more and more it would look at all of them again and again: of 100,000 routes
    that was a fourth of the time (measured).
    """
    if size < _LONG or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Said:
    """The answers of one batch, each found by its question."""

    def __init__(self, meanings: Mapping[Question[Any], Any]) -> None:
        self._meanings = meanings

    def __getitem__(self, question: Question[T]) -> T:
        meaning: T = self._meanings[question]
        return meaning


async def put(host: Host, questions: Sequence[Question[Any]], *, timeout: float = TIMEOUT) -> Said:
    """Ask a host all of it in one round trip; HostError where one of the answers is none."""
    argvs, tried = [question.argv for question in questions], [question.tried for question in questions]
    answers = await ask(host, argvs, tried=tried, timeout=timeout)
    return Said({q: q.meaning(host.name, answer) for q, answer in zip(questions, answers, strict=True)})


def refuse(answer: Answer, tool: str) -> NoReturn:
    """What a command that failed had to say, as an error."""
    lines = answer.error_text.splitlines() or answer.text.strip().splitlines()
    if answer.returncode == _NOT_FOUND and (missing := _MISSING.search(answer.error_text)):
        tool = missing[1] if tool == "sh" else tool
        raise Unanswered(f"{tool}: not found", f"Install {PACKAGES.get(tool, tool)} on the host.")
    said = f": {lines[0][:_MOST]}" if lines else " without a word"
    if any(word in answer.error_text for word in ("ermission denied", "not permitted")):
        raise Unanswered(
            f"exit code {answer.returncode}{said}",
            NEEDS_ROOT,
        )
    raise Unanswered(f"exit code {answer.returncode}{said}")


def first_line(said: bytes) -> str:
    """The beginning of an answer for a message, whatever it is."""
    lines = said[: 4 * _MOST].decode(errors="replace").strip().splitlines()
    return repr(lines[0][:_MOST]) if lines else "it said nothing"


def _reason(error: Exception) -> str:
    match error:
        case RecursionError():
            return "it is nested too deep"
        case KeyError():
            return f"{error} is missing"
        case MemoryError():
            return "it is too big"
    lines = str(error).splitlines()
    return lines[0][:_MOST] if lines else type(error).__name__


# ---- JSON from outside: every type is checked --------------------------------------------------------


def read_json(said: bytes) -> Any:
    """What JSON says; ValueError also where a text in it could be no word of a command, nor the name of a file."""
    value = json.loads(said)
    for one in _texts_in(value):
        check_word(one)
    return value


def _texts_in(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _texts_in(item)
        case dict():
            yield from value
            yield from _texts_in(list(value.values()))


def objects(value: Any) -> list[Mapping[str, Any]]:
    """A list of objects."""
    if not isinstance(value, list):
        raise ValueError(f"{_kind(value)} where a list is expected")
    for entry in value:
        if not isinstance(entry, dict):
            raise ValueError(f"{_kind(entry)} where an object is expected")
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{_kind(value)} where an object is expected")
    return value


def text(entry: Mapping[str, Any], key: str) -> str:
    value = entry[key]
    if not isinstance(value, str):
        raise ValueError(f"{key} is {_kind(value)}, not a text")
    return value


def text_or(entry: Mapping[str, Any], key: str, other: T) -> str | T:
    """The text under a key; `other` where there is none."""
    return text(entry, key) if entry.get(key) is not None else other


def number(entry: Mapping[str, Any], key: str) -> int:
    value = entry[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{key} is {_kind(value)}, not a number")
    return value


def number_or(entry: Mapping[str, Any], key: str, other: T) -> int | T:
    """The number under a key; `other` where there is none."""
    return number(entry, key) if entry.get(key) is not None else other


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{_kind(value)} where a list of texts is expected")
    return tuple(value)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a fraction"}
    return names.get(
        type(value), json.dumps(value) if value is None or isinstance(value, bool) else "another"
    )
