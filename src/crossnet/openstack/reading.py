"""What a cloud's API answers, as values: the one door for its JSON (Networking API v2.0).

No answer, whatever is in it, leaves this door as anything but a value that was checked or a CloudError.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from crossnet.errors import CloudError, CrossnetError
from crossnet.openstack.ports import NORMAL, AddressPair, GroupRule, HostRoute, Port, SecurityGroup, Subnet
from crossnet.values import Address, Family, Network, address, show_network

NOT_UNDERSTOOD = "NotUnderstood"

_MOST = 300  # characters of what a cloud says in a message
# Ids become parts of URLs.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,254}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5,19}")
_FAMILIES = {"IPv4": Family.V4, "IPv6": Family.V6}
# Neutron takes a protocol by name or by number, and ICMPv6 by four names (neutron_lib.constants).
_PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "ipv6-icmp", "icmpv6": "ipv6-icmp"}


@contextmanager
def door(cloud: str, tried: str, *, changed: bool = False) -> Iterator[None]:
    """What is done within ends well, or in a CrossnetError: any surprise about an answer becomes a CloudError.

    `changed`: it is the answer to a request that changed something, and that was a success.
    """
    try:
        yield
    except CrossnetError:
        raise
    except Exception as error:
        seen = f"the answer cannot be understood ({harmless(str(error)) or type(error).__name__})"
        todo = "See with `openstack port list` what the cloud says; the endpoint may be another service, or a proxy."
        raise CloudError(cloud, tried, seen, todo, kind=NOT_UNDERSTOOD, is_open=changed) from None


def harmless(said: str) -> str:
    """One line of a stranger's words, of which a terminal obeys nothing."""
    line = " ".join(said.split())
    return "".join(sign if sign.isprintable() else "?" for sign in line[:_MOST]) + "…" * (len(line) > _MOST)


def listed(document: object, key: str) -> list[dict[str, Any]]:
    """The entries of `{"ports": [{…}, …]}`."""
    entries = fields(document)[key]
    if not isinstance(entries, list):
        raise ValueError(f"{key} is no list")
    return [fields(entry) for entry in entries]


def fields(document: object) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ValueError(f"{_kind(document)} where an object should be")
    return document


def port_of(document: Mapping[str, Any]) -> Port:
    """One entry of `ports`. A cloud without an extension leaves its keys out."""
    mac = _mac(document["mac_address"])
    secured = document.get("port_security_enabled")
    return Port(
        id=identifier(document["id"]),
        name=harmless(_text(document, "name")),
        network=identifier(document["network_id"]),
        project=_project(document),
        mac=mac,
        addresses=tuple(_address(_text(fixed, "ip_address")) for fixed in listed(document, "fixed_ips")),
        secured=None if secured is None else _flag(secured),
        groups=tuple(identifier(group) for group in _list_of(document, "security_groups")),
        pairs=tuple(_pair(fields(pair), mac) for pair in _list_of(document, "allowed_address_pairs")),
        revision=_number(document["revision_number"]),
        status=harmless(_text(document, "status")),
        is_enabled=_flag(document["admin_state_up"]),
        owner=harmless(_text(document, "device_owner")),
        description=_description(document),
        vnic=harmless(_text({"vnic": document.get("binding:vnic_type") or NORMAL}, "vnic")),
    )


def group_of(document: Mapping[str, Any]) -> SecurityGroup:
    """One entry of `security_groups`, with its rules."""
    stateful = document.get("stateful")
    return SecurityGroup(
        id=identifier(document["id"]),
        name=harmless(_text(document, "name")),
        project=_project(document),
        description=harmless(_text(document, "description")),
        rules=tuple(rule_of(rule) for rule in listed(document, "security_group_rules")),
        is_stateful=True if stateful is None else _flag(stateful),
    )


def rule_of(document: Mapping[str, Any]) -> GroupRule:
    """One entry of `security_group_rules`."""
    direction = _text(document, "direction")
    if direction not in ("ingress", "egress"):
        raise ValueError(f"the direction of a rule is {direction!r}")
    family = _FAMILIES[_text(document, "ethertype")]
    remote = document.get("remote_ip_prefix")
    first, last = (document.get(key) for key in ("port_range_min", "port_range_max"))
    return GroupRule(
        direction=direction,
        family=family,
        protocol=_protocol(document.get("protocol"), family),
        ports=None if first is None and last is None else (_bound(first), _bound(last)),
        remote=None if remote is None else _network(remote),
        remote_group=_optional(document.get("remote_group_id")),
        remote_addresses=_optional(document.get("remote_address_group_id")),
        id=identifier(document["id"]),
    )


