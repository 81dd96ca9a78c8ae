"""What `ip` of several generations prints for one state, and what each of its words means."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beside import beside
from crossnet.errors import HostError
from crossnet.facts.iproute import dsfield
from crossnet.facts.links import LINKS as ASKED
from crossnet.facts.links import Link, LinkAddress, parse_links
from crossnet.facts.neighbours import Neighbour, parse_neighbours
from crossnet.facts.nexthops import Nexthop, parse_nexthops, with_nexthops
from crossnet.facts.policy import NOT_TOLD, RULES6, PolicyRule, not_sure, parse_rules, told_rules
from crossnet.facts.routes import Hop, Route, parse_routes
from crossnet.transport.batch import Answer
from crossnet.values import Address, Family, Ports, address, network

# ---- routes ----------------------------------------------------------------------------------------


TARGET = network("198.51.100.0/24")
TARGET6 = network("2001:db8:100::/48")
VIA = address("192.0.2.2")
VIA6 = address("2001:db8::2")


def route(**fields: Any) -> Route:
    return Route(**{"destination": TARGET, "via": VIA, "device": "eth0", "protocol": "static", **fields})


def route6(**fields: Any) -> Route:
    given = {"destination": TARGET6, "via": VIA6, "device": "eth0", "protocol": "static", "metric": 1024}
    return Route(**{**given, **fields})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("198.51.100.0/24 via 192.0.2.2 dev eth0 proto static ", route()),
        (
            "198.51.100.0/24 via 192.0.2.2 dev eth0  proto static  metric 50  mtu 1400",
            route(metric=50, mtu=1400),
        ),
        ("198.51.100.0/24 via 192.0.2.2 dev eth0 proto static mtu lock 1400 ", route(mtu=1400)),
        ("198.51.100.7 via 192.0.2.2 dev eth0 proto static ", route(destination=network("198.51.100.7"))),
        ("198.51.100.0/24 tos 0x10 via 192.0.2.2 dev eth0 proto static ", route(tos=0x10)),
        ("198.51.100.0/24 tos AF11 via 192.0.2.2 dev eth0 proto static ", route(tos=0x28)),
        ("198.51.100.0/24 tos ours via 192.0.2.2 dev eth0 proto static ", route(unknown="tos ours")),
        ("198.51.100.0/24 via 192.0.2.2 dev eth0 table 4294967295 proto static ", route(table="4294967295")),
        ("198.51.100.0/24 via 192.0.2.2 dev eth0 proto static onlink ", route(onlink=True)),
        (
            "198.51.100.0/24 via 192.0.2.2 dev eth0 proto static metric 5 dead linkdown ",
            route(metric=5, dead=True, linkdown=True),
        ),
        ("198.51.100.0/24 via 192.0.2.2 dev eth0 proto static realm 3 ", route(realm="3")),
        ("198.51.100.0/24 nhid 5 via 192.0.2.2 dev eth0 proto static ", route(nexthop=5)),
        ("198.51.100.0/24 via inet6 fe80::1 dev eth0 proto static ", route(via=address("fe80::1"))),
        # A tunnel has words of its own, which are not those of the route.
        (
            "198.51.100.0/24  encap ip id 7 src 0.0.0.0 dst 203.0.113.9 ttl 0 tos 0 via 192.0.2.2 dev eth0 "
            "proto static",
            route(encap="ip id 7 src 0.0.0.0 dst 203.0.113.9 ttl 0 tos 0"),
        ),
        (
            "198.51.100.0/24  encap ip id 7 src 0.0.0.0 dst 203.0.113.9 ttl 0 tos 0 tos 0x08 dev eth0 proto static",
            route(via=None, encap="ip id 7 src 0.0.0.0 dst 203.0.113.9 ttl 0 tos 0", tos=8),
        ),
        ("198.51.100.0/24  encap mpls  200/300 dev eth0 proto static", route(via=None, encap="mpls 200/300")),
        (
            "198.51.100.0/24 via 192.0.2.2 dev eth0 proto static window 10000 advmss 1200 hoplimit 7 initcwnd 20 "
            "rto_min lock 300ms features ecn quickack 1 fastopen_no_cookie 1 offload rt_trap ",
            route(),
        ),
        ("198.51.100.0/24 via 192.0.2.2 dev eth0 proto static shiny new ", route(unknown="shiny new")),
        # Names of interfaces are nearly any characters, and nearly any word.
        ("198.51.100.0/24 via 192.0.2.2 dev dead proto static ", route(device="dead")),
        ("198.51.100.0/24 via 192.0.2.2 dev a\u00a0b\u2028c proto static ", route(device="a\u00a0b\u2028c")),
        ("blackhole 198.51.100.0/24 proto static ", route(type="blackhole", via=None, device=None)),
        (
            "unreachable 198.51.100.0/24 proto static metric -16769024 ",
            route(type="unreachable", via=None, device=None, metric=4278198272),
        ),
        (
            "198.51.100.0/24 proto static \n"
            "\tnexthop via 192.0.2.2 dev eth0 weight 1 \n"
            "\tnexthop via 192.0.2.66  dev eth1 weight 3 onlink dead linkdown \n",
            route(
                via=None,
                device=None,
                hops=(
                    Hop(VIA, "eth0"),
                    Hop(address("192.0.2.66"), "eth1", 3, onlink=True, dead=True, linkdown=True),
                ),
            ),
        ),
        (
            "198.51.100.0/24  proto static \\\tnexthop via 192.0.2.2  dev eth0 weight 1\\\tnexthop dev ppp0 weight 1",
            route(via=None, device=None, hops=(Hop(VIA, "eth0"), Hop(None, "ppp0"))),
        ),
        # busybox has no word for next hops.
        ("198.51.100.0/24 proto static ", route(via=None, device=None, unknown="no interface is shown")),
    ],
)
def test_words_of_a_route(line: str, expected: Route) -> None:
    assert parse_routes(line, Family.V4) == (expected,)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "2001:db8:100::/48 via 2001:db8::2 dev eth0 proto static metric 1024 pref high",
            route6(preference="high"),
        ),
        (
            "2001:db8:100::/48 from 2001:db8:7::/48 via 2001:db8::2 dev eth0 proto static metric 1024 pref medium",
            route6(from_network=network("2001:db8:7::/48"), preference="medium"),
        ),
        (
            "unreachable default dev lo proto static metric 4096 error -101 pref medium",
            route6(
                destination=network("::/0"),
                via=None,
                device="lo",
                metric=4096,
                type="unreachable",
                preference="medium",
            ),
        ),
        (
            "2001:db8:100::/48  encap seg6 mode encap segs 1 [ 2001:db8:9::1 ] dev eth0 proto static metric 1024",
            route6(via=None, encap="seg6 mode encap segs 1 [ 2001:db8:9::1 ]"),
        ),
    ],
)
def test_words_of_an_ipv6_route(line: str, expected: Route) -> None:
    assert parse_routes(line, Family.V6) == (expected,)


def test_a_route_that_runs_out_says_when() -> None:
    (found,) = parse_routes(
        "2001:db8:100::/48 via 2001:db8::2 dev eth0 metric 1024 expires 299sec", Family.V6
    )
    assert found.expires == 299


@given(st.ip_addresses(), st.integers(0, 128), st.booleans())
def test_any_destination_is_what_ipaddress_makes_of_it(first: Address, bits: int, is_whole: bool) -> None:
    word = str(first) if is_whole else f"{first}/{min(bits, first.max_prefixlen)}"
    (found,) = parse_routes(f"{word} via fe80::1 dev eth0 \n", Family(first.version))
    assert found.destination == ipaddress.ip_network(word, strict=False)


@pytest.mark.parametrize(
    "word", ["fe80::1%eth0", "::/129", "::/-1", "1::2::3", "10.0.0.0/8", "0/8", "ü::", ""]
)
def test_what_is_no_ipv6_network_is_none(word: str) -> None:
    with pytest.raises(ValueError, match=r"is (no|not|more) "):
        parse_routes(f"unicast {word} dev eth0 \n", Family.V6)


def test_a_protocol_that_is_not_printed_is_not_known() -> None:
    """iproute2 leaves out `boot`, busybox every protocol; the kernel's own routes tell them apart."""
    routes = parse_routes("default via 192.0.2.2 dev eth0 \n192.0.2.0/26 dev eth0 proto kernel \n", Family.V4)
    assert [each.protocol for each in routes] == ["boot", "kernel"]
    routes = parse_routes("default via 192.0.2.2 dev eth0 \n192.0.2.0/26 dev eth0 scope link \n", Family.V4)
    assert [each.protocol for each in routes] == ["", ""]


