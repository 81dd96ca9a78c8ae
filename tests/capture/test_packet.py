"""What is read out of captured bytes, and that no bytes at all make it fail."""

from __future__ import annotations

import struct
from contextlib import suppress
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crossnet.capture.frames import ETHERNET, RAW, SLL, SLL2, Kind, Reader, Record, frame
from crossnet.capture.packet import ARP, IPV4, IPV6, Packet, Tcp, parse, parse_ip

A, T = "10.0.43.15", "10.0.44.1"
A6, T6 = "fd00:43::15", "fd00:44::1"
MAC, OTHER = "02:00:00:00:43:15", "02:00:00:00:43:01"


def ip4(source: str, destination: str, protocol: int, body: bytes, *, field: int = 0x4000) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 77, field, 63, protocol, 0)
    return head + ip_address(source).packed + ip_address(destination).packed + body


def ip6(source: str, destination: str, protocol: int, body: bytes) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(body), protocol, 62)
    return head + ip_address(source).packed + ip_address(destination).packed + body


def echo(kind: int, ident: int = 9, sequence: int = 1, data: bytes = b"tag") -> bytes:
    return struct.pack("!BBHHH", kind, 0, 0, ident, sequence) + data


def syn(*, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    return struct.pack("!HHIIBBHHH", 40000, 443, 7, 0, words << 4, 0x02, 64240, 0, 0) + options


def ethernet(body: bytes, ethertype: int = IPV4, *, to: str = MAC, of: str = OTHER) -> bytes:
    return bytes.fromhex((to + of).replace(":", "")) + struct.pack("!H", ethertype) + body


def test_an_echo_is_told_with_what_ties_its_reply_to_it() -> None:
    request, reply = parse_ip(ip4(A, T, 1, echo(8))), parse_ip(ip4(T, A, 1, echo(0)))

    assert str(request) == "10.0.43.15 > 10.0.44.1 icmp echo request"
    assert str(reply) == "10.0.44.1 > 10.0.43.15 icmp echo reply"
    assert request.is_echo_request
    assert reply.is_echo_reply
    assert (request.ident, request.sequence, request.payload) == (reply.ident, reply.sequence, b"tag")
    assert (request.length, request.ttl, request.dont_fragment) == (31, 63, True)


def test_an_echo_of_ipv6_is_read_behind_extension_headers() -> None:
    behind = ip6(A6, T6, 0, bytes((58, 0)) + bytes(6) + echo(128))
    assert str(parse_ip(behind)) == "fd00:43::15 > fd00:44::1 icmp echo request"
    assert parse_ip(behind).ident == 9


def test_a_connection_is_told_with_ports_flags_and_its_largest_segment() -> None:
    packet = parse_ip(ip4(A, T, 6, syn(options=bytes((1, 1, 1, 1, 2, 4)) + (1380).to_bytes(2))))
    assert str(packet) == "10.0.43.15:40000 > 10.0.44.1:443 tcp syn"
    assert (packet.flags, packet.mss, packet.sequence) == (Tcp.SYN, 1380, 7)
    assert str(parse_ip(ip6(A6, T6, 6, syn()))) == "[fd00:43::15]:40000 > [fd00:44::1]:443 tcp syn"


def test_an_error_quotes_what_it_is_about() -> None:
    about = ip4(A, T, 6, syn()[:8])
    packet = parse_ip(ip4("10.0.43.1", A, 1, struct.pack("!BBHHH", 3, 4, 0, 0, 1400) + about))

    assert packet.is_error
    assert packet.mtu == 1400
    assert packet.quoted is not None
    assert packet.quoted.destination_port == 443
    assert str(packet) == (
        "10.0.43.1 > 10.0.43.15 icmp fragmentation needed, mtu 1400 about "
        "10.0.43.15:40000 > 10.0.44.1:443 tcp"
    )
    too_big = parse_ip(
        ip6("fd00:43::1", A6, 58, struct.pack("!BBHI", 2, 0, 0, 1280) + ip6(A6, T6, 58, echo(128)))
    )
    assert (too_big.mtu, str(too_big.quoted)) == (1280, "fd00:43::15 > fd00:44::1 icmp echo request")


def test_an_error_about_an_error_ends_there() -> None:
    packet = ip4(A, T, 1, echo(8))
    for _ in range(1000):
        packet = ip4(A, T, 1, bytes((3, 1)) + bytes(6) + packet)[:60000]
    assert parse_ip(packet).quoted is not None


def test_a_later_fragment_has_no_ports() -> None:
    packet = parse_ip(ip4(A, T, 17, b"\x00\x35\x00\x35" * 4, field=0x2000 | 185))
    assert (packet.fragment, packet.more_fragments, packet.source_port) == (1480, True, None)
    assert str(packet) == "10.0.43.15 > 10.0.44.1 udp fragment at 1480"


def test_neighbours_are_asked_for_and_told() -> None:
    def arp(operation: int) -> Packet:
        ends = bytes(6), ip_address(A).packed, bytes.fromhex(MAC.replace(":", "")), ip_address(T).packed
        target, asked, sender, asker = ends
        return parse(ARP, struct.pack("!HHBBH", 1, IPV4, 6, 4, operation) + sender + asker + target + asked)

    assert str(arp(1)) == "arp who has 10.0.43.15, asks 10.0.44.1"
    assert (arp(1).asks, arp(1).mac) == (ip_address(A), MAC)
    assert str(arp(2)) == f"arp 10.0.44.1 is at {MAC}"
    told = struct.pack("!BBHI", 136, 0, 0, 0) + ip_address(T6).packed + bytes((2, 1))
    advertised = parse_ip(ip6(T6, A6, 58, told + bytes.fromhex(MAC.replace(":", ""))))
    assert str(advertised) == f"nd fd00:44::1 is at {MAC}"
    assert advertised.is_neighbour


@pytest.mark.parametrize(
    ("to", "of", "kind"),
    [
        (MAC, OTHER, Kind.RECEIVED),
        (OTHER, MAC, Kind.SENT),
        ("ff:ff:ff:ff:ff:ff", OTHER, Kind.BROADCAST),
        ("33:33:00:00:00:01", OTHER, Kind.MULTICAST),
        ("02:00:00:00:99:99", OTHER, Kind.OTHERHOST),
    ],
)
def test_an_ethernet_frame_is_for_us_by_its_mac(to: str, of: str, kind: Kind) -> None:
    found = frame(Record(0, ETHERNET, ethernet(ip4(A, T, 1, echo(8)), to=to, of=of), 99), MAC)
    assert (found.kind, found.sender_mac) == (kind, of)
    assert found.packet.is_echo_request


def test_every_kind_of_link_header_leads_to_the_packet() -> None:
    packet = ip4(A, T, 1, echo(8))
    tagged = struct.pack("!HH", 5, IPV4) + packet
    mac = bytes.fromhex(OTHER.replace(":", "")) + b"\0\0"
    headed = {
        ETHERNET: ethernet(tagged, 0x8100),
        RAW: packet,
        SLL: struct.pack("!HHH", 4, 1, 6) + mac + struct.pack("!H", IPV4) + packet,
        SLL2: struct.pack("!HHIHBB", IPV4, 0, 7, 1, 4, 6) + mac + packet,
    }
    for linktype, data in headed.items():
        assert frame(Record(0, linktype, data, 99)).packet == parse_ip(packet), linktype
    assert frame(Record(0, SLL2, headed[SLL2], 99)).index == 7
    assert frame(Record(0, SLL2, headed[SLL2], 99)).kind is Kind.SENT
    assert frame(Record(0, SLL, headed[SLL], 99)).sender_mac == OTHER


@pytest.mark.parametrize(("order", "magic", "parts"), [
    ("<", 0xA1B2C3D4, 10**6), (">", 0xA1B2C3D4, 10**6), ("<", 0xA1B23C4D, 10**9), (">", 0xA1B23C4D, 10**9),
])  # fmt: skip
def test_a_file_is_read_in_any_pieces(order: str, magic: int, parts: int) -> None:
    packets = [ip4(A, T, 1, echo(8, sequence=number)) for number in range(3)]
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 128, RAW)
    for packet in packets:
        data += struct.pack(f"{order}IIII", 1700000000, parts // 4, len(packet), len(packet)) + packet
    for size in (1, 7, 1000):
        reader = Reader()
        found = [one for at in range(0, len(data), size) for one in reader.feed(data[at : at + size])]
        assert [one.data for one in found] == packets
        assert {one.time for one in found} == {1700000000_250000000}


@given(st.sampled_from((ETHERNET, RAW, SLL, SLL2, 0)), st.binary(max_size=200))
def test_no_bytes_make_a_frame_fail(linktype: int, data: bytes) -> None:
    assert str(frame(Record(0, linktype, data, len(data)), MAC).packet)


@given(
    st.sampled_from([
        ip4(A, T, 1, echo(8)),
        ip4(A, T, 6, syn(options=bytes((2, 4, 5, 180)))),
        ip4(T, A, 1, bytes((3, 1)) + bytes(6) + ip4(A, T, 17, bytes(8))),
        ip6(A6, T6, 0, bytes((44, 0)) + bytes(6) + bytes((58, 0)) + bytes(6) + echo(128)),
        ip6(A6, T6, 58, struct.pack("!BBHI", 135, 0, 0, 0) + bytes(16) + bytes((1, 1)) + bytes(6)),
    ]),
    st.integers(0, 120),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=6),
)  # fmt: skip
def test_a_packet_cut_short_or_spoilt_is_still_one(
    data: bytes, length: int, spoilt: list[tuple[int, int]]
) -> None:
    bytes_ = bytearray(data)
    for at, value in spoilt:
        if at < len(bytes_):
            bytes_[at] = value
    for ethertype in (ARP, IPV4, IPV6):
        assert str(parse(ethertype, bytes(bytes_[:length])))


@given(st.binary(max_size=200))
@example(b"\xd4\xc3\xb2\xa1" + bytes(36))
@example(b"\xd4\xc3\xb2\xa1" + bytes(20) + b"\xff" * 16)
def test_no_bytes_make_the_reader_fail_otherwise_than_it_says(data: bytes) -> None:
    with suppress(ValueError):
        list(Reader().feed(data))
