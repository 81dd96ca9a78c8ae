"""Rules of others that would stop a crossing's packets, and do not meet them: crossnet's own stand before them.

In iptables the first ACCEPT of a table ends it; in nftables every chain at a hook has its say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from crossnet.design.foresight import MOST_RULES, at_gateway
from crossnet.design.impacts import Impact
from crossnet.design.others import rule_of
from crossnet.facts import Facts
from crossnet.netfilter.foreign import Rule, Table
from crossnet.netfilter.iptables_own import PLACES
from crossnet.netfilter.own_walked import unfiltered
from crossnet.path import Path
from crossnet.several import few

if TYPE_CHECKING:  # sets of packets are slow to import, and not every command asks for them
    from crossnet.reach.blockers import Blocker


def overtaken(paths: Sequence[Path], applied: Mapping[str, Facts]) -> Iterator[Impact]:
    """What of others stops packets of the crossings no more, on gateways as the plan makes them."""
    told: dict[str, dict[str, set[str]]] = {}
    for path in paths:
        for rule in _passed_by(path, applied[path.gateway]):
            told.setdefault(path.gateway, {}).setdefault(rule, set()).add(path.crossing.name)
    for host, rules in told.items():
        yield Impact(
            "drop-overtaken",
            host,
            "rules that crossnet does not own would stop packets of the crossing, but stand below crossnet's own, "
            f"which let them pass: {few(list(rules), MOST_RULES)}",
            frozenset().union(*rules.values()),
        )


def _passed_by(path: Path, gateway: Facts) -> Iterator[str]:
    """The rules that the packets would meet if crossnet's own did not stand before them."""
    from crossnet.reach.path import Walked, reached

    before = unfiltered(gateway.firewall.foreign)
    entered = [then for then, now in zip(before, gateway.firewall.foreign, strict=True) if then is not now]
    asked = at_gateway(path, gateway, tuple(client.network for client in path.clients))
    if not entered or asked is None:
        return
    alone = replace(gateway, firewall=replace(gateway.firewall, foreign=before))
    for blocker in reached(Walked(asked, {path.gateway: alone})).request.blockers:
        place = blocker.place
        if place is not None and any(_is_meant(blocker, table) for table in entered):
            yield rule_of(place, blocker.text)


def _is_meant(blocker: Blocker, table: Table) -> bool:
    """Whether somebody wrote it into this table for some packets: the end of a chain is for all that nobody named."""
    place = blocker.place
    if place is None or (place.tool, place.family, place.table) != (table.tool, table.family, table.name):
        return False
    if blocker.code not in ("filter-rule-drop", "filter-reject") or blocker.doubts:
        return False
    rules = table.chains[place.chain].rules
    return any(rule.text == blocker.text and not _is_end(place.chain, rule) for rule in rules)


def _is_end(chain: str, rule: Rule) -> bool:
    return chain == PLACES["forward"].entered_from and len(rule.statements) == 1
