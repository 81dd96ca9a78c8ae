"""The host that stops the probes, asked itself what it does to them: its firewall and its kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from crossnet.diagnosis.drops import Dropping
from crossnet.diagnosis.inquiry import inquiry
from crossnet.diagnosis.outcome import Outcome
from crossnet.diagnosis.probes import Probes
from crossnet.diagnosis.seen import Seen
from crossnet.diagnosis.tracing import Tracing
from crossnet.errors import HostError
from crossnet.transport import Host
from crossnet.verification.probe import Sending

_TRACE = 0.35  # seconds for what a host says of the probes that are sent for it
_LAST = 1.0  # of those that are sent last: a busy host takes longer to say it


class Inquiring:
    """One host is asked, once; what it says is told to the outcome."""

    def __init__(self, hosts: Mapping[str, Host], probes: Probes) -> None:
        self._hosts, self._probes = hosts, probes
        self._has_asked = False
        self._ending: list[asyncio.Future[object]] = []  # of what it was asked with

    async def ask(self, seen: Seen, found: Outcome) -> bool:
        """Where a host stopped the probes and facts do not surely say why: ask it.

        Whether there is nothing more to wait for.
        """
        if self._has_asked or found.some_answered:
            return False
        what = inquiry(
            seen.trail(),
            found.foretold,
            self._probes.probe,
            self._probes.small,
            self._probes.again,
            refused=found.small_answered,
            unusual=self._probes.size is None,
        )
        if what is None or what.host not in self._hosts:
            return False
        self._has_asked = True
        host = self._hosts[what.host]
        tracing = Tracing(host, what.flow) if what.flow is not None else None
        dropping = Dropping(host, what.spot) if what.spot is not None else None
        both = [each for each in (tracing, dropping) if each is not None]
        try:
            await asyncio.gather(*(each.start() for each in both))
            await self._send(seen.course.client.host, tracing, dropping)
        except HostError:
            pass  # what is known already is told
        finally:
            found.traced = tracing.found if tracing is not None else None
            if dropping is not None:
                found.dropped = None if _is_refuted(dropping, tracing) else dropping.found
                found.untold = dropping.unable if found.traced is None else None
            self._ending += [asyncio.ensure_future(each.stop()) for each in both]
        # What a queue drops of some it may send of others, later.
        return found.traced is not None or (found.dropped is not None and not found.dropped.is_of_queue)

    async def _send(self, client: str, tracing: Tracing | None, dropping: Dropping | None) -> None:
        rounds = list(self._probes.rounds())
        for number, echoes in enumerate(rounds, start=1):
            if dropping is not None:
                dropping.sends(echoes)
            sending = Sending(self._hosts[client], self._probes.repeated(echoes))
            await sending.start()
            try:
                # At first what traces may not stand yet.
                if await _told(tracing, dropping, _TRACE if number < len(rounds) else _LAST):
                    return
            finally:
                await sending.stop()

    async def ended(self) -> None:
        """Until nothing of it is left on the host."""
        if self._ending:
            await asyncio.wait(self._ending)


def _is_refuted(dropping: Dropping, tracing: Tracing | None) -> bool:
    """Whether a rule of nftables is said to drop what the trace of nftables has seen, and not seen to be dropped.

    Events of the kernel do not tell in which network namespace they are: then it was somebody else's, in another one.
    """
    dropped = dropping.found
    if dropped is None or tracing is None:
        return False
    return dropped.is_of_nft and tracing.has_seen and tracing.found is None


async def _told(tracing: Tracing | None, dropping: Dropping | None, seconds: float) -> bool:
    """Wait for what a host says of the probes; whether it has said it, or will say nothing."""
    waiting = {asyncio.ensure_future(each.over.wait()) for each in (tracing, dropping) if each is not None}
    until = asyncio.get_running_loop().time() + seconds
    try:
        while waiting:
            left = until - asyncio.get_running_loop().time()
            done, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                return False
            if tracing is not None and tracing.found is not None:
                return True
            # Which rule it was only the trace tells.
            if dropping is not None and dropping.found is not None and not dropping.found.is_of_nft:
                return True
        return True
    finally:
        for each in waiting:
            each.cancel()
