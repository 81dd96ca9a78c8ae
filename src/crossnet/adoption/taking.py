"""Whose packets a rule of a gateway translates, of all that anybody could send over it."""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

from crossnet.adoption.ways import Way
from crossnet.diagnosis.translating import Translating
from crossnet.facts import Facts
from crossnet.facts.routes import default_network
from crossnet.netfilter.foreign import Field
from crossnet.reach.asked import Asked, packets_of
from crossnet.reach.here import Here
from crossnet.reach.host import HostWalk
from crossnet.reach.packets import Space, address_field
from crossnet.reach.rules import Effect
from crossnet.values import host_network


class Taking(IntEnum):
    """Only the clients' packets, some of others too, or those of anybody whose packets come there."""

    CLIENTS = 0
    OTHERS = 1
    ANYBODY = 2


def taking(facts: Facts, way: Way, rule: Translating) -> Taking:
    """Whose packets the rule takes, where nothing before it would stop any."""
    space, everybody = Space(), default_network(way.family)
    asked = Asked(facts.host, (everybody,), sources=(everybody,), source_ports=None, ingress=way.ingress)
    packets = Here.of(packets_of(space, asked))
    facts = replace(facts, neighbours=())
    bare = replace(facts, firewall=replace(facts.firewall, foreign=()))
    field = address_field(Field.SOURCE6, way.family)
    leaving = HostWalk(bare, space).received(packets, way.ingress).leaving
    whoever = space.any_of(each.here.may for each in leaving if each.interface == way.egress)
    taken = space.any_of(
        each.here.fixed
        for each in HostWalk(facts, space).received(packets, way.ingress).decisions
        if each.effect is Effect.TRANSLATES
        and each.place.hook == "postrouting"
        and (each.place.tool, each.place.family, each.place.table, each.place.chain, each.text) == rule.place
    )
    clients = space.any_of(space.network(field, host_network(source)) for source in way.sources)
    if not (taken & ~clients).satisfiable():
        return Taking.CLIENTS
    left = space.only(whoever, Field.SOURCE6) & ~space.only(taken, Field.SOURCE6)
    return Taking.OTHERS if left.satisfiable() else Taking.ANYBODY
