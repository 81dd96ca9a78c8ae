"""Ports of a real Neutron as part of a transaction: all of it or nothing, whoever dies, and what others do stays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from crossnet import api
from crossnet.errors import PlanRefused, RollbackNotProved, RolledBack, StalePlan
from crossnet.lab.fingerprint import Fingerprint
from crossnet.record import TRANSACTION
from lab.desk import CROSSING, HARDWARE, KILLS, PORTS, Desk, killed, recovered
from lab.test_transaction import break_tool

pytestmark = [pytest.mark.lab, pytest.mark.openstack, PORTS]


@pytest.mark.parametrize(("how", "cloud"), [("least", "member"), ("disable", "member, region: RegionOne")])
def test_undo_leaves_the_ports_as_they_were(desk: Desk, how: str, cloud: str) -> None:
    before, hosts = desk.state(), desk.bench.fingerprints()
    spec = desk.spec(f"{CROSSING}, port-security: {how}", cloud=cloud)
    desk.bench.apply(spec)
    port = desk.seed.document("B-eth1")
    assert port["port_security_enabled"] is (how == "least")
    assert [one["ip_address"] for one in port["allowed_address_pairs"]] == (
        ["10.0.44.0/24"] if how == "least" else []
    )
    others = {name: desk.seed.document(name) for name in ("A", "B-eth0")}
    assert others == {name: before[0][name] for name in others}
    assert desk.bench.plan(spec).is_empty
    desk.bench.undo(spec)
    assert desk.state() == before
    assert desk.bench.differences(hosts) == []
    assert not desk.kept()


def test_two_specs_share_a_port_and_the_last_one_takes_the_rest_away(desk: Desk) -> None:
    before = desk.state()
    one = desk.spec("to: 10.0.44.0/25, allow: icmp, persist: none", "one")
    other = desk.spec("to: 10.0.44.128/25, allow: tcp/443, persist: none", "other")
    desk.bench.apply(one)
    desk.bench.apply(other)

    def sends() -> list[str]:
        return sorted(each["ip_address"] for each in desk.seed.document("B-eth1")["allowed_address_pairs"])

    assert sends() == ["10.0.44.0/24"]
    desk.bench.undo(one)
    assert sends() == ["10.0.44.128/25"]
    desk.bench.undo(other)
    assert desk.state() == before


def test_what_others_change_meanwhile_is_not_overwritten(desk: Desk) -> None:
    hosts = desk.bench.fingerprints()
    theirs = [{"ip_address": "192.0.2.0/24"}]
    desk.between.before = lambda number: desk.seed.change("B-eth1", allowed_address_pairs=theirs)
    with pytest.raises(RolledBack, match="B-eth1") as caught:
        desk.bench.apply(desk.spec())
    assert "make a new plan" in str(caught.value)
    assert desk.between.changes[-1].startswith(("PUT", "DELETE"))
    port = desk.seed.document("B-eth1")
    assert [one["ip_address"] for one in port["allowed_address_pairs"]] == ["192.0.2.0/24"]
    assert desk.state()[1] == ["default"]
    assert desk.bench.differences(hosts) == []
    assert not desk.kept()


def test_what_opens_more_than_the_plan_said_is_not_made(desk: Desk) -> None:
    """Whoever puts the port into a group that admits its members opens that group to what the port may send."""
    group = desk.seed.make_group("own")
    port = desk.seed.port("B-eth1")
    desk.seed.change("B-eth1", security_groups=[group])
    made = desk.bench.plan(desk.spec())
    assert "pairs-in-shared-group" not in [one.code for one in made.impacts]
    desk.seed.change("B-eth1", security_groups=[group, *port.groups])
    before = desk.state()
    with pytest.raises(StalePlan, match="the security group default admits"):
        asyncio.run(api.apply(made))
    assert desk.state() == before
    assert not desk.kept()


def test_a_host_that_fails_takes_it_back(desk: Desk) -> None:
    before = desk.state()
    break_tool(desk.bench, "app", "ip", "route add")
    with pytest.raises(RolledBack, match="broken on purpose"):
        desk.bench.apply(desk.spec())
    assert desk.state() == before
    assert not desk.kept()


def test_who_may_only_look_changes_nothing(desk: Desk) -> None:
    before, hosts = desk.state(), desk.bench.fingerprints()
    with pytest.raises(RolledBack, match="reader"):
        desk.bench.apply(desk.spec(cloud="reader"))
    assert desk.state() == before
    assert desk.bench.differences(hosts) == []


def test_a_cloud_that_is_down_and_a_port_that_is_gone_are_told_and_undo_goes_on(desk: Desk) -> None:
    hosts = desk.bench.fingerprints()
    desk.bench.apply(desk.spec())
    clouds = desk.folder / "clouds.yaml"
    known = clouds.read_text()
    clouds.write_text(known.replace(desk.between.url, "http://127.0.0.1:9"))  # where nobody listens
    code, text = desk.said("status", "-v")
    assert code == 3, text
    assert "\nbusiness  unknown " in text, text
    assert "cloud member: asked for what it holds for gateway: " in text
    assert "gateway: sysctl net.ipv4.ip_forward = 1: live" in text
    clouds.write_text(known)
    desk.seed.ask("DELETE", f"/ports/{desk.seed.ports.pop('B-eth1')}")
    code, text = desk.said("status")
    assert (code, "no more in cloud member" in text) == (3, True), text
    with pytest.raises(PlanRefused, match="eth1"):
        desk.bench.plan(desk.spec())
    desk.bench.undo(desk.spec())
    assert desk.bench.differences(hosts) == []
    left = desk.seed.ask("GET", f"/security-groups?fields=name&project_id={desk.seed.project}")
    assert [one["name"] for one in left["security_groups"]] == ["default"]


def test_credentials_that_do_not_see_the_port_leave_it_recorded(desk: Desk) -> None:
    """The host is undone; the port is, as soon as somebody comes who sees it."""
    before, hosts = desk.state(), desk.bench.fingerprints()
    desk.bench.apply(desk.spec())
    opened = desk.state()
    file = desk.folder / "clouds.yaml"
    right = json.loads(file.read_text())
    strange = {**right["clouds"]["member"], **desk.seed.served.entry("stranger")}
    file.write_text(json.dumps({"clouds": {"member": strange}}))
    assert "cannot be told from one that was deleted" in desk.said("status")[1]
    code, text = desk.said("undo", "--yes")
    assert code == 0, text
    assert "Not everything is as it was before crossnet" in text
    assert f"credentials of project {desk.seed.project}" in text
    assert desk.state() == opened
    file.write_text(json.dumps(right))
    # What the host says of its hardware is no way to keep the port open.
    desk.bench.run("gateway", "ip link set eth1 address 02:00:00:00:02:77").check()
    code, text = desk.said("undo", "--yes")
    desk.bench.run("gateway", f"ip link set eth1 address {HARDWARE['B-eth1']}").check()
    assert (code, "as it was before crossnet" in text) == (0, True), text
    assert "services of gateway itself at eth1 10.0.43.101 goes on until it ends" in " ".join(text.split())
    assert desk.state() == before
    assert desk.bench.differences(hosts) == []


# Its group, the group's rules, the two rules that every new group has, and the port.
CHANGES = 5


def kills(changes: int) -> list[Any]:
    """Before each of them, and after each: most are left to scripts/faults, for each takes most of a minute."""
    every = [(number, when) for number in range(1, changes + 1) for when in ("before", "after")]
    ends = {(1, "before"), (changes, "after")}
    return [each if each in ends else pytest.param(*each, marks=pytest.mark.faults) for each in every]


@KILLS
@pytest.mark.parametrize(("number", "when"), kills(CHANGES))
def test_whoever_is_killed_at_a_request_leaves_all_of_it_or_nothing(
    desk: Desk, number: int, when: str
) -> None:
    before: Mapping[str, Fingerprint] = desk.bench.fingerprints()
    ports = desk.state()
    killed(desk, number, when, "apply", "--yes")
    assert desk.kept()
    if (number, when) == (CHANGES, "after"):
        # By a spec that names no cloud the hosts go back, and the rest is told.
        with pytest.raises(RollbackNotProved, match="the spec names no cloud"):
            asyncio.run(api.recover(desk.spec(cloud="")))
        assert not desk.bench.run("gateway", f"test -e {TRANSACTION}").ok
        assert desk.kept()
    recovered(desk)
    assert desk.state() == ports
    assert desk.bench.differences(before) == []
    assert not desk.kept()


@KILLS
def test_it_asks_a_cloud_for_just_these_changes(desk: Desk) -> None:
    code, text = desk.said("apply", "--yes")
    assert code == 0, text
    assert len(desk.between.changes) == CHANGES
    assert [one.split()[0] for one in desk.between.changes] == ["POST", "POST", "DELETE", "DELETE", "PUT"]


@KILLS
@pytest.mark.parametrize(("number", "when"), kills(2))
def test_an_undo_that_is_killed_at_a_request_too(desk: Desk, number: int, when: str) -> None:
    before, ports = desk.bench.fingerprints(), desk.state()
    desk.bench.apply(desk.spec())
    applied, there = desk.bench.fingerprints(), desk.state()
    desk.between.changes.clear()
    killed(desk, number, when, "undo", "--yes")
    recovered(desk)
    if desk.state() == ports:
        assert desk.bench.differences(before) == []
    else:
        assert desk.state()[1] == there[1]
        assert desk.bench.differences(applied) == []
    desk.bench.undo(desk.spec())
    assert desk.state() == ports


@KILLS
def test_hosts_that_put_themselves_back_leave_it_to_recover(
    desk: Desk, eventually: Callable[..., None]
) -> None:
    before, ports = desk.bench.fingerprints(), desk.state()
    killed(desk, CHANGES, "after", "apply", "--yes", "--guard", "10s")
    assert desk.seed.document("B-eth1")["allowed_address_pairs"] != []
    gone = "! test -e /var/lib/crossnet/transaction"
    eventually(lambda: desk.bench.run("gateway", gone).ok and desk.bench.run("app", gone).ok, "it is back")
    desk.between.after = lambda number: None
    assert desk.kept()
    code, text = desk.said("apply", "--yes")
    assert code == 1, text
    assert "has left changes at cloud member" in text
    assert "has left changes at cloud member" in desk.said("status")[1]
    recovered(desk)
    assert desk.state() == ports
    assert desk.bench.differences(before) == []
