"""Nexthop objects, and what they say of the routes that only name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from crossnet.facts.iproute import Words, failed, whole, words
from crossnet.facts.question import Question
from crossnet.facts.routes import Hop, Route, hop_of


@dataclass(frozen=True, slots=True)
class Nexthop:
    """A nexthop object (ip-nexthop(8)): one hop, a group of others by id and weight, or a blackhole."""

    hop: Hop | None = None
    group: tuple[tuple[int, int], ...] = ()
    blackhole: bool = False


def parse_nexthops(answer: str) -> Mapping[int, Nexthop]:
    """What `ip nexthop` prints: `id 5 via 192.0.2.2 dev eth0 scope link`, `id 10 group 5/6,3`, `id 7 blackhole`."""
    found = {}
    for line in filter(None, answer.split("\n")):
        said = Words(words(line))
        if not said.skip("id"):
            raise ValueError(f"no nexthop: {line[:80]!r}")
        number = whole(said.next())
        if said.skip("group"):
            members = [member.partition(",") for member in said.next().split("/")]
            group = tuple((whole(one), whole(weight) if comma else 1) for one, comma, weight in members)
            found[number] = Nexthop(group=group)
        elif said.skip("blackhole"):
            found[number] = Nexthop(blackhole=True)
        else:
            found[number] = Nexthop(hop_of(said))
    return found


def with_nexthops(routes: Iterable[Route], known: Mapping[int, Nexthop]) -> tuple[Route, ...]:
    """The routes, each with what its nexthop object says where `ip` printed its id only."""
    return tuple(_with_nexthop(route, known) if _is_id_only(route) else route for route in routes)


def _is_id_only(route: Route) -> bool:
    return route.nexthop is not None and route.device is None and not route.hops


def _with_nexthop(route: Route, known: Mapping[int, Nexthop]) -> Route:
    match known.get(route.nexthop or 0):
        case Nexthop(blackhole=True):
            return replace(route, type="blackhole")
        case Nexthop(hop=Hop() as hop):
            way = replace(route, via=hop.via, device=hop.device, encap=hop.encap, onlink=hop.onlink)
            return replace(way, dead=hop.dead, linkdown=hop.linkdown)
        case Nexthop(group=group) if all(one in known and known[one].hop for one, _ in group):
            members = ((known[one].hop, weight) for one, weight in group)
            return replace(route, hops=tuple(replace(hop, weight=weight) for hop, weight in members if hop))
    return replace(route, unknown=f"{route.unknown} nhid {route.nexthop} is not shown".lstrip())


# Only without the compat mode does `ip` print less of a route than its nexthop object says (ip-sysctl of the kernel,
# nexthop_compat_mode).
NEXTHOPS: Question[Mapping[int, Nexthop]] = Question(
    "ran `ip nexthop`",
    (
        "sh",
        "-c",
        "[ -r /proc/sys/net/ipv4/nexthop_compat_mode ] || exit 0\n"
        'read -r compat </proc/sys/net/ipv4/nexthop_compat_mode; [ "$compat" = 0 ] || exit 0\n'
        "exec ip nexthop",
    ),
    parse_nexthops,
    failed,
)
