"""Packets at random, each as the bytes of a frame and as the fields that a foreign rule can test.

As a program it sends frames: lines of an interface and hexadecimal digits on its standard input.
"""

from __future__ import annotations

import random
import socket
import struct
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netfilter.evaluate import Packet

ETHER4, ETHER6, ETHER_ARP = 0x0800, 0x86DD, 0x0806
ICMP, TCP, UDP, ICMP6, SCTP, OTHER = 1, 6, 17, 58, 132, 253
V4 = (
    *("10.0.0.1", "10.0.0.2", "10.0.1.7", "10.9.255.255"),
    *("172.16.0.1", "192.0.2.9", "192.0.2.200", "203.0.113.77"),
)
V6 = ("fd00::1", "fd00::2", "fd00:0:0:1::7", "2001:db8::9", "2001:db8:ffff::1", "fd12:3456::77")
PORTS = (1, 22, 53, 80, 81, 443, 1024, 8080, 65535)


@dataclass(frozen=True)
class Pool:
    """What addresses and ports are drawn from."""

    v4: tuple[str, ...] = V4
    v6: tuple[str, ...] = V6
    ports: tuple[int, ...] = PORTS


POOL = Pool()
FLAGS = (0x02, 0x12, 0x10, 0x11, 0x04, 0x14, 0x18, 0x03, 0x00, 0xC2, 0x29, 0xFF)
ICMP_TYPES = ((0, 0), (8, 0), (3, 1), (3, 3), (3, 13), (11, 0), (5, 1))
ICMP6_TYPES = ((128, 0), (129, 0), (1, 0), (1, 4), (2, 0), (3, 0), (135, 0))


@dataclass(frozen=True)
class Drawn:
    """A frame, sent to the other end of `iif`, and its fields."""

    iif: str
    frame: bytes
    fields: Packet


