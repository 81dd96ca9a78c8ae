"""host.sh on a lab host, driven without a controller: its verbs are called one by one, with a fault in each."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import shlex
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest

from crossnet import api
from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.lab.topology import Topology, from_data, load, to_data
from crossnet.planning import Plan
from crossnet.spec import Spec
from crossnet.transaction import journal
from crossnet.transaction.agent import script_text
from crossnet.transaction.batches import batched
from crossnet.transaction.bundle import bundle
from crossnet.transport import Completed
from crossnet.transport.lab import LabHost
from faults.oracle import NEW, OLD, SENTINELS, Oracle, assert_sentinels
from lab.crossing import Bench
from lab.elsewhere import PYTHON

ROOT = "/var/lib/crossnet"
T = f"{ROOT}/transaction"
KEPT = f"{T}/host.sh"

GUARD = 100  # seconds; they pass when a test says so
HEARTBEAT = f"{T}/heartbeat"

A = TypeVar("A")

_labs = itertools.count(1)

_TRACER = Path(__file__).with_name("hostside_tracer.py").read_text(encoding="utf-8")
_PLACE = r"""
umask 077; mkdir -p "${1%/*}"
sum=$(sha256sum <"$1" 2>/dev/null) && [ "${sum%% *}" = "$2" ] ||
    { cat >"$1.aside" && sync "$1.aside" && mv "$1.aside" "$1"; }
"""

# In the lab nothing of systemd runs but its units at boot, and those that a unit starts are not among them.
SYSTEMCTL = r"""#!/bin/sh
while case ${1-} in -*) true ;; *) false ;; esac; do shift; done
case ${1-} in
    start) shift ;;
    is-active) exit 3 ;;
    *) exit 0 ;;
