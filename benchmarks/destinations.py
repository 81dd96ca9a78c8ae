"""How long crossnet takes with 20, 200 and 2,000 destinations of one client: each is a route there.

The promise: 2,000 are applied in at most 3 times the time of 20. A job reads the hosts, plans, applies, and looks, by
`verify`, `status` and a new plan, at what it made; then it takes it back. Of the processor's time only that of the
controller is counted.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.measure import Spread, bar, in_alternation, options, ratios, report

from crossnet import api
from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.lab.topology import load
from crossnet.specfile import parse

SIZES = (20, 200, 2_000)
PHASES = ("plan", "apply", "plan again", "verify", "status", "undo")
PROMISE = 3.0


def spec_text(lab: Lab, count: int) -> str:
    """Networks behind the gateway of which no two are neighbours, and the one that the probe goes to."""
    networks = (f"10.{60 + number // 120}.{number % 120 * 2}.0/24" for number in range(count - 1))
    return f"""\
crossnet: 1
hosts: {{app: {{lab: {lab.name}/app}}, gateway: {{lab: {lab.name}/gateway}}}}
crossings:
  business: {{from: app, via: gateway, to: [10.0.44.1, {", ".join(networks)}], probe: icmp/10.0.44.1}}
"""


async def whole_job(lab: Lab, count: int) -> tuple[dict[str, float], float]:
    """Seconds by phase, and of the controller's processor until it is applied."""
    seconds: dict[str, float] = {}

    async def phase(name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        start = time.perf_counter()
        result = await work()
        seconds[name] = time.perf_counter() - start
        return result

    began = time.process_time()
    spec = parse(spec_text(lab, count), "benchmark")

    async def planned() -> Any:
        return api.plan(spec, await api.observe(spec))

    plan = await phase("plan", planned)
    applied = await phase("apply", lambda: api.apply(plan))
    spent = time.process_time() - began
    assert applied.confirmed is not None
    again = await phase("plan again", planned)
    assert again.is_empty, "what was applied is read back as it was meant"
    await phase("verify", lambda: api.verify(spec))
    await phase("status", lambda: api.status(spec))
    await phase("undo", lambda: api.undo(spec))
    return seconds, spent


async def measure(rounds: int) -> dict[int, list[tuple[dict[str, float], float]]]:
    jobs: dict[int, list[tuple[dict[str, float], float]]] = {count: [] for count in SIZES}
    lab = await build.up(load("seed"), name=f"bench-{os.getpid()}", lifeline=True)
    try:
        # Imports; and a crossing that stays would keep what the hosts have found out of their timers.
        await whole_job(lab, SIZES[0])
        for count in in_alternation(rounds, SIZES):
            jobs[count].append(await whole_job(lab, count))
    finally:
        await asyncio.shield(build.down(lab.name))
    return jobs


def main() -> None:
    rounds = options(__doc__, rounds=7, quick=2).rounds
    jobs = asyncio.run(measure(rounds))
    few = [seconds["plan"] + seconds["apply"] for seconds, _ in jobs[SIZES[0]]]
    rows, results = [], []
    for count, some in jobs.items():
        phases = {phase: Spread.of([seconds[phase] for seconds, _ in some]) for phase in PHASES}
        spent = Spread.of([cpu for _, cpu in some])
        against = Spread.of(ratios([seconds["plan"] + seconds["apply"] for seconds, _ in some], few))
        rows.append(
            (
                f"{count:,} destinations",
                *(f"{phases[phase].median:.2f}" for phase in PHASES),
                spent.show(2),
                against.show(2),
            )
        )
        results.append(
            {
                "destinations": count,
                "seconds": {phase: spread.data() for phase, spread in phases.items()},
                "controller_cpu_seconds": spent.data(),
                "ratio_to_20": against.data(),
            }
        )
    many = [seconds["plan"] + seconds["apply"] for seconds, _ in jobs[SIZES[-1]]]
    kept = bar(f"2,000 destinations in {PROMISE:g} × the time of 20", ratios(many, few), PROMISE)
    report(
        "destinations",
        ("seconds, median", *PHASES, "CPU s, controller", "plan and apply, × 20"),
        rows,
        {"rounds": rounds, "results": results, "bars": [kept]},
    )


if __name__ == "__main__":
    main()
