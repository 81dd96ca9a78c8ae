"""A host that hangs is given up soon, and one that is only slow is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from crossnet.errors import HostError
from crossnet.transport import LIMIT, TIMEOUT, Completed, Process, ShellHost
from crossnet.transport.patience import Patient


class Slow(ShellHost):
    """It takes so many seconds for each command, which is what it is asked; whatever is begun has begun at once."""

    @property
    def name(self) -> str:
        return "gateway"

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
    ) -> Completed:
        await asyncio.sleep(float(argv[0]))
        return Completed(self.name, tuple(argv), 0, b"", b"")

    async def start(self, argv: Sequence[str]) -> Process:
        raise NotImplementedError


def test_one_that_hangs_is_asked_once_for_so_long_and_then_no_more() -> None:
    async def asked() -> list[float]:
        host, took = Patient(Slow(), 0.2), []
        assert await host.controller() is None  # nothing that the host has said
        for _ in range(3):
            begun = time.monotonic()
            with pytest.raises(HostError, match=r"^gateway: tried to reach it: no answer within 0\.2 s"):
                await host.run(["30"])
            took.append(time.monotonic() - begun)
        return took

    first, *others = asyncio.run(asked())
    assert 0.2 <= first < 5
    assert max(others) < 0.1


def test_one_that_has_answered_has_its_time_also_for_what_it_was_asked_before() -> None:
    async def asked() -> list[Completed]:
        host = Patient(Slow(), 0.2)
        return list(await asyncio.gather(host.run(["0.01"]), host.run(["0.5"])))

    assert all(each.ok for each in asyncio.run(asked()))


def test_its_own_error_is_told() -> None:
    class Refuses(Slow):
        async def run(
            self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = TIMEOUT, limit: int = LIMIT
        ) -> Completed:
            raise HostError("gateway", "tried to connect", "connection refused", "Start sshd there.")

    with pytest.raises(HostError, match="connection refused"):
        asyncio.run(Patient(Refuses(), 5).run(["true"]))
