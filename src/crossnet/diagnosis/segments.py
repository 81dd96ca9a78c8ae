"""Echoes that neighbours on the way send each other, to see what the segments carry that the flow's own never reached.

Who stops packets keeps them from everything behind it, which may be broken too. A host sends such echoes past all its
routes and policy rules, so that those do not decide what is seen of the segment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from crossnet.capture import Sighting
from crossnet.diagnosis.course import Course, Stop, best
from crossnet.diagnosis.ending import Ending
from crossnet.diagnosis.trail import Part, Tags, Trail, forward_end, reply_end
from crossnet.facts import Facts
from crossnet.facts.links import Link
from crossnet.values import Address, Family, Network, Probe, Protocol, contains, family_of
from crossnet.verification.probe import Sent

# How many sizes of echoes are kept for them: four on each segment between two hosts, one behind the last.
SIZES = 4 * 4 + 1


@dataclass(frozen=True, slots=True)
class Echo:
    """Echoes of one host for its neighbour, with `data` bytes that tell them from all others.

    `segment` counts from the client's own. `foreign` says that one of the addresses belongs to another network than
    the segment's; `receiver` is None where that is the destination, and not a host that can be asked.
    """

    segment: int
    sender: Stop
    device: str
    receiver: Stop | None
    destination: Address
    source: Address | None = None
    back: bool = False
    foreign: bool = False
    through_router: bool = False
    data: int = 0

    @property
    def task(self) -> tuple[str, str, str]:
        """What the sender is told to do."""
        if self.through_router:
            return "echo_of", str(self.destination), str(self.data)
        words = [str(self.data), self.device, *([str(self.source)] if self.source is not None else [])]
        return "foreign" if self.foreign else "near", str(self.destination), " ".join(words)

    def trail(
        self, course: Course, sightings: Sequence[Sighting], points: Mapping[str, tuple[str, ...]]
    ) -> Trail:
        """What was seen of them."""
        way = Course(self.source, self.destination, (self.sender,), self.receiver, course.routers)
        tags = Tags(Probe(Protocol.ICMP, self.destination), (self.data,))
        return Trail(tags, way, tuple(sightings), points)


@dataclass(frozen=True, slots=True)
class Asked:
    """What neighbours were asked, and what was seen meanwhile.

    `connections` are what became of those that the last host has tried to the destination.
    """

    echoes: tuple[Echo, ...]
    sightings: tuple[Sighting, ...]
    connections: tuple[Sent, ...] = ()


def echoes(
    course: Course, facts: Mapping[str, Facts], seen_as: Address | None, data: Sequence[int]
) -> tuple[Echo, ...]:
    """What to ask on each segment of which both ends are known, and behind the last host; `data` are sizes to use.

    `seen_as` is the address as which the flow should come to its destination.
    """
    made = [*_between_hosts(course, facts), *_behind(course, facts, seen_as)]
    return tuple(replace(each, data=size) for each, size in zip(made, data, strict=False))


def _between_hosts(course: Course, facts: Mapping[str, Facts]) -> Iterator[Echo]:
    family = family_of(course.destination)
    for number, (one, other) in enumerate(pairwise(course.all)):
        leaving, coming = _link(facts, one.host, one.egress), _link(facts, other.host, other.ingress)
        if leaving is None or coming is None:
            continue
        own = next((item.address for item in coming.of(family)), None)
        wanted = one.next_hop or (course.destination if other == course.target else own)
        mine = next((item.address for item in leaving.of(family)), None)
        if wanted is None or mine is None:
            continue
        yield Echo(number, one, leaving.name, other, wanted)
        far = _link(facts, other.host, other.egress)
        if far is None or far == coming:
            continue
        strange = next((item.address for item in far.of(family)), None)
        if strange is None:
            continue
        if family is Family.V4:  # no such way past the routes of IPv6
            yield Echo(number, one, leaving.name, other, strange, foreign=True)
        if own is not None:
            yield Echo(number, other, coming.name, one, mine, own, back=True)
            yield Echo(number, other, coming.name, one, mine, strange, back=True, foreign=True)


def _behind(course: Course, facts: Mapping[str, Facts], seen_as: Address | None) -> Iterator[Echo]:
    """From the last host to the destination, which cannot be asked itself."""
    last = course.stops[-1]
    link = _link(facts, last.host, last.egress)
    if course.target is not None or link is None or last == course.client:
        return
    own = answerable(facts[last.host], link, course.destination)
    yield Echo(
        len(course.stops) - 1,
        last,
        link.name,
        None,
        course.destination,
        seen_as if seen_as in own else next(iter(own), None),
        through_router=last.next_hop is not None,
    )


def harmless(
    asked: Sequence[Echo], flow: Trail, facts: Mapping[str, Facts], silent: Collection[str]
) -> tuple[Echo, ...]:
    """Those that heal nothing: whoever is asked learns the asker's hardware address, which its flow may wait for.

    `silent` are the hosts of which facts tell why they answer no question, and would not if they were known.
    """
    waiting = set[int]()
    for end in (forward_end(flow), reply_end(flow)):
        if end.ending is not Ending.UNRESOLVED or end.stop is None or end.following is None:
            continue
        host = end.following.host
        owned = host in facts and end.asked is not None and facts[host].owner_of(end.asked) is not None
        if (owned or end.asked == end.stop.next_hop) and host not in silent:
            waiting.add(min(flow.course.position(each) for each in (end.stop.host, host)))
    return tuple(
        each
        for each in asked
        if each.segment not in waiting and not (each.receiver is None and _went(each, flow, facts))
    )


def _went(echo: Echo, flow: Trail, facts: Mapping[str, Facts]) -> bool:
    """Whether the flow itself has gone on to the destination, as somebody who can be answered."""
    host = echo.sender.host
    link = facts[host].link(echo.device)
    own = answerable(facts[host], link, echo.destination) if link is not None else ()
    left = flow.left(host, Part.REQUEST)
    return any(each.packet.source in own and each.interface == echo.device for each in left)


def answerable(facts: Facts, link: Link, wanted: Address) -> tuple[Address, ...]:
    """The addresses of an interface that an address behind it surely knows a way back to, if it is there."""
    near = _network_of(facts, link, wanted)
    own = (item.address for item in link.of(family_of(wanted)))
    return tuple(each for each in own if near is None or contains(near, each))


def _network_of(facts: Facts, link: Link, wanted: Address) -> Network | None:
    """The network that an address shares with an interface, by its address or by a route."""
    item = link.on_link(wanted)
    if item is not None:
        return item.network
    route = best(facts, wanted)
    return (
        route.destination if route is not None and route.via is None and route.device == link.name else None
    )


def _link(facts: Mapping[str, Facts], host: str, name: str | None) -> Link | None:
    return facts[host].link(name) if host in facts and name else None
