"""What the ports of a gateway have to let through in an OpenStack cloud, and what that opens besides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from crossnet.design.at_cloud import cloud_of_paths, port_unknown
from crossnet.design.impacts import Impact
from crossnet.design.question import Refused
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.openstack.ports import ADDRESS_PAIRS, CloudFacts, GroupRule, Port
from crossnet.path import Path
from crossnet.record import Record
from crossnet.resources import PortSecurity
from crossnet.resources.port_security import Kept, shown_rule
from crossnet.several import few
from crossnet.spec import PortSecurity as Wish
from crossnet.values import Network, Protocol, Traffic, family_of, show_network, together

_LEAVE = "Or write `port-security: leave`, and open the port by other means."
_MOST = 6  # ports that a sentence names


def port_security(
    facts: Facts, record: Record, paths: Sequence[Path]
) -> tuple[tuple[PortSecurity, ...], tuple[Impact, ...]]:
    """What is to be opened at the ports of a gateway for all that it carries; Refused where that cannot be told."""
    asked = [path for path in paths if path.crossing.cloud]
    if not asked:
        return (), ()
    cloud = cloud_of_paths(facts, asked)
    wanted: list[PortSecurity] = []
    impacts: list[Impact] = []
    refusals: list[Refusal] = []
    for interface in dict.fromkeys(each for path in asked for each in (path.ingress, path.egress)):
        here = [path for path in asked if path.crossing.port_security is not Wish.LEAVE]
        pairs, rules = _pairs(here, interface), _rules(here, interface)
        if not pairs and not rules:
            continue
        is_off = any(one.crossing.port_security is Wish.DISABLE for one in here)
        port = cloud.ports.get(interface)
        if port is None:
            refusals.append(port_unknown(facts, cloud, interface, _LEAVE))
            continue
        if port.secured is False and not _is_off_by_us(record, port):
            impacts.append(_off_already(facts, port, interface, here))
            continue
        if refusal := _unable(facts, cloud, port, interface, is_off=is_off):
            refusals.append(refusal)
            continue
        made = PortSecurity(
            cloud.cloud,
            port.id,
            port.project,
            interface,
            _address(facts, interface),
            pairs=() if is_off else pairs,
            rules=() if is_off else rules,
            off=Kept() if is_off else None,
        )
        wanted.append(made)
        impacts += _impacts(facts, cloud, port, made)
    if refusals:
        raise Refused(*refusals)
    return tuple(wanted), tuple(impacts)


def _pairs(paths: Iterable[Path], interface: str) -> tuple[Network, ...]:
    """What a port sends that is not its own: answers of the destinations, and requests that nobody translates."""
    found: list[Network] = []
    for path in paths:
        if path.ingress == interface:
            found += path.destinations
        if path.egress == interface and not path.leg.translates:
            found += [client.network for client in path.clients]
    return together(found)


def _rules(paths: Iterable[Path], interface: str) -> tuple[GroupRule, ...]:
    """What a port admits of the clients; answers of the destinations pass as those of what it has sent."""
    found = [
        rule
        for path in paths
        if path.ingress == interface
        for client in path.clients
        for rule in _admitting(client.network, path.crossing.allow)
    ]
    return tuple(dict.fromkeys(found))


def _admitting(client: Network, allow: Sequence[Traffic] | None) -> Iterator[GroupRule]:
    family = family_of(client)
    if allow is None:
        yield GroupRule("ingress", family, remote=client)
    for traffic in allow or ():
        protocol = str(traffic.protocol)
        if traffic.protocol is Protocol.ICMP and family.value == 6:
            protocol = "ipv6-icmp"
        ports = (traffic.ports.first, traffic.ports.last) if traffic.ports else None
        yield GroupRule("ingress", family, protocol, ports, client)


def _is_off_by_us(record: Record, port: Port) -> bool:
    applied = (owned.applied for owned in record.owned)
    return any(
        isinstance(one, PortSecurity) and one.port == port.id and one.off is not None for one in applied
    )


def _address(facts: Facts, interface: str) -> str:
    link = facts.link(interface)
    return str(link.addresses[0].address) if link is not None and link.addresses else ""


def _unable(facts: Facts, cloud: CloudFacts, port: Port, interface: str, *, is_off: bool) -> Refusal | None:
    """Why a port cannot be opened in the way that is asked for."""

    def refusal(message: str, todo: str) -> Refusal:
        return Refusal("cloud-cannot", facts.host, f"port {port.shown} of {interface}: {message}", todo)

    if is_off and port.secured is None:
        return refusal(
            f"port security cannot be switched off: cloud {cloud.cloud} has no extension `port-security`",
            "Write `port-security: least`.",
        )
    if not is_off and ADDRESS_PAIRS not in cloud.extensions:
        return refusal(
            f"it cannot be let send other addresses: cloud {cloud.cloud} has no extension `{ADDRESS_PAIRS}`",
            f"Write `port-security: disable`, which opens the port for everybody. {_LEAVE}",
        )
    return None


def _off_already(facts: Facts, port: Port, interface: str, paths: Sequence[Path]) -> Impact:
    return Impact(
        "port-security-off",
        facts.host,
        f"port security of {interface} (port {port.shown}) is off already: the cloud lets it send and take anything, "
        "also what no crossing names",
        frozenset(path.crossing.name for path in paths if interface in (path.ingress, path.egress)),
    )


def _impacts(facts: Facts, cloud: CloudFacts, port: Port, made: PortSecurity) -> Iterator[Impact]:
    if made.off is not None:
        yield Impact(
            "port-security-off",
            facts.host,
            f"port security of {made.shown_at} (port {port.shown}) is switched off, and its security groups go: the "
            "cloud lets it send from any address, and lets anybody in its network reach every service of the host "
            "there",
        )
        return
    if made.pairs:
        shown = few([*map(show_network, made.pairs)], _MOST, ", ")
        yield Impact(
            "port-may-send",
            facts.host,
            f"the cloud lets {made.shown_at} (port {port.shown}) send packets that come from {shown}",
        )
        yield from _in_shared_groups(facts, cloud, port, shown)
    if made.rules:
        shown = few([*map(shown_rule, made.rules)], _MOST, ", ")
        yield Impact(
            "port-admits", facts.host, f"the cloud lets {made.shown_at} (port {port.shown}) take {shown}"
        )


def _in_shared_groups(facts: Facts, cloud: CloudFacts, port: Port, shown: str) -> Iterator[Impact]:
    """The members of a group that a rule names are also what its ports' address pairs hold (measured)."""
    for group in cloud.referring:
        rules = [one for one in group.rules if one.direction == "ingress" and one.remote_group in port.groups]
        if not rules:
            continue
        remote = {one.remote_group for one in rules}
        named = {one.name for one in cloud.groups.values() if one.id in remote}
        ports = [one.shown for one in cloud.members if group.id in one.groups]
        yield Impact(
            "pairs-in-shared-group",
            facts.host,
            f"the security group {group.name} admits the members of {few(sorted(named), _MOST, ', ')}, and what "
            f"{port.shown} may send counts as one: from {shown} everybody gets in on its ports "
            f"({few(ports, _MOST, ', ') or 'none that may be seen'}). A port in a group that no rule names opens "
            "nothing more",
        )


__all__ = ["port_security"]
