"""On which side of a crossing's gateway packets meet a port of a cloud, as findings name it."""

from __future__ import annotations

from crossnet.diagnosis.course import Course
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.signs import AT_PORTS


def is_before(finding: Finding, course: Course) -> bool:
    """Whether it is a port that requests come past before the gateway has them."""
    return finding.code in AT_PORTS and _is_at(finding, course, Direction.FORWARD, "ingress")


def is_behind(finding: Finding, course: Course) -> bool:
    """Whether it is a port that answers come past when the gateway has had them."""
    return finding.code in AT_PORTS and _is_at(finding, course, Direction.REPLY, "egress")


def is_beyond(finding: Finding, course: Course) -> bool:
    """Whether it is a port that requests and answers come past between the gateway and the destination."""
    return finding.code in AT_PORTS and not (is_before(finding, course) or is_behind(finding, course))


def _is_at(finding: Finding, course: Course, direction: Direction, hook: str) -> bool:
    """Whether it is on the clients' side: there is no port beyond in what a crossing's two hosts say."""
    if finding.direction is not direction:
        return False
    return finding.host == course.client.host or finding.hook == hook
