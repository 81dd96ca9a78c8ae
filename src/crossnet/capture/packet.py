"""A packet, read from as many of its bytes as were captured; bytes that make no sense never raise.

Formats: RFC 791, 8200 (IP), 792, 4443 (ICMP), 826 (ARP), 4861 (neighbour discovery), 9293 (TCP), 768 (UDP).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import IntFlag
from ipaddress import IPv4Address, IPv6Address

from crossnet.values import Address

ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD  # linux/if_ether.h

_ICMP, _TCP, _UDP, _ICMP6 = 1, 6, 17, 58
_NAMES = {_ICMP: "icmp", _ICMP6: "icmp", _TCP: "tcp", _UDP: "udp"}

_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION = 0, 43, 44, 60
_EXTENSIONS = (_HOP_BY_HOP, _ROUTING, _DESTINATION)
_MOST_EXTENSIONS = 16  # in one packet; more are not looked into

_DEPTH = 2  # an error is never about an error (RFC 1122, 3.2.2), so nothing lies deeper than this


class Tcp(IntFlag):
    """Flags of a TCP segment."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10
    URG = 0x20


NO_FLAGS = Tcp(0)


@dataclass(frozen=True, slots=True)
class Packet:
    """What a packet says, as far as it was captured; what is not there, or cannot be read, is None.

    `protocol` is `icmp` (ICMPv6 too), `tcp`, `udp`, `arp`, `nd`
    (who asks for neighbours, or tells of one, in ICMPv6), else `ip/47` or `ether/0x88cc`. `length` is that of the
    whole IP packet in bytes, as its header says, `fragment` its offset in the packet it is a piece of. `ident` and
    `sequence` are those of an echo, `sequence` also that of TCP. `mtu` is what an error says is the most. `asks` is
    the address that a neighbour is asked for, `tells` the one that an answer is about, `mac` the link address of who
    asks or of what is told. `quoted` is the packet that an ICMP error is about.
    """

    protocol: str
    source: Address | None = None
    destination: Address | None = None
    length: int | None = None
    ttl: int | None = None
    identification: int | None = None
    dont_fragment: bool = False
    fragment: int = 0
    more_fragments: bool = False
    source_port: int | None = None
    destination_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    ident: int | None = None
    sequence: int | None = None
    acknowledgement: int | None = None
    flags: Tcp = NO_FLAGS
    mss: int | None = None
    mtu: int | None = None
    asks: Address | None = None
    tells: Address | None = None
    mac: str | None = None
    payload: bytes = b""
    quoted: Packet | None = None

    @property
    def is_v6(self) -> bool:
        return isinstance(self.source, IPv6Address)

    @property
    def is_echo_request(self) -> bool:
        return self.protocol == "icmp" and self.icmp_type == (128 if self.is_v6 else 8)

    @property
    def is_echo_reply(self) -> bool:
        return self.protocol == "icmp" and self.icmp_type == (129 if self.is_v6 else 0)

    @property
    def is_error(self) -> bool:
        """An ICMP error: it is about another packet (RFC 1122, 3.2.2; RFC 4443, 2.1); a redirect is none."""
        if self.protocol != "icmp" or self.icmp_type is None:
            return False
        return self.icmp_type < 128 if self.is_v6 else self.icmp_type in (3, 4, 11, 12)

    @property
    def is_redirect(self) -> bool:
        return self.protocol == "icmp" and self.icmp_type == (137 if self.is_v6 else 5)

    @property
    def is_neighbour(self) -> bool:
        """ARP, or neighbour discovery of IPv6."""
        return self.asks is not None or self.tells is not None

    @property
    def ends(self) -> tuple[str | None, str | None]:
        """Source and destination, with their ports where there are any."""
        return _end(self.source, self.source_port), _end(self.destination, self.destination_port)

    def __str__(self) -> str:
        """`10.0.43.15 > 10.0.44.1 icmp echo request`."""
        if self.asks is not None:
            return f"{self.protocol} who has {self.asks}, asks {self.source}"
        if self.tells is not None:
            return f"{self.protocol} {self.tells} is at {self.mac or 'no address'}"
        if self.source is None or self.destination is None:
            return self.protocol
        words = [" > ".join(end for end in self.ends if end), self.protocol, self._kind]
        if self.fragment:
            words.append(f"fragment at {self.fragment}")
        if self.quoted is not None:
            words.append(f"about {self.quoted}")
        return " ".join(word for word in words if word)

    @property
    def _kind(self) -> str:
        if self.protocol == "tcp":
            return "+".join(flag.name.lower() for flag in _SHOWN if flag in self.flags and flag.name)
        if self.protocol == "icmp" and self.icmp_type is not None:
            names = _ICMP6_NAMES if self.is_v6 else _ICMP4_NAMES
            both = (self.icmp_type, self.icmp_code)
            said = names.get(both) or names.get((self.icmp_type, None)) or f"type {both[0]} code {both[1]}"
            return said if self.mtu is None else f"{said}, mtu {self.mtu}"
        return ""


