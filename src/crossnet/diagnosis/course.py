"""Where a flow is meant to go, from host to host: as the spec says it, else as the hosts' addresses suggest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from crossnet.facts import Facts
from crossnet.facts.links import Link
from crossnet.facts.lookups import Lookup
from crossnet.facts.routes import Route, matching
from crossnet.netfilter.foreign import Translate
from crossnet.path import Client, Path
from crossnet.spec import Crossing
from crossnet.values import Address, Network, contains, family_of, host_network


@dataclass(frozen=True, slots=True)
class Stop:
    """A host on the way, and by which interfaces packets should come and leave; None where nothing tells.

    `next_hop` is whom it should send to: None where that is the destination itself, or not known.
    """

    host: str
    ingress: str | None = None
    egress: str | None = None
    next_hop: Address | None = None


@dataclass(frozen=True, slots=True)
class Hints:
    """What the spec or the user says of a way: of its last gateway, and of the networks behind it."""

    ingress: str | None = None
    egress: str | None = None
    next_hop: Address | None = None
    beyond: tuple[Network, ...] = ()
    crossing: Crossing | None = None


def hints_of(path: Path, client: Client) -> Hints:
    """What a crossing says of the way of one of its clients."""
    return Hints(path.ingress, path.egress, client.next_hop, path.destinations, path.crossing)


@dataclass(frozen=True, slots=True)
class Course:
    """A flow's way: the client, its gateways, and the target where that can be asked too.

    `routers` are the next hops that the routes of each host name, whether or not they lead to the destination;
    `crossing` is what the spec wants of it, where it stands in one.
    """

    source: Address | None
    destination: Address
    stops: tuple[Stop, ...]
    target: Stop | None = None
    routers: Mapping[str, frozenset[Address]] = field(default_factory=dict, compare=False)
    crossing: Crossing | None = field(default=None, compare=False)

    @property
    def client(self) -> Stop:
        return self.stops[0]

    @property
    def gateways(self) -> tuple[Stop, ...]:
        return self.stops[1:]

    @property
    def all(self) -> tuple[Stop, ...]:
        return (*self.stops, self.target) if self.target else self.stops

    def lookups(self, stop: Stop) -> tuple[Lookup, ...]:
        """What to ask a host's kernel: where it sends the request and, of a gateway, the reply.

        Nothing of translation is in it: of the reply it is asked with the client's own address.
        """
        if stop == self.client:
            return (Lookup(self.destination),)
        if self.source is None or stop.ingress is None:
            return ()
        request = Lookup(self.destination, self.source, stop.ingress)
        return (request, Lookup(self.source, self.destination, stop.egress)) if stop.egress else (request,)

    def position(self, host: str) -> int:
        return next((at for at, stop in enumerate(self.all) if stop.host == host), len(self.all))


def course(
    client: str, gateways: Sequence[str], destination: Address, facts: Mapping[str, Facts], hints: Hints
) -> Course:
    """The way over these hosts; of one whose facts are not known only its name stands in it.

    Where nothing says that the destination is behind the last one, and it has that address itself, it is the target.
    """
    meant = any(contains(each, destination) for each in hints.beyond)
    if (
        gateways
        and gateways[-1] in facts
        and not meant
        and facts[gateways[-1]].owner_of(destination) is not None
    ):
        gateways = gateways[:-1]
    known = [host for host in gateways if host in facts]
    stops = [Stop(client)]
    for number, host in enumerate(gateways):
        last = number == len(gateways) - 1
        egress = None
        if host in facts and last:
            egress = hints.egress or _towards(
                facts[host], destination, hints.beyond, facts.get(stops[-1].host)
            )
        joint = None
        before = stops[-1].host
        if before in facts and host in facts:
            own = hints if len(gateways) == 1 else Hints()
            joint = _joint(facts[before], facts[host], destination, own, egress)
        if joint is not None:
            leaving, ingress, next_hop = joint
            stops[-1] = Stop(before, stops[-1].ingress, leaving, next_hop)
            if last and host in facts and egress is None:
                egress = _other_than(facts[host], ingress)
            stops.append(Stop(host, ingress, egress))
        else:
            stops.append(Stop(host, hints.ingress if len(gateways) == 1 else None, egress))
    final = stops[-1]
    if final.host in facts and final.next_hop is None and final.egress is not None and known:
        stops[-1] = Stop(
            final.host, final.ingress, final.egress, _router(facts[final.host], final, destination)
        )
    return Course(
        _source(facts.get(client), stops[0], destination),
        destination,
        tuple(stops),
        _target(facts, [*gateways, client], destination),
        {name: frozenset(_routers(each)) for name, each in facts.items()},
        hints.crossing,
    )


def _segment(one: Link, other: Link) -> Iterator[tuple[Address, Address]]:
    """Pairs of addresses of two links, of which one sees the other on its own network."""
    for mine in one.addresses:
        for their in other.addresses:
            if mine.address == their.address or family_of(mine.address) is not family_of(their.address):
                continue
            if contains(mine.network, their.address) or contains(their.network, mine.address):
                yield mine.address, their.address


def _holder(sender: Facts, receiver: Facts, wanted: Address) -> Link | None:
    """The receiver's interface that has an address; a link-local one says nothing of any other segment."""
    if not wanted.is_link_local:
        return receiver.owner_of(wanted)
    held = [link for link in receiver.links if link.has(wanted)]
    return next((link for link in held if _device_to(sender, link, None) is not None), None)