NEXTHOPS = """\
id 5 via 192.0.2.2 dev eth0 scope link onlink
id 6 via 192.0.2.66 dev eth1 scope link proto zebra linkdown
id 7 blackhole
id 8 dev ppp0 scope link
id 10 group 5/6,3
id 11 group 5/99
"""


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (5, {"via": VIA, "device": "eth0", "onlink": True}),
        (7, {"type": "blackhole"}),
        (8, {"device": "ppp0"}),
        (10, {"hops": (Hop(VIA, "eth0", onlink=True), Hop(address("192.0.2.66"), "eth1", 3, linkdown=True))}),
        (11, {"unknown": "nhid 11 is not shown"}),
        (12, {"unknown": "nhid 12 is not shown"}),
    ],
)
def test_a_route_that_is_printed_with_the_id_of_its_nexthop_only(
    number: int, expected: dict[str, Any]
) -> None:
    (bare,) = parse_routes(f"198.51.100.0/24 nhid {number} proto static ", Family.V4)
    whole = with_nexthops([bare], parse_nexthops(NEXTHOPS))
    assert whole == (route(**{"via": None, "device": None, "nexthop": number, **expected}),)


def test_a_nexthop_that_ip_printed_itself_stays() -> None:
    routes = parse_routes("198.51.100.0/24 nhid 5 via 192.0.2.9 dev eth9 proto static ", Family.V4)
    assert with_nexthops(routes, {5: Nexthop(Hop(VIA, "eth0"))}) == routes


