"""See packets on several hosts at once, with what is on them already, and leave nothing there."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from crossnet.capture.frames import Kind, Record
from crossnet.capture.observer import NO_RIGHT, Observer, Seen
from crossnet.capture.packet import Packet, Tcp
from crossnet.capture.sighting import Sighting
from crossnet.capture.timeline import Timeline, follow, identity, timeline, translation
from crossnet.capture.wanted import Filter
from crossnet.transport import Host

__all__ = [
    "NO_RIGHT",
    "Filter",
    "Kind",
    "Packet",
    "Record",
    "Sighting",
    "Tcp",
    "Timeline",
    "Watch",
    "follow",
    "identity",
    "timeline",
    "translation",
    "watching",
]


class Watch:
    """What is seen while a block of `watching` runs, and where nobody watches.

    `sightings` grows in the order in which packets come from the hosts: of each host in the order in which they were
    seen there, but where it can only watch each interface for itself.
    """

    def __init__(self) -> None:
        self.sightings: list[Sighting] = []
        self._observers: dict[str, Observer] = {}
        self._news = asyncio.Event()

    @property
    def points(self) -> Mapping[str, tuple[str, ...]]:
        """The interfaces that are watched on each host; that a packet is absent from one of them says something.

        None of a host that has stopped watching before it was told to.
        """
        return {
            name: () if observer.failed else observer.interfaces for name, observer in self._observers.items()
        }

    @property
    def failed(self) -> Mapping[str, str]:
        """Why nobody watches on a host, or no longer, in words."""
        return {name: observer.failed for name, observer in self._observers.items() if observer.failed}

    @property
    def is_open(self) -> bool:
        """Whether any host still watches."""
        return any(observer.interfaces and not observer.failed for observer in self._observers.values())

    @property
    def lost(self) -> Mapping[str, int]:
        """Packets that a host's kernel could not keep; known when the block has ended."""
        return {name: observer.lost for name, observer in self._observers.items() if observer.lost}

    async def changed(self, timeout: float) -> bool:
        """Wait for a sighting that came since the last call returned; False when none has come in so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._news.wait()
        came = self._news.is_set()
        self._news.clear()
        return came

    def _see(self, host: str, seen: Seen) -> None:
        frame, record = seen.frame, seen.record
        self.sightings.append(
            Sighting(
                host, seen.interface, record.time / 1e9, frame.kind, frame.sender_mac, frame.packet, record
            )
        )
        self._news.set()


@asynccontextmanager
async def watching(
    hosts: Mapping[str, Host], wanted: Filter, *, most: int = 2000, seconds: int = 20
) -> AsyncIterator[Watch]:
    """See the packets that are wanted on all interfaces of these hosts, while the block runs.

    The block begins when every host watches, or is known not to; each watches for `seconds`, and sees at most `most`
    packets. What crossnet itself sends to a host over SSH is left out.
    """
    watch = Watch()
    for name, host in hosts.items():
        watch._observers[name] = Observer(
            host, wanted, most=most, seconds=seconds, take=functools.partial(watch._see, name)
        )
    observers = watch._observers.values()
    try:
        async with asyncio.TaskGroup() as group:
            for observer in observers:
                group.create_task(observer.arm())
        yield watch
    finally:
        await asyncio.gather(*(observer.stop() for observer in observers))
