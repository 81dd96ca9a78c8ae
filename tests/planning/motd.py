"""A kind that no stage of crossnet knows: what a host says to whoever logs in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.question import Question, text
from crossnet.resources import Encoded, Locate, Look, Resource, Step, Test, Write

PATH = "/etc/motd"
SAID = Question("read what it says at login", ("sh", "-c", f"cat {PATH} 2>/dev/null; true"), str)
MARK = "crossnet:"

_SAYS = """
# says WORDS: whether that is what it says at login
says() { [ "$(cat /etc/motd 2>/dev/null)" = "$1" ]; }
"""


@dataclass(frozen=True, slots=True)
class Motd(Resource):
    """One line in /etc/motd, and nothing else there."""

    kind: ClassVar[str] = "motd"
    rank: ClassVar[int] = 4  # it is said when the way is there
    place_shown: ClassVar[int] = 9
    questions: ClassVar[tuple[Question[Any], ...]] = (SAID,)
    words: str

    @property
    def key(self) -> str:
        return PATH

    @classmethod
    def traces(cls, facts: Facts) -> tuple[Self, ...]:
        said = facts.answers.get(SAID, "").strip()
        return (cls(said),) if said.startswith(MARK) else ()

    def current(self, facts: Facts) -> Self | None:
        said = facts.answers.get(SAID, "").strip()
        return type(self)(said) if said else None

    def look(self) -> tuple[Look, ...]:
        return (PurePosixPath(PATH),)

    def holds(self, locate: Locate) -> Test:
        return Test.of("says", self.words, function=_SAYS)

    def lacks(self, locate: Locate) -> Test:
        return Test.of("says", "", function=_SAYS)

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        return (Write(PurePosixPath(PATH), f"{want.words}\n".encode() if want else None),)

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        if have and want:
            return f"{have.words} → {want.words}"
        side = want or have
        assert side is not None, "a change has at least one side"
        return side.words

    def encode(self) -> Encoded:
        return {"words": self.words}

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        return cls(text(encoded, "words"))
