"""Where a crossing leaves its gateway as it stands there: what its spec leaves open was decided when it was applied."""

from __future__ import annotations

from dataclasses import replace

from crossnet.diagnosis.course import Hints
from crossnet.errors import PlanRefused
from crossnet.facts import Facts
from crossnet.path import Path
from crossnet.record import read_record
from crossnet.translation import Snat
from crossnet.values import Address, contains


def as_applied(hints: Hints, gateway: Facts, destination: Address) -> Hints:
    """The same with the egress that the gateway's record tells, where the spec names none.

    Routes only say where the gateway sends packets by now, which may be what is wrong.
    """
    if hints.egress is not None or hints.crossing is None:
        return hints
    try:
        standing = read_record(gateway).standing(hints.crossing.label)
    except PlanRefused:
        return hints  # it can be diagnosed all the same
    carried = standing.carried if standing is not None else ()
    path = next((one for one in carried if any(contains(to, destination) for to in one.destinations)), None)
    return replace(hints, egress=_egress(path, gateway)) if path is not None else hints


def _egress(path: Path, gateway: Facts) -> str | None:
    """What the interface is called by now: it may have another name, or be a part of a bridge that has its address."""
    leg = path.leg
    facing = {owner.name for hop in path.next_hops if (owner := gateway.owner_of(hop)) is not None}
    named = gateway.link(leg.egress)
    if leg.egress in facing and leg.egress != leg.ingress:
        named = None  # two interfaces have changed their names
    if named is not None and named.of(path.family):
        return named.name
    sources = leg.translation.sources if isinstance(leg.translation, Snat) else ()
    owners = [gateway.owner_of(source) for _, source in sources]
    moved = next((owner.name for owner in owners if owner is not None and owner.name != "lo"), None)
    return moved or (named.name if named is not None else None)
