"""What a translation makes of packets: the addresses and ports that its rule gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from crossnet.netfilter.foreign import Field, Translate, Translation
from crossnet.reach.packets import Packets, Space, address_field
from crossnet.values import Address, Family

# The addresses of an interface that packets which leave by it (masquerade) or came by it (redirect) can be given.
Choose: TypeAlias = Callable[[Translation, str, Family, Packets], Sequence[tuple[Packets, Address]]]

DESTINATION = frozenset({Translation.DESTINATION, Translation.REDIRECT, Translation.NETMAP_DESTINATION})
NAT_STATUS = {True: 32, False: 16}  # IPS_DST_NAT, IPS_SRC_NAT


def translated(space: Space, choose: Choose, translate: Translate, packets: Packets) -> Packets:
    """The packets with the addresses and ports that the rule gives them."""
    destination = translate.kind in DESTINATION
    found = space.none
    for family in Family:
        part = packets & space.family(family)
        if part.satisfiable():
            found |= _readdressed(space, choose, translate, part, family)
    if translate.ports is not None:
        port = Field.DESTINATION_PORT if destination else Field.SOURCE_PORT
        having = found & space.present(port)
        given = space.without(having, port) & space.among((port,), translate.ports)
        found = (found & ~space.present(port)) | given
    return space.rewritten(found, Field.CT_STATUS, bit := NAT_STATUS[destination], bit)


def _readdressed(
    space: Space, choose: Choose, translate: Translate, packets: Packets, family: Family
) -> Packets:
    destination = translate.kind in DESTINATION
    side = address_field(Field.DESTINATION6 if destination else Field.SOURCE6, family)
    match translate.kind:
        case Translation.MASQUERADE | Translation.REDIRECT:
            by = Field.OIF if translate.kind is Translation.MASQUERADE else Field.IIF
            found = space.none
            for number in space.values_of(packets, by):
                name = space.interface(number)
                leaving = packets & space.interfaces(by, (name,))
                for part, address in choose(translate.kind, name, family, leaving):
                    found |= space.with_value(part, side, int(address))
            return found
        case Translation.NETMAP_SOURCE | Translation.NETMAP_DESTINATION if translate.addresses:
            ((first, last),) = translate.addresses.ranges
            width = 32 if family is Family.V4 else 128
            return space.rewritten(packets, side, (1 << width) - 1 ^ (first ^ last), first)
    if translate.addresses is None:
        return packets
    return space.without(packets, side) & space.among((side,), translate.addresses)
