"""Neighbours on the way, asked what they see of each other where the probes do not get through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from crossnet.diagnosis.echoing import Echoing
from crossnet.diagnosis.outcome import Outcome
from crossnet.diagnosis.probes import Probes
from crossnet.diagnosis.seen import Seen
from crossnet.diagnosis.segments import echoes, harmless
from crossnet.diagnosis.snapshot import Snapshot
from crossnet.facts import Facts
from crossnet.transport import Host

# Why a host answers no question of its neighbours: it would not let their packets in either.
_WHY_SILENT = frozenset({"reverse-path-filter", "martian-source", "address-missing", "link-down"})


class Neighbours:
    """They are asked once, also while answers to the probes are waited for; what they say is told to the outcome.

    `afterwards` takes the snapshot of the hosts after the probes, which what is sent now would blur; `ports` are those
    of the destination that tell whether anybody is there.
    """

    def __init__(
        self,
        hosts: Mapping[str, Host],
        facts: Mapping[str, Facts],
        probes: Probes,
        ports: Sequence[int],
        afterwards: Callable[[], Awaitable[Snapshot]],
    ) -> None:
        self._hosts, self._facts, self._probes, self._ports = hosts, facts, probes, ports
        self._afterwards = afterwards
        self._asking: asyncio.Task[None] | None = None

    def begin(self, seen: Seen, found: Outcome) -> None:
        """Ask them, if that was not begun already."""
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask(seen, found))

    async def asked(self, seen: Seen, found: Outcome) -> None:
        """Until they have said it."""
        self.begin(seen, found)
        if self._asking is not None:
            await self._asking

    @property
    def begun(self) -> Sequence[asyncio.Task[None]]:
        """What has to be ended when nobody waits for it."""
        return [self._asking] if self._asking is not None else []

    async def _ask(self, seen: Seen, found: Outcome) -> None:
        """Let neighbours on the way send each other echoes, and the last host try the destination itself."""
        course, watch, flow = seen.course, seen.watch, seen.trail().asked()
        silent = {each.host for each in found.foretold.findings if each.code in _WHY_SILENT}
        made = echoes(course, self._facts, found.foretold.source, self._probes.near)
        asked = tuple(
            each
            for each in harmless(made, flow, self._facts, silent)
            if each.sender.host in self._hosts and watch.points.get(each.sender.host)
        )
        found.after = await self._afterwards()
        seen.set_apart()
        echoing = Echoing(self._hosts, watch, course, self._probes.probe, asked, flow, self._ports)
        found.neighbours = await echoing.run()
