"""New TCP connections through a gateway: crossnet with 1 and with 10,000 clients, against linear rules.

The promise: with 10,000 clients within 10 % of what it is with one. The client that is measured is the
last of all. The peer is what is typed by hand: one iptables rule for each client, then DROP, and SNAT. Each
contestant has a lab of its own; all are up at the same time and take turns. `crossnet 1` takes part twice,
because how far the second is from the first tells what the machine's noise does to a ratio.

Two numbers for each short slice; the promise is about both, and the second is the sharper one:

- time a connection takes, which also depends on what else the machine does at that moment;
- CPU time a connection, in the client, the server and the kernel's part between them. The client and the
  server share one CPU. A packet from one veth to the next is handled on the CPU that sent it, either in
  the sending process, whose CPU time then includes it, or in that CPU's ksoftirqd, which is added. This
  holds for a kernel without CONFIG_IRQ_TIME_ACCOUNTING; with it only the first number counts.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import platform
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measure import Spread, bar, in_alternation, options, ratios, report
from benchmarks.wide import (
    CLIENT,
    DESTINATION,
    MANAGEMENT,
    NEXT_HOP,
    SNAT_ADDRESS,
    TARGET,
    host,
    lab_up,
    others,
    run,
    spec_text,
)

from crossnet import api
from crossnet.lab.build import Lab
from crossnet.specfile import parse
from crossnet.transport import lines

MANY = 10_000
TOLERANCE = 0.10
SLICE = 0.3  # seconds
MOST = 15_000  # connections a slice: fewer than the client has ports, so no port is used twice in one
PORT, CLOCK_PORT = 8000, 8001

# The system's own, with nothing from .venv: a lab host has a /tmp of its own and may not see this checkout.
PYTHON = (str(Path(sys.executable).resolve()), "-I", "-c")
PROGRAMS = Path(__file__).with_name("programs")
CONNECT, ACCEPT = ((PROGRAMS / name).read_text(encoding="utf-8") for name in ("connect.py", "accept.py"))

BASE = "crossnet 1"
AGAIN = "crossnet 1, again"
CROSSNET_MANY = f"crossnet {MANY:,}"


async def crossnet_gateway(lab: Lab, *, clients: int, engine: str = "nftables") -> None:
    spec = parse(spec_text(lab, clients, engine), "benchmark")
    applied = await api.apply(api.plan(spec, await api.observe(spec)))
    assert applied.confirmed is not None


async def linear_gateway(lab: Lab, *, command: str, established_first: bool) -> None:
    """The same service by hand: one rule for each client."""
    established = "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"
    admit = [f"-A FORWARD -s {client} -d {DESTINATION} -j ACCEPT\n" for client in (*others(MANY), CLIENT)]
    rules = [established, *admit] if established_first else [*admit, established]
    text = (
        "*filter\n:FORWARD ACCEPT [0:0]\n"
        f"{''.join(rules)}"
        "-A FORWARD -j DROP\nCOMMIT\n"
        "*nat\n:POSTROUTING ACCEPT [0:0]\n"
        f"-A POSTROUTING -s {MANAGEMENT} -d {DESTINATION} -o eth0 -j SNAT --to-source {SNAT_ADDRESS}\nCOMMIT\n"
    )
    await run(lab, "gateway", command, stdin=text)
    await run(lab, "gateway", "sysctl", "-w", "net.ipv4.ip_forward=1")
    await run(lab, "app", "ip", "route", "add", DESTINATION, "via", NEXT_HOP)


CONTESTANTS: Mapping[str, Callable[[Lab], Awaitable[None]]] = {
    BASE: partial(crossnet_gateway, clients=1),
    AGAIN: partial(crossnet_gateway, clients=1),
    CROSSNET_MANY: partial(crossnet_gateway, clients=MANY),
    f"{CROSSNET_MANY}, iptables and ipset": partial(crossnet_gateway, clients=MANY, engine="iptables"),
    f"linear {MANY:,}, iptables-legacy": partial(
        linear_gateway, command="iptables-legacy-restore", established_first=True
    ),
    f"linear {MANY:,}, iptables-nft": partial(
        linear_gateway, command="iptables-nft-restore", established_first=True
    ),
    f"linear {MANY:,}, iptables-legacy, established last": partial(
        linear_gateway, command="iptables-legacy-restore", established_first=False
    ),
}


@dataclass(frozen=True, slots=True)
class Slice:
    per_second: float
    cpu_us: float  # a connection


@dataclass(frozen=True, slots=True)
class Way:
    """A client, a gateway and a target that serves; each slice is measured on one CPU."""

    lab: Lab
    cpu: int
    most: int
    ksoftirqd: Path | None

    async def slice(self) -> Slice:
        # The entries of the last slice would otherwise fill the table, which is one for all labs.
        await run(self.lab, "gateway", "conntrack", "-F")
        kernel = _nanoseconds(self.ksoftirqd)
        words = (TARGET, PORT, CLOCK_PORT, self.cpu, SLICE, self.most)
        answer = await run(self.lab, "app", *PYTHON, CONNECT, *map(str, words))
        kernel = _nanoseconds(self.ksoftirqd) - kernel
        seen = json.loads(answer.text)
        made = seen["connections"]
        return Slice(made / seen["seconds"], (seen["cpu_ns"] + kernel) / made / 1000)

    async def check(self) -> None:
        """It translates, and nobody but the clients gets through; else the numbers compare nothing."""
        await run(self.lab, "app", "ping", "-n", "-c", "1", "-W", "2", TARGET)
        stopped = await host(self.lab, "stranger").run(["ping", "-n", "-c", "1", "-W", "1", TARGET])
        assert not stopped.ok, f"{self.lab.name}: the stranger got through"
        tracked = await run(self.lab, "gateway", "conntrack", "-L", "-s", CLIENT)
        assert f"dst={SNAT_ADDRESS}" in tracked.text, tracked.text


def _ksoftirqd(cpu: int) -> Path | None:
    """Where the kernel tells the CPU time of its thread for the packets of this CPU."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            if (folder / "comm").read_text() == f"ksoftirqd/{cpu}\n":
                return folder / "schedstat"
    return None