esac
for unit; do
    instance=${unit#*@}
    instance=${instance%.service}
    file=/etc/systemd/system/$unit
    [ -e "$file" ] || file=${file%@*}@.service
    [ -e "$file" ] || exit 5
    sed -n "s/^ExecStart=//p" "$file" | sed "s/%i/$instance/g" | while IFS= read -r command; do
        eval "$command" </dev/null || exit
    done || exit
done
"""


# What a controller has said before a verb.
VERBS = {
    "stage": (),
    "arm": ("stage",),
    "apply": ("stage", "arm"),
    "commit": ("stage", "arm", "apply"),
    "release": ("stage", "arm", "apply", "commit"),
    "rollback": ("stage", "arm", "apply"),
}

# A verb, and at how many of its calls it is hit.
FEW_AND_MANY = [
    pytest.param(verb, number, id=f"{verb}-{name}", marks=[pytest.mark.faults] * is_long)
    for verb in VERBS
    for number, name, is_long in ((2, "few", verb in ("arm", "apply", "rollback")), (40, "many", True))
]

CROSSINGS = {
    "nftables": "to: 10.0.44.0/24, firewall: nftables",
    "iptables": "to: 10.0.44.0/24, firewall: iptables",
}


# For fixtures; iptables takes as long again.
ENGINES = ["nftables", pytest.param("iptables", marks=pytest.mark.faults)]


@cache
def script_name() -> str:
    return f"host-{hashlib.sha256(script_text().encode()).hexdigest()[:16]}.sh"


def with_sentinels(topology: str = "seed") -> Topology:
    """A topology of the product in which foreign things are there after each boot."""
    data = to_data(load(topology))
    for name in ("app", "gateway"):
        data["hosts"][name]["boot"] = [*data["hosts"][name].get("boot", []), *SENTINELS]
    return from_data(data, source="test")


@dataclass(frozen=True, slots=True)
class Killed:
    """How a verb went that was to be killed."""

    completed: Completed
    told: str

    @property
    def reached(self) -> bool:
        return self.told.startswith("reached ")

    @property
    def count(self) -> int:
        assert self.told.startswith("passed "), self.told
        return int(self.told.split()[1])


@dataclass(slots=True)
class HostSide:
    """One host of a bench and its part of one change, in either direction: OLD to NEW and back.

    `plans` are the plan that leads from OLD and the one that leads from NEW.
    """

    bench: Bench
    host: str
    oracle: Oracle
    plans: Mapping[str, Plan]
    spec: Spec
    log: list[str] = field(default_factory=list)
    transaction: str = ""
    state: str = OLD
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def of(cls, bench: Bench, spec: Spec, host: str = "gateway") -> HostSide:
        """Learns how the hosts are OLD and NEW from a clean apply, which it takes back."""
        assert_sentinels(bench, host)
        before = bench.fingerprints()
        first = bench.plan(spec)
        assert first.touched, "nothing to do"
        bench.apply(spec)
        oracle = Oracle.at(bench, before)
        second = asyncio.run(api.plan_undo(spec)).plan
        bench.undo(spec)
        bench.check(host, f"rm -f {ROOT}/history")
        side = cls(bench, host, oracle, {OLD: first, NEW: second}, spec)
        side.check(OLD)
        return side

    # ---- what a controller says ------------------------------------------------------------------------

    def stage(
        self, state: str, *, proved: bool = True, placed: bool = False, data: bytes = b"", **fault: Any
    ) -> Completed:
        """A new transaction from that state.

        `proved` is whether its timers were seen to go off before; `placed` is whether the script is there
        already. Of the bundle only `data` arrives, when that is given.
        """
        self.transaction = f"t{next(self._numbers):05}"
        whole = self.bundle(state)
        if not placed:
            self.place()
            if proved:
                self.prove()
        words = (self.transaction, hashlib.sha256(whole).hexdigest())
        answer = self.verb("stage", *words, stdin=data or whole, **fault)
        if answer.returncode in (2, 127) and not fault:  # taken away by whoever ended the last one just then
            self.place()
            answer = self.verb("stage", *words, stdin=data or whole)
        return answer

    def arm(self, *more: str, **fault: Any) -> Completed:
        return self.verb("arm", self.transaction, str(GUARD), *more, **fault)

    def apply(self, upto: int | None = None, **fault: Any) -> Completed:
        return self.verb("apply", self.transaction, str(self.steps if upto is None else upto), **fault)

    def commit(self, **fault: Any) -> Completed:
        return self.verb("commit", self.transaction, **fault)

    def release(self, **fault: Any) -> Completed:
        return self.verb("release", self.transaction, stdin=b'{"format": 1}', **fault)

    def rollback(self, **fault: Any) -> Completed:
        return self.verb("rollback", self.transaction, **fault)

    def recover(self, **fault: Any) -> Completed:
        return self.verb("recover", **fault)

    def expire(self, **fault: Any) -> Completed:
        """As the timer of systemd calls it."""
        return self.verb("expire", self.transaction, **fault)

    def watch(self, *, prefix: Sequence[str] = ()) -> Completed:
        """As `arm` calls it: in a session of its own."""
        return self.verb("watch", self.transaction, prefix=[*prefix, "setsid", "--wait"])

    def begin(self, state: str, verbs: Sequence[str]) -> None:
        """A transaction from that state as far as these verbs lead, without a fault."""
        for verb in verbs:
            answer = self.stage(state) if verb == "stage" else getattr(self, verb)()
            assert answer.ok, f"{verb}: {answer.text}{answer.error_text}{self.story()}"

    def whole(self, state: str) -> str:
        """A whole transaction without a fault; the other state."""
        self.begin(state, ("stage", "arm", "apply", "commit", "release"))
        other = NEW if state == OLD else OLD
        self.check(other)
        return other

    def undo(self) -> None:
        """By crossnet itself, which reads what is there."""
        self.bench.undo(self.spec)
        self.check(OLD)

    def verb(
        self, verb: str, *words: str, stdin: bytes = b"", prefix: Sequence[str] = (), timeout: float = 240
    ) -> Completed:
        """One call of host.sh, by the script that a controller would call then."""
        argv = [*prefix, "sh", self.script(verb), verb, *words]
        answer = self._run(argv, stdin, timeout)
        said = f"{answer.text.strip()} {answer.error_text.strip()}".replace("\n", "; ")
        self.log.append(f"{verb} {words[0] if words else ''} → {answer.returncode} {said[:600]}")
        return answer

    def begin_before(self, verb: str) -> None:
        """All that a controller says before this verb."""
        self.begin(self.state, VERBS[verb])

    def killed_in(self, verb: str, number: int, how: str = "all") -> Killed:
        """The verb killed at its N-th call, with all that it started or alone; 0 lets it go on to its end."""
        words = (self.stage, self.state) if verb == "stage" else (getattr(self, verb),)
        return self.killing(how, number, *words)

    def calls_of(self, verb: str) -> int:
        """How many calls the verb makes when nobody disturbs it."""
        self.begin_before(verb)
        killed = self.killed_in(verb, 0, "self")
        if self.is_open():
            self.rollback()
            if self.is_open():
                self.release()
        self.state = self.state_by_record()
        return killed.count

    def killing(self, how: str, number: int, verb: Callable[..., Completed], *words: Any) -> Killed:
        """A verb that is killed at its N-th call; 0 lets it go on to its end."""
        answer = verb(*words, prefix=[PYTHON, "-I", "-S", "-c", _TRACER, how, str(number)])
        # What goes on after the verb may say something later.
        lines = answer.error_text.splitlines()
        told = [line for line in lines if line.startswith(("reached ", "passed "))]
        assert told, self.story()
        return Killed(answer, told[-1])

    # ---- what happens to the host ----------------------------------------------------------------------

    def place(self) -> None:
        """The script as the controller leaves it there."""
        text = script_text().encode()
        words = (f"{ROOT}/{script_name()}", hashlib.sha256(text).hexdigest())
        self._run(["sh", "-c", _PLACE, "sh", *words], text).check()

    def prove(self) -> None:
        """The timers were seen to go off."""
        self.check_run(
            f"mkdir -p -m 700 {ROOT}/drill; {{ echo $(cat /proc/sys/kernel/random/boot_id) {script_name()} "
            f"$(cat /proc/self/loginuid 2>/dev/null); echo watch; }} >{ROOT}/drill/proof"
        )

    def own_clock(self) -> None:
        """From now on time passes on this host only when a test says so, but for processes that sleep."""
        self.check_run(
            "read -r up _ </proc/uptime; printf '%12.2f 0.00\\n' ${up%%.*} >/tmp/uptime; "
            "mount --bind /tmp/uptime /proc/uptime"
        )

    def pass_time(self, seconds: int = 2 * GUARD) -> None:
        # In place and as long as before: a reader must never find it empty.
        self.check_run(
            "read -r up _ </proc/uptime; up=${up%%.*}; "
            f"printf '%12.2f 0.00\\n' $((up + {seconds})) | dd of=/tmp/uptime conv=notrunc status=none"
        )

    def kill_watcher(self) -> None:
        """What a person does who ends every process that he does not know."""
        self.check_run(f"read -r leader _ <{T}/watcher; kill -KILL $(ps -o pid= -s $leader)")

    def has_watcher(self) -> bool:
        return self.run(f'read -r leader _ <{T}/watcher && [ -n "$(ps -o pid= -s $leader)" ]').ok

    def state_by_record(self) -> str:
        """OLD or NEW by what crossnet itself says to have applied there."""
        return NEW if self.run(f"test -e {ROOT}/applied.json").ok else OLD

    def shell(self, name: str) -> None:
        """What stands behind `sh` there: dash, bash or busybox."""
        self.check_run(
            f"wanted=$(readlink -f $(command -v {name})); sh=$(readlink -f /bin/sh); "
            f'[ "$wanted" = "$sh" ] || mount --bind "$wanted" "$sh"'
        )

    def shim(self, tool: str, script: str) -> None:
        """Put a program before a tool; in it `real` is the tool. `mend` takes it away."""
        text = f"#!/bin/bash\nreal=/tmp/real-{tool}\n{script}\n"
        self.check_run(
            f"place=$(readlink -f $(command -v {tool})); [ -e /tmp/real-{tool} ] || cp $place /tmp/real-{tool}; "
            f"printf %s {shlex.quote(text)} >/tmp/shim-{tool}; chmod 755 /tmp/shim-{tool}; "
            f"mount --bind /tmp/shim-{tool} $place"
        )

    def mend(self, tool: str) -> None:
        # One that still runs goes on.
        self.check_run(f"umount -l $(readlink -f $(command -v {tool}))")

    def reboot(self) -> None:
        asyncio.run(build.reboot(self.bench.lab, self.host))

    # ---- what is there ---------------------------------------------------------------------------------

    def check(self, expected: str | None = None) -> str:
        state = self.oracle.check(self.host, expected, told=self.story())
        self.log.clear()
        return state

    def story(self) -> str:
        return "\n".join(["", *self.log[-12:]])

    def is_open(self) -> bool:
        return self.run(f"test -d {T}").ok

    def until(self, condition: Callable[[], bool], what: str, patience: float = 30) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                there = self.run(f"ps -eo pid,sid,stat,args; ls -l {T}; head {T}/[a-z]*").text
                raise AssertionError(f"never happened on {self.host}: {what}{self.story()}\n{there}")
            time.sleep(0.05)

    def until_over(self) -> None:
        self.until(lambda: not self.is_open(), "the end of the transaction")

    def history(self) -> list[tuple[str, str, str]]:
        """Transaction, decision and result of each that ended."""
        text = self.run(f"cat {ROOT}/history").text
        return [(line[1], line[-2], line[-1]) for line in (row.split("\t") for row in text.splitlines())]

    def in_background(self, argv: Sequence[str], how: str, number: int, out: str) -> None:
        """A command that has something done to it at its N-th call; `out` is what it says, `out.done` its end."""
        traced = [PYTHON, "-I", "-S", "-c", _TRACER, how, str(number), *argv]
        script = 'out=$1; shift; { "$@" >"$out" 2>&1; echo >"$out.done"; } </dev/null >/dev/null 2>&1 &'
        self.words("sh", "-c", f'rm -f "$1.done"; {script}', "sh", out, *traced).check()

    def write(self, path: str, data: bytes) -> None:
        self.words("sh", "-c", 'cat >"$1"', "sh", path, stdin=data).check()

    def words(self, *argv: str, stdin: bytes = b"", timeout: float = 60) -> Completed:
        return self._run(argv, stdin, timeout)

    def run(self, command: str) -> Completed:
        return self._run(["sh", "-c", command])

    def check_run(self, command: str) -> str:
        return self.run(command).check().text

    def script(self, verb: str) -> str:
        """As the controller that stages calls it; whoever comes later calls the one that is kept there."""
        placed = f"{ROOT}/{script_name()}"
        return KEPT if verb == "recover" and self.run(f"test -e {KEPT}").ok else placed

    def _run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60) -> Completed:
        there = LabHost(self.host, self.bench.lab.socket(self.host))
        return asyncio.run(there.run(list(argv), stdin=stdin, timeout=timeout))

    @property
    def steps(self) -> int:
        return int(self.check_run(f"ls {T}/live 2>/dev/null | tail -n 1") or 0)

    def bundle(self, state: str) -> bytes:
        plan = self.plans[state]
        part = next(host for host in plan.hosts if host.host == self.host)
        live = [change for host, change in plan.live() if host == self.host]
        later = [change for host, change in plan.persistent() if host == self.host]
        entries = tuple(journal.entry(change) for change in live)
        written = replace(journal.new(self.transaction, "apply business", plan.touched), entries=entries)
        there = LabHost(self.host, self.bench.lab.socket(self.host))
        return bundle(written, part, batched(live), later, there.locate)


def start_units(bench: Bench) -> None:
    """After each boot `systemctl start` does on this host what it does on a real one."""
    place = "/etc/systemd/system/multi-user.target.wants/0-systemctl.service"
    for host in bench.managed:
        for path, text in (
            ("/var/lib/foreign/systemctl", SYSTEMCTL),
            (
                place,
                "[Service]\nType=oneshot\nExecStart=/bin/sh -c '"
                'mount --bind /var/lib/foreign/systemctl "$(readlink -f "$(command -v systemctl)")"\'\n',
            ),
        ):
            bench.check(host, f"cat >{path} <<'END'\n{text}END\nchmod 755 {path}")


@contextmanager
def sides_of(
    crossing: str,
    number: int = 2,
    *,
    own_clock: bool = True,
    prepare: Callable[[Bench], None] = lambda bench: None,
) -> Iterator[list[HostSide]]:
    """The gateway so many times, each in a lab of its own, OLD; `prepare` is done before it is looked at."""
    labs: list[Lab] = []

    def make() -> HostSide:
        name = f"t{os.getpid()}-h{next(_labs)}"
        lab = asyncio.run(build.up(with_sentinels(), name=name, lifeline=True))
        labs.append(lab)
        bench = Bench(lab)
        prepare(bench)
        side = HostSide.of(bench, bench.spec(crossing))
        if own_clock:
            side.own_clock()
        return side

    try:
        with ThreadPoolExecutor(number) as pool:
            yield [made.result() for made in [pool.submit(make) for _ in range(number)]]
    finally:
        for lab in labs:
            asyncio.run(build.down(lab.name))


def spread(count: int, wanted: int) -> list[int]:
    """About so many of the numbers from 1 to `count`, or all of them when everything is to be tried."""
    if is_everything() or count <= wanted:
        return list(range(1, count + 1))
    return sorted({1 + round(index * (count - 1) / (wanted - 1)) for index in range(wanted)})


def is_everything() -> bool:
    """Whether every point is to be tried, which takes long, and not a part that stands for all."""
    return "CROSSNET_ALL_FAULTS" in os.environ


def on_each(sides: Sequence[HostSide], points: Iterable[A], attempt: Callable[[HostSide, A], None]) -> None:
    """Try the points on several hosts at the same time, each host one after the other."""
    waiting = deque(points)

    def work(side: HostSide) -> None:
        with suppress(IndexError):
            while True:
                point = waiting.popleft()
                side.log.append(f"at {point}")
                attempt(side, point)

    with ThreadPoolExecutor(len(sides)) as pool:
        for done in [pool.submit(work, side) for side in sides]:
            done.result()
