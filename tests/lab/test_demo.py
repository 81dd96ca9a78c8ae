"""The demo is true, readable, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crossnet.lab import build

# One after the other: they look at which demos there are on the whole machine.
pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("demo")]

DEMO = [sys.executable, "-m", "crossnet", "demo"]


@pytest.fixture
def nothing_left(lab_possible: None) -> Iterator[None]:
    """The same labs, namespaces and machine-wide settings after the test as before it."""
    before = _machine()
    yield
    assert _machine() == before


def _machine() -> tuple[object, ...]:
    demos = tuple(name for name in build.names() if name.startswith("demo-"))
    forward = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    answer = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, check=True)
    return demos, forward, answer.stdout.replace("valid_lft", "").split("inet6")[0]


def columns(line: str) -> int:
    """How wide a terminal shows it."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in line)


@pytest.mark.parametrize("firewall", ["nftables", "iptables"])
def test_demo_tells_the_truth(nothing_left: None, firewall: str) -> None:
    answer = subprocess.run([*DEMO, "--firewall", firewall], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    text = answer.stdout
    assert max(columns(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    chapters = re.split(r"\n\d+\. ", text)
    need, by_hand, plan, apply, works, fence, back = chapters[1:]
    assert "100% packet loss" in need
    codes = ["src-route-other-next-hop", "ip-forward-disabled", "snat-missing"]
    assert list(re.findall(r"^   ([a-z-]+) \(\w+\):", by_hand, re.MULTILINE)) == codes
    assert by_hand.count("NOT REACHABLE") == 3
    assert by_hand.index("NOT REACHABLE") < by_hand.index("snat to 10.0.44.63") < by_hand.rindex(" REACHABLE")
    assert "+ route   10.0.44.0/24 via 10.0.43.101 dev eth0" in plan
    assert re.search(r"Plan: \d+ to add, 1 to change, 0 to remove on 2 hosts\.", plan)
    assert "Confirmed." in apply
    assert "64 bytes from 10.0.44.1" in works
    assert "dst=10.0.44.63" in works
    counted = re.findall(r"gateway: (\d+) packets of new flows let through, (\d+) translated", text)
    assert len(counted) == 2
    assert all(int(number) > 0 for numbers in counted for number in numbers)
    assert fence.count("100% packet loss") == 2
    assert "2 packets fenced" in fence
    assert re.findall(r"(app|gateway|target|neighbour) +equal", back) == [
        "app",
        "gateway",
        "target",
        "neighbour",
    ]
    assert "DIFFERENT" not in back
    assert "100% packet loss" in back


@pytest.mark.parametrize("chapter", ["Four hosts", "gateway: creates table", "neighbour is not in the spec"])
def test_demo_ends_clean_on_ctrl_c(nothing_left: None, chapter: str) -> None:
    demo = subprocess.Popen(
        DEMO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert demo.stdout is not None
    assert any(chapter in line for line in demo.stdout), "the demo never came to this chapter"
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode != 0
    assert "Traceback" not in errors


def test_two_demos_at_once(nothing_left: None) -> None:
    both = [subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for demo in both:
        text, _ = demo.communicate(timeout=120)
        assert demo.returncode == 0
        assert text.count(" equal\n") == 4


def test_demo_that_is_killed_takes_its_lab_with_it(
    nothing_left: None, eventually: Callable[..., None]
) -> None:
    demo = subprocess.Popen(
        DEMO, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    assert demo.stdout is not None
    assert any("Four hosts" in line for line in demo.stdout)
    name = f"demo-{demo.pid}"
    assert name in {lab.name for lab in build.running()}
    demo.kill()
    demo.communicate()
    eventually(lambda: name not in {lab.name for lab in build.running()}, "the lab ends with its demo")
    _remove(name)


def _remove(name: str) -> None:
    if name in build.names():
        asyncio.run(build.down(name))


@pytest.mark.openstack
def test_the_story_of_a_cloud_is_true(nothing_left: None, cloud_possible: None) -> None:
    answer = subprocess.run([*DEMO, "--openstack"], capture_output=True, text=True, timeout=240)
    assert answer.returncode == 0, answer.stderr
    text = answer.stdout
    assert max(columns(line) for line in text.splitlines()) <= 80
    ports, by_hand, plan, apply, works, fence, back = re.split(r"\n\d+\. ", text)[1:]
    assert set(re.findall(r"(\S+-eth\d) ", ports)) == {
        *("app-eth0", "bystander-eth0", "gateway-eth0", "gateway-eth1")
    }
    assert "NOT REACHABLE" in by_hand
    assert "neutron-antispoof-source (proved): port gateway-eth1" in by_hand
    assert "[port-may-send]" in plan
    assert "[pairs-in-shared-group]" in plan
    assert "Confirmed." in apply
    assert "64 bytes from 10.0.44.1" in works
    assert '"ip_address": "10.0.44.0/24"' in works
    assert "100% packet loss" in fence
    assert "1 packets fenced" in fence
    assert re.findall(r"(\w+) +equal", back) == ["app", "bystander", "gateway", "target", "cloud"]
    assert "DIFFERENT" not in back
    assert "100% packet loss" in back
