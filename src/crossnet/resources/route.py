"""A route in the main table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from crossnet.facts import Facts
from crossnet.facts.routes import MAIN, OWN_PROTOCOL, Route, is_same
from crossnet.resources.encoding import decode_fields, encode_fields
from crossnet.resources.resource import Encoded, Resource, Within
from crossnet.resources.sh_tests import Listed, Locate, Test
from crossnet.resources.steps import Command, Line, Look, Step
from crossnet.values import Family, Network, family_of, overlap

# ipv6_route: the kernel gives an IPv6 route without a metric 1024 (IP6_RT_PRIO_USER); IPv4's default is 0.
DEFAULT_METRIC = {Family.V4: 0, Family.V6: 1024}

# The lines on standard input, each what follows `ip -4` or `ip -6`; `stop` at the first that fails, or `go-on`.
# iproute2 has -batch on CentOS 7 too, and takes an empty file without a word; busybox has none.
_MANY = (
    'if ip -batch /dev/null >/dev/null 2>&1; then [ "$2" = stop ] || exec ip "$1" -force -batch -; '
    'exec ip "$1" -batch -; fi; set -f; number=0 code=0; '
    "while read -r line; do number=$((number + 1)); "
    'ip "$1" $line </dev/null || { code=$?; echo "Command failed -:$number" >&2; [ "$2" != stop ] || break; }; '
    "done; exit $code"
)
# How `ip` lists a route, in each of its versions: what crossnet does not set of it is left out, and a route with a
# source, which the kernel gives in IPv4, stands there without it too. Each twice at least, so that of what is on
# standard input that stands alone which is no route.
_LACKING_ROUTES = r"""
# lacking_routes FAMILY [proto PROTOCOL]: of the lines on standard input those that are no route; 2 where `ip` fails
lacking_routes() {
    family=$1
    shift
    routes=$(ip "$family" route show "$@" 2>/dev/null) || return 2
    {
        printf '%s\n' "$routes" | sed -n '
            s/$/ /; s/  */ /g; s/ nhid [^ ]* / /; s/ proto [^ ]* / /; s/ scope [^ ]* / /
            s/^\([^ ]* \(via [^ ]* \)\{0,1\}\(dev [^ ]* \)\{0,1\}\(src [^ ]* \)\{0,1\}\(metric [^ ]* \)\{0,1\}\).*/\1/
            s/ $//; p; p; s/ src [^ ]*//; p; p'
        cat
    } | sort | uniq -u
}
"""
# The networks of an interface, which it has while it is up and has an address.
_ON_LINK = """ip "$1" route show dev "$2" proto kernel | sed 's/ expires [^ ]*//'"""

# `ip -batch` reads quotes, backslashes and comments in what it is given.
_PLAIN = re.compile(r"[\w.:/@+-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class RouteResource(Resource):
    """One route to one destination; a second route to the same destination is another one's, never touched.

    `applied` is the way that it went when crossnet made it last, as its record has it.
    """

    kind: ClassVar[str] = "route"
    rank: ClassVar[int] = 3  # traffic is attracted when the way is open
    place_shown: ClassVar[int] = 0
    clients_have: ClassVar[bool] = True
    stands_alone: ClassVar[bool] = True
    heals: ClassVar[bool] = True
    route: Route
    applied: Route | None = field(default=None, compare=False)

    @property
    def key(self) -> str:
        return f"{self.route.destination} metric {self.route.metric}"

    @property
    def within(self) -> frozenset[Within]:
        return frozenset({Within.INTERFACES})

    def current(self, facts: Facts) -> Self | None:
        """The route that does the same, else crossnet's own one to the same destination."""
        equal = [route for route in self._alike(facts) if self.satisfied_by(type(self)(route))]
        return type(self)(equal[0]) if equal else self.ours(facts)

    def ours(self, facts: Facts) -> Self | None:
        """The route that is this one, or the one of the record."""
        own = [route for route in self._alike(facts) if self.is_at(route)]
        return type(self)(own[0]) if own else None

    def is_at(self, route: Route) -> bool:
        """Whether a route of the host is crossnet's own: this one, or as its record has it."""
        return any(own is not None and is_same(own, route) for own in (self.route, self.applied))

    @classmethod
    def traces(cls, facts: Facts) -> tuple[Self, ...]:
        return tuple(
            cls(route) for route in facts.routes if (route.protocol, route.table) == (OWN_PROTOCOL, MAIN)
        )

    def has_place(self, facts: Facts) -> bool:
        return self.route.device is None or facts.link(self.route.device) is not None

    def is_theirs(self, facts: Facts) -> bool:
        """Whether a route of somebody else does it, and crossnet has none there."""
        return self.ours(facts) is None and self.current(facts) is not None

    @property
    def is_by_hand(self) -> bool:
        """Whether somebody set it, with `ip` or in a file: no daemon, no server and no router's advertisement."""
        return self.route.protocol in ("", "boot", "static")

    def _alike(self, facts: Facts) -> list[Route]:
        return [
            replace(route, protocol=self.route.protocol)
            if not route.protocol and self.is_at(route)
            else route
            for route in facts.routes_to(self.route.destination)
            if route.table == self.route.table
        ]

    @property
    def routes(self) -> tuple[Route, ...]:
        return (self.route,)

    def knowing(self, before: Resource | None, facts: Facts) -> Self:
        return replace(self, applied=before.route) if isinstance(before, RouteResource) else self

    def satisfied_by(self, have: Self) -> bool:
        """Also by a route without a source in IPv4: the kernel takes the first address, as crossnet does.

        Not by crossnet's own where somebody else is to keep it: after a boot that one would be there beside it.
        """
        route = have.route
        if self.applied is not None and route.protocol == self.applied.protocol != self.route.protocol:
            return False
        if route.source is None and family_of(route.destination) is Family.V4:
            route = replace(route, source=self.route.source)
        return _way(self.route) == _way(route)

    def look(self) -> tuple[Look, ...]:
        route = self.route
        which = ("exact", str(route.destination), "proto", route.protocol)
        return (Command(("ip", _family(self), "route", "show", *which)),)

    def watched(self) -> tuple[Look, ...]:
        """The routes that its own is among, and whether its gateway can be reached by the interface."""
        route = self.route
        listing = Command(("ip", _family(self), "route", "show", *_of_protocol(route)))
        if route.device is None:
            return (listing,)
        return (listing, Command(("sh", "-c", _ON_LINK, "sh", _family(self), route.device)))

    def listed(self) -> Listed | None:
        route = self.route
        if route.hops or not all(map(_PLAIN.fullmatch, _words(route))):
            return None
        words = ("lacking_routes", _family(self), *_of_protocol(route))
        return Listed(Test.of(*words, function=_LACKING_ROUTES), _line(route))

    def holds(self, locate: Locate) -> Test:
        route = self.route
        return Test(self._listed(("via", route.via), ("dev", route.device), ("src", route.source)))

    def lacks(self, locate: Locate) -> Test:
        return Test(f"! {self._listed()}")

    def _listed(self, *wanted: tuple[str, object]) -> str:
        """Whether it is there, with these words.

        By what `ip` prints: of 3.10 it cannot be asked for a metric, and of busybox for nothing but the destination.
        Another one's route to the same network has another metric, or another protocol where `ip` prints one.
        """
        route = self.route
        lines = ["s/$/ /", f"/ proto /{{/ proto {_pattern(route.protocol)} /!d;}}"]
        pairs = (*wanted, ("metric", route.metric or None))
        lines += [f"/ {name} {_pattern(str(value))} /!d" for name, value in pairs if value is not None]
        lines += [] if route.metric else ["/ metric /d"]
        words = ("ip", _family(self), "route", "show", str(route.destination))
        return f"{shlex.join(words)} | sed {shlex.quote('; '.join(lines))} | grep -q ."

    def serves(self, family: Family, destinations: Collection[Network], *, on_gateway: bool) -> bool:
        own = self.route.destination
        # A route to larger networks than the crossing's serves it too, where others are excepted.
        return own in destinations or any(overlap(own, network) for network in destinations)

    @classmethod
    def render(cls, have: Self | None, want: Self | None) -> tuple[Step, ...]:
        if want is None:
            assert have is not None, "a change has at least one side"
            return (Command(("ip", _family(have), "route", "del", *_words(have.route))),)
        # `replace` is one step without a gap, and takes the place of an own route with the same metric only.
        verb = "add" if have is None else "replace"
        return (Command(("ip", _family(want), "route", verb, *_words(want.route))),)

    @classmethod
    def line(cls, have: Self | None, want: Self | None) -> Line | None:
        (step,) = cls.render(have, want)
        assert isinstance(step, Command)
        _, family, *words = step.argv
        routes = [side.route for side in (have, want) if side is not None]
        seen = {_seen_with(route) for route in routes}
        if len(seen) != 1 or not all(map(_PLAIN.fullmatch, words)):
            return None
        look = Command(("ip", family, "route", "show", *seen.pop()))
        return Line(("sh", "-c", _MANY, "sh", family), " ".join(words), look)

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        shown = _shown(side.route)
        if have and want:
            was = _shown(have.route)
            if was == shown:
                return f"{shown}  (proto {want.route.protocol}, was {have.route.protocol})"
            return f"{shown}  (was {was})"
        return shown

    def differences(self, now: Self | None) -> tuple[str, ...]:
        shown = _shown(self.route)
        if now is None or _shown(now.route) != shown:
            return Resource.differences(self, now)
        of = f"`proto {now.route.protocol}`", f"`proto {self.route.protocol}`"
        return (f"route {shown} is {of[0]} there, and {of[1]} by what keeps it for the next boot",)

    @property
    def found(self) -> str:
        return _shown(self.route)

    def encode(self) -> Encoded:
        return {**self.state(), **encode_fields(self.route)}

    def state(self) -> Encoded:
        """What an undo puts back: the way, and nothing that the kernel tells of it at the moment."""
        route = self.route
        return {
            "destination": str(route.destination),
            "via": str(route.via) if route.via else None,
            "device": route.device,
            "source": str(route.source) if route.source else None,
            "protocol": route.protocol,
            "metric": route.metric,
        }

    @classmethod
    def decode(cls, encoded: Encoded) -> Self:
        return cls(decode_fields(Route, encoded))


