"""How far a flow came, as the packets tell that were seen on the hosts' interfaces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from crossnet.capture import Kind, Packet, Sighting
from crossnet.diagnosis.course import Course, Stop
from crossnet.diagnosis.ending import End, Ending
from crossnet.values import Address, Probe, Protocol


class Part(StrEnum):
    """What a packet is in a flow; `error` is an ICMP error about its request, `complaint` one about its reply."""

    REQUEST = "request"
    REPLY = "reply"
    ERROR = "error"
    COMPLAINT = "complaint"
    NEIGHBOUR = "neighbour"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Own:
    """By what the probes themselves are known, as they were seen to leave the client.

    `sequences` are those with which its connections begin, `payloads` how the data of its echoes begin, `ports` from
    which it has sent, before and after a translation. Others use the same addresses, ports and lengths.
    """

    sequences: frozenset[int]
    payloads: frozenset[bytes]
    ports: frozenset[int]

    def has(self, packet: Packet, *, request: bool) -> bool:
        """Whether a packet, or what an error quotes of one, is of these probes."""
        if packet.protocol == "tcp":
            if request:
                return packet.sequence is not None and self._begins(packet.sequence)
            if packet.acknowledgement is None:
                return packet.destination_port in self.ports
            return self._begins(packet.acknowledgement)
        if packet.protocol == "udp":
            return (packet.source_port if request else packet.destination_port) in self.ports
        data = packet.payload[:_COMPARED]
        return not data or any(each.startswith(data) or data.startswith(each) for each in self.payloads)

    def _begins(self, number: int) -> bool:
        return number in self.sequences or (number - 1) % 2**32 in self.sequences


_COMPARED = 32  # bytes of an echo's data: the sender's clock is among them, and then a pattern


@dataclass(frozen=True, slots=True)
class Tags:
    """By what a flow's probes are known: the bytes of data in its echoes, and which of them are full-sized.

    With `own` only those that the client was seen to send count, and what answers them.
    """

    probe: Probe
    small: tuple[int, ...]
    full: tuple[int, ...] = ()
    own: Own | None = None

    def knowing(self, sightings: Iterable[Sighting], client: str) -> Tags:
        """The same, now that these packets were seen; where none was seen to leave the client all may be its own."""
        known = [(each, each.packet) for each in sightings if self._shape(each.packet) is Part.REQUEST]
        sent = [packet for each, packet in known if each.host == client and each.kind is Kind.SENT]
        if not sent:
            return self
        sequences = frozenset(each.sequence for each in sent if each.sequence is not None)
        payloads = frozenset(
            each.payload[:_COMPARED] for each in sent if each.is_echo_request and each.payload
        )
        ports = {each.source_port for each in sent if each.source_port is not None}
        data = {each.payload for each in sent}
        for _, packet in known:
            same = packet.sequence in sequences if packet.protocol == "tcp" else packet.payload in data
            if same and packet.source_port is not None:
                ports.add(packet.source_port)
        return replace(self, own=Own(sequences, payloads, frozenset(ports)))

    def part(self, packet: Packet) -> Part:
        if packet.is_neighbour:
            return Part.NEIGHBOUR
        if packet.is_error and packet.quoted is not None:
            about = self.part(packet.quoted)
            return {Part.REQUEST: Part.ERROR, Part.REPLY: Part.COMPLAINT}.get(about, Part.OTHER)
        shape = self._shape(packet)
        if shape is Part.OTHER or self.own is None:
            return shape
        return shape if self.own.has(packet, request=shape is Part.REQUEST) else Part.OTHER

    def _shape(self, packet: Packet) -> Part:
        """What it looks like."""
        if packet.is_echo_request or packet.is_echo_reply:
            if self.data(packet) not in (*self.small, *self.full):
                return Part.OTHER
            return Part.REQUEST if packet.is_echo_request else Part.REPLY
        if packet.protocol == str(self.probe.protocol) and self.probe.port is not None:
            if packet.source_port == self.probe.port and packet.destination_port != self.probe.port:
                return Part.REPLY
            if packet.destination_port == self.probe.port:
                return Part.REQUEST
        return Part.OTHER

    def data(self, packet: Packet) -> int:
        """How many bytes of data an echo carries."""
        heads = 48 if packet.is_v6 else 28
        return (packet.length or 0) - heads

    def is_asked(self, packet: Packet) -> bool:
        """Whether it is of the kind that is asked about, and not one that is sent beside it."""
        if self.probe.protocol is Protocol.ICMP:
            return packet.protocol == "icmp" and self.data(packet) in self.small
        return packet.protocol == str(self.probe.protocol)


@dataclass(frozen=True, slots=True)
class Trail:
    """What was seen of one kind of packets of a flow, host by host."""

    tags: Tags
    course: Course
    sightings: tuple[Sighting, ...]
    points: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _found: Mapping[tuple[str, Part], tuple[Sighting, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # It is asked dozens of times, of thousands of packets.
        found = defaultdict[tuple[str, Part], list[Sighting]](list)
        for each in self.sightings:
            found[each.host, self.part(each)].append(each)
        object.__setattr__(self, "_found", {key: tuple(some) for key, some in found.items()})

    def only(self, *data: int) -> Trail:
        """The same for echoes with so many bytes of data only, and what is said about them."""
        kept = tuple(
            each
            for each in self.sightings
            if self.part(each) is Part.NEIGHBOUR or self.tags.data(_meant(each.packet)) in data
        )
        return Trail(self.tags, self.course, kept, self.points)

    def large(self, data: int) -> Trail:
        """The same for echoes of that size alone, where small ones pass: those that wait for no neighbour."""
        kept = tuple(each for each in self.only(data).sightings if self.part(each) is not Part.NEIGHBOUR)
        return Trail(self.tags, self.course, kept, self.points)

    def asked(self) -> Trail:
        """The same for what is asked about only."""
        kept = tuple(
            each
            for each in self.sightings
            if self.part(each) is Part.NEIGHBOUR or self.tags.is_asked(_meant(each.packet))
        )
        return Trail(self.tags, self.course, kept, self.points)

    def part(self, sighting: Sighting) -> Part:
        return self.tags.part(sighting.packet)

    def watched(self, host: str) -> bool:
        return bool(self.points.get(host))

    def at(self, host: str, part: Part) -> tuple[Sighting, ...]:
        return self._found.get((host, part), ())

    def came(self, host: str, part: Part) -> list[Sighting]:
        """What a host took in; frames for somebody else are none."""
        return [each for each in self.at(host, part) if each.kind not in (Kind.SENT, Kind.OTHERHOST)]

    def left(self, host: str, part: Part) -> list[Sighting]:
        return [each for each in self.at(host, part) if each.kind is Kind.SENT]

    def for_others(self, host: str, part: Part) -> list[Sighting]:
        return [each for each in self.at(host, part) if each.kind is Kind.OTHERHOST]

    # ---- neighbours -----------------------------------------------------------------------------------

    def asks(self, host: str) -> dict[Address, str]:
        """The addresses that a host asked its neighbours for, with the interface, and got no answer to."""
        asked: dict[Address, str] = {}
        for each in self.left(host, Part.NEIGHBOUR):
            if each.packet.asks is not None and each.packet.asks != each.packet.source:
                asked.setdefault(each.packet.asks, each.interface)
        for each in self.came(host, Part.NEIGHBOUR):
            if each.packet.tells is not None:
                asked.pop(each.packet.tells, None)
        return asked

    def was_asked(self, host: str, wanted: Address) -> bool:
        """Whether the question for an address came to a host."""
        return any(each.packet.asks == wanted for each in self.came(host, Part.NEIGHBOUR))

    def told(self, host: str, wanted: Address) -> tuple[str, ...]:
        """The hardware addresses that answered a host's question for an address."""
        return tuple(
            dict.fromkeys(
                each.packet.mac
                for each in self.came(host, Part.NEIGHBOUR)
                if each.packet.tells == wanted and each.packet.mac
            )
        )

    # ---- errors ---------------------------------------------------------------------------------------

    def errors(self) -> list[Sighting]:
        """ICMP errors about the requests, in the order in which they were seen."""
        return [each for each in self.sightings if self.part(each) is Part.ERROR]

    def complaints(self) -> list[Sighting]:
        return [each for each in self.sightings if self.part(each) is Part.COMPLAINT]


