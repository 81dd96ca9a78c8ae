"""Policy rules that lead a packet elsewhere than the main table would.

A packet is looked up by the rules in the order of their priorities; the first whose table has a route for it
decides (net/core/fib_rules.c, fib_rules_lookup). What crossnet adds stands in the main table, so a rule of
somebody else before it can make all of that worth nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from crossnet.facts import Facts
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import MAIN, OWN_PROTOCOL, Route, inside, matching
from crossnet.record import read_record
from crossnet.resources import PolicyRuleResource
from crossnet.values import Family, Network, contains, family_of, overlap

# What the kernel has without anybody's doing (net/ipv4/fib_rules.c, net/ipv6/fib6_rules.c).
_LOCAL = "local"
_TABLES = {"255": _LOCAL, "254": MAIN, "253": "default"}

_OF_EVERY_HOST = (
    "0: from all lookup local",
    "32766: from all lookup main",
    "32767: from all lookup default",
)

# The interface of packets that the host sends itself.
OWN = "lo"


@dataclass(frozen=True, slots=True)
class Packets:
    """What the lookup asks of them: from where to where, and by which interface they came (`lo`: its own)."""

    source: Network
    destination: Network
    iif: str

    @property
    def family(self) -> Family:
        return family_of(self.destination)


class Match(Enum):
    NO = "no"
    PARTLY = "partly"  # some of the packets, or it cannot be said
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Diversion:
    """A rule before the main table's, and the routes that some of the packets take by it; none where it ends them."""

    rule: PolicyRule
    routes: tuple[Route, ...]
    certain: bool

    def __str__(self) -> str:
        by = f" ({self.routes[0]})" if self.routes else ""
        return f"rule {self.rule}{by}"


def diversions(facts: Facts, rules: Sequence[PolicyRule], packets: Packets) -> Iterator[Diversion]:
    """The rules that lead some of the packets past the main table, up to the one that looks all of them up there."""
    goes_on_at = 0
    for rule in sorted(rules, key=lambda rule: rule.priority):
        if rule.family is not packets.family or rule.priority < goes_on_at:
            continue
        match = _match(rule, packets)
        if match is Match.NO or rule.action == "nop":
            continue
        if rule.action == "goto":
            if match is Match.ALL and rule.target is not None:
                goes_on_at = rule.target
            continue
        table = _table(facts, rule, packets)
        found: tuple[Route, ...] = ()
        if rule.action != "lookup":
            covers = True
        elif table == MAIN:
            if match is Match.ALL and not _suppressed(rule, packets.destination.prefixlen):
                return  # there is crossnet's route, for just these packets
            continue
        else:
            found = _found(facts.routes, rule, table, packets.destination)
            covers = any(contains(route.destination, packets.destination) for route in found)
            if not found:
                continue
        certain = covers and match is Match.ALL
        yield Diversion(rule, found, certain)
        if certain:
            return


def _table(facts: Facts, rule: PolicyRule, packets: Packets) -> str:
    """The table that the rule looks them up in; nothing where that is none for these packets."""
    if not rule.l3mdev:
        return _TABLES.get(rule.table, rule.table)
    came = facts.link(packets.iif)
    vrf = facts.link(came.master) if came and came.master else None
    return vrf.table if vrf else ""


def _found(routes: Sequence[Route], rule: PolicyRule, table: str, target: Network) -> tuple[Route, ...]:
    """The routes of a table that some of the packets take."""
    if table in ("", _LOCAL):
        return ()
    held = (*matching(routes, target, table), *inside(routes, target, table))
    return tuple(
        route
        for route in held
        if route.type != "throw" and not _suppressed(rule, route.destination.prefixlen)
    )


def _suppressed(rule: PolicyRule, length: int) -> bool:
    return rule.suppress_prefix is not None and length <= rule.suppress_prefix


def _match(rule: PolicyRule, packets: Packets) -> Match:
    """Whether the rule's selectors hold for the packets, which carry no mark."""
    answers = [
        _lies_in(packets.source, rule.source),
        _lies_in(packets.destination, rule.destination),
        Match.ALL if rule.iif in ("", packets.iif) else Match.NO,
        Match.NO if rule.oif else Match.ALL,  # asks for the interface that a socket is bound to
        Match.ALL if 0 & rule.mark_mask == rule.mark else Match.NO,
        Match.PARTLY if _narrows(rule) else Match.ALL,
    ]
    if Match.NO in answers:
        found = Match.NO
    else:
        found = Match.PARTLY if Match.PARTLY in answers else Match.ALL
    if not rule.negated:
        return found
    return {Match.NO: Match.ALL, Match.ALL: Match.NO}.get(found, Match.PARTLY)


def _narrows(rule: PolicyRule) -> bool:
    """Whether it asks for what only some of the packets have, or for what is not understood."""
    asked = (rule.tos, rule.protocol, rule.source_ports, rule.destination_ports, rule.users, rule.unknown)
    return any(asked) or rule.tunnel is not None


def _lies_in(part: Network, whole: Network | None) -> Match:
    if whole is None or contains(whole, part):
        return Match.ALL
    return Match.PARTLY if overlap(whole, part) else Match.NO


def rules_of_others(facts: Facts) -> tuple[PolicyRule, ...]:
    """The policy rules of a host without crossnet's own; none where there are only those that every host has."""
    record = read_record(facts)
    rules = tuple(
        rule
        for rule in facts.policy_rules
        if rule.origin != OWN_PROTOCOL and record.find(PolicyRuleResource(rule)) is None
    )
    return () if all(str(rule) in _OF_EVERY_HOST for rule in rules) else rules


def deciding(facts: Facts, rules: Sequence[PolicyRule], packets: Packets) -> tuple[Route, ...]:
    """The routes that the packets take by the host's rules; those of the main table where no other decides."""
    for diversion in diversions(facts, rules, packets):
        if diversion.certain:
            return diversion.routes
    return matching([route for route in facts.routes if route.type != "local"], packets.destination)
