"""JSON of a cloud as values, and any other JSON as an error; nothing else comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossnet.errors import CloudError
from crossnet.openstack import reading
from crossnet.openstack.ports import AddressPair, GroupRule, HostRoute, Port, SecurityGroup, Subnet
from crossnet.openstack.writing import host_route_document, pair_document, rule_document
from crossnet.values import Family, address, network
from facts.mutated import changed_json

# As Neutron 29 answered.
PORT: dict[str, Any] = {
    "id": "a53bbdbd-3e11-42fc-8587-38bae988f6b3",
    "name": "B-eth1",
    "network_id": "71403297-d83a-44d1-86aa-1bb0f2f68b15",
    "project_id": "ccdfc0b26e8f42d4953f021434e26dd6",
    "mac_address": "fa:16:3e:b2:c5:90",
    "admin_state_up": True,
    "status": "DOWN",
    "device_id": "",
    "device_owner": "",
    "fixed_ips": [{"subnet_id": "9f5e7977-0b93-4fe7-b342-38b444bf2f6f", "ip_address": "10.0.43.101"}],
    "allowed_address_pairs": [{"mac_address": "fa:16:3e:b2:c5:90", "ip_address": "10.0.44.7/24"}],
    "security_groups": ["747bb33d-a6fc-42cc-863e-5c34952a70e0"],
    "port_security_enabled": True,
    "revision_number": 6,
    "tenant_id": "ccdfc0b26e8f42d4953f021434e26dd6",
}
RULE: dict[str, Any] = {
    "id": "4681f955-cc84-49c5-ba72-01305fd26c81",
    "security_group_id": "747bb33d-a6fc-42cc-863e-5c34952a70e0",
    "ethertype": "IPv4",
    "direction": "ingress",
    "protocol": None,
    "port_range_min": None,
    "port_range_max": None,
    "remote_ip_prefix": None,
    "remote_address_group_id": None,
    "remote_group_id": None,
}
GROUP: dict[str, Any] = {
    "id": "747bb33d-a6fc-42cc-863e-5c34952a70e0",
    "name": "default",
    "stateful": True,
    "project_id": "ccdfc0b26e8f42d4953f021434e26dd6",
    "description": "Default security group",
    "security_group_rules": [RULE],
}
SUBNET: dict[str, Any] = {
    "id": "4286fe01-6a6e-484d-86ae-cd2f766ac0cd",
    "name": "clients",
    "project_id": "ef6a3bff5fb346c99f3cbe8993786de3",
    "network_id": "642f0159-b13d-464b-a370-c4f9c6154e0b",
    "ip_version": 4,
    "enable_dhcp": True,
    "gateway_ip": "10.0.43.1",
    "cidr": "10.0.43.0/24",
    "allocation_pools": [{"start": "10.0.43.2", "end": "10.0.43.254"}],
    "host_routes": [{"destination": "10.0.44.0/24", "nexthop": "10.0.43.101"}],
    "revision_number": 0,
    "tenant_id": "ef6a3bff5fb346c99f3cbe8993786de3",
}


def test_a_subnet() -> None:
    found = reading.subnet_of(SUBNET)
    assert found == Subnet(
        id="4286fe01-6a6e-484d-86ae-cd2f766ac0cd",
        name="clients",
        network="642f0159-b13d-464b-a370-c4f9c6154e0b",
        project="ef6a3bff5fb346c99f3cbe8993786de3",
        cidr=network("10.0.43.0/24"),
        leases=True,
        gateway=address("10.0.43.1"),
        routes=(HostRoute(network("10.0.44.0/24"), address("10.0.43.101")),),
        revision=0,
    )
    assert host_route_document(found.routes[0]) == SUBNET["host_routes"][0]
    isolated = reading.subnet_of(without(SUBNET, "revision_number") | {"gateway_ip": None})
    assert (isolated.gateway, isolated.revision) == (None, None)


def test_a_host_route_goes_back_as_it_was_written() -> None:
    written = {"destination": "2001:DB8:0::/48", "nexthop": "2001:DB8::5"}
    (found,) = reading.subnet_of(SUBNET | {"host_routes": [written]}).routes
    assert host_route_document(found) == written
    ours = HostRoute(network("10.0.44.1/32"), address("10.0.43.101"))
    assert host_route_document(ours) == {"destination": "10.0.44.1/32", "nexthop": "10.0.43.101"}


def test_a_port() -> None:
    found = reading.port_of(PORT)
    assert found == Port(
        id="a53bbdbd-3e11-42fc-8587-38bae988f6b3",
        name="B-eth1",
        network="71403297-d83a-44d1-86aa-1bb0f2f68b15",
        project="ccdfc0b26e8f42d4953f021434e26dd6",
        mac="fa:16:3e:b2:c5:90",
        addresses=(address("10.0.43.101"),),
        secured=True,
        groups=("747bb33d-a6fc-42cc-863e-5c34952a70e0",),
        pairs=(AddressPair(network("10.0.44.0/24"), "fa:16:3e:b2:c5:90", "10.0.44.7/24"),),
        revision=6,
        status="DOWN",
        is_enabled=True,
        owner="",
    )
    assert pair_document(found.pairs[0]) == PORT["allowed_address_pairs"][0]


@pytest.mark.parametrize(
    "text", ["10.0.44.0/24", "10.0.44.1", "10.0.44.1/32", "10.0.44.7/24", "fd00::1", "0.0.0.0/0"]
)
def test_a_pair_is_written_as_it_was(text: str) -> None:
    said = {"ip_address": text, "mac_address": "fa:16:3e:b2:c5:90"}
    [pair] = reading.port_of(PORT | {"allowed_address_pairs": [said]}).pairs
    assert pair_document(pair) == said
    [own] = reading.port_of(PORT | {"allowed_address_pairs": [{"ip_address": "10.0.44.0/24"}]}).pairs
    assert own == AddressPair(network("10.0.44.0/24"), "fa:16:3e:b2:c5:90")


def without(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in keys}


def test_a_cloud_without_extensions_leaves_their_keys_out() -> None:
    """Port security that is absent is not port security that is off."""
    found = reading.port_of(
        without(PORT, "port_security_enabled", "allowed_address_pairs", "security_groups")
    )
    assert (found.secured, found.pairs, found.groups) == (None, (), ())
    assert reading.port_of(PORT | {"port_security_enabled": False}).secured is False
    assert reading.port_of(without(PORT, "project_id")).project == PORT["tenant_id"]
    assert reading.group_of(without(GROUP, "stateful")).is_stateful


def test_names_are_plain_text() -> None:
    assert reading.port_of(PORT | {"name": "a\x1b[31mb\nc\u202e"}).name == "a?[31mb c?"


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ({}, GroupRule("ingress", Family.V4)),
        (
            {
                "protocol": "tcp",
                "port_range_min": 80,
                "port_range_max": 90,
                "remote_ip_prefix": "10.0.43.15/24",
            },
            GroupRule("ingress", Family.V4, "tcp", (80, 90), network("10.0.43.0/24")),
        ),
        ({"protocol": "6"}, GroupRule("ingress", Family.V4, "tcp")),
        ({"protocol": 17}, GroupRule("ingress", Family.V4, "udp")),
        ({"protocol": "any"}, GroupRule("ingress", Family.V4)),
        (
            {"protocol": "icmp", "port_range_min": 8, "ethertype": "IPv6"},
            GroupRule("ingress", Family.V6, "ipv6-icmp", (8, None)),
        ),
        ({"protocol": "icmpv6", "ethertype": "IPv6"}, GroupRule("ingress", Family.V6, "ipv6-icmp")),
        (
            {"direction": "egress", "remote_group_id": "some"},
            GroupRule("egress", Family.V4, remote_group="some"),
        ),
        ({"remote_address_group_id": "some"}, GroupRule("ingress", Family.V4, remote_addresses="some")),
    ],
)
def test_a_rule(said: dict[str, Any], rule: GroupRule) -> None:
    assert reading.rule_of(RULE | said) == rule
    again = rule_document(rule, "group")
    assert reading.rule_of(RULE | again) == rule


def test_a_group() -> None:
    assert reading.group_of(GROUP) == SecurityGroup(
        "747bb33d-a6fc-42cc-863e-5c34952a70e0",
        "default",
        "ccdfc0b26e8f42d4953f021434e26dd6",
        "Default security group",
        (GroupRule("ingress", Family.V4),),
    )
    assert not reading.group_of(GROUP | {"stateful": False}).is_stateful


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"id": "../networks"}, "where an id should be"),
        ({"id": None}, "nothing where an id should be"),
        ({"mac_address": "nonsense"}, "where a hardware address should be"),
        ({"revision_number": "6"}, "where a number should be"),
        ({"revision_number": True}, "where a number should be"),
        ({"port_security_enabled": "false"}, "where true or false should be"),
        ({"fixed_ips": [{"ip_address": "10.0.43.0/24"}]}, "is not an IP address"),
        ({"allowed_address_pairs": [{"ip_address": "zzz"}]}, "zzz"),
        ({"allowed_address_pairs": {"a": 1}}, "where a list should be"),
        ({"security_groups": 0}, "where a list should be"),
        ({"project_id": "a\x1b[31m"}, "where an id should be"),
        ({"fixed_ips": [{"ip_address": "fe80::1%\x1b[31m"}]}, "an address with a zone"),
        ({"allowed_address_pairs": [{"ip_address": "fe80::1%x/64"}]}, "an address with a zone"),
    ],
)
def test_what_is_no_port_is_an_error_that_says_why(changed: dict[str, Any], words: str) -> None:
    with (
        pytest.raises(CloudError, match="cannot be understood") as raised,
        reading.door("business", "asked for a port"),
    ):
        reading.port_of(PORT | changed)
    assert words in raised.value.seen
    assert str(raised.value).startswith("cloud business: asked for a port: the answer cannot be understood")


READERS: tuple[tuple[Callable[[Any], object], dict[str, Any]], ...] = (
    (reading.port_of, PORT),
    (reading.group_of, GROUP),
    (reading.rule_of, RULE),
    (reading.subnet_of, SUBNET),
    (reading.addresses_of, {"id": "some", "addresses": ["10.0.0.0/8"]}),
    (reading.network_of, {"id": "some", "name": "net", "project_id": "p"}),
    (reading.extension_of, {"alias": "port-security"}),
    (lambda document: reading.listed(document, "ports"), {"ports": [PORT]}),
)


@given(st.integers(0, 2**64))
@settings(max_examples=4_000, deadline=None)
def test_any_answer(seed: int) -> None:
    """A value that can be shown, or a CloudError."""
    draw = Random(seed)
    reader, answered = draw.choice(READERS)
    changed = changed_json(draw, json.loads(json.dumps(answered)), draw.randrange(1, 4))
    with suppress(CloudError), reading.door("business", "asked"):
        found = reader(changed)
        if isinstance(found, Port | SecurityGroup | Subnet):
            assert found.name.isprintable()
        repr(found)
