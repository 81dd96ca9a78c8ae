"""`crossnet lab break` breaks what it says, and `crossnet lab heal` puts exactly that back."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from crossnet.codes import CODES
from crossnet.errors import CommandFailed, LabError
from crossnet.lab import breaking, build
from crossnet.lab.build import Lab
from crossnet.lab.faults import Fault, catalogue, scene
from crossnet.lab.fingerprint import Fingerprint, fingerprint
from crossnet.lab.topology import load, shipped
from crossnet.transport.lab import LabHost
from lab.crossing import Bench
from lab.test_commands import Desk

pytestmark = pytest.mark.lab

CROSSING = "to: 10.0.44.0/24, persist: none"
TARGET = "10.0.44.1"
PORT = 8080
SEED = catalogue(load("seed"))


def works(b: Bench, destination: str = TARGET) -> bool:
    return b.run("app", f"ping -n -c 3 -i 0.01 -W 0.3 {destination}").ok


def ping(b: Bench, *more: str) -> str:
    return b.run("app", f"ping -n -c 1 -W 0.2 {' '.join(more)} {TARGET}").text


def gets_nothing(b: Bench) -> bool:
    return " 0 received" in ping(b) or "received" not in ping(b)


def loses_large_ones(b: Bench) -> bool:
    return " 1 received" in ping(b) and " 1 received" not in ping(b, "-M", "do", "-s", "1400")


def is_told_the_size(b: Bench) -> bool:
    return loses_large_ones(b) and "cache expires" in b.run("app", f"ip route get {TARGET}").text


def is_told_nothing(b: Bench) -> bool:
    return loses_large_ones(b) and "cache expires" not in b.run("app", f"ip route get {TARGET}").text


def loses_some(b: Bench) -> bool:
    said = b.run("app", f"ping -n -c 30 -i 0.002 -W 0.3 {TARGET}").text
    return not any(f" {all_or_none} received" in said for all_or_none in (0, 30))


def is_answered_by_the_gateway(b: Bench) -> bool:
    return "ttl=64" in ping(b)  # one that was forwarded has 63


def only_pings_fail(b: Bench) -> bool:
    return gets_nothing(b) and b.connects("app", TARGET, PORT)


def only_tcp_fails(b: Bench) -> bool:
    return " 1 received" in ping(b) and "refused" in b.run("app", f"nc -v -z -w 1 {TARGET} {PORT}").error_text


SYMPTOMS: Mapping[str, Callable[[Bench], bool]] = {
    "small-mtu": is_told_the_size,
    "mtu-black-hole": is_told_nothing,
    "random-loss": loses_some,
    "destination-taken": is_answered_by_the_gateway,
    "dnat-to-gateway": is_answered_by_the_gateway,
    "echo-ignored": only_pings_fail,
    "service-closed": only_tcp_fails,
}


@pytest.fixture(scope="module")
def bench(lab_possible: None) -> Iterator[Bench]:
    """A lab whose crossing works, with a service on the target."""
    lab = asyncio.run(build.up(load("seed"), name=f"t{os.getpid()}-breaking", lifeline=True))
    b = Bench(lab)
    b.apply(b.spec(CROSSING))
    listens = f"until ss -ltn | grep -q :{PORT}; do :; done"
    b.check("target", f"nc -l -k -n -p {PORT} >/dev/null 2>&1 & {listens}")
    yield b
    asyncio.run(build.down(lab.name))


def break_(lab: Lab, name: str) -> Fault:
    return asyncio.run(breaking.break_(lab, name))


def heal(lab: Lab, *names: str) -> list[str]:
    return [one.name for one in asyncio.run(breaking.heal(lab, names))]


def touched(b: Bench, fault: Fault) -> dict[str, Fingerprint]:
    """What the hosts have that the fault has to do with."""
    hosts = {step.host for step in (*fault.breaks, *fault.heals) if not step.on_switch}
    return {host: asyncio.run(fingerprint(LabHost(host, b.lab.socket(host)))) for host in hosts}


@pytest.mark.parametrize("fault", SEED, ids=lambda fault: fault.name)
def test_what_is_broken_shows_and_is_healed(bench: Bench, fault: Fault) -> None:
    assert works(bench)
    before = touched(bench, fault)
    assert break_(bench.lab, fault.name) == fault
    try:
        assert SYMPTOMS.get(fault.name, gets_nothing)(bench), fault.what
        assert breaking.broken(bench.lab) == (fault.name,)
    finally:
        assert heal(bench.lab) == [fault.name]
    assert works(bench)
    after = touched(bench, fault)
    assert [line for host, old in before.items() for line in old.differences(after[host])] == []


def test_who_is_silent_asks_nothing_by_which_the_other_knows_it(bench: Bench) -> None:
    app = bench.check("app", "ip -o -4 address show dev eth0").split()[3].partition("/")[0]
    assert works(bench)
    assert app in bench.check("gateway", "ip neigh show dev eth1")
    break_(bench.lab, "arp-silent")
    try:
        assert app not in bench.check("gateway", "ip neigh show dev eth1")
    finally:
        heal(bench.lab)


def test_every_fault_is_told_and_expects_codes_that_exist() -> None:
    assert len(SEED) >= 25
    assert len({fault.name for fault in SEED}) == len(SEED)
    for fault in SEED:
        assert set(fault.codes) <= set(CODES), fault.name
        assert fault.codes, fault.name
        assert len(fault.what.splitlines()) == 1, fault.name


def test_several_are_broken_at_once_and_healed_one_by_one(bench: Bench) -> None:
    before = bench.fingerprints()
    for name in ("forwarding-off", "client-link-down", "no-way-back", "snat-missing"):
        break_(bench.lab, name)
    with pytest.raises(LabError, match="no-way-back is broken already"):
        break_(bench.lab, "no-way-back")
    assert heal(bench.lab, "client-link-down") == ["client-link-down"]
    with pytest.raises(
        LabError, match="client-link-down is not broken: broken are forwarding-off, no-way-back"
    ):
        heal(bench.lab, "client-link-down")
    assert not works(bench)
    assert heal(bench.lab) == ["snat-missing", "no-way-back", "forwarding-off"]
    assert works(bench)
    assert heal(bench.lab) == []
    assert bench.differences(before) == []


def test_what_somebody_has_mended_stays_mended(bench: Bench) -> None:
    before = bench.fingerprints()
    for name in (
        "more-specific-route",
        "policy-rule",
        "output-filter",
        "ttl-one",
        "source-taken",
        "small-mtu",
    ):
        break_(bench.lab, name)
    bench.check(
        "app", f"ip route del {TARGET}; ip rule del pref 1000; nft delete table inet lab-output-filter"
    )
    bench.check("app", "echo 60 >/proc/sys/net/ipv4/ip_default_ttl")
    bench.check("gateway", "ip address del 10.0.43.15/32 dev lo; ip link set eth0 mtu 1400")
    heal(bench.lab)
    assert bench.check("app", "cat /proc/sys/net/ipv4/ip_default_ttl") == "60\n"
    assert bench.check("gateway", "cat /sys/class/net/eth0/mtu") == "1400\n"
    bench.check("app", "echo 64 >/proc/sys/net/ipv4/ip_default_ttl")
    bench.check("gateway", "ip link set eth0 mtu 1500")
    assert bench.differences(before) == []


OF_CROSSNET = ("no-route", "forwarding-off", "snat-missing")


def test_an_apply_that_mends_it_leaves_nothing_to_heal(bench: Bench) -> None:
    for name in OF_CROSSNET:
        break_(bench.lab, name)
    bench.apply(bench.spec(CROSSING))
    assert works(bench)
    before = bench.fingerprints()
    heal(bench.lab)
    # That one is not the crossing's.
    assert bench.differences(before) == ["app: routes: +default via 10.0.43.1 dev eth0 "]


def test_after_an_undo_nothing_of_the_crossing_comes_back(bench: Bench) -> None:
    spec = bench.spec(CROSSING)
    bench.undo(spec)
    before = bench.fingerprints()
    with pytest.raises(LabError, match=r"nothing works yet: app has no route to .* through gateway"):
        break_(bench.lab, "forward-drop")
    bench.apply(spec)
    for name in OF_CROSSNET:
        break_(bench.lab, name)
    bench.undo(spec)
    heal(bench.lab)
    assert bench.differences(before) == []
    bench.apply(spec)


def test_what_cannot_be_broken_here_says_so_and_leaves_nothing_to_heal(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.apply(b.spec(CROSSING))
    b.check("gateway", 'mount --bind /dev/null "$(readlink -f "$(command -v iptables-legacy)")"')
    with pytest.raises(CommandFailed, match="gateway: ran `iptables-legacy -w -P FORWARD DROP`"):
        break_(b.lab, "forward-policy-legacy")
    assert breaking.broken(b.lab) == ()
    assert works(b)


def test_a_path_made_by_hand_is_broken_too(lab_up: Callable[..., Lab]) -> None:
    b = Bench(lab_up("seed"))
    b.check("app", "ip route add 10.0.44.0/24 via 10.0.43.101")
    b.check("gateway", "sysctl -qw net.ipv4.ip_forward=1")
    b.check("gateway", "iptables -t nat -A POSTROUTING -d 10.0.44.9 -j RETURN")
    b.check("gateway", "iptables -t nat -A POSTROUTING -o eth0 -m comment --comment 'my own' -j MASQUERADE")
    before = b.fingerprints()
    assert works(b)
    for name in OF_CROSSNET:
        break_(b.lab, name)
        assert gets_nothing(b)
        heal(b.lab)
        assert works(b)
        assert b.differences(before) == []


@pytest.mark.parametrize("name", sorted({*shipped()} - {"overlap"}))
def test_every_topology_with_two_networks_has_faults(name: str) -> None:
    topology = load(name, count=2) if name == "many-clients" else load(name)
    assert len(catalogue(topology)) >= 25
    assert scene(topology).v6 is (name == "seed-v6")


def test_a_topology_without_such_a_path_says_so() -> None:
    with pytest.raises(LabError, match="the topology overlap has no path to break"):
        catalogue(load("overlap"))


def test_in_ipv6_too(lab_up: Callable[..., Lab]) -> None:
    lab = lab_up("seed-v6")
    b = Bench(lab)
    b.apply(b.spec('to: "fd00:44::/64", persist: none'))
    before = b.fingerprints()
    for fault in catalogue(lab.topology):
        break_(lab, fault.name)
        if fault.name not in SYMPTOMS:
            assert not b.run("app", "ping -n -c 1 -W 0.2 fd00:44::1").ok, fault.name
        heal(lab)
        assert works(b, "fd00:44::1"), fault.name
    assert b.differences(before) == []


def test_as_a_user_types_it(bench: Bench, tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"CROSSNET_LAB": bench.lab.name})
    assert re.search("^  forward-drop +a rule on gateway drops", desk.run("lab", "break", "--list").out, re.M)
    wrong = desk.run("lab", "break", "forward-dorp")
    assert (wrong.code, wrong.err) == (
        1,
        "crossnet: there is no fault 'forward-dorp': did you mean forward-drop?\n",
    )
    assert "name one fault, or give --list" in desk.run("lab", "break").err
    done = desk.run("lab", "break", "forward-drop")
    assert (done.code, done.out.splitlines()[0]) == (
        0,
        "Broken: a rule on gateway drops what is for 10.0.44.1.",
    )
    assert gets_nothing(bench)
    assert re.search("^[*] forward-drop ", desk.run("lab", "break", "--list").out, re.M)
    listed = desk.run("lab", "break", "--list", "--json").json["faults"]
    assert [one["fault"] for one in listed if one["broken"]] == ["forward-drop"]  # type: ignore[attr-defined]
    healed = desk.run("lab", "heal")
    assert (healed.code, healed.out) == (0, "Healed forward-drop; a diagnosis calls it filter-rule-drop.\n")
    assert desk.run("lab", "heal").out == "Nothing is broken.\n"
    assert works(bench)


def test_what_was_changed_by_hand_is_left_and_told(bench: Bench, tmp_path: Path) -> None:
    desk = Desk(tmp_path, {"CROSSNET_LAB": bench.lab.name})
    for name in ("forward-drop", "more-specific-route"):
        assert desk.run("lab", "break", name).code == 0
    bench.check(
        "gateway", "iptables -I FORWARD 1 -d 10.0.44.1 -j ACCEPT; sysctl -qw net.ipv4.ip_default_ttl=63"
    )
    try:
        assert "stays" not in desk.run("lab", "heal", "forward-drop").out
        assert desk.run("lab", "heal").out.splitlines()[1:] == [
            "What else was changed on gateway stays: rules of nftables or iptables, settings.",
            "  `crossnet lab down` and `crossnet lab up` begin anew.",
        ]
        assert desk.run("lab", "heal").out == "Nothing is broken.\n"
    finally:
        bench.check("gateway", "iptables -D FORWARD 1; sysctl -qw net.ipv4.ip_default_ttl=64")
