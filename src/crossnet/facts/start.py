"""When a host was started, and which start that was."""

from __future__ import annotations

import re
from dataclasses import dataclass

from crossnet.facts.question import Question

_BOOT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds since the start, and its own id."""

    uptime: int
    boot: str


def parse_start(answer: str) -> Start:
    """`/proc/uptime` (seconds with a fraction, twice) and `/proc/sys/kernel/random/boot_id` (proc(5))."""
    seconds, _, boot = answer.split()
    if not _BOOT.fullmatch(boot):
        raise ValueError(f"no boot id: {boot[:40]!r}")
    return Start(int(float(seconds)), boot)


START = Question(
    "asked when it was started", ("cat", "/proc/uptime", "/proc/sys/kernel/random/boot_id"), parse_start
)