def _way(route: Route) -> tuple[object, ...]:
    """What decides where packets go and which source they carry; who set the route does not."""
    return (route.destination, route.via, route.device, route.source, route.type, route.hops)


def _seen_with(route: Route) -> tuple[str, ...]:
    """By which words `ip` shows it with the others of its batch, and with as few as can be of anybody else.

    Routes of crossnet's own protocol nobody else makes; those that somebody keeps for it go to its gateway.
    """
    if route.protocol == OWN_PROTOCOL:
        return ("proto", route.protocol)
    return ("proto", route.protocol, "via", str(route.via), "dev", str(route.device))


def _of_protocol(route: Route) -> tuple[str, ...]:
    """How `ip` lists the routes of who made it; busybox tells none."""
    return ("proto", route.protocol) if route.protocol else ()


def _line(route: Route) -> str:
    """As `ip` lists it, without what differs by version."""
    network = str(route.destination).removesuffix(f"/{route.destination.max_prefixlen}")
    pairs = (
        ("via", route.via),
        ("dev", route.device),
        ("src", route.source),
        ("metric", route.metric or None),
    )
    words = (f"{name} {value}" for name, value in pairs if value is not None)
    return " ".join(("default" if route.destination.prefixlen == 0 else network, *words))


def _pattern(word: str) -> str:
    """A basic regular expression that matches this very word."""
    return re.sub(r"[].[*^$/\\]", r"\\\g<0>", word)


def _family(resource: RouteResource) -> str:
    return f"-{family_of(resource.route.destination).value}"


def _words(route: Route) -> tuple[str, ...]:
    words = [str(route.destination)]
    if route.via:
        words += ["via", str(route.via)]
    if route.device:
        words += ["dev", route.device]
    if route.source:
        words += ["src", str(route.source)]
    words += ["proto", route.protocol]
    if route.metric:
        words += ["metric", str(route.metric)]
    return tuple(words)


def _shown(route: Route) -> str:
    text = str(route)
    usual = DEFAULT_METRIC[family_of(route.destination)]
    return text.removesuffix(f" metric {usual}") if usual else text


def keep_words(route: Route) -> str:
    """The family, the destination and the rest of a route of somebody else, as words for a shell."""
    words = _words(route)
    if not route.protocol:  # busybox tells none, and `ip` makes it `boot`
        place = words.index("proto")
        words = (*words[:place], *words[place + 2 :])
    return shlex.join(
        (f"-{family_of(route.destination).value}", *words, *(("mtu", str(route.mtu)) if route.mtu else ()))
    )


def restore_line(route: Route) -> str:
    """The route as a line of an `ip -batch` file that may be run again and again."""
    return " ".join(("route", "replace", *_words(route)))
