"""The seed as people type it, on each engine: what `crossnet adopt` makes of it, and how it narrows it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crossnet import api, specfile
from crossnet.adoption.hosts import hosts_of
from crossnet.api import Adoption
from crossnet.errors import CrossnetError
from crossnet.lab.build import Lab
from crossnet.resources import Resource
from lab.crossing import Bench

pytestmark = pytest.mark.lab

BY_HAND = {
    "nftables": "nft add table ip by_hand && "
    "nft 'add chain ip by_hand post { type nat hook postrouting priority 100; }' && "
    "nft add rule ip by_hand post oifname eth0 snat to 10.0.44.63",
    "iptables-nft": "iptables-nft -t nat -A POSTROUTING -o eth0 -j SNAT --to-source 10.0.44.63",
    "iptables-legacy": "iptables-legacy -t nat -A POSTROUTING -o eth0 -j SNAT --to-source 10.0.44.63",
}
ENGINES = ("nftables", "iptables-nft", pytest.param("iptables-legacy", marks=pytest.mark.variants))
# What a plan may hold that only narrows, or lasts longer: the rules with the fence, and what is for the next boot.
NARROWS = {"table", "jump"}


def seed_by_hand(bench: Bench, engine: str) -> None:
    bench.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101 dev eth0")
    bench.check("gateway", f"sysctl -qw net.ipv4.ip_forward=1 && {BY_HAND[engine]}")
    assert bench.pings("app", "10.0.44.1")


def adopted(bench: Bench) -> Adoption:
    clients, gateways = hosts_of(
        [f"lab:{bench.lab.name}/app"], [f"lab:{bench.lab.name}/gateway"], become=False
    )
    return asyncio.run(api.adopt(clients, gateways, name="seed", file="seed.yaml"))


def codes(found: Adoption) -> set[tuple[str, str]]:
    return {(each.where, each.code) for each in found.findings}


def live(found: Adoption) -> list[Resource]:
    return [change.resource for _, change in found.plan.changes if not change.resource.is_persistent]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_seed_by_hand_becomes_a_spec_that_changes_nothing_but_narrows(
    lab_up: Callable[..., Lab], engine: str
) -> None:
    bench = Bench(lab_up("demo"), ("app", "gateway"))
    seed_by_hand(bench, engine)
    before = bench.fingerprints()
    found = adopted(bench)
    assert bench.differences(before) == [], "adopt only reads"
    (crossing,) = found.spec.crossings
    assert (crossing.clients, crossing.via, [*map(str, crossing.to)]) == (
        ("app",),
        "gateway",
        ["10.0.44.0/24"],
    )
    assert crossing.fence == "on"
    assert codes(found) == {
        ("gateway", "snat-for-everybody"),
        ("gateway", "forwards-for-everybody"),
        ("gateway", "lost-at-boot"),
        ("app", "lost-at-boot"),
    }
    assert {one.kind for one in live(found)} <= NARROWS
    assert {(host.host, one.kind) for host in found.plan.hosts for one in host.adopted} == {
        ("app", "route"),
        ("gateway", "sysctl"),
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_it_narrows_what_stands_there_and_keeps_the_clients_way(
    lab_up: Callable[..., Lab], engine: str
) -> None:
    bench = Bench(lab_up("demo"), ("app", "gateway"))
    seed_by_hand(bench, engine)
    if engine != "nftables":
        bench.check("gateway", f"{BY_HAND[engine]} && {BY_HAND[engine]}")  # as a script does that ran again
    bench.check("neighbour", "ip route add 10.0.44.0/24 via 10.0.43.101 dev eth0")
    assert bench.pings("neighbour", "10.0.44.1"), "as it was typed everybody gets through"
    found = adopted(bench)
    spec = specfile.parse(found.spec.source, "seed.yaml")
    bench.apply(spec)
    assert bench.pings("app", "10.0.44.1")
    assert not bench.pings("neighbour", "10.0.44.1")
    assert bench.plan(spec).is_empty
    # Then the rule that was typed goes, by the command that is shown; of nft it needs the number of the rule.
    (rule,) = [each for each in found.findings if each.code == "snat-for-everybody"]
    (fix,) = rule.fix
    for command in fix.commands:
        bench.check("gateway", command)
    if engine == "nftables":
        bench.check("gateway", "nft flush chain ip by_hand post")
    assert "-A POSTROUTING -o eth0" not in bench.check("gateway", "iptables-nft-save; iptables-legacy-save")
    assert bench.plan(spec).is_empty
    assert bench.pings("app", "10.0.44.1")
    with pytest.raises(CrossnetError, match=r"by crossing seed/app-to-10.0.44.0-24 already"):
        adopted(bench)


@pytest.mark.parametrize("engine", ENGINES)
def test_undo_gives_back_what_was_typed(lab_up: Callable[..., Lab], engine: str) -> None:
    bench = Bench(lab_up("seed"))
    seed_by_hand(bench, engine)
    before = bench.fingerprints()
    spec = adopted(bench).spec
    bench.apply(spec)
    bench.undo(spec)
    assert bench.differences(before) == []
    assert bench.pings("app", "10.0.44.1")


def test_the_command_writes_a_file_and_never_over_one(lab_up: Callable[..., Lab], tmp_path: Path) -> None:
    bench = Bench(lab_up("demo"), ("app", "gateway"))
    seed_by_hand(bench, "iptables-nft")
    file = tmp_path / "seed.yaml"
    lab = bench.lab.name
    words = ["adopt", f"lab:{lab}/app", "--via", f"lab:{lab}/gateway", "-f", str(file), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "crossnet", *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["text"] == file.read_text()
    assert said["plan"]["hosts"]
    again = subprocess.run(
        [sys.executable, "-m", "crossnet", *words], capture_output=True, text=True, timeout=60
    )
    assert again.returncode == 1
    assert "already exists" in again.stdout + again.stderr
    assert said["text"] == file.read_text()


def test_a_client_without_a_route_is_told_so(lab_up: Callable[..., Lab], tmp_path: Path) -> None:
    bench = Bench(lab_up("seed"))
    lab = bench.lab.name
    words = [
        "adopt",
        f"lab:{lab}/app",
        "--via",
        f"lab:{lab}/gateway",
        "-f",
        str(tmp_path / "seed.yaml"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "crossnet", *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "has no route to an address of gateway" in done.stderr
    assert not (tmp_path / "seed.yaml").exists()
