"""Ports of a real Neutron as part of a transaction: all of it or nothing, whoever dies, and what others do stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloud.between import Between, between
from cloud.fixtures import GROUP, Seed
from crossnet.errors import PlanRefused, RolledBack
from crossnet.lab.build import Lab
from crossnet.lab.fingerprint import Fingerprint
from crossnet.record import CLOUD
from crossnet.spec import Spec
from crossnet.specfile import parse
from lab.crossing import Bench
from lab.test_transaction import break_tool

pytestmark = [pytest.mark.lab, pytest.mark.openstack, GROUP]

HARDWARE = {"A": "02:00:00:00:00:00", "B-eth1": "02:00:00:00:01:00", "B-eth0": "02:00:00:00:01:01"}
ADDRESSES = {
    "A": ("business", "10.0.43.15"),
    "B-eth1": ("business", "10.0.43.101"),
    "B-eth0": ("far", "10.0.44.63"),
}
CROSSING = "to: 10.0.44.0/24, allow: [icmp, tcp/443], persist: none"


@dataclass
class Desk:
    """A lab whose hosts are plugged into ports of a cloud, and who works there as a member of the project."""

    bench: Bench
    seed: Seed
    between: Between
    folder: Path

    def spec(self, crossing: str = CROSSING, name: str = "crossnet", cloud: str = "member") -> Spec:
        hosts = "".join(f"  {host}: {{lab: {self.bench.lab.name}/{host}}}\n" for host in self.bench.managed)
        crossings = f"  business: {{from: app, via: gateway, {crossing}}}\n"
        text = f"crossnet: 1\nname: {name}\nhosts:\n{hosts}crossings:\n{crossings}openstack: {{cloud: {cloud}}}\n"
        return parse(text, f"{name}.yaml")

    def state(self) -> tuple[Mapping[str, Any], list[str]]:
        """The ports as the API writes them, and the groups that there are."""
        groups = self.seed.ask("GET", "/security-groups?fields=name")["security_groups"]
        return {name: self.seed.document(name) for name in HARDWARE}, sorted(one["name"] for one in groups)

    def crossnet(self, *words: str) -> subprocess.Popen[str]:
        file = self.folder / "crossnet.yaml"
        file.write_text(self.spec().source)
        return subprocess.Popen(
            [sys.executable, "-m", "crossnet", *words, "-f", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
        )

    def said(self, *words: str) -> tuple[int, str]:
        process = self.crossnet(*words)
        text, _ = process.communicate(timeout=120)
        return process.returncode, text

    def kept(self) -> bool:
        return self.bench.run("gateway", f"test -e {CLOUD}").ok


@pytest.fixture
def desk(
    lab_up: Callable[..., Lab], seed_networks: Seed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    bench = Bench(lab_up("seed"))
    served = seed_networks.served
    for name, mac in HARDWARE.items():
        network, address = ADDRESSES[name]
        seed_networks.make_port(name, seed_networks.networks[network], address, mac_address=mac)
    with between(served.neutron) as one:
        entries = {
            user: {**served.entry(user), "network_endpoint_override": one.url}
            for user in ("member", "reader")
        }
        (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": entries}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
        yield Desk(bench, seed_networks, one, tmp_path)
    seed_networks.remove()


@pytest.mark.parametrize("how", ["least", "disable"])
def test_undo_leaves_the_ports_as_they_were(desk: Desk, how: str) -> None:
    before, hosts = desk.state(), desk.bench.fingerprints()
    spec = desk.spec(f"{CROSSING}, port-security: {how}")
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
    other = desk.spec(
        "to: 10.0.44.128/25, allow: tcp/443, persist: none".replace("business", "other"), "other"
    )
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


def test_a_port_that_is_gone_is_told_and_undo_goes_on(desk: Desk) -> None:
    hosts = desk.bench.fingerprints()
    desk.bench.apply(desk.spec())
    desk.seed.ask("DELETE", f"/ports/{desk.seed.ports.pop('B-eth1')}")
    code, text = desk.said("status")
    assert (code, "no more in cloud member" in text) == (3, True), text
    with pytest.raises(PlanRefused, match="eth1"):
        desk.bench.plan(desk.spec())
    desk.bench.undo(desk.spec())
    assert desk.bench.differences(hosts) == []


def killed(desk: Desk, number: int, when: str, *words: str) -> str:
    """What crossnet said until it was killed at its n-th change of the cloud."""
    process = desk.crossnet(*words)
    seen = list[int]()

    def kill(at: int) -> None:
        if at == number:
            seen.append(at)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    setattr(desk.between, when, kill)
    text, _ = process.communicate(timeout=120)
    assert seen == [number], f"it was never reached: {text}"
    return text


def recovered(desk: Desk) -> None:
    desk.between.before = desk.between.after = lambda number: None
    code, text = desk.said("recover")
    assert code in (0, 3), text  # whether hosts had anything to put back


# Its group, the group's rules, the two rules that every new group has, and the port.
CHANGES = 5


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, CHANGES + 1))
def test_whoever_is_killed_at_a_request_leaves_all_of_it_or_nothing(
    desk: Desk, number: int, when: str
) -> None:
    before: Mapping[str, Fingerprint] = desk.bench.fingerprints()
    ports = desk.state()
    killed(desk, number, when, "apply", "--yes")
    assert desk.kept()
    recovered(desk)
    assert desk.state() == ports
    assert desk.bench.differences(before) == []
    assert not desk.kept()


def test_it_asks_a_cloud_for_just_these_changes(desk: Desk) -> None:
    code, text = desk.said("apply", "--yes")
    assert code == 0, text
    assert len(desk.between.changes) == CHANGES
    assert [one.split()[0] for one in desk.between.changes] == ["POST", "POST", "DELETE", "DELETE", "PUT"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
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
