"""What a stale plan says has moved."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from crossnet.api import plan
from crossnet.errors import StalePlan
from crossnet.moved import MOST_LINES, moved, moved_in_documents
from crossnet.planning import Plan
from crossnet.show.json import error_data, plan_data
from crossnet.specfile import parse
from crossnet.standing import Stamp
from design.factsheet import facts_from
from planning.fakehost import FakeHost, carry_out, facts_of, hosts_of

HOSTS = """
app:
  eth0 10.0.43.15/24
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
"""
SPEC = """crossnet: 1
hosts: {app: {lab: app}, gateway: {lab: gateway}}
crossings: {business: {from: app, via: gateway, to: [10.0.44.0/25, 10.0.44.128/25], persist: none}}
"""
Hosts = dict[str, FakeHost]


def planned(hosts: Hosts) -> Plan:
    return plan(parse(SPEC, "crossnet.yaml"), facts_of(hosts))


def forward(hosts: Hosts) -> None:
    hosts["gateway"].sysctls["net.ipv4.ip_forward"] = "1"


def lose_a_route(hosts: Hosts) -> None:
    hosts["app"].routes = [each for each in hosts["app"].routes if str(each.destination) != "10.0.44.128/25"]


def stop_forwarding(hosts: Hosts) -> None:
    hosts["gateway"].sysctls["net.ipv4.ip_forward"] = "0"


def lose_the_rules(hosts: Hosts) -> None:
    hosts["gateway"].nft.clear()


@pytest.mark.parametrize(
    ("is_applied", "move", "told"),
    [
        (False, forward, "gateway: sysctl net.ipv4.ip_forward is already as wanted: value 0 → 1"),
        (True, lose_a_route, "app: route 10.0.44.128/25 metric 0 is gone"),
        (True, stop_forwarding, "gateway: sysctl net.ipv4.ip_forward has changed: value 1 → 0"),
        (True, lose_the_rules, "gateway: table nftables ip crossnet is gone"),
    ],
)
def test_what_moved_is_told_with_its_host(is_applied: bool, move: Callable[[Hosts], None], told: str) -> None:
    hosts = hosts_of(facts_from(HOSTS))
    if is_applied:
        carry_out(planned(hosts), hosts)
    before = planned(hosts)
    move(hosts)
    now = planned(hosts)
    assert told in moved(before, now)
    documents = [json.loads(json.dumps(plan_data(one))) for one in (before, now)]
    assert told in moved_in_documents(documents[0], documents[1], now)
    assert moved(before, before) == ()
    assert moved_in_documents(documents[0], documents[0], before) == ()


def test_what_came_by_another_way_is_told() -> None:
    """The same changes, and another consequence: somebody's rule has come that stops the packets."""
    facts = facts_from(HOSTS)
    dropping = facts_from(HOSTS + "  iptables raw -A PREROUTING -p tcp --dport 22 -j DROP\n")
    spec = parse(SPEC.replace("persist", "firewall: nftables, persist"), "crossnet.yaml")
    made = plan(spec, dropping)
    before, now = (json.loads(json.dumps(plan_data(one))) for one in (plan(spec, facts), made))
    (told, *_) = moved_in_documents(before, now, made)
    assert told.startswith("new: gateway: rules")
    assert "--dport 22" in told


def test_a_plan_that_somebody_wrote_himself_is_no_traceback() -> None:
    made = planned(hosts_of(facts_from(HOSTS)))
    now = plan_data(made)
    documents: list[object] = [
        None,
        [],
        "x",
        {},
        {"hosts": 1, "crossings": 2},
        {"hosts": [{}], "crossings": [{}]},
    ]
    for document in documents:
        assert isinstance(moved_in_documents(document, now, made), tuple)