# ---- policy rules ----------------------------------------------------------------------------------


def rule(**fields: Any) -> PolicyRule:
    return PolicyRule(**{"family": Family.V4, "priority": 100, "table": "100", **fields})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("100:\tfrom 198.51.100.0/24 lookup 100 ", rule(source=TARGET)),
        ("100: from all to 198.51.100.0/24 lookup 100", rule(destination=TARGET)),
        ("100:\tnot from 198.51.100.7 lookup 100", rule(negated=True, source=network("198.51.100.7"))),
        ("100:\tfrom 0/8 lookup 100", rule(source=network("0.0.0.0/8"))),
        ("100:\tfrom all fwmark 0x1 lookup 100", rule(mark=1, mark_mask=0xFFFFFFFF)),
        ("100:\tfrom all fwmark 0/0xff lookup 100", rule(mark=0, mark_mask=0xFF)),
        ("100:\tfrom all tos 0x10 lookup 100", rule(tos=0x10)),
        ("100:\tfrom all iif eth1 [detached] lookup 100", rule(iif="eth1")),
        ("100:\tfrom all oif eth1 lookup 100", rule(oif="eth1")),
        (
            "100:\tfrom all ipproto udp sport 1000-2000 dport 53 lookup 100",
            rule(protocol="udp", source_ports=Ports(1000, 2000), destination_ports=Ports(53, 53)),
        ),
        ("100:\tfrom all uidrange 0-1999 lookup 100", rule(users=(0, 1999))),
        ("100:\tfrom all tun_id 5 lookup 100", rule(tunnel=5)),
        ("100:\tfrom all lookup [l3mdev-table]", rule(l3mdev=True, table="")),
        ("100:\tfrom all lookup main suppress_prefixlength 0", rule(table="main", suppress_prefix=0)),
        ("100:\tfrom all lookup main suppress_ifgroup default", rule(table="main", suppress_group="default")),
        ("100:\tfrom all lookup 100 realms 3/4 ", rule(realm="3/4")),
        ("100:\tfrom all lookup 100 proto static", rule(origin="static")),
        ("100:\tfrom all goto 9999 [unresolved]", rule(action="goto", target=9999, table="")),
        ("100:\tfrom all goto none [unresolved]", rule(action="goto", table="")),
        ("100:\tfrom all nop", rule(action="nop", table="")),
        ("100:\tfrom 198.51.100.0/24 blackhole", rule(source=TARGET, action="blackhole", table="")),
        (
            "100:\tfrom 198.51.100.0/24 lookup unspec prohibit",
            rule(source=TARGET, action="prohibit", table=""),
        ),
        ("100:\tfrom all dscp CS1 lookup 100", rule(unknown="dscp CS1")),
        ("100:\tfrom all sport 0x1/0xff lookup 100", rule(unknown="sport 0x1/0xff")),
        ("100:\tfrom all map-to 192.0.2.9", rule(action="nop", table="", unknown="map-to 192.0.2.9")),
        ("100:\tfrom all ", rule(action="nop", table="", unknown="without an action")),
    ],
)
def test_words_of_a_policy_rule(line: str, expected: PolicyRule) -> None:
    assert parse_rules(f"{line}\n", Family.V4) == (expected,)


