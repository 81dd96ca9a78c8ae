"""What is sent through each path: the probes of the spec, else one to the first host in `to` that answers.

That is an echo where `allow` lets one pass, else a connection to the first of its TCP ports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from crossnet.design.leases import waiting
from crossnet.events import Event, Kind
from crossnet.facts import Facts
from crossnet.facts.neighbours import heard_of
from crossnet.facts.routes import MAIN, Route
from crossnet.path import Client, Path
from crossnet.site import Site, together
from crossnet.spec import Crossing
from crossnet.transport import Host
from crossnet.values import NOWHERE, Address, Family, Networks, Probe, Protocol, contains, family_of
from crossnet.verification.probe import Search, candidates, connect, search
from crossnet.verification.reading import Flow

# How many addresses of a path are asked for an echo at the same time.
MOST_ECHOES = 16

NO_SENDER = "none of the clients is a managed host, so no probe can be sent"
NOTHING_ANSWERED = "the spec names no `probe`, and `allow` admits nothing that is always answered: name one"

# Where `allow` admits all of TCP any port will do: a host that is up refuses what it does not serve.
ANY_PORT = 443

Key = tuple[str, Family]


@dataclass(frozen=True, slots=True)
class Choice:
    """What the senders send; `demanded` is whether the spec itself names the probes, `note` is to be said of it.

    `waiting` are clients that send nothing, each with why: their route comes with a lease.
    """

    path: Path
    senders: tuple[Client, ...]
    probes: tuple[Probe, ...]
    demanded: bool
    note: str
    waiting: tuple[tuple[Client, str], ...] = ()

    @property
    def flows(self) -> tuple[Flow, ...]:
        return tuple(Flow(self.path, client, probe) for probe in self.probes for client in self.senders)

    def one_by_one(self) -> tuple[Choice, ...]:
        """The same with one probe in each; who waits is told once."""
        first, *others = (replace(self, probes=(probe,)) for probe in self.probes)
        return (first, *(replace(one, waiting=()) for one in others))


async def choose(
    paths: Sequence[Path], facts: Mapping[str, Facts], site: Site, *, also_led_away: bool = False
) -> list[Choice]:
    """The choice for each path; asks no host where the spec names the probes.

    `also_led_away`: where nobody answers, to a host behind the gateway that a longer route of the client leads away
    from.
    """
    searching = [path for path in paths if _senders(path, facts) and _is_open(path)]
    found = await _search(searching, facts, site)
    away = {_key(path): _led_away(path, facts) for path in searching if also_led_away}
    return [_choice(path, facts, found.get(_key(path)), away.get(_key(path))) for path in paths]


def _choice(
    path: Path, facts: Mapping[str, Facts], found: Search | None, led_away: Address | None = None
) -> Choice:
    senders, named = _senders(path, facts), _named(path)
    later = tuple(waiting(path, facts))

    def choice(probes: tuple[Probe, ...], note: str) -> Choice:
        return Choice(path, senders, probes, bool(named), note, later)

    if not senders:
        return choice((), "" if later else NO_SENDER)
    if named:
        return choice(named, "")
    means = _means(path.crossing)
    if found is None or means is None:
        return choice((), NOTHING_ANSWERED)
    if found.answered is not None:
        return choice(
            (means.to(found.answered),), f"the spec names no `probe`: {found.answered} answered first"
        )
    if not found.asked:
        return choice((), "the spec names no `probe`, and no host is known behind the gateway to look for")
    note = "the spec names no `probe`"
    if found.could_send:
        asked = len(found.asked)
        nobody = "the one address" if asked == 1 else f"none of {asked} addresses"
        did = "did not answer" if asked == 1 else "answered"
        note += f", and {nobody} in `to` {did} {means}"
        if led_away is not None:
            note += (
                f"; {path.gateway} knows {led_away}, to which a route of {senders[0].host} leads another way"
            )
            return choice((means.to(led_away),), note)
    return choice((means.to(found.asked[0]),), note)


async def _search(paths: Iterable[Path], facts: Mapping[str, Facts], site: Site) -> dict[Key, Search]:
    """For each path its first client looks for a host that answers: one command for all it looks for."""
    by_client: dict[str, list[Path]] = {}
    for path in paths:
        by_client.setdefault(_senders(path, facts)[0].host or "", []).append(path)

    async def one(client: Host, some: Sequence[Path]) -> list[tuple[Key, Search]]:
        groups = {_key(path): targets(path, facts) for path in some}
        for group in groups.values():
            site.watch(Event(Kind.SEARCHES, client.name, addresses=len(group)))
        ports = {_key(path): means.port for path in some if (means := _means(path.crossing))}
        echoes = [key for key in groups if ports[key] is None]
        others = [(key, port) for key, port in ports.items() if port is not None]
        found = (
            dict(zip(echoes, await search(client, [groups[key] for key in echoes]), strict=True))
            if echoes
            else {}
        )
        if others:
            connected = await connect(client, [(groups[key], port) for key, port in others])
            found |= zip((key for key, _ in others), connected, strict=True)
        return list(found.items())

    answers = await together(one(site.hosts[name], some) for name, some in by_client.items())
    return dict(pair for pairs in answers for pair in pairs)


def targets(path: Path, facts: Mapping[str, Facts]) -> tuple[Address, ...]:
    """Where the crossing leads through the gateway: not what its client reaches by longer routes of its own.

    Of a wide network the parts come first in which the gateway itself stands: of the others it may know no more than
    that they are somewhere behind its default route.
    """
    to = path.crossing.networks(path.family)
    wire = (route.destination for route in facts[path.gateway].routes if _is_wire_behind(path, route))
    networks = dict.fromkeys([*(each for each in wire if any(contains(one, each) for one in to)), *to])
    beside = (route.destination for route in _beside(path, facts))
    apart = (*beside, *path.crossing.excepted, *NOWHERE)
    gateway = facts[path.gateway]

    def is_beyond(target: Address) -> bool:
        # What the gateway has itself it would answer itself, and forward nothing.
        return gateway.owner_of(target) is None and not any(contains(part, target) for part in apart)

    neighbours = tuple(filter(is_beyond, heard_of(gateway.neighbours)))
    hosts = (target for network in networks for target in candidates(network, neighbours))
    return tuple(islice(filter(is_beyond, dict.fromkeys(hosts)), MOST_ECHOES))


def _is_wire_behind(path: Path, route: Route) -> bool:
    return (route.table, route.type, route.via, route.device) == (MAIN, "unicast", None, path.egress)


def _beside(path: Path, facts: Mapping[str, Facts]) -> list[Route]:
    """The longer routes by which its client goes on to reach parts of the destinations."""
    sender, held = _senders(path, facts)[0], Networks(path.crossing.networks(path.family))
    return [
        route
        for route in facts[sender.host or ""].routes
        if route.table == MAIN
        and (route.via, route.device) != (sender.next_hop, sender.interface)
        and held.around(route.destination, larger=True)
    ]


def _led_away(path: Path, facts: Mapping[str, Facts]) -> Address | None:
    """A neighbour of the gateway among the destinations, to which its client has a longer route over another router."""
    away = [route.destination for route in _beside(path, facts) if route.via is not None]
    gateway = facts[path.gateway]
    behind = tuple(each for each in gateway.neighbours if each.device == path.egress)
    return next(
        (
            each
            for each in heard_of(behind)
            if any(contains(part, each) for part in away)
            and any(contains(part, each) for part in path.destinations)
        ),
        None,
    )


def example(path: Path) -> Probe | None:
    """A flow that the crossing carries; None where no host of its destinations is one."""
    targets = (target for network in path.destinations for target in candidates(network, ()))
    return next((stands_for(path.crossing, target) for target in targets), None)


def stands_for(crossing: Crossing, target: Address) -> Probe:
    """What is sent to a destination where the spec names no probe: what may pass, and is answered if anything is."""
    means = _means(crossing)
    udp = next((each for each in crossing.allow or () if each.protocol is Protocol.UDP), None)
    if means is None and udp is not None:
        return Probe(Protocol.UDP, target, udp.ports.first if udp.ports else ANY_PORT)
    return (means or _Means()).to(target)


def _senders(path: Path, facts: Mapping[str, Facts]) -> tuple[Client, ...]:
    later = {client for client, _ in waiting(path, facts)}
    return tuple(client for client in path.clients if client.host is not None and client not in later)


def _named(path: Path) -> tuple[Probe, ...]:
    return tuple(probe for probe in path.crossing.probes if family_of(probe.destination) is path.family)


def _is_open(path: Path) -> bool:
    """Whether nothing is named, and something may pass that is answered by whoever is up."""
    return _means(path.crossing) is not None and not _named(path)


@dataclass(frozen=True, slots=True)
class _Means:
    """What a host is looked for with: an echo, or a connection to a port."""

    port: int | None = None

    def to(self, target: Address) -> Probe:
        return Probe(Protocol.ICMP if self.port is None else Protocol.TCP, target, self.port)

    def __str__(self) -> str:
        return "an echo" if self.port is None else f"on tcp/{self.port}"


def _means(crossing: Crossing) -> _Means | None:
    allow = crossing.allow
    if allow is None or any(entry.protocol is Protocol.ICMP for entry in allow):
        return _Means()
    ports = (entry.ports for entry in allow if entry.protocol is Protocol.TCP)
    return next((_Means(each.first if each else ANY_PORT) for each in ports), None)


def _key(path: Path) -> Key:
    return path.crossing.name, path.family
