"""What is asked: which packets, from whom to whom; and the set of them that a walk begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from crossnet.netfilter.foreign import Field, Numbers
from crossnet.reach.packets import ICMP, ICMP6, TCP, UDP, Packets, Space, address_field
from crossnet.values import Family, Network, Ports, Protocol, Traffic, family_of

_SYN, _ACK = 2, 16
_LENGTH, _TTL = 60, 64

# ip(7), ip_local_port_range: whence a program gets its port that asks for none.
EPHEMERAL = Ports(32768, 60999)

_PROTOCOL = {Protocol.TCP: TCP, Protocol.UDP: UDP}
_ECHO = {Family.V4: (ICMP, 8, 0), Family.V6: (ICMP6, 128, 129)}


class Piece(StrEnum):
    """Whole packets, the first fragments of such, or those behind it."""

    WHOLE = "whole"
    FIRST = "first"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: packets that a host sends, or that come to it by `ingress`, and the answers to them.

    `sources` are those that a program binds to, none where the host chooses; `source_ports` None is any port. Without
    `traffic` everything is asked, with `longest` packets of all lengths up to it. `egress` says of a host by which
    interface a crossing leaves it: where it has no route, the walk goes on as if it had one there. `piece` asks of
    fragments of such packets, `dont_fragment` of IPv4 packets with that flag, `bridged` of frames for others that come
    by `ingress`, a port of the host's bridge.
    """

    host: str
    destinations: tuple[Network, ...]
    traffic: tuple[Traffic, ...] = ()
    sources: tuple[Network, ...] = ()
    source_ports: Ports | None = EPHEMERAL
    egress: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ingress: str = ""
    length: int = _LENGTH
    longest: int = 0
    piece: Piece = Piece.WHOLE
    dont_fragment: bool = False
    bridged: bool = False

    @property
    def lengths(self) -> tuple[int, int]:
        return self.length, max(self.length, self.longest)


def packets_of(space: Space, asked: Asked) -> Packets:
    """The first packets of the flows that are asked, as their host is about to send them."""
    families = {family_of(each) for each in asked.destinations}
    found = space.any_of(space.network(Field.DESTINATION6, each) for each in asked.destinations)
    if asked.sources:
        found &= space.any_of(space.network(Field.SOURCE6, each) for each in asked.sources)
    else:
        found &= space.any_of(
            space.family(family) & space.value(address_field(Field.SOURCE6, family), 0) for family in families
        )
    if asked.traffic:
        found &= space.any_of(_traffic(space, each, family) for each in asked.traffic for family in families)
    found = first_of_a_flow(space, found, asked.lengths, answer=False)
    match asked.piece:
        case Piece.FIRST:
            found = space.with_value(found, Field.MORE_FRAGMENTS, 1)
        case Piece.LATER:
            found = space.without(found, Field.FRAGMENT, Field.MORE_FRAGMENTS)
            found &= ~space.value(Field.FRAGMENT, 0)
    if asked.source_ports is not None:
        ports = Numbers(((asked.source_ports.first, asked.source_ports.last),))
        found &= space.among((Field.SOURCE_PORT,), ports) | ~space.present(Field.SOURCE_PORT, seeming=True)
    return found


def first_of_a_flow(space: Space, packets: Packets, lengths: tuple[int, int], *, answer: bool) -> Packets:
    shortest, longest = lengths
    for each, value in (
        *((Field.FRAGMENT, 0), (Field.MORE_FRAGMENTS, 0), (Field.MARK, 0), (Field.DSCP, 0), (Field.ECN, 0)),
        *((Field.TTL, _TTL), (Field.PACKET_TYPE, 0)),
    ):
        packets = space.with_value(packets, each, value)
    packets = space.without(packets, Field.LENGTH) & space.among((Field.LENGTH,), Numbers((lengths,)))
    packets = space.without(packets, Field.TCP_FLAGS, Field.ICMP_TYPE, Field.ICMP_CODE, Field.CT_MARK)
    if answer and shortest == longest:
        tcp = space.value(Field.PROTOCOL, TCP)
        accepting = space.with_value(packets & tcp, Field.LENGTH, min(longest, _LENGTH))
        packets = accepting | (packets & ~tcp)
    flags = space.value(Field.TCP_FLAGS, _SYN | _ACK if answer else _SYN)
    packets &= flags | ~space.value(Field.PROTOCOL, TCP)
    for family, (protocol, request, reply) in _ECHO.items():
        echo = space.value(Field.ICMP_TYPE, reply if answer else request) & space.value(Field.ICMP_CODE, 0)
        packets &= echo | ~(space.family(family) & space.value(Field.PROTOCOL, protocol))
    return packets


def _traffic(space: Space, traffic: Traffic, family: Family) -> Packets:
    protocol = _ECHO[family][0] if traffic.protocol is Protocol.ICMP else _PROTOCOL[traffic.protocol]
    found = space.family(family) & space.value(Field.PROTOCOL, protocol)
    if traffic.ports is not None:
        found &= space.among((Field.DESTINATION_PORT,), Numbers(((traffic.ports.first, traffic.ports.last),)))
    return found
