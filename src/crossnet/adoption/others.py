"""Who else lives by what a gateway forwards, as far as the gateway shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from crossnet.design.forwarded import named, rules_for_forwarded
from crossnet.diagnosis.translating import Translating
from crossnet.facts import Facts
from crossnet.facts.managers import manager_of
from crossnet.path import Path
from crossnet.values import Family


def others(facts: Facts, paths: Collection[Path], rules: Collection[Translating]) -> Iterator[str]:
    """What a gateway has for other packets than those of these paths, which these rules translate: a line each."""
    own = {
        f"{named(each.table.tool, each.table.family, each.table.name, each.chain.name)}: "
        f"rule {each.text.removeprefix(f'-A {each.chain.name} ')}"
        for each in rules
    }
    used = {name for path in paths for name in (path.ingress, path.egress)}
    for link in facts.links:
        if (whose := manager_of(link)) and link.addresses and link.name not in used:
            yield f"{whose}, interface {link.name}"
    for family in Family:
        here = [path for path in paths if path.family is family]
        addresses = [item.address for link in facts.links for item in link.of(family)]
        yield from (
            line for line in rules_for_forwarded(facts.firewall, family, addresses, here) if line not in own
        )
