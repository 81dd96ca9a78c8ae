"""What a person types at a cloud, in the words of its own client (python-openstackclient)."""

from __future__ import annotations

from collections.abc import Iterable

from crossnet.openstack.ports import AddressPair, GroupRule, HostRoute
from crossnet.values import show_network


def pair_words(pairs: Iterable[AddressPair]) -> tuple[str, ...]:
    """Allowed address pairs as `port set` takes them; the hardware address is the port's own without one."""
    told = (
        f"ip-address={pair.written or show_network(pair.network)}"
        + (f",mac-address={pair.mac}" if pair.mac else "")
        for pair in pairs
    )
    return tuple(word for each in told for word in ("--allowed-address", each))


def rule_words(rule: GroupRule) -> tuple[str, ...]:
    """A rule as `security group rule create` takes it, but for the name of its group."""
    words = [f"--{rule.direction}", "--ethertype", rule.family.label, "--protocol", rule.protocol or "any"]
    first, last = rule.ports or (None, None)
    if rule.protocol in ("tcp", "udp") and first is not None:
        words += ["--dst-port", f"{first}" if first == last else f"{first}:{last}"]
    if rule.remote is not None:
        words += ["--remote-ip", str(rule.remote)]
    return tuple(words)


def host_route_words(routes: Iterable[HostRoute]) -> tuple[str, ...]:
    """Host routes as `subnet set` and `subnet unset` take them."""
    ends = ((route.written[0] or route.destination, route.written[1] or route.next_hop) for route in routes)
    return tuple(
        word
        for destination, next_hop in ends
        for word in ("--host-route", f"destination={destination},gateway={next_hop}")
    )


__all__ = ["host_route_words", "pair_words", "rule_words"]
