"""Faults of the gateway beside its rules: links, addresses, forwarding, routes, the size of packets."""

from __future__ import annotations

from crossnet.lab.faults import scripts
from crossnet.lab.faults.fault import Fault, Step
from crossnet.lab.faults.making import (
    Pair,
    added,
    address_missing,
    forgotten,
    link_down,
    route,
    setting,
    table,
)
from crossnet.lab.faults.scene import Scene


def faults(on: Scene) -> tuple[Fault, ...]:
    client, ingress, egress, target = on.client, on.ingress, on.egress, on.target
    host = ingress.host
    forwarding = "net/ipv6/conf/all/forwarding" if on.v6 else "net/ipv4/ip_forward"
    every = (
        link_down("gateway-link-down", f"{egress.interface} of {host} is down", egress),
        forgotten(
            address_missing(
                "gateway-address-missing",
                f"{host} has lost {ingress.address}, the next hop of {client.host}",
                ingress,
                "address-missing",
            ),
            client,
            ingress,
        ),
        setting(
            "forwarding-off",
            f"{host} does not forward",
            ("ip-forward-disabled",),
            host,
            forwarding,
            "0",
            of_crossing=True,
        ),
        added(
            "gateway-blackhole",
            f"{host} has a blackhole route for {target.address}",
            ("route-blackhole",),
            (
                Step(host, (*on.ip, "route", "add", "blackhole", target.alone)),
                Step(host, (*on.ip, "route", "del", "blackhole", target.alone)),
            ),
        ),
        added(
            "prohibit-rule",
            f"a policy rule of {host} refuses what comes from {client.address}",
            ("route-prohibit", "policy-rule-diverts"),
            (
                Step(host, (*on.ip, "rule", "add", "from", client.alone, "prohibit", "pref", "1000")),
                Step(host, (*on.ip, "rule", "del", "pref", "1000")),
            ),
        ),
        added(
            "gateway-route-elsewhere",
            f"{host} has a route that leads {target.address} back to where {client.host} is",
            ("gateway-route-elsewhere", "forwarding-loop"),
            route(on, host, target.alone, "via", str(ingress.vacant), "dev", ingress.interface),
        ),
        added(
            "destination-taken",
            f"{host} has {target.address} itself, and answers in its place",
            ("destination-is-local",),
            (
                Step(host, ("ip", "address", "add", target.alone, "dev", "lo")),
                Step(host, ("ip", "address", "del", target.alone, "dev", "lo")),
            ),
        ),
        _size(
            on,
            "small-mtu",
            f"{egress.interface} of {host} carries packets of 1300 bytes at most",
            "mtu-exceeded",
        ),
        _size(
            on,
            "mtu-black-hole",
            f"{egress.interface} of {host} carries 1300 bytes at most, and {host} tells nobody",
            "pmtu-black-hole",
            table(
                "mtu-black-hole",
                host,
                "inet",
                "type filter hook output priority 0;",
                "icmpv6 type packet-too-big drop"
                if on.v6
                else "icmp type destination-unreachable icmp code 4 drop",
            ),
        ),
    )
    return every if on.v6 else (*every, *_of_ipv4(on))


def _size(on: Scene, name: str, what: str, code: str, *more: Pair) -> Fault:
    host, interface = on.egress.host, on.egress.interface
    return Fault(
        name,
        what,
        (code,),
        (*(do for do, _ in more), Step(host, (*scripts.SET_MTU, interface, "1300"))),
        (
            Step(host, (*scripts.SET_MTU_BACK, interface, "1300")),
            *(back for _, back in reversed(more)),
            # What it was told about the path lasts ten minutes.
            Step(on.client.host, (*on.ip, "route", "flush", "cache")),
        ),
        (Step(host, (*scripts.MTU, interface)),),
    )


def _of_ipv4(on: Scene) -> tuple[Fault, ...]:
    """What IPv6 does not have: forwarding, a reverse path filter and silence for each interface, martians."""
    client, ingress, egress = on.client, on.ingress, on.egress
    host, conf = ingress.host, f"net/ipv4/conf/{ingress.interface}"
    return (
        setting(
            "interface-forwarding-off",
            f"{host} forwards, but not what comes in by {ingress.interface}",
            ("interface-forwarding-disabled",),
            host,
            f"{conf}/forwarding",
            "0",
            of_crossing=True,
        ),
        setting(
            "reverse-path-filter",
            f"{host} drops what comes from {client.address}: its way back there is {egress.interface}",
            ("reverse-path-filter",),
            host,
            f"{conf}/rp_filter",
            "1",
            route(on, host, client.alone, "via", str(egress.vacant), "dev", egress.interface),
        ),
        forgotten(
            setting(
                "arp-silent",
                f"{host} answers no ARP on {ingress.interface}",
                ("arp-not-answered", "next-hop-unresolved"),
                host,
                f"{conf}/arp_ignore",
                "8",
            ),
            client,
            ingress,
        ),
        added(
            "source-taken",
            f"{host} has {client.address} too, so it believes nobody else who sends from it",
            ("martian-source", "duplicate-address"),
            (
                Step(host, ("ip", "address", "add", client.alone, "dev", "lo")),
                Step(host, ("ip", "address", "del", client.alone, "dev", "lo")),
            ),
        ),
    )
