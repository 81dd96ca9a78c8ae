"""A controller on a lab host of its own, with real SSH between it and the hosts that it changes."""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossnet.errors import LabError
from crossnet.lab import build
from crossnet.lab.topology import from_data
from crossnet.transport import Completed
from faults.controller import ELSEWHERE, USED_BEFORE, Fault, Ran
from faults.oracle import OLD, Oracle, put_sentinels
from lab.crossing import Bench
from lab.elsewhere import PYTHON, python_path
from lab.test_ssh import CONFIG, SERVE, SERVERS, TOPOLOGY, USERS, Place

SPEC = """\
crossnet: 1
hosts:
  app: {ssh: root@10.0.43.15}
  gateway: {ssh: gw, become: sudo}
crossings:
  business: {from: app, via: gateway, to: 10.0.44.0/24, probe: icmp/10.0.44.1}
"""

PROGRAM = Path(__file__).with_name("controller_faulted.py")

MANAGED = ("app", "gateway")

# A server that asks for its clients notices that one is gone: its processes are no left-overs of crossnet.
_CLIENTS = "LogLevel VERBOSE\nClientAliveInterval 3\nClientAliveCountMax 4\n"

_CUT = """\
table inet cut {{
    chain in {{ type filter hook input priority -300; {into} }}
    chain out {{ type filter hook output priority -300; {out} }}
}}
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A controller that runs on its host, or stands still there."""

    place: Place
    answer: Future[Completed]
    told: str

    @property
    def lines(self) -> list[str]:
        return self.place.run("controller", f"cat {self.told}").text.splitlines()

    def until_stopped(self, patience: float = 90) -> None:
        deadline = time.monotonic() + patience
        while "fault" not in self.lines or self._state() != "T":
            assert not self.answer.done(), f"it ended before the fault: {self.end()}"
            assert time.monotonic() < deadline, f"the fault was never reached: {self.lines}"
            time.sleep(0.1)

    def _state(self) -> str:
        return self.place.check("controller", f"cut -d ' ' -f 3 /proc/{self._process}/stat")

    @property
    def _process(self) -> str:
        return self.lines[0].split()[1]

    def go_on(self) -> None:
        self.place.check("controller", f"kill -CONT {self._process}")

    def end(self, patience: float = 300) -> Ran:
        answer = self.answer.result(patience)
        return Ran.of(answer.returncode, answer.text, answer.error_text, self.lines)


class SshGround:
    """The hosts, the controller, the things of others, and an oracle that knows OLD and NEW."""

    def __init__(
        self,
        name: str,
        spec: str = SPEC,
        topology: Mapping[str, Any] = TOPOLOGY,
        servers: Mapping[str, tuple[str, int]] = SERVERS,
    ) -> None:
        lab = asyncio.run(build.up(from_data(topology, source="test"), name=name, lifeline=True))
        self.bench = Bench(lab, MANAGED)
        self.place = Place(self.bench)
        self._numbers = 0
        self._threads = ThreadPoolExecutor(2)
        self._set_up(spec, servers)
        for host in MANAGED:
            put_sentinels(self.bench, host)
            self.bench.check(host, USED_BEFORE)

    def learn(self) -> None:
        """A clean run, so that OLD and NEW are known."""
        before = self.bench.fingerprints()
        self.applied = self.carry_out("apply")
        self.oracle = Oracle.at(self.bench, before)
        self.carry_out("undo")
        self.alike(OLD)

    def _set_up(self, spec: str, servers: Mapping[str, tuple[str, int]]) -> None:
        place = self.place
        place.check("controller", "mkdir -p -m 700 /tmp/home/.ssh")
        for name in ("id_ed25519", "other"):
            place.check("controller", f"ssh-keygen -q -t ed25519 -N '' -C {name} -f /tmp/home/.ssh/{name}")
        keys = place.check("controller", "cat /tmp/home/.ssh/id_ed25519.pub /tmp/home/.ssh/other.pub")
        serve = SERVE.replace("LogLevel VERBOSE\n", _CLIENTS)
        for host in MANAGED:
            place.check(host, USERS)
            place.check(host, f"sh -c {shlex.quote(serve)} sh {servers[host][1]}", stdin=keys.encode())
        place.config(CONFIG)
        shown = {host: f"[{servers[host][0]}]:{servers[host][1]}" for host in MANAGED}
        plain = {
            host: name.removesuffix(":22").strip("[]") for host, name in shown.items() if name.endswith(":22")
        }
        known = shown | plain
        place.known("".join(f"{name} {place.host_key(host)}\n" for host, name in known.items()))
        place.check("controller", "cat >/tmp/crossnet.yaml", stdin=spec.encode())
        place.check("controller", "cat >/tmp/controller_faulted.py", stdin=PROGRAM.read_bytes())

    def start(self, *words: str, fault: Fault | None = None, machine: str = "") -> Running:
        self._numbers += 1
        told = f"/tmp/told-{self._numbers}"
        environment = {"CROSSNET_TOLD": told, "CROSSNET_OVER_SSH": "1", "HOME": "/tmp/home"}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": python_path()}
        if fault is not None:
            environment["CROSSNET_FAULT"] = str(fault)
        if machine:
            environment["CROSSNET_MACHINE"] = machine
        settings = " ".join(f"{key}={shlex.quote(value)}" for key, value in environment.items())
        line = f"cd /tmp && exec env {settings} {PYTHON} controller_faulted.py {' '.join(words)}"
        self.place.check("controller", f": >{told}")
        return Running(
            self.place, self._threads.submit(self.place.run, "controller", line, timeout=400), told
        )

    def run(self, *words: str, machine: str = "") -> Ran:
        return self.start(*words, machine=machine).end()

    def carry_out(self, *words: str) -> Ran:
        ran = self.run(*words, "--yes", "--guard", "30s")
        assert ran.code == 0, ran
        return ran

    def recovered(self, patience: float = 90) -> Ran:
        """From another machine, as soon as that is let."""
        deadline = time.monotonic() + patience
        while True:
            ran = self.run("recover", "--yes", machine=ELSEWHERE)
            if ran.code != 5 or time.monotonic() > deadline:
                return ran
            time.sleep(1)

    def cut(self, direction: str, hosts: Sequence[str]) -> None:
        """Nothing of the controller's comes in at these hosts any more, or nothing goes out to it, or both."""
        text = _CUT.format(
            into="ip saddr 10.0.43.200 counter drop;" if direction in ("in", "both") else "",
            out="ip daddr 10.0.43.200 counter drop;" if direction in ("out", "both") else "",
        )
        for host in hosts:
            self.place.check(host, "nft -f -", stdin=text.encode())

    def heal(self, hosts: Sequence[str]) -> int:
        """Let everything through again; how many packets were dropped meanwhile."""
        dropped = 0
        for host in hosts:
            text = self.place.check(host, "nft list table inet cut && nft delete table inet cut")
            dropped += sum(int(packets) for packets in re.findall(r"packets (\d+)", text))
        return dropped

    def alike(self, expected: str | None = None, told: object = "") -> str:
        first, *others = MANAGED
        state = self.oracle.check(first, expected, told=told)
        for host in (*others, "target"):
            self.oracle.check(host, state, told=told)
        return state

    def restore(self) -> None:
        self.carry_out("undo")
        self.alike(OLD)

    def down(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        with suppress(LabError):
            asyncio.run(build.down(self.bench.lab.name))
