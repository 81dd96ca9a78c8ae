"""Each fault of the lab is named by a diagnosis, at its place; a healthy path is called so."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

import crossnet
from crossnet.api import diagnosing
from crossnet.capture import observer
from crossnet.lab import breaking, build
from crossnet.lab.faults import Fault, catalogue
from crossnet.lab.topology import load
from crossnet.show.diagnosis import diagnosis_text
from crossnet.spec import Spec
from crossnet.transport import lab
from crossnet.values import Protocol, address
from crossnet.verdict import Confidence, Diagnosis, Result
from lab.crossing import Bench

pytestmark = pytest.mark.lab

PORT = 8080
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "diagnose.md"
SEED = catalogue(load("seed"))
OF_TCP = {"service-closed"}
OF_NEIGHBOURS = {
    *("lost-between", "arp-not-answered", "duplicate-address"),
    *("destination-silent", "destination-absent", "echo-ignored"),
}


@pytest.fixture(scope="module")
def bench(lab_possible: None) -> Iterator[Bench]:
    """A lab whose crossing works, with a service on the target."""
    lab = asyncio.run(build.up(load("seed"), name=f"t{os.getpid()}-diagnose", lifeline=True))
    b = Bench(lab)
    b.apply(b.spec("to: 10.0.44.0/24, probe: icmp/10.0.44.1, persist: none"))
    listens = f"until ss -ltn | grep -q :{PORT}; do :; done"
    b.check("target", f"nc -l -k -n -p {PORT} >/dev/null 2>&1 & {listens}")
    yield b
    asyncio.run(build.down(lab.name))


def diagnosed(b: Bench, *, tcp: bool = False, target: bool = False) -> Diagnosis:
    spec = b.spec("to: 10.0.44.0/24, probe: icmp/10.0.44.1, persist: none")
    asked = crossnet.Asked("business")
    if tcp:
        asked = crossnet.Asked("business", to=address("10.0.44.1"), protocol=Protocol.TCP, port=PORT)
    return asyncio.run(crossnet.diagnose(asked, with_target(spec, b) if target else spec)).verdict


def with_target(spec: Spec, b: Bench) -> Spec:
    app = spec.host("app")
    return replace(spec, hosts=(*spec.hosts, replace(app, name="target", lab=f"{b.lab.name}/target")))


def named(found: Diagnosis) -> set[str | None]:
    """The codes that it gives, with those that it cannot tell from them."""
    main = found.forward if found.forward.code else found.reply
    return {main.code, *main.candidates, *(note.code for note in found.notes)}


def links_to(link: Path, target: str) -> bool:
    with suppress(OSError):  # it has ended, or is another's
        return str(link.readlink()) == target
    return False


@contextmanager
def hanging(b: Bench, host: str) -> Iterator[None]:
    """A host whose programs do not go on, while its kernel forwards."""
    inside = b.check(host, "readlink /proc/self/ns/pid").strip()
    all_of_it = [each.parent.parent for each in Path("/proc").glob("[0-9]*/ns/pid") if links_to(each, inside)]
    (pid,) = (
        int(each.name)
        for each in all_of_it
        if re.search(r"^NSpid:.*\t1$", (each / "status").read_text(), re.M)
    )
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_gateway_that_hangs_is_not_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, seconds in (
        (diagnosing, "PATIENCE", 0.5),
        (observer, "ARMED", 0.5),
        (lab, "_STOP_GRACE", 0.1),
    ):
        monkeypatch.setattr(module, name, seconds)
    bench.check("gateway", "iptables -I FORWARD -d 10.0.44.1 -j DROP")
    try:
        with hanging(bench, "gateway"):
            begun = time.monotonic()
            found = diagnosed(bench)
            took = time.monotonic() - begun
    finally:
        bench.check("gateway", "iptables -D FORWARD -d 10.0.44.1 -j DROP")
    assert found.result is Result.UNREACHABLE
    assert found.forward.confidence is Confidence.CANDIDATES
    told = [note.detail for note in found.notes if note.code == "facts-missing"]
    assert told == ["gateway: tried to reach it: no answer within 0.5 s"]
    assert found.observations, "what the client shows"
    assert took < 10, "hosts have 30 s else"


@pytest.mark.parametrize(
    ("fault", "code"),
    [("port-security", "neutron-antispoof-source"), ("port-destination", "neutron-antispoof-destination")],
)
def test_in_a_cloud_its_filters_are_named_and_elsewhere_not(bench: Bench, fault: str, code: str) -> None:
    own = {code, "neutron-security-group", "neutron-port-down"}
    asyncio.run(breaking.break_(bench.lab, fault))
    try:
        assert not own & named(diagnosed(bench))
        bench.check("gateway", "mkdir -p /run/cloud-init; echo openstack >/run/cloud-init/cloud-id")
        assert own < named(diagnosed(bench))
    finally:
        bench.check("gateway", "rm -rf /run/cloud-init")
        asyncio.run(breaking.heal(bench.lab, ()))


def test_a_cloud_that_cannot_be_asked_holds_nothing_up_and_is_named(bench: Bench) -> None:
    asked = crossnet.Asked("business", cloud="nowhere")
    spec = bench.spec("to: 10.0.44.0/24, probe: icmp/10.0.44.1, persist: none")
    found = asyncio.run(crossnet.diagnose(asked, spec)).verdict
    assert found.result is Result.REACHABLE
    (note,) = [note.detail for note in found.notes if note.code == "cloud-unasked"]
    assert "nowhere" in note
    assert "\n" not in note


def test_a_healthy_path_is_called_so(bench: Bench) -> None:
    for tcp in (False, True):
        found = diagnosed(bench, tcp=tcp)
        assert found.result is Result.REACHABLE
        assert (found.forward.code, found.reply.code, found.also) == (None, None, ())
        seen = [(one.host, one.interface, one.direction, str(one.action)) for one in found.observations]
        assert seen[:3] == [
            ("app", "eth0", "request", "sent"),
            ("gateway", "eth1", "request", "received"),
            ("gateway", "eth0", "request", "forwarded"),
        ]
        assert "10.0.43.15" in (found.observations[2].translation or "")


# Those of which two hosts cannot tell the cause, or of which the target knows more.
AT_THE_TARGET = [
    fault
    for fault in SEED
    if fault.place.startswith(("target", "the switch")) or fault.name.startswith("snat")
]


@pytest.mark.parametrize(
    ("fault", "target"),
    [(fault, False) for fault in SEED] + [(fault, True) for fault in AT_THE_TARGET],
    ids=lambda value: value.name if isinstance(value, Fault) else ("with-target" if value else "two-hosts"),
)
def test_a_fault_is_named(bench: Bench, fault: Fault, target: bool) -> None:
    asyncio.run(breaking.break_(bench.lab, fault.name))
    # What asked it a moment ago has told it where it is, and a gateway asks for a client that it knows.
    for host, device in (("gateway", "eth1"), ("app", "eth0")):
        bench.run(host, f"ip neigh flush dev {device}")
    try:
        found = diagnosed(bench, tcp=fault.name in OF_TCP, target=target)
    finally:
        asyncio.run(breaking.heal(bench.lab, ()))
    assert named(found) & set(fault.codes), (found.result, found.forward, found.reply, found.notes)
    assert not {each.code for each in found.also} & OF_NEIGHBOURS, found.also
    if not target:
        assert not told_otherwise(found, in_the_guide(fault.name))


# Two at once: the first keeps every probe from the second, which no host has a rule or a setting of.
BEHIND = {
    ("no-route", "port-destination"): ("forward", "lost-between"),
    ("forwarding-off", "port-security"): ("reply", "lost-between"),
    ("gateway-blackhole", "target-filter"): ("forward", "destination-silent"),
    ("forward-policy", "target-address-missing"): ("forward", "destination-absent"),
    ("raw-drop", "echo-ignored"): ("forward", "echo-ignored"),
}


@pytest.mark.parametrize("both", BEHIND, ids="+".join)
def test_what_no_probe_got_to_is_named_too(bench: Bench, both: tuple[str, str]) -> None:
    for fault in both:
        asyncio.run(breaking.break_(bench.lab, fault))
    bench.run("app", "ip neigh flush dev eth0")
    try:
        found = diagnosed(bench)
    finally:
        asyncio.run(breaking.heal(bench.lab, ()))
    assert named(found) & set(next(fault.codes for fault in SEED if fault.name == both[0])), found.forward
    assert (found.also[-1].direction, found.also[-1].code) == BEHIND[both], found.also


def in_the_guide(fault: str) -> list[str]:
    """What the guide shows of a diagnosis where nothing but this is broken; nothing where it shows none."""
    blocks = re.findall(r"^```\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for block in blocks:
        before, asked, shown = block.partition("$ crossnet diagnose business -q\n")
        if asked and re.findall(r"^\$ crossnet lab break (.*)$", before, re.MULTILINE) == [fault]:
            return str(shown).splitlines()
    return []


def told_otherwise(found: Diagnosis, shown: list[str]) -> list[str]:
    """The lines of a diagnosis that are not shown; what was seen and counted differs from time to time."""
    halves = [replace(half, evidence=()) for half in (found.forward, found.reply)]
    text = diagnosis_text(replace(found, forward=halves[0], reply=halves[1], observations=()))
    return [line for line in text.splitlines() if line not in shown] if shown else []


def test_an_address_that_is_being_asked_for_is_nobodys_all_the_same(bench: Bench) -> None:
    """A kernel asks once a second: a packet that comes meanwhile waits for the answer, and no question is seen."""
    again, nobody = "/proc/sys/net/ipv4/neigh/eth0/retrans_time_ms", "10.0.44.77"
    before = bench.check("gateway", f"cat {again}").strip()
    bench.check("gateway", f"echo 60000 >{again}")
    try:
        bench.run("app", f"ping -c 1 -W 1 {nobody}")
        assert "INCOMPLETE" in bench.check("gateway", f"ip neigh show {nobody} dev eth0")
        spec = bench.spec("to: 10.0.44.0/24, probe: icmp/10.0.44.1, persist: none")
        found = asyncio.run(
            crossnet.diagnose(crossnet.Asked("business", to=address(nobody), protocol=Protocol.ICMP), spec)
        ).verdict
    finally:
        bench.check("gateway", f"echo {before} >{again}; ip neigh flush dev eth0")
    assert found.forward.code == "destination-absent"
    assert str(found.forward.at) == f"between gateway eth0 and {nobody}"
    assert not {"filter-rule-drop", "tc-or-xdp-drop"} & named(found)


def test_the_guide_shows_diagnoses() -> None:
    assert sum(bool(in_the_guide(fault.name)) for fault in SEED) >= 9
