"""A host whose record is lost: nothing opens it, nothing says that all is as before, and nobody is left alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

import crossnet
from crossnet.errors import CrossnetError, PlanRefused
from crossnet.health import State
from crossnet.lab.build import Lab
from crossnet.record import APPLIED
from crossnet.show.text import plan_text, undone_text
from crossnet.specfile import parse
from lab.crossing import Bench

pytestmark = pytest.mark.lab

LOSSES = {
    "removed": f"rm {APPLIED}",
    "emptied": f": >{APPLIED}",
    "garbage": f"head -c 300 /dev/urandom >{APPLIED}",
    "truncated": f"head -c 40 {APPLIED} >{APPLIED}.cut && mv {APPLIED}.cut {APPLIED}",
    "a list": f"echo '[1, 2]' >{APPLIED}",
    "a link to nowhere": f"rm {APPLIED}; ln -s /nowhere {APPLIED}",
}


@pytest.fixture
def bench(lab_up: Callable[..., Lab]) -> Bench:
    """The seed, where `target` knows the way back to a neighbour of the client that no crossing names."""
    made = Bench(lab_up("seed"))
    made.check("target", "ip route add 10.0.43.0/24 via 10.0.44.63")
    made.check("gateway", "ip addr add 10.0.46.1/24 dev eth1")
    made.check("app", "ip addr add 10.0.46.2/24 dev eth0")
    made.check("target", "ip route add 10.0.46.0/24 via 10.0.44.63")
    return made


def outsider_passes(b: Bench) -> bool:
    """A packet of a source that no crossing names, straight through the gateway."""
    return b.run("app", "ping -n -c 1 -W 1 -I 10.0.46.2 10.0.44.1").ok


def forwards(b: Bench) -> str:
    return b.check("gateway", "sysctl -n net.ipv4.ip_forward").strip()


def state(b: Bench, spec: crossnet.Spec) -> tuple[State, str]:
    (found,) = asyncio.run(crossnet.status(spec))
    return found.state, " ".join(found.reasons)


@pytest.mark.parametrize(
    ("loss", "engine"),
    [
        ("removed", "nftables"),
        ("emptied", "nftables"),
        ("garbage", "iptables"),
        pytest.param("truncated", "iptables", marks=pytest.mark.variants),
        pytest.param("a list", "nftables", marks=pytest.mark.variants),
        ("a link to nowhere", "iptables"),
    ],
)
def test_an_apply_keeps_the_fence_and_an_undo_closes_the_gateway(
    bench: Bench, loss: str, engine: str
) -> None:
    spec = bench.spec(f"to: 10.0.44.0/24, firewall: {engine}")
    bench.apply(spec)
    assert not outsider_passes(bench)
    bench.check("gateway", LOSSES[loss])
    found, why = state(bench, spec)
    assert found is State.UNRECORDED
    assert "gateway: its record " in why
    assert "unrecorded" in plan_text(bench.plan(spec))
    assert bench.apply(spec).confirmed
    assert not outsider_passes(bench)
    assert state(bench, spec)[0] is State.UP
    said = undone_text(bench.undo(spec))
    assert forwards(bench) == "0"
    assert "as it was before crossnet" not in said
    assert "gateway: its record had been lost" in said
    assert "net.ipv4.ip_forward  1 → 0" in said


# ---- a record that can be read and is not whole, in both families ------------------------------------

FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
Written = dict[str, Any]


def _forwarding(record: Written) -> list[Written]:
    return [one for one in record["owned"] if one["applied"].get("name") in FORWARDING]


def _cut_forwarding(record: Written) -> None:
    for one in _forwarding(record):
        record["owned"].remove(one)


def _say_it_was_on(record: Written) -> None:
    for one in _forwarding(record):
        one["original"]["value"] = "1"


def _cut_the_end(record: Written) -> None:
    del record["owned"][1:]


def _cut_forwarding_and_checksum(record: Written) -> None:
    _cut_forwarding(record)
    del record["sha256"]


@pytest.mark.parametrize(
    ("cut", "engine"),
    [
        (_cut_forwarding, "nftables"),
        pytest.param(_cut_forwarding, "iptables", marks=pytest.mark.variants),
        pytest.param(_say_it_was_on, "nftables", marks=pytest.mark.variants),
        (_cut_the_end, "iptables"),
        (_cut_forwarding_and_checksum, "nftables"),
        (dict.clear, "iptables"),
        (None, "nftables"),
        pytest.param(None, "iptables", marks=pytest.mark.variants),
    ],
)
def test_what_is_left_of_a_record_opens_no_gateway(
    lab_up: Callable[..., Lab], cut: Callable[[Written], None] | None, engine: str
) -> None:
    """Without its entries forwarding would have been on before: the fence would go, and forwarding stay."""
    b = Bench(lab_up("seed-dual"))
    for own, near, far in (
        ("10.0.46.2", "10.0.43.15", "10.0.44.63"),
        ("fd00:46::2", "fd00:43::15", "fd00:44::63"),
    ):
        b.check("app", f"ip addr add {own} dev lo")
        b.check("gateway", f"ip route add {own} via {near}")
        b.check("target", f"ip route add {own} via {far}")
    before = b.fingerprints()

    def passing() -> list[str]:
        flows = (("10.0.46.2", "10.0.44.1"), ("fd00:46::2", "fd00:44::1"))
        return [to for own, to in flows if b.run("app", f"ping -n -c 1 -W 1 -I {own} {to}").ok]

    spec = b.spec(f"to: [10.0.44.0/24, 'fd00:44::/64'], firewall: {engine}")
    b.apply(spec)
    assert passing() == []
    if cut is None:
        b.check("gateway", f"rm {APPLIED}")
    else:
        record = json.loads(b.check("gateway", f"cat {APPLIED}"))
        assert len(_forwarding(record)) == 2
        cut(record)
        b.check("gateway", f"cat >{APPLIED}", stdin=json.dumps(record).encode())
    found, why = state(b, spec)
    assert (found, "gateway: its record " in why) == (State.UNRECORDED, True)
    assert b.apply(spec).confirmed
    assert passing() == []
    assert b.pings("app", "10.0.44.1")
    assert b.pings("app", "fd00:44::1")
    assert state(b, spec)[0] is State.UP
    b.undo(spec)
    assert b.check("gateway", f"sysctl -n {' '.join(FORWARDING)}").split() == ["0", "0"]
    assert b.differences(before) == []


@pytest.mark.parametrize(("loss", "engine"), [("removed", "nftables"), ("garbage", "iptables")])
def test_an_undo_right_after_the_loss_leaves_nothing_of_crossnet(
    bench: Bench, loss: str, engine: str
) -> None:
    spec = bench.spec(f"to: 10.0.44.0/24, firewall: {engine}")
    bench.apply(spec)
    for host in bench.managed:
        bench.check(host, LOSSES[loss])
    bench.undo(spec)
    assert forwards(bench) == "0"
    assert not bench.run("app", "ip route | grep 143").stdout
    for host in bench.managed:
        left = bench.check(
            host,
            "nft list ruleset; iptables-save; ipset save; find /etc /var/lib/crossnet -name '*crossnet*'",
        )
        assert not [
            line for line in left.lower().splitlines() if "crossnet" in line and line != "/var/lib/crossnet"
        ]
    assert bench.undo(spec).confirmed is None


@pytest.mark.parametrize("number", [0, 99])
def test_a_record_of_another_version_is_left_to_that_one(bench: Bench, number: int) -> None:
    spec = bench.spec("to: 10.0.44.0/24, persist: none")
    bench.apply(spec)
    bench.check("gateway", f'sed -i \'s/"format": [0-9]*/"format": {number}/\' {APPLIED}')
    held = bench.fingerprints()
    found, why = state(bench, spec)
    assert (found, f"format {number}" in why) == (State.UNRECORDED, True)
    for change in (bench.apply, bench.undo):
        with pytest.raises(PlanRefused, match="record-of-another-version"):
            change(spec)
    assert bench.differences(held) == []
    assert not outsider_passes(bench)


def test_boot_files_alone_are_traces_too(bench: Bench) -> None:
    """Rules and record are gone; what is left would bring forwarding back at the next boot."""
    spec = bench.spec("to: 10.0.44.0/24")
    bench.apply(spec)
    bench.check("gateway", f"nft delete table ip crossnet; rm -r {APPLIED} /var/lib/crossnet/verified.json")
    assert state(bench, spec)[0] is State.UNRECORDED
    bench.undo(spec)
    assert forwards(bench) == "0"
    assert not bench.run("gateway", "ls /etc/crossnet /etc/sysctl.d/99-zz-crossnet.conf").stdout


def test_a_client_that_lost_its_record_is_healed_and_undone(bench: Bench) -> None:
    spec = bench.spec("to: 10.0.44.0/24, persist: none")
    bench.apply(spec)
    bench.check("app", f"rm {APPLIED}")
    assert state(bench, spec)[0] is State.UNRECORDED
    bench.apply(spec)
    assert state(bench, spec)[0] is State.UP
    bench.check("app", f"rm {APPLIED}")
    bench.undo(spec)
    assert not bench.check("app", "ip route show proto 143").strip()


def test_where_the_rules_keep_nobody_out_an_undo_asks_what_shall_become_of_forwarding(bench: Bench) -> None:
    bench.check("gateway", "sysctl -qw net.ipv4.ip_forward=1")
    spec = bench.spec("to: 10.0.44.0/24, persist: none")
    bench.apply(spec)
    assert outsider_passes(bench)  # as before: the gateway forwarded for others already
    bench.check("gateway", f"rm {APPLIED}")
    bench.apply(spec)
    assert outsider_passes(bench)
    with pytest.raises(PlanRefused, match="forwarding-unknown"):
        bench.undo(spec)
    bench.check("gateway", "mkdir -p /etc/sysctl.d; echo net.ipv4.ip_forward=1 >/etc/sysctl.d/50-router.conf")
    bench.undo(spec)
    assert forwards(bench) == "1"


# ---- what stood in crossnet's place, and what two names lead to --------------------------------------

SETTINGS = "/etc/sysctl.d/99-zz-crossnet.conf"


@pytest.mark.parametrize("target", ["../sysctl.conf", "/etc", "/nowhere/at all"])
def test_a_link_in_the_place_of_a_file_is_given_back_as_it_was(bench: Bench, target: str) -> None:
    bench.check("gateway", f"mkdir -p /etc/sysctl.d; ln -s '{target}' {SETTINGS}")
    before = bench.fingerprints()
    spec = bench.spec("to: 10.0.44.0/24")
    bench.apply(spec)
    assert bench.run("gateway", f"[ ! -L {SETTINGS} ] && grep net.ipv4.ip_forward {SETTINGS}").ok
    bench.undo(spec)
    assert bench.check("gateway", f"readlink {SETTINGS}") == f"{target}\n"
    assert bench.differences(before) == []


@pytest.mark.parametrize("made", ["mkdir", "mkfifo"])
def test_what_is_no_file_in_the_place_of_one_is_told(bench: Bench, made: str) -> None:
    bench.check("gateway", f"mkdir -p /etc/sysctl.d; {made} {SETTINGS}")
    held = bench.fingerprints()
    with pytest.raises(
        CrossnetError, match=r"gateway: file /etc/sysctl\.d/99-zz-crossnet\.conf is not .*: it is no regular"
    ):
        bench.apply(bench.spec("to: 10.0.44.0/24"))
    assert bench.differences(held) == []


def test_two_names_of_one_machine_are_said_to_be_one(bench: Bench) -> None:
    name = bench.lab.name
    spec = parse(
        f"crossnet: 1\nhosts: {{app: {{lab: {name}/app}}, gateway: {{lab: {name}/gateway}}, "
        f"again: {{lab: {name}/gateway}}}}\n"
        "crossings: {business: {from: app, via: gateway, to: 10.0.44.0/24}}\n",
        "test.yaml",
    )
    for act in (bench.plan, bench.undo):
        with pytest.raises(PlanRefused, match=r"gateway and again: are one machine.*\[same-machine\]"):
            act(spec)
