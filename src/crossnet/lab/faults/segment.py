"""Faults of what lies between hosts: the switch, where a cloud has port security and security groups."""

from __future__ import annotations

from crossnet.lab.faults.fault import Fault
from crossnet.lab.faults.making import dropping
from crossnet.lab.faults.scene import Scene


def faults(on: Scene) -> tuple[Fault, ...]:
    client, ingress, egress, target = on.client, on.ingress, on.egress, on.target
    chain = "type filter hook prerouting priority -200;"
    word = on.word
    # Neighbour discovery goes from and to link-local addresses; a port lets it through.
    own = f"!= {{ {ingress.address}, fe80::/10, ff00::/8 }}" if on.v6 else f"!= {ingress.address}"

    def at(network: str, name: str, what: str, text: str, *codes: str) -> Fault:
        return dropping(name, what, codes, network, "bridge", chain, text, on_switch=True)

    return (
        at(
            ingress.network,
            "port-security",
            f"the port of {ingress.host} takes only packets that come from {ingress.address}: no answers of others",
            f"ether saddr {ingress.mac} {word} saddr {own} drop",
            "lost-between",
            "neutron-antispoof-source",
        ),
        at(
            ingress.network,
            "port-destination",
            f"the port of {ingress.host} takes only packets that are for {ingress.address}: no requests for others",
            f"ether daddr {ingress.mac} {word} daddr {own} drop",
            "lost-between",
            "neutron-antispoof-destination",
        ),
        at(
            client.network,
            "security-group",
            f"the port of {client.host} admits nothing that comes from {target.address}",
            f"ether daddr {client.mac} {word} saddr {target.address} drop",
            "lost-between",
            "neutron-security-group",
        ),
        at(
            target.network,
            "target-port",
            f"the port of {target.host} admits nothing that comes from {egress.address}",
            f"ether daddr {target.mac} {word} saddr {egress.address} drop",
            "destination-silent",
            "lost-between",
            "neutron-security-group",
        ),
    )
