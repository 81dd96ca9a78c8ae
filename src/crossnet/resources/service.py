"""A systemd unit that is started at boot, and runs from then on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.question import text, texts
from crossnet.resources.resource import Encoded, Phase, Resource
from crossnet.resources.sh_tests import Locate, Test, both, is_absent, is_link
from crossnet.resources.steps import Command, Link, Look, Step

# systemd.unit(5): an enabled unit is a symbolic link in the folder of the unit that wants it. Making the link is
# what `systemctl enable` does, and needs no running manager.
UNITS = "/etc/systemd/system"
BOOT = "multi-user.target"
# What ends at boot a transaction that a power cut left open; the only thing that is written before a confirmation.
GUARD_UNIT = "crossnet-recover.service"
_TIME = re.compile(r"^OnCalendar=(.*)$", re.MULTILINE)
_LINK = re.compile(rf"{UNITS}/(?P<wants>[^/]+)\.wants/(?P<unit>crossnet[^/]*)")

# Where no systemd answers, or the files are another one's, there is nothing to do. Not waited for: a unit may wait
# for the network as long as it likes.
_START = (
    "systemctl daemon-reload 2>/dev/null || exit 0; "
    '[ ! -e "/etc/systemd/system/$1" ] || exec systemctl --no-block start "$1"'
)
_START_ANEW = _START.replace("--no-block start", "--no-block restart")
# What is made of a template, and what that one wants, runs beside the unit that wants it.
_START_BESIDE = (
    "systemctl daemon-reload 2>/dev/null || exit 0; "
    '[ -e "/etc/systemd/system/$1" ] || exit 0; shift; '
    "for unit; do "
    '! systemctl --quiet is-active "${unit#*@}" || systemctl --no-block start "$unit" || exit; '
    "done"
)
# A unit that is stopped without its file runs nothing (systemd: src/core/service.c), so this ends no forwarding.
_FORGET = (
    "systemctl daemon-reload 2>/dev/null || exit 0; "
    '[ -e "/etc/systemd/system/$1" ] || systemctl --no-block stop "$2" 2>/dev/null || :'
)
_ALL_BESIDE = "crossnet-*@*.service"


def unit_file(unit: str) -> str:
    """Where a unit or a template of crossnet's is."""
    return f"{UNITS}/{unit}"


