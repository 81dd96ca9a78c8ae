"""What of others may drop a crossing's frames before or after IP."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossnet.design.forwarded import may_drop_frames
from crossnet.facts.firewall import Firewall
from crossnet.netfilter.foreign import Accept, Chain, Drop, Hook, Jump, Rule, Table, Tool, Unknown, Verdict
from design.factsheet import host_facts

GATEWAY = "eth1 10.0.43.101/24\neth0 10.0.44.63/24\nbr0 10.9.0.1/24 bridge"


def table(family: str, hook: Hook, verdict: Verdict | Unknown, *, dormant: bool = False) -> Table:
    inner = Chain("inner", None, 1, lambda: (Rule((verdict,), "its words"),))
    base = Chain("base", hook, 1, lambda: (Rule((Jump("inner"),), "jump inner"),))
    return Table(Tool.NFT, family, "early", {"base": base, "inner": inner}, dormant=dormant)


def found(held: Table, *interfaces: str) -> tuple[str, ...]:
    facts = replace(host_facts("gateway", GATEWAY), firewall=Firewall(foreign=(held,)))
    return may_drop_frames(facts, interfaces)


INGRESS = Hook("ingress", "filter", 0, devices=("eth1",))


@pytest.mark.parametrize("verdict", [Drop(), Unknown("what nobody knows")])
def test_a_drop_at_ingress_is_told_through_jumps(verdict: Drop | Unknown) -> None:
    held = table("netdev", INGRESS, verdict)
    assert found(held, "eth1", "eth0") == ("table netdev early chain inner: rule its words",)
    assert found(held, "eth0") == ()


def test_what_drops_nothing_or_is_dormant_is_not_told() -> None:
    assert found(table("netdev", INGRESS, Accept()), "eth1") == ()
    assert found(table("inet", INGRESS, Drop(), dormant=True), "eth1") == ()
    assert found(table("inet", Hook("forward", "filter", 0), Drop()), "eth1") == ()


def test_devices_that_are_not_told_may_be_any() -> None:
    assert found(table("inet", replace(INGRESS, devices=()), Drop()), "eth0") != ()


def test_a_bridge_counts_where_a_crossing_goes_through_it() -> None:
    held = table("bridge", Hook("forward", "filter", 0, "drop"), Accept())
    assert found(held, "br0") == ("table bridge early chain base: policy drop",)
    assert found(held, "eth1") == ()
