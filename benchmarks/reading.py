"""What reading a host costs: its processor time, and time and memory where it holds very much.

The peer is the bare tools, each run once, with their output thrown away. The hosts are network namespaces; a plain
host, and the seed on a gateway with 5,000 rules, are of the lab. The promises are judged by CPU time, which others on
the machine change little: on an idle machine it is what the clock shows, or more, for tools and parsing overlap.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.measure import Spread, bar, compiled, in_alternation, options, ratios, report

from crossnet.facts import observe
from crossnet.lab import build
from crossnet.lab.topology import load
from crossnet.record import FOLDER
from crossnet.site import READ
from crossnet.transport.lab import LabHost
from crossnet.transport.local import Local

CPU_PROMISE = 0.040  # seconds of the host's processor
TIMES, MORE = 2.0, 0.7  # of the bare tools' time, and seconds
MEMORY, TIMES_MEMORY = 300.0, 2.0  # MB, of the bare tool's
PLAN_PROMISE = 3.0
MANY, ROUTES, PLANNED = 50_000, 100_000, 5_000
AT_ONCE = 5  # readings between two looks at a clock that counts hundredths of a second

SPEC = """crossnet: 1
hosts: {{app: {{lab: {0}/app}}, gateway: {{lab: {0}/gateway}}}}
crossings: {{business: {{from: app, via: gateway, to: 10.0.44.0/24, persist: none}}}}
"""

BARE = """
ip -d addr; ip -4 route show table all; ip -6 route show table all; ip -4 rule; ip -6 rule; ip neigh
nft -j list ruleset; ipset save
for tool in iptables ip6tables; do $tool-legacy-save -c; $tool-nft-save -c; done
"""

TWO_CARDS = """
ip link set lo up
for card in 0 1; do
    ip link add eth$card type veth peer name far$card
    ip link set far$card up
    ip addr add 10.0.4$card.2/24 dev eth$card
    ip link set eth$card up