def test_what_a_tool_that_drops_words_says_of_a_rule_is_not_believed() -> None:
    usual = parse_rules("0:\tfrom all lookup local\n32766:\tfrom all lookup main\n", Family.V4)
    assert not_sure(usual) == usual
    # busybox 1.35 prints the second for `uidrange 0-999 lookup 100` and for `ipproto tcp lookup 100` too.
    for line in ("1004:\tfrom all fwmark 0xca6c lookup 51820", "1005:\tfrom all lookup 100"):
        (other,) = parse_rules(line, Family.V4)
        (doubted,) = not_sure([other])
        assert doubted.unknown
        assert not other.unknown


# ---- interfaces ------------------------------------------------------------------------------------

LINKS = """\
name lo
name eth0
name eth0.5
name e@x
name red
name br0
name ppp0
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0 numtxqueues 1
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
2: eth0: <BROADCAST,UP,LOWER_UP> mtu 1500 xdp/id:7 qdisc mq master red state UP group uplinks qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0 numtxqueues 64
    vrf_slave table 10 addrgenmode eui64
    alias veth    inet 10.9.9.9/24 scope global eth0
    inet 192.0.2.1/26 metric 100 brd 192.0.2.63 scope global dynamic noprefixroute eth0
       valid_lft 41096sec preferred_lft 41096sec
    inet 192.0.2.9/26 brd 192.0.2.63 scope global secondary eth0:1
       valid_lft forever preferred_lft forever
    inet6 2001:db8::5/128 scope global dynamic noprefixroute
       valid_lft 3000sec preferred_lft 2000sec
    inet6 2001:db8::1/64 scope global dynamic mngtmpaddr proto kernel_ra
       valid_lft 86395sec preferred_lft 14395sec
3: eth0.5@eth0: <BROADCAST,UP,LOWER_UP> mtu 1400 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0
    vlan protocol 802.1Q id 5 <REORDER_HDR> addrgenmode eui64
4: e@x@if7: <BROADCAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master br0 state UP group default qlen 1000
    link/ether 02:00:00:00:00:02 brd ff:ff:ff:ff:ff:ff link-netns other promiscuity 1
    veth
    bridge_slave state forwarding priority 32
5: red: <NOARP,MASTER,UP,LOWER_UP> mtu 65575 qdisc noqueue state UP group default qlen 1000
    link/ether 02:00:00:00:00:03 brd ff:ff:ff:ff:ff:ff promiscuity 0
    vrf table 10 addrgenmode eui64
6: ppp0: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1492 qdisc fq_codel state UNKNOWN group default qlen 3
    link/ppp  promiscuity 0
    ppp addrgenmode eui64
    inet 203.0.113.1 peer 203.0.113.2/32 scope global ppp0
       valid_lft forever preferred_lft forever
detailed
"""


