"""Which host is to be asked itself what it does to the probes: the one that stops them, where facts do not tell why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from crossnet.diagnosis.course import Stop
from crossnet.diagnosis.drop_events import Spot
from crossnet.diagnosis.ending import Ending
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.tracing import Flow, flow_of
from crossnet.diagnosis.trail import Part, Trail, forward_end, reply_end
from crossnet.netfilter.foreign import Tool
from crossnet.values import Probe

# Names that the filters of kernel events take as they are.
_PLAIN = re.compile(r"[\w.@:+-]+")


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What to ask a host: its firewall for what it does to a flow, its kernel for what it does to the echoes of it."""

    flow: Flow | None
    spot: Spot | None

    @property
    def host(self) -> str:
        which = self.flow or self.spot
        assert which is not None
        return which.host


def inquiry(
    trail: Trail,
    foretold: Foretold,
    probe: Probe,
    seen: tuple[int, ...],
    echoes: tuple[int, ...],
    *,
    refused: bool,
    unusual: bool,
) -> Inquiry | None:
    """Who is to be asked; None where facts surely say why, or nobody can tell.

    `seen` are the bytes of data of the echoes that were sent, `echoes` of those that are to be sent now, `unusual` is
    whether hardly anybody else sends such; `refused` says that what came back is an answer.
    """
    ours = trail.asked()
    if ours.errors():
        return None
    stuck = _stuck(ours, refused=refused)
    if stuck is None:
        spot = _before_capture(ours, foretold, echoes) if unusual else None
        return Inquiry(None, spot) if spot is not None else None
    direction, stop = stuck
    arrived = stop == trail.course.target  # it sends no answer, and why stands among what becomes of those
    known = [
        each
        for each in foretold.findings
        if each.host == stop.host
        and (each.direction is direction or arrived)
        and not each.code.startswith("snat-")
    ]
    if any(each.certain for each in known):
        return None
    part = Part.REQUEST if direction is Direction.FORWARD else Part.REPLY
    came = ours.came(stop.host, part)
    flow = None
    # A trace tells of rules of nftables only, as iptables-nft has them too.
    if not known or any(
        each.chain is not None and each.chain.tool is not Tool.IPTABLES_LEGACY for each in known
    ):
        flow = flow_of(stop.host, direction, probe, came[-1].packet if came else None, echoes)
    spot = None
    of_echoes = trail.only(*seen)
    if unusual and _stuck(of_echoes, refused=False) == stuck:
        at = tuple(dict.fromkeys(each.interface for each in of_echoes.came(stop.host, part)))
        spot = _spot(trail, stop, direction, at, echoes)
    return Inquiry(flow, spot) if flow is not None or spot is not None else None


def _stuck(trail: Trail, *, refused: bool) -> tuple[Direction, Stop] | None:
    """The host that packets came to and did not leave, or that never sent any."""
    end, back = forward_end(trail), reply_end(trail)
    direction, last = Direction.FORWARD, end
    if back.ending is Ending.ARRIVED and refused:
        return None  # by who should answer, which nothing on the way has done
    if back.ending in (Ending.STOPPED, Ending.ARRIVED):
        direction, last = Direction.REPLY, back
    elif end.ending is Ending.ARRIVED:
        if end.stop != trail.course.target:
            return None
    elif end.ending not in (Ending.STOPPED, Ending.NOT_SENT):
        return None
    return (direction, last.stop) if last.stop is not None else None


def _before_capture(trail: Trail, foretold: Foretold, echoes: tuple[int, ...]) -> Spot | None:
    """A host whose program of XDP may have taken them: nobody sees them there, though they came."""
    end, back = forward_end(trail), reply_end(trail)
    if back.ending is Ending.LOST and back.following is not None:
        found = _of_xdp(foretold, Direction.REPLY, back.following.host)
    elif back.ending is Ending.UNSEEN and end.ending is Ending.LOST and end.following is not None:
        found = _of_xdp(foretold, Direction.FORWARD, end.following.host)
    elif back.ending is Ending.UNSEEN and end.ending is Ending.ARRIVED and end.stop is not None:
        found = _of_xdp(foretold, Direction.REPLY, end.stop.host)
    else:
        return None
    if found is None or found.interface is None:
        return None
    stop = next((each for each in trail.course.all if each.host == found.host), None)
    return _spot(trail, stop, found.direction, (found.interface,), echoes) if stop is not None else None


def _of_xdp(foretold: Foretold, direction: Direction, host: str) -> Finding | None:
    return next((each for each in foretold.of(direction) if each.host == host and "XDP" in each.text), None)


def _spot(
    trail: Trail, stop: Stop, direction: Direction, arrives: Sequence[str], echoes: tuple[int, ...]
) -> Spot | None:
    leaves = stop.egress if direction is Direction.FORWARD else stop.ingress
    names = (*arrives, *([leaves] if leaves else []))
    if not all(map(_PLAIN.fullmatch, names)):
        return None
    return Spot(stop.host, direction, tuple(arrives), leaves, echoes, trail.course.destination.version == 6)