_SHOWN = (Tcp.SYN, Tcp.FIN, Tcp.RST, Tcp.ACK)

_ICMP4_NAMES: dict[tuple[int, int | None], str] = {
    (0, None): "echo reply",
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 4): "fragmentation needed",
    (3, 9): "network administratively prohibited",
    (3, 10): "host administratively prohibited",
    (3, 13): "administratively prohibited",
    (3, None): "unreachable",
    (5, None): "redirect",
    (8, None): "echo request",
    (11, 0): "ttl exceeded",
    (11, 1): "reassembly time exceeded",
    (12, None): "parameter problem",
}
_ICMP6_NAMES: dict[tuple[int, int | None], str] = {
    (1, 0): "no route",
    (1, 1): "administratively prohibited",
    (1, 3): "address unreachable",
    (1, 4): "port unreachable",
    (1, 5): "source address failed policy",
    (1, 6): "reject route",
    (1, None): "unreachable",
    (2, None): "packet too big",
    (3, 0): "hop limit exceeded",
    (3, 1): "reassembly time exceeded",
    (4, None): "parameter problem",
    (128, None): "echo request",
    (129, None): "echo reply",
    (133, None): "router solicitation",
    (134, None): "router advertisement",
    (137, None): "redirect",
}


def _end(address: Address | None, port: int | None) -> str | None:
    if address is None or port is None:
        return None if address is None else str(address)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def parse(ethertype: int, data: bytes) -> Packet:
    """The packet behind a link header of this type (linux/if_ether.h)."""
    if ethertype == ARP:
        return _arp(data)
    if ethertype in (IPV4, IPV6):
        return parse_ip(data)
    return Packet(f"ether/{ethertype:#06x}")


