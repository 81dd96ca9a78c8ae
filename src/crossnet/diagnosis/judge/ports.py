"""Ports of a cloud between two hosts: which of them may stop packets there, and what is not told of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crossnet.diagnosis.course import Course, Stop
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.segments import Echo
from crossnet.diagnosis.signs import AT_PORTS
from crossnet.facts import Facts
from crossnet.openstack.ports import CloudFacts, Port, Unasked
from crossnet.openstack.walk import Packet, lets_in, lets_out, may_send
from crossnet.values import Address, Protocol


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