def test_interfaces_with_their_parts() -> None:
    told = parse_links(LINKS)
    assert told.detailed
    assert {
        link.name: (link.kind, link.master, link.parent, link.vlan, link.table) for link in told.links
    } == {
        "eth0": ("", "red", "", None, ""),
        "eth0.5": ("vlan", "", "eth0", 5, ""),
        "e@x": ("veth", "br0", "", None, ""),
        "red": ("vrf", "", "", None, "10"),
        "ppp0": ("ppp", "", "", None, ""),
    }
    (eth0,) = (link for link in told.links if link.name == "eth0")
    assert (eth0.group, eth0.mtu, "UP" in eth0.flags) == ("uplinks", 1500, True)
    assert [link.name for link in told.links if link.xdp] == ["eth0"]
    assert eth0.addresses == (
        LinkAddress(address("192.0.2.1"), 26, leased=True, noprefixroute=True),
        LinkAddress(address("192.0.2.9"), 26, secondary=True, label="eth0:1"),
        LinkAddress(address("2001:db8::5"), 128, leased=True, noprefixroute=True),
        LinkAddress(address("2001:db8::1"), 64, leased=True, advertised=True),
    )
    assert [item.lifetime for item in eth0.addresses] == [41096, None, 3000, 86395]
    (ppp0,) = (link for link in told.links if link.name == "ppp0")
    assert ppp0.addresses == (LinkAddress(address("203.0.113.1"), 32, peer=address("203.0.113.2")),)


def test_an_interface_that_was_made_while_they_were_read() -> None:
    """Its name is not known beforehand: what stands before the @ is taken for it."""
    told = parse_links(
        "name lo\n9: new@lo: <UP,LOWER_UP> mtu 1500 qdisc noqueue\n    link/ether 02:00:00:00:00:01\n"
    )
    assert [(link.name, link.parent) for link in told.links] == [("new", "lo")]


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        ("echo nonsense", "cannot be understood (no interface: 'nonsense'): 'nonsense'"),
        ("echo nonsense; exit 255", "exit code 255: nonsense"),
        ("exit 255", "exit code 255 without a word"),
    ],
)
def test_an_error_shows_what_ip_said(tmp_path: Path, tool: str, told: str) -> None:
    """Not the names of the interfaces, which are asked for beside it."""
    (tmp_path / "ip").write_text(f"#!/bin/sh\n{tool}\n")
    (tmp_path / "ip").chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    ended = subprocess.run(ASKED.argv, capture_output=True, env=path, check=False)
    with pytest.raises(HostError) as raised:
        ASKED.meaning("gateway", Answer(ended.returncode, ended.stdout, ended.stderr))
    assert str(raised.value).startswith(f"gateway: ran `ip addr`: {told}\n")


# ---- neighbours ------------------------------------------------------------------------------------


