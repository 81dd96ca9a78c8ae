"""Labs for tests: each with a name of its own, tied to the life of this process, gone after the test."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pytest

from crossnet.errors import LabError
from crossnet.lab import build, image, needs
from crossnet.lab.build import Lab
from crossnet.lab.depth import Depth
from crossnet.lab.neutron import install
from crossnet.lab.topology import Topology, load
from crossnet.transport import Completed
from crossnet.transport.lab import LabHost
from lab.desk import desk
from lacking import lacking

__all__ = ["desk"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def lab_possible() -> None:
    """Skip, with the reason, where this user cannot make namespaces; where CI runs that is a failure."""
    try:
        needs.check()
    except LabError as error:
        lacking(str(error))
    tried = subprocess.run([*needs.enter_namespaces(), "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        lacking(f"no namespaces here: {tried.stderr.strip()}{needs.hint()}")


@pytest.fixture(scope="session")
def machines_possible(lab_possible: None) -> None:
    """Skip, with the reason, where no Debian can be booted; the first time of all makes its image."""
    try:
        needs.check(Depth.MACHINE)
        asyncio.run(image.make())
    except LabError as error:
        lacking(str(error))


@pytest.fixture(scope="session")
def cloud_possible(lab_possible: None) -> None:
    """Skip, with the reason, where no Neutron can filter; the first time of all installs it."""
    try:
        needs.check(cloud=True)
        asyncio.run(install.make())
    except LabError as error:
        lacking(str(error))


@pytest.fixture(scope="session")
def sshd_possible(lab_possible: None) -> None:
    """Skip where sshd cannot be: it becomes the user who logs in, and for that it needs root."""
    if os.geteuid() != 0:
        lacking("sshd that changes users needs root")


@pytest.fixture
def lab_name() -> Callable[[], str]:
    """Makes names that no other lab on this machine has."""
    return lambda: f"t{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def lab_up(lab_possible: None, lab_name: Callable[[], str]) -> Iterator[Callable[..., Lab]]:
    """`lab_up("seed")` or `lab_up(topology)` brings a lab up; all are taken down after the test."""
    made: list[Lab] = []

    def bring_up(
        source: str | Topology = "seed", *, name: str | None = None, depth: Depth = Depth.LAB
    ) -> Lab:
        topology = load(source) if isinstance(source, str) else source
        lab = asyncio.run(build.up(topology, depth=depth, name=name or lab_name(), lifeline=True))
        made.append(lab)
        return lab

    yield bring_up
    for lab in made:
        with suppress(LabError):  # the test may have taken it down
            asyncio.run(build.down(lab.name))


@pytest.fixture
def machines_up(machines_possible: None, lab_up: Callable[..., Lab]) -> Callable[..., Lab]:
    """Like `lab_up`, and each host is a Debian that boots its own systemd; mark the test `machine`.

    `build.reboot` is a power cut, `systemctl reboot` on the host is a reboot; `journalctl -b -1` tells of before.
    """
    return functools.partial(lab_up, depth=Depth.MACHINE)


@pytest.fixture
def run_on() -> Callable[..., Completed]:
    """`run_on(lab, "app", ["ip", "route"])` runs a command on a lab host; a text is run by `sh -c`."""

    def run(lab: Lab, host: str, command: str | Sequence[str], *, stdin: bytes = b"") -> Completed:
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        return asyncio.run(LabHost(host, lab.socket(host)).run(argv, stdin=stdin))

    return run


@pytest.fixture
def eventually() -> Callable[..., None]:
    """`eventually(condition, what)` polls until the condition holds, and fails after a deadline."""

    def wait(condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"never happened: {what}")
            time.sleep(0.02)

    return wait
