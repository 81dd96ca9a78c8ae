"""What rules ask of the host itself: its addresses, the types of others, its interfaces, the way back."""

from __future__ import annotations

from collections.abc import Sequence

from crossnet.facts import Facts
from crossnet.netfilter.foreign import Field, Numbers, ReversePath, Translation
from crossnet.reach.address_types import typed
from crossnet.reach.matching import OfHost
from crossnet.reach.packets import Packets, Space
from crossnet.reach.routing import Routing
from crossnet.reach.sources import Sources
from crossnet.values import Address, Family, address

# ARPHRD_* (linux/if_arp.h) by the word that `ip` has for it (ll_types of iproute2); others it prints as `[519]`.
_HARDWARE = {
    "ether": 1,
    "infiniband": 32,
    "ppp": 512,
    "can": 280,
    "ipip": 768,
    "tunnel": 768,
    "tunnel6": 769,
    "loopback": 772,
    "sit": 776,
    "gre": 778,
    "ieee802.11": 801,
    "gre6": 823,
    "none": 65534,
    "void": 65535,
}


def local_of(facts: Facts, space: Space, routing: Routing, sources: Sources) -> OfHost:
    """What a host answers to its rules."""
    host = _Host(facts, space, routing, sources)
    return OfHost(host.chosen, host.typed, host.link_types, host.way_back)


class _Host:
    """What `OfHost` asks, answered from the facts of one host and the ways that its packets were led."""

    def __init__(self, facts: Facts, space: Space, routing: Routing, sources: Sources) -> None:
        self.facts, self.space, self.routing, self.sources = facts, space, routing, sources

    def chosen(
        self, translation: Translation, name: str, family: Family, packets: Packets
    ) -> Sequence[tuple[Packets, Address]]:
        if translation is Translation.REDIRECT:
            if not name:  # of what the host itself sends
                return [(packets, address("127.0.0.1" if family is Family.V4 else "::1"))]
            first = self.sources.first_of(name, family)
            return [(packets, first)] if first else []
        found: list[tuple[Packets, Address]] = []
        for hop, towards in self.space.by_next_hop(packets):
            chosen = self.sources.masquerading(name, family, hop, packets & towards)
            found += [(each.packets, each.address) for each in chosen if each.address]
        return found

    def typed(self, asked: Field, types: Numbers) -> tuple[Packets, Packets]:
        side = Field.SOURCE6 if asked is Field.SOURCE_TYPE else Field.DESTINATION6
        return typed(self.routing, side, types)

    def link_types(self, types: Numbers) -> frozenset[str] | None:
        numbers = {"lo": _HARDWARE["loopback"]}
        for link in self.facts.links:
            word = link.hardware_type.strip("[]")
            number = int(word) if word.isdecimal() else _HARDWARE.get(word)
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
                by = space.interfaces(Field.IIF, (led.way.device,)) if led.way.hop else space.all
                by = space.all if test.loose else by
                must, can = must | led.must & by, can | led.can & by
        return (~can, ~must) if test.negated else (must, can)
