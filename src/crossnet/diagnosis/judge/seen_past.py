"""Ports of a cloud that should stop packets, and were seen not to."""

from __future__ import annotations

from collections.abc import Iterator

from crossnet.diagnosis.course import Course
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.plugged import is_before, is_beyond
from crossnet.diagnosis.signs import AT_PORTS, OFF
from crossnet.diagnosis.trail import Part, Trail
from crossnet.verdict import HowFar

# What the gateway has had: the answer, or the request at least.
_BACK = (HowFar.CAME_BACK, HowFar.ANSWERED)
_IN = (HowFar.ADMITTED, HowFar.TRANSLATED, HowFar.LEFT, *_BACK)


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
