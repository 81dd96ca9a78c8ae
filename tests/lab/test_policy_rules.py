"""Policy rules of somebody else on a client and on a gateway: crossnet's own come before them, and go again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.record import APPLIED
from lab.crossing import Bench

pytestmark = pytest.mark.lab

# As an overlay network has it that announces the destination too.
ELSEWHERE = """
ip link add ts0 type veth peer name ts1
ip link set ts0 up; ip link set ts1 up
ip -{family} rule add pref 5270 lookup 52
ip -{family} route add {to} dev ts0 table 52
"""


@pytest.mark.parametrize(
    ("topology", "family", "to", "target", "first_of_all"),
    [
        ("seed", 4, "10.0.44.0/24", "10.0.44.1", "5269: from all to 10.0.44.0/24 iif lo lookup main"),
        ("seed-v6", 6, "fd00:44::/64", "fd00:44::1", "5269: from all to fd00:44::/64 iif lo lookup main"),
    ],
)
def test_a_client_whose_packets_a_rule_leads_elsewhere(
    lab_up: Callable[..., Lab], topology: str, family: int, to: str, target: str, first_of_all: str
) -> None:
    b = Bench(lab_up(topology))
    b.check("app", ELSEWHERE.format(family=family, to=to))
    spec = b.spec(f"to: '{to}'")
    before = b.fingerprints()

    b.apply(spec)

    assert b.pings("app", target)
    assert b.plan(spec).is_empty
    b.check("app", "sh /etc/crossnet/start; sh /etc/crossnet/start")
    assert own(b, "app", family) == [f"{first_of_all} proto 143"]
    b.check("app", f"ip -{family} rule del pref 5269")
    assert not b.plan(spec).is_empty
    b.check("app", "sh /etc/crossnet/start")
    b.undo(spec)
    assert b.differences(before) == []


def test_a_rule_of_crossnets_own_comes_back_at_boot(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.check("app", ELSEWHERE.format(family=4, to="10.0.44.0/24"))
    b.apply(b.spec("to: 10.0.44.0/24"))
    asyncio.run(build.reboot(b.lab, "app"))
    assert own(b, "app", 4) == ["5269: from all to 10.0.44.0/24 iif lo lookup main proto 143"]


def test_a_rule_of_crossnets_own_is_found_when_the_record_is_lost(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.check("app", ELSEWHERE.format(family=4, to="10.0.44.0/24"))
    spec = b.spec("to: 10.0.44.0/24")
    before = b.fingerprints()
    b.apply(spec)
    for host in ("app", "gateway"):
        b.check(host, f"rm {APPLIED}")
    b.undo(spec)
    assert own(b, "app", 4) == []
    assert {place for place in b.differences(before) if "rule" in place} == set()


def test_a_gateway_whose_rules_lead_requests_and_replies_elsewhere(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.check(
        "gateway",
        "ip rule add pref 90 from 10.0.43.0/24 lookup 7; ip route add blackhole default table 7;"
        "ip rule add pref 91 to 10.0.43.0/24 iif eth0 unreachable",
    )
    spec = b.spec("to: 10.0.44.0/24, egress: eth0")
    before = b.fingerprints()
    b.apply(spec)
    assert b.pings("app", "10.0.44.1")
    b.undo(spec)
    assert b.differences(before) == []


LEADING_ASTRAY = {
    "behind a goto": "ip rule add pref 300 iif eth1 lookup 7; ip rule add pref 100 iif eth1 goto 300",
    "behind a goto of some": "ip rule add pref 300 iif eth1 lookup 7; ip rule add pref 200 iif eth1 lookup 7;"
    "ip rule add pref 100 iif eth1 ipproto icmp goto 300",
    "by a mark": "ip rule add pref 90 fwmark 0x1/0xff lookup 7;"
    "iptables -t mangle -A PREROUTING -s 10.0.43.0/24 -j MARK --set-mark 0x101",
}


@pytest.mark.parametrize("rules", LEADING_ASTRAY.values(), ids=LEADING_ASTRAY)
def test_a_gateway_whose_rules_lead_requests_elsewhere(lab_up: Callable[..., Lab], rules: str) -> None:
    b = Bench(lab_up("seed"))
    b.check("gateway", f"ip route add blackhole default table 7; {rules}")
    spec = b.spec("to: 10.0.44.0/24, egress: eth0")
    before = b.fingerprints()
    b.apply(spec)
    assert b.pings("app", "10.0.44.1")
    assert b.plan(spec).is_empty
    b.undo(spec)
    assert b.differences(before) == []


def test_a_client_whose_firewall_marks_what_it_sends(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.check(
        "app",
        "ip route add blackhole default table 7; ip rule add pref 90 fwmark 1 lookup 7;"
        "iptables -t mangle -A OUTPUT -p icmp -j MARK --set-mark 1",
    )
    spec = b.spec("to: 10.0.44.0/24")
    b.apply(spec)
    assert b.pings("app", "10.0.44.1")
    b.check("app", "ip rule del pref 89")
    assert not b.pings("app", "10.0.44.1")
    b.undo(spec)


def own(b: Bench, host: str, family: int) -> list[str]:
    """The policy rules that look a destination up in the main table."""
    listed = b.check(host, f"ip -{family} rule")
    lines = [" ".join(line.split()) for line in listed.splitlines()]
    return [line for line in lines if " to " in line and "lookup main" in line]


def test_the_way_back_of_a_gateway_that_a_rule_leads_elsewhere(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.check("gateway", ELSEWHERE.format(family=4, to="10.0.43.0/24"))
    spec = b.spec("to: 10.0.44.0/24")
    before = b.fingerprints()
    own_traffic = b.check("gateway", "ip route get 10.0.43.15 from 10.0.44.63")
    b.apply(spec)
    assert b.pings("app", "10.0.44.1")
    assert own(b, "gateway", 4) == ["5269: from 10.0.44.0/24 to 10.0.43.15 iif eth0 lookup main proto 143"]
    assert b.check("gateway", "ip route get 10.0.43.15 from 10.0.44.63") == own_traffic
    b.undo(spec)
    assert b.differences(before) == []


def test_a_gateway_whose_rules_ask_a_router_for_what_is_near(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.check(
        "gateway",
        "ip rule add pref 100 iif eth1 lookup 100; ip route add default via 10.0.44.254 dev eth0 table 100",
    )
    spec = b.spec("to: 10.0.44.0/24")
    b.apply(spec)
    assert b.pings("app", "10.0.44.1")
    b.undo(spec)
