"""Ports of a cloud between two hosts: which of them may stop packets there, and which were seen not to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crossnet.diagnosis.course import Course, Stop
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.plugged import is_before, is_beyond
from crossnet.diagnosis.segments import Echo
from crossnet.diagnosis.signs import AT_PORTS, OFF
from crossnet.diagnosis.trail import Part, Trail
from crossnet.facts import Facts
from crossnet.openstack.ports import CloudFacts, Port, Unasked
from crossnet.openstack.walk import Packet, lets_in, lets_out, may_send
from crossnet.values import Address, Protocol
from crossnet.verdict import HowFar

# What the gateway has had: the answer, or the request at least.
_BACK = (HowFar.CAME_BACK, HowFar.ANSWERED)
_IN = (HowFar.ADMITTED, HowFar.TRANSLATED, HowFar.LEFT, *_BACK)


def leaving(stop: Stop, direction: Direction) -> str | None:
    """The interface by which packets of a direction leave a host; those of a target by the one that they come in by."""
    return stop.egress if direction is Direction.FORWARD else stop.ingress


def arriving(stop: Stop, direction: Direction) -> str | None:
    return stop.ingress if direction is Direction.FORWARD else stop.egress


def between(
    foretold: Foretold, direction: Direction, sender: Stop, receiver: Stop | None, device: str | None = None
) -> list[Finding]:
    """What ports stop of the packets that a host sends to the next one, or behind the last; by `device`, if known."""
    ends = {(sender.host, device or leaving(sender, direction), "egress")}
    if receiver is not None:
        ends.add((receiver.host, arriving(receiver, direction), "ingress"))
    return [
        each
        for each in foretold.of(direction)
        if each.code in AT_PORTS and (each.host, each.interface, each.hook) in ends
    ]


def port_of(facts: Mapping[str, Facts], host: str, device: str | None) -> Port | None:
    """The port that an interface is plugged into, where its cloud tells."""
    said = facts[host].cloud if host in facts else None
    return said.ports.get(device or "") if isinstance(said, CloudFacts) else None


def known_between(
    facts: Mapping[str, Facts], direction: Direction, sender: Stop, receiver: Stop
) -> tuple[Port | None, Port | None]:
    return (
        port_of(facts, sender.host, leaving(sender, direction)),
        port_of(facts, receiver.host, arriving(receiver, direction)),
    )


def filters_between(
    facts: Mapping[str, Facts], direction: Direction, sender: Stop, receiver: Stop, wanted: Address
) -> tuple[str, ...]:
    """The codes of what may filter packets for `wanted` between two hosts, as far as no port that is known tells it.

    OVN alone checks destinations, and no API tells a user that it is there: that is never more than a candidate.
    """
    out, into = known_between(facts, direction, sender, receiver)
    if out is None and into is None and not any(_is_in_cloud(facts, each) for each in (sender, receiver)):
        return ()
    codes: list[str] = []
    if direction is Direction.REPLY and out is None:
        codes.append("neutron-antispoof-source")
    if direction is Direction.FORWARD and (into is None or not may_send(into, wanted)):
        codes.append("neutron-antispoof-destination")
    if out is None or into is None:
        codes.append("neutron-security-group")
    return tuple(codes)


def _is_in_cloud(facts: Mapping[str, Facts], stop: Stop) -> bool:
    """Whether a host is a machine of a cloud, by what it tells itself, or because one was to be asked for it."""
    return stop.host in facts and (facts[stop.host].is_in_cloud or facts[stop.host].cloud is not None)


def stops_echo(facts: Mapping[str, Facts], echo: Echo, source: Address | None, *, answered: bool) -> bool:
    """Whether a port surely stops an echo of a neighbour, or its answer, whatever becomes of the flow."""
    if source is None:
        return False
    ends: list[tuple[str, str | None, bool]] = [(echo.sender.host, echo.device, True)]
    if echo.receiver is not None:
        there = echo.receiver.egress if echo.back else echo.receiver.ingress
        ends.append((echo.receiver.host, there, False))
    request = Packet(source, echo.destination, Protocol.ICMP)
    answer = Packet(echo.destination, source, Protocol.ICMP, is_answer=True)
    for host, device, sends in ends:
        port, said = port_of(facts, host, device), facts[host].cloud if host in facts else None
        if port is None or not isinstance(said, CloudFacts):
            continue
        passes = [(lets_out if sends else lets_in)(said, port, request)]
        if answered:
            passes.append((lets_in if sends else lets_out)(said, port, answer))
        if False in passes:
            return True
    return False


# ---- what was seen -------------------------------------------------------------------------------------


def refuted(foretold: Foretold, trail: Trail) -> dict[Finding, str]:
    """What ports should stop and was seen to get past them, each with the host that it was seen at.

    A port that is said to be off and is not is so in both directions; of the other one no host is named.
    """
    at_ports = [each for each in foretold.findings if each.code in AT_PORTS]
    found = {each: host for each in at_ports if (host := _seen_past(each, trail))}
    on = {(each.host, each.interface) for each in found if each.code in OFF}
    on |= {(each.host, each.interface) for each in at_ports if each.code in OFF and _is_used(each, trail)}
    twins = [each for each in at_ports if each.code in OFF and (each.host, each.interface) in on]
    return dict.fromkeys(twins, "") | found


def _is_used(finding: Finding, trail: Trail) -> bool:
    """Whether anything at all came in there, such as an answer of a neighbour."""
    return any(
        each.interface == finding.interface for part in Part for each in trail.came(finding.host, part)
    )


def _seen_past(finding: Finding, trail: Trail) -> str:
    direction, course = finding.direction, trail.course
    part = Part.REQUEST if direction is Direction.FORWARD else Part.REPLY
    stops = course.all if direction is Direction.FORWARD else tuple(reversed(course.all))
    number = next(at for at, stop in enumerate(stops) if stop.host == finding.host)
    if finding.hook == "ingress":
        if any(each.interface == finding.interface for each in trail.came(finding.host, part)):
            return finding.host
    elif number + 1 < len(stops):
        after = stops[number + 1].host
        if trail.came(after, part) and _left_by(finding, trail, part):
            return after
    if direction is Direction.REPLY:
        return ""
    # Who answers has got it; to the client a gateway may have answered by itself.
    beyond = course.stops[max(course.position(finding.host), 1) :] or course.stops
    return next((stop.host for stop in beyond if trail.came(stop.host, Part.REPLY)), "")


def _left_by(finding: Finding, trail: Trail, part: Part) -> bool:
    if not trail.watched(finding.host):
        return True
    return any(each.interface == finding.interface for each in trail.left(finding.host, part))


def counted_past(foretold: Foretold, course: Course, how_far: HowFar) -> Iterator[Finding]:
    """The same where nobody watched, and counters and connection tracking of the gateway tell how far it came."""
    for each in foretold.findings:
        before, beyond = is_before(each, course), is_beyond(each, course)
        if (before and how_far in _IN) or (beyond and how_far in _BACK):
            yield each


def untold(facts: Mapping[str, Facts], course: Course) -> Iterator[str]:
    """The interfaces on the way of which a cloud does not tell the port, each as a sentence."""
    for stop in course.all:
        said = facts[stop.host].cloud if stop.host in facts else None
        if isinstance(said, CloudFacts):
            for device in dict.fromkeys((stop.ingress, stop.egress)):
                if device is not None and device in said.unfound:
                    yield (
                        f"cloud {said.cloud} does not tell which port {device} of {stop.host} is plugged into: "
                        f"{said.unfound[device]}"
                    )


def unasked(facts: Mapping[str, Facts]) -> dict[str, str]:
    """The clouds that could not be asked, and why."""
    said = (each.cloud for each in facts.values())
    return {f"cloud {each.cloud}": each.reason for each in said if isinstance(each, Unasked)}
