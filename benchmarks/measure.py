"""What all benchmarks share: rounds in alternation, medians with quartiles, a table and one line of JSON.

The machines are shared and noisy, so only ratios of things measured in alternation in one run mean
anything: a round measures every contestant once, and ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def show(self, digits: int = 1) -> str:
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f})"

    def data(self) -> dict[str, float]:
        return {name: float(f"{getattr(self, name):.4g}") for name in ("median", "low", "high")}


def ratios(values: Sequence[float], against: Sequence[float]) -> list[float]:
    """The ratios within each round; both are in the order of the rounds."""
    return [value / other for value, other in zip(values, against, strict=True)]


def in_alternation(rounds: int, contestants: Sequence[T]) -> Iterator[T]:
    """Each contestant once a round, in an order that is shuffled anew for each.

    In a fixed order each would always run after the same other, and two that are equal differed by more than
    a tenth (measured with dataplane.py).
    """
    shuffled = random.Random(1)
    for _ in range(rounds):
        yield from shuffled.sample(contestants, len(contestants))


@contextmanager
def compiled() -> Iterator[None]:
    """Children find modules compiled, as after an installation; the first one of each kind compiles them.

    Where the environment forbids Python to keep what it has compiled, every start would pay for it again.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="crossnet-bench-") as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def options(
    description: str | None,
    *,
    rounds: int,
    quick: int,
    more: Callable[[argparse.ArgumentParser], object] = lambda _: None,
) -> argparse.Namespace:
    """`--quick`, `--rounds` with what is usual for either, and `more`; `rounds` is set in what is returned."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"a short run: {quick} rounds, not {rounds}")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often everything is measured")
    more(parser)
    chosen = parser.parse_args()
    if chosen.rounds is None:
        chosen.rounds = quick if chosen.quick else rounds
    if chosen.rounds < 1:
        parser.error("--rounds is a number from 1 up")
    return chosen


def report(name: str, head: Sequence[str], rows: Sequence[Sequence[str]], data: Mapping[str, Any]) -> None:
    """A small table, then everything in one line of JSON."""
    table = [tuple(head), *map(tuple, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for first, *others in table:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join((first.ljust(widths[0]), *cells)).rstrip())
    print(json.dumps({"benchmark": name, "machine": machine(), **data}, ensure_ascii=False), flush=True)


def bar(what: str, values: Sequence[float], most: float) -> dict[str, Any]:
    """Says whether the median of these values is at most so much; returns it for the JSON.

    The answer is about the values that were drawn from, not those that were drawn: as long as the limit
    lies within the 95 % interval of the median, it stays open.
    """
    low, high = interval(values)
    met = True if high <= most else False if low > most else None
    said = {True: "yes", False: "NO", None: "open, needs more rounds"}[met]
    print(f"{what}: {said} (median at most {most:.4g}: {low:.4g} to {high:.4g})")
    return {"bar": what, "most": most, "low": float(f"{low:.4g}"), "high": float(f"{high:.4g}"), "met": met}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the median lies with a probability of 95 %, whatever the distribution.

    The number of values below the median is binomial, so two of the values in their order bound it. With
    fewer than six values no two do, and the lowest and the highest have to serve.
    """
    ordered, count = sorted(values), len(values)
    outside, skip = 0.0, 0
    while skip < count // 2:
        outside += 2 * math.comb(count, skip) / 2**count
        if outside > 0.05:
            break
        skip += 1
    skip = max(skip - 1, 0)
    return ordered[skip], ordered[count - 1 - skip]


def machine() -> dict[str, Any]:
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    return {"cores": os.cpu_count(), "kernel": kernel, "python": platform.python_version()}
