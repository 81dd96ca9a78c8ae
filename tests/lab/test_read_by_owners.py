"""Any routes in what systemd-networkd, ifup and NetworkManager read: each of them sets these, and no others."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from random import Random

import pytest

from crossnet.facts.owners import Keeper, Owner
from crossnet.facts.routes import Route
from crossnet.lab.build import Lab
from crossnet.persistence import ifupdown, networkd, networkmanager
from crossnet.persistence.needs import Needs
from crossnet.resources import Command, File, ProfileRoute, Step
from crossnet.values import address, network
from design.factsheet import host_facts
from lab.crossing import Bench
from lab.owners import IFUPDOWN, NETWORKMANAGER, with_program

pytestmark = pytest.mark.machine

LabUp = Callable[..., Lab]
Eventually = Callable[..., None]

PROFILE = "11111111-2222-3333-4444-555555555551"  # of the test's NetworkManager
HEAD = "# crossnet: any. Written by crossnet; `crossnet undo` removes it.\n"
ROUNDS = 4


def any_routes(random: Random, protocol: str) -> list[Route]:
    return [
        Route(
            network(f"10.{60 + n}.{random.choice((0, 128))}.0/{random.choice((17, 24, 32))}"),
            address("10.0.43.101"),
            "eth0",
            address("10.0.43.15") if random.random() < 0.3 else None,
            protocol,
            random.choice((0, 0, 7, 300)),
        )
        for n in range(random.randrange(1, 30))
    ]


def told(routes: Sequence[Route]) -> list[tuple[str, str, int]]:
    return sorted((str(one.destination), str(one.source or ""), one.metric) for one in routes)


def there(b: Bench) -> list[tuple[str, str, int]]:
    found = json.loads(b.check("app", "ip -j route show via 10.0.43.101 dev eth0") or "[]")
    return sorted(
        (
            one["dst"] if "/" in one["dst"] else f"{one['dst']}/32",
            one.get("prefsrc", ""),
            one.get("metric", 0),
        )
        for one in found
    )


def write(b: Bench, file: File) -> None:
    folder = file.path.rpartition("/")[0]
    b.check(
        "app", f"mkdir -p {folder} && cat >{file.path} && chmod {file.mode:o} {file.path}", stdin=file.data
    )


def test_networkd(machines_up: LabUp, eventually: Eventually) -> None:
    b = Bench(machines_up("seed"))
    owner = Owner("eth0", Keeper.NETWORKD, "", "/etc/systemd/network/10-eth0.network")
    for seed in range(ROUNDS):
        routes = any_routes(Random(seed), "143")
        write(b, networkd.keep(Needs(owner, tuple(routes)), host_facts("app", ""), HEAD))
        b.check("app", "networkctl reload")
        eventually(lambda routes=routes: there(b) == told(routes), "networkd has set them")
    b.check("app", f"rm {networkd.files(owner)[0]} && networkctl reload")
    eventually(lambda: there(b) == [], "networkd has taken them away")


def test_ifup(machines_up: LabUp, eventually: Eventually) -> None:
    b = Bench(machines_up("seed"))
    with_program(b, IFUPDOWN, eventually)
    owner = Owner("eth0", Keeper.IFUPDOWN, "")
    for seed in range(ROUNDS):
        routes = any_routes(Random(seed), "143")
        (script,) = ifupdown.keep([Needs(owner, tuple(routes))], HEAD)
        write(b, script)
        b.check("app", "ifdown eth0; ifup eth0")
        assert there(b) == told(routes)
    b.check("app", f"rm {ifupdown.PATH} && ifdown eth0 && ifup eth0")
    assert there(b) == []


def test_networkmanager(machines_up: LabUp, eventually: Eventually) -> None:
    b = Bench(machines_up("seed"))
    with_program(b, NETWORKMANAGER, eventually)
    # NetworkManager gives a route that names no metric one of its own: crossnet's always name theirs.
    for seed in range(ROUNDS):
        routes = any_routes(Random(seed), networkmanager.PROTOCOL)
        kept = [ProfileRoute(PROFILE, route) for route in routes]
        for one in kept:
            run(b, ProfileRoute.render(None, one))
        b.check("app", "nmcli connection up wired-eth0")
        eventually(lambda routes=routes: there(b) == told(routes), "NetworkManager has set them")
        for one in kept:
            run(b, ProfileRoute.render(one, None))
    b.check("app", "nmcli connection up wired-eth0")
    eventually(lambda: there(b) == [], "NetworkManager has taken them away")
    assert "10.77.1.0/24" in b.check("app", "nmcli -g ipv4.routes connection show wired-eth0")


def run(b: Bench, steps: Sequence[Step]) -> None:
    for step in steps:
        assert isinstance(step, Command)
        b.check("app", shlex.join(step.argv), stdin=step.stdin)