def _meant(packet: Packet) -> Packet:
    return packet.quoted if packet.is_error and packet.quoted is not None else packet


def forward_end(trail: Trail) -> End:
    """Where the requests were last seen."""
    stops = trail.course.all
    before: Stop | None = None
    last: End = End(Ending.UNSEEN)
    for number, stop in enumerate(stops):
        if not trail.watched(stop.host):
            before = None
            continue
        is_target = stop == trail.course.target
        if number:
            came = trail.came(stop.host, Part.REQUEST)
            if not came:
                if before is None:
                    return last if last.ending is not Ending.UNSEEN else End(Ending.UNSEEN, stop)
                return End(Ending.LOST, before, last.interface, stop)
            last = End(Ending.STOPPED, stop, came[-1].interface)
            if is_target:
                return End(Ending.ARRIVED, stop, came[-1].interface)
        left = trail.left(stop.host, Part.REQUEST)
        if not left:
            unanswered = trail.asks(stop.host)
            wanted = _wanted(unanswered, stop, trail.course)
            if wanted is not None:
                following = stops[number + 1] if number + 1 < len(stops) else None
                return End(Ending.UNRESOLVED, stop, unanswered[wanted], following, wanted)
            if number == 0:
                return End(Ending.NOT_SENT, stop)
            return last
        last = End(Ending.ARRIVED, stop, left[-1].interface)
        before = stop
    return last


def _wanted(unanswered: Mapping[Address, str], stop: Stop, course: Course) -> Address | None:
    """The address that packets wait for: not every question of a host is about them."""
    for address in (stop.next_hop, course.destination):
        if address in unanswered:
            return address
    routers = course.routers.get(stop.host, frozenset())
    return next((address for address in unanswered if address in routers), None)


def reply_end(trail: Trail) -> End:
    """Where the replies were last seen; UNSEEN where none was."""
    stops = tuple(reversed(trail.course.all))
    last = End(Ending.UNSEEN)
    before: Stop | None = None
    for number, stop in enumerate(stops):
        if not trail.watched(stop.host):
            before = None
            continue
        is_client = stop == trail.course.client
        is_target = stop == trail.course.target
        if not is_target:
            came = trail.came(stop.host, Part.REPLY)
            if not came:
                if before is None:
                    return last
                return End(Ending.LOST, before, last.interface, stop)
            last = End(Ending.ARRIVED if is_client else Ending.STOPPED, stop, came[-1].interface)
            if is_client:
                return last
        left = trail.left(stop.host, Part.REPLY)
        if not left and is_target and not trail.came(stop.host, Part.REQUEST):
            return last
        if not left:
            unanswered = trail.asks(stop.host)
            source = trail.course.source
            if source is not None and source in unanswered:
                following = stops[number + 1] if number + 1 < len(stops) else None
                return End(Ending.UNRESOLVED, stop, unanswered[source], following, source)
            return last
        last = End(Ending.ARRIVED, stop, left[-1].interface)
        before = stop
    return last
