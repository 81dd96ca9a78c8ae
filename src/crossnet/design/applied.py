"""A host as it will be when the plan is applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from crossnet.design.longer import is_own, own_routes
from crossnet.facts import Facts
from crossnet.facts.routes import Route
from crossnet.facts.sysctls import FORWARDING
from crossnet.netfilter.own_walked import with_own
from crossnet.record import read_record
from crossnet.resources import PolicyRuleResource, Resource, Sysctl


def as_applied(facts: Facts, wanted: Iterable[Resource], by_kernel: Iterable[Route] = ()) -> Facts:
    """The facts of a host as they are when it has these resources, and nothing else of crossnet's own.

    `by_kernel` are ways of which only its kernel tells.
    """
    live = list(wanted)
    settings = dict(facts.sysctls)
    staying = {item.identity for item in live}
    gone = [owned for owned in read_record(facts).owned if owned.identity not in staying]
    routes = list(by_kernel)
    for item in (*(owned.original for owned in gone if owned.original is not None), *live):
        routes += item.routes
        for name, value in item.values.items():
            settings |= _set(name, value, settings)
        if isinstance(item, Sysctl):
            settings |= {name: value for name, value in item.disturbed if name in settings}
    tables = [table for item in live for table in item.tables]
    rules = [rule for item in live for rule in item.policy_rules]
    # A route takes the place of one to the same destination with the same metric (ip-route(8), replace).
    replaced = {_place(route) for route in routes}
    leaving = own_routes(gone)
    kept = [route for route in facts.routes if not is_own(route, leaving)]
    going = {owned.identity for owned in gone}
    others = [rule for rule in facts.policy_rules if PolicyRuleResource(rule).identity not in going]
    foreign = with_own(facts.firewall.foreign, tables)
    for item in live:
        foreign = item.with_others(foreign)
    return replace(
        facts,
        sysctls=settings,
        routes=(*(route for route in kept if _place(route) not in replaced), *routes),
        # Of equal priority the newest is asked last (net/core/fib_rules.c, fib_nl_newrule).
        policy_rules=tuple(sorted(dict.fromkeys((*others, *rules)), key=lambda rule: rule.priority)),
        firewall=replace(facts.firewall, foreign=foreign),
    )


def _set(name: str, value: str, settings: Mapping[str, str]) -> dict[str, str]:
    """What changes with a setting: forwarding for all is forwarding on each interface (net/ipv4/devinet.c).

    Without it no interface of IPv6 forwards by itself either (net/ipv6/addrconf.c).
    """
    if name not in FORWARDING.values() or settings.get(name) == value:
        return {name: value}
    stem = name.split(".")[1]
    ends = (".forwarding", ".force_forwarding") if value == "0" else (".forwarding",)
    every = (one for one in settings if one.startswith(f"net.{stem}.conf.") and one.endswith(ends))
    return {**dict.fromkeys(every, value), name: value}


def _place(route: Route) -> tuple[object, ...]:
    return route.table, route.destination, route.metric, route.tos, route.from_network
