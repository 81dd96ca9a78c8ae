"""Ports of a cloud that are wider than a set-up by hand needs, and the commands that narrow them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from crossnet.adoption.finding import Finding
from crossnet.adoption.way import Way
from crossnet.facts import Facts
from crossnet.openstack.entry import command
from crossnet.openstack.ports import AddressPair, CloudFacts, Port
from crossnet.openstack.typed import pair_words
from crossnet.several import few
from crossnet.values import (
    Network,
    contains,
    host_network,
    show_network,
    together,
)
from crossnet.verdict import Fix

_MOST = 6  # that a sentence names


def ports_of_gateway(facts: Facts, ways: Sequence[Way]) -> Iterator[Finding]:
    """What the ports of a gateway let through that its crossings do not need."""
    if not isinstance(facts.cloud, CloudFacts):
        return
    cloud = facts.cloud
    for interface in dict.fromkeys(name for way in ways for name in (way.ingress, way.egress)):
        port = cloud.ports.get(interface)
        if port is None:
            continue
        sends = _sent_by(ways, interface)
        if port.secured is False:
            yield _off(facts, cloud, port, interface, sends)
        wide = [pair for pair in port.pairs if not any(contains(each, pair.network) for each in sends)]
        if wide:
            shown = [pair.written or show_network(pair.network) for pair in wide]
            yield Finding(
                "pairs-wider",
                facts.host,
                f"the cloud lets {interface} (port {port.shown}) send packets that come from "
                f"{few(shown, _MOST, ', ')}, which is more than the crossing needs",
                fix=(
                    _at_cloud(
                        cloud,
                        *("port", "unset", *pair_words(wide), port.id),
                        warning="if nothing else there needs them, such as a virtual address",
                    ),
                ),
            )


def _sent_by(ways: Sequence[Way], interface: str) -> tuple[Network, ...]:
    """What an interface sends that is not its own: answers of destinations, and requests that nobody translates."""
    answers = [network for way in ways if way.ingress == interface for network in way.to]
    requests = [
        host_network(source)
        for way in ways
        if way.egress == interface and not way.rules
        for source in way.sources
    ]
    return together([*answers, *requests])


def _off(
    facts: Facts, cloud: CloudFacts, port: Port, interface: str, sends: Sequence[Network] = ()
) -> Finding:
    """Port security that is off: nobody knows any more which security groups the port had."""
    pairs = pair_words(AddressPair(each, "") for each in sends)
    return Finding(
        "port-security-off",
        facts.host,
        f"port security of {interface} (port {port.shown}) is off: the cloud lets it send and take anything"
        + ("" if sends else ", and the crossing needs nothing of that"),
        fix=(
            _at_cloud(
                cloud,
                *("port", "set", "--enable-port-security", "--security-group", "GROUP"),
                *pairs,
                port.id,
                warning="in place of GROUP one that lets you in there: switching port security off has lost the "
                "groups, and without one nobody reaches that interface",
            ),
        ),
    )


def _at_cloud(cloud: CloudFacts, *words: str, warning: str = "") -> Fix:
    return Fix(f"cloud {cloud.cloud}", (command(cloud.cloud, *words),), warning=warning)


def ports_of_clients(ways: Sequence[Way], facts: Mapping[str, Facts]) -> Iterator[Finding]:
    """The same of clients, whose ports need nothing."""
    for name in dict.fromkeys(name for way in ways for name in way.clients):
        cloud = facts[name].cloud
        if isinstance(cloud, CloudFacts):
            off = ((interface, port) for interface, port in cloud.ports.items() if port.secured is False)
            yield from (_off(facts[name], cloud, port, interface) for interface, port in off)