def test_neighbours_with_their_state() -> None:
    text = (
        "192.0.2.2 dev eth0 lladdr 02:00:00:00:00:09 ref 1 used 3/3/3 probes 4 REACHABLE\n"
        "192.0.2.3 dev eth0  FAILED\n"
        "192.0.2.4 dev FAILED lladdr 02:00:00:00:00:08 extern_learn PERMANENT \n"
        "fe80::1 dev eth0 lladdr 02:00:00:00:00:07 router STALE \n"
    )
    assert parse_neighbours(text) == (
        Neighbour(address("192.0.2.2"), "eth0", "REACHABLE", "02:00:00:00:00:09"),
        Neighbour(address("192.0.2.3"), "eth0", "FAILED"),
        Neighbour(address("192.0.2.4"), "FAILED", "PERMANENT", "02:00:00:00:00:08"),
        Neighbour(address("fe80::1"), "eth0", "STALE", "02:00:00:00:00:07"),
    )
    assert [each.answered for each in parse_neighbours(text)] == [True, False, True, True]


# ---- one state, printed by four generations ------------------------------------------------------------

OLD = ("iproute2-3.10.0", "iproute2-4.11.0", "busybox-1.35-debian")
TODAY = "iproute2-6.1.0"


def sample(tool: str, name: str) -> str:
    """What it printed; nothing where it refused."""
    _, *lines, code = (beside("samples") / tool / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return "".join(f"{line}\n" for line in lines) if code == "rc=0" else ""


@pytest.mark.parametrize("name", ["_4__o_route_show_table_all", "_4__o_route"])
@pytest.mark.parametrize("tool", OLD)
def test_routes_of_one_state_are_equal(tool: str, name: str) -> None:
    """Not printed: by 3.10 that an interface has no carrier, by busybox also the protocol, the MTU and next hops."""
    today, old = (parse_routes(sample(which, name), Family.V4) for which in (TODAY, tool))
    assert len(old) == len(today) > 10
    for known, found in zip(today, old, strict=True):
        left_out: dict[str, Any] = {}
        if tool != "iproute2-4.11.0":
            left_out["linkdown"] = False
        if tool.startswith("busybox"):
            left_out |= {"protocol": "", "mtu": None}
            left_out |= {"hops": (), "unknown": "no interface is shown"} if known.hops else {}
        assert found == _replaced(known, left_out)


def _replaced(known: Route, left_out: dict[str, Any]) -> Route:
    fields = {name: getattr(known, name) for name in Route.__slots__}
    return Route(**{**fields, **left_out})


@pytest.mark.parametrize("tool", [*OLD, TODAY])
def test_routes_of_both_families_in_one_answer_are_those_of_each(tool: str) -> None:
    lines = sample(tool, "route_show_table_all").splitlines(keepends=True)
    text = "".join(line for line in lines if "::" not in line)
    assert parse_routes(text, Family.V4) == parse_routes(
        sample(tool, "_4__o_route_show_table_all"), Family.V4
    )
    six = parse_routes("".join(line for line in lines if "::" in line), Family.V6)
    assert {str(each.destination) for each in six} >= {"fe80::/64", "::1/128", "ff00::/8"}


@pytest.mark.parametrize("tool", OLD)
def test_policy_rules_of_one_state_are_equal(tool: str) -> None:
    """3.10 has no suppress_prefixlength, busybox loses `not`."""
    today, old = (parse_rules(sample(which, "_o_rule"), Family.V4) for which in (TODAY, tool))
    told = {each.priority: each for each in old}
    assert set(told) == {each.priority for each in today}
    different = {each.priority for each in today if told[each.priority] != each}
    assert different == {"iproute2-3.10.0": {1005}, "busybox-1.35-debian": {1004}}.get(tool, set())
    assert old == parse_rules(sample(tool, "_4_rule_list"), Family.V4)


@pytest.mark.parametrize("tool", OLD)
def test_interfaces_of_one_state_are_equal(tool: str) -> None:
    """busybox tells no kinds; the MAC of the bridge, and so its own fe80:: address, came by chance."""
    today, old = _interfaces(TODAY), _interfaces(tool)
    assert old["eth0"].hardware == today["eth0"].hardware != ""
    assert today["br0"].kind == "bridge"
    assert today["eth0"].kind == "veth"
    for name, known in today.items():
        kind = "" if tool.startswith("busybox") else known.kind
        assert _comparable(old[name]) == {**_comparable(known), "kind": kind}
    assert [link.name for link in parse_links(sample(tool, "addr")).links] == list(old)


def _interfaces(tool: str) -> dict[str, Link]:
    detailed = sample(tool, "_d__o_link")
    text = f"detailed\n{detailed}" if detailed else sample(tool, "_o_link")
    return {link.name: link for link in parse_links(text + sample(tool, "_o_addr")).links}


def _comparable(link: Link) -> dict[str, Any]:
    chosen = {name: getattr(link, name) for name in Link.__slots__ if name not in ("narrow", "hardware")}
    return {**chosen, "narrow": link.narrow if link.name != "br0" else len(link.narrow)}


@pytest.mark.parametrize("tool", OLD)
def test_neighbours_of_one_state_are_equal(tool: str) -> None:
    def states(which: str) -> set[tuple[str, str, str]]:
        return {(str(n.address), n.device, n.state) for n in parse_neighbours(sample(which, "_o_neigh"))}

    assert states(tool) == states(TODAY)


# ---- many states, printed by today's ------------------------------------------------------------------


def printed() -> Iterator[tuple[str, dict[str, Any]]]:
    for line in (
        (beside("corpus") / "ip" / "printed" / "iproute2-6.1.jsonl").read_text(encoding="utf-8").splitlines()
    ):
        entry = json.loads(line)
        yield entry.pop("command"), entry


def test_every_route_is_what_ip_says_of_it_in_json() -> None:
    count = 0
    for command, entry in printed():
        for family in Family:
            lines = entry.get(f"ip -{family.value} route show table all", [])
            texts = "".join(f"{line}\n" for line in lines)
            told = entry.get(f"ip -j -{family.value} route show table all", [])
            routes = parse_routes(texts, family)
            if len(told) != len(routes):  # of what the kernel made with it there is no JSON
                known_ones = {known["dst"] for known in told}
                routes = tuple(each for each in routes if _route_in_json(each)["dst"] in known_ones)[
                    : len(told)
                ]
            for found, known in zip(routes, told, strict=True):
                count += 1
                assert _route_in_json(found) == _json_route(known), command
                assert not found.unknown or found.nexthop, command
    assert count > 50


def _json_route(known: dict[str, Any]) -> dict[str, Any]:
    """What JSON says of the fields that a Route has."""
    metrics = known["metrics"][0] if known.get("metrics") else {}
    return {
        "dst": known["dst"],
        "type": known.get("type", "unicast"),
        "gateway": known.get("gateway"),
        "dev": known.get("dev"),
        "table": known.get("table", "main"),
        "prefsrc": known.get("prefsrc"),
        "metric": known.get("metric", 0),
        "mtu": metrics.get("mtu"),
        "tos": known.get("tos", "0x00"),
        "flags": sorted(known.get("flags", [])),
        "nhid": known.get("nhid"),
        "pref": known.get("pref", ""),
        "encap": bool(known.get("encap")),
        "nexthops": [
            (hop.get("gateway"), hop["dev"], hop["weight"], hop["flags"]) for hop in known.get("nexthops", [])
        ],
    }


def _route_in_json(found: Route) -> dict[str, Any]:
    target = str(found.destination) if found.destination.prefixlen else "default"
    is_host = found.destination.prefixlen == found.destination.max_prefixlen
    flags = {"onlink": found.onlink, "dead": found.dead, "linkdown": found.linkdown}
    return {
        "dst": str(found.destination.network_address) if is_host else target,
        "type": found.type,
        "gateway": str(found.via) if found.via else None,
        "dev": found.device,
        "table": found.table,
        "prefsrc": str(found.source) if found.source else None,
        "metric": found.metric,
        "mtu": found.mtu,
        "tos": f"{found.tos:#04x}",
        "flags": sorted(name for name, is_set in flags.items() if is_set),
        "nhid": found.nexthop,
        "pref": found.preference,
        "encap": bool(found.encap),
        "nexthops": [
            (str(hop.via) if hop.via else None, hop.device, hop.weight, ["linkdown"] if hop.linkdown else [])
            for hop in found.hops
        ],
    }


def test_every_policy_rule_is_understood() -> None:
    count = 0
    for command, entry in printed():
        for family in Family:
            for line in entry.get(f"ip -{family.value} rule", []):
                (found,) = parse_rules(line, family)
                count += 1
                assert not found.unknown, command
                shown = line.replace("\t", " ").replace(" [unresolved]", "").replace(" proto static", "")
                assert str(found) == shown, command
    assert count == 16


def test_texts_of_hosts_elsewhere() -> None:
    """Lines of real hosts, of CentOS 6 and 7 among them; one is no address, and is refused."""
    for path in sorted((beside("corpus") / "ip" / "text").glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        if "lookup" in text:
            assert not any(each.unknown for each in parse_rules(text, Family.V4))
        elif "link/" in text:
            assert parse_links(text).links
        else:
            _check_routes(path, text)


def _check_routes(path: Path, text: str) -> None:
    for line in text.replace("\n\t", "\\\t").splitlines():
        if "lladdr" in line:
            assert parse_neighbours(line)
        elif line.startswith("a.b.c.d"):
            with pytest.raises(ValueError, match="no IPv4 network"):
                parse_routes(line, Family.V4)
        else:
            family = Family.V6 if ":" in line.split()[0 if "::" in line.split()[0] else 1] else Family.V4
            (found,) = parse_routes(line, family)
            words = line.split()
            target = words[1] if words[0] in ("unreachable", "local", "broadcast") else words[0]
            if target != "default":
                assert found.destination == ipaddress.ip_network(target), path.name
            for key, value in (("dev", found.device), ("via", found.via), ("src", found.source)):
                if key in words and not found.hops:
                    assert str(value) == words[words.index(key) + 1], path.name


def test_a_type_of_service_by_name() -> None:
    assert [dsfield(word) for word in ("0x10", "EF", "AF43", "CS6", "lowdelay", "ours")] == [
        *(0x10, 0xB8, 0x98, 0xC0, 0x10),
        None,
    ]


LOCAL, MAIN_TABLE = "0:\tfrom all lookup local\n", "32766:\tfrom all lookup main\n"
OWN_RULE = "7:\tfrom all lookup 7\n"


@pytest.mark.parametrize(
    ("family", "answer", "in_doubt"),
    [
        (Family.V4, "", ["local", "main"]),  # a broken tool, or a host that routes nothing
        (Family.V4, LOCAL, []),
        (Family.V4, OWN_RULE, []),
        (Family.V4, LOCAL + MAIN_TABLE, []),
        (Family.V6, "", ["local", "main"]),
        (Family.V6, LOCAL, ["main"]),  # `ip -6 rule flush`
        (Family.V6, MAIN_TABLE, ["local"]),
        (Family.V6, LOCAL + MAIN_TABLE, []),
        (Family.V6, LOCAL + OWN_RULE, []),  # somebody has added one, and since then the rules count
    ],
)
def test_usual_rules_that_were_not_told_are_in_doubt_and_not_taken_for_told(
    family: Family, answer: str, in_doubt: list[str]
) -> None:
    rules = told_rules(answer, family)
    assert [rule.table for rule in rules if rule.unknown == NOT_TOLD] == in_doubt
    assert all(rule.is_usual for rule in rules if rule.unknown)
    assert [rule for rule in rules if not rule.unknown] == list(parse_rules(answer, family))


def test_a_kernel_without_ipv6_has_the_usual_rules_of_it_without_a_doubt() -> None:
    assert RULES6.failed is not None
    nothing = RULES6.failed(Answer(1, b"", b"Address family not supported\n"))
    assert [(rule.table, rule.unknown) for rule in nothing] == [("local", ""), ("main", "")]
