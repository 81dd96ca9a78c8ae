"""What is sent through each passage: the probes of the spec, else an echo to the first host that answers one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from crossnet.design import Client, Passage
from crossnet.events import Event, Kind
from crossnet.facts import Facts
from crossnet.facts.neighbours import heard_of
from crossnet.facts.routes import inside
from crossnet.site import Site, together
from crossnet.transport import Host
from crossnet.values import NOWHERE, Address, Family, Probe, Protocol, contains, family_of
from crossnet.verification.probe import Search, candidates, search
from crossnet.verification.reading import Flow

# How many addresses of a passage are asked for an echo at the same time.
MOST_ECHOES = 16

NO_SENDER = "no client is a managed host: nobody can send a probe"
NO_ICMP = "the spec names no `probe`, and `allow` admits no icmp to send one"

Key = tuple[str, Family]


@dataclass(frozen=True, slots=True)
class Choice:
    """What the senders send; `demanded` is whether the spec itself names the probes, `note` is to be said of it."""

    passage: Passage
    senders: tuple[Client, ...]
    probes: tuple[Probe, ...]
    demanded: bool
    note: str

    @property
    def flows(self) -> tuple[Flow, ...]:
        return tuple(Flow(self.passage, client, probe) for probe in self.probes for client in self.senders)

    def one_by_one(self) -> tuple[Choice, ...]:
        """The same with one probe in each."""
        return tuple(replace(self, probes=(probe,)) for probe in self.probes)


async def choose(passages: Sequence[Passage], facts: Mapping[str, Facts], site: Site) -> list[Choice]:
    """The choice for each passage; asks no host where the spec names the probes."""
    searching = [passage for passage in passages if _senders(passage) and _is_open(passage)]
    found = await _search(searching, facts, site)
    return [_choice(passage, found.get(_key(passage))) for passage in passages]


def _choice(passage: Passage, found: Search | None) -> Choice:
    senders, named = _senders(passage), _named(passage)

    def choice(probes: tuple[Probe, ...], note: str) -> Choice:
        return Choice(passage, senders, probes, bool(named), note)

    if not senders:
        return choice((), NO_SENDER)
    if named:
        return choice(named, "")
    if found is None:
        return choice((), NO_ICMP)
    if found.answered is not None:
        probe = Probe(Protocol.ICMP, found.answered)
        return choice((probe,), f"the spec names no `probe`: {found.answered} answered first")
    if not found.asked:
        return choice((), "the spec names no `probe`, and no host is known behind the gateway to look for")
    note = "the spec names no `probe`"
    if found.could_send:
        note += f", and none of {len(found.asked)} addresses in `to` answered an echo"
    return choice((Probe(Protocol.ICMP, found.asked[0]),), note)


async def _search(passages: Iterable[Passage], facts: Mapping[str, Facts], site: Site) -> dict[Key, Search]:
    """For each passage its first client looks for a host that answers: one command for all it looks for."""
    by_client: dict[str, list[Passage]] = {}
    for passage in passages:
        by_client.setdefault(_senders(passage)[0].host or "", []).append(passage)

    async def one(client: Host, some: Sequence[Passage]) -> list[tuple[Key, Search]]:
        groups = [_targets(passage, facts) for passage in some]
        for group in groups:
            site.watch(Event(Kind.SEARCHES, client.name, addresses=len(group)))
        found = await search(client, groups)
        return [(_key(passage), each) for passage, each in zip(some, found, strict=True)]

    answers = await together(one(site.hosts[name], some) for name, some in by_client.items())
    return dict(pair for pairs in answers for pair in pairs)


def _targets(passage: Passage, facts: Mapping[str, Facts]) -> tuple[Address, ...]:
    """Where the crossing leads through the gateway: not what its client reaches by longer routes of its own."""
    sender = _senders(passage)[0]
    networks = passage.crossing.networks(passage.family)
    longer = (route for network in networks for route in inside(facts[sender.host or ""].routes, network))
    beside = [
        route.destination
        for route in longer
        if (route.via, route.device) != (sender.next_hop, sender.interface)
    ]
    apart = (*beside, *passage.crossing.excepted, *NOWHERE)
    gateway = facts[passage.gateway]

    def is_beyond(target: Address) -> bool:
        # What the gateway has itself it would answer itself, and forward nothing.
        return gateway.owner_of(target) is None and not any(contains(part, target) for part in apart)

    neighbours = tuple(filter(is_beyond, heard_of(gateway.neighbours)))
    targets = [target for network in networks for target in candidates(network, neighbours)]
    return tuple(filter(is_beyond, targets))[:MOST_ECHOES]


def _senders(passage: Passage) -> tuple[Client, ...]:
    return tuple(client for client in passage.clients if client.host is not None)


def _named(passage: Passage) -> tuple[Probe, ...]:
    return tuple(probe for probe in passage.crossing.probes if family_of(probe.destination) is passage.family)


def _is_open(passage: Passage) -> bool:
    """Whether nothing is named, and an echo may pass."""
    allow = passage.crossing.allow
    echo = allow is None or any(entry.protocol is Protocol.ICMP for entry in allow)
    return echo and not _named(passage)


def _key(passage: Passage) -> Key:
    return passage.crossing.name, passage.family
