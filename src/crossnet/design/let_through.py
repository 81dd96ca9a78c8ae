"""What ports of a cloud surely do not let through of a crossing when its plan is applied: those of clients too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from crossnet.design.impacts import Impact
from crossnet.facts import Facts
from crossnet.openstack.entry import command
from crossnet.openstack.ports import CloudFacts, GroupRule, Port, SecurityGroup, Unasked
from crossnet.openstack.typed import rule_words
from crossnet.openstack.walk import Packet, admits, groups_of, may_send
from crossnet.path import Client, Path
from crossnet.record import Record
from crossnet.resources import PortSecurity, Resource
from crossnet.resources.port_security import made_at, own_group
from crossnet.several import few
from crossnet.spec import PortSecurity as Wish
from crossnet.values import (
    Address,
    Family,
    Network,
    Protocol,
    Traffic,
    family_of,
    host_network,
    overlap,
    show_network,
)

_MOST = 6  # networks that a sentence names
_ANY = (Traffic(Protocol.ICMP), Traffic(Protocol.TCP), Traffic(Protocol.UDP))
_NOT_MADE = "crossnet's own"  # in the place of the id of a group that is not there yet


@dataclass(frozen=True, slots=True)
class _Plugged:
    """A port as it is when the plan is applied, and what its cloud says of its host."""

    host: str
    interface: str
    cloud: CloudFacts
    port: Port

    def __str__(self) -> str:
        return f"port {self.port.shown} of {self.interface}"


@dataclass(frozen=True, slots=True)
class _Hop:
    """A packet of a crossing at one of its ports, a sample of what `source` sends to `destination`.

    `traffic` is what it is by the words of `allow`.
    """

    at: _Plugged | None
    direction: str
    packet: Packet
    traffic: Traffic
    source: Network
    destination: Network

    @property
    def remote(self) -> Network:
        """The other side of it, as rules of the port name it: one address where some rule names a part of that."""
        is_in = self.direction == "ingress"
        network = self.source if is_in else self.destination
        groups = (
            (self.at.cloud.groups.get(each) for each in self.at.port.groups) if self.at is not None else ()
        )
        named = (rule.remote for group in groups if group is not None for rule in group.rules)
        sample = self.packet.source if is_in else self.packet.destination
        return _unless_parted(network, sample, (each for each in named if each is not None))


def _unless_parted(network: Network, sample: Address, parts: Iterable[Network]) -> Network:
    return host_network(sample) if any(overlap(each, network) for each in parts) else network


def let_through(
    paths: Iterable[Path],
    facts: Mapping[str, Facts],
    records: Mapping[str, Record],
    wanted: Mapping[str, Sequence[Resource]],
) -> Iterator[Impact]:
    """What surely stops there, by a sample of each destination and of what the crossing allows.

    Of what is not told, such as who is in a group of another project, nothing is said.
    """
    for path in paths:
        crossing, gateway = path.crossing, facts[path.gateway]
        if not crossing.cloud:
            continue
        said = gateway.said_by(crossing.cloud)
        if not isinstance(said, CloudFacts):
            yield _unasked(path, said)
            continue
        after = _after(gateway, said, records[path.gateway], wanted[path.gateway])
        ends = [_plugged(gateway, after, name) for name in (path.ingress, path.egress)]
        stopped: dict[tuple[str, str, str], list[_Hop]] = {}
        for client in path.clients:
            for hop in _hops(path, client, facts, *ends):
                if hop.at is not None and (code := _stops(hop.at, hop)):
                    stopped.setdefault((code, hop.at.port.id, hop.direction), []).append(hop)
        for (code, _, _), hops in stopped.items():
            yield _told(code, path, hops)


def _unasked(path: Path, said: Unasked | None) -> Impact:
    return Impact(
        "cloud-unasked",
        f"cloud {path.crossing.cloud}",
        f"says nothing of the ports of {path.gateway}, so what they do not let through is not known: "
        f"{said.seen if said is not None else 'nobody asked'}",
        frozenset((path.crossing.name,)),
    )


def _after(facts: Facts, cloud: CloudFacts, record: Record, wanted: Sequence[Resource]) -> CloudFacts:
    """What the cloud says of a gateway when the plan is applied."""
    want = {one.port: one for one in wanted if isinstance(one, PortSecurity)}
    have = {own.applied.port: own.applied for own in record.owned if isinstance(own.applied, PortSecurity)}
    ports, groups = dict(cloud.ports), dict(cloud.groups)
    for name, port in cloud.ports.items():
        old, new = have.get(port.id), want.get(port.id)
        one = new or old
        if one is None or one.cloud != cloud.cloud:
            continue
        group = own_group(one, facts)
        known = group.id if group is not None else _NOT_MADE
        new = new.knowing(old, facts) if new is not None else None
        ports[name] = made_at(port, old.ours(facts) if old is not None else None, new, known)
        if new is not None and new.rules:
            groups[known] = SecurityGroup(known, new.group, new.project, "", new.rules)
    return replace(cloud, ports=ports, groups=groups)


def _plugged(facts: Facts, cloud: CloudFacts, interface: str | None) -> _Plugged | None:
    port = cloud.ports.get(interface or "")
    return _Plugged(facts.host, interface or "", cloud, port) if port is not None else None


def _hops(
    path: Path, client: Client, facts: Mapping[str, Facts], ingress: _Plugged | None, egress: _Plugged | None
) -> Iterator[_Hop]:
    """What requests of a client, and the answers to them, are at each port that they pass."""
    own = None
    if client.host is not None:
        said = facts[client.host].said_by(path.crossing.cloud)
        own = _plugged(facts[client.host], said, client.interface) if isinstance(said, CloudFacts) else None
    source = _sample(client.network)
    for network in path.destinations:
        destination = _sample(network)
        seen = path.leg.translation.seen_by(destination) if path.leg.translates else source
        there = client.network if not path.leg.translates or seen is None else host_network(seen)
        for traffic in path.crossing.allow or _ANY:
            port = traffic.ports.first if traffic.ports is not None else None
            sent = Packet(source, destination, traffic.protocol, port)
            answer = Packet(destination, source, traffic.protocol, is_answer=True)
            ends = (traffic, client.network, network)
            back = (traffic, network, client.network)
            yield _Hop(own, "egress", sent, *ends)
            yield _Hop(ingress, "ingress", sent, *ends)
            if seen is not None:
                yield _Hop(egress, "egress", replace(sent, source=seen), traffic, there, network)
                yield _Hop(egress, "ingress", replace(answer, destination=seen), traffic, network, there)
            yield _Hop(ingress, "egress", answer, *back)
            yield _Hop(own, "ingress", answer, *back)


def _sample(network: Network) -> Address:
    first = network.network_address
    return first if network.prefixlen == network.max_prefixlen else first + 1


def _stops(at: _Plugged, hop: _Hop) -> str:
    """The code of what surely stops it there; nothing where nothing does."""
    if not at.port.is_enabled:
        return "neutron-port-down"
    if hop.direction == "egress" and not may_send(at.port, hop.packet.source):
        return "neutron-antispoof-source"
    return "neutron-security-group" if admits(at.cloud, at.port, hop.direction, hop.packet) is False else ""


def _told(code: str, path: Path, hops: Sequence[_Hop]) -> Impact:
    at = hops[0].at
    assert at is not None, "only what stops at a port is told"
    words = {
        "neutron-port-down": _down,
        "neutron-antispoof-source": _spoofed,
        "neutron-security-group": _not_admitted,
    }[code]
    return Impact(code, at.host, words(at, path, hops), frozenset((path.crossing.name,)))


def _down(at: _Plugged, path: Path, hops: Sequence[_Hop]) -> str:
    line = command(at.cloud.cloud, "port", "set", "--enable", at.port.id)
    return f"{at} is switched off (admin state down), and nothing passes it: `{line}`"


def _spoofed(at: _Plugged, path: Path, hops: Sequence[_Hop]) -> str:
    pairs = [each.network for each in at.port.pairs]
    sources = list(dict.fromkeys(_unless_parted(hop.source, hop.packet.source, pairs) for hop in hops))
    own = ", ".join(map(str, at.port.addresses)) or "none"
    which = "answers" if hops[0].packet.is_answer else "requests"
    words = [word for each in sources for word in ("--allowed-address", f"ip-address={show_network(each)}")]
    line = command(at.cloud.cloud, "port", "set", *words, at.port.id)
    least = ", or write `port-security: least`" if path.crossing.port_security is Wish.LEAVE else ""
    return (
        f"{at} lets no {which} out that come from {few(list(map(show_network, sources)), _MOST, ', ')}: its addresses "
        f"are {own}, and it needs allowed address pairs: `{line}`{least}"
    )


def _not_admitted(at: _Plugged, path: Path, hops: Sequence[_Hop]) -> str:
    allowed = list(dict.fromkeys(hop.traffic for hop in hops))
    everything = path.crossing.allow is None and len(allowed) == len(_ANY)
    what = "anything" if everything else few(list(map(str, allowed)), _MOST, ", ")
    what = f"answers of {what}" if hops[0].packet.is_answer else what
    groups = [*groups_of(at.cloud, at.port)]
    which = f"no rule of its security group{'s' if len(groups) > 1 else ''} {few(groups, _MOST, ', ')} lets"
    remote = few(list(dict.fromkeys(show_network(hop.remote) for hop in hops)), _MOST, ", ")
    way = f"in {what} from {remote}" if hops[0].direction == "ingress" else f"out {what} to {remote}"
    group = at.cloud.groups.get(at.port.groups[0]) if at.port.groups else None
    rules = dict.fromkeys(_rule(hop, everything=everything) for hop in hops)
    words = ("security", "group", "rule", "create")
    commands = [
        command(at.cloud.cloud, *words, *rule_words(rule), group.id) for rule in rules if group is not None
    ]
    todo = few([f"`{each}`" for each in commands], 3, ", ") if commands else "put it into one that does"
    return f"{at}: {which if groups else 'it is in no security group, so nothing lets'} {way}: {todo}"


def _rule(hop: _Hop, *, everything: bool) -> GroupRule:
    """What would admit it."""
    family, ports = family_of(hop.remote), hop.traffic.ports
    is_icmp6 = hop.packet.protocol is Protocol.ICMP and family is Family.V6
    protocol = "ipv6-icmp" if is_icmp6 else str(hop.packet.protocol)
    return GroupRule(
        hop.direction,
        family,
        None if everything else protocol,
        (ports.first, ports.last) if ports is not None and not hop.packet.is_answer else None,
        hop.remote,
    )


__all__ = ["let_through"]
