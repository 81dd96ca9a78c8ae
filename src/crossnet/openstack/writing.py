"""Values as a cloud's API takes them (Networking API v2.0)."""

from __future__ import annotations

from typing import Any

from crossnet.openstack.ports import AddressPair, GroupRule, HostRoute
from crossnet.values import show_network


def pair_document(pair: AddressPair) -> dict[str, str]:
    """One entry of `allowed_address_pairs`, as the cloud had it written."""
    own = {"mac_address": pair.mac} if pair.mac else {}
    return {"ip_address": pair.written or show_network(pair.network), **own}


def rule_document(rule: GroupRule, group: str) -> dict[str, Any]:
    """One new entry of `security_group_rules` in a group."""
    first, last = rule.ports or (None, None)
    said = {
        "protocol": rule.protocol,
        "port_range_min": first,
        "port_range_max": last,
        "remote_ip_prefix": None if rule.remote is None else str(rule.remote),
        "remote_group_id": rule.remote_group,
        "remote_address_group_id": rule.remote_addresses,
    }
    return {
        "security_group_id": group,
        "direction": rule.direction,
        "ethertype": rule.family.label,
        **{key: value for key, value in said.items() if value is not None},
    }


def host_route_document(route: HostRoute) -> dict[str, str]:
    """One entry of `host_routes`, as the cloud had it written."""
    destination, next_hop = route.written
    return {"destination": destination or str(route.destination), "nexthop": next_hop or str(route.next_hop)}