@dataclass(frozen=True, slots=True)
class Service(Resource):
    """An enabled unit of /etc/systemd/system, or a template that is enabled for each unit in `wanted_by`.

    `stays` is whether it is to run from now on, not only at the next boot; `runs` is whether it does. What a
    template makes runs as long as the unit beside which it does, so it always counts as running. `times` are those of a
    timer, as its file has them: where they become others it is started anew. `failed` is why it does not run.
    """

    kind: ClassVar[str] = "service"
    rank: ClassVar[int] = 6  # a unit is enabled when its files are there
    place_shown: ClassVar[int] = 6
    goes_last: ClassVar[bool] = True  # what it does when it is stopped is for whoever stops it
    unit: str
    stays: bool = field(default=True, compare=False)
    runs: bool = True
    wanted_by: tuple[str, ...] = (BOOT,)
    times: tuple[str, ...] = ()
    failed: bool = field(default=False, compare=False)

    @property
    def key(self) -> str:
        return self.unit

    @property
    def phase(self) -> Phase:
        return Phase.GUARD if self.unit == GUARD_UNIT else Phase.PERSISTENT

    @property
    def file(self) -> str:
        return unit_file(self.unit)

    @property
    def is_template(self) -> bool:
        return "@." in self.unit

    @property
    def units(self) -> tuple[str, ...]:
        """Itself, or what is made of the template."""
        return tuple(dict.fromkeys(map(self._unit_for, self.wanted_by)))

    @property
    def starts(self) -> tuple[str, ...]:
        return self.units

    @property
    def links(self) -> tuple[str, ...]:
        return tuple(f"{UNITS}/{wants}.wants/{self._unit_for(wants)}" for wants in self.wanted_by)

    def _unit_for(self, wants: str) -> str:
        return self.unit.replace("@.", f"@{wants.removesuffix('.service')}.")

    @classmethod
    def traces(cls, facts: Facts) -> tuple[Self, ...]:
        found: dict[str, list[str]] = {}
        for path in facts.files:
            match = _LINK.fullmatch(path)
            state = facts.file_left(path) if match is not None else None
            if match is not None and state is not None and state.target is not None:
                found.setdefault(re.sub("@.*[.]", "@.", match["unit"]), []).append(match["wants"])
        return tuple(cls(unit, wanted_by=tuple(wants)) for unit, wants in found.items())

    def current(self, facts: Facts) -> Self | None:
        wants = zip(self.wanted_by, self.links, strict=True)
        linked = tuple(unit for unit, link in wants if facts.file_left(link) is not None)
        if not linked:
            return None
        runs = self.is_template or facts.units is None or facts.units.get(self.unit, False)
        failed = self.unit in facts.failed_units
        return replace(self, runs=runs, wanted_by=linked, times=self._times(facts), failed=failed)

    def _times(self, facts: Facts) -> tuple[str, ...]:
        file = facts.file_left(self.file) if self.times else None
        return tuple(_TIME.findall(file.data.decode(errors="replace"))) if file is not None else ()

    def satisfied_by(self, have: Self) -> bool:
        mine, theirs = ((one.unit, one.wanted_by, one.times) for one in (self, have))
        return mine == theirs and (have.runs or not self.stays)

    def differences(self, now: Self | None) -> tuple[str, ...]:
        if now is None:
            return (f"service {self.unit} is no longer enabled",)
        missing = [wants for wants in self.wanted_by if wants not in now.wanted_by]
        found = [f"service {self.unit} is no longer enabled with {', '.join(missing)}"] if missing else []
        if self.stays and not now.runs:
            how = (
                f"has failed; `journalctl -u {self.unit}` there says why" if now.failed else "is not running"
            )
            found.append(f"service {self.unit} {how}")
        if self.times != now.times:
            found.append(f"service {self.unit} goes off at another time than the one applied")
        return tuple(found)

    def look(self) -> tuple[Look, ...]:
        return tuple(map(PurePosixPath, self.links))

    def holds(self, locate: Locate) -> Test:
        return both(is_link(locate(link), self.file) for link in self.links)

    def lacks(self, locate: Locate) -> Test:
        return both(is_absent(locate(link)) for link in self.links)

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        side = want or have
        assert side is not None, "a change has at least one side"
        wanted, there = want.links if want else (), have.links if have else ()
        links = (
            *(Link(PurePosixPath(path), side.file) for path in wanted),
            *(Link(PurePosixPath(path), None) for path in there if path not in wanted),
        )
        if not side.stays:
            return links
        if want is None:
            return (*links, _run(_FORGET, side.unit, _ALL_BESIDE if side.is_template else side.unit))
        if side.is_template:
            return (*links, _run(_START_BESIDE, side.unit, *side.units))
        if side.times:
            return (*links, _run(_START_ANEW, side.unit))
        return (*links, _run(_START, side.unit))

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        if side.is_template:
            return f"{side.unit} enabled with {len(side.wanted_by)} other units"
        if want is not None and want.times and have is not None and have.times != want.times:
            return f"{side.unit} set to {', '.join(want.times)}"
        return f"{side.unit} {'started  (it is not running)' if have and want else 'enabled at boot'}"

    def encode(self) -> Encoded:
        return {**self.state(), **({} if self.runs else {"runs": False})}

    def state(self) -> Encoded:
        """Whether it is enabled, and by whom: it is started and stopped with that."""
        times = {"times": list(self.times)} if self.times else {}
        return {"unit": self.unit, "stays": self.stays, "wanted_by": list(self.wanted_by), **times}

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        wanted_by = texts(encoded["wanted_by"]) if "wanted_by" in encoded else (BOOT,)
        runs = encoded.get("runs", True) is True
        times = texts(encoded.get("times", []))
        stays = bool(encoded.get("stays"))
        return cls(text(encoded, "unit"), stays=stays, runs=runs, wanted_by=wanted_by, times=times)


def _run(script: str, *words: str) -> Command:
    return Command(("sh", "-c", script, "sh", *words))
