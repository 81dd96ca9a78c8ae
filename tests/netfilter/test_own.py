"""What an own table may not say, each with the reason that the user reads; and its text for nft."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossnet.netfilter import (
    Accept,
    Chain,
    ClampMss,
    DestinationPorts,
    Drop,
    Endpoint,
    Hook,
    Interface,
    Jump,
    L4Protocol,
    Map,
    Masquerade,
    NamedSet,
    Reject,
    Rule,
    Set,
    Snat,
    SnatByDestination,
    State,
    SynOnly,
    Table,
    UnknownMatch,
    UnknownVerdict,
    nft,
)
from crossnet.netfilter.normal_form import in_order, join_ports, protocol_name
from crossnet.netfilter.own import HOOKS, check_own, collapsed
from crossnet.values import Network, Ports, network

TCP = L4Protocol("tcp")


def table(*rules: Rule, chain: str = "forward", sets: Iterable[Set] = (), maps: Iterable[Map] = ()) -> Table:
    return Table("ip", "crossnet", (Chain(chain, rules, HOOKS[chain]),), tuple(sets), tuple(maps))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Rule((UnknownMatch("limit"),), Accept()), "does not understand: limit"),
        (Rule((), UnknownVerdict("queue")), "no place in chain forward"),
        (Rule((), Jump("other")), "no place in chain forward"),
        (Rule((), Masquerade()), "no place in chain forward"),
        (Rule((TCP, SynOnly()), ClampMss()), "no place in chain forward"),
        (Rule((), Accept(), 'say "it"'), "comment"),
        (Rule((), Accept(), "two\nlines"), "comment"),
        (Rule((), Accept(), " blank"), "comment"),
        (Rule((), Accept(), 101 * "x"), "comment"),
        (Rule((TCP, Interface("in", "a")), Accept()), r"in_order\(\)"),
        (Rule((TCP, L4Protocol("udp")), Accept()), "two matches of one kind"),
        (
            Rule((Interface("in", "a"), Interface("in", "b", negated=True)), Accept()),
            "two matches of one kind",
        ),
        (Rule((Interface("in", "eth*"),), Accept()), "interface name"),
        (Rule((Interface("in", "eth+"),), Accept()), "interface name"),
        (Rule((Interface("in", "-j"),), Accept()), "interface name"),
        (Rule((Interface("in", 'a"b'),), Accept()), "interface name"),
        (Rule((Endpoint("source", NamedSet("gone")),), Accept()), "no set gone"),
        (Rule((Endpoint("source", network("fd00::1")),), Accept()), "another family"),
        (Rule((Endpoint("source", network("0.0.0.0/0")),), Accept()), "is everything"),
        (Rule((L4Protocol("ipv6-icmp"),), Accept()), "none of icmp, tcp, udp"),
        (Rule((DestinationPorts((Ports(1, 1),)),), Accept()), "without tcp or udp"),
        (Rule((L4Protocol("icmp"), DestinationPorts((Ports(1, 1),))), Accept()), "without tcp or udp"),
        (
            Rule((L4Protocol("tcp", negated=True), DestinationPorts((Ports(1, 1),))), Accept()),
            "without tcp or udp",
        ),
        (Rule((TCP, DestinationPorts(())), Accept()), r"join_ports\(\)"),
        (Rule((TCP, DestinationPorts((Ports(2, 2), Ports(3, 3)))), Accept()), r"join_ports\(\)"),
        (Rule((State(frozenset()),), Accept()), "states are of"),
        (Rule((State(frozenset({"asleep"})),), Accept()), "states are of"),
        (Rule((SynOnly(),), Accept()), "without tcp"),
    ],
)
def test_a_rule_that_would_not_come_back_is_refused(rule: Rule, said: str) -> None:
    with pytest.raises(ValueError, match=f"chain forward rule 2: .*{said}"):
        nft.write_table(table(Rule((), Accept()), rule))


@pytest.mark.parametrize(
    ("chain", "rule", "said"),
    [
        ("postrouting", Rule((), Drop()), "no place"),
        ("postrouting", Rule((), Reject()), "no place"),
        ("postrouting", Rule((), Snat(IPv6Address("fd00::1"))), "another family"),
        ("postrouting", Rule((), SnatByDestination("gone")), "no map gone"),
        ("mangle", Rule((TCP,), ClampMss()), "SYN packets only"),
        ("mangle", Rule((), Drop()), "no place"),
    ],
)
def test_verdicts_have_their_chains(chain: str, rule: Rule, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_own(table(rule, chain=chain))


ONE = network("10.0.0.1")
SOURCE = IPv4Address("10.0.44.63")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (replace(table(), name="other"), "not crossnet's own"),
        (replace(table(), family="inet"), "not crossnet's own"),
        (replace(table(), chains=(Chain("input", ()),)), "chains of an own table"),
        (replace(table(), chains=(*table(chain="mangle").chains, *table().chains)), "in this order"),
        (replace(table(), chains=(*table().chains, *table().chains)), "each once"),
        (replace(table(), chains=(Chain("forward", (), Hook("forward", "filter", -5)),)), "has the hook"),
        (
            replace(table(), chains=(Chain("forward", (), Hook("forward", "filter", 0, "drop")),)),
            "has the hook",
        ),
        (table(sets=(Set("b", frozenset()), Set("a", frozenset()))), "sorted by name"),
        (table(maps=(Map("b", frozenset()), Map("a", frozenset()))), "sorted by name"),
        (table(sets=(Set("a", frozenset()),), maps=(Map("a", frozenset()),)), "one name"),
        (table(sets=(Set("a b", frozenset()),)), "not a name for a set"),
        (table(sets=(Set("~", frozenset()),)), "not a name for a set"),
        (table(sets=(Set(26 * "a", frozenset()),)), "not a name for a set"),
        (table(sets=(Set("a", frozenset({network("fd00::1")})),)), "another family"),
        (table(sets=(Set("a", frozenset({ONE, network("10.0.0.0")})),)), "make up a larger one"),
        (table(sets=(Set("a", frozenset({ONE, network("10.0.0.0/8")})),)), "overlap"),
        (table(maps=(Map("a", frozenset({(ONE, IPv6Address("fd00::1"))})),)), "another family"),
        (
            table(maps=(Map("a", frozenset({(ONE, SOURCE), (network("10.0.0.0/8"), SOURCE)})),)),
            "which overlap",
        ),
        (
            table(maps=(Map("a", frozenset({(ONE, SOURCE), (ONE, IPv4Address("10.0.0.9"))})),)),
            "which overlap",
        ),
    ],
)
def test_a_table_that_would_not_come_back_is_refused(wrong: Table, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        nft.write_table(wrong)


def test_the_text_for_nft() -> None:
    rule = Rule(
        (Interface("in", "eth1"), Endpoint("source", NamedSet("from-business"))), Accept(), "business"
    )
    clamp = Rule((TCP, SynOnly()), ClampMss())
    want = Table(
        "ip",
        "crossnet",
        (
            Chain("forward", (rule,), HOOKS["forward"]),
            Chain("postrouting", (Rule((), SnatByDestination("snat")),), HOOKS["postrouting"]),
            Chain("mangle", (clamp,), HOOKS["mangle"]),
        ),
        (Set("from-business", frozenset({ONE, network("10.0.0.9")})), Set("none", frozenset())),
        (Map("snat", frozenset({(network("10.9.0.0/16"), SOURCE), (ONE, SOURCE)})),),
    )
    assert (
        nft.write_table(want)
        == """\
