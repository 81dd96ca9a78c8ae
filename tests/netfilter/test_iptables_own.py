"""The own table as chains, comments and jumps of iptables."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from crossnet.netfilter import (
    Accept,
    Chain,
    DestinationPorts,
    Drop,
    Endpoint,
    Interface,
    L4Protocol,
    Map,
    NamedSet,
    Rule,
    Set,
    Snat,
    SnatByDestination,
    State,
    Table,
    iptables,
)
from crossnet.netfilter.own import HOOKS
from crossnet.values import Ports, network

SMALL = Table(
    "ip",
    "crossnet",
    (
        Chain(
            "forward",
            (
                Rule((State(frozenset({"established", "related"})),), Accept()),
                Rule(
                    (
                        Interface("in", "eth1"),
                        Interface("out", "eth0"),
                        Endpoint("source", NamedSet("from-business")),
                        Endpoint("destination", network("10.0.44.0/24")),
                        L4Protocol("tcp"),
                        DestinationPorts((Ports(443, 443), Ports(8000, 8010))),
                    ),
                    Accept(),
                    "business",
                ),
                Rule((), Drop(), "fence"),
            ),
            HOOKS["forward"],
        ),
        Chain(
            "postrouting",
            (Rule((Interface("out", "eth0"),), Snat(IPv4Address("10.0.44.63")), "two words"),),
            HOOKS["postrouting"],
        ),
    ),
    (Set("from-business", frozenset({network("10.0.43.15")})),),
)

SMALL_TEXT = """\
*filter
:CROSSNET-FORWARD - [0:0]
-A CROSSNET-FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -m comment --comment crossnet -j ACCEPT
-A CROSSNET-FORWARD -i eth1 -o eth0 -m set --match-set xnet4-from-business src -d 10.0.44.0/24 -p tcp \
-m multiport --dports 443,8000:8010 -m comment --comment crossnet:business -j ACCEPT
-A CROSSNET-FORWARD -m comment --comment crossnet:fence -j DROP
COMMIT
*nat
:CROSSNET-POSTROUTING - [0:0]
-A CROSSNET-POSTROUTING -o eth0 -m comment --comment "crossnet:two words" -j SNAT --to-source 10.0.44.63
COMMIT
"""


def test_the_chains_as_text() -> None:
    assert iptables.write_chains(None, SMALL) == SMALL_TEXT


def test_only_what_changed_is_written() -> None:
    assert iptables.write_chains(SMALL, SMALL) == ""
    without_nat = replace(SMALL, chains=SMALL.chains[:1])
    removal = "*nat\n:CROSSNET-POSTROUTING - [0:0]\n-X CROSSNET-POSTROUTING\nCOMMIT\n"
    assert iptables.write_chains(SMALL, without_nat) == removal
    assert iptables.write_chains(without_nat, SMALL) == SMALL_TEXT[SMALL_TEXT.index("*nat") :]
    assert iptables.write_chains(SMALL, None).count("-X") == 2


def read_back(text: str = SMALL_TEXT, *more: Set) -> Table | None:
    """The text of the writer is close enough to that of iptables-save to be read as such."""
    sets = (Set("theirs", frozenset()), Set("xnet4-from-business", SMALL.sets[0].members), *more)
    return iptables.own_table(iptables.parse_save(text, "ip"), sets, "ip")


def test_the_own_table_is_collected_again() -> None:
    assert read_back() == SMALL


def test_a_foreign_set_in_an_own_chain_is_seen() -> None:
    found = read_back(SMALL_TEXT.replace("xnet4-from-business", "theirs"))
    assert found is not None
    assert Endpoint("source", NamedSet("theirs")) in found.chains[0].rules[1].matches
    assert found != SMALL


def test_leftover_sets_alone_are_a_table_to_remove() -> None:
    found = read_back("")
    assert found == replace(SMALL, chains=())
    assert iptables.own_table((), (Set("theirs", frozenset()),), "ip") is None
    assert iptables.own_table((), (Set("xnet4-a", frozenset()),), "ip6") is None


def test_what_iptables_cannot_say_is_refused() -> None:
    entries = frozenset({(network("10.0.0.1"), IPv4Address("10.0.44.63"))})
    by_map = replace(
        SMALL,
        chains=(Chain("postrouting", (Rule((), SnatByDestination("m")),), HOOKS["postrouting"]),),
        maps=(Map("m", entries),),
    )
    with pytest.raises(ValueError, match="no maps"):
        iptables.write_chains(None, by_map)
    many = tuple(Ports(port, port) for port in range(1, 33, 2))
    too_many = replace(
        SMALL,
        chains=(
            Chain(
                "forward", (Rule((L4Protocol("tcp"), DestinationPorts(many)), Accept()),), HOOKS["forward"]
            ),
        ),
    )
    assert not iptables.fits_multiport(many)
    with pytest.raises(ValueError, match="cannot hold these ports: 1, 3, 5"):
        iptables.write_chains(None, too_many)


@pytest.mark.parametrize(
    ("ranges", "fits"),
    [
        ((Ports(1, 65535),), True),
        (tuple(Ports(port, port) for port in range(1, 31, 2)), True),
        (tuple(Ports(port, port) for port in range(1, 33, 2)), False),
        (tuple(Ports(port, port + 1) for port in range(1, 22, 3)), True),
        (tuple(Ports(port, port + 1) for port in range(1, 25, 3)), False),
    ],
)
def test_fits_multiport(ranges: tuple[Ports, ...], fits: bool) -> None:
    assert iptables.fits_multiport(ranges) is fits


def test_jumps() -> None:
    assert " ".join(iptables.insert_jump("forward")) == (
        "-t filter -I FORWARD 1 -m comment --comment crossnet -j CROSSNET-FORWARD"
    )
    assert " ".join(iptables.insert_jump("postrouting")) == (
        "-t nat -I POSTROUTING 1 -m comment --comment crossnet -j CROSSNET-POSTROUTING"
    )
    assert " ".join(iptables.delete_jump("mangle")) == (
        "-t mangle -D FORWARD -m comment --comment crossnet -j CROSSNET-FORWARD"
    )


def test_the_position_of_a_jump() -> None:
    text = (
        "*filter\n:FORWARD ACCEPT [0:0]\n:CROSSNET-FORWARD - [0:0]\n"
        "-A FORWARD -j ACCEPT\n"
        "-A FORWARD -m comment --comment crossnet -j CROSSNET-FORWARD\n"
        "-A FORWARD -i eth0 -m comment --comment crossnet -j CROSSNET-FORWARD\n"
        "-A FORWARD -m comment --comment mine -j CROSSNET-FORWARD\n"
        "-A FORWARD -m comment --comment crossnet -j CROSSNET-FORWARD\n"
        "COMMIT\n"
    )
    tables = iptables.parse_save(text, "ip")
    assert iptables.jump_positions(tables, "forward", "ip") == (2, 5)
    assert iptables.jump_positions(tables, "forward", "ip6") == ()
    assert iptables.jump_positions(tables, "mangle", "ip") == ()
