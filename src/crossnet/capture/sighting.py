"""One packet at one point."""

from __future__ import annotations

from dataclasses import dataclass

from crossnet.capture.frames import Kind, Record
from crossnet.capture.packet import Packet


@dataclass(frozen=True, slots=True)
class Sighting:
    """One packet at one point; `time` is in seconds since 1970 by the host's own clock.

    `sender_mac` is the link address it came from, or was sent from; `record` the bytes as they were captured.
    """

    host: str
    interface: str
    time: float
    kind: Kind
    sender_mac: str | None
    packet: Packet
    record: Record
