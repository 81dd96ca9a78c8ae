"""What is not crossnet's on a host, and changed while a transaction ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from crossnet.facts import Facts
from crossnet.facts.firewall import is_own_jump
from crossnet.facts.routes import Route, is_same
from crossnet.planning import Plan
from crossnet.resources import Resource
from crossnet.values import Network

# The kernel fills it by itself from the addresses (ip-route(8)).
_LOCAL = "local"
# Counts connections, and decides about none.
_COUNTS = "net.netfilter."


def changed_meanwhile(plan: Plan, before: Mapping[str, Facts], after: Mapping[str, Facts]) -> tuple[str, ...]:
    """`gateway: + route 10.9.0.0/16 via 10.0.44.1 dev eth0`: what came (`+`) and what went (`-`), on which host."""
    return tuple(
        f"{host}: {line}"
        for host in plan.touched
        for line in _changed(before[host], after[host], _recorded(plan, host), _sides(plan, host))
    )


def _changed(
    before: Facts, after: Facts, kept: Sequence[Resource], changed: Sequence[Resource]
) -> Iterator[str]:
    own: dict[Network, list[Route]] = {}
    for route in (route for side in (*kept, *changed) for route in side.routes):
        own.setdefault(route.destination, []).append(route)
    ours = (*kept, *changed)
    had, has = (Counter(_routes_and_rules(facts, own, ours)) for facts in (before, after))
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


def _recorded(plan: Plan, host: str) -> tuple[Resource, ...]:
    """What crossnet owns there, by its record before and after."""
    records = (record for one in plan.hosts if one.host == host for record in (one.before, one.after))
    return tuple(owned.applied for record in records for owned in record.owned)


def _routes_and_rules(
    facts: Facts, own: Mapping[Network, Sequence[Route]], ours: Sequence[Resource]
) -> Iterator[str]:
    for route in facts.routes:
        is_own = any(is_same(each, route) for each in own.get(route.destination, ()))
        if not is_own and route.table != _LOCAL:
            yield f"route {route.with_table}"
    for engine, table, chain in facts.firewall.others():
        place = f"{engine} {table.family} {table.name} {chain.name}"
        if chain.hook and chain.hook.policy != "accept":
            yield f"policy {chain.hook.policy} of {place}"
        for rule in chain.rules:
            if not is_own_jump(rule) and not any(each.has_made(chain, rule) for each in ours):
                yield f"rule of {place}: {rule.text.removeprefix(f'-A {chain.name} ')}"


__all__ = ["changed_meanwhile"]
