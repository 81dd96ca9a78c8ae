"""Which tools a host has: a current Debian, a CentOS 7, and one that has nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossnet.errors import HostError
from crossnet.facts.capabilities import Capabilities, parse_capabilities
from crossnet.netfilter import Engine
from crossnet.values import Family
from facts.recorded import facts_in, facts_of

RECORDINGS = Path(__file__).parent / "recordings"

CENTOS7 = [
    "systemd yes",
    "tool ip /usr/sbin/ip",
    "tool sysctl /usr/sbin/sysctl",
    "tool iptables /usr/sbin/iptables",
    "tool ip6tables /usr/sbin/ip6tables",
    "tool ping /usr/bin/ping",
    "tool bash /usr/bin/bash",
    "kernel 3.10.0-1160.119.1.el7.x86_64",
    "iptables iptables v1.4.21",
]
ALPINE = [
    "tool ip /sbin/ip",
    "kernel 6.6.31-0-lts",
    "iptables iptables v1.8.10 (nf_tables)",
    "nft nftables v1.0.9 (Old Doc Yak #3)",
]


def test_debian() -> None:
    able = facts_in(RECORDINGS / "everything.json").capabilities
    assert able.kernel == (6, 1, 0)
    assert able.systemd
    assert (able.nft, able.iptables) == ((1, 0, 6), (1, 8, 9))
    assert able.iptables_is_nft
    assert able.restore_waits
    assert all(able.has(tool) for tool in ("ip", "nft", "iptables-legacy", "conntrack", "ipset"))
    assert not able.has("tcpdump")


def test_centos_7() -> None:
    """Its iptables-restore says "invalid option" to -w and goes on; so it is not asked to wait."""
    able = parse_capabilities("\n".join(CENTOS7))
    assert able.kernel == (3, 10, 0)
    assert able.iptables == (1, 4, 21)
    assert able.nft == ()
    assert not able.iptables_is_nft
    assert not able.restore_waits
    assert able.systemd
    assert not able.has("nft")


def test_without_systemd() -> None:
    able = parse_capabilities("\n".join(ALPINE))
    assert not able.systemd
    assert (able.kernel, able.nft, able.iptables) == ((6, 6, 31), (1, 0, 9), (1, 8, 10))


@pytest.mark.parametrize("answer", ["", "kernel \n", "kernel unknown\niptables \nnft \n"])
def test_tools_that_say_nothing_of_their_version(answer: str) -> None:
    assert parse_capabilities(answer) == Capabilities(frozenset(), (), systemd=False)


# ---- whole hosts that cannot be read ---------------------------------------------------------------


@pytest.fixture
def recording() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((RECORDINGS / "everything.json").read_text(encoding="utf-8"))
    return read


def test_ip_that_prints_no_json(recording: dict[str, Any]) -> None:
    recording["ip -j addr"] = ["1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN"]
    with pytest.raises(HostError) as refused:
        facts_of("old", recording)
    assert str(refused.value) == (
        "old: ran `ip -j addr`: 1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN\n"
        "  This version of crossnet needs an `ip` that prints JSON (iproute2 4.17 or later)."
    )


def test_no_ip_at_all(recording: dict[str, Any]) -> None:
    recording["tools"] = [line for line in recording["tools"] if not line.startswith("tool ip ")]
    with pytest.raises(HostError, match=r"ip: not found\n  Install iproute2 .* or iproute"):
        facts_of("bare", recording)


def test_a_kernel_without_ipv6_has_no_ipv6_routes(recording: dict[str, Any]) -> None:
    del recording["ip -j -6 route show table all"]
    facts = facts_of("four", recording)
    assert {route.destination.version for route in facts.routes} == {4}


def test_no_neighbour_table_is_no_error(recording: dict[str, Any]) -> None:
    del recording["ip neigh"]
    assert facts_of("gateway", recording).neighbours == ()


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("iptables-legacy-save", ["*filter", ":INPUT ACCEPT [0:0]"]),
        ("ip6tables-nft-save", ["what is this"]),
        ("ipset save", ["what is this"]),
        ("nft -j list ruleset", ["what is this"]),
    ],
)
def test_rules_that_are_not_whole_are_an_error(
    recording: dict[str, Any], question: str, answer: list[str]
) -> None:
    """Half an answer must never be taken for "there are no rules"."""
    recording[question] = answer
    with pytest.raises(HostError, match="gateway: read the firewall rules: "):
        facts_of("gateway", recording)


SAVED = ["*filter", ":FORWARD DROP [0:0]", "[7:420] -A FORWARD -i eth1 -j ACCEPT", "COMMIT"]


def test_where_iptables_is_the_only_name_its_rules_are_of_its_variant(recording: dict[str, Any]) -> None:
    for variant, engine in (
        ("(nf_tables)", Engine.IPTABLES_NFT),
        ("(legacy)", Engine.IPTABLES_LEGACY),
        ("", Engine.IPTABLES_LEGACY),
    ):
        tools = [line for line in recording["tools"] if not line.startswith("iptables ")]
        changed = {
            **recording,
            "tools": [*tools, f"iptables iptables v1.8.7 {variant}"],
            "iptables-save": SAVED,
        }
        firewall = facts_of("gateway", changed).firewall
        assert set(firewall.iptables) == {(engine, Family.V4)}
        assert firewall.holds_rules(engine)


def test_a_file_with_its_mode_and_owner_and_any_bytes(recording: dict[str, Any]) -> None:
    recording["file /etc/crossnet/start"] = ["755 0:4", "AAEC/w=="]
    recording["file /etc/crossnet/routes"] = ["644 0:0"]
    recording["file /etc/systemd/system/multi-user.target.wants/crossnet.service"] = [
        "link",
        "/etc/systemd/system/crossnet.service",
    ]
    files = facts_of("gateway", recording).files
    start = files["/etc/crossnet/start"]
    assert (start.data, start.mode, start.owner, start.target) == (b"\x00\x01\x02\xff", 0o755, "0:4", None)
    assert files["/etc/crossnet/routes"].data == b""
    link = files["/etc/systemd/system/multi-user.target.wants/crossnet.service"]
    assert link.target == "/etc/systemd/system/crossnet.service"
