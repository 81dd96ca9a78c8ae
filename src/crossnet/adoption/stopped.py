"""What the ports of a cloud let nothing of through today, of a set-up by hand whose hosts are ready."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crossnet.adoption.finding import Finding
from crossnet.adoption.way import Way
from crossnet.facts import Facts
from crossnet.openstack.ports import CloudFacts, Port
from crossnet.openstack.walk import Packet, admits
from crossnet.several import few
from crossnet.values import Network, Protocol, host_network, overlap, show_network

_MOST = 6  # that a sentence names


def stopped(facts: Facts, ways: Sequence[Way]) -> Iterator[Finding]:
    """What the ports of a gateway let nothing of through today, though its hosts are set up for it."""
    if not isinstance(facts.cloud, CloudFacts):
        return
    cloud = facts.cloud
    for way in ways:
        ingress, egress = cloud.ports.get(way.ingress), cloud.ports.get(way.egress)
        if ingress is not None and (unsent := _unsent(ingress, way.to)):
            words = (
                f"no answer from {unsent} gets out by {way.ingress}: port {ingress.shown} may not send them"
            )
            yield _stopping("neutron-antispoof-source", facts, words)
        if ingress is not None and (kept_out := _kept_out(cloud, ingress, way)):
            words = (
                f"nothing of {kept_out} gets in by {way.ingress}: no group of port {ingress.shown} admits it"
            )
            yield _stopping("neutron-security-group", facts, words)
        sources = [] if way.rules else [*map(host_network, way.sources)]
        if egress is not None and (unsent := _unsent(egress, sources)):
            words = f"nothing from {unsent} gets out by {way.egress}: port {egress.shown} may not send it"
            yield _stopping("neutron-antispoof-source", facts, words)


def _stopping(code: str, facts: Facts, text: str) -> Finding:
    return Finding(code, facts.host, text, by_crossnet=True, stops=True)


def _unsent(port: Port, networks: Sequence[Network]) -> str:
    """From which of these networks a port sends nothing at all, in words."""
    if port.secured is not True:
        return ""
    own = [pair.network for pair in port.pairs if pair.mac == port.mac]
    left = [show_network(each) for each in networks if not any(overlap(each, pair) for pair in own)]
    return few(left, _MOST, ", ")


def _kept_out(cloud: CloudFacts, port: Port, way: Way) -> str:
    """Which clients a port lets nothing in from, in words."""
    to = way.to[0].network_address
    left = [
        str(source)
        for source in way.sources
        if all(admits(cloud, port, "ingress", Packet(source, to, each)) is False for each in Protocol)
    ]
    return few(left, _MOST, ", ")
