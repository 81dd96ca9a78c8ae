"""What is not crossnet's on a host, and changed while a transaction ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from crossnet.facts import Facts
from crossnet.facts.firewall import is_own_jump
from crossnet.facts.routes import OWN_PROTOCOL, Route
from crossnet.planning import Plan
from crossnet.resources import Resource
from crossnet.values import Address, Network

# The kernel fills it by itself from the addresses (ip-route(8)).
_LOCAL = "local"
# Counts connections, and decides about none.
_COUNTS = "net.netfilter."


def changed_meanwhile(plan: Plan, before: Mapping[str, Facts], after: Mapping[str, Facts]) -> tuple[str, ...]:
    """`gateway: + route 10.9.0.0/16 via 10.0.44.1 dev eth0`: what came (`+`) and what went (`-`), on which host."""
    return tuple(
        f"{host}: {line}"
        for host in plan.touched
        for line in _changed(before[host], after[host], _sides(plan, host))
    )


def _changed(before: Facts, after: Facts, changed: Sequence[Resource]) -> Iterator[str]:
    # Some tools do not tell whose a route is.
    ways = {_way(route) for side in changed for route in side.routes}
    had, has = Counter(_routes_and_rules(before, ways)), Counter(_routes_and_rules(after, ways))
    yield from (f"+ {line}" for line in sorted((has - had).elements()))
    yield from (f"- {line}" for line in sorted((had - has).elements()))
    settings = {name for side in changed for name in side.settings}
    for name in sorted(before.sysctls.keys() & after.sysctls.keys()):
        value, now = before.sysctls[name], after.sysctls[name]
        if value != now and name not in settings and not name.startswith(_COUNTS):
            yield f"~ {name}  {value} → {now}"


def _sides(plan: Plan, host: str) -> tuple[Resource, ...]:
    """What the plan changes there, as it is before and after."""
    changes = (change for place, change in plan.changes if place == host)
    return tuple(side for one in changes for side in (one.have, one.want) if side is not None)


# Where a route goes, whoever made it.
_Way = tuple[Network, Address | None, str | None, int]


def _way(route: Route) -> _Way:
    return route.destination, route.via, route.device, route.metric


def _is_own(route: Route, ways: Collection[_Way]) -> bool:
    return route.protocol == OWN_PROTOCOL or (not route.protocol and _way(route) in ways)


def _routes_and_rules(facts: Facts, ways: Collection[_Way]) -> Iterator[str]:
    for route in facts.routes:
        if not _is_own(route, ways) and route.table != _LOCAL:
            yield f"route {route.with_table}"
    for engine, table, chain in facts.firewall.others():
        place = f"{engine} {table.family} {table.name} {chain.name}"
        if chain.hook and chain.hook.policy != "accept":
            yield f"policy {chain.hook.policy} of {place}"
        for rule in chain.rules:
            if not is_own_jump(rule):
                yield f"rule of {place}: {rule.text.removeprefix(f'-A {chain.name} ')}"


__all__ = ["changed_meanwhile"]
