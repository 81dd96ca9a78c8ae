"""The lab of these benchmarks: one managed client in a /16, and as many other clients as wanted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from itertools import count
from pathlib import Path

from crossnet.lab import build
from crossnet.lab.build import Lab
from crossnet.lab.topology import load
from crossnet.transport import Completed
from crossnet.transport.lab import LabHost

TOPOLOGY = Path(__file__).with_name("topologies") / "wide.yaml"

MANAGEMENT = ip_network("10.50.0.0/16")
CLIENT = "10.50.255.200"
DESTINATION = "10.0.44.0/24"
TARGET = "10.0.44.1"
SNAT_ADDRESS = "10.0.44.63"
NEXT_HOP = "10.50.0.2"

# Nobody's neighbour, or two of them would become one network of 31 bits.
_FIRST, _STEP = 4, 6

_numbers = count(1)


@asynccontextmanager
async def lab_up() -> AsyncIterator[Lab]:
    """A lab with a name of its own that ends with this process at the latest."""
    lab = await build.up(load(str(TOPOLOGY)), name=f"bench-{os.getpid()}-{next(_numbers)}", lifeline=True)
    try:
        yield lab
    finally:
        await asyncio.shield(build.down(lab.name))


def others(clients: int) -> list[str]:
    """The addresses of all clients but the managed one, which is the last of them."""
    return [str(MANAGEMENT[_FIRST + _STEP * number]) for number in range(clients - 1)]


def spec_text(lab: Lab, clients: int, firewall: str) -> str:
    listed = "".join(f"      - {client}\n" for client in (*others(clients), "app"))
    return (
        "crossnet: 1\n"
        "hosts:\n"
        f"  app: {{lab: {lab.name}/app}}\n"
        f"  gateway: {{lab: {lab.name}/gateway}}\n"
        "crossings:\n"
        "  business:\n"
        f"    from:\n{listed}"
        "    via: gateway\n"
        f"    to: {DESTINATION}\n"
        f"    probe: icmp/{TARGET}\n"
        f"    firewall: {firewall}\n"
    )


def host(lab: Lab, name: str) -> LabHost:
    return LabHost(name, lab.socket(name))


async def run(lab: Lab, name: str, *argv: str, stdin: str = "") -> Completed:
    """Run a command on a host of the lab; CommandFailed when it fails."""
    return (await host(lab, name).run(argv, stdin=stdin.encode())).check()
