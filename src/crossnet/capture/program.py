"""The same filter as a program of the kernel's packet filter, for a socket that sees packets from their IP header on.

Instructions are those of linux/filter.h; Documentation/networking/filter.rst tells of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network

from crossnet.capture.packet import ARP, IPV4, IPV6
from crossnet.capture.wanted import Filter
from crossnet.values import Address, Network, Protocol

_MOST = 2000  # instructions; net.core.optmem_max leaves room for no more on some kernels

_PROTOCOL = 0xFFFFF000  # SKF_AD_OFF + SKF_AD_PROTOCOL: what the link header said
_LOADS = {1: 0x30, 2: 0x28, 4: 0x20}  # BPF_LD, BPF_ABS and the size
_LOADS_BEHIND = {1: 0x50, 2: 0x48, 4: 0x40}  # the same with BPF_IND: behind what is in X
_HEAD_LENGTH = 0xB1  # BPF_LDX + BPF_B + BPF_MSH: X is the length of the IPv4 header at k
_AND, _EQUAL, _RETURN = 0x54, 0x15, 0x06
_ALL = 0x40000  # bytes

_TCP, _UDP, _ICMP, _ICMP6, _PIECE6 = 6, 17, 1, 58, 44
_NUMBERS = {Protocol.TCP: _TCP, Protocol.UDP: _UDP}


@dataclass(frozen=True, slots=True)
class _Test:
    """Whether what stands at a place, under the mask, is one of these; `behind`: from the end of IPv4's header on."""

    at: int
    size: int
    values: tuple[int, ...]
    mask: int | None = None
    behind: bool = False
    negative: bool = False


_Term = tuple[_Test, ...]  # all of them

_V4, _V6 = _Test(_PROTOCOL, 2, (IPV4,)), _Test(_PROTOCOL, 2, (IPV6,))
_WHOLE = _Test(6, 2, (0,), 0x1FFF)  # the first piece of a packet, or all of it
_IS_ICMP = (_V4, _Test(9, 1, (_ICMP,)), _WHOLE)
_IS_ICMP6 = (_V6, _Test(6, 1, (_ICMP6,)))
_NEIGHBOURS_AND_ERRORS: tuple[_Term, ...] = (
    (_Test(_PROTOCOL, 2, (ARP,)),),
    (*_IS_ICMP6, _Test(40, 1, (135, 136, 137))),
    (*_IS_ICMP, _Test(0, 1, (3, 4, 5, 11, 12), behind=True)),
    (*_IS_ICMP6, _Test(40, 1, (0,), 0x80)),
)
_ECHO4, _ECHO6 = (
    (*_IS_ICMP, _Test(0, 1, (0, 8), behind=True)),
    (*_IS_ICMP6, _Test(40, 1, (128, 129))),
)


def program(wanted: Filter, *, without: Sequence[tuple[Address, Address]] = ()) -> bytes:
    """Its instructions, each eight bytes in network order: code, two jumps, operand.

    Where that would be too many, the addresses are left out: more is seen then, and nothing less.
    """
    refused = [term for ends in without for term in _established(*ends)]
    made = _assembled(refused, _terms(wanted))
    if len(made) > _MOST:
        made = _assembled(refused, _terms(replace(wanted, addresses=())))
    return b"".join(struct.pack("!HBBI", *one) for one in made)


def _terms(wanted: Filter) -> Iterator[_Term]:
    yield from _NEIGHBOURS_AND_ERRORS
    for length in wanted.echoes:
        yield (*_ECHO4, _Test(2, 2, (28 + length,)))
        yield (*_ECHO6, _Test(4, 2, (8 + length,)))
    match wanted.protocol:
        case None:
            yield from _of_these(wanted, (_V4,), (_V6,))
        case Protocol.ICMP if not wanted.echoes:
            yield from _of_these(wanted, _ECHO4, _ECHO6)
        case Protocol.TCP | Protocol.UDP:
            number = _NUMBERS[wanted.protocol]
            four, six = (_V4, _Test(9, 1, (number,))), (_V6, _Test(6, 1, (number,)))
            if wanted.port is None:
                yield from _of_these(wanted, four, six)
            else:
                for at in (0, 2):  # the source's, the destination's
                    port4 = _Test(at, 2, (wanted.port,), behind=True)
                    port6 = _Test(40 + at, 2, (wanted.port,))
                    yield from _of_these(wanted, (*four, _WHOLE, port4), (*six, port6))
    if wanted.addresses:
        piece = _Test(6, 2, (0,), 0x1FFF, negative=True)
        yield from _of_these(wanted, (_V4, piece), (_V6, _Test(6, 1, (_PIECE6,))))


def _of_these(wanted: Filter, four: _Term, six: _Term) -> Iterator[_Term]:
    """Both, but only from or to the addresses, where there are any."""
    if not wanted.addresses:
        yield four
        yield six
    for one in wanted.addresses:
        net = one if isinstance(one, IPv4Network | IPv6Network) else ip_network(one)
        for is_source in (True, False):
            yield (*(four if net.version == 4 else six), *_end(net, is_source=is_source))


def _end(net: Network, *, is_source: bool) -> Iterator[_Test]:
    width = 4 if net.version == 4 else 16
    begin = 12 if net.version == 4 else 8
    begin += 0 if is_source else width
    for at in range(0, width, 4):
        mask = int.from_bytes(net.netmask.packed[at : at + 4])
        if mask:
            value = int.from_bytes(net.network_address.packed[at : at + 4])
            yield _Test(begin + at, 4, (value,), None if mask == 0xFFFFFFFF else mask)


def _established(one: Address, other: Address) -> Iterator[_Term]:
    """Segments between these two without SYN and RST."""
    is_tcp: _Term = (_V4, _Test(9, 1, (_TCP,)), _WHOLE, _Test(13, 1, (0,), 6, behind=True))
    if one.version == 6:
        is_tcp = (_V6, _Test(6, 1, (_TCP,)), _Test(53, 1, (0,), 6))
    for source, destination in ((one, other), (other, one)):
        yield (
            *is_tcp,
            *_end(ip_network(source), is_source=True),
            *_end(ip_network(destination), is_source=False),
        )


_Instruction = tuple[int, int, int, int]


def _assembled(refused: Sequence[_Term], taken: Iterator[_Term]) -> list[_Instruction]:
    made = [one for term in refused for one in _block(term, 0)]
    made += [one for term in taken for one in _block(term, _ALL)]
    return [*made, (_RETURN, 0, 0, 0)]


def _block(term: _Term, verdict: int) -> list[_Instruction]:
    """What returns the verdict where every test holds, and goes on behind itself where one does not."""
    made: list[_Instruction] = [(_RETURN, 0, 0, verdict)]
    for test in reversed(term):
        behind = len(made)  # how far it is from the last instruction of this test to the end of the block
        compared: list[_Instruction] = []
        for number, value in enumerate(reversed(test.values)):
            # A match goes on behind the rest of these; only the last one of them knows that nothing matched.
            match, miss = (number, 0 if number else behind)
            if test.negative:
                match, miss = behind + number, 0
            compared.insert(0, (_EQUAL, match, miss, value))
        loads = _LOADS_BEHIND if test.behind else _LOADS
        head = [(_HEAD_LENGTH, 0, 0, 0)] if test.behind else []
        masked = [(_AND, 0, 0, test.mask)] if test.mask is not None else []
        made = [*head, (loads[test.size], 0, 0, test.at), *masked, *compared, *made]
    return made
