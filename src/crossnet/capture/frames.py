"""Frames out of what tcpdump writes: a pcap file as it grows, with one of four kinds of link headers.

Format: pcap-savefile(5); kinds: pcap-linktype(7).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from crossnet.capture.packet import Packet, mac, parse, parse_ip

ETHERNET, RAW, SLL, SLL2 = 1, 101, 113, 276

_HEAD = 24
_RECORD = 16
_LONGEST = 2**12  # bytes of a record: many times what a host is asked for (SNAPLEN)

_ORDERS = {  # the first four bytes: byte order, and parts of a second
    b"\xd4\xc3\xb2\xa1": ("<", 10**6),
    b"\xa1\xb2\xc3\xd4": (">", 10**6),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9),
    b"\xa1\xb2\x3c\x4d": (">", 10**9),
}

_TAGS = (0x8100, 0x88A8, 0x9100)  # linux/if_ether.h: ETH_P_8021Q, ETH_P_8021AD, ETH_P_QINQ1
_MOST_TAGS = 4
_LEAST_TYPE = 0x0600  # below it is the length of an 802.3 frame


class Kind(StrEnum):
    """For whom a frame was, as the host sees it (packet(7)); unknown where a link tells no direction."""

    RECEIVED = "received"
    BROADCAST = "broadcast"
    MULTICAST = "multicast"
    OTHERHOST = "otherhost"
    SENT = "sent"
    UNKNOWN = "unknown"


_KINDS = (Kind.RECEIVED, Kind.BROADCAST, Kind.MULTICAST, Kind.OTHERHOST, Kind.SENT)  # linux/if_packet.h


@dataclass(frozen=True, slots=True)
class Record:
    """A frame as it was captured; `time` is in nanoseconds since 1970, `length` what it had on the wire."""

    time: int
    linktype: int
    data: bytes
    length: int


@dataclass(frozen=True, slots=True)
class Frame:
    """What a link header says, and the packet behind it; `index` is the interface's number, where it is told."""

    kind: Kind
    index: int | None
    sender_mac: str | None
    packet: Packet


class Reader:
    """Cuts a pcap file into records while it grows."""

    def __init__(self) -> None:
        self._rest = b""
        self._order = ""
        self._parts = 0
        self._linktype = 0

    @property
    def has_begun(self) -> bool:
        """Whether the head of the file was there."""
        return self._order != ""

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that are complete with this piece; ValueError where it is no pcap file."""
        self._rest += data
        if not self.has_begun and not self._begin():
            return
        at = 0
        while len(self._rest) - at >= _RECORD:
            seconds, parts, kept, length = struct.unpack_from(f"{self._order}IIII", self._rest, at)
            if kept > _LONGEST:
                raise ValueError(f"a packet of {kept} bytes")
            if len(self._rest) - at - _RECORD < kept:
                break
            time = seconds * 10**9 + parts * (10**9 // self._parts)
            begin = at + _RECORD
            at = begin + kept
            yield Record(time, self._linktype, self._rest[begin:at], length)
        self._rest = self._rest[at:]

    def _begin(self) -> bool:
        if len(self._rest) < _HEAD:
            return False
        try:
            self._order, self._parts = _ORDERS[self._rest[:4]]
        except KeyError:
            raise ValueError(f"it begins with {self._rest[:4].hex()}") from None
        # The upper half may hold the length of a checksum behind each frame.
        self._linktype = struct.unpack_from(f"{self._order}I", self._rest, 20)[0] & 0xFFFF
        self._rest = self._rest[_HEAD:]
        return True


def frame(record: Record, own_mac: str | None = None) -> Frame:
    """The frame in a record; an Ethernet header tells its kind by the interface's own MAC."""
    data = record.data
    if record.linktype == SLL2 and len(data) >= 20:
        ethertype, _, index, _, kind, length = struct.unpack_from("!HHIHBB", data)
        sender = mac(data[12 : 12 + min(length, 8)])
        return Frame(_kind(kind), index, sender, _untagged(ethertype, data[20:]))
    if record.linktype == SLL and len(data) >= 16:
        kind, _, length = struct.unpack_from("!HHH", data)
        (ethertype,) = struct.unpack_from("!H", data, 14)
        sender = mac(data[6 : 6 + min(length, 8)])
        return Frame(_kind(kind), None, sender, _untagged(ethertype, data[16:]))
    if record.linktype == ETHERNET and len(data) >= 14:
        (ethertype,) = struct.unpack_from("!H", data, 12)
        receiver, sender = data[:6].hex(":"), data[6:12].hex(":")
        kind_by_mac = _kind_by_mac(receiver, sender, own_mac)
        return Frame(kind_by_mac, None, sender, _untagged(ethertype, data[14:]))
    if record.linktype == RAW:
        return Frame(Kind.UNKNOWN, None, None, parse_ip(data))
    return Frame(Kind.UNKNOWN, None, None, Packet("unknown"))


def _kind(number: int) -> Kind:
    return _KINDS[number] if number < len(_KINDS) else Kind.UNKNOWN


def _kind_by_mac(receiver: str, sender: str, own: str | None) -> Kind:
    if own is None:
        return Kind.UNKNOWN
    if sender == own:
        return Kind.SENT
    if receiver == own:
        return Kind.RECEIVED
    if receiver == "ff:ff:ff:ff:ff:ff":
        return Kind.BROADCAST
    return Kind.MULTICAST if int(receiver[:2], 16) & 1 else Kind.OTHERHOST


def _untagged(ethertype: int, data: bytes) -> Packet:
    """The packet behind the tags of VLANs."""
    for _ in range(_MOST_TAGS):
        if ethertype not in _TAGS or len(data) < 4:
            break
        (ethertype,) = struct.unpack_from("!H", data, 2)
        data = data[4:]
    return parse(ethertype, data) if ethertype >= _LEAST_TYPE else Packet(f"ether/{ethertype:#06x}")