def test_much_is_told_in_few_lines() -> None:
    changes: list[dict[str, object]] = [
        {"kind": "route", "key": f"10.9.{n}.0/24", "have": None, "want": {}} for n in range(100)
    ]
    empty: dict[str, object] = {
        "hosts": [{"host": "app", "changes": []}],
        "crossings": [],
        "impacts": [],
        "opening": None,
    }
    made = planned(hosts_of(facts_from(HOSTS)))
    told = moved_in_documents(empty, {**empty, "hosts": [{"host": "app", "changes": changes}]}, made)
    assert len(told) == MOST_LINES
    assert told[-1] == f"and {100 - MOST_LINES + 1} more"


def test_a_stale_plan_says_what_to_do_and_programs_read_what_moved() -> None:
    stale = StalePlan("The plan is stale", ["gateway: route x exists now"])
    assert str(stale) == (
        "The plan is stale:\n    gateway: route x exists now\n  Nothing was changed. Make a new plan."
    )
    assert error_data(stale)["error"]["moved"] == ["gateway: route x exists now"]


def documents(*plans: Plan) -> list[dict[str, Any]]:
    return [json.loads(json.dumps(plan_data(one))) for one in plans]


def test_another_engine_is_told_with_its_reason_and_not_as_things_that_came_and_went() -> None:
    spec = parse(SPEC, "crossnet.yaml")
    tools = "  tools ip sysctl nft iptables iptables-nft conntrack awk\n"
    before = plan(spec, facts_from(HOSTS + tools))
    now = plan(spec, facts_from(HOSTS + tools.replace(" nft ", " ")))
    assert [one.engines["gateway"].engine for one in (before, now)] == ["nftables", "iptables-nft"]
    engine = f"gateway: crossnet's rules would now be in iptables-nft, not in nftables: {now.engines['gateway'].reason}"
    assert moved(before, now) == (engine,)
    old, new = documents(before, now)
    told = moved_in_documents(old, new, now)
    assert told == (engine,)


def test_what_is_needed_by_now_is_not_said_to_be_gone() -> None:
    """Somebody's rule came, before which crossnet puts one of its own."""
    spec = parse(SPEC, "crossnet.yaml")
    there = HOSTS.replace(
        "gateway:",
        "  rule 100: from all lookup 77\n  route 10.0.44.0/24 via 10.0.43.7 dev eth0 table 77\ngateway:",
    )
    before, now = plan(spec, facts_from(HOSTS)), plan(spec, facts_from(there))
    told = moved(before, now)
    assert [line for line in told if "ip-rule" in line and line.endswith("is needed now")]
    assert not [line for line in told if "is gone" in line]


def test_a_crossing_of_a_colleague_that_came_or_went_is_named() -> None:
    hosts = hosts_of(facts_from(f"{HOSTS}  route 10.0.45.0/24 via 10.0.44.1 dev eth0\n"))
    before = planned(hosts)
    oo = "crossings: {oo: {from: app, via: gateway, to: 10.0.45.0/24, persist: none}}\n"
    theirs = parse(SPEC.partition("crossings:")[0] + oo, "o.yaml")
    carry_out(plan(theirs, facts_of(hosts)), hosts, Stamp("bob", "2026-11-28T12:00:00Z", "desk", "CHG99"))
    now = planned(hosts)
    came = "crossing oo of spec o has come, applied by bob from desk at 2026-11-28T12:00:00Z (CHG99)"
    old, new = documents(before, now)
    for told in (moved(before, now), moved_in_documents(old, new, now)):
        assert told[0] == came
        assert not [line for line in told if "table" in line]
    for told in (moved(now, before), moved_in_documents(new, old, before)):
        assert told[0] == "crossing oo of spec o has gone"


def test_a_plan_that_was_applied_already_says_so() -> None:
    hosts = hosts_of(facts_from(HOSTS))
    before = planned(hosts)
    carry_out(before, hosts, Stamp("ann", "2026-11-28T12:00:00Z", "desk"))
    now = planned(hosts)
    told = ("it has been applied since: crossing business, applied by ann from desk at 2026-11-28T12:00:00Z",)
    assert moved(before, now) == told
    old, new = documents(before, now)
    assert moved_in_documents(old, new, now) == told
