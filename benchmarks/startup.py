"""CPU time of `crossnet --help` and `crossnet --version`, against Python that does nothing.

User and system time of the children as the kernel accounts them, so that waiting for a busy machine does
not count. The promise: below 100 ms.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import Spread, bar, compiled, in_alternation, options, ratios, report

PROMISE = 100.0  # ms of CPU time

COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "crossnet --version": (str(Path(sys.executable).with_name("crossnet")), "--version"),
    "crossnet --help": (str(Path(sys.executable).with_name("crossnet")), "--help"),
}
NOTHING = "python -c pass"


def cpu_time(argv: tuple[str, ...]) -> float:
    """Milliseconds of CPU time that one run of a command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def main() -> None:
    rounds = options(__doc__, rounds=40, quick=10).rounds
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with compiled():
        for argv in COMMANDS.values():
            cpu_time(argv)  # the first run reads the files from the disk and compiles them
        for name in in_alternation(rounds, tuple(COMMANDS)):
            taken[name].append(cpu_time(COMMANDS[name]))
    spreads = {name: Spread.of(values) for name, values in taken.items()}
    against = {name: Spread.of(ratios(values, taken[NOTHING])) for name, values in taken.items()}
    bars = [
        bar(f"{name} below {PROMISE:g} ms of CPU time", taken[name], PROMISE)
        for name in COMMANDS
        if name != NOTHING
    ]
    report(
        "startup",
        ("command", "CPU ms", f"against {NOTHING}"),
        [(name, spreads[name].show(), against[name].show(2)) for name in COMMANDS],
        {
            "rounds": rounds,
            "cpu_ms": {name: spread.data() for name, spread in spreads.items()},
            "ratio": {name: spread.data() for name, spread in against.items()},
            "bars": bars,
        },
    )


if __name__ == "__main__":
    main()
