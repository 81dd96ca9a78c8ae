"""Control groups of the lab's machines: systemd sorts its processes into groups below one that it is given.

Source: cgroups(7), https://systemd.io/CGROUP_DELEGATION/. The group is at the top, `crossnet-lab-LAB/HOST`, and
not below the caller's own, which ends with the caller's login. Without controllers, so limits are not kept.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from crossnet.lab import namespaces

_PLACE = Path("/sys/fs/cgroup")
_PATIENCE = 2.0  # seconds for processes that have just been killed to be gone


def mount() -> None:
    """See the unified hierarchy, and only it, whatever this machine uses; for a mount namespace of its own."""
    namespaces.mount_cgroup2(str(_PLACE))


def enter(lab: str, host: str) -> None:
    """Put this process into the group of a host of a lab, which is made."""
    group = _PLACE / _name(lab) / host
    group.mkdir(parents=True, exist_ok=True)
    (group / "cgroup.procs").write_text("0")


def remove(lab: str) -> None:
    """Remove what a lab of machines left, wherever the hierarchy is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, kind, *_ = line.split()
        if kind == "cgroup2":
            _remove(Path(mounted) / _name(lab))


def _name(lab: str) -> str:
    return f"crossnet-lab-{lab}"


def _remove(group: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while group.is_dir():
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):  # its last process is just being reaped
                os.rmdir(folder)
        if time.monotonic() > deadline:
            return
        time.sleep(0.005)