def parse_ip(data: bytes, depth: int = 0) -> Packet:
    """An IP packet; its own first half-byte tells the version."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20:
        return _ipv4(data, depth)
    if version == 6 and len(data) >= 40:
        return _ipv6(data, depth)
    return Packet(f"ip/version-{version}" if data else "ip")


def mac(data: bytes) -> str | None:
    """A link address as `ip link` writes it; None where there is none."""
    return data.hex(":") if data else None


def _ipv4(data: bytes, depth: int) -> Packet:
    length, identification, fragment = struct.unpack_from("!HHH", data, 2)
    ttl, protocol = data[8], data[9]
    packet = Packet(
        _NAMES.get(protocol, f"ip/{protocol}"),
        IPv4Address(data[12:16]),
        IPv4Address(data[16:20]),
        length,
        ttl,
        identification,
        bool(fragment & 0x4000),
        (fragment & 0x1FFF) * 8,
        bool(fragment & 0x2000),
    )
    # A length of 0 is what the card is to fill in while it cuts a segment that is longer than the field can say.
    return _above(packet, protocol, data[max(data[0] & 0xF, 5) * 4 : length or None], depth)


def _ipv6(data: bytes, depth: int) -> Packet:
    length, protocol, ttl = struct.unpack_from("!HBB", data, 4)
    packet = Packet(
        "",
        IPv6Address(data[8:24]),
        IPv6Address(data[24:40]),
        40 + length,
        ttl,
        dont_fragment=True,  # a router never cuts one
    )
    rest = data[40 : 40 + length if length else None]
    for _ in range(_MOST_EXTENSIONS):
        if protocol == _FRAGMENT and len(rest) >= 8:
            protocol = rest[0]
            field, identification = struct.unpack_from("!HI", rest, 2)
            packet = replace(
                packet,
                fragment=field & 0xFFF8,
                more_fragments=bool(field & 1),
                identification=identification,
                dont_fragment=False,
            )
            rest = rest[8:]
            if packet.fragment:
                break
        elif protocol in _EXTENSIONS and len(rest) >= 8:
            protocol, rest = rest[0], rest[8 + rest[1] * 8 :]
        else:
            break
    packet = replace(packet, protocol=_NAMES.get(protocol, f"ip/{protocol}"))
    return _above(packet, protocol, rest, depth)


def _above(packet: Packet, protocol: int, data: bytes, depth: int) -> Packet:
    if packet.fragment:
        return replace(packet, payload=bytes(data))
    if protocol == _UDP and len(data) >= 4:
        source, destination = struct.unpack_from("!HH", data)
        return replace(packet, source_port=source, destination_port=destination, payload=bytes(data[8:]))
    if protocol == _TCP and len(data) >= 8:
        return _tcp(packet, data)
    if protocol == (_ICMP6 if packet.is_v6 else _ICMP) and len(data) >= 2:
        return _icmp(packet, data, depth)
    return replace(packet, payload=bytes(data))


def _tcp(packet: Packet, data: bytes) -> Packet:
    """An ICMP error may quote no more than the first eight bytes of it (RFC 792)."""
    source, destination, sequence = struct.unpack_from("!HHI", data)
    packet = replace(packet, source_port=source, destination_port=destination, sequence=sequence)
    if len(data) < 20:
        return packet
    acknowledgement, offset, flags = struct.unpack_from("!IBB", data, 8)
    head = max(offset >> 4, 5) * 4
    return replace(
        packet,
        acknowledgement=acknowledgement if flags & Tcp.ACK else None,
        flags=Tcp(flags & 0x3F),
        mss=_mss(data[20:head]),
        payload=bytes(data[head:]),
    )


def _mss(options: bytes) -> int | None:
    at = 0
    while at + 1 < len(options) and options[at] != 0:
        kind, length = options[at], options[at + 1]
        if kind == 1:
            at += 1
            continue
        if kind == 2 and length == 4 and at + 4 <= len(options):
            return int.from_bytes(options[at + 2 : at + 4])
        if length < 2:
            return None
        at += length
    return None


def _icmp(packet: Packet, data: bytes, depth: int) -> Packet:
    packet = replace(packet, icmp_type=data[0], icmp_code=data[1])
    if len(data) < 8:
        return packet
    if packet.is_echo_request or packet.is_echo_reply:
        ident, sequence = struct.unpack_from("!HH", data, 4)
        return replace(packet, ident=ident, sequence=sequence, payload=bytes(data[8:]))
    if packet.is_v6 and data[0] in (135, 136) and len(data) >= 24:
        return _discovery(packet, data)
    if packet.is_error or (packet.is_redirect and not packet.is_v6):
        # RFC 1191: the second half of the word; 0 from a router that does not know it. RFC 4443: all of it.
        if packet.is_v6:
            mtu = int.from_bytes(data[4:8]) if data[0] == 2 else None
        else:
            mtu = int.from_bytes(data[6:8]) if (data[0], data[1]) == (3, 4) else None
        quoted = parse_ip(data[8:], depth + 1) if depth + 1 < _DEPTH and len(data) > 8 else None
        return replace(packet, mtu=mtu, quoted=quoted)
    return replace(packet, payload=bytes(data[8:]))


def _discovery(packet: Packet, data: bytes) -> Packet:
    """Options are type, length in eights, value: 1 is the asker's link address, 2 that of what is told (RFC 4861)."""
    target = IPv6Address(data[8:24])
    asks = data[0] == 135
    told = None
    at = 24
    while at + 8 <= len(data) and data[at + 1]:
        if data[at] == (1 if asks else 2):
            told = mac(data[at + 2 : at + 8])
        at += data[at + 1] * 8
    return replace(
        packet,
        protocol="nd",
        asks=target if asks else None,
        tells=None if asks else target,
        mac=told,
    )


def _arp(data: bytes) -> Packet:
    if len(data) < 28 or data[2:6] != b"\x08\x00\x06\x04":
        return Packet("arp")
    operation = int.from_bytes(data[6:8])
    sender, target = IPv4Address(data[14:18]), IPv4Address(data[24:28])
    return Packet(
        "arp",
        sender,
        target,
        asks=target if operation == 1 else None,
        tells=sender if operation == 2 else None,
        mac=mac(data[8:14]),
    )
