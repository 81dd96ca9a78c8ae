"""Gateways whose tools cannot print all rules that are there: what can be read is, and the crossing is made."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

import crossnet
from crossnet.design import Impact
from crossnet.errors import PlanRefused
from crossnet.facts import Facts
from crossnet.health.status import State
from crossnet.lab.build import Lab
from crossnet.netfilter import Engine
from crossnet.show.text import facts_text
from crossnet.verdict import Result
from lab.crossing import Bench

pytestmark = pytest.mark.lab

SPEC = "to: 10.0.44.0/24, probe: icmp/10.0.44.1"

WITHOUT_AN_EXTENSION = r"""
set -e
folder=$(echo /usr/lib/*/xtables)
mkdir /tmp/xtables
cp -a "$folder"/. /tmp/xtables
rm /tmp/xtables/libxt_length.so
mount --bind /tmp/xtables "$folder"
"""
# In place of nft, which it finds at /tmp/nft; what stands before the last line decides when it fails.
IN_PLACE_OF_NFT = r"""
set -e
cp /usr/sbin/nft /tmp/nft
cat >/tmp/played
chmod 755 /tmp/played
mount --bind /tmp/played /usr/sbin/nft
"""
PRINTS_NO_JSON = r"""#!/bin/sh
for word; do [ "$word" != -j ] || { echo "Error: JSON support not compiled-in" >&2 && exit 1; }; done
exec /tmp/nft "$@"
"""
ABORTS = r"""#!/bin/sh
case "$*" in "-j list ruleset" | "-j list chain ip own odd") kill -ABRT $$ ;; esac
exec /tmp/nft "$@"
"""


@pytest.fixture
def bench(lab_up: Callable[..., Lab]) -> Bench:
    return Bench(lab_up("seed"))


def gateway_of(b: Bench) -> Facts:
    return asyncio.run(crossnet.observe(b.spec(SPEC)))["gateway"]


def carries_and_goes(b: Bench) -> tuple[Impact, ...]:
    """The crossing is made, found to stand, and undone; what its plan told of the gateway."""
    spec, before = b.spec(SPEC), b.fingerprints()
    plan = b.plan(spec)
    b.apply(spec)
    assert b.pings("app", "10.0.44.1")
    assert [one.result for one in b.verify(spec).verdicts] == [Result.REACHABLE]
    assert b.plan(spec).is_empty
    b.undo(spec)
    assert not b.pings("app", "10.0.44.1")
    left = [line for line in b.differences(before) if "iptables-legacy: " not in line]  # empty tables stay
    assert left == []
    return tuple(impact for impact in plan.impacts if impact.where == "gateway")


@pytest.mark.parametrize(
    ("variant", "told"),
    [
        ("legacy", "-s 10.0.43.77/32 -j \"Can't find library for match `length'\""),
        ("nft", 'ip saddr 10.0.43.77 xt match "length" counter drop'),
    ],
)
def test_an_extension_of_iptables_is_missing(bench: Bench, variant: str, told: str) -> None:
    for rule in ("-s 10.0.43.77 -m length --length 100:200", "-s 10.0.43.78"):
        bench.check("gateway", f"iptables-{variant} -A FORWARD {rule} -j DROP")
    bench.check("gateway", f"iptables-{variant} -P FORWARD DROP")
    bench.check("gateway", WITHOUT_AN_EXTENSION)
    tables = bench.check(
        "gateway", "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null; true"
    )

    facts = gateway_of(bench)
    (chain,) = (
        chain for _, _, chain in facts.firewall.others() if chain.hook and chain.hook.name == "forward"
    )
    assert (chain.count, chain.hook and chain.hook.policy) == (2, "drop")
    assert chain.rules[1].text.removeprefix("-A FORWARD ") in (
        "-s 10.0.43.78/32 -c 0 0 -j DROP",
        "ip saddr 10.0.43.78 counter drop",
    )
    shown = " ".join(facts_text({"gateway": facts}).split())
    assert f"rules iptables-{variant} IPv4: 2 not understood in filter FORWARD: {told}" in shown
    # Whoever asks the kernel for a legacy table by its name makes it.
    assert tables == bench.check(
        "gateway", "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null; true"
    )
    carries_and_goes(bench)


def test_an_nft_that_prints_no_json(bench: Bench) -> None:
    """Where nothing is in nftables it is passed over; where something is, that may do anything."""
    bench.check("gateway", IN_PLACE_OF_NFT, stdin=PRINTS_NO_JSON.encode())
    facts = gateway_of(bench)
    assert facts.firewall.unusable == {Engine.NFTABLES: "this nft prints no JSON"}
    assert facts.firewall.foreign == ()
    carries_and_goes(bench)

    bench.check("gateway", "/tmp/nft add table ip own; /tmp/nft add chain ip own any")
    facts = gateway_of(bench)
    assert "rules nftables ip own not understood, any of them: this nft prints no JSON" in " ".join(
        facts_text({"gateway": facts}).split()
    )
    told = carries_and_goes(bench)
    assert any("this nft prints no JSON" in impact.text for impact in told), told


def test_an_nft_that_aborts(bench: Bench) -> None:
    """It prints its chains one by one, all but one."""
    bench.check("gateway", IN_PLACE_OF_NFT, stdin=ABORTS.encode())
    bench.check(
        "gateway",
        "/tmp/nft -f -",
        stdin=b"""table ip own {
    chain forward { type filter hook forward priority 0; ip saddr 10.0.43.77 drop; ip protocol tcp jump odd; }
    chain odd { tcp dport 25 drop; }
}
""",
    )
    facts = gateway_of(bench)
    assert facts.firewall.unusable == {}
    shown = " ".join(facts_text({"gateway": facts}).split())
    assert "rules nftables ip own: 3 not understood in odd: rules that nft cannot print" in shown
    assert carries_and_goes(bench)


def test_an_iptables_that_prints_nothing_hides_no_rules(bench: Bench) -> None:
    bench.check("gateway", "iptables-legacy -A FORWARD -s 10.0.43.77 -j DROP")
    bench.check(
        "gateway",
        "printf '#!/bin/sh\\n' >/tmp/silent; chmod 755 /tmp/silent; "
        "mount --bind /tmp/silent $(command -v iptables-legacy-save)",
    )
    firewall = gateway_of(bench).firewall
    assert firewall.holds_rules(Engine.IPTABLES_LEGACY)
    assert "table filter" in firewall.unusable[Engine.IPTABLES_LEGACY]


@pytest.mark.parametrize("firewall", ["auto", "iptables"])
def test_what_iptables_prints_no_more_is_not_taken_for_gone(bench: Bench, firewall: str) -> None:
    """As after a boot with `nft list ruleset >/etc/nftables.conf`: rules of iptables are then rules of nft's own."""
    bench.check("gateway", "iptables -P FORWARD DROP")
    spec = bench.spec(f"{SPEC}, firewall: {firewall}")
    bench.apply(spec)
    bench.check("gateway", "nft list ruleset >/tmp/dump")
    load = "(echo flush ruleset; cat /tmp/dump) | nft -f -"

    def refused(state: State) -> str:
        """What an apply and an undo say is to be done before them; neither has changed anything."""
        bench.check("gateway", load)
        before = bench.check("gateway", "nft -s list ruleset")
        (now,) = asyncio.run(crossnet.status(spec))
        assert now.state is state
        assert "iptables does not print its table" in " ".join(now.reasons)
        with pytest.raises(PlanRefused) as at_apply:
            bench.apply(spec)
        with pytest.raises(PlanRefused) as at_undo:
            bench.undo(spec)
        assert bench.check("gateway", "nft -s list ruleset") == before
        [refusal] = at_undo.value.refusals
        assert at_apply.value.refusals == (refusal,)
        assert ("fence" in refusal.todo) == (firewall == "iptables")
        todo = re.search(r"`(nft '.+')`", refusal.todo)
        assert todo is not None
        return todo[1]

    bench.check("gateway", refused(State.DRIFTED))
    assert bench.undo(spec).confirmed
    assert "CROSSNET" not in bench.check("gateway", "nft list ruleset")
    bench.check("gateway", refused(State.UNRECORDED))
    bench.undo(spec)
    assert "CROSSNET" not in bench.check("gateway", "nft list ruleset")
    (now,) = asyncio.run(crossnet.status(spec))
    assert now.state is State.DOWN


@pytest.mark.parametrize("firewall", ["auto", "iptables"])
def test_a_boot_that_loads_a_dump_first_ends_as_it_was_applied(bench: Bench, firewall: str) -> None:
    """crossnet's own script comes after it: the chains are its own again, and each is entered once."""
    bench.check("gateway", "iptables -P FORWARD DROP")
    spec = bench.spec(f"{SPEC}, firewall: {firewall}")
    bench.apply(spec)
    applied = bench.check("gateway", "iptables-nft-save | grep ^-A")
    bench.check("gateway", "nft list ruleset >/tmp/dump; (echo flush ruleset; cat /tmp/dump) | nft -f -")
    assert "incompatible" in bench.check("gateway", "iptables-nft-save")
    bench.check("gateway", "sh /etc/crossnet/start")
    assert bench.check("gateway", "iptables-nft-save | grep ^-A") == applied
    assert bench.plan(spec).is_empty
    bench.undo(spec)
    assert "CROSSNET" not in bench.check("gateway", "nft list ruleset")
