"""Who else lives by what a gateway forwards, as far as the gateway shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from crossnet.adoption.taking import Taking
from crossnet.design.forwarded import place_of, rules_for_forwarded, said
from crossnet.facts import Facts
from crossnet.facts.managers import manager_of
from crossnet.netfilter.foreign import Field, Rule, RulePlace, Test
from crossnet.path import Path
from crossnet.reach.packets import ESTABLISHED, RELATED
from crossnet.values import Family


def others(facts: Facts, paths: Collection[Path], taking: Mapping[RulePlace, Taking]) -> Iterator[str]:
    """What a gateway has for other packets than those of these paths, a line each.

    A rule that takes the clients' packets says nothing of others where it names nobody.
    """
    used = {name for path in paths for name in (path.ingress, path.egress)}
    for link in facts.links:
        if (whose := manager_of(link)) and link.addresses and link.name not in used:
            yield f"{whose}, interface {link.name}"
    mute = {place for place, takes in taking.items() if takes is not Taking.OTHERS}
    mute |= {
        place_of(table, chain, rule)
        for _, table, chain in facts.firewall.others()
        for rule in chain.rules
        if _is_of_flows_that_are(rule)
    }
    for family in Family:
        here = [path for path in paths if path.family is family]
        addresses = [item.address for link in facts.links for item in link.of(family)]
        rules = rules_for_forwarded(facts.firewall, family, addresses, here)
        yield from (said(rule) for rule in rules if rule not in mute)


def _is_of_flows_that_are(rule: Rule) -> bool:
    """Whether it takes only what belongs to flows that another rule has let begin."""
    return any(
        isinstance(each, Test)
        and each.fields == (Field.CT_STATE,)
        and not each.negated
        and each.any_bit is not None
        and not each.any_bit & ~(ESTABLISHED | RELATED)
        for each in rule.statements
    )
