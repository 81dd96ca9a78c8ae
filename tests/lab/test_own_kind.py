"""On real hosts: a kind that no stage knows, and lines in a file of somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

import pytest

import crossnet
from crossnet import site
from crossnet.errors import RolledBack
from crossnet.health import State
from crossnet.lab.build import Lab
from crossnet.resources import KINDS, Lines, Resource
from crossnet.resources.resource import Phase
from crossnet.spec import Spec
from faults.hostside import CROSSINGS, HostSide, sides_of, spread, start_units
from faults.oracle import NEW, OLD
from faults.test_host_boot import lose_power_in
from lab.crossing import Bench
from planning.beside import wanting
from planning.motd import Motd

pytestmark = pytest.mark.lab

TO = "to: 10.0.44.0/24"
PATH = "/etc/network/interfaces"
ENTRY = b"    # crossing business\n    up ip route add 10.0.44.0/24 via 10.0.43.101\n"
LIVE = "/etc/hosts.crossing"


@dataclass(frozen=True, slots=True)
class LiveLines(Lines):
    """Lines that are of use at once, and so are put back by a roll-back."""

    kind: ClassVar[str] = "live-lines"
    rank: ClassVar[int] = 3

    @property
    def phase(self) -> Phase:
        return Phase.LIVE


@pytest.fixture
def bench(lab_up: Callable[..., Lab]) -> Bench:
    return Bench(lab_up("seed"))


def knowing(patch: pytest.MonkeyPatch, **more: tuple[Resource, ...]) -> None:
    for kind in (Motd, LiveLines):
        patch.setitem(KINDS, kind.kind, kind)
    wanting(patch, **more)
    patch.setattr(site, "READ", (*site.READ, PurePosixPath(PATH), PurePosixPath(LIVE)))


def state(spec: Spec) -> State:
    (found,) = asyncio.run(crossnet.status(spec))
    return found.state


def test_a_kind_of_its_own_is_applied_drifts_and_is_undone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = Motd("leads to the business network")
    knowing(monkeypatch, app=(words,))
    bench.check("app", "echo Welcome. >/etc/motd")
    before = bench.fingerprints()
    with pytest.raises(RolledBack):
        bench.apply(bench.spec(f"{TO}, probe: icmp/10.0.44.77"))
    assert bench.differences(before) == []
    spec = bench.spec(TO)
    bench.apply(spec)
    assert bench.check("app", "cat /etc/motd") == f"{words.words}\n"
    assert bench.plan(spec).is_empty
    assert state(spec) is State.UP
    bench.check("app", "echo Hello. >/etc/motd")
    assert state(spec) is State.DRIFTED
    bench.apply(spec)
    assert bench.check("app", "cat /etc/motd") == f"{words.words}\n"
    bench.undo(spec)
    assert bench.differences(before) == []


def test_lines_come_with_an_apply_and_go_with_an_undo_whatever_others_wrote_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.check("app", f"mkdir -p /etc/network; printf '# by hand\\nauto lo' >{PATH}; chmod 640 {PATH}")
    before = bench.fingerprints()
    spec = bench.spec(TO)
    with monkeypatch.context() as patch:
        knowing(patch, app=(Lines(PATH, ENTRY),))
        earlier = bench.plan(spec)
        bench.check("app", f"printf '# by hand\\nauto eth7' >{PATH}")
        asyncio.run(crossnet.apply(earlier))
        assert bench.check("app", f"cat {PATH}") == f"# by hand\nauto eth7\n{ENTRY.decode()}"
        bench.check("app", f"sed -i s/eth7/lo/ {PATH}")
        assert bench.check("app", f"stat -c %a {PATH}; cat {PATH}") == (
            f"640\n# by hand\nauto lo\n{ENTRY.decode()}"
        )
        bench.check("app", f"sed -i '1i # on top' {PATH}")
        assert bench.plan(spec).is_empty
    # Whoever undoes it knows of the file by the record alone.
    bench.undo(spec)
    assert bench.check("app", f"cat {PATH}") == "# on top\n# by hand\nauto lo"
    bench.check("app", f"sed -i 1d {PATH}")
    assert bench.differences(before) == []


def test_live_lines_are_put_back_by_a_roll_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    knowing(monkeypatch, app=(LiveLines(LIVE, b"10.0.44.1 target\n"),), gateway=(LiveLines(PATH, ENTRY),))
    bench.check("gateway", f"mkdir -p /etc/network; printf 'no end' >{PATH}; chown 5:6 {PATH}")
    before = bench.fingerprints()
    with pytest.raises(RolledBack):
        bench.apply(bench.spec(f"{TO}, probe: icmp/10.0.44.77"))
    assert bench.differences(before) == []
    spec = bench.spec(TO)
    bench.apply(spec)
    assert bench.check("app", f"cat {LIVE}") == "10.0.44.1 target\n"
    assert bench.check("gateway", f"stat -c %u:%g {PATH}; cat {PATH}") == f"5:6\nno end\n{ENTRY.decode()}"
    bench.undo(spec)
    assert bench.differences(before) == []


@pytest.fixture(scope="module")
def side(lab_possible: None) -> Iterator[HostSide]:
    """A gateway with lines of both kinds, one of them in a file that was not there."""

    def prepare(bench: Bench) -> None:
        start_units(bench)
        bench.check("gateway", f"mkdir -p /etc/network; printf '# by hand\\nauto lo' >{PATH}")

    with pytest.MonkeyPatch.context() as patch:
        knowing(patch, gateway=(Lines(PATH, ENTRY), LiveLines(LIVE, b"10.0.44.1 target\n")))
        with sides_of(CROSSINGS["nftables"], 1, own_clock=False, prepare=prepare) as (made,):
            yield made


@pytest.mark.parametrize(
    ("verb", "points"),
    [
        ("apply", 3),
        ("release", 2),
        *(pytest.param(verb, 30, marks=pytest.mark.faults) for verb in ("apply", "release", "rollback")),
    ],
)
def test_power_lost_with_lines_half_written(side: HostSide, verb: str, points: int) -> None:
    calls = side.calls_of(verb)
    for number in spread(calls * 9 // 10, points):
        lose_power_in(side, (verb, number, True))
    if side.state == NEW:
        side.undo()
        side.state = OLD
