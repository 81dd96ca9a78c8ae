"""An operator at a lab: runs crossnet as a process of its own, which may die or stand still at any message."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import queue
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from crossnet.errors import LabError
from crossnet.lab import build
from crossnet.lab.topology import load
from faults import controller_answered, controller_faulted
from faults.controller_answered import Spoiled
from faults.controller_process import ControllerProcess
from faults.oracle import OLD, Oracle, put_sentinels
from lab.crossing import Bench

CROSSING = "from: app, via: gateway, to: 10.0.44.0/24, probe: icmp/10.0.44.1"
SPEC = """crossnet: 1
hosts: {{app: {{lab: {lab}/app}}, gateway: {{lab: {lab}/gateway}}}}
crossings: {{business: {{{crossing}}}}}
"""

ELSEWHERE = "another machine"

# iptables-nft leaves empty chains behind it, before which those of a later apply are no more listed.
USED_BEFORE = "".join(
    f"iptables -t {table} -A {chain} -j ACCEPT; iptables -t {table} -D {chain} -j ACCEPT; "
    for table, chain in (("nat", "POSTROUTING"), ("mangle", "FORWARD"), ("filter", "INPUT"))
)

P = TypeVar("P")

_numbers = itertools.count(1)

_INHERITED = ("PATH", "HOME", "XDG_RUNTIME_DIR", "TMPDIR", "LANG", "PYTHONPATH")


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a controller at its `number`-th message: `kill` or `stop`; before, during or after it."""

    number: int
    what: str = "kill"
    when: str = "during"

    def __str__(self) -> str:
        return f"{self.what} {self.when} {self.number}"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run of crossnet ended; `messages` are those it began to send, as `number host subject`.

    `questions` says how many each of the messages had that are a batch, where the program tells it.
    """

    code: int
    out: str
    err: str
    messages: tuple[str, ...]
    reached: bool
    questions: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, code: int, out: str, err: str, told: Sequence[str]) -> Ran:
        assert "Traceback" not in out + err, err
        assert "mistake of crossnet" not in out + err, err
        messages = tuple(line for line in told if line.split()[0].isdecimal())
        batches = (line.split() for line in told if line.startswith("questions "))
        questions = {int(number): int(count) for _, number, count in batches}
        return cls(code, out, err, messages, "fault" in told, questions)

    def number(self, host: str, subject: str) -> int:
        """Which message was the first with that subject to that host."""
        return next(n for n, line in enumerate(self.messages, 1) if line.split()[1:] == [host, subject])

    def __str__(self) -> str:
        last = self.messages[-1] if self.messages else "nothing"
        return f"exit {self.code}, last message: {last}\n{self.out[-1500:]}\n{self.err[-2500:]}"


class Running:
    """A controller that runs, or stands still."""

    def __init__(self, process: ControllerProcess, told: Path) -> None:
        self.process = process
        self._told = told

    @property
    def lines(self) -> list[str]:
        return self._told.read_text(encoding="utf-8").splitlines() if self._told.exists() else []

    def until(self, condition: Callable[[], bool], what: str, patience: float = 60) -> None:
        """Wait for something while it runs."""
        deadline = time.monotonic() + patience
        while not condition():
            if self.process.code is not None or time.monotonic() > deadline:
                raise AssertionError(f"never happened: {what}\n{self.end()}")
            time.sleep(0.02)

    def until_stopped(self) -> None:
        """Wait until its fault is reached and it stands still."""

        def stands() -> bool:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
            return stat.rpartition(")")[2].split()[0] == "T"

        self.until(lambda: "fault" in self.lines and stands(), "that it stands still")

    def go_on(self) -> None:
        self.process.signal(signal.SIGCONT)

    def until_sent(self, subject: str, count: int = 1) -> None:
        def sent() -> bool:
            return sum(line.endswith(f" {subject}") for line in self.lines) >= count

        self.until(sent, f"the message {subject}")

    def end(self, patience: float = 200) -> Ran:
        process = self.process
        if (code := process.wait(patience)) is None:
            process.kill()
            process.wait()
            raise AssertionError(f"did not end within {patience:g} s:\n{process.out}\n{process.err}")
        return Ran.of(code, process.out, process.err, self.lines)


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody with a spec for a lab, in a folder of their own."""

    bench: Bench
    folder: Path
    machine: str | None = None
    program: Callable[[], None] = controller_faulted.main
    started: list[Running] = field(default_factory=list)

    @classmethod
    def of(cls, bench: Bench, folder: Path, crossing: str = CROSSING) -> Operator:
        spec = SPEC.format(lab=bench.lab.name, crossing=crossing)
        (folder / "crossnet.yaml").write_text(spec, encoding="utf-8")
        return cls(bench, folder)

    def answered(self) -> Operator:
        """The same person, to whom a host says nonsense once."""
        return replace(self, program=controller_answered.main)

    def elsewhere(self) -> Operator:
        """The same person at another machine: nobody there knows whether the first one is still at work."""
        return replace(self, machine=ELSEWHERE)

    def start(self, *words: str, fault: Fault | Spoiled | None = None) -> Running:
        told = self.folder / f"told-{next(_numbers)}"
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment["CROSSNET_TOLD"] = str(told)
        if fault is not None:
            environment["CROSSNET_FAULT"] = str(fault)
        if self.machine is not None:
            environment["CROSSNET_MACHINE"] = self.machine
        process = ControllerProcess(self.program, words, self.folder, environment, told)
        self.started.append(Running(process, told))
        return self.started[-1]

    def end_all(self) -> None:
        """Whatever a test that failed has left running."""
        for one in self.started:
            one.process.kill()
            one.process.wait()
        self.started.clear()

    def run(self, *words: str, fault: Fault | Spoiled | None = None) -> Ran:
        return self.start(*words, fault=fault).end()

    def held(self) -> dict[str, str]:
        """What each host that holds a transaction has decided about it; "" where it is open."""
        asked = "cd /var/lib/crossnet/transaction && { cat decision 2>/dev/null || echo; }"
        answers = {host: self.bench.run(host, asked) for host in self.bench.managed}
        return {host: answer.text.strip() for host, answer in answers.items() if answer.ok}

    def transaction(self) -> str:
        return self.bench.check("gateway", "cat /var/lib/crossnet/transaction/id").strip()

    def let_pass(self, *hosts: str) -> None:
        """Let the deadline of these hosts be in the past, without waiting for it."""
        for host in hosts:
            self.bench.check(
                host,
                "cd /var/lib/crossnet/transaction && echo 1 $(cat /proc/sys/kernel/random/boot_id) >due && "
                "mv due deadline",
            )

    def pass_time(self, *hosts: str) -> None:
        """The same, until their guards have gone off."""
        self.let_pass(*hosts)
        deadline = time.monotonic() + 60
        while set(hosts) & set(self.held()):
            assert time.monotonic() < deadline, f"the guards did not go off: {self.held()}"
            time.sleep(0.2)

    def freeze_guards(self) -> None:
        """Let the guards stand still."""
        for host in self.bench.managed:
            self.bench.check(
                host, "read -r guard _ </var/lib/crossnet/transaction/watcher && kill -STOP $guard"
            )

    def recovered(self, patience: float) -> Ran:
        """Recover, as soon as that is let."""
        deadline = time.monotonic() + patience
        while (ran := self.run("recover", "--yes")).code == 5 and time.monotonic() < deadline:
            time.sleep(1)
        return ran

    def until_over(self, patience: float) -> None:
        """Wait until no host holds a transaction any more: the guards have gone off, nobody else did anything."""
        deadline = time.monotonic() + patience
        while held := self.held():
            assert time.monotonic() < deadline, f"still held after {patience:g} s: {held}"
            time.sleep(0.2)

    def history(self) -> dict[str, list[str]]:
        """The outcome of every transaction that ended on each host, oldest first."""
        found: dict[str, list[str]] = {host: [] for host in self.bench.managed}
        told = self.run("history", "--json")
        assert told.code == 0, told
        for one in json.loads(told.out)["transactions"]:
            found[one["host"]].append(one["outcome"])
        return found


