"""What a host keeps of what crossnet changed there: written, read again, and refused when it is another's."""

from __future__ import annotations

import json

import pytest

from crossnet.errors import HostError
from crossnet.facts import FileState
from crossnet.netfilter import Engine, Table
from crossnet.record import APPLIED, Owned, Record, read_record
from crossnet.resources import KINDS, File, Jump, Resource, RouteResource, RuleTable, Service, Sysctl
from crossnet.values import Family
from design.factsheet import host_facts, route, with_files

EVERY_KIND: list[Resource] = [
    RouteResource(route("10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143")),
    RouteResource(route("10.0.44.0/24 via 10.0.43.101 dev eth0 src 10.0.43.15 proto static metric 7")),
    RouteResource(route("fd00:44::/64 via fd00:43::101 dev eth0.7 proto 143 metric 1024")),
    RouteResource(route("10.0.44.0/24 dev tun0 proto 143")),
    Sysctl("net.ipv4.ip_forward", "1", (("net.ipv4.conf.eth0/7.forwarding", "0"),)),
    Sysctl("net.ipv6.conf.eth0.accept_ra", "2"),
    File("/etc/crossnet/start", b"#!/bin/sh\n\x00\xff\n", 0o755, "0:0"),
    File("/etc/crossnet/routes", b""),
    Service("crossnet.service"),
    Jump(Engine.IPTABLES_LEGACY, Family.V6, "mangle", "ip6tables-legacy"),
    RuleTable(Engine.NFTABLES, Family.V4, Table("ip", "crossnet", ())),
    RuleTable(Engine.IPTABLES_NFT, Family.V6, Table("ip6", "crossnet", ()), "", "ip6tables-nft", False),
]


def kept(data: bytes) -> Record:
    """What is read from a host that has this record."""
    facts = host_facts("gateway", "")
    return read_record(with_files(facts, {APPLIED: FileState(data, 0o600, "0:0")}))


def test_every_kind_is_here() -> None:
    assert {type(resource) for resource in EVERY_KIND} == set(KINDS.values())


@pytest.mark.parametrize("resource", EVERY_KIND, ids=lambda one: f"{one.kind} {one.key}")
def test_a_record_says_the_same_when_it_is_read_again(resource: Resource) -> None:
    for original in (None, resource):
        written = Record(("business", "third"), (Owned(original, resource),))
        again = kept(written.to_json())
        assert again == written
        assert again.same_as(written)
        assert again.to_json() == written.to_json()
        # `==` leaves out what is no part of the identity; undo needs it all the same.
        assert repr(again) == repr(written)


def test_no_record_is_an_empty_one() -> None:
    assert read_record(host_facts("gateway", "")) == Record()


def test_a_record_of_a_newer_format_is_refused_with_both_numbers() -> None:
    document = json.loads(Record(("business",), (Owned(None, EVERY_KIND[0]),)).to_json())
    with pytest.raises(HostError) as refused:
        kept(json.dumps({**document, "format": 2}).encode())
    assert str(refused.value) == (
        "gateway: read /var/lib/crossnet/applied.json: cannot be understood: "
        "it has format 2, this crossnet reads 1\n"
        "  Use the version of crossnet that wrote it, or move the file away to start over."
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"{}",
        b'{"format": 1}',
        b'{"format": 1, "crossings": [], "owned": [{}]}',
        b'{"format": 1, "crossings": [], "owned": [{"kind": "moon", "original": null, "applied": {}}]}',
        b'{"format": 1, "crossings": [], "owned": [{"kind": "route", "original": null, "applied": {}}]}',
        b'{"format": 1, "crossings": [], "owned": [{"kind": "file", "original": null, "applied": 7}]}',
        b'{"format": 1, "crossings": 7, "owned": []}',
    ],
)
def test_a_record_that_is_damaged_is_an_error_that_names_the_file(data: bytes) -> None:
    with pytest.raises(HostError, match=r"gateway: read /var/lib/crossnet/applied\.json"):
        kept(data)


def test_unknown_keys_of_a_record_are_no_error() -> None:
    """A minor version may add some."""
    document = json.loads(Record(("business",), (Owned(None, EVERY_KIND[0]),)).to_json())
    assert kept(json.dumps({**document, "since": "today"}).encode()).crossings == ("business",)
