"""A systemd unit that is started at boot, and runs from then on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.question import text
from crossnet.resources.resource import Command, Encoded, Link, Look, Resource, Step

# systemd.unit(5): an enabled unit is a symbolic link in the folder of the target that wants it. Making the link
# is what `systemctl enable` does, and needs no running manager.
WANTS = "/etc/systemd/system/multi-user.target.wants"

# Where no systemd answers, or the files are another one's, there is nothing to do. Not waited for: a unit may wait
# for the network as long as it likes.
_START = (
    "systemctl daemon-reload 2>/dev/null || exit 0; "
    '[ ! -e "/etc/systemd/system/$1" ] || exec systemctl --no-block start "$1"'
)
# A unit that is stopped without its file runs nothing (systemd: src/core/service.c), so this ends no forwarding.
_FORGET = (
    "systemctl daemon-reload 2>/dev/null || exit 0; "
    '[ -e "/etc/systemd/system/$1" ] || systemctl --no-block stop "$1" 2>/dev/null || :'
)

OWN = "crossnet"  # how the names of crossnet's own units begin


@dataclass(frozen=True, slots=True)
class Service(Resource):
    """An enabled unit of /etc/systemd/system.

    `stays` is whether it is to run from now on, not only at the next boot; `runs` is whether it does.
    """

    kind: ClassVar[str] = "service"
    unit: str
    stays: bool = field(default=True, compare=False)
    runs: bool = True

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
        if facts.file(self.link) is None:
            return None
        return replace(self, runs=facts.units is None or facts.units.get(self.unit, False))

    def satisfied_by(self, have: Self) -> bool:
        return self.unit == have.unit and (have.runs or not self.stays)

    def look(self) -> tuple[Look, ...]:
        return (PurePosixPath(self.link),)

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        side = want or have
        assert side is not None, "a change has at least one side"
        link = Link(PurePosixPath(side.link), f"/etc/systemd/system/{side.unit}" if want else None)
        command = Command(("sh", "-c", _START if want else _FORGET, "sh", side.unit))
        return (link, command) if side.stays else (link,)

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        return f"{side.unit} {'started  (it does not run)' if have and want else 'enabled at boot'}"

    def encode(self) -> Encoded:
        return {"unit": self.unit, "stays": self.stays}

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        return cls(text(encoded, "unit"), stays=bool(encoded.get("stays")))
