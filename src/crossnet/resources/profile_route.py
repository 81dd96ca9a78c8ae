"""A route in a profile of NetworkManager, which nmcli puts there and takes out again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.routes import Route
from crossnet.resources.encoding import decode_fields, encode_fields
from crossnet.resources.resource import Encoded, Phase, Resource
from crossnet.resources.sh_tests import Locate, Test
from crossnet.resources.steps import Command, Line, Look, Step
from crossnet.values import family_of

# nmcli(1), -g: a value as it is, routes with `, ` between, and a backslash before each `:`.
_ONE_A_LINE = r"""tr ',' '\n' | sed 's/^ //; s/\\//g'"""

_LISTED = f"""
# listed UUID SETTING: the routes of a profile, one a line
listed() {{
    routes=$(LC_ALL=C nmcli -g "$2" connection show uuid "$1") || return
    printf '%s\\n' "$routes" | {_ONE_A_LINE}
}}
"""

# UUID SETTING +|- ROUTE. nmcli ends well also where there was nothing to take out (measured with 1.42.4): so the
# profile is read again.
CHANGE = (
    'LC_ALL=C nmcli connection modify uuid "$1" "$3$2" "$4" || exit; '
    'routes=$(LC_ALL=C nmcli -g "$2" connection show uuid "$1") || exit; '
    f"""case $3$(printf '%s\\n' "$routes" | {_ONE_A_LINE} | grep -cxF -e "$4") in +1 | -0) ;; """
    '*) echo "nmcli has not done it: the profile has $routes" >&2; exit 1 ;; esac'
)

# UUID SETTING +|- stop|go-on, with the routes on standard input: one call, of which all is done or nothing.
_MANY = (
    'uuid=$1 setting=$2 sign=$3; set --; while read -r line; do set -- "$@" "$sign$setting" "$line"; done; '
    'LC_ALL=C nmcli connection modify uuid "$uuid" "$@" || { echo "Command failed -:1" >&2; exit 1; }; '
    'routes=$(LC_ALL=C nmcli -g "$setting" connection show uuid "$uuid") || exit; '
    f"""routes=$(printf '%s\\n' "$routes" | {_ONE_A_LINE}); number=0; while [ $# -gt 0 ]; do """
    """number=$((number + 1)); case $sign$(printf '%s\\n' "$routes" | grep -cxF -e "$2") in +1 | -0) ;; """
    '*) echo "nmcli has not done it: $2" >&2; echo "Command failed -:$number" >&2; exit 1 ;; esac; '
    "shift 2; done"
)


@dataclass(frozen=True, slots=True)
class ProfileRoute(Resource):
    """One route of a profile, for the next time that it is activated; all others in it are never touched.

    `profile` is its uuid; it holds a route that leaves by whichever interface the profile is for.
    """

    kind: ClassVar[str] = "profile"
    rank: ClassVar[int] = 5  # with the files
    place_shown: ClassVar[int] = 5
    is_of_all_crossings: ClassVar[bool] = True
    clients_have: ClassVar[bool] = True
    profile: str
    route: Route

    @property
    def phase(self) -> Phase:
        return Phase.PERSISTENT

    @property
    def key(self) -> str:
        return f"{self.profile} {self.entry}"

    @property
    def setting(self) -> str:
        return f"ipv{family_of(self.route.destination).value}.routes"

    @property
    def entry(self) -> str:
        """The route as nmcli lists it: with its metric, for the profile has one of its own."""
        route = self.route
        words = [str(route.destination), *([str(route.via)] if route.via else []), str(route.metric)]
        return " ".join([*words, *([f"src={route.source}"] if route.source else [])])

    def current(self, facts: Facts) -> Self | None:
        return self if self.entry in facts.profiles.get(self.profile, ()) else None

    def has_place(self, facts: Facts) -> bool:
        return self.profile in facts.profiles

    def look(self) -> tuple[Look, ...]:
        return (Command(("nmcli", "-g", self.setting, "connection", "show", "uuid", self.profile)),)

    def holds(self, locate: Locate) -> Test:
        return Test(f"{self._listed} && {self._found}", functions=(_LISTED,))

    def lacks(self, locate: Locate) -> Test:
        return Test(f"{self._listed} && ! {self._found}", functions=(_LISTED,))

    @property
    def _listed(self) -> str:
        return f"routes=$({shlex.join(('listed', self.profile, self.setting))})"

    @property
    def _found(self) -> str:
        return f"printf '%s\\n' \"$routes\" | {shlex.join(('grep', '-qxF', '-e', self.entry))}"

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        side = want or have
        assert side is not None, "a change has at least one side"
        words = (side.profile, side.setting, "+" if want else "-", side.entry)
        return (Command(("sh", "-c", CHANGE, "sh", *words)),)

    @classmethod
    def line(cls, have: Self | None, want: Self | None) -> Line | None:
        if have is not None and want is not None:
            return None
        side = want or have
        assert side is not None, "a change has at least one side"
        (look,) = side.look()
        tool = ("sh", "-c", _MANY, "sh", side.profile, side.setting, "+" if want else "-")
        return Line(tool, side.entry, look)

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        return f"{side.profile}: {side.setting} {side.entry}"

    def encode(self) -> Encoded:
        return {"profile": self.profile, **encode_fields(self.route)}

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        return cls(str(encoded["profile"]), decode_fields(Route, encoded))