def _nanoseconds(schedstat: Path | None) -> int:
    return int(schedstat.read_text().split()[0]) if schedstat else 0


def packets_are_charged() -> bool | None:
    """Whether a process's CPU time includes the packets it has the kernel handle; None: unknown."""
    release = platform.release()
    for file in (Path("/proc/config.gz"), Path(f"/boot/config-{release}")):
        try:
            data = file.read_bytes()
        except OSError:
            continue
        text = gzip.decompress(data).decode() if file.suffix == ".gz" else data.decode()
        return "CONFIG_IRQ_TIME_ACCOUNTING=y" not in text
    return None


async def measure(rounds: int) -> dict[str, list[Slice]]:
    slices: dict[str, list[Slice]] = {name: [] for name in CONTESTANTS}
    cpu = max(os.sched_getaffinity(0))
    ksoftirqd = _ksoftirqd(cpu)
    async with AsyncExitStack() as stack:
        ways: dict[str, Way] = {}
        for name, build in CONTESTANTS.items():
            lab = await stack.enter_async_context(lab_up())
            await build(lab)
            room = int((await run(lab, "gateway", "sysctl", "-n", "net.netfilter.nf_conntrack_max")).text)
            ways[name] = Way(lab, cpu, min(MOST, room // 4), ksoftirqd)
            serve = (*PYTHON, ACCEPT, TARGET, str(PORT), str(CLOCK_PORT), str(cpu))
            server = await host(lab, "target").start(serve)
            stack.push_async_callback(server.stop)
            async for line in lines(server.output()):
                assert line == b"ready\n", line
                break
            await ways[name].check()
            await ways[name].slice()  # warm-up
            print(f"up: {name}", file=sys.stderr)
        for name in in_alternation(rounds, tuple(ways)):
            slices[name].append(await ways[name].slice())
    return slices


def main() -> None:
    rounds = options(__doc__, rounds=40, quick=8).rounds
    slices = asyncio.run(measure(rounds))
    rates = {name: [each.per_second for each in some] for name, some in slices.items()}
    costs = {name: [each.cpu_us for each in some] for name, some in slices.items()}
    rate_ratios = {name: ratios(values, rates[BASE]) for name, values in rates.items()}
    cost_ratios = {name: ratios(values, costs[BASE]) for name, values in costs.items()}
    charged = packets_are_charged()
    if not charged:
        print(
            "This kernel may leave packets out of CPU time (CONFIG_IRQ_TIME_ACCOUNTING): look at the rates."
        )
    what = f"{CROSSNET_MANY} within {TOLERANCE:.0%} of {BASE}"
    slower = [1 / ratio for ratio in rate_ratios[CROSSNET_MANY]]
    bars = [
        bar(f"{what}, CPU time a connection", cost_ratios[CROSSNET_MANY], 1 + TOLERANCE),
        bar(f"{what}, time a connection", slower, 1 / (1 - TOLERANCE)),
    ]
    report(
        "dataplane",
        ("new TCP connections", "a second", f"× {BASE}", "CPU µs each", f"× {BASE}"),
        [
            (
                name,
                Spread.of(rates[name]).show(0),
                Spread.of(rate_ratios[name]).show(2),
                Spread.of(costs[name]).show(0),
                Spread.of(cost_ratios[name]).show(2),
            )
            for name in CONTESTANTS
        ],
        {
            "slices": rounds,
            "slice_seconds": SLICE,
            "packets_charged_to_processes": charged,
            "results": {
                name: {
                    "per_second": Spread.of(rates[name]).data(),
                    "per_second_ratio": Spread.of(rate_ratios[name]).data(),
                    "cpu_us": Spread.of(costs[name]).data(),
                    "cpu_ratio": Spread.of(cost_ratios[name]).data(),
                }
                for name in CONTESTANTS
            },
            "bars": bars,
        },
    )


if __name__ == "__main__":
    main()
