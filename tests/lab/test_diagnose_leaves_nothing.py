"""A diagnosis that ends too early, however and whenever: nothing of it is left on any host."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest

from crossnet.errors import LabError
from crossnet.lab import build
from crossnet.lab.topology import load
from lab.crossing import Bench
from lab.elsewhere import PYTHON
from lab.test_commands import CROSSING, Desk
from lab.test_ssh import SPEC, Place, lab_with_sshd, place

pytestmark = pytest.mark.lab

__all__ = ["lab_with_sshd", "place"]  # fixtures

HOSTS = ("app", "gateway")

# Processes but this one, files and tables.
STATE = r"""
for place in /proc/[0-9]*; do
    [ "$place" != "/proc/$$" ] || continue
    words=$(tr '\0' ' ' <"$place/cmdline" 2>/dev/null) || continue
    case $words in "" | "(sd-pam)" | sshd:*) continue ;; esac
    echo "process $words"
done
find /tmp /run /etc /var/lib/crossnet -xdev -not -type d 2>/dev/null | sort
nft list ruleset
"""

# Where the kernel traces, for all hosts of the machine: what belongs to all is as it was, and an instance is gone soon.
TRACING = "mount -t tracefs tracefs /sys/kernel/tracing && cd /sys/kernel/tracing && "
SHARED = TRACING + "cat tracing_on current_tracer events/enable events/skb/kfree_skb/enable"
INSTANCES = TRACING + "ls instances | grep crossnet_ || :"

# Only who asks a neighbour does it past all routes.
ASKING = r"cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -q '[p]ing -n .* -r '"

# It works but for one rule, of which facts cannot tell whether it takes the packets: every way of looking is needed.
BROKEN = {
    "app": "ip route replace 10.0.44.0/24 via 10.0.43.101 dev eth0",
    "gateway": """
        sysctl -q -w net.ipv4.ip_forward=1
        nft add table ip odd
        nft add chain ip odd forward '{ type filter hook forward priority 5; }'
        nft add rule ip odd forward ip daddr 10.0.44.1 meta cpu lt 1000 drop
        nft add chain ip odd out '{ type nat hook postrouting priority 100; }'
        nft add rule ip odd out oifname eth0 masquerade
    """,
}

MENDED = {
    "app": "ip route del 10.0.44.0/24",
    "gateway": "nft delete table ip odd; sysctl -q -w net.ipv4.ip_forward=0",
}

MOMENTS = 10  # of each way to end it


def broken(check: Callable[[str, str], object]) -> None:
    for host, command in BROKEN.items():
        check(host, command)


@dataclass(frozen=True)
class Scene:
    """Hosts as they were before anything was diagnosed, and how long a whole diagnosis of them takes."""

    desk: Desk
    bench: Bench
    before: Mapping[str, str]
    shared: str
    seconds: float

    def traced(self, what: str) -> str:
        """What tracefs tells, where this kernel has one to look at."""
        return self.bench.run("gateway", f"unshare -m sh -c '{what}'").text

    def is_as_before(self) -> bool:
        return all(self.bench.run(host, STATE).text == text for host, text in self.before.items())

    def differences(self) -> str:
        now = {host: self.bench.run(host, STATE).text for host in self.before}
        return "\n".join(
            f"{host}: {line}"
            for host, text in now.items()
            for line in set(text.splitlines()) ^ set(self.before[host].splitlines())
        )

    def is_clean_soon(self) -> None:
        """A probe that nobody waits for any more ends by itself: it waits for its answer for 4 s."""
        until = time.monotonic() + 12
        instances = set(self.traced(INSTANCES).split())
        while not (self.is_as_before() and self.is_traced_as_before(instances)):
            assert time.monotonic() < until, self.differences() or (instances, self.traced(SHARED))
            time.sleep(0.1)

    def is_traced_as_before(self, instances: set[str]) -> bool:
        """Whether these instances are gone, and what all share is as it was: others may trace meanwhile."""
        return not instances & set(self.traced(INSTANCES).split()) and self.traced(SHARED) == self.shared


@pytest.fixture(scope="module")
def scene(lab_possible: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    lab = asyncio.run(build.up(load("seed"), name=f"t{os.getpid()}-left", lifeline=True))
    try:
        bench = Bench(lab)
        broken(bench.check)
        desk = Desk(tmp_path_factory.mktemp("desk"), {"CROSSNET_LAB": lab.name})
        desk.write(f"{CROSSING}, probe: icmp/10.0.44.1")
        before = {host: bench.check(host, STATE) for host in HOSTS}
        scene = Scene(desk, bench, before, "", 0)
        shared = scene.traced(SHARED)
        begun = time.monotonic()
        whole = desk.run("diagnose")
        assert whole.code == 3, whole
        yield replace(scene, shared=shared, seconds=time.monotonic() - begun)
    finally:
        with suppress(LabError):
            asyncio.run(build.down(lab.name))


def moments(number: int) -> list[object]:
    """Parts of the whole run; a few of them each time, all by scripts/faults."""
    parts = [(count + 1) / (number + 1) for count in range(number)]
    return [
        pytest.param(part, marks=() if count % 4 == 2 else pytest.mark.faults, id=f"at {part:.0%}")
        for count, part in enumerate(parts)
    ]


def test_a_whole_one_leaves_nothing(scene: Scene) -> None:
    scene.is_clean_soon()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("part", moments(MOMENTS))
def test_a_killed_one_leaves_nothing(scene: Scene, number: signal.Signals, part: float) -> None:
    with scene.desk.start("diagnose") as process:
        time.sleep(part * scene.seconds)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert "Traceback" not in out + err
    if number is not signal.SIGKILL and (process.returncode != -number or out + err):
        # 3 where it was over already; by the signal itself, where it still read its code and had said nothing
        assert process.returncode in (1, 3), (out, err)
    scene.is_clean_soon()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_one_that_is_killed_while_neighbours_ask_each_other_leaves_nothing(
    scene: Scene, number: signal.Signals
) -> None:
    scene.bench.check("target", "sysctl -qw net.ipv4.icmp_echo_ignore_all=1")  # an answer would end it
    try:
        with scene.desk.start("diagnose") as process:
            while not scene.bench.run("gateway", ASKING).ok:
                assert process.poll() is None, "it is over, and nobody was seen to ask"
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
    finally:
        scene.bench.run("target", "sysctl -qw net.ipv4.icmp_echo_ignore_all=0")
    assert "Traceback" not in out + err
    scene.is_clean_soon()


@pytest.mark.parametrize("part", moments(4))
def test_one_that_nobody_reads_any_more_ends_and_leaves_nothing(scene: Scene, part: float) -> None:
    with scene.desk.start("diagnose", "--watch") as process:
        assert process.stdout is not None
        time.sleep(part * scene.seconds)
        process.stdout.close()
        # It says nothing new before something changes.
        try:
            assert process.wait(timeout=20) in (1, 3)
        finally:
            process.kill()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    scene.is_clean_soon()


@pytest.mark.parametrize("cut", [False, True], ids=["killed", "cut"])
@pytest.mark.parametrize("part", moments(4))
def test_over_ssh_nothing_is_left_when_the_connection_goes(place: Place, cut: bool, part: float) -> None:
    place.check("controller", "cat > /tmp/crossnet.yaml", stdin=SPEC.encode())
    for host in HOSTS:
        place.check(host, BROKEN[host])
    try:
        before = {host: place.check(host, STATE) for host in HOSTS}
        begun = time.monotonic()
        assert place.crossnet("diagnose").returncode == 3
        wait = part * (time.monotonic() - begun)
        place.here(
            f"sh -c '{PYTHON} -m crossnet diagnose >/tmp/told 2>&1 & echo $! >/tmp/diagnoses'; sleep {wait}"
        )
        if cut:
            for host in HOSTS:
                place.run(host, "pkill -f '^sshd: (root|ops)'; pkill -f '^sshd-session: (root|ops)'")
        else:
            place.run("controller", "kill -9 $(cat /tmp/diagnoses)")  # it may be over
        until = time.monotonic() + 15
        while (now := {host: place.check(host, STATE) for host in HOSTS}) != before:
            assert time.monotonic() < until, [
                line for host in HOSTS for line in set(now[host].split("\n")) ^ set(before[host].split("\n"))
            ]
            time.sleep(0.1)
        place.run("controller", "while [ -e /proc/$(cat /tmp/diagnoses) ]; do sleep 0.1; done")
        assert "Traceback" not in place.check("controller", "cat /tmp/told")
    finally:
        for host in HOSTS:
            place.run(host, MENDED[host])