def _joint(
    sender: Facts, receiver: Facts, destination: Address, hints: Hints, egress: str | None
) -> tuple[str | None, str | None, Address | None] | None:
    """By which interfaces two hosts are neighbours, and which address the sender should send to."""
    # Whoever names where it leaves may mean the network of the clients itself: by the same interface in and out.
    outside = egress if hints.egress is None else None
    route = best(sender, destination) or _broader(sender, destination)
    routers = [hop.via for hop in route.hops] or [route.via] if route is not None else []
    for wanted in (hints.next_hop, *routers):
        owner = _holder(sender, receiver, wanted) if wanted is not None else None
        if owner is not None and owner.name == "lo":
            # A host answers on each interface for what it has on lo; which one stands there, its neighbour tells.
            near = [each for each in receiver.links if each.name not in ("lo", egress)]
            owner = next((each for each in near if _device_to(sender, each, None) is not None), None)
        if owner is not None and owner.name != outside:
            return _device_to(sender, owner, route), owner.name, wanted
    found = [
        (link.name, other.name, their)
        for link in sender.links
        for other in receiver.links
        if other.name != outside and hints.ingress in (None, other.name)
        for _, their in _segment(link, other)
        if family_of(their) is family_of(destination)
    ]
    found.sort(key=lambda each: each[1] == egress)
    if found:
        meant = hints.next_hop
        if meant is None or family_of(meant) is not family_of(destination) or receiver.owner_of(meant):
            return found[0]
        # One that moves between gateways, as with VRRP, may be another's by now, or nobody's: its network tells
        # by which of several interfaces it is meant.
        mine, theirs = (
            {link.name for link in each.links if link.on_link(meant) is not None}
            for each in (sender, receiver)
        )
        around = [each for each in found if each[0] in mine and each[1] in theirs]
        if not around and mine and (bare := _without_address(receiver, found, hints.ingress)) is not None:
            return min(mine), bare, meant  # the one that moved was all that it had there
        leaving, arriving, _ = next(iter(around), found[0])
        return leaving, arriving, meant
    # One of them has lost its address: the other interface is what is left.
    left = hints.ingress or _other_than(receiver, egress)
    own = receiver.link(left) if left else None
    address = next((item.address for item in own.of(family_of(destination))), None) if own else None
    device = route.device if route is not None and route.device else None
    wanted = hints.next_hop or (route.via if route is not None else None) or address
    if left is None:
        return None
    if address is not None and hints.next_hop is None:
        # It has an address, of another network than the sender's: somebody nobody looks at stands between them.
        return device or _only(sender), left, None
    return device or _only(sender), left, wanted


def _without_address(
    facts: Facts, shared: Iterable[tuple[str, str, Address]], named: str | None
) -> str | None:
    """The one interface of a gateway that has no address, and is the one that the spec names, if it names one."""
    used = {arriving for _, arriving, _ in shared}
    bare = [link.name for link in facts.links if link.name not in ("lo", *used) and not link.addresses]
    return bare[0] if len(bare) == 1 and named in (None, bare[0]) else None


def _device_to(sender: Facts, receiver: Link, route: Route | None) -> str | None:
    for link in sender.links:
        if any(_segment(link, receiver)):
            return link.name
    return route.device if route is not None else None


