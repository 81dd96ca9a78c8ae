"""The settings that stay: a file of sysctl.d(5), last in its folder, so that nothing else there undoes it."""

from __future__ import annotations

from collections.abc import Sequence

from crossnet.resources import File, Sysctl

SYSCTL_FILE = "/etc/sysctl.d/99-zz-crossnet.conf"


def settings_file(settings: Sequence[Sysctl], head: str) -> File:
    """The file that sets them at boot."""
    lines = "".join(f"{item.name} = {item.value}\n" for item in settings)
    return File(SYSCTL_FILE, (head + lines).encode(), 0o644)
