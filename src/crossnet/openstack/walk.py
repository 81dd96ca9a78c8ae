"""What a port lets through, as its cloud's API tells it: pure.

The anti-spoof check comes first, also for answers; then the security groups, which let answers pass to what they have
let pass (Neutron's iptables and Open vSwitch drivers; measured). Where something is not told the answer is None: who
is in a remote group that cannot be seen, or in a group of addresses. What a port may take and send for DHCP is left
out: no flow of a crossing depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from crossnet.openstack.ports import CloudFacts, GroupRule, Port
from crossnet.values import Address, Family, Protocol, contains, family_of

# What Neutron calls ICMP, and the types of an echo and of its answer (RFC 792, RFC 4443); the code of both is 0.
_ICMP = {Family.V4: "icmp", Family.V6: "ipv6-icmp"}
_ECHO = {Family.V4: (8, 0), Family.V6: (128, 129)}

_HIGHEST = 65535


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet as a port sees it; `port` is that of its destination, None where it is not known.

    One of ICMP is an echo. `is_answer` is whether it answers what the same port has let pass the other way.
    """

    source: Address
    destination: Address
    protocol: Protocol
    port: int | None = None
    is_answer: bool = False


def lets_out(cloud: CloudFacts, port: Port, packet: Packet) -> bool | None:
    """Whether a machine may send a packet by a port."""
    if not port.is_enabled or not may_send(port, packet.source):
        return False
    return admits(cloud, port, "egress", packet)


def lets_in(cloud: CloudFacts, port: Port, packet: Packet) -> bool | None:
    """Whether a packet comes to the machine at a port."""
    return admits(cloud, port, "ingress", packet) if port.is_enabled else False


def may_send(port: Port, source: Address) -> bool:
    """Whether the anti-spoof check lets a source out, in frames with the port's own hardware address."""
    if port.secured is False or source in port.addresses:
        return True
    return any(pair.mac == port.mac and contains(pair.network, source) for pair in port.pairs)


def admits(cloud: CloudFacts, port: Port, direction: str, packet: Packet) -> bool | None:
    """Whether the security groups of a port let a packet pass, in the direction of their rules."""
    if port.secured is False:
        return True
    groups = [cloud.groups.get(each) for each in port.groups]
    if packet.is_answer and all(group is None or group.is_stateful for group in groups):
        return True
    rules = (rule for group in groups if group is not None for rule in group.rules)
    unseen = (None for group in groups if group is None)
    return _any(
        (
            *unseen,
            *(_lets_pass(cloud, port, rule, packet) for rule in rules if rule.direction == direction),
        )
    )


def _lets_pass(cloud: CloudFacts, port: Port, rule: GroupRule, packet: Packet) -> bool | None:
    family = family_of(packet.destination)
    if rule.family is not family:
        return False
    other = packet.source if rule.direction == "ingress" else packet.destination
    return _all((_is_of(rule, packet, family), _is_remote(cloud, port, rule, other)))


def _is_of(rule: GroupRule, packet: Packet, family: Family) -> bool | None:
    """Whether the protocol and the ports of a rule are a packet's."""
    is_icmp = packet.protocol is Protocol.ICMP
    if rule.protocol not in (None, _ICMP[family] if is_icmp else str(packet.protocol)):
        return False
    if rule.protocol is None or rule.ports is None:
        return True
    first, last = rule.ports
    if is_icmp:
        return first in (None, _ECHO[family][packet.is_answer]) and last in (None, 0)
    least, most = first or 0, _HIGHEST if last is None else last
    if packet.port is None:
        return True if (least, most) in ((0, _HIGHEST), (1, _HIGHEST)) else None
    return least <= packet.port <= most


def _is_remote(cloud: CloudFacts, port: Port, rule: GroupRule, other: Address) -> bool | None:
    if rule.remote is not None:
        return contains(rule.remote, other)
    if rule.remote_group is not None:
        return _is_member(cloud, port, rule.remote_group, other)
    return None if rule.remote_addresses is not None else True


def _is_member(cloud: CloudFacts, port: Port, group: str, other: Address) -> bool | None:
    """Whether an address is one of a group's: their pairs count, too."""
    if any(group in each.groups and _holds(each, other) for each in cloud.members):
        return True
    known = cloud.groups.get(group)
    # Those who see a port see the others of its project; of another project's there may be more.
    return False if known is not None and known.project == port.project else None


def _holds(port: Port, wanted: Address) -> bool:
    return wanted in port.addresses or any(contains(pair.network, wanted) for pair in port.pairs)


def _any(answers: Iterable[bool | None]) -> bool | None:
    known = set(answers)
    return True if True in known else None if None in known else False


def _all(answers: Iterable[bool | None]) -> bool | None:
    known = set(answers)
    return False if False in known else None if None in known else True


def groups_of(cloud: CloudFacts, port: Port) -> Iterator[str]:
    """The names of a port's security groups, and the ids of those that cannot be seen."""
    for each in port.groups:
        group = cloud.groups.get(each)
        yield group.name or each if group is not None else each


__all__ = ["Packet", "admits", "groups_of", "lets_in", "lets_out", "may_send"]
