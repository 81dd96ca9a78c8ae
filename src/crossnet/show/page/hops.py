"""The path of a flow from host to host, as far as a diagnosis tells it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from crossnet.verdict import Action, Between, Diagnosis, Half, Observation, Place

REQUEST, REPLY, ERROR = "request", "reply", "error"

# Of these the packet was not there, or not any more.
ENDS = frozenset({Action.ABSENT, Action.DROPPED, Action.REJECTED})


@dataclass(frozen=True, slots=True)
class Hop:
    """A host on the path, with its interface towards the client (`near`) and towards the destination (`far`).

    `beside` are its other interfaces that were looked at; `is_seen` is False where nobody watched.
    """

    host: str
    near: str | None = None
    far: str | None = None
    beside: tuple[str, ...] = ()
    is_destination: bool = False
    is_seen: bool = True


def lane_of(direction: str) -> str:
    """The half that a direction belongs to: an error goes the way of a reply."""
    return REPLY if direction in (REPLY, ERROR) else REQUEST


def stops_here(found: Diagnosis, half: Half) -> bool:
    """Whether the flow stops in this half, so that its place is where to look."""
    if found.result == "reachable":
        return False
    if half.code is not None:
        return True
    ends = {"dropped", "rejected", "consumed-locally", "lost-between"}
    return half.disposition in ends or (half is found.forward and half.disposition == "not-sent")


def hops(found: Diagnosis) -> tuple[Hop, ...]:
    """The hosts in the order in which a request meets them: the client first, the destination last.

    Known from when a packet was seen where, from those who waited for it in vain, and from the places that the verdict
    names. A destination that nobody watched has its address for a name.
    """
    order: list[str] = []
    for sequence in (
        [found.client],
        _met(found.observations, REQUEST),
        _met(found.observations, REPLY)[::-1],
        _named(found.forward.at),
        _named(found.reply.at)[::-1],
        *(_named(also.at)[:: 1 if lane_of(also.direction) == REQUEST else -1] for also in found.also),
        _met(found.observations, ERROR)[::-1],
    ):
        _weave(order, sequence)
    destination = _destination(found, order)
    rest = [host for host in order if host not in (found.client, destination)]
    path = [_hop(found, found.client), *(_hop(found, host) for host in rest)]
    if destination is None:
        return (*path, Hop(found.to, is_destination=True, is_seen=False))
    return (*path, _hop(found, destination, is_destination=True))


def _met(observations: Iterable[Observation], direction: str) -> list[str]:
    """The hosts that packets of a direction met; those that waited in vain come last, in the order told."""
    own = [one for one in observations if one.direction == direction]
    return [one.host for one in sorted(own, key=lambda one: (one.action is Action.ABSENT, one.at))]


def _named(at: Place | Between | None) -> list[str]:
    return [place.host for place in places(at)]


def places(at: Place | Between | None) -> tuple[Place, ...]:
    match at:
        case Place():
            return (at,)
        case Between():
            return (at.sender, at.receiver)
        case None:
            return ()


def _weave(order: list[str], sequence: Sequence[str]) -> None:
    """Put what is new of a sequence right behind what it follows there, or before what follows it."""
    for index, host in enumerate(sequence):
        if host in order:
            continue
        if index:
            order.insert(order.index(sequence[index - 1]) + 1, host)
        else:
            known = (order.index(one) for one in sequence if one in order)
            order.insert(next(known, len(order)), host)


def _destination(found: Diagnosis, order: Sequence[str]) -> str | None:
    """The host that has the address for its name, or that was seen to take the request, or to answer it.

    One that sends the request on is none, though its answer may be all that was seen of a reply.
    """
    address = found.to
    if address in order and address != found.client:
        return address
    if found.forward.disposition == "consumed-locally":
        return None
    takes = {Action.DELIVERED, *([Action.RECEIVED] if found.forward.disposition == "delivered" else [])}
    took, sent = set(), {found.client}
    for one in found.observations:
        if one.action is Action.REPLIED or (one.direction == REQUEST and one.action in takes):
            took.add(one.host)
        elif one.direction == REQUEST and one.action in (Action.SENT, Action.FORWARDED, Action.TRANSLATED):
            sent.add(one.host)
    last = [host for host in order if host in took - sent]
    return last[-1] if last else None


def _hop(found: Diagnosis, host: str, *, is_destination: bool = False) -> Hop:
    near: list[str] = []
    far: list[str] = []
    neither: list[str] = []
    for interface, side in _sides(found, host):
        {"near": near, "far": far}.get(side, neither).append(interface)
    neither = [one for one in dict.fromkeys(neither) if one not in (*near, *far)]
    if host == found.client:
        far, near = [*near, *neither, *far], []
    elif is_destination:
        near, far = [*near, *neither, *far], []
    elif neither and not near:
        near = [neither.pop(0)]
    if neither and not far and not is_destination:
        far = [neither.pop()]
    first, last = (near[0] if near else None), (far[-1] if far else None)
    beside = [one for one in dict.fromkeys((*near, *neither, *far)) if one not in (first, last)]
    is_seen = any(one.host == host for one in found.observations)
    return Hop(host, first, last, tuple(beside), is_destination, is_seen)


def _sides(found: Diagnosis, host: str) -> Iterator[tuple[str, str]]:
    """Each interface of a host that is told of, with the side of the host on which it is, where that follows."""
    own = [one for one in found.observations if one.host == host and one.interface]
    for one in sorted(own, key=lambda one: (one.action is Action.ABSENT, one.at)):
        yield str(one.interface), side_of(one)
    told = [(found.forward.at, REQUEST), (found.reply.at, REPLY)]
    for at, lane in (*told, *((also.at, lane_of(also.direction)) for also in found.also)):
        match at:
            case Place():
                sides = [(at, "")]
            case Between():
                sides = list(
                    zip(places(at), ("far", "near") if lane == REQUEST else ("near", "far"), strict=True)
                )
            case None:
                sides = []
        yield from (
            (place.interface, side) for place, side in sides if place.host == host and place.interface
        )


def side_of(one: Observation) -> str:
    """`near` the client or `far` from it, where a packet that came in or went out tells."""
    comes = one.action in (Action.RECEIVED, Action.DELIVERED)
    goes = one.action in (Action.SENT, Action.FORWARDED, Action.REPLIED)
    if not comes and not goes:
        return ""
    return "near" if comes == (one.direction == REQUEST) else "far"