class Ground:
    """The seed's hosts, with an operator, the things of others, and an oracle that knows OLD and NEW."""

    def __init__(self, name: str, folder: Path, crossing: str = CROSSING) -> None:
        folder.mkdir(parents=True)
        self.bench = Bench(asyncio.run(build.up(load("seed"), name=name, lifeline=True)))
        self.operator = Operator.of(self.bench, folder, crossing)
        for host in self.bench.managed:
            put_sentinels(self.bench, host)
            self.bench.check(host, USED_BEFORE)
        before = self.bench.fingerprints()
        self.applied = self.carry_out("apply")
        self.oracle = Oracle.at(self.bench, before)
        self.undone = self.carry_out("undo")
        self._seen = self.alike(OLD)

    def carry_out(self, *words: str) -> Ran:
        self._seen = ""
        ran = self.operator.run(*words, "--yes", "--guard", "30s")
        assert ran.code == 0, ran
        return ran

    def alike(self, expected: str | None = None, told: object = "") -> str:
        """OLD or NEW, the same on all hosts, with nothing left over."""
        first, *others = self.bench.managed
        state = self.oracle.check(first, expected, told=told)
        for host in (*others, "target"):
            self.oracle.check(host, state, told=told)
        self._seen = state
        return state

    def taken(self) -> Ground:
        """Itself, for somebody who may do with it what they like."""
        self._seen = ""
        return self

    def restore(self) -> None:
        """OLD again, for the next point."""
        self.operator.end_all()
        if self._seen != OLD:
            self.carry_out("undo")
            self.alike(OLD)

    def down(self) -> None:
        with suppress(LabError):
            asyncio.run(build.down(self.bench.lab.name))


class Grounds:
    """As many labs as points are tried at once: nearly all the time of a point is waiting for a guard."""

    def __init__(self, folder: Path, crossing: str = CROSSING) -> None:
        self._folder = folder
        self._crossing = crossing
        self._free: queue.SimpleQueue[Ground] = queue.SimpleQueue()
        self._made: list[Ground] = []

    def take(self) -> Ground:
        try:
            return self._free.get_nowait().taken()
        except queue.Empty:
            name = f"t{os.getpid()}-f{next(_numbers)}"
            ground = Ground(name, self._folder / name, self._crossing)
            self._made.append(ground)
            return ground.taken()

    def give_back(self, ground: Ground) -> None:
        """For the next one, as it was: one that a test failed on is not given back."""
        ground.restore()
        self._free.put(ground)

    def down(self) -> None:
        for ground in self._made:
            ground.down()

    def each(self, points: Iterable[P], attempt: Callable[[Ground, P], object], at_once: int) -> None:
        """Try every point on some ground; all that fail are told together."""

        def one(point: P) -> str:
            ground = self.take()
            try:
                attempt(ground, point)
                self.give_back(ground)
            except Exception as error:
                return f"---- {point}: {type(error).__name__}: {error}"
            return ""

        with ThreadPoolExecutor(at_once) as workers:
            failed = [text for text in workers.map(one, points) if text]
        assert not failed, f"{len(failed)} points failed\n" + "\n".join(failed)