def _routers(facts: Facts) -> Iterator[Address]:
    for route in facts.routes:
        yield from (hop.via for hop in route.hops if hop.via is not None)
        if route.via is not None:
            yield route.via


def best(facts: Facts, destination: Address) -> Route | None:
    """The route of the main table that counts for an address, before policy rules."""
    found = [route for route in matching(facts.routes, host_network(destination)) if route.type == "unicast"]
    return found[0] if found else None


def _broader(facts: Facts, destination: Address) -> Route | None:
    """The route that counts where something more specific refuses the address, but for a default route."""
    leading = [route for route in facts.routes if route.type == "unicast" and route.destination.prefixlen]
    return next(iter(matching(leading, host_network(destination))), None)


def _towards(
    facts: Facts, destination: Address, beyond: Iterable[Network], sender: Facts | None
) -> str | None:
    """The interface of a gateway behind which a destination should be."""
    named = {name for name in _translated_on(facts) if facts.link(name) is not None}
    near = {
        link.name for link in facts.links if sender is not None and _device_to(sender, link, None) is not None
    }
    for link in facts.links:
        # A prefix that is too wide has the sender and the destination in one network.
        wide = link.name in near and named - {link.name}
        if link.on_link(destination) is not None and not wide:
            return link.name
    networks = tuple(beyond)
    route = best(facts, destination)
    leading = route.device if route is not None else None
    # A summary route, or a default route, has the sender's own network in it too, and perhaps others.
    within = [
        link.name
        for link in facts.links
        if link.name not in near
        and any(contains(each, item.address) for each in networks for item in link.addresses)
    ]
    if within:
        return leading if leading in within else within[0]
    further = named - near  # a rule may be wrong that translates on the sender's own segment
    if len(further) == 1:
        return further.pop()
    return leading


def _translated_on(facts: Facts) -> Iterator[str]:
    """The interfaces by which rules of the host translate what leaves."""
    for _, _, chain in facts.firewall.others():
        for rule in chain.rules:
            if any(isinstance(each, Translate) for each in rule.statements):
                words = rule.text.replace('"', " ").split()
                for option in ("-o", "oifname", "oif"):
                    at = words.index(option) if option in words[:-1] else 0
                    if option in words[:-1] and words[at - 1] != "!":
                        yield words[at + 1]


def _other_than(facts: Facts, used: str | None) -> str | None:
    """The one interface that is left; those without any address of a host that has several do not count."""
    rest = [link for link in facts.links if link.name not in (used, "lo") and not link.master]
    if used is not None and facts.link(used) is not None and facts.link(used).parent:  # type: ignore[union-attr]
        rest = [link for link in rest if link.name != facts.link(used).parent]  # type: ignore[union-attr]
    with_address = [link for link in rest if link.addresses]
    for among in (with_address, rest):
        if len(among) == 1:
            return among[0].name
    return None


def _only(facts: Facts) -> str | None:
    links = [link for link in facts.links if link.name != "lo" and not link.master]
    return links[0].name if len(links) == 1 else None


def _router(facts: Facts, stop: Stop, destination: Address) -> Address | None:
    """Whom the last gateway sends to where the destination is not on its own network."""
    link = facts.link(stop.egress) if stop.egress else None
    if link is None or link.on_link(destination) is not None:
        return None
    route = best(facts, destination)
    return route.via if route is not None and route.device == stop.egress else None


def _source(facts: Facts | None, stop: Stop, destination: Address) -> Address | None:
    """The address with which the client should send."""
    if facts is None:
        return None
    family = family_of(destination)
    route = best(facts, destination)
    leads_there = route is not None and (route.device, route.via) == (stop.egress, stop.next_hop)
    if route is not None and route.source is not None and leads_there:
        return route.source
    link = facts.link(stop.egress) if stop.egress else None
    own = link.of(family) if link is not None else ()
    if stop.next_hop is not None:
        near = [item.address for item in own if contains(item.network, stop.next_hop)]
        if near:
            return near[0]
    return own[0].address if own else None


def _target(facts: Mapping[str, Facts], used: Sequence[str], destination: Address) -> Stop | None:
    """The host that has the destination's address."""
    for name, each in facts.items():
        if name not in used and (owner := each.owner_of(destination)) is not None:
            return Stop(name, owner.name)
    return None
