"""Faults of the target, which crossnet reaches only where the spec names it."""

from __future__ import annotations

from crossnet.lab.faults.fault import Fault, Step
from crossnet.lab.faults.making import added, address_missing, dropping, forgotten, link_down, setting
from crossnet.lab.faults.scene import Scene


def faults(on: Scene) -> tuple[Fault, ...]:
    egress, target = on.egress, on.target
    host = target.host
    incoming = "type filter hook input priority 0;"
    return (
        forgotten(
            link_down(
                "target-down",
                f"{target.interface} of {host} is down",
                target,
                "destination-absent",
                "link-down",
            ),
            egress,
            target,
        ),
        forgotten(
            address_missing(
                "target-address-missing", f"{host} has lost {target.address}", target, "destination-absent"
            ),
            egress,
            target,
        ),
        dropping(
            "target-filter",
            f"a firewall on {host} drops what comes from {egress.address}",
            ("destination-silent", "filter-rule-drop"),
            host,
            "inet",
            incoming,
            f"{on.word} saddr {egress.address} drop",
        ),
        added(
            "no-way-back",
            f"{host} has no way back to {egress.address}",
            ("destination-silent", "no-return-route", "route-unreachable"),
            (
                Step(host, (*on.ip, "route", "add", "unreachable", egress.alone)),
                Step(host, (*on.ip, "route", "del", "unreachable", egress.alone)),
            ),
        ),
        setting(
            "echo-ignored",
            f"{host} answers no pings",
            ("echo-ignored", "destination-silent"),
            host,
            "net/ipv6/icmp/echo_ignore_all" if on.v6 else "net/ipv4/icmp_echo_ignore_all",
            "1",
        ),
        dropping(
            "service-closed",
            f"{host} resets every TCP connection, as it does where nothing listens",
            ("destination-port-closed", "filter-reject"),
            host,
            "inet",
            incoming,
            "meta l4proto tcp reject with tcp reset",
        ),
    )
