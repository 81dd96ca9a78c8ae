"""How long crossnet takes with 1, 1,000 and 10,000 clients, by phase, and what it runs on the gateway.

Of all clients only the managed one is asked to send. The rules have to reach the gateway in one
transaction, however many clients there are: one `nft -f`, or one `ipset restore` and one
`iptables-restore`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from benchmarks.measure import Spread, in_alternation, options, ratios, report
from benchmarks.wide import lab_up, spec_text

from crossnet import api
from crossnet.lab.build import Lab
from crossnet.specfile import parse
from crossnet.transport import LIMIT, TIMEOUT, Completed
from crossnet.transport.lab import LabHost

SIZES = (1, 1_000, 10_000)
ENGINES = ("nftables", "iptables")
PHASES = ("parse", "observe", "plan", "apply", "plan again", "undo")
LOADERS = ("nft", "ipset", "iptables", "iptables-restore")  # after -nft and -legacy are taken out


@dataclass(slots=True)
class Run:
    """One spec from its text to hosts as they were before: seconds by phase, and what the gateway ran."""

    seconds: dict[str, float] = field(default_factory=dict)
    load_seconds: float = 0.0  # of the commands that load the rules, as seen from here
    commands: Counter[str] = field(default_factory=Counter)
    probes: int = 0

    async def phase(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        start = time.perf_counter()
        result = await work()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        return result


async def whole_job(lab: Lab, clients: int, engine: str) -> Run:
    run = Run()
    text = spec_text(lab, clients, engine)

    async def parsed() -> Any:
        return parse(text, "benchmark")

    spec = await run.phase("parse", parsed)
    facts = await run.phase("observe", lambda: api.observe(spec))

    async def planned() -> Any:
        return api.plan(spec, facts)

    plan = await run.phase("plan", planned)
    assert sum(len(path.clients) for path in plan.paths) == clients

    plain_run = LabHost.run

    async def recorded(
        self: LabHost,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = TIMEOUT,
        limit: int = LIMIT,
    ) -> Completed:
        start = time.perf_counter()
        answer = await plain_run(self, argv, stdin=stdin, timeout=timeout, limit=limit)
        name = argv[0].replace("-nft", "").replace("-legacy", "")
        if self.name == "gateway" and name in LOADERS:
            run.commands[name] += 1
            run.load_seconds += time.perf_counter() - start
        run.probes += any("ping -n" in word for word in argv)
        return answer

    with patch.object(LabHost, "run", recorded):
        applied = await run.phase("apply", lambda: api.apply(plan))
    assert applied.confirmed is not None

    async def planned_again() -> Any:
        return api.plan(spec, await api.observe(spec))

    again = await run.phase("plan again", planned_again)
    assert again.is_empty, "what was applied is read back as it was meant"
    await run.phase("undo", lambda: api.undo(spec))
    _check(run, clients, engine)
    return run


def _check(run: Run, clients: int, engine: str) -> None:
    assert run.probes == 1, f"only the managed client sends, once: {run.probes}"
    if engine == "nftables":
        assert run.commands == Counter({"nft": 1}), run.commands
    else:
        sets = {"ipset": 1} if clients > 1 else {}
        # The jumps into crossnet's two chains are one `iptables -I` each.
        assert run.commands == Counter({**sets, "iptables-restore": 1, "iptables": 2}), run.commands


async def measure(rounds: int) -> dict[tuple[str, int], list[Run]]:
    runs: dict[tuple[str, int], list[Run]] = {(e, size): [] for e in ENGINES for size in SIZES}
    async with lab_up() as lab:
        await whole_job(lab, SIZES[0], ENGINES[0])  # imports
        for engine, size in in_alternation(rounds, tuple(runs)):
            runs[engine, size].append(await whole_job(lab, size, engine))
    return runs


def main() -> None:
    rounds = options(__doc__, rounds=3, quick=1).rounds
    runs = asyncio.run(measure(rounds))
    rows, results = [], []
    for (engine, size), some in runs.items():
        phases = {phase: [run.seconds[phase] for run in some] for phase in PHASES}
        totals = [sum(run.seconds[phase] for phase in PHASES[:4]) for run in some]
        ones = [sum(run.seconds[phase] for phase in PHASES[:4]) for run in runs[engine, SIZES[0]]]
        loads = [run.load_seconds for run in some]
        against = Spread.of(ratios(totals, ones))
        commands = dict(some[0].commands)
        rows.append(
            (
                f"{engine} {size:,}",
                *(f"{1000 * Spread.of(phases[phase]).median:.0f}" for phase in PHASES),
                f"{1000 * Spread.of(loads).median:.0f}",
                against.show(2),
                ", ".join(f"{number} {name}" for name, number in commands.items()),
            )
        )
        results.append(
            {
                "engine": engine,
                "clients": size,
                "seconds": {phase: Spread.of(values).data() for phase, values in phases.items()},
                "load_seconds": Spread.of(loads).data(),
                "ratio_to_one_client": against.data(),
                "gateway_commands": commands,
            }
        )
    report(
        "clients",
        ("ms, median", *PHASES, "of apply: loading", "first four, × 1 client", "commands that load"),
        rows,
        {"rounds": rounds, "results": results},
    )


if __name__ == "__main__":
    main()
