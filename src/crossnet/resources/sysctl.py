"""A kernel setting."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.question import text, texts
from crossnet.facts.sysctls import FORWARDING, at_boot, is_forwarding, path_of
from crossnet.resources.resource import Encoded, Resource, Within
from crossnet.resources.sh_tests import Locate, Test
from crossnet.resources.steps import Command, Look, Step
from crossnet.values import Family, Network

_OF_IPV6 = (".forwarding", ".force_forwarding")
_SETTINGS_ARE = """
# settings_are NAME=VALUE...: whether they are; one of an interface that has gone does not count
settings_are() {
    for setting; do
        value=$(sysctl -n "${setting%%=*}" 2>/dev/null) || continue
        [ "$value" = "${setting#*=}" ] || return
    done
}
"""


@dataclass(frozen=True, slots=True)
class Sysctl(Resource):
    """A setting and its value; `disturbed` are other settings that writing it changes, as they were.

    Writing a changed `ip_forward` sets `forwarding` of every interface and flips `conf.all.accept_redirects`
    (measured; net/ipv4/devinet.c), and writing 0 to that of IPv6 sets `force_forwarding` of every interface to 0
    (measured with 6.18; net/ipv6/addrconf.c). Putting back only the one would not be the old state.
    """

    kind: ClassVar[str] = "sysctl"
    rank: ClassVar[int] = 2  # forwarding starts behind rules that already stand
    place_shown: ClassVar[int] = 4
    is_never_absent: ClassVar[bool] = True
    heals: ClassVar[bool] = True
    name: str
    value: str
    disturbed: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @property
    def key(self) -> str:
        return self.name

    @property
    def within(self) -> frozenset[Within]:
        return frozenset({Within.SETTINGS})

    def current(self, facts: Facts) -> Self | None:
        value = facts.sysctls.get(self.name)
        if value is None:
            return None
        disturbed = tuple(
            (name, facts.sysctls[name])
            for name in sorted(facts.sysctls, key=_all_first)
            if _is_disturbed(self.name, name)
        )
        return type(self)(self.name, value, disturbed)

    def has_place(self, facts: Facts) -> bool:
        return self.name in facts.sysctls

    def decides(self, family: Family) -> bool:
        """Where it is on, it lets through what the rules let through, and takes nothing away."""
        return self.closes and is_forwarding(self.name, family)

    @property
    def closes(self) -> bool:
        return self.value == "0" and any(is_forwarding(self.name, family) for family in Family)

    def is_given_up(self, facts: Facts) -> bool:
        """Forwarding that is off now, and that no file of sysctl.d, crossnet's own among them, switches on at a boot.

        Whoever had it on did so by himself, as dockerd does when it starts: together with rules that kept others out.
        """
        if self.name not in FORWARDING.values() or facts.sysctls.get(self.name) != "0":
            return False
        line = at_boot(facts.boot_settings, self.name, systemd=facts.capabilities.systemd)
        return line is None or line.value == "0"

    def ages_routes(self, family: Family) -> bool:
        """The kernel drops them when forwarding begins (ip-sysctl, accept_ra)."""
        return family is Family.V6 and (is_forwarding(self.name, family) or self.name.endswith(".accept_ra"))

    def differences(self, now: Self | None) -> tuple[str, ...]:
        if now is None:
            return (f"{self.name} is gone with its interface",)
        return (f"{self.name} is {now.value}, was applied as {self.value}",)

    @property
    def values(self) -> Mapping[str, str]:
        return {self.name: self.value}

    @property
    def settings(self) -> tuple[str, ...]:
        return (self.name, *(name for name, _ in self.disturbed))

    def look(self) -> tuple[Look, ...]:
        return (Command(("sysctl", "-e", *(_path(name) for name in self.settings))),)

    def watched(self) -> tuple[Look, ...]:
        return (PurePosixPath(path_of(self.name)),)

    def holds(self, locate: Locate) -> Test:
        return Test.of("settings_are", *self._pairs, function=_SETTINGS_ARE)

    def lacks(self, locate: Locate) -> Test:
        return self.holds(locate)  # it goes with its interface, and nobody can remove it

    @property
    def _pairs(self) -> tuple[str, ...]:
        """In the order in which sysctl(8) writes them."""
        return tuple(f"{_path(name)}={value}" for name, value in ((self.name, self.value), *self.disturbed))

    def serves(self, family: Family, destinations: Collection[Network], *, on_gateway: bool) -> bool:
        return on_gateway

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        if want is None:
            return ()  # it goes with its interface, and nobody can remove it
        # -e: an interface that was there then may have gone, and its settings with it.
        return (Command(("sysctl", "-e", "-q", "-w", *want._pairs)),)

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        heard = want is not None and want.value == "2" and want.name.endswith(".accept_ra")
        why = ", or forwarding would let what routers advertise expire" if heard else ""
        return f"{side.name}  {have.value if have else '?'} → {want.value if want else '?'}{why}"

    @property
    def found(self) -> str:
        return f"{self.name} = {self.value}"

    def encode(self) -> Encoded:
        return {"name": self.name, "value": self.value, "disturbed": [list(pair) for pair in self.disturbed]}

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        return cls(
            text(encoded, "name"),
            text(encoded, "value"),
            tuple((name, value) for name, value in map(texts, encoded["disturbed"])),
        )


def _path(name: str) -> str:
    """The slashes let an interface name hold dots (sysctl.d(5))."""
    return name.translate(str.maketrans("./", "/."))


def _all_first(name: str) -> tuple[bool, str]:
    """Of the settings of interfaces that of all, as writing it may set the others."""
    return ".conf.all." not in name, name


def _is_disturbed(written: str, other: str) -> bool:
    if written == "net.ipv4.ip_forward":
        return other == "net.ipv4.conf.all.accept_redirects" or (
            other.startswith("net.ipv4.conf.") and other.endswith(".forwarding")
        )
    if written == "net.ipv6.conf.all.forwarding":
        return other != written and other.startswith("net.ipv6.conf.") and other.endswith(_OF_IPV6)
    return False