add table ip crossnet
delete table ip crossnet
table ip crossnet {
  set from-business {
    type ipv4_addr
    elements = { 10.0.0.1, 10.0.0.9 }
  }
  set none {
    type ipv4_addr
  }
  map snat {
    type ipv4_addr : ipv4_addr
    flags interval
    elements = { 10.0.0.1 : 10.0.44.63, 10.9.0.0/16 : 10.0.44.63 }
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname "eth1" ip saddr @from-business counter accept comment "business"
  }
  chain postrouting {
    type nat hook postrouting priority 99; policy accept;
    counter snat to ip daddr map @snat
  }
  chain mangle {
    type filter hook forward priority -150; policy accept;
    meta l4proto tcp tcp flags & (syn|rst) == syn counter tcp option maxseg size set rt mtu
  }
}
"""
    )


def test_the_removal_for_nft() -> None:
    assert nft.remove_table("ip6") == "add table ip6 crossnet\ndelete table ip6 crossnet\n"


def test_protocols_have_one_name() -> None:
    assert [protocol_name(each) for each in (6, "17", "TCP", "icmpv6", "ipv6-icmp", 58, 253, "253")] == [
        "tcp",
        "udp",
        "tcp",
        "ipv6-icmp",
        "ipv6-icmp",
        "ipv6-icmp",
        "253",
        "253",
    ]


def test_order_puts_networks_before_sets_and_keeps_the_rest() -> None:
    by_set, by_network = Endpoint("source", NamedSet("a")), Endpoint("source", ONE)
    one, other = UnknownMatch("b"), UnknownMatch("a")
    assert in_order((one, TCP, other, by_set, by_network)) == (by_network, by_set, TCP, one, other)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=8))
def test_joined_ports_hold_the_same_ports_in_ranges_apart(drawn: list[tuple[int, int]]) -> None:
    ranges = [Ports(first, first + more) for first, more in drawn]
    joined = join_ports(ranges)
    assert {port for each in joined for port in range(each.first, each.last + 1)} == {
        port for each in ranges for port in range(each.first, each.last + 1)
    }
    assert all(one.last + 1 < other.first for one, other in pairwise(joined))


def networks(width: int) -> st.SearchStrategy[Network]:
    """Of few bits, so that networks often overlap and touch."""
    kind = IPv4Network if width == 32 else IPv6Network
    return st.builds(
        lambda bits, length: kind((bits << (width - 4), length), strict=False),
        st.integers(0, 15),
        st.integers(0, 4),
    )


@given(st.frozensets(networks(32), max_size=8), st.frozensets(networks(128), max_size=8))
def test_collapsed_is_as_in_the_standard_library(four: frozenset[Network], six: frozenset[Network]) -> None:
    expected: set[Network] = set()
    expected |= set(collapse_addresses(each for each in four if isinstance(each, IPv4Network)))
    expected |= set(collapse_addresses(each for each in six if isinstance(each, IPv6Network)))
    assert collapsed(four | six) == expected
