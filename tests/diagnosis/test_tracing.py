"""What the trace of nftables says of packets, and which of them are ours."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from crossnet.diagnosis.finding import Direction
from crossnet.diagnosis.tracing import Flow, Traced, ended, table
from crossnet.values import Probe, Protocol

TARGET = ip_address("10.0.44.1")
FLOW = Flow(
    "gateway",
    Direction.FORWARD,
    Probe(Protocol.ICMP, TARGET),
    ip_address("10.0.43.15"),
    TARGET,
    (101, 102),
)

# nft 1.0.6, `nft monitor trace`.
OURS = """\
trace id 7ca66122 inet crossnet_trace_1 prerouting packet: iif "eth1" ip saddr 10.0.43.15 ip daddr 10.0.44.1
trace id 7ca66122 inet crossnet_trace_1 prerouting unknown rule handle 2 (verdict continue)
trace id 7ca66122 inet crossnet_trace_1 prerouting policy accept
trace id 7ca66122 ip odd forward packet: iif "eth1" oif "eth0" ip saddr 10.0.43.15 ip daddr 10.0.44.1
"""


def traced(verdict: str, text: str = "", chain: str = "forward") -> Traced:
    return Traced("gateway", Direction.FORWARD, "ip", "odd", chain, verdict, text)


def all_ended(printed: str, own: str) -> list[Traced]:
    ours = set[str]()
    found = [ended(line, own, FLOW, ours) for line in printed.splitlines()]
    return [each for each in found if each is not None]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "forward rule ip daddr 10.0.44.1 meta cpu < 1000 drop (verdict drop)",
            [traced("drop", "ip daddr 10.0.44.1 meta cpu < 1000 drop")],
        ),
        (
            'forward rule ip daddr 10.0.44.1 counter packets 3 bytes 12 drop comment "(verdict queue)" (verdict drop)',
            [traced("drop", 'ip daddr 10.0.44.1 drop comment "(verdict queue)"')],
        ),
        ("forward policy drop ", [traced("policy")]),
        ("forward rule queue to 7 (verdict queue)", [traced("queue", "queue to 7")]),
        ("forward unknown rule handle 12 (verdict drop)", [traced("drop")]),
        ("forward rule ip daddr 10.0.44.1 jump more (verdict jump more)", []),
        ("forward rule accept (verdict accept)", []),
        ('forward rule accept comment "not (verdict drop)" (verdict accept)', []),
        ('forward rule counter packets 3 bytes 12 comment "a (verdict drop) b" (verdict continue)', []),
        ("forward policy accept ", []),
    ],
)
def test_what_ends_a_packet_is_read(line: str, expected: list[Traced]) -> None:
    printed = f"{OURS}trace id 7ca66122 ip odd {line}\n"
    assert all_ended(printed, "crossnet_trace_1") == expected


def test_packets_that_somebody_else_has_traced_are_not_ours() -> None:
    printed = f"{OURS}trace id 5a5a5a5a ip odd forward rule drop (verdict drop)\n"
    assert all_ended(printed, "crossnet_trace_1") == []
    assert all_ended(OURS + "trace id 7ca66122 ip odd forward policy drop\n", "crossnet_trace_2") == []


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        (FLOW, "ip saddr 10.0.43.15 ip daddr 10.0.44.1 icmp type echo-request ip length { 129, 130 }"),
        (
            Flow(
                "gateway",
                Direction.REPLY,
                Probe(Protocol.ICMP, ip_address("fd00::1")),
                ip_address("fd00::1"),
                ip_address("fd00:1::15"),
                (101,),
            ),
            "ip6 saddr fd00::1 ip6 daddr fd00:1::15 icmpv6 type echo-reply ip6 length { 109 }",
        ),
        (
            Flow("app", Direction.FORWARD, Probe(Protocol.TCP, TARGET, 443), None, TARGET, ()),
            "ip daddr 10.0.44.1 tcp dport 443",
        ),
        (
            Flow("gateway", Direction.REPLY, Probe(Protocol.UDP, TARGET, 53), TARGET, FLOW.source, ()),  # type: ignore[arg-type]
            "ip saddr 10.0.44.1 ip daddr 10.0.43.15 udp sport 53",
        ),
    ],
)
def test_only_the_flow_is_traced(flow: Flow, expected: str) -> None:
    assert flow.expression() == expected
    made = table("crossnet_trace_1", flow)
    assert made.splitlines()[0] == "add table inet crossnet_trace_1 { flags owner; }"
    assert made.count(f" {expected} limit rate 20/second meta nftrace set 1") == 2
    assert made.count("priority -350") == 2
