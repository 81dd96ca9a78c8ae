"""Machines whose interfaces one program keeps: a crossing comes back with it, and goes without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import product

import pytest

from crossnet import api
from crossnet.lab.build import Lab
from crossnet.netfilter import Engine
from crossnet.verdict import Result
from lab.crossing import Bench
from lab.owners import NETWORKMANAGER, PROGRAMS, Program, with_program
from lab.smoke import SMOKE
from lab.test_fence_in_time import TARGETS, applied, under_fire, with_engine, with_outsider
from lab.test_machine import restart

pytestmark = pytest.mark.machine

LabUp = Callable[..., Lab]
Eventually = Callable[..., None]

_SMOKE = (NETWORKMANAGER, Engine.IPTABLES_NFT)


@pytest.mark.parametrize(
    ("program", "engine"),
    [
        pytest.param(*each, id=f"{each[0]}-{each[1]}", marks=SMOKE if each == _SMOKE else ())
        for each in product(PROGRAMS, Engine)
    ],
)
def test_a_crossing_comes_back_with_who_keeps_the_interfaces(
    machines_up: LabUp, eventually: Eventually, program: Program, engine: Engine
) -> None:
    fire = under_fire(machines_up(with_outsider()))
    b = fire.bench
    with_program(b, program, eventually)
    with_engine(b, engine)
    for host, facts in b.observe().items():
        interfaces = [each.name for each in b.lab.topology.host(host).interfaces]
        assert {facts.owners[name].keeper for name in interfaces} == {program.keeper}
    before, theirs = b.fingerprints(), b.check("app", program.theirs)

    def works() -> bool:
        return all(b.pings("app", target) for target in TARGETS)

    with fire.burning():
        spec = applied(b, engine)
        b.check("app", program.evidence)
        assert b.run("app", "systemctl cat crossnet.service").ok != program.keeps_routes

        restart(b, eventually)
        eventually(works, "the crossing works by itself")
        assert b.verify(spec).result is Result.REACHABLE
        assert b.plan(spec).is_empty

        for host in b.managed:
            for interface in b.lab.topology.host(host).interfaces:
                b.check(host, program.again.format(interface.name))
            b.check(host, f"systemctl restart {program.unit}")
            if not program.keeps_routes:
                b.apply(spec)
            eventually(works, f"the crossing works after the interfaces of {host} went down and up")
            assert b.plan(spec).is_empty
        assert b.verify(spec).result is Result.REACHABLE

        b.undo(spec)
        restart(b, eventually)

    def left() -> list[str]:
        # NetworkManager writes the profile anew, and what it has seen.
        return [line for line in b.differences(before) if "NetworkManager" not in line]

    # Who keeps the interfaces brings them up a while after the boot.
    eventually(lambda: not left(), "the hosts are as before after the boot")
    assert left() == []
    assert b.check("app", program.theirs) == theirs


HIGHER = (
    "nmcli connection add type ethernet con-name higher ifname eth0 connection.autoconnect-priority 10 "
    "ipv4.method manual ipv4.addresses {}"
)


def test_a_profile_that_comes_first_at_the_next_boot_is_known_before_it(
    machines_up: LabUp, eventually: Eventually
) -> None:
    b = Bench(machines_up("seed"))
    with_program(b, NETWORKMANAGER, eventually)
    spec = b.spec("to: 10.0.44.0/24")
    b.apply(spec)
    (interface,) = b.lab.topology.host("app").interfaces
    own = next(each for each in interface.addresses if each.version == 4)

    def lasts() -> bool:
        (one,) = asyncio.run(api.status(spec))
        return all(each.persistent for each in one.lasting if each.host == "app")

    assert lasts()
    b.check("app", HIGHER.format(own))
    assert not lasts()
    b.apply(spec)
    assert lasts()
    restart(b, eventually)
    assert "higher" in b.check("app", "nmcli -t -f NAME connection show --active")
    eventually(lambda: b.pings("app", "10.0.44.1"), "the crossing works with the other profile")
    assert b.plan(spec).is_empty
    b.undo(spec)
    assert "10.0.44.0" not in b.check("app", "cat /etc/NetworkManager/system-connections/*")
