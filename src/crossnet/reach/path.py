"""Over several hosts: a flow's request and its answer, or all that a crossing lets pass, from facts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from crossnet.facts import Facts
from crossnet.facts.links import Link
from crossnet.facts.sysctls import arp_ignore
from crossnet.netfilter.foreign import Field
from crossnet.reach.asked import Asked, first_of_a_flow, packets_of
from crossnet.reach.blockers import Blocker
from crossnet.reach.here import Answer, Here
from crossnet.reach.host import HostWalk, Leaving, Outcome
from crossnet.reach.packets import Packets, Space
from crossnet.reach.rules import Effect
from crossnet.values import Address, contains

# How often packets that are changed on their way are followed to one interface.
_TIMES = 8


class Disposition(StrEnum):
    """How packets end; the words of docs/reference, of which static facts can give these."""

    DELIVERED = "delivered"
    DELIVERED_TO_SEGMENT = "delivered-to-segment"
    DROPPED = "dropped"
    REJECTED = "rejected"
    CONSUMED_LOCALLY = "consumed-locally"
    NOT_SENT = "not-sent"
    UNDETERMINED = "undetermined"


_NOT_GIVEN_BACK = "reply-not-untranslated"
_REJECTING = frozenset({"filter-reject", "no-route", "route-unreachable", "route-prohibit", "ttl-expired"})


@dataclass(frozen=True, slots=True)
class Translated:
    """A rule that gives packets another address or port on their way."""

    host: str
    chain: str
    text: str


@dataclass(frozen=True, slots=True)
class Journey:
    """The packets of one direction.

    `whole` when they all end so; else some do, and others pass. `blockers` are everything that stops them or perhaps
    does, in their order; the first that is `now` and `certain` is where they end.
    """

    disposition: Disposition
    host: str
    interface: str
    whole: bool
    blockers: tuple[Blocker, ...] = ()
    translations: tuple[Translated, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reached:
    """The answer: what becomes of the requests, and of the answers to those that arrive."""

    request: Journey
    reply: Journey

    @property
    def passes(self) -> bool | None:
        """Whether it works for all that was asked; None where facts alone do not tell."""
        ends = (self.request, self.reply)
        if any(journey.disposition is Disposition.UNDETERMINED for journey in ends):
            return None
        good = (Disposition.DELIVERED, Disposition.DELIVERED_TO_SEGMENT)
        return all(journey.disposition in good for journey in ends)


@dataclass(frozen=True, slots=True)
class Visit:
    """A host that packets come to by an interface, or from itself without one, and what becomes of them there."""

    host: str
    interface: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class End:
    """Packets at the end of what is known: taken by a host, or given to a segment by its interface."""

    host: str
    interface: str
    taken: bool
    here: Here


def reach(asked: Asked, hosts: Mapping[str, Facts]) -> Reached:
    """What can pass, and what decides it: of the packets that are asked, over the hosts whose facts are given."""
    return reached(Walked(asked, hosts))


class Walked:
    """A question walked: the hosts that requests and answers come to, in order, and where they end."""

    def __init__(self, asked: Asked, hosts: Mapping[str, Facts]) -> None:
        self.asked, self.hosts = asked, hosts
        self.space = space = Space()
        for facts in hosts.values():
            space.know_interfaces(link.name for link in facts.links)
        first = Here.of(packets_of(space, asked))
        self.visits, self.ends = self.walk(space, [(asked.host, asked.ingress or None, first)], {})
        flows: dict[str, Packets] = {}
        for visit in self.visits:
            flows[visit.host] = flows.get(visit.host, space.none) | visit.outcome.flows
        self.turned = space.turned()
        arriving, self.missing = self.answers(self.turned, self.ends)
        self.back, ends = self.walk(self.turned, arriving, flows)
        self.back_ends = [end for end in ends if not self._astray(end)]
        self.back += [self._taken(end) for end in ends if self._astray(end)]

    def _astray(self, end: End) -> bool:
        """Whether answers are taken by a host that has not asked."""
        return end.taken and (end.host == self.asked.host) is bool(self.asked.ingress)

    def _taken(self, end: End) -> Visit:
        words = "answers come to an address of the host itself, and nothing translates them back"
        return _stopping(self.turned, end.host, end.interface, _NOT_GIVEN_BACK, words, end.here, "prerouting")

    def walk(
        self, space: Space, waiting: list[tuple[str, str | None, Here]], flows: Mapping[str, Packets]
    ) -> tuple[list[Visit], list[End]]:
        """Follow packets from host to host; `flows` is what each remembers, where they are answers."""
        visits: list[Visit] = []
        ends: list[End] = []
        times: Counter[tuple[str, str]] = Counter()
        # With each, what came where on its own way: ways that part and meet again are no loop.
        left: list[tuple[tuple[str, str | None, Here], Mapping[tuple[str, str], Packets]]]
        left = [(each, {}) for each in waiting]
        while left:
            (name, ingress, here), came = left.pop(0)
            before = came.get((name, ingress or ""), space.none)
            if again := here.passing(Answer.sure(before)):
                words = f"the packets come back to {name} by {ingress} unchanged"
                visits.append(_stopping(space, name, ingress or "", "forwarding-loop", words, again))
                here = here.failing(Answer.sure(before))
            if not here:
                continue
            times[name, ingress or ""] += 1
            if times[name, ingress or ""] > _TIMES:
                words = f"packets come to {name} by {ingress} time and again, and are not followed further"
                unsure = Here(here.may, here.fixed, space.none)
                visits.append(_stopping(space, name, ingress or "", "forwarding-loop", words, unsure))
                continue
            came = {**came, (name, ingress or ""): before | space.without(here.fixed, *_OF_A_HOP)}
            remembered = flows.get(name, space.none) if flows else None
            expected = "" if flows else self.asked.egress.get(name, "")
            host = HostWalk(
                self.hosts[name],
                space,
                flows=remembered,
                expected=expected,
                dont_fragment=self.asked.dont_fragment and not flows,
            )
            if ingress is None:
                outcome = host.sent(here)
            elif self.asked.bridged and name == self.asked.host:
                outcome = host.bridged(here, ingress)
            else:
                outcome = host.received(here, ingress)
            visits.append(Visit(name, ingress or "", outcome))
            if outcome.delivered:
                ends.append(End(name, ingress or "lo", True, outcome.delivered))
            for leaving in outcome.leaving:
                following, rest = self._following(space, name, leaving, visits)
                left += ((each, came) for each in following)
                if rest:
                    ends.append(End(name, leaving.interface, False, rest))
        return visits, ends

    def _following(
        self, space: Space, name: str, leaving: Leaving, visits: list[Visit]
    ) -> tuple[list[tuple[str, str | None, Here]], Here]:
        """The hosts that take what leaves, and what nobody takes whose facts are known."""
        here = leaving.here
        following: list[tuple[str, str | None, Here]] = []
        # Of several interfaces of a host on one segment, one that answers for the address is found.
        found: dict[Address, tuple[str, str]] = {}
        for other, link, address in self._neighbours(name, leaving.interface):
            if leaving.next_hop is None or address == leaving.next_hop:
                at = found.setdefault(address, (other, link))
                if self._silent(*at, address) and not self._silent(other, link, address):
                    found[address] = other, link
        for address, (other, link) in found.items():
            if leaving.next_hop is not None:
                here = self._asked_for(space, name, leaving, other, link, address, here, visits)
                return [(other, link, here)], Here.of(space.none)
            of = Answer.sure(space.address(Field.DESTINATION6, address))
            if part := here.passing(of):
                part = self._asked_for(space, name, leaving, other, link, address, part, visits)
                following.append((other, link, part))
                here = here.failing(of)
        return following, here

    def _silent(self, host: str, interface: str, address: Address) -> str:
        """Why an interface does not answer ARP for an address of its host; nothing where it does."""
        facts = self.hosts[host]
        ignore = arp_ignore(facts.sysctls, interface) if isinstance(address, IPv4Address) else 0
        owner = facts.owner_of(address)
        if ignore == 8 or (ignore in (1, 2) and owner is not None and owner.name != interface):
            return f"{interface} does not answer ARP for {address}: arp_ignore = {ignore}"
        return ""

    def _asked_for(
        self,
        space: Space,
        name: str,
        leaving: Leaving,
        other: str,
        link: str,
        address: Address,
        here: Here,
        visits: list[Visit],
    ) -> Here:
        """What of the packets goes to a host that is asked for its address on an interface."""
        words = self._silent(other, link, address)
        if not words or any(
            known.address == address and known.device == leaving.interface and known.answered
            for known in self.hosts[name].neighbours
        ):
            return here
        visits.append(_stopping(space, other, link, "arp-not-answered", words, here))
        return Here(space.none, here.fixed, here.surely)

    def _neighbours(self, name: str, interface: str) -> Iterable[tuple[str, str, Address]]:
        """The addresses of other hosts that answer on the segment of an interface, and by which of theirs.

        A host answers there for each address that it has, on whatever interface (arp_ignore of 0), but for those that
        count on another segment alone.
        """
        own = self.hosts[name].link(interface)
        for other, facts in self.hosts.items():
            if other == name or own is None:
                continue
            for link in facts.links:
                if _one_segment(own, link):
                    for each in facts.links:
                        yield from ((other, link.name, item.address) for item in each.addresses)
                    yield from ((other, link.name, item.address) for item in link.narrow)

    def answers(
        self, space: Space, ends: list[End]
    ) -> tuple[list[tuple[str, str | None, Here]], tuple[Blocker, ...]]:
        """The answers to what arrived, where they come in, and what would keep them from coming."""
        arriving: list[tuple[str, str | None, Here]] = []
        missing: list[Blocker] = []
        for end in ends:
            if end.taken and end.host == self.asked.host and not self.asked.ingress:
                continue
            here = end.here.through(
                lambda packets: first_of_a_flow(
                    space, space.unremembered(packets), self.asked.lengths, answer=True
                )
            )
            if end.taken:
                arriving.append((end.host, None, here))
                continue
            here, blocker = self._from_segment(space, end, here)
            missing += [blocker] if blocker else []
            arriving.append((end.host, end.interface, here))
        return arriving, tuple(missing)

    def _from_segment(self, space: Space, end: End, here: Here) -> tuple[Here, Blocker | None]:
        """Whoever is on the segment answers what it can: that it has a way back beyond it is not known."""
        if self.asked.bridged:
            return here, None
        link = self.hosts[end.host].link(end.interface)
        near = space.any_of(
            space.network(Field.DESTINATION6, item.network) for item in (link.addresses if link else ())
        )
        far = here.through(lambda packets: packets & ~near)
        if not far:
            return here, None
        words = "nothing gives it an address of that network, and whether there is a way back is not known"
        blocker = Blocker(
            "snat-missing",
            end.host,
            end.interface,
            "postrouting",
            words,
            False,
            far.may.satisfiable(),
            packets=far.fixed,
        )
        return here, blocker


# What each host on the way changes of a packet by itself
_OF_A_HOP = (
    *(
        Field.IIF,
        Field.OIF,
        Field.NEXT_HOP,
        Field.PHYS_IN,
        Field.PHYS_OUT,
        Field.TTL,
        Field.MARK,
        Field.PACKET_TYPE,
    ),
    *(Field.CT_STATE, Field.CT_DIRECTION, Field.CT_STATUS, Field.CT_MARK, Field.CT_ZONE),
    *(Field.CT_SOURCE6, Field.CT_DESTINATION6, Field.CT_SOURCE_PORT, Field.CT_DESTINATION_PORT),
)


def _stopping(
    space: Space, host: str, interface: str, code: str, words: str, here: Here, hook: str = ""
) -> Visit:
    """A visit of packets that end before the host does anything with them."""
    now = here.may.satisfiable()
    certain = here.surely.satisfiable() and not (here.may & ~here.surely).satisfiable()
    passed = here.may & ~here.surely
    blocker = Blocker(code, host, interface, hook, words, certain, now, packets=here.fixed)
    nothing = Here.of(space.none)
    return Visit(host, interface, Outcome((), nothing, (blocker,), (), here.may, passed, space.none))


def _one_segment(one: Link, other: Link) -> bool:
    """Whether two interfaces seem to be on one wire: the network of one holds an address of the other.

    An address that both have proves nothing: docker0 is 172.17.0.1 on every host, and two on a wire would collide.
    """
    both = {item.address for item in one.addresses} & {item.address for item in other.addresses}
    return any(
        contains(mine.network, their.address) or contains(their.network, mine.address)
        for mine in one.addresses
        for their in other.addresses
        if mine.address not in both and their.address not in both
    )


def reached(walked: Walked) -> Reached:
    """What a walk means."""
    client = "" if walked.asked.ingress else walked.asked.host
    request = _journey(walked.visits, walked.ends, client)
    reply = _journey(walked.back, walked.back_ends, "", walked.missing)
    return Reached(request, reply)


def _journey(visits: list[Visit], ends: list[End], client: str, missing: tuple[Blocker, ...] = ()) -> Journey:
    """One direction, told in its order."""
    blockers = (*missing, *(each for visit in visits for each in visit.outcome.blockers))
    decisions = [(visit.host, each) for visit in visits for each in visit.outcome.decisions]
    translations = tuple(
        dict.fromkeys(
            Translated(host, each.place.chain, each.text)
            for host, each in decisions
            if each.effect is Effect.TRANSLATES
        )
    )
    unknown = [each.doubts for each in blockers] + [visit.outcome.doubts for visit in visits]
    doubts = tuple(dict.fromkeys(words for each in unknown for words in each))
    arrives = any(end.here.may.satisfiable() for end in ends)
    stopped = any(visit.outcome.stopped.satisfiable() for visit in visits)
    either = any((visit.outcome.stopped & visit.outcome.passed).satisfiable() for visit in visits)
    doubtful = any(
        visit.outcome.passed.satisfiable()
        and not (
            visit.outcome.delivered.may.satisfiable()
            or any(leaving.here.may.satisfiable() for leaving in visit.outcome.leaving)
        )
        for visit in visits
    )
    first = next((each for each in blockers if each.now), None)
    rest = blockers, translations, doubts
    last = next((end for end in ends if end.here.may.satisfiable()), ends[-1] if ends else None)
    if not visits:
        return Journey(Disposition.NOT_SENT, "", "", True, *rest)
    if not stopped and last is not None and not missing:
        return Journey(_good(last, client), last.host, last.interface, len(ends) == 1, *rest)
    if first is None:
        where = visits[-1]
        return Journey(Disposition.NOT_SENT, where.host, where.interface, True, *rest)
    if (either and (arrives or doubtful)) or (missing and arrives):
        return Journey(Disposition.UNDETERMINED, first.host, first.interface, not arrives, *rest)
    surely = next((each for each in blockers if each.now and each.certain), first)
    bad = Disposition.REJECTED if surely.code in _REJECTING else Disposition.DROPPED
    if surely.code == _NOT_GIVEN_BACK:
        bad = Disposition.CONSUMED_LOCALLY
    if surely.host == client and surely.hook == "output":
        bad = Disposition.NOT_SENT
    return Journey(bad, surely.host, surely.interface, not arrives, *rest)


def _good(end: End, client: str) -> Disposition:
    if not end.taken:
        return Disposition.DELIVERED_TO_SEGMENT
    if client and end.host == client:
        return Disposition.CONSUMED_LOCALLY
    return Disposition.DELIVERED
