"""Neighbours on the way that send each other echoes, and the last host that tries the destination itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from crossnet.capture import Sighting, Watch
from crossnet.diagnosis.course import Course
from crossnet.diagnosis.segments import Asked, Echo
from crossnet.diagnosis.trail import Part, Trail
from crossnet.errors import HostError
from crossnet.transport import Host
from crossnet.values import Probe, Protocol
from crossnet.verification.probe import Reply, Sending, Sent, sent

_LONGEST = 0.8  # seconds for the answers


class Echoing:
    """Echoes of hosts for each other, while all of them are watched; `flow` is what was seen of the probes before.

    `ports` are those of the destination that tell whether anybody is there, where an echo is what is asked about.
    """

    def __init__(
        self,
        hosts: Mapping[str, Host],
        watch: Watch,
        course: Course,
        probe: Probe,
        echoes: tuple[Echo, ...],
        flow: Trail,
        ports: Sequence[int],
    ) -> None:
        self.hosts, self.watch, self.course, self.probe = hosts, watch, course, probe
        self.echoes, self.flow = echoes, flow
        self._before = len(watch.sightings)
        self._last = next((each.sender.host for each in echoes if each.receiver is None), None)
        self._tried = self._connections(ports)
        self._begun: list[Sending] = []
        self._connecting: Sending | None = None

    async def run(self) -> Asked:
        """Until all are answered, or nobody needs to wait any longer; then none is on its way any more."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _LONGEST
        waiting = self.echoes
        try:
            if self._last is not None and self._tried:
                tasks = [(str(each.protocol), str(each.destination), str(each.port)) for each in self._tried]
                self._connecting = await self._sending(self._last, tasks)
            while True:
                now = [each for each in waiting if self._can_go(each)]
                waiting = tuple(each for each in waiting if each not in now)
                tasks_of = {
                    host: [each.task for each in now if each.sender.host == host] for host in self.hosts
                }
                await asyncio.gather(
                    *(self._sending(host, tasks) for host, tasks in tasks_of.items() if tasks)
                )
                if loop.time() > until or self._all_answered():
                    break
                await self.watch.changed(0.05)
        finally:
            await asyncio.gather(*(each.stop() for each in self._begun))
        return Asked(self.echoes, self._seen, self._became())

    @property
    def _seen(self) -> tuple[Sighting, ...]:
        return tuple(self.watch.sightings)[self._before :]

    def _trail(self, echo: Echo) -> Trail:
        return echo.trail(self.course, self._seen, self.watch.points)

    async def _sending(self, host: str, tasks: Sequence[tuple[str, str, str]]) -> Sending | None:
        sending = Sending(self.hosts[host], tasks)
        self._begun.append(sending)
        try:
            await sending.start()
        except HostError:
            return None  # what the others see is told
        return sending

    def _can_go(self, echo: Echo) -> bool:
        """Who asks back teaches its own address, so it waits until it was asked for that."""
        host = echo.sender.host
        if not echo.back or self.flow.came(host, Part.REQUEST):
            return True
        there = [
            each for each in self.echoes if each.segment == echo.segment and not (each.back or each.foreign)
        ]
        return any(self._trail(each).came(host, Part.REQUEST) for each in there)

    def _all_answered(self) -> bool:
        if (
            self.probe.protocol is Protocol.TCP
            and self._connecting is not None
            and not self._connecting.is_over
        ):
            return False
        return all(self._trail(each).came(each.sender.host, Part.REPLY) for each in self.echoes)

    def _connections(self, ports: Sequence[int]) -> tuple[Probe, ...]:
        """What the last host tries: the connection that is asked about, or some that tell whether anybody is there."""
        match self.probe.protocol:
            case _ if self._last is None:
                return ()
            case Protocol.TCP:
                return (self.probe,)
            case Protocol.ICMP:
                return tuple(Probe(Protocol.TCP, self.probe.destination, each) for each in ports)
        return ()

    def _became(self) -> tuple[Sent, ...]:
        if self._connecting is None or self._last is None:
            return ()
        ended, host = self._connecting.ended, self._last
        return tuple(
            sent(host, probe, *ended[number]) if number in ended else Sent(probe, Reply.SILENT)
            for number, probe in enumerate(self._tried)
        )
