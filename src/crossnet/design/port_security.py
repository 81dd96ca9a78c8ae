"""What the ports of a gateway have to let through in an OpenStack cloud, and what that opens besides."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from crossnet.design.at_cloud import cloud_of_paths, port_unknown
from crossnet.design.impacts import Impact
from crossnet.design.question import Refused
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.openstack.ports import ADDRESS_PAIRS, NORMAL, CloudFacts, GroupRule, Port, SecurityGroup
from crossnet.path import Path
from crossnet.record import Record
from crossnet.resources import PortSecurity
from crossnet.resources.port_security import Kept, address_at, made_at, own_group, shown_rule, shown_traffic
from crossnet.several import few
from crossnet.spec import PortSecurity as Wish
from crossnet.values import (
    Family,
    Network,
    Protocol,
    Traffic,
    family_of,
    host_network,
    show_network,
    together,
)

_LEAVE = "Or write `port-security: leave`, and open the port by other means."
_MOST = 6  # ports that a sentence names
USUAL_PAIRS = 10  # neutron.conf: max_allowed_address_pair; no API tells a cloud's own


def port_security(
    facts: Facts, record: Record, paths: Sequence[Path]
) -> tuple[tuple[PortSecurity, ...], tuple[Impact, ...]]:
    """What is to be opened at the ports of a gateway for all that it carries; Refused where that cannot be told."""
    asked = [path for path in paths if path.crossing.cloud and path.crossing.port_security is not Wish.LEAVE]
    if not asked:
        return (), ()
    cloud = cloud_of_paths(facts, asked)
    wanted: list[PortSecurity] = []
    impacts: list[Impact] = []
    refusals: list[Refusal] = []
    for interface in dict.fromkeys(each for path in asked for each in (path.ingress, path.egress)):
        port = cloud.ports.get(interface)
        here = [path for path in asked if path.ingress == interface or _sent(path, interface, port)]
        if not here:
            continue
        pairs = together([each for path in here for each in _sent(path, interface, port)])
        rules = _rules(here, interface)
        is_off = any(one.crossing.port_security is Wish.DISABLE for one in here)
        if port is None:
            refusals.append(port_unknown(facts, cloud, interface, _LEAVE))
            continue
        if port.secured is False and not _is_off_by_us(record, port):
            impacts.append(_off_already(facts, port, interface, here))
            continue
        if refusal := _unable(facts, cloud, port, interface, is_off=is_off, admits=bool(rules)):
            refusals.append(refusal)
            continue
        made = PortSecurity(
            cloud.cloud,
            port.id,
            port.project,
            interface,
            address_at(facts, interface),
            pairs=() if is_off else pairs,
            rules=() if is_off else rules,
            off=Kept() if is_off else None,
        )
        wanted.append(made)
        known = record.find(made)
        applied = known.applied if known is not None and isinstance(known.applied, PortSecurity) else None
        impacts += _impacts(facts, cloud, port, made.knowing(applied, facts))
    if refusals:
        raise Refused(*refusals)
    return tuple(wanted), tuple(impacts)


def _sent(path: Path, interface: str, port: Port | None) -> list[Network]:
    """What a port sends for a crossing that is not its own.

    Answers of the destinations; requests that nobody translates, or that get an address which is not the port's, such
    as one that moves between gateways.
    """
    found: list[Network] = []
    if path.ingress == interface:
        found += path.destinations
    if path.egress == interface and not path.leg.translates:
        found += [client.network for client in path.clients]
    elif path.egress == interface and port is not None:
        others = (each for each in path.leg.translation.addresses if each not in port.addresses)
        found += map(host_network, others)
    return found


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


def _unable(
    facts: Facts, cloud: CloudFacts, port: Port, interface: str, *, is_off: bool, admits: bool
) -> Refusal | None:
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
    stateless = [
        group.name
        for each in port.groups
        if (group := cloud.groups.get(each)) is not None and not group.is_stateful
    ]
    if not is_off and admits and stateless:
        return refusal(
            f"its security group {few(stateless, _MOST, ', ')} is stateless, and a port's groups are all of one kind; "
            "crossnet's own is stateful",
            f"Put the port into stateful groups. {_LEAVE}",
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
    if port.vnic != NORMAL:
        yield Impact(
            "port-not-switched",
            facts.host,
            f"port {port.shown} of {made.interface} is of the type {port.vnic}: its packets go by the network card, "
            "and not all by the cloud's switch. Which of pairs and security groups count there its driver decides",
        )
    if made.off is not None:
        yield Impact(
            "port-security-off",
            facts.host,
            f"port security of {made.shown_at} (port {port.shown}) is switched off, and its security groups go: the "
            "cloud lets it send from any address, and lets anybody in its network reach every service of the host "
            "there",
        )
        yield from _as_no_member(facts, cloud, port, made, made.off.groups)
        return
    applied = made.applied
    then = made_at(port, applied, replace(made, rules=()), None if applied is None else _own(made, facts))
    if made.pairs:
        shown = few([*map(show_network, made.pairs)], _MOST, ", ")
        yield Impact(
            "port-may-send",
            facts.host,
            f"the cloud lets {made.shown_at} (port {port.shown}) send packets that come from {shown}",
        )
        yield from _in_shared_groups(facts, cloud, then, made.pairs)
    if len(then.pairs) > USUAL_PAIRS:
        yield Impact(
            "many-address-pairs",
            facts.host,
            f"port {port.shown} would have {len(then.pairs)} allowed address pairs; a cloud allows {USUAL_PAIRS} where "
            "nobody has set max_allowed_address_pair otherwise, and no API tells: it may refuse. Fewer and larger "
            "networks in `to` need fewer",
        )
    if made.rules:
        shown = few([*map(shown_rule, made.rules)], _MOST, ", ")
        yield Impact(
            "port-admits", facts.host, f"the cloud lets {made.shown_at} (port {port.shown}) take {shown}"
        )


def _own(made: PortSecurity, facts: Facts) -> str | None:
    group = own_group(made, facts)
    return group.id if group is not None else None


@dataclass(frozen=True, slots=True)
class _Naming:
    """A group with rules of one direction that name groups of a port: what they are called, and what the rules let."""

    group: SecurityGroup
    direction: str
    names: str
    rules: tuple[GroupRule, ...]

    @property
    def families(self) -> frozenset[Family]:
        return frozenset(rule.family for rule in self.rules)

    @property
    def traffic(self) -> str:
        """What they admit, where it is not everything."""
        if any(rule.protocol is None for rule in self.rules):
            return ""
        return " by " + few(list(dict.fromkeys(map(shown_traffic, self.rules))), _MOST, ", ")


def _naming(cloud: CloudFacts, groups: Collection[str]) -> Iterator[_Naming]:
    for group in cloud.referring:
        for direction in ("ingress", "egress"):
            rules = tuple(
                one for one in group.rules if one.direction == direction and one.remote_group in groups
            )
            if rules:
                remote = {one.remote_group for one in rules}
                names = sorted(one.name for one in cloud.groups.values() if one.id in remote)
                yield _Naming(group, direction, few(names, _MOST, ", "), rules)


def _members(cloud: CloudFacts, group: SecurityGroup, but: str = "") -> str:
    """The ports in a group, and whether there may be others."""
    ports = [one.shown for one in cloud.members if group.id in one.groups and one.id != but]
    hidden = [] if cloud.would_see(group.project) else ["those of other projects, which are not seen"]
    return few([*ports, *hidden], _MOST, ", ")


def _in_shared_groups(
    facts: Facts, cloud: CloudFacts, port: Port, pairs: Sequence[Network]
) -> Iterator[Impact]:
    """The members of a group that a rule names are also what its ports' address pairs hold (measured)."""
    for one in _naming(cloud, port.groups):
        own = [show_network(each) for each in pairs if family_of(each) in one.families]
        if not own:
            continue
        shown, ports = few(own, _MOST, ", "), _members(cloud, one.group) or "none that may be seen"
        if one.direction == "ingress":
            said = f"admits the members of {one.names}"
            then = f"from {shown} everybody gets in{one.traffic} on its ports ({ports})"
        else:
            said = f"lets its ports send to the members of {one.names}"
            then = f"its ports ({ports}) may send to {shown}{one.traffic}"
        yield Impact(
            "pairs-in-shared-group",
            facts.host,
            f"the security group {one.group.name} {said}, and what {port.shown} may send counts as one: {then}. A port "
            "in a group that no rule names opens nothing more",
        )
    if unseen := [each for each in port.groups if each not in cloud.groups]:
        yield Impact(
            "pairs-in-shared-group",
            facts.host,
            f"the security group {few(unseen, _MOST, ', ')} of {port.shown} is not seen with these credentials: where "
            f"a rule admits its members, from {few(list(map(show_network, pairs)), _MOST, ', ')} everybody gets in",
        )


def _as_no_member(
    facts: Facts, cloud: CloudFacts, port: Port, made: PortSecurity, groups: Collection[str]
) -> Iterator[Impact]:
    """A port without port security is in no group, so what admits the members of its groups admits it no more."""
    for one in _naming(cloud, groups):
        others = _members(cloud, one.group, but=port.id)
        if one.direction == "ingress" and others:
            yield Impact(
                "member-no-more",
                facts.host,
                f"the security group {one.group.name} admits the members of {one.names}, and {port.shown} is none "
                f"while its port security is off: what {made.shown_at} sends by itself to ports in {one.group.name} "
                f"({others}){one.traffic} does not get in any more, but as answers",
            )


__all__ = ["port_security"]
