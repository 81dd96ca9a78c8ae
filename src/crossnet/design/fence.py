"""Whether crossnet's fence stands on a gateway, and what forwarding without one would let through."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from crossnet.errors import PlanRefused
from crossnet.facts import Facts
from crossnet.facts.sysctls import is_forwarding
from crossnet.persistence.rules import EARLY, LATE
from crossnet.persistence.start import UNIT
from crossnet.record import read_record
from crossnet.resources import Jump, RuleTable
from crossnet.values import Family


def stands(facts: Facts, family: Family, interfaces: Collection[str]) -> bool:
    """Whether a fence drops what is forwarded; with iptables it has to be entered too, before all is accepted."""
    for table in RuleTable.traces(facts):
        if table.family is family and table.holds_fence:
            jump = Jump(table.engine, family, "forward").current(facts) if table.engine.is_iptables else None
            if not table.engine.is_iptables or (
                jump and (jump.first or not _passes(facts, family, interfaces))
            ):
                return True
    return False


def keeps_others_out(facts: Facts, family: Family) -> bool:
    """Whether a fence would stand before everybody's packets if somebody switched forwarding on."""
    forwarding, interfaces = _forwarding(facts, family)
    return stands(forwarding, family, interfaces)


def lets_everybody_pass(facts: Facts, family: Family, interfaces: Collection[str]) -> bool:
    """Whether all that anybody sends to one of these interfaces would pass if somebody switched forwarding on."""
    forwarding, _ = _forwarding(facts, family)
    return _passes(forwarding, family, interfaces)


def has_crossings(facts: Facts) -> bool:
    """Whether a host carries anything of crossnet's, by its record; also where that cannot be read."""
    try:
        record = read_record(facts)
    except PlanRefused:
        return True
    return not record.is_empty or bool(record.lost)


def is_gone(facts: Facts, family: Family) -> bool:
    """Whether a fence was applied to a host, and does not stand there any more."""
    try:
        owned = read_record(facts).owned
    except PlanRefused:
        return not keeps_others_out(facts, family)
    tables = [one.applied for one in owned if isinstance(one.applied, RuleTable)]
    had = any(table.family is family and table.holds_fence for table in tables)
    return had and not keeps_others_out(facts, family)


def closed_with(facts: Facts) -> tuple[str, ...]:
    """The firewalls of others with which crossnet's units were stopped: started again, they bring back the fence."""
    if facts.units is None or facts.units.get(UNIT):
        return ()
    return tuple(
        unit
        for unit in (*EARLY.split(), *LATE.split())
        if (at := facts.moments.units.get(unit.removesuffix(".service"))) is not None
        and at.started is not None
        and at.stopped is not None
        and at.stopped > at.started
    )


def _forwarding(facts: Facts, family: Family) -> tuple[Facts, list[str]]:
    """The same host with forwarding switched on, and the interfaces by which anything may come in."""
    on = {name: "1" for name in facts.sysctls if is_forwarding(name, family)}
    interfaces = [link.name for link in facts.links if link.name != "lo" and link.of(family)]
    return replace(facts, sysctls={**facts.sysctls, **on}), interfaces


def _passes(facts: Facts, family: Family, interfaces: Collection[str]) -> bool:
    """Whether all that anybody sends to one of these interfaces, and that routes lead on, is forwarded."""
    from crossnet.reach.transit import forwarded

    return any(each.is_all for each in forwarded(facts, family, interfaces))