done
"""


def _pairs(count: int) -> Iterator[tuple[int, str, str, str]]:
    """A number, two addresses, and what becomes of packets from one to the other."""
    chance = random.Random(5)
    for number in range(count):
        source, to = (
            f"10.{chance.randrange(99)}.{chance.randrange(256)}.{chance.randrange(256)}" for _ in range(2)
        )
        yield number, source, to, ("accept", "drop")[number % 2]


def iptables_rules(count: int) -> str:
    rules = (
        f"-A FORWARD -s {source}/32 -d {to}/32 -p tcp -m tcp --dport {1 + number % 65535} -j {verdict.upper()}"
        for number, source, to, verdict in _pairs(count)
    )
    return "\n".join(("*filter", ":FORWARD ACCEPT [0:0]", *rules, "COMMIT", ""))


def nft_rules(count: int) -> str:
    rules = (
        f"ip saddr {source} ip daddr {to} tcp dport {1 + number % 65535} {verdict}"
        for number, source, to, verdict in _pairs(count)
    )
    chain = "type filter hook forward priority 0;"
    return "\n".join(("table inet work {", "chain forward {", chain, *rules, "}", "}", ""))


def routes(count: int) -> str:
    return "".join(
        f"route add 2{number >> 16}.{number >> 8 & 255}.{number & 255}.0/24 via 10.0.40.1\n"
        for number in range(count)
    )


# What a host holds, and how it gets it.
LOADED = {
    "two cards": ((), ""),
    "50,000 rules, iptables-legacy": (("iptables-legacy-restore",), iptables_rules(MANY)),
    "50,000 rules, iptables-nft": (("iptables-nft-restore",), iptables_rules(MANY)),
    "50,000 rules, nft": (("nft", "-f", "-"), nft_rules(MANY)),
    "100,000 routes": (("ip", "-batch", "-"), routes(ROUTES)),
}
PLAIN = next(iter(LOADED))


# ---- inside the namespace ---------------------------------------------------------------------------


def read_once() -> dict[str, float]:
    """One reading by crossnet, in a process that has done nothing else."""
    asyncio.run(observe(Local("here"), ()))  # what is imported late
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    before = [_cpu(resource.getrusage(one)) for one in who]
    start = time.perf_counter()
    asyncio.run(observe(Local("here"), READ))
    taken = time.perf_counter() - start
    own, cpu = (_cpu(resource.getrusage(one)) - then for one, then in zip(who, before, strict=True))
    return {
        "seconds": taken,
        "own": own,
        "cpu": cpu,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def bare_once() -> dict[str, float]:
    start = time.perf_counter()
    process = subprocess.Popen(["sh", "-c", BARE], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    taken = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"the bare tools ended with {process.returncode}")
    return {"seconds": taken, "own": 0.0, "cpu": _cpu(usage), "memory": usage.ru_maxrss / 1024}


def inside(state: str, rounds: int) -> None:
    loader, text = LOADED[state]
    subprocess.run(["sh", "-euc", TWO_CARDS], check=True)
    if loader:
        subprocess.run(loader, input=text, text=True, check=True)
    taken: dict[str, list[dict[str, float]]] = {"crossnet": [], "bare": []}
    for who in in_alternation(rounds, tuple(taken)):
        here = [sys.executable, "-m", "benchmarks.reading", f"--{who}"]
        taken[who].append(json.loads(subprocess.run(here, stdout=subprocess.PIPE, check=True).stdout))
    print(json.dumps(taken))


# ---- outside ----------------------------------------------------------------------------------------


def measured(state: str, rounds: int) -> dict[str, list[dict[str, float]]]:
    enter = ["unshare", "--net", "--mount", "sh", "-euc", 'mount -t tmpfs tmpfs /run; exec "$@"', "sh"]
    argv = [*enter, sys.executable, "-m", "benchmarks.reading", "--inside", state, str(rounds)]
    said = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout
    found: dict[str, list[dict[str, float]]] = json.loads(said)
    return found


@asynccontextmanager
async def _seed() -> AsyncIterator[build.Lab]:
    lab = await build.up(load("seed"), name=f"bench-{os.getpid()}-reading", lifeline=True)
    try:
        yield lab
    finally:
        await asyncio.shield(build.down(lab.name))


async def lab_host(rounds: int) -> list[float]:
    """CPU seconds that reading it costs a lab host: its process 1, and all that this has waited for (proc(5))."""
    async with _seed() as lab:
        host = LabHost("gateway", lab.socket("gateway"))

        async def used() -> float:
            stat = (await host.run(["cat", "/proc/1/stat"])).text.rpartition(")")[2].split()
            return sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")

        taken = []
        for _ in range(rounds):
            before = await used()
            for _ in range(AT_ONCE):
                await observe(host, READ, (PurePosixPath(FOLDER),))
            taken.append((await used() - before) / AT_ONCE)
        return taken


async def planned(rounds: int, loader: Sequence[str], rules: str) -> list[dict[str, float]]:
    """What `crossnet plan` takes for the seed, whose gateway has very many rules of somebody else."""
    async with _seed() as lab:
        done = await LabHost("gateway", lab.socket("gateway")).run(loader, stdin=rules.encode())
        assert done.ok, done.error_text
        crossnet = Path(sys.executable).with_name("crossnet")
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as spec:
            spec.write(SPEC.format(lab.name))
            spec.flush()
            argv = [str(crossnet), "plan", "-q", "-f", spec.name]
            return [_costs_of(argv) for _ in range(rounds)]


def _costs_of(argv: list[str]) -> dict[str, float]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    taken = time.perf_counter() - start
    return {"seconds": taken, "own": _cpu(resource.getrusage(resource.RUSAGE_CHILDREN)) - _cpu(before)}


def of(some: list[dict[str, float]], what: str) -> list[float]:
    return [one[what] for one in some]


def main() -> None:
    match sys.argv[1:]:
        case ["--crossnet"]:
            print(json.dumps(read_once()))
        case ["--bare"]:
            print(json.dumps(bare_once()))
        case ["--inside", state, rounds]:
            inside(state, int(rounds))
        case _:
            compare()


def compare() -> None:
    chosen = options(__doc__, rounds=9, quick=3)
    rows, results, bars = [], [], list[dict[str, Any]]()
    with compiled():
        for state in LOADED:
            found = measured(state, chosen.rounds)
            ours, bare = found["crossnet"], found["bare"]
            spreads = {
                (who, what): Spread.of(of(some, what))
                for who, some in found.items()
                for what in ("seconds", "own", "cpu", "memory")
            }
            against = Spread.of(ratios(of(ours, "seconds"), of(bare, "seconds")))
            rows.append(
                (
                    state,
                    spreads["crossnet", "seconds"].show(2),
                    spreads["bare", "seconds"].show(2),
                    against.show(1),
                    f"{1000 * spreads['crossnet', 'own'].median:.0f}",
                    f"{1000 * spreads['crossnet', 'cpu'].median:.0f}",
                    f"{1000 * spreads['bare', 'cpu'].median:.0f}",
                    f"{spreads['crossnet', 'memory'].median:.0f}",
                    f"{spreads['bare', 'memory'].median:.0f}",
                )
            )
            results.append(
                {
                    "state": state,
                    "against_bare": against.data(),
                    **{f"{who}_{what}": spread.data() for (who, what), spread in spreads.items()},
                }
            )
            if state == PLAIN:
                continue
            beyond = [
                one["own"] + one["cpu"] - TIMES * other["cpu"] for one, other in zip(ours, bare, strict=True)
            ]
            bars.append(bar(f"{state}: CPU seconds beyond twice the bare tools'", beyond, MORE))
            most = max(MEMORY, TIMES_MEMORY * spreads["bare", "memory"].median)
            bars.append(bar(f"{state}: MB", of(ours, "memory"), most))
        of_host = asyncio.run(lab_host(chosen.rounds))
        plans = {
            "iptables": asyncio.run(
                planned(chosen.rounds, ("iptables-legacy-restore",), iptables_rules(PLANNED))
            ),
            "nft": asyncio.run(planned(chosen.rounds, ("nft", "-f", "-"), nft_rules(PLANNED))),
        }
    bars.append(bar("CPU seconds of a lab host", of_host, CPU_PROMISE))
    for tool, taken in plans.items():
        what = f"CPU seconds of a plan on a gateway with {PLANNED:,} rules of {tool}"
        bars.append(bar(what, of(taken, "own"), PLAN_PROMISE))
        seconds, own = Spread.of(of(taken, "seconds")), Spread.of(of(taken, "own"))
        shown = f"plan: {PLANNED:,} rules, {tool}"
        rows.append((shown, seconds.show(2), "", "", f"{1000 * own.median:.0f}", "", "", "", ""))
        results.append({"state": shown, "crossnet_seconds": seconds.data(), "crossnet_own": own.data()})
    report(
        "reading",
        ("what it holds", "seconds", "bare tools", "ratio", "own CPU ms", "the host's", "bare", "MB", "bare"),
        rows,
        {
            "rounds": chosen.rounds,
            "results": results,
            "lab_host_cpu": Spread.of(of_host).data(),
            "bars": bars,
        },
    )


if __name__ == "__main__":
    main()