def group_with_rule(document: Mapping[str, Any]) -> str:
    """The id of the group that a rule is in."""
    return identifier(document["security_group_id"])


def addresses_of(document: Mapping[str, Any]) -> tuple[str, tuple[Network, ...]]:
    """The id of one entry of `address_groups`, and its networks."""
    return identifier(document["id"]), tuple(map(_network, _list(document["addresses"])))


def subnet_of(document: Mapping[str, Any]) -> Subnet:
    """One entry of `subnets`."""
    gateway, revision = document.get("gateway_ip"), document.get("revision_number")
    return Subnet(
        id=identifier(document["id"]),
        name=harmless(_text(document, "name")),
        network=identifier(document["network_id"]),
        project=_project(document),
        cidr=_network(document["cidr"]),
        leases=_flag(document["enable_dhcp"]),
        gateway=None if gateway is None else _address(_text(document, "gateway_ip")),
        routes=tuple(map(_host_route, listed(document, "host_routes"))),
        revision=None if revision is None else _number(revision),
        description=_description(document),
    )


def _host_route(document: Mapping[str, Any]) -> HostRoute:
    destination, next_hop = _text(document, "destination"), _text(document, "nexthop")
    return HostRoute(_network(destination), _address(next_hop), (destination, next_hop))


def network_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """What one entry of `networks` is called, and the project that it belongs to."""
    return harmless(_text(document, "name")) or identifier(document["id"]), _project(document)


def extension_of(document: Mapping[str, Any]) -> str:
    return _text(document, "alias")


def identifier(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError(f"{_kind(value)} where an id should be")
    return value


def _project(document: Mapping[str, Any]) -> str:
    # Before the extension project-id it had the older name alone.
    said = document.get("project_id", document.get("tenant_id"))
    return said if said == "" else identifier(said)  # of some that the cloud makes for itself it is nobody's


def _pair(document: Mapping[str, Any], mac: str) -> AddressPair:
    written, own = _text(document, "ip_address"), document.get("mac_address")
    network = _network(written)
    form = "" if written == show_network(network) else written
    return AddressPair(network, mac if own is None else _mac(own), form)


def _description(document: Mapping[str, Any]) -> str:
    """As it is, to be set so again; clouds without it are older than the extension."""
    said = document.get("description")
    return "" if said is None else _text(document, "description")


def _protocol(value: object, family: Family) -> str | None:
    if value is None or value == "any":
        return None
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"{_kind(value)} where a protocol should be")
    name = harmless(str(value)).lower()
    name = _PROTOCOLS.get(name, name)
    return "ipv6-icmp" if name == "icmp" and family is Family.V6 else name


def _network(value: object) -> Network:
    """Neutron takes host bits, and matches the network that they are in."""
    if not isinstance(value, str):
        raise ValueError(f"{_kind(value)} where a network should be")
    return ipaddress.ip_network(_without_zone(value), strict=False)


def _address(value: str) -> Address:
    return address(_without_zone(value))


def _without_zone(text: str) -> str:
    """What Python takes behind a % is any text."""
    if "%" in text:
        raise ValueError("an address with a zone")
    return text


def _mac(value: object) -> str:
    lower = value.lower() if isinstance(value, str) else ""
    if not _MAC.fullmatch(lower):
        raise ValueError(f"{_kind(value)} where a hardware address should be")
    return lower


def _bound(value: object) -> int | None:
    return None if value is None else _number(value)


def _optional(value: object) -> str | None:
    return None if value is None else identifier(value)


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document[key]
    if not isinstance(value, str):
        raise ValueError(f"{key} is {_kind(value)}")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{_kind(value)} where a number should be")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{_kind(value)} where true or false should be")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{_kind(value)} where a list should be")
    return value


def _list_of(document: Mapping[str, Any], key: str) -> list[Any]:
    """Of clouds without the extension it is not there."""
    value = document.get(key)
    return [] if value is None else _list(value)


def _kind(value: object) -> str:
    return "nothing" if value is None else repr(value)[:60]
