"""What iptables makes appear for crossnet's chains is gone with them, where the kernel lets it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import crossnet
from crossnet import api
from crossnet.errors import RolledBack
from crossnet.lab.build import Lab
from crossnet.show.text import undo_plan_text
from crossnet.spec import Spec
from lab.crossing import Bench

pytestmark = pytest.mark.lab


@pytest.fixture
def bench(lab_up: Callable[..., Lab]) -> Bench:
    return Bench(lab_up("seed"), ("app", "gateway"))


def _tables(bench: Bench) -> list[str]:
    return sorted(bench.check("gateway", "nft list tables").splitlines())


def test_nothing_is_left_that_was_not_there(bench: Bench) -> None:
    spec = bench.spec("to: 10.0.44.0/24, firewall: iptables")
    assert _tables(bench) == []
    bench.apply(spec)
    assert set(_tables(bench)) >= {"table ip filter", "table ip nat"}
    assert bench.apply(spec).confirmed is None
    assert bench.undo(spec).confirmed
    assert _tables(bench) == []


def test_nothing_is_left_by_a_rollback(bench: Bench) -> None:
    spec = bench.spec("to: 10.0.44.0/24, firewall: iptables, probe: icmp/10.0.44.77")
    with pytest.raises(RolledBack):
        bench.apply(spec)
    assert _tables(bench) == []


def test_a_change_that_needs_a_table_no_more_takes_it_away(bench: Bench) -> None:
    bench.check("target", "ip route add 10.0.43.0/24 via 10.0.44.63")
    bench.apply(bench.spec("to: 10.0.44.0/24, firewall: iptables"))
    without = bench.spec("to: 10.0.44.0/24, firewall: iptables, translate: none")
    bench.apply(without)
    assert "table ip nat" not in _tables(bench)
    bench.undo(without)
    assert _tables(bench) == []


@pytest.mark.parametrize(
    "theirs",
    [
        "iptables-nft -t nat -N DOCKER",
        "iptables-nft -t nat -A OUTPUT -j RETURN",
        "iptables-nft -t nat -N DOCKER; iptables-nft -t nat -A PREROUTING -j DOCKER",
        "nft add set ip nat theirs '{ type ipv4_addr; }'",
    ],
)
def test_what_somebody_else_uses_by_now_stays(bench: Bench, theirs: str) -> None:
    spec = bench.spec("to: 10.0.44.0/24, firewall: iptables")
    bench.apply(spec)
    bench.check("gateway", theirs)
    foreign = "DOCKER" if "DOCKER" in theirs else "theirs" if "theirs" in theirs else "OUTPUT"
    asyncio.run(crossnet.undo(spec))
    assert _tables(bench) == ["table ip nat"]
    assert foreign in bench.check("gateway", "nft list table ip nat")


def test_what_was_there_before_stays_although_it_is_empty(bench: Bench) -> None:
    bench.check("gateway", "iptables-nft -A FORWARD -j RETURN; iptables-nft -D FORWARD -j RETURN")
    before = bench.check("gateway", "nft list ruleset")
    spec = bench.spec("to: 10.0.44.0/24, firewall: iptables")
    bench.apply(spec)
    bench.undo(spec)
    assert bench.check("gateway", "nft list ruleset") == before


def test_a_chain_that_drops_by_now_stays(bench: Bench) -> None:
    spec = bench.spec("to: 10.0.44.0/24, firewall: iptables")
    bench.apply(spec)
    bench.check(
        "gateway", "iptables-nft -P INPUT DROP; iptables-nft -P INPUT ACCEPT; iptables-nft -P FORWARD DROP"
    )
    asyncio.run(crossnet.undo(spec))
    assert _tables(bench) == ["table ip filter"]
    assert "policy drop" in bench.check("gateway", "nft list table ip filter")


def test_tables_that_the_kernel_keeps_are_told(bench: Bench) -> None:
    """With iptables-legacy a table that was used once stays."""
    bench.check("gateway", "iptables-legacy -w -A OUTPUT -d 192.0.2.77 -j ACCEPT")
    spec = bench.spec("to: 10.0.44.0/24, firewall: iptables")
    bench.apply(spec)
    told = undo_plan_text(_undo_plan(spec))
    bench.check("gateway", "iptables-legacy -w -t nat -A OUTPUT -d 192.0.2.77 -j ACCEPT")
    assert "[tables-stay]" not in undo_plan_text(_undo_plan(spec))  # it is somebody's by now
    bench.check("gateway", "iptables-legacy -w -t nat -D OUTPUT -d 192.0.2.77 -j ACCEPT")
    bench.undo(spec)
    stay = set(bench.check("gateway", "cat /proc/net/ip_tables_names").split())
    assert stay >= {"filter", "nat"}
    said = " ".join(told.split()).partition("tables of iptables stay")[2].partition("[tables-stay]")[0]
    assert "until the next boot: nat;" in said
    assert told.count("[tables-stay]") == 1


def _undo_plan(spec: Spec) -> api.UndoPlan:
    return asyncio.run(api.plan_undo(spec))
