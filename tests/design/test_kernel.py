"""What a kernel said of one packet, and what it does not say of all others."""

from __future__ import annotations

from crossnet.api import plan
from crossnet.planning import Plan
from crossnet.specfile import parse
from design.factsheet import facts_from

SPEC = """
crossnet: 1
hosts: {app: {lab: app}, gateway: {lab: gateway}}
crossings:
  business: {from: app, via: gateway, to: 10.0.44.0/24, persist: none, firewall: nftables}
"""
HOSTS = """
app:
  eth0 10.0.43.15/24
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
  eth2 10.0.45.63/24
  route default via 10.0.45.1 dev eth2 table 7
  sysctl net.ipv4.ip_forward 1
"""
ELSEWHERE = "  asked 10.0.44.1 from 10.0.43.15 iif eth1: via 10.0.45.1 dev eth2 table 7\n"
BY_MAIN = "  asked 10.0.44.1 from 10.0.43.15 iif eth1: dev eth0\n"


def planned(*gateway: str) -> Plan:
    return plan(parse(SPEC, "crossnet.yaml"), facts_from(HOSTS + "".join(gateway)))


def ways(made: Plan) -> tuple[list[str], set[str]]:
    codes = {impact.code for impact in made.impacts}
    return [path.egress for path in made.paths], codes & {"kernel-decides", "policy-rule-added"}


def test_a_rule_for_the_packet_that_was_asked_of_decides_for_no_other() -> None:
    made = planned("  rule 100: from all ipproto udp lookup 7\n", ELSEWHERE)
    assert ways(made) == (["eth0"], {"policy-rule-added"})


def test_packets_that_get_a_mark_go_by_it_whatever_the_kernel_says_of_others() -> None:
    marks = "  iptables mangle -A PREROUTING -s 10.0.43.0/24 -j MARK --set-xmark 0x1/0xffffffff\n"
    rule = "  rule 100: from all fwmark 0x1 lookup 7\n"
    assert ways(planned(marks, rule, BY_MAIN)) == ways(planned(marks, rule))


def test_a_way_that_nothing_tells_is_the_kernels() -> None:
    assert ways(planned(ELSEWHERE)) == (["eth2"], {"kernel-decides"})
    assert ways(planned(BY_MAIN)) == (["eth0"], set())
