"""When a host was started, and which start that was."""

from __future__ import annotations

import re
from dataclasses import dataclass

from crossnet.facts.question import Question

_BOOT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_NETWORK = re.compile(r"net:\[[0-9]{1,20}\]")


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


def _parse_network(answer: str) -> str:
    network = answer.strip()
    if not _NETWORK.fullmatch(network):
        raise ValueError(f"no network namespace: {network[:40]!r}")
    return network


# Two hosts of one start and one network namespace are one (namespaces(7)). Not told where /proc does not have it.
NETWORK = Question(
    "asked for its network namespace", ("readlink", "/proc/self/ns/net"), _parse_network, lambda _: ""
)


def _parse_clock(answer: str) -> int:
    clock = answer.strip()
    if not clock.isdecimal() or len(clock) > _LONGEST:
        raise ValueError(f"no time: {clock[:40]!r}")
    return int(clock)


_LONGEST = 12  # digits

CLOCK = Question("asked for its time", ("date", "+%s"), _parse_clock, lambda _: 0)

# The shell reads them itself, which costs the host no process.
_READ = (
    "read -r seconds idle </proc/uptime && read -r boot </proc/sys/kernel/random/boot_id && "
    'echo "$seconds $idle $boot"'
)
START = Question("asked when it was started", ("sh", "-c", _READ), parse_start)
