"""What of a set-up by hand is wider than its crossings need, or ends at the next boot, and the commands that mend it.

What `crossnet apply` mends by itself says so; what crossnet does not own is left to commands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crossnet.adoption.boot import not_kept, routes_not_kept
from crossnet.adoption.finding import Finding
from crossnet.adoption.ports import ports_of_clients, ports_of_gateway
from crossnet.adoption.stopped import stopped
from crossnet.adoption.transit import default_routes, transit
from crossnet.adoption.translations import translations
from crossnet.adoption.writing import Reproduced
from crossnet.facts import Facts
from crossnet.planning import Plan


def findings(crossings: Sequence[Reproduced], facts: Mapping[str, Facts], plan: Plan) -> tuple[Finding, ...]:
    """All of it, gateway by gateway, then what the clients have, then the cloud's ports."""
    found: list[Finding] = []
    ways = [each.way for each in crossings]
    for gateway in dict.fromkeys(way.gateway for way in ways):
        here = [way for way in ways if way.gateway == gateway]
        left = next(each.others for each in crossings if each.way.gateway == gateway)
        found += translations(facts[gateway], here, left)
        found += transit(facts[gateway], here, left)
        found += not_kept(facts[gateway], here)
        found += ports_of_gateway(facts[gateway], here)
        found += stopped(facts[gateway], here)
    found += default_routes(ways)
    found += routes_not_kept(ways, facts, plan)
    found += ports_of_clients(ways, facts)
    return tuple(dict.fromkeys(found))
