"""What may stand before crossnet's jump: all that decides about none of the packets that its chain is for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossnet.facts import Facts
from crossnet.facts.firewall import Firewall
from crossnet.netfilter import Engine, Table, foreign
from crossnet.netfilter.own import TABLE
from crossnet.netfilter.xtables_save import parse_save
from crossnet.reach.front import decides_in_front
from crossnet.values import Family
from design.factsheet import host_facts

HOST = """
    eth1 10.0.43.101/24
    eth0 10.0.44.63/24
    docker0 172.17.0.1/16
"""
CROSSING = """
-A CROSSNET-FORWARD -i eth0 -o eth1 -m conntrack --ctstate RELATED,ESTABLISHED --ctorigsrc 10.0.43.15 -j ACCEPT
-A CROSSNET-FORWARD -s 10.0.43.15/32 -d 10.0.44.0/24 -i eth1 -o eth0 -m comment --comment "crossnet:business" -j ACCEPT
"""
FENCE = "-A CROSSNET-FORWARD -j DROP"
TRANSLATION = (
    "-A CROSSNET-POSTROUTING -s 10.0.43.15/32 -d 10.0.44.0/24 -o eth0 -j SNAT --to-source 10.0.44.63"
)
CLAMP = (
    "-A CROSSNET-FORWARD -i eth1 -o eth0 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"
)
DOCKER = "-A DOCKER-USER -j RETURN\n-A DOCKER-FORWARD -i docker0 -j ACCEPT"


def host(table: str, entered: str, front: str, chains: str, tool: foreign.Tool) -> Facts:
    own = f"CROSSNET-{entered}"
    save = "\n".join(
        (
            f"*{table}",
            f":{entered} DROP [0:0]",
            f":{own} - [0:0]",
            ":DOCKER-USER - [0:0]",
            ":DOCKER-FORWARD - [0:0]",
            front,
            f"-A {entered} -m comment --comment crossnet -j {own}",
            chains,
            "COMMIT\n",
        )
    )
    facts = host_facts("gateway", HOST)
    return replace(facts, firewall=Firewall(foreign=tuple(parse_save(save, "ip", tool, {}))))


def forwards(front: str, more: str = "", chain: str = "forward", *, legacy: bool = False) -> bool:
    """Whether what stands in front decides, where crossnet's chain has the crossing's rules and these."""
    tool = foreign.Tool.IPTABLES_LEGACY if legacy else foreign.Tool.IPTABLES_NFT
    table, entered, own = {
        "forward": ("filter", "FORWARD", CROSSING),
        "postrouting": ("nat", "POSTROUTING", TRANSLATION),
        "mangle": ("mangle", "FORWARD", CLAMP),
    }[chain]
    facts = host(table, entered, front, "\n".join((own, more, DOCKER if table == "filter" else "")), tool)
    return decides_in_front(facts, Engine(tool), Family.V4, chain)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("front", "decides"),
    [
        ("-A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER-FORWARD", False),
        ("-A FORWARD -i docker0 -j DROP", False),
        ("-A FORWARD -s 10.0.43.16/32 -i eth1 -j DROP", False),
        ("-A FORWARD -d 10.0.45.0/24 -o eth0 -j ACCEPT", False),
        ("-A FORWARD -i eth0 -o eth1 -m conntrack --ctstate NEW -j DROP", False),
        ('-A FORWARD -m comment --comment "only counts"', False),
        ("-A FORWARD -i eth1 -o eth0 -j DROP", True),
        ("-A FORWARD -s 10.0.43.0/24 -j REJECT", True),
        ("-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", True),
        ("-A FORWARD -p tcp -m limit --limit 5/sec -j DROP", True),
        ("-A FORWARD -m nonsense --that nobody-knows -j DROP", True),
        ("-A FORWARD -j NFQUEUE --queue-num 3", True),
    ],
)
def test_what_is_for_others_alone_may_stand_in_front(front: str, decides: bool, legacy: bool) -> None:
    assert forwards(front, legacy=legacy) is decides


def test_of_a_chain_that_was_flushed_nobody_knows_whom_it_is_for() -> None:
    facts = host("filter", "FORWARD", "-A FORWARD -s 10.0.43.16/32 -j DROP", "", foreign.Tool.IPTABLES_LEGACY)
    assert decides_in_front(facts, Engine.IPTABLES_LEGACY, Family.V4, "forward")


@pytest.mark.parametrize("interface", ["eth1", "ppp0"])
def test_a_rule_for_an_interface_that_is_gone_is_not_taken_for_an_emptied_one(interface: str) -> None:
    other = (
        f'-A CROSSNET-FORWARD -s 10.0.43.15/32 -i {interface} -m comment --comment "crossnet:other" -j ACCEPT'
    )
    assert not forwards("-A FORWARD -i docker0 -j DROP", other)


def test_nobody_may_be_let_past_a_fence() -> None:
    docker = "-A FORWARD -j DOCKER-FORWARD"
    assert not forwards(docker)
    assert forwards(docker, FENCE)
    # Back from a chain that is entered by a jump is on to the next rule; from this one it is past crossnet's.
    assert forwards("-A FORWARD -i docker0 -j RETURN", FENCE)
    assert forwards("-A FORWARD -i docker0 -g DOCKER-USER", FENCE)
    # An interface that is not there today may come tomorrow.
    assert forwards("-A FORWARD -i eth9 -j ACCEPT", FENCE)
    assert forwards("-A FORWARD -i br-+ -j ACCEPT", FENCE)
    # What returns decides about nobody.
    assert not forwards("-A FORWARD -j DOCKER-USER", FENCE)


@pytest.mark.parametrize(
    ("front", "decides"),
    [
        ("-A FORWARD -s 10.0.43.16/32 -i eth1 -j DROP", False),
        ("-A FORWARD -s 10.0.43.16/32 -i eth1 -j REJECT", False),
        ("-A FORWARD -i docker0 -j DROP", False),
        ("-A FORWARD -s 10.0.43.16/32 -i eth1 -j ACCEPT", True),
        ("-A FORWARD -s 10.0.43.0/24 -i eth1 -j DROP", True),
        ("-A FORWARD -i eth1 -m nonsense --that nobody-knows -j DROP", True),
        ("-A FORWARD -s 10.0.43.16/32 -i eth1 -j NFQUEUE --queue-num 3", True),
    ],
)
def test_what_the_fence_stops_as_well_may_be_stopped_in_front(front: str, decides: bool) -> None:
    assert forwards(front, FENCE) is decides


@pytest.mark.parametrize(
    ("front", "decides"),
    [
        ("-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE", False),
        ("-A POSTROUTING -o docker0 -j MASQUERADE", False),
        ("-A POSTROUTING -o eth0 -j MASQUERADE", True),
        ("-A POSTROUTING -d 10.0.44.0/24 -j ACCEPT", True),
        ("-A POSTROUTING -s 10.0.43.0/24 -j SNAT --to-source 10.0.44.64", True),
    ],
)
def test_a_translation_in_front_takes_the_place_of_crossnets(front: str, decides: bool) -> None:
    assert forwards(front, chain="postrouting") is decides


@pytest.mark.parametrize(
    ("front", "decides"),
    [
        ("-A FORWARD -i docker0 -j ACCEPT", False),
        ("-A FORWARD -i eth1 -p tcp -j TCPMSS --set-mss 1400", False),
        ("-A FORWARD -p tcp -j ACCEPT", True),
        ("-A FORWARD -p udp -j ACCEPT", False),
    ],
)
def test_what_crossnet_only_changes_must_come_to_it(front: str, decides: bool) -> None:
    assert forwards(front, chain="mangle") is decides


@pytest.mark.parametrize(
    ("front", "decides"),
    [
        ("-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", False),
        ("-A FORWARD -m mark --mark 0x40000/0xff0000 -j ACCEPT", False),
        ("-A FORWARD -s 10.0.43.99/32 -j ACCEPT", False),
        ("-A FORWARD -i docker0 -j DROP", False),
        ("-A FORWARD -i eth1 -o eth0 -j DROP", True),
        ("-A FORWARD -i eth1 -j RETURN", True),
        ("-A FORWARD -i eth1 -g DOCKER-USER", True),
        ("-A FORWARD -j NFQUEUE --queue-num 3", True),
    ],
)
def test_what_is_accepted_in_front_of_a_chain_that_only_accepts_is_accepted(
    front: str, decides: bool
) -> None:
    facts = host("filter", "FORWARD", front, f"{CROSSING}\n{DOCKER}", foreign.Tool.IPTABLES_NFT)
    beside = replace(facts, firewall=replace(facts.firewall, nft=(Table("ip", TABLE, ()),)))
    assert decides_in_front(beside, Engine.IPTABLES_NFT, Family.V4, "forward") is decides


def test_what_cannot_be_walked_may_decide() -> None:
    assert decides_in_front(host_facts("gateway", HOST), Engine.IPTABLES_LEGACY, Family.V4, "forward")
