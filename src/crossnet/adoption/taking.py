"""Whose packets the rules of a gateway are for, of all that anybody could send over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from crossnet.facts import Facts
from crossnet.facts.routes import default_network
from crossnet.netfilter.foreign import Field, RulePlace
from crossnet.reach.asked import Asked, packets_of
from crossnet.reach.here import Here
from crossnet.reach.host import HostWalk
from crossnet.reach.packets import Space, address_field
from crossnet.reach.rules import Decision, Effect
from crossnet.values import Address, Family, Network, host_network

# Of each effect the hook at which it is for what a gateway forwards.
_AT = {Effect.ACCEPTS: "forward", Effect.TRANSLATES: "postrouting"}


class Taking(IntEnum):
    """Only the clients' packets, those of some others too, whom it names, or of anybody whose packets come there."""

    CLIENTS = 0
    OTHERS = 1
    ANYBODY = 2


@dataclass(frozen=True, slots=True)
class Between:
    """Clients, and where on a gateway their packets come in and go out."""

    family: Family
    sources: tuple[Address, ...]
    ingress: str
    egress: str

    def taking(self, facts: Facts) -> Mapping[RulePlace, Taking]:
        """Whose packets each rule takes that lets the clients' pass or translates them.

        It is asked as if nothing before the rule stopped any, and as if sources were not checked against routes: a
        rule for the whole network of an interface names that network.
        """
        space, everybody = Space(), default_network(self.family)
        unchecked = {
            name: "0" if name.endswith(".rp_filter") else value for name, value in facts.sysctls.items()
        }
        facts = replace(facts, neighbours=(), sysctls=unchecked)
        bare = replace(facts, firewall=replace(facts.firewall, foreign=()))
        packets = Here.of(packets_of(space, self._asked(facts, everybody)))
        leaving = HostWalk(bare, space).received(packets, self.ingress).leaving
        whoever = space.any_of(each.here.may for each in leaving if each.interface == self.egress)
        sources = space.only(whoever, Field.SOURCE6)
        own = address_field(Field.SOURCE6, self.family)
        clients = space.any_of(space.network(own, host_network(source)) for source in self.sources)
        taken: dict[RulePlace, list[Here]] = {}
        for each in _deciding(HostWalk(facts, space).received(packets, self.ingress).decisions):
            taken.setdefault(place_of(each), []).append(each.here)
        found: dict[RulePlace, Taking] = {}
        for place, parts in taken.items():
            there = space.any_of(each.fixed for each in parts)
            if not (there & clients).satisfiable():
                continue
            if not (there & ~clients).satisfiable():
                found[place] = Taking.CLIENTS
            else:
                left = sources & ~space.only(there, Field.SOURCE6)
                found[place] = Taking.OTHERS if left.satisfiable() else Taking.ANYBODY
        return found

    def _asked(self, facts: Facts, everybody: Network) -> Asked:
        return Asked(facts.host, (everybody,), sources=(everybody,), source_ports=None, ingress=self.ingress)


def _deciding(decisions: tuple[Decision, ...]) -> Iterator[Decision]:
    return (each for each in decisions if _AT.get(each.effect) == each.place.hook)


def place_of(decision: Decision) -> RulePlace:
    """Which rule has decided."""
    place = decision.place
    return RulePlace(place.tool, place.family, place.table, place.chain, decision.text)
