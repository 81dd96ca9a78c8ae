"""Hosts as they will be: what a plan takes away again is not walked any more."""

from __future__ import annotations

from crossnet.design.foresight import as_applied
from crossnet.facts import FileState
from crossnet.facts.routes import OWN_PROTOCOL
from crossnet.record import APPLIED, Owned, Record
from crossnet.resources import RouteResource, Sysctl
from design.factsheet import host_facts, route, with_files

OURS = "10.7.0.0/16 via 10.0.43.101 dev eth0 proto 143"


def test_own_routes_and_rules_that_the_plan_no_longer_wants_are_gone() -> None:
    facts = host_facts(
        "app",
        f"eth0 10.0.43.15/24\nroute {OURS}\nroute 10.8.0.0/16 via 10.0.43.101 dev eth0 proto 143\n"
        "route 10.7.0.0/16 via 10.0.43.1 dev eth0 metric 50\n"
        "rule 5269: from all to 10.7.0.0/16 iif lo lookup main proto 143\nrule 5270: from all lookup 52",
    )
    then = as_applied(facts, [RouteResource(route("10.8.0.0/16 via 10.0.43.101 dev eth0 proto 143"))])
    assert [str(each) for each in then.routes if each.protocol != "kernel"] == [
        "10.7.0.0/16 via 10.0.43.1 dev eth0 metric 50",
        "10.8.0.0/16 via 10.0.43.101 dev eth0",
    ]
    assert [rule.priority for rule in then.policy_rules if rule.origin == OWN_PROTOCOL] == []
    assert [rule.priority for rule in then.policy_rules if not rule.is_usual] == [5270]


def test_what_stood_there_before_comes_back() -> None:
    forwarding = "net.ipv4.ip_forward"
    record = Record(
        ("business",),
        (
            Owned(RouteResource(route("10.7.0.0/16 via 10.0.43.1 dev eth0")), RouteResource(route(OURS))),
            Owned(Sysctl(forwarding, "0"), Sysctl(forwarding, "1")),
        ),
    )
    facts = host_facts("app", f"eth0 10.0.43.15/24\nroute {OURS}\nsysctl {forwarding} 1")
    facts = with_files(facts, {APPLIED: FileState(record.to_json(), 0o600, "0:0")})
    then = as_applied(facts, [])
    assert "10.7.0.0/16 via 10.0.43.1 dev eth0" in map(str, then.routes)
    assert "10.7.0.0/16 via 10.0.43.101 dev eth0" not in map(str, then.routes)
    assert then.sysctls[forwarding] == "0"


def test_a_route_for_some_packets_stays_beside_one_for_all() -> None:
    facts = host_facts("app", "eth0 10.0.43.15/24\nroute 10.7.0.0/16 via 10.0.43.1 dev eth0 tos 0x10")
    then = as_applied(facts, [RouteResource(route(OURS))])
    assert [each.tos for each in then.routes if each.destination == route(OURS).destination] == [16, 0]
