"""A script of /etc/init.d that OpenRC or SysV init starts at boot."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.init import Init
from crossnet.facts.question import text, texts
from crossnet.resources.resource import Encoded, Phase, Resource
from crossnet.resources.sh_tests import Locate, Test, both, is_absent, is_link
from crossnet.resources.steps import Command, Link, Look, Step

FOLDER = "/etc/init.d"
# What ends at boot a transaction that a power cut left open; the only thing that is written before a confirmation.
GUARD_SCRIPT = "crossnet-recover"

_RUNLEVELS = "/etc/runlevels"
# openrc: src/librc/librc.c, rc_service_mark. Who has no script any more would be told to stop, and could not.
_STARTED = "/run/openrc/started"

_LOOK = 'cd /etc && ls -d rc?.d/[SK][0-9][0-9]"$1" 2>/dev/null; true'
_HAS_INIT_LINK = """
# has_init_link NAME: whether SysV init starts it at boot, whatever its number
has_init_link() {
    for link in /etc/rc[S2-5].d/S[0-9][0-9]"$1"; do [ ! -L "$link" ] || return 0; done
    return 1
}
"""


def script_file(name: str) -> str:
    """Where a script of crossnet's is."""
    return f"{FOLDER}/{name}"


@dataclass(frozen=True, slots=True)
class InitScript(Resource):
    """That a script is started at boot: the links that say so, one in the folder of each runlevel.

    rc-update(8), chkconfig(8): making the links is all that enabling one is. Where insserv orders the scripts it makes
    them itself, with numbers in their names that change whenever another script comes or goes: of these `links` has
    only the folders.
    """

    kind: ClassVar[str] = "init-script"
    rank: ClassVar[int] = 6  # a script is started when its files are there
    place_shown: ClassVar[int] = 6
    # insserv gives the others their numbers back when the file is gone (measured with 1.24).
    goes_last: ClassVar[bool] = True
    name: str
    init: Init
    links: tuple[str, ...]

    @property
    def key(self) -> str:
        return self.name

    @property
    def phase(self) -> Phase:
        return Phase.GUARD if self.name == GUARD_SCRIPT else Phase.PERSISTENT

    @property
    def _runlevels(self) -> frozenset[PurePosixPath]:
        paths = map(PurePosixPath, self.links)
        return frozenset(path if self.init is Init.INSSERV else path.parent for path in paths)

    @classmethod
    def _found(cls, facts: Facts, name: str) -> Self | None:
        if facts.init is None:
            return None
        links = tuple(link for link in facts.init.links if _script_of(link) == name)
        if facts.init.init is Init.INSSERV:
            links = tuple(dict.fromkeys(str(PurePosixPath(link).parent) for link in links))
        return cls(name, facts.init.init, links) if links else None

    @classmethod
    def traces(cls, facts: Facts) -> tuple[Self, ...]:
        found = [_script_of(link) for link in (facts.init.links if facts.init else ())]
        own = dict.fromkeys(name for name in found if name.split("-")[0] == "crossnet")
        return tuple(one for name in own if (one := cls._found(facts, name)) is not None)

    def current(self, facts: Facts) -> Self | None:
        return self._found(facts, self.name)

    def knowing(self, before: Resource | None, facts: Facts) -> Self:
        have = self.current(facts)
        return have if have is not None and self.satisfied_by(have) else self

    def satisfied_by(self, have: Self) -> bool:
        return (self.name, self._runlevels) == (have.name, have._runlevels)

    def differences(self, now: Self | None) -> tuple[str, ...]:
        if now is None:
            return (f"init script {self.name} is no longer started at boot",)
        missing = sorted(level.name for level in self._runlevels - now._runlevels)
        return (f"init script {self.name} is no longer started in {', '.join(missing)}",) if missing else ()

    def look(self) -> tuple[Look, ...]:
        if self.init is Init.INSSERV:
            return (Command(("sh", "-c", _LOOK, "sh", self.name)),)
        return tuple(map(PurePosixPath, self.links))

    def holds(self, locate: Locate) -> Test:
        if self.init is Init.INSSERV:
            return Test.of("has_init_link", self.name, function=_HAS_INIT_LINK)
        return both(is_link(locate(link), self._target) for link in self.links)

    def lacks(self, locate: Locate) -> Test:
        if self.init is Init.INSSERV:
            return Test(f"! has_init_link {shlex.quote(self.name)}", functions=(_HAS_INIT_LINK,))
        return both(is_absent(locate(link)) for link in self.links)

    @property
    def _target(self) -> str:
        return script_file(self.name) if self.init is Init.OPENRC else f"../init.d/{self.name}"

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        side = want or have
        assert side is not None, "a change has at least one side"
        if side.init is Init.INSSERV:
            words = (side.name, "defaults") if want else ("-f", side.name, "remove")
            return (Command(("update-rc.d", *words)),)
        wanted, there = want.links if want else (), have.links if have else ()
        gone = [link for link in there if link not in wanted]
        if want is None and side.init is Init.OPENRC:
            gone.append(f"{_STARTED}/{side.name}")
        return (
            *(Link(PurePosixPath(path), side._target) for path in wanted),
            *(Link(PurePosixPath(path), None) for path in gone),
        )

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        return f"{side.name} started at boot"

    def encode(self) -> Encoded:
        return {"name": self.name, "init": str(self.init), "links": list(self.links)}

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        return cls(text(encoded, "name"), Init(text(encoded, "init")), texts(encoded["links"]))


def link_of(init: Init, runlevel: str, name: str, number: int = 0) -> str:
    """What `links` has for a runlevel; `number` is the place of the script in one of SysV."""
    match init:
        case Init.OPENRC:
            return f"{_RUNLEVELS}/{runlevel}/{name}"
        case Init.SYSV:
            return f"/etc/rc{runlevel}.d/S{number:02}{name}"
        case Init.INSSERV:
            return f"/etc/rc{runlevel}.d"


def _script_of(link: str) -> str:
    name = PurePosixPath(link).name
    return name if link.startswith(_RUNLEVELS) else name[3:]
