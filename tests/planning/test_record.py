"""What a host keeps of what crossnet changed there: written, read again, and refused when it is another's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from crossnet.errors import PlanRefused
from crossnet.facts import FileState
from crossnet.facts.firewall import Firewall
from crossnet.facts.init import Init
from crossnet.facts.policy import PolicyRule
from crossnet.netfilter import Engine, Table
from crossnet.netfilter.iptables import parse_ipset_save
from crossnet.openstack.ports import AddressPair, GroupRule, HostRoute
from crossnet.record import APPLIED, Adopted, Owned, Record, paths_of, read_record
from crossnet.resources import (
    KINDS,
    AtCloud,
    File,
    FirewalldPolicy,
    HostRoutes,
    InitScript,
    Jump,
    Lines,
    PolicyRuleResource,
    PortSecurity,
    ProfileRoute,
    Resource,
    RouteResource,
    RuleTable,
    Service,
    Sysctl,
)
from crossnet.resources.port_security import Kept
from crossnet.sealed import seal
from crossnet.standing import Standing
from crossnet.values import Family, address, network
from design.factsheet import host_facts, route, with_files

BUSINESS, THIRD = Standing("crossnet", "business"), Standing("crossnet", "third")

EVERY_KIND: list[Resource] = [
    RouteResource(route("10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143")),
    RouteResource(route("10.0.44.0/24 via 10.0.43.101 dev eth0 src 10.0.43.15 proto static metric 7")),
    RouteResource(route("fd00:44::/64 via fd00:43::101 dev eth0.7 proto 143 metric 1024")),
    RouteResource(route("10.0.44.0/24 dev tun0 proto 143")),
    PolicyRuleResource(
        PolicyRule(Family.V4, 99, table="main", destination=network("10.0.44.0/24"), iif="lo")
    ),
    PolicyRuleResource(
        PolicyRule(
            Family.V6,
            2,
            table="main",
            source=network("fd00:43::15/128"),
            destination=network("fd00:44::/64"),
            origin="143",
        )
    ),
    Sysctl("net.ipv4.ip_forward", "1", (("net.ipv4.conf.eth0/7.forwarding", "0"),)),
    Sysctl("net.ipv6.conf.eth0.accept_ra", "2"),
    File("/etc/crossnet/start", b"#!/bin/sh\n\x00\xff\n", 0o755, "0:0"),
    File("/etc/crossnet/routes", b""),
    File("/etc/sysctl.d/99-zz-crossnet.conf", b"", 0o777, target="../sysctl.conf"),
    Service("crossnet.service"),
    InitScript("crossnet", Init.OPENRC, ("/etc/runlevels/default/crossnet",)),
    InitScript("crossnet-rules", Init.INSSERV, ("/etc/rcS.d",)),
    Lines("/etc/sysconfig/network-scripts/route-eth0", b"10.0.44.0/24 via 10.0.43.101\n", made=True),
    ProfileRoute("uuid", route("10.0.44.0/24 via 10.0.43.101 dev eth0 proto static")),
    FirewalldPolicy(
        ("internal",), ("ANY",), ('rule family="ipv4" destination address="10.0.44.0/24" accept',)
    ),
    PortSecurity(
        "prod",
        "9d3e0b7a-0000",
        "lab",
        "eth1",
        "10.0.43.101",
        (network("10.0.44.0/24"), network("fd00:44::/64")),
        (network("10.0.45.0/24"),),
        (
            GroupRule("ingress", Family.V4, "tcp", (443, 443), network("10.0.43.15/32")),
            GroupRule("ingress", Family.V6, remote_group="9d3e0b7a-0001"),
        ),
    ),
    PortSecurity(
        "prod",
        "9d3e0b7a-0002",
        "",
        "eth0",
        "",
        off=Kept(("default",), (AddressPair(network("10.0.46.0/24"), "fa:16:3e:00:00:01"),)),
    ),
    HostRoutes(
        "prod",
        "9d3e0b7a-0003",
        "clients 10.0.43.0/24",
        (HostRoute(network("10.0.44.0/24"), address("10.0.43.101")),),
        (HostRoute(network("10.0.45.0/24"), address("10.0.43.101")),),
    ),
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
    for original in (None,) if isinstance(resource, AtCloud) else (None, resource):
        used = Adopted(resource, resource)
        written = Record((BUSINESS, THIRD), (Owned(original, resource),), adopted=(used,))
        again = kept(written.to_json())
        assert again == written
        assert again.same_as(written)
        assert again.to_json() == written.to_json()
        # `==` leaves out what is no part of the identity; undo needs it all the same.
        assert repr(again) == repr(written)


def test_a_host_cannot_say_what_a_cloud_is_to_be_given_back() -> None:
    """crossnet keeps no such thing, and an undo would open it."""
    port = next(one for one in EVERY_KIND if isinstance(one, PortSecurity))
    found = kept(Record((BUSINESS,), (Owned(port, port),)).to_json())
    assert (found.owned, "what a port_security was before" in found.lost) == ((), True)


def test_no_record_is_an_empty_one() -> None:
    assert read_record(host_facts("gateway", "")) == Record()


@pytest.mark.parametrize("number", [-1, 0, 3, 99])
def test_a_record_of_another_format_is_refused_with_both_numbers(number: int) -> None:
    document = json.loads(Record((BUSINESS,), (Owned(None, EVERY_KIND[0]),)).to_json())
    with pytest.raises(PlanRefused) as refused:
        kept(json.dumps({**document, "format": number}).encode())
    assert str(refused.value) == (
        "gateway: /var/lib/crossnet/applied.json was written by another version of crossnet: "
        f"it has format {number}, this one reads 2 [record-of-another-version]\n"
        "  Use the version that wrote it: only this file says what was there before crossnet."
    )


def test_a_whole_record_with_a_kind_of_a_later_version_is_refused_and_not_made_anew() -> None:
    document = json.loads(Record((BUSINESS,), (Owned(None, EVERY_KIND[0]),)).to_json())
    del document["sha256"]
    document["owned"][0]["kind"] = "moon"
    with pytest.raises(PlanRefused, match="a resource of the kind 'moon', which this one does not know"):
        kept(seal(document))


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
        b'{"format": 1, "crossings": "business", "owned": []}',
        b'{"format": true, "crossings": [], "owned": []}',
        b'{"format": "1", "crossings": [], "owned": []}',
        b"[" * 100_000,
    ],
)
def test_a_record_that_is_damaged_is_lost_and_never_an_empty_one(data: bytes) -> None:
    found = kept(data)
    assert found.rebuilt
    assert (
        found.lost == ("cannot be understood" if data else "is empty") or "cannot be understood" in found.lost
    )


WHOLE = json.loads(
    Record(
        (BUSINESS,),
        (
            Owned(None, EVERY_KIND[0]),
            Owned(Sysctl("net.ipv4.ip_forward", "0"), Sysctl("net.ipv4.ip_forward", "1")),
        ),
        rebuilt=True,
    ).to_json()
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"spec": "office\nrm -rf /"},
        {"crossing": 'business"; drop table'},
        {"host": "-oProxyCommand=id"},
        {"hosts": [{"name": "a b", "ssh": "root@10.0.43.15"}]},
        {"hosts": [{"name": "app", "ssh": 7}]},
        {"hosts": [{"name": "app", "netns": "a\0b"}]},
        {"hosts": [{"name": "app", "netns": "\ud800"}]},
        {"paths": [{}]},
        {"paths": {}},
        {"needs": ["route"]},
        {"who": 7},
    ],
)
def test_a_crossing_that_no_spec_could_have_is_damage(wrong: dict[str, object]) -> None:
    sound = Standing("office", "business", "app").encode()
    for entry, damaged in ((sound, False), ({**sound, **wrong}, True)):
        found = kept(seal({"format": 2, "crossings": [entry], "owned": []}))
        assert bool(found.lost) is damaged


@pytest.mark.parametrize("path", ["/etc/a\0b", "/etc/\ud800", "etc/crossnet"])
def test_a_file_that_nobody_can_be_asked_for_is_damage(path: str) -> None:
    record = Record((BUSINESS,), (Owned(None, File(path, b"")),))
    assert "cannot be understood" in kept(record.to_json()).lost
    facts = with_files(host_facts("app", ""), {APPLIED: FileState(record.to_json(), 0o600, "0:0")})
    assert paths_of(facts) == ()


def test_unknown_keys_of_a_record_are_no_error() -> None:
    """A minor version may add some."""
    content = {key: value for key, value in WHOLE.items() if key != "sha256"}
    assert kept(seal({**content, "since": "today"})).crossings == (BUSINESS,)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["owned"].pop(),
        lambda record: record["owned"].pop(0),
        lambda record: record["owned"].clear(),
        lambda record: record["owned"].reverse(),
        lambda record: record["owned"].append(record["owned"][0]),
        lambda record: record["owned"][1].update(original=None),
        lambda record: record["owned"][1]["original"].update(value="1"),
        lambda record: record["crossings"].clear(),
        lambda record: record.pop("rebuilt"),
        lambda record: record.update(since="today"),
        lambda record: record.update(sha256="0" * 64),
        lambda record: record.update(sha256=None),
        lambda record: record.update(sha256=["0"]),
        lambda record: record.pop("sha256"),
    ],
)
def test_a_record_that_lost_a_part_is_damaged_although_it_can_be_read(
    change: Callable[[dict[str, Any]], object],
) -> None:
    record = json.loads(json.dumps(WHOLE))
    assert kept(json.dumps(record).encode()).lost == ""
    change(record)
    found = kept(json.dumps(record).encode())
    assert (found.rebuilt, found.owned) == (True, ())
    assert "checksum" in found.lost


def test_spaces_and_order_are_no_damage() -> None:
    """Whoever looks at it with a tool may write it again."""
    assert kept(json.dumps(WHOLE, sort_keys=True, separators=(",", ":")).encode()).lost == ""


# ---- what crossnet made, without its record ----------------------------------------------------------

FORWARDS = "sysctl net.ipv4.ip_forward 1\n"
ON = Sysctl("net.ipv4.ip_forward", "1")
SAYS_SO = b"#!/bin/sh\n# crossnet: business, third. Written by crossnet; `crossnet undo` removes it.\n"


def test_a_host_without_traces_has_no_record_to_lose() -> None:
    theirs = with_files(
        host_facts("gateway", f"{FORWARDS} route 10.9.0.0/16 via 10.0.44.1 dev eth0 proto static"),
        {"/etc/sysctl.d/99-zz-crossnet.conf": FileState(b"net.ipv4.ip_forward = 1\n", 0o644, "0:0")},
    )
    assert read_record(theirs) == Record()


def test_fenced_rules_without_a_record_count_as_those_of_a_host_that_did_not_forward() -> None:
    found = read_record(host_facts("gateway", f"{FORWARDS} rules of crossnet fenced"))
    assert found.lost == "is missing"
    assert found.crossings == (BUSINESS,)
    assert [owned.applied.kind for owned in found.owned] == ["table", "sysctl"]
    assert found.find(ON) == Owned(Sysctl("net.ipv4.ip_forward", "0"), ON)


def test_rules_that_keep_nobody_out_do_not_tell_whether_the_host_forwarded() -> None:
    found = read_record(host_facts("gateway", f"{FORWARDS} rules of crossnet open"))
    assert found.find(ON) == Owned(None, ON)
    again = kept(found.to_json())
    assert again.find(ON) == Owned(None, ON)
    assert again.rebuilt


@pytest.mark.parametrize("engine", [Engine.IPTABLES_NFT, Engine.IPTABLES_LEGACY])
def test_sets_without_chains_are_of_the_variant_that_the_record_has(engine: Engine) -> None:
    """As after a boot that could not load the chains."""
    sets = parse_ipset_save(
        "create xnet4-to-business hash:net family inet\nadd xnet4-to-business 10.0.44.0/24\n"
    )
    facts = host_facts("gateway", "", firewall=Firewall(ipsets=sets))
    assert read_record(facts).lost == "is missing"
    record = Record((BUSINESS,), (Owned(None, RuleTable(engine, Family.V4, Table("ip", "crossnet", ()))),))
    found = read_record(with_files(facts, {APPLIED: FileState(record.to_json(), 0o600, "0:0")}))
    assert (found.owned, found.lost) == (record.owned, "")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/sysctl.d/99-zz-crossnet.conf", SAYS_SO + b"net.ipv4.ip_forward = 1\n"),
        ("/var/lib/crossnet/verified.json", b"{}"),
        ("/var/lib/crossnet/applied.json", b""),
    ],
    ids=["for the next boot", "verified", "emptied"],
)
def test_what_only_a_gateway_has_counts_where_the_rules_are_gone(path: str, text: bytes) -> None:
    facts = with_files(host_facts("gateway", FORWARDS), {path: FileState(text, 0o644, "0:0")})
    found = read_record(facts)
    assert found.lost
    assert found.find(ON) == Owned(Sysctl("net.ipv4.ip_forward", "0"), ON)
    # The other family is none of it.
    assert found.find(Sysctl("net.ipv6.conf.all.forwarding", "1")) is None


def test_a_client_that_forwards_for_others_goes_on_to_do_so() -> None:
    facts = with_files(
        host_facts("app", f"{FORWARDS} route 10.0.44.0/24 via 10.0.43.101 dev eth0 proto 143"),
        {
            "/etc/crossnet/routes": FileState(SAYS_SO, 0o644, "0:0"),
            "/etc/systemd/system/multi-user.target.wants/crossnet.service": FileState(
                b"", 0o777, "", "/etc/systemd/system/crossnet.service"
            ),
        },
    )
    found = read_record(facts)
    assert {owned.applied.kind for owned in found.owned} == {"route", "file", "service"}
    assert found.crossings == (BUSINESS, THIRD)


def test_a_record_that_knows_the_rules_is_believed_about_forwarding() -> None:
    """Where it has no setting, forwarding was on before crossnet."""
    rules = RuleTable(Engine.NFTABLES, Family.V4, Table("ip", "crossnet", ()))
    facts = host_facts("gateway", f"{FORWARDS} rules of crossnet open")
    written = Record((BUSINESS,), (Owned(None, rules),))
    assert read_record(with_files(facts, {APPLIED: FileState(written.to_json(), 0o600, "0:0")})) == written


def test_what_an_older_record_does_not_know_is_added_to_it() -> None:
    written = Record((BUSINESS,), (Owned(None, EVERY_KIND[0]),))
    facts = host_facts("gateway", f"{FORWARDS} rules of crossnet fenced")
    found = read_record(with_files(facts, {APPLIED: FileState(written.to_json(), 0o600, "0:0")}))
    assert found.lost == "does not know table nftables ip crossnet"
    assert [owned.applied.kind for owned in found.owned] == ["route", "table", "sysctl"]
