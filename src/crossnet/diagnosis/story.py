"""A flow's observations in the order in which they happened, and where it was looked for in vain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from crossnet.capture import Kind, Packet, Sighting, Tcp
from crossnet.capture.timeline import Timeline, timeline, translation
from crossnet.diagnosis.ending import End, Ending
from crossnet.diagnosis.trail import Part, Trail
from crossnet.values import Protocol
from crossnet.verdict import Action, Observation

_MOST = 40  # observations of one probe: a loop has many more
_MOST_QUESTIONS = 6
_DIRECTIONS = {
    Part.REQUEST: "request",
    Part.REPLY: "reply",
    Part.ERROR: "error",
    Part.COMPLAINT: "error",
    Part.NEIGHBOUR: "neighbour",
}


def story(trail: Trail, forward: End, back: End) -> tuple[Observation, ...]:
    """What was seen of one probe; `absent` stands where somebody watched behind the last place that has seen it."""
    shown = timeline(_one_probe(trail))
    told = [_observed(trail, each, shown) for each in shown.sightings[:_MOST]]
    last = told[-1].at if told else 0.0
    return (*told, *_absent(trail, forward, back, last))


def with_end(
    told: Sequence[Observation],
    trail: Trail,
    host: str,
    direction: str,
    action: Action,
    *,
    interface: str | None = None,
    hook: str | None = None,
    by: str | None = None,
) -> tuple[Observation, ...]:
    """The same with what ended the probe on a host, behind the last that was seen of it there.

    What is ended before anybody could see it came to `interface`; a request may not even have left its sender.
    """
    same = [each for each in told if each.direction == direction and each.action is not Action.ABSENT]
    there = [each for each in same if each.host == host and each.action is not Action.FORWARDED]
    if not same and direction == "request":
        asked = sum(each.direction == _DIRECTIONS[Part.NEIGHBOUR] for each in told)
        at = told[asked - 1].at if asked else 0.0
        end = Observation(at, host, interface, hook, action, direction, str(_request(trail)), by=by)
        return (*told[:asked], end, *told[asked:])
    if not same:
        return tuple(told)
    before = (there or same)[-1]
    end = replace(
        before,
        host=host,
        interface=before.interface if there else interface,
        hook=hook,
        action=action,
        translation=None,
        by=by,
    )
    at = told.index(before) + 1
    where = (host, end.interface, direction)  # it was not absent from there
    behind = (each for each in told[at:] if (each.host, each.interface, each.direction) != where)
    return (*told[:at], end, *behind)


def _request(trail: Trail) -> Packet:
    """A request as it would have been seen."""
    probe, source = trail.tags.probe, trail.course.source
    if probe.protocol is Protocol.ICMP:
        kind = 128 if probe.destination.version == 6 else 8
        return Packet("icmp", source, probe.destination, icmp_type=kind)
    flags = Tcp.SYN if probe.protocol is Protocol.TCP else Tcp(0)
    return Packet(str(probe.protocol), source, probe.destination, destination_port=probe.port, flags=flags)


def _one_probe(trail: Trail) -> list[Sighting]:
    """The sightings of the probe that came furthest; the questions for neighbours where none was sent."""
    probes: dict[object, list[Sighting]] = {}
    for each in trail.sightings:
        part = trail.part(each)
        if part in _DIRECTIONS and part is not Part.NEIGHBOUR:
            probes.setdefault(_name(trail, each.packet), []).append(each)
    if probes:
        return max(
            probes.values(), key=lambda some: len({(each.host, each.interface, each.kind) for each in some})
        )
    protocol = "nd" if trail.tags.probe.destination.version == 6 else "arp"
    asked = (each for each in trail.sightings if trail.part(each) is Part.NEIGHBOUR)
    return [each for each in asked if each.packet.protocol == protocol][:_MOST_QUESTIONS]


def _name(trail: Trail, packet: Packet) -> object:
    """What one probe's packets have in common: the data of an echo, the client's port of a connection."""
    meant = packet.quoted if packet.is_error and packet.quoted is not None else packet
    if meant.protocol == "icmp":
        return trail.tags.data(meant)
    return meant.source_port if meant.destination_port == trail.tags.probe.port else meant.destination_port


def _observed(trail: Trail, sighting: Sighting, shown: Timeline) -> Observation:
    part = trail.part(sighting)
    came = _came_before(trail, sighting, shown.sightings)
    if sighting.kind is not Kind.SENT:
        action = Action.RECEIVED
    elif came is not None:
        action = Action.FORWARDED
    else:
        action = Action.REPLIED if part in (Part.REPLY, Part.ERROR, Part.COMPLAINT) else Action.SENT
    return Observation(
        shown.since(sighting),
        sighting.host,
        sighting.interface,
        None,
        action,
        _DIRECTIONS[part],
        str(sighting.packet),
        translation(came.packet, sighting.packet)
        if came is not None and action is Action.FORWARDED
        else None,
    )


def _came_before(trail: Trail, sighting: Sighting, shown: Sequence[Sighting]) -> Sighting | None:
    """The same packet as its host took it in."""
    part = trail.part(sighting)
    if part is Part.NEIGHBOUR:
        return None
    came = [
        each
        for each in shown
        if each.host == sighting.host and each.kind is not Kind.SENT and trail.part(each) is part
    ]
    return came[0] if came and came[0].time <= sighting.time else None


def _absent(trail: Trail, forward: End, back: End, at: float) -> Iterator[Observation]:
    """The point behind the last one that has seen it, where somebody watched."""
    replies = back.ending is not Ending.UNSEEN
    end, direction = (back, "reply") if replies else (forward, "request")
    stop = end.stop
    if stop is None:
        return
    match end.ending:
        case Ending.LOST if end.following is not None:
            host = end.following.host
            interface = end.following.egress if replies else end.following.ingress
        case Ending.STOPPED | Ending.NOT_SENT:
            host, interface = stop.host, stop.ingress if replies else stop.egress
        case Ending.ARRIVED if not replies and stop in trail.course.gateways:
            host, interface, direction = stop.host, end.interface, "reply"
        case _:
            return
    yield Observation(at, host, interface, None, Action.ABSENT, direction, f"no {direction} was seen")
