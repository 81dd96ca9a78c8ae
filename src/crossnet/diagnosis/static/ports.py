"""What ports of a cloud do not let through, of a flow that the hosts themselves let pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crossnet.diagnosis.course import Stop
from crossnet.diagnosis.finding import Direction, Finding, Remedy
from crossnet.diagnosis.signs import UNSUITABLE
from crossnet.diagnosis.static.search import Search, one_address, requests_leaving
from crossnet.facts import Facts
from crossnet.netfilter.foreign import Field
from crossnet.openstack.ports import AddressPair, CloudFacts, Port
from crossnet.openstack.walk import Packet, admits, groups_of, may_send
from crossnet.several import first_of
from crossnet.translation import Untranslated
from crossnet.values import Address, Network, Protocol, family_of, host_network, show_network

# What a port is that nobody has bound, or whose binding failed (Neutron's constants); of a cloud whose agents do not
# tell of it, it says nothing.
_UNBOUND = ("DOWN", "ERROR")


@dataclass(frozen=True, slots=True)
class _Plugged:
    """An interface of a host, with its port, as packets of one direction pass it: out of the host, or in."""

    host: str
    device: str
    hook: str
    direction: Direction
    cloud: CloudFacts
    port: Port

    @property
    def is_out(self) -> bool:
        return self.hook == "egress"

    def __str__(self) -> str:
        return f"port {self.port.shown} of {self.device} in cloud {self.cloud.cloud}"


class OfPorts(Search):
    """What anti-spoofing, security groups and ports that are off stop, hop by hop, in both directions."""

    def _ports(self) -> None:
        if not any(isinstance(each.cloud, CloudFacts) for each in self.facts.values()):
            return
        stops = self.course.all
        for number, stop in enumerate(self.course.stops):
            after = stops[number + 1] if number + 1 < len(stops) else None
            sent_as = self._sent_as(stop)
            if sent_as is not None and self._is_meant_to_send(stop, sent_as):
                self._spoofed(stop.host, stop.egress, Direction.FORWARD, sent_as, host_network(sent_as))
            if after is not None:
                answered = self.probe.destination
                network = host_network(answered) if after == self.course.target else self._network()
                self._spoofed(after.host, after.ingress, Direction.REPLY, answered, network)
            for each in self._plugged(stop, after):
                self._is_off(each)
                if sent_as is not None:
                    self._not_admitted(each, self._packet(each, sent_as))

    def _sent_as(self, stop: Stop) -> Address | None:
        """As whom packets leave a host, where that is one address."""
        if self.course.client.host in self.facts:
            walked = self._walked(self.mended)
            here = requests_leaving(walked, stop.host)
            if here is not None:
                family = family_of(self.probe.destination)
                return one_address(walked.space, here.fixed, Field.SOURCE6, family)
        if stop == self.course.client:
            return self.course.source
        return self.source if stop == self.course.stops[-1] else None

    def _is_meant_to_send(self, stop: Stop, source: Address) -> bool:
        """Whether that is as whom it is to send, when everything before is mended."""
        if stop == self.course.client:
            facts = self.facts.get(stop.host)
            return facts is None or facts.owner_of(source) is not None
        crossing = self.course.crossing
        if crossing is not None and isinstance(crossing.translate, Untranslated):
            return True
        return not any(each.code in UNSUITABLE and each.host == stop.host for _, each in self.found)

    def _plugged(self, stop: Stop, after: Stop | None) -> Iterator[_Plugged]:
        """The ports on the segment behind a host, in both directions."""
        forward, reply = Direction.FORWARD, Direction.REPLY
        ends = [(stop.host, stop.egress, "egress", forward), (stop.host, stop.egress, "ingress", reply)]
        if after is not None:
            ends[1:1] = [
                (after.host, after.ingress, "ingress", forward),
                (after.host, after.ingress, "egress", reply),
            ]
        for host, device, hook, direction in ends:
            plugged = self._port(host, device, hook, direction)
            if plugged is not None:
                yield plugged

    def _port(self, host: str, device: str | None, hook: str, direction: Direction) -> _Plugged | None:
        facts = self.facts.get(host)
        if facts is None or device is None or not isinstance(facts.cloud, CloudFacts):
            return None
        port = facts.cloud.ports.get(device)
        return _Plugged(host, device, hook, direction, facts.cloud, port) if port is not None else None

    def _packet(self, at: _Plugged, sent_as: Address) -> Packet:
        """The flow's packet as it passes a port; the port of who has asked is the kernel's choice."""
        probe = self.probe
        if at.direction is Direction.FORWARD:
            return Packet(sent_as, probe.destination, probe.protocol, probe.port)
        return Packet(probe.destination, sent_as, probe.protocol, is_answer=True)

    def _spoofed(
        self, host: str, device: str | None, direction: Direction, source: Address, network: Network
    ) -> None:
        at = self._port(host, device, "egress", direction)
        if at is None or may_send(at.port, source):
            return
        own = first_of([str(each) for each in at.port.addresses]) or "none"
        pairs = first_of([_pair(each, at.port) for each in at.port.pairs]) or "none"
        words = (
            f"{at} lets nothing out from {source}: its addresses are {own}, its allowed address pairs {pairs}"
        )
        self._stopped("neutron-antispoof-source", at, words, ends=(source, None), network=network)

    def _is_off(self, at: _Plugged) -> None:
        if not at.port.is_enabled:
            self._stopped("neutron-port-down", at, f"{at} is switched off")
        elif at.port.status in _UNBOUND and not _is_used(self.facts[at.host], at.device):
            self._stopped("neutron-port-down", at, f"{at} has the status {at.port.status}", certain=False)

    def _not_admitted(self, at: _Plugged, packet: Packet) -> None:
        admitted = admits(at.cloud, at.port, at.hook, packet)
        if admitted:
            return
        known, groups, what = admitted is False, list(groups_of(at.cloud, at.port)), _shown(packet, at)
        if groups:
            which = f"the security group{'s' if len(groups) > 1 else ''} {first_of(groups)}"
            words = f"{at}: no rule {'' if known else 'that can be seen '}of {which} lets {what}"
        else:
            words = f"{at} has no security group: nothing lets {what}"
        ends = (packet.source, packet.destination)
        self._stopped("neutron-security-group", at, words, certain=known, ends=ends)

    def _stopped(
        self,
        code: str,
        at: _Plugged,
        words: str,
        *,
        certain: bool = True,
        ends: tuple[Address | None, Address | None] = (None, None),
        network: Network | None = None,
    ) -> None:
        remedy = Remedy(device=at.device, destination=network)
        found = Finding(
            code, at.host, at.device, at.direction, words, certain, at.hook, remedy=remedy, ends=ends
        )
        self._add(found, "port-out" if at.is_out else "port-in")


def _pair(pair: AddressPair, port: Port) -> str:
    """A pair with another hardware address, as VRRP has one, lets nothing out in frames with the port's own."""
    shown = show_network(pair.network)
    return shown if pair.mac == port.mac else f"{shown} in frames of {pair.mac}"


def _is_used(facts: Facts, device: str) -> bool:
    """Whether packets were seen at an interface lately: crossnet's own, or those of a neighbour."""
    link = facts.link(device)
    own = link is not None and any(item.address == facts.reached_at for item in link.addresses)
    return own or any(each.device == device and each.state == "REACHABLE" for each in facts.neighbours)


def _shown(packet: Packet, at: _Plugged) -> str:
    """`in tcp/443 from 10.0.43.15`."""
    what = "echo answers" if packet.is_answer else "echoes"
    if packet.protocol is not Protocol.ICMP:
        what = f"{packet.protocol}" + (f"/{packet.port}" if packet.port is not None else " answers")
    return f"out {what} to {packet.destination}" if at.is_out else f"in {what} from {packet.source}"
