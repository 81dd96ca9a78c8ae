"""What a plan made now would make of the crossing that a flow stands in."""

from __future__ import annotations

from dataclasses import replace

from crossnet.design.question import Refused
from crossnet.design.resolve import resolve
from crossnet.diagnosis.fixes.case import Case
from crossnet.path import Path
from crossnet.spec import Crossing
from crossnet.values import Network, contains, family_of


def has_flow(case: Case) -> bool:
    """Whether the spec has the flow in a crossing: its client, its destination and what is sent."""
    crossing = case.course.crossing
    return (
        crossing is not None
        and bool(_senders(case, crossing))
        and any(contains(each, case.probe.destination) for each in crossing.to)
        and (crossing.allow is None or any(each.admits(case.probe) for each in crossing.allow))
    )


def planned(case: Case) -> Path | None:
    """The way of the crossing's packets; None where a plan would be refused."""
    crossing = case.course.crossing
    if (
        crossing is None
        or not {crossing.via, case.course.client.host} <= case.facts.keys()
        or not has_flow(case)
    ):
        return None
    to = tuple(each for each in crossing.to if family_of(each) is case.family)
    try:
        (path,) = resolve(replace(crossing, clients=_senders(case, crossing), to=to), case.facts)
    except Refused:
        return None
    return path


def _senders(case: Case, crossing: Crossing) -> tuple[str | Network, ...]:
    """What in `from` is the flow's client: the host by its name, or a network or an address that has its source."""
    client, source = case.course.client.host, case.course.source
    return tuple(
        each
        for each in crossing.clients
        if (each == client if isinstance(each, str) else source is not None and contains(each, source))
    )
