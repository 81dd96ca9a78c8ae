"""What rules ask of the host itself: its addresses, the types of others, its interfaces, the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crossnet.facts import Facts
from crossnet.netfilter.foreign import Field, Numbers, ReversePath
from crossnet.reach.matching import Local
from crossnet.reach.packets import Packets, Space
from crossnet.reach.routing import Routing
from crossnet.values import Address, Family, address

Hops = Mapping[str, Sequence[tuple[Packets, Address | None]]]

# ARPHRD_* by the kind of an interface
_LINK_TYPES = {
    "": 1,
    "veth": 1,
    "bridge": 1,
    "vlan": 1,
    "bond": 1,
    "vrf": 1,
    "dummy": 1,
    "macvlan": 1,
    "tun": 65534,
}


def local_of(facts: Facts, space: Space, routing: Routing, hops: Hops) -> Local:
    """What a host answers to its rules; `hops` are the packets that were routed, by the interface they leave by."""
    host = _Host(facts, space, routing, hops)
    return Local(host.chosen, host.typed, host.link_types, host.way_back)


class _Host:
    def __init__(self, facts: Facts, space: Space, routing: Routing, hops: Hops) -> None:
        self.facts, self.space, self.routing, self.hops = facts, space, routing, hops

    def chosen(self, name: str, family: Family, packets: Packets) -> Sequence[tuple[Packets, Address]]:
        space = self.space
        found: list[tuple[Packets, Address]] = []
        if not name:  # REDIRECT of what the host itself sends
            return [(packets, address("127.0.0.1" if family is Family.V4 else "::1"))]
        for _, hop in self.hops.get(name, []) if self.hops else []:
            if hop is not None:
                towards = self.routing.address_of(name, family, hop)
                return [(packets, towards)] if towards else []
        link = self.facts.link(name)
        rest = packets
        for item in link.of(family) if link and self.hops.get(name) else ():
            near = rest & space.network(Field.DESTINATION6, item.network)
            if near.satisfiable():
                found.append((near, item.address))
                rest &= ~near
        usual = self.routing.address_of(name, family, None)
        if usual and rest.satisfiable():
            found.append((rest, usual))
        return found

    def typed(self, asked: Field, types: Numbers) -> Packets | None:
        side = Field.SOURCE6 if asked is Field.SOURCE_TYPE else Field.DESTINATION6
        return self.routing.typed(side, types)

    def link_types(self, types: Numbers) -> frozenset[str] | None:
        numbers = {}
        for link in self.facts.links:
            number = 772 if link.name == "lo" or "LOOPBACK" in link.flags else _LINK_TYPES.get(link.kind)
            if number is None:
                return None
            numbers[link.name] = number
        return frozenset(
            name
            for name, number in numbers.items()
            if any(first <= number <= last for first, last in types.ranges)
        )

    def way_back(self, test: ReversePath, packets: Packets) -> tuple[Packets, Packets]:
        space = self.space
        must = can = space.none
        for family in Family:
            part = packets & space.family(family)
            if not part.satisfiable():
                continue
            for led in self.routing.lookup(part, family, back=True, marked=test.marked):
                if led.way.type != "unicast":
                    continue
                by = space.all if test.loose else space.interfaces(Field.IIF, (led.way.device,))
                must, can = must | led.must & by, can | led.can & by
        return (~can, ~must) if test.negated else (must, can)