def draw(
    number: int, chance: random.Random, interfaces: dict[str, str], *, later: bool, pool: Pool = POOL
) -> Drawn:
    """The frame of this number to one of the interfaces, which are given with their hardware addresses.

    There are first fragments among them, and with `later` others too.
    """
    from crossnet.netfilter.foreign import Field

    iif = chance.choice(sorted(interfaces))
    version = chance.choice((4, 6))
    protocol = chance.choice((TCP, TCP, UDP, UDP, ICMP if version == 4 else ICMP6, SCTP, OTHER))
    source, destination = (chance.choice(pool.v4 if version == 4 else pool.v6) for _ in range(2))
    dscp, ecn = chance.choice((0, 0, 8, 10, 46, 63)), chance.choice((0, 1, 2, 3))
    ttl = chance.choice((2, 5, 64, 255))
    fields: Packet = {
        Field.FAMILY: version,
        Field.ETHER_TYPE: ETHER4 if version == 4 else ETHER6,
        Field.IIF: iif,
        Field.OIF: "",
        Field.PROTOCOL: protocol,
        Field.DSCP: dscp,
        Field.ECN: ecn,
        Field.TTL: ttl,
        Field.MARK: 0,
        Field.PACKET_TYPE: 0,
        Field.IIF_TYPE: 1,
    }
    four = version == 4
    fields[Field.SOURCE4 if four else Field.SOURCE6] = int(ip_address(source))
    fields[Field.DESTINATION4 if four else Field.DESTINATION6] = int(ip_address(destination))
    ends = ip_address(source).packed + ip_address(destination).packed
    transport, more_fields = _transport(protocol, chance, pool.ports)
    transport += bytes(chance.choice((0, 0, 7, 200)))
    offset, more = chance.choice(((0, 0), (0, 0), (0, 1), *(((4, 1), (100, 0)) if later else ())))
    if more:
        transport = transport.ljust(-len(transport) // 8 * -8, b"\0")  # all but the last have whole eights
    fields |= {Field.FRAGMENT: offset, Field.MORE_FRAGMENTS: more}
    if not offset:
        first, second = struct.unpack("!HH", transport[:4])
        fields |= more_fields | {Field.TH_SOURCE: first, Field.TH_DESTINATION: second}
    if four:
        payload = _ip4(number, protocol, ends, transport, dscp << 2 | ecn, ttl, more << 13 | offset)
    else:
        payload = _ip6(number, protocol, ends, transport, dscp << 2 | ecn, ttl, offset, more)
    fields[Field.LENGTH] = len(payload)
    hardware = bytes.fromhex(interfaces[iif].replace(":", ""))
    return Drawn(
        iif,
        hardware + bytes.fromhex("00005e005301") + struct.pack("!H", fields[Field.ETHER_TYPE]) + payload,
        fields,
    )


def arp(iif: str, interfaces: dict[str, str]) -> Drawn:
    """A question of ARP, which a bridge forwards and neither family sees."""
    from crossnet.netfilter.foreign import Field

    hardware = bytes.fromhex(interfaces[iif].replace(":", ""))
    question = struct.pack("!HHBBH", 1, ETHER4, 6, 4, 1) + bytes(20)
    fields: Packet = {
        Field.ETHER_TYPE: ETHER_ARP,
        Field.IIF: iif,
        Field.OIF: "",
        Field.MARK: 0,
        Field.PACKET_TYPE: 0,
        Field.IIF_TYPE: 1,
        Field.LENGTH: len(question),
    }
    return Drawn(
        iif, hardware + bytes.fromhex("00005e005301") + struct.pack("!H", ETHER_ARP) + question, fields
    )


def udp4(
    iif: str, interfaces: dict[str, str], ends: tuple[str, str], ports: tuple[int, int], number: int
) -> Drawn:
    """A datagram without a checksum, as connection tracking takes it."""
    from crossnet.netfilter.foreign import Field

    source, destination = (ip_address(end) for end in ends)
    header = _ip4(
        number, UDP, source.packed + destination.packed, struct.pack("!HHHH", *ports, 8, 0), 0, 64, 0
    )
    link = bytes.fromhex(interfaces[iif].replace(":", "") + "00005e005301") + struct.pack("!H", ETHER4)
    fields: Packet = {
        Field.FAMILY: 4,
        Field.IIF: iif,
        Field.PROTOCOL: UDP,
        Field.SOURCE4: int(source),
        Field.DESTINATION4: int(destination),
        Field.SOURCE_PORT: ports[0],
        Field.DESTINATION_PORT: ports[1],
        Field.MARK: 0,
    }
    return Drawn(iif, link + header, fields)


def _transport(protocol: int, chance: random.Random, ports: tuple[int, ...]) -> tuple[bytes, Packet]:
    from crossnet.netfilter.foreign import Field

    source, destination = chance.choice(ports), chance.choice(ports)
    both: Packet = {Field.SOURCE_PORT: source, Field.DESTINATION_PORT: destination}
    match protocol:
        case 6:
            flags = chance.choice(FLAGS)
            header = struct.pack("!HHIIBBHHH", source, destination, 1, 2, 5 << 4, flags, 1000, 0, 0)
            return header, both | {Field.TCP_FLAGS: flags}
        case 17:
            return struct.pack("!HHHH", source, destination, 8, 0), both
        case 132:
            return struct.pack("!HHII", source, destination, 1, 0), both
        case 1 | 58:
            kind, code = chance.choice(ICMP_TYPES if protocol == ICMP else ICMP6_TYPES)
            return struct.pack("!BBHI", kind, code, 0, 0), {Field.ICMP_TYPE: kind, Field.ICMP_CODE: code}
        case _:
            return b"anything", {}


def _ip4(number: int, protocol: int, ends: bytes, payload: bytes, tos: int, ttl: int, fragment: int) -> bytes:
    header = (
        struct.pack("!BBHHHBBH", 0x45, tos, 20 + len(payload), number & 0xFFFF, fragment, ttl, protocol, 0)
        + ends
    )
    return header[:10] + struct.pack("!H", _checksum(header)) + header[12:] + payload


def _ip6(
    number: int, protocol: int, ends: bytes, payload: bytes, traffic: int, ttl: int, offset: int, more: int
) -> bytes:
    following = protocol
    if offset or more:
        payload = struct.pack("!BBHI", protocol, 0, offset << 3 | more, number) + payload
        following = 44
    return struct.pack("!IHBB", 6 << 28 | traffic << 20, len(payload), following, ttl) + ends + payload


def _checksum(data: bytes) -> int:
    total = sum(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send() -> None:
    sockets: dict[str, socket.socket] = {}
    for line in sys.stdin:
        interface, frame = line.split()
        if interface not in sockets:
            sockets[interface] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            sockets[interface].bind((interface, 0))
        sockets[interface].send(bytes.fromhex(frame))


if __name__ == "__main__":
    send()
