"""Facts as they would be if one thing were mended, so that what stands behind it is found too."""

from __future__ import annotations

from dataclasses import replace

from crossnet.facts import Facts
from crossnet.facts.links import LinkAddress
from crossnet.facts.routes import Route
from crossnet.netfilter.foreign import Chain, Table
from crossnet.reach.rules import Place
from crossnet.values import Address, contains, family_of, host_network


def with_route(facts: Facts, destination: Address, via: Address | None, device: str) -> Facts:
    """The same where an address is reached so, whatever other routes and policy rules say."""
    exact = host_network(destination)
    others = (route for route in facts.routes if route.destination != exact or route.table == "local")
    rules = tuple(
        rule for rule in facts.policy_rules if rule.family is not family_of(destination) or rule.is_usual
    )
    return replace(with_link(facts, device), routes=(Route(exact, via, device), *others), policy_rules=rules)


def with_link(facts: Facts, device: str) -> Facts:
    """The same where an interface is up, with a carrier."""
    flags = frozenset(("UP", "LOWER_UP"))
    links = tuple(
        replace(link, up=True, flags=link.flags - {"NO-CARRIER"} | flags) if link.name == device else link
        for link in facts.links
    )
    routes = tuple(
        replace(route, dead=False, linkdown=False) if route.device == device else route
        for route in facts.routes
    )
    return replace(facts, links=links, routes=routes)


def with_address(facts: Facts, address: Address, prefix: int, device: str) -> Facts:
    """The same where an interface has an address, and the network to it."""
    item = LinkAddress(address, prefix)
    links = tuple(
        replace(link, addresses=(*(own for own in link.addresses if own.address != address), item))
        if link.name == device
        else link
        for link in facts.links
    )
    own = Route(host_network(address), device=device, source=address, table="local", type="local")
    near = Route(item.network, device=device, source=address, protocol="kernel")
    return replace(with_link(facts, device), links=links, routes=(own, near, *facts.routes))


def without_address(facts: Facts, address: Address) -> Facts:
    """The same where no interface has it."""
    links = tuple(
        replace(link, addresses=tuple(item for item in link.addresses if item.address != address))
        for link in facts.links
    )
    routes = tuple(
        route
        for route in facts.routes
        if not (route.table == "local" and contains(route.destination, address) and route.type == "local")
    )
    return replace(facts, links=links, routes=routes)


def without_rule(facts: Facts, place: Place, text: str) -> Facts:
    """The same where a chain does not have a rule."""

    def kept(chain: Chain) -> Chain:
        rules = tuple(rule for rule in chain.rules if rule.text != text)
        return Chain(chain.name, chain.hook, len(rules), lambda: rules)

    def mended(table: Table) -> Table:
        if (table.tool, table.family, table.name) != (place.tool, place.family, place.table):
            return table
        return replace(table, chains={**table.chains, place.chain: kept(table.chains[place.chain])})

    return replace(
        facts, firewall=replace(facts.firewall, foreign=tuple(map(mended, facts.firewall.foreign)))
    )
