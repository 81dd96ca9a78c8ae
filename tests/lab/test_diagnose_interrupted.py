"""A diagnosis that somebody does not wait for, or that is repeated until somebody ends it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crossnet.lab.build import Lab
from lab.crossing import Bench
from lab.test_commands import CROSSING, Desk, Site

pytestmark = pytest.mark.lab

ROUTE = "ip route replace 10.0.44.0/24 via 10.0.43.101 dev eth0"
WORKS = "sysctl -q -w net.ipv4.ip_forward=1; iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE"
SILENT = "iptables -A INPUT -i eth0 -j DROP"


@pytest.fixture
def site(tmp_path: Path, lab_up: Callable[..., Lab]) -> Site:
    """A path that works."""
    lab = lab_up("seed")
    bench = Bench(lab)
    bench.check("app", ROUTE)
    bench.check("gateway", WORKS)
    desk = Desk(tmp_path, {"CROSSNET_LAB": lab.name})
    desk.write(f"{CROSSING}, probe: icmp/10.0.44.1")
    return Site(desk, bench)


def pings(site: Site) -> bool:
    return "ping" in site.bench.run("app", "cat /proc/[0-9]*/comm 2>/dev/null").text.split()


class Terminal:
    """A diagnosis in a terminal of its own, where Ctrl-C is typed."""

    def __init__(self, site: Site, *words: str, output: Path | None = None) -> None:
        self.ours, theirs = pty.openpty()
        with (output or site.desk.folder / "unused").open("wb") as file:
            self.process = subprocess.Popen(
                ["setsid", "--ctty", sys.executable, "-m", "crossnet", "diagnose", *words],
                cwd=site.desk.folder,
                env={**os.environ, **site.desk.environment},
                stdin=theirs,
                stdout=theirs if output is None else file,
                stderr=theirs,
            )
        os.close(theirs)
        self.seen = b""

    def read(self) -> bool:
        """What has come since; False when it has ended."""
        ready, _, _ = select.select([self.ours], [], [], 60)
        assert ready, f"nothing came any more after: {self.seen.decode()}"
        try:
            chunk = os.read(self.ours, 4096)
        except OSError:  # EIO: the last one to have the terminal open has gone
            chunk = b""
        self.seen += chunk
        return bool(chunk)

    def until(self, word: str) -> None:
        while word.encode() not in self.seen:
            assert self.read(), self.seen.decode()

    def interrupt(self) -> None:
        os.write(self.ours, b"\x03")

    def end(self) -> tuple[int, str]:
        """Its exit code, and all that stands in the terminal, without colours."""
        while self.read():
            pass
        os.close(self.ours)
        code = self.process.wait(timeout=30)
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.seen.decode())
        assert "Traceback" not in text
        return code, text


def interrupted(site: Site, *words: str, after: float = 0, output: Path | None = None) -> tuple[int, str]:
    """Ctrl-C so many seconds after its probes are on their way."""
    terminal = Terminal(site, *words, output=output)
    until = time.monotonic() + 30
    while not pings(site):
        assert time.monotonic() < until
    time.sleep(after)
    terminal.interrupt()
    return terminal.end()


@pytest.mark.parametrize("after", [0.0, 0.2, 0.6])
def test_what_facts_and_packets_surely_say_is_told(site: Site, after: float) -> None:
    """Half a second is more than is needed here, so that the last of them may come too late to interrupt anything."""
    site.bench.check("gateway", "sysctl -q -w net.ipv4.ip_forward=0")
    code, text = interrupted(site, after=after)
    assert "NOT REACHABLE   stops at gateway eth1" in text
    assert "ip-forward-disabled (proved)" in text
    assert "fix on gateway:  sysctl -w net.ipv4.ip_forward=1" in text
    if code != 3:
        assert (code, text.rstrip().endswith("crossnet: interrupted")) == (1, True)


@pytest.mark.parametrize("after", [0.0, 0.1, 0.5])
def test_an_answer_that_may_still_come_is_not_missed(site: Site, after: float) -> None:
    """Nothing explains the silence: until somebody has waited for it, it is none."""
    site.bench.check("target", SILENT)
    code, text = interrupted(site, after=after)
    assert code == 1, text
    assert "NOT DETERMINED" in text
    assert "not known: interrupted when 0 of 5 probes had been answered" in text
    assert "gateway  eth0  request forwarded" in text
    assert "absent" not in text
    assert text.rstrip().endswith("crossnet: interrupted")


def test_a_large_packet_that_is_still_on_its_way_is_no_black_hole(site: Site) -> None:
    site.bench.check("gateway", "iptables -A FORWARD -m length --length 1000: -j DROP")
    terminal = Terminal(site)
    # All others are answered at once.
    while not pings(site):
        pass
    while site.bench.run("app", "cat /proc/[0-9]*/comm 2>/dev/null").text.split().count("ping") > 1:
        pass
    terminal.interrupt()
    code, text = terminal.end()
    if code != 3:
        assert code == 1
        assert "pmtu-black-hole" not in text


@pytest.mark.parametrize("after", [0.0, 0.3])
def test_what_programs_read_is_one_whole_document(site: Site, after: float) -> None:
    site.bench.check("target", SILENT)
    output = site.desk.folder / "told.json"
    code, text = interrupted(site, "--json", after=after, output=output)
    assert (code, text.rstrip().endswith("crossnet: interrupted")) == (1, True)
    told = json.loads(output.read_text())
    assert told["result"] == "undetermined"
    assert told["forward"]["disposition"] == "undetermined"
    assert any(each["host"] == "gateway" for each in told["observations"])


@pytest.mark.parametrize("probe", [", probe: icmp/10.0.44.1", ""], ids=["a-probe", "no-probe"])
def test_while_hosts_are_read_that_nothing_is_known_yet_is_told(site: Site, probe: str) -> None:
    """A tool of the host does not come to its end."""
    site.desk.write(f"{CROSSING}{probe}")
    waits = "#!/bin/sh\ntouch /tmp/reached\nexec sleep 1234\n"
    site.bench.check("gateway", "cat >/tmp/slow; chmod 755 /tmp/slow", stdin=waits.encode())
    site.bench.check("gateway", "mount --bind /tmp/slow $(readlink -f $(command -v nft))")
    for words in ((), ("--json",)):
        site.bench.check("gateway", "rm -f /tmp/reached")
        output = site.desk.folder / "told.json"
        terminal = Terminal(site, *words, output=output)
        until = time.monotonic() + 30
        while not site.bench.run("gateway", "test -e /tmp/reached").ok:
            assert time.monotonic() < until
        begun = time.monotonic()
        terminal.interrupt()
        code, text = terminal.end()
        assert time.monotonic() - begun < 5
        assert (code, text.rstrip().endswith("crossnet: interrupted")) == (1, True)
        told = output.read_text()
        if words:
            document = json.loads(told)
            assert (document["result"], document["flow"]["to"]) == ("undetermined", "10.0.44.1")
            assert document["forward"]["detail"].startswith("interrupted while the hosts were read")
        else:
            assert "NOT DETERMINED" in told, text


def test_watching_tells_what_changes_until_somebody_ends_it(site: Site) -> None:
    terminal = Terminal(site, "--watch")
    terminal.until("REACHABLE")
    site.bench.check("gateway", "sysctl -q -w net.ipv4.ip_forward=0")
    terminal.until("fix on gateway:")
    site.bench.check("gateway", "sysctl -q -w net.ipv4.ip_forward=1")
    terminal.seen, before = b"", terminal.seen
    terminal.until("REACHABLE")
    terminal.interrupt()
    code, text = terminal.end()
    told = before.decode() + text
    assert code == 0, told
    assert told.count("REACHABLE") == 3, "each of them once"
    assert told.count("ip-forward-disabled") == 1
    assert "NOT" not in text
    assert len(re.findall(r"^\d\d:\d\d:\d\d [+-]\d{4}", told.replace("\r", "\n"), re.MULTILINE)) == 3
