"""Write what was seen as a pcapng file for Wireshark: an interface for each point, comments where the caller has some.

Format: IETF draft-ietf-opsawg-pcapng. Times are in nanoseconds and those of the timeline: of one clock.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from crossnet.capture.frames import Kind
from crossnet.capture.observer import SNAPLEN
from crossnet.capture.sighting import Sighting
from crossnet.capture.timeline import Timeline
from crossnet.localfile import File, replace

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_COMMENT, _END = 1, 0
_APPLICATION = 4  # of a section
_NAME, _DESCRIPTION, _RESOLUTION = 2, 3, 9  # of an interface
_FLAGS = 2  # of a packet

_NANOSECONDS = b"\x09"  # a negative power of ten
_INBOUND, _OUTBOUND = 1, 2
_FLAGS_OF = {
    Kind.RECEIVED: _INBOUND | 1 << 2,
    Kind.MULTICAST: _INBOUND | 2 << 2,
    Kind.BROADCAST: _INBOUND | 3 << 2,
    Kind.OTHERHOST: _INBOUND | 4 << 2,
    Kind.SENT: _OUTBOUND,
    Kind.UNKNOWN: 0,
}

_LONGEST = 0xFFFF  # bytes of an option

Point = tuple[str, str]  # host and interface


def pcapng(
    timeline: Timeline,
    *,
    comments: Mapping[Sighting, str] = MappingProxyType({}),
    points: Mapping[Point, str] = MappingProxyType({}),
    summary: str = "",
) -> bytes:
    """All of a file: `comments` stand at packets, what `points` says at interfaces, the `summary` at the whole."""
    made = [_section(summary)]
    numbers: dict[tuple[str, str, int], int] = {}
    for one in timeline.sightings:
        place = (one.host, one.interface, one.record.linktype)
        if place not in numbers:
            numbers[place] = len(numbers)
            said = points.get((one.host, one.interface), f"interface {one.interface} of {one.host}")
            made.append(_interface(f"{one.host}:{one.interface}", said, one.record.linktype))
    for one in timeline.sightings:
        number = numbers[one.host, one.interface, one.record.linktype]
        made.append(_packet(number, timeline, one, comments.get(one, "")))
    return b"".join(made)


def save(path: Path, data: bytes) -> None:
    """Put it in place of a regular file, whole or not at all, readable by its owner alone; OSError where that fails."""
    replace([File(path, data, 0o600)])


def _section(summary: str) -> bytes:
    body = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    return _block(_SECTION, body, [(_COMMENT, summary.encode()), (_APPLICATION, b"crossnet")])


def _interface(name: str, said: str, linktype: int) -> bytes:
    options = [(_NAME, name.encode()), (_DESCRIPTION, said.encode()), (_RESOLUTION, _NANOSECONDS)]
    return _block(_INTERFACE, struct.pack("<HHI", linktype, 0, SNAPLEN), options)


def _packet(number: int, timeline: Timeline, one: Sighting, comment: str) -> bytes:
    record = one.record
    time = max(record.time - round(timeline.offsets.get(one.host, 0.0) * 10**9), 0)
    head = struct.pack("<IIIII", number, time >> 32, time & 0xFFFFFFFF, len(record.data), record.length)
    options = [(_COMMENT, comment.encode()), (_FLAGS, struct.pack("<I", _FLAGS_OF[one.kind]))]
    return _block(_PACKET, head + _padded(record.data), options)


def _block(kind: int, body: bytes, options: list[tuple[int, bytes]]) -> bytes:
    for code, value in options:
        if value:
            kept = value[:_LONGEST]
            body += struct.pack("<HH", code, len(kept)) + _padded(kept)
    body += struct.pack("<HH", _END, 0)
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
