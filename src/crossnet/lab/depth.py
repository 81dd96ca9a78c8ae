"""How much of a real machine a lab host is."""

from __future__ import annotations

from enum import Enum


class Depth(Enum):
    """`LAB`: one small init on this machine's programs. `MACHINE`: a Debian that boots its own systemd."""

    LAB = "lab"
    MACHINE = "machine"
