"""The spec that says what stands there: one crossing for each way, and nothing in it that is discovered anyway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from crossnet.adoption.others import others
from crossnet.adoption.taking import Taking
from crossnet.adoption.way import Way
from crossnet.design.question import Refused
from crossnet.design.resolve import resolve
from crossnet.facts import Facts
from crossnet.netfilter.foreign import RulePlace
from crossnet.path import Path
from crossnet.spec import Crossing, HostSpec, SnatTo
from crossnet.template import Entry, Need, one_or_list, written
from crossnet.translation import Masquerade, Snat, Untranslated
from crossnet.values import show_network


@dataclass(frozen=True, slots=True)
class Reproduced:
    """A way, the crossing that says it, and who else lives by what its gateway forwards.

    Only where nobody does is everything else to be kept out: then the crossing has `fence: on`.
    """

    way: Way
    entry: Entry
    others: tuple[str, ...]


def reproduced(ways: Sequence[Way], facts: Mapping[str, Facts]) -> tuple[Reproduced, ...]:
    """A crossing for each way; the names are made from its ends, as those of `connect`."""
    found = [_one(way, facts) for way in ways]
    paths = [path for _, own in found for path in own]
    made: list[Reproduced] = []
    for way, (entry, _) in zip(ways, found, strict=True):
        here = [path for path in paths if path.gateway == way.gateway]
        taking = takings([each for each in ways if each.gateway == way.gateway], facts[way.gateway])
        left = tuple(dict.fromkeys(others(facts[way.gateway], here, taking)))
        keys = entry.keys if left else {**entry.keys, "fence": "on"}
        made.append(Reproduced(way, replace(entry, keys=keys), left))
    return tuple(made)


def takings(ways: Iterable[Way], facts: Facts) -> dict[RulePlace, Taking]:
    """Whose packets each rule takes that is for one of these ways over a gateway; of several the widest."""
    ways, found = tuple(ways), dict[RulePlace, Taking]()
    for way in ways:
        beside = [each for each in ways if (each.family, each.ingress) == (way.family, way.ingress)]
        every = tuple(source for each in beside for source in each.sources)
        for place, takes in replace(way.between, sources=every).taking(facts).items():
            found[place] = max(takes, found.get(place, takes))
    return found


def text(name: str, hosts: Iterable[HostSpec], crossings: Sequence[Reproduced], cloud: str = "") -> str:
    """The text of the spec."""
    return written(name, hosts, [each.entry for each in crossings], cloud)


def _one(way: Way, facts: Mapping[str, Facts]) -> tuple[Entry, tuple[Path, ...]]:
    """The crossing of a way, and what it means on these hosts; what is discovered is left out."""
    to = tuple(map(show_network, way.to))
    name = Need(way.clients, way.gateway, to).crossing
    crossing = Crossing(name, way.clients, way.gateway, way.to, way.allow, way.translate)
    keys = {"allow": one_or_list([*map(str, way.allow)])} if way.allow else {}
    bare = _resolved(replace(crossing, translate=SnatTo()), facts)
    if not _leads(bare, way):
        keys |= {"ingress": way.ingress, "egress": way.egress, "next-hop": str(way.next_hop)}
        crossing = replace(crossing, ingress=way.ingress, egress=way.egress, next_hop=way.next_hop)
        bare = _resolved(replace(crossing, translate=SnatTo()), facts)
    match way.translate:
        case Masquerade():
            keys["translate"] = "masquerade"
        case Untranslated():
            keys["translate"] = "none"
        case SnatTo(address) if not _sees(bare, address):
            keys["translate"] = f"{{snat: {address}}}"
    return Entry(name, way.clients, way.gateway, one_or_list(to), keys), _resolved(crossing, facts)


def _resolved(crossing: Crossing, facts: Mapping[str, Facts]) -> tuple[Path, ...]:
    try:
        return resolve(crossing, facts)
    except Refused:
        return ()  # the plan says why


def _leads(paths: Sequence[Path], way: Way) -> bool:
    return bool(paths) and all(
        (path.ingress, path.egress, path.next_hops) == (way.ingress, way.egress, (way.next_hop,))
        for path in paths
    )


def _sees(paths: Sequence[Path], address: object) -> bool:
    """Whether the destinations see this address where nothing is said."""
    return bool(paths) and all(
        isinstance(path.leg.translation, Snat) and path.leg.translation.addresses == (address,)
        for path in paths
    )
