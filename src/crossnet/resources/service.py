"""A systemd unit that is started at boot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.question import text
from crossnet.resources.resource import Encoded, Link, Look, Resource, Step

# systemd.unit(5): an enabled unit is a symbolic link in the folder of the target that wants it. Making the link
# is what `systemctl enable` does, and needs no running manager.
WANTS = "/etc/systemd/system/multi-user.target.wants"

OWN = "crossnet"  # how the names of crossnet's own units begin


@dataclass(frozen=True, slots=True)
class Service(Resource):
    """An enabled unit of /etc/systemd/system."""

    kind: ClassVar[str] = "service"
    unit: str

    @property
    def key(self) -> str:
        return self.unit

    @property
    def link(self) -> str:
        return f"{WANTS}/{self.unit}"

    @classmethod
    def traces(cls, facts: Facts) -> tuple[Self, ...]:
        begins = f"{WANTS}/{OWN}"
        return tuple(
            cls(path.removeprefix(f"{WANTS}/"))
            for path in facts.files
            if path.startswith(begins)
            and (state := facts.file(path)) is not None
            and state.target is not None
        )

    def current(self, facts: Facts) -> Self | None:
        return type(self)(self.unit) if facts.file(self.link) else None

    def look(self) -> tuple[Look, ...]:
        return (PurePosixPath(self.link),)

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        if want is None:
            assert have is not None, "a change has at least one side"
            return (Link(PurePosixPath(have.link), None),)
        return (Link(PurePosixPath(want.link), f"/etc/systemd/system/{want.unit}"),)

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        return f"{side.unit} enabled at boot"

    def encode(self) -> Encoded:
        return {"unit": self.unit}

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        return cls(text(encoded, "unit"))
