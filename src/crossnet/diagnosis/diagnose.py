"""Where a flow stops, why, and what to do.

The hosts on its way are read and watched, probes are sent, and what was seen is joined with what facts tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crossnet.capture import Sighting, Watch, watching
from crossnet.capture.timeline import Timeline, timeline
from crossnet.diagnosis import stale
from crossnet.diagnosis.applied import as_applied
from crossnet.diagnosis.course import Hints, course
from crossnet.diagnosis.filling import with_sources
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.further import connections, sizes, smaller
from crossnet.diagnosis.inquiring import Inquiring
from crossnet.diagnosis.lookups import looked_up
from crossnet.diagnosis.neighbours import Neighbours
from crossnet.diagnosis.outcome import Outcome
from crossnet.diagnosis.probes import probes_of
from crossnet.diagnosis.seen import Seen
from crossnet.diagnosis.snapshot import Snapshot, snapshot
from crossnet.diagnosis.trail import Part, Tags
from crossnet.diagnosis.waiting import Waiting, is_explained, is_silent, is_taken_on_the_way
from crossnet.errors import CrossnetError
from crossnet.facts import Facts
from crossnet.facts.links import Link
from crossnet.facts.lookups import Answered, Lookup
from crossnet.transport import Host
from crossnet.values import Probe, Protocol, contains
from crossnet.verdict import Diagnosis, Half, Note, Result
from crossnet.verification.probe import Sending

__all__ = ["Diagnosed", "Hints", "Question", "Read", "diagnose", "not_begun"]

# Neighbours are asked all the time, and hosts may be read slowly.
_MOST_SEEN, _WATCHED = 8000, 90  # packets and seconds of a host

# What has not come after so long, where nothing explains it, is taken for lost; where facts and packets agree on what
# stops it there is nothing to wait for.
_QUIET, _EXPLAINED = 1.25, 0.4  # seconds

# When nothing has come for so long, neighbours are asked what the probes have not got to; no longer wait is needed.
_STILL = 0.2  # seconds
_DRAIN = 0.08  # seconds for what was seen to come from the hosts

# Ports that are tried to tell whether a host that answers no echo is up.
_PORTS = (443, 80, 22)


@dataclass(frozen=True, slots=True)
class Question:
    """A flow, and the hosts on its way; `ports` may be tried beside an echo, `size` forces one size of IP packets."""

    crossing: str | None
    client: str
    gateways: tuple[str, ...]
    probe: Probe
    hints: Hints = field(default_factory=Hints)
    ports: tuple[int, ...] = ()
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """What the hosts said about themselves, and why the others did not."""

    facts: Mapping[str, Facts]
    errors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """The verdict on one flow, and every packet that was seen of it; `interrupted` where somebody did not wait.

    `last` is the packet that was seen last before the place where it stops; `flow` is which of a crossing's `flows` it
    is, when those before it get through.
    """

    verdict: Diagnosis
    seen: Timeline
    interrupted: bool = False
    last: Sighting | None = None
    flow: int = 1
    flows: int = 1


async def diagnose(
    question: Question, hosts: Mapping[str, Host], read: Callable[[], Awaitable[Read]]
) -> Diagnosed:
    """The verdict on one flow; `hosts` are all that can be asked, and `read` reads them.

    An interrupt ends the waiting: what is known by then is told.
    """
    return await _Diagnosing(question, hosts, read).run()


def not_begun(question: Question) -> Diagnosed:
    """The verdict where somebody did not wait until anything was sent: there is none."""
    half = Half("undetermined", None, "interrupted while the hosts were read: nothing has been sent")
    verdict = Diagnosis(
        question.crossing,
        question.client,
        None,
        question.probe,
        Result.UNDETERMINED,
        half,
        Half("undetermined"),
    )
    return Diagnosed(verdict, timeline(()), interrupted=True)


def _load() -> None:
    """Import what joins facts and packets, and the library behind it: it takes as long as reading a host does."""
    from crossnet.diagnosis import judge  # noqa: F401
    from crossnet.reach.packets import Space

    Space()


class _Diagnosing:
    """One diagnosis: what is asked, what was read of the hosts, what is `seen`, and `found` once probes are sent."""

    seen: Seen
    facts: Mapping[str, Facts]
    errors: Mapping[str, str]

    def __init__(
        self, question: Question, hosts: Mapping[str, Host], read: Callable[[], Awaitable[Read]]
    ) -> None:
        self.question, self.hosts, self.read = question, hosts, read
        self.probe = question.probe
        self.probes = probes_of(question.probe, question.size)
        self.ports = question.ports or _PORTS
        self.inquiring = Inquiring(hosts, self.probes)
        self.found: Outcome | None = None

    @property
    def client(self) -> Host:
        return self.hosts[self.question.client]

    async def run(self) -> Diagnosed:
        interrupted = False
        try:
            await self._look()
        except asyncio.CancelledError:
            if not _ends_waiting_only():
                raise
            interrupted = True
        found = self.found
        if found is None:
            return not_begun(self.question) if interrupted else _to_itself(self.question)
        found.interrupted = interrupted
        told = self._judged(found)
        if interrupted or all(note.code != "static-dynamic-disagree" for note in told.verdict.notes):
            return told
        try:
            changes = [Note("facts-stale", words) for words in await self._changed_since(found.foretold)]
        except asyncio.CancelledError:
            if not _ends_waiting_only():
                raise
            return told  # nothing more was missing
        return replace(told, verdict=replace(told.verdict, notes=(*told.verdict.notes, *changes)))

    # ---- read, and watch ------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Read the hosts while they begin to watch, send the probes, and follow them until no more is to be seen."""
        reading = asyncio.ensure_future(self.read())
        remembering = asyncio.ensure_future(self._snapshot())
        loading = asyncio.ensure_future(asyncio.to_thread(_load))
        try:
            async with watching(self.hosts, self.probes.wanted(), most=_MOST_SEEN, seconds=_WATCHED) as watch:
                said = await reading
                before = await remembering
                await loading
                self.facts, self.errors = said.facts, said.errors
                if self._is_own():
                    return
                self.seen = self._of_the_flow(watch)
                found = await self._send(before)
                if not found.all_answered:
                    if not self.seen.is_set_apart:
                        found.after = await self._snapshot()
                    findings = await with_sources(found.foretold.findings, self.hosts)
                    found.foretold = replace(found.foretold, findings=findings)
                self.seen.end()
        finally:
            for task in (reading, remembering, loading):
                task.cancel()
            await self.inquiring.ended()

    async def _snapshot(self) -> Snapshot:
        return await snapshot(self.hosts, self.question.gateways, self.probe.destination)

    def _is_own(self) -> bool:
        """Whether the client has the address itself; where a spec says that another has, that is what is wrong."""
        facts, destination = self.facts.get(self.question.client), self.probe.destination
        meant = any(contains(each, destination) for each in self.question.hints.beyond)
        return facts is not None and not meant and facts.owner_of(destination) is not None

    def _of_the_flow(self, watch: Watch) -> Seen:
        asked = self.question
        last = self.facts.get(asked.gateways[-1]) if asked.gateways else None
        hints = as_applied(asked.hints, last, self.probe.destination) if last is not None else asked.hints
        way = course(asked.client, asked.gateways, self.probe.destination, self.facts, hints)
        facts, device = self.facts.get(asked.client), way.client.egress
        link = facts.link(device) if facts is not None and device else None
        _refuse_large(asked, link)
        return Seen(watch, Tags(self.probe, self.probes.small, self.probes.full(link)), way)

    # ---- send, wait, and ask further ------------------------------------------------------------------

    async def _send(self, before: Snapshot) -> Outcome:
        """Send the probes and follow them; meanwhile facts foretell what becomes of them."""
        tasks = self.probes.tasks(self.seen.tags.full)
        sending = Sending(self.client, tasks)
        await sending.start()
        try:
            foretelling = asyncio.ensure_future(self._foretold(self.probe, self.facts))
            try:
                await asyncio.wait([foretelling])
            finally:  # also for somebody who does not wait: it takes a moment only
                found = self.found = Outcome(await foretelling, self.probe, tasks, sending, before)
            await self._follow(sending, found)
        finally:
            await sending.stop()
        found.read()
        return found

    async def _follow(self, sending: Sending, found: Outcome) -> None:
        """Wait for the answers, and ask further: of what is answered for sizes, of the rest for why it is not."""
        seen, silence = self.seen, asyncio.Event()
        neighbours = Neighbours(self.hosts, self.facts, self.probes, self.ports, self._snapshot)
        # What is asked where no answer comes takes no longer than the waiting for one.
        looking: asyncio.Future[Any] = asyncio.ensure_future(self._looked_up(found))
        trying: asyncio.Future[Any] = asyncio.ensure_future(self._connect(silence, found))
        try:
            await self._wait(sending, found, neighbours, silence)
            if found.all_answered:
                if is_taken_on_the_way(seen.trail()):
                    await neighbours.asked(seen, found)
                else:
                    await self._try_sizes(found)
            else:
                if found.small_answered:  # who refuses a port is there, and large packets get to it or do not
                    await self._try_sizes(found)
                found.lookups = await looking
                if silence.is_set():
                    await trying
                await self.inquiring.ask(seen, found)
                if not found.some_answered:
                    await neighbours.asked(seen, found)
        finally:
            begun = [looking, trying, *neighbours.begun]
            for task in begun:
                task.cancel()
            await asyncio.wait(begun)

    async def _wait(
        self, sending: Sending, found: Outcome, neighbours: Neighbours, silence: asyncio.Event
    ) -> None:
        """Until everything is answered, or nothing more is to be expected; `silence` is set when nothing comes back."""
        seen, waiting = self.seen, Waiting(sending, self.seen, found)
        while await waiting.goes_on():
            if found.some_answered:
                continue
            if waiting.quiet > _STILL and waiting.has_begun:
                neighbours.begin(seen, found)
            if waiting.quiet > _EXPLAINED:
                if waiting.quiet > _QUIET or is_explained(seen.trail(), found.foretold):
                    break
                forced = self.probes.size is not None
                if self.probe.protocol is Protocol.ICMP and is_silent(seen.trail(), forced=forced):
                    silence.set()
                if await self.inquiring.ask(seen, found):
                    break
        await seen.watch.changed(_DRAIN)

    async def _looked_up(self, found: Outcome) -> Mapping[str, Mapping[Lookup, Answered | None]]:
        return {} if found.all_answered else await looked_up(self.seen.course, self.hosts)

    async def _connect(self, silence: asyncio.Event, found: Outcome) -> None:
        """When no echo was answered for a while: connections, and smaller echoes, to tell whether somebody is there."""
        await silence.wait()
        if self.probes.size is not None:
            found.sizes |= await smaller(self.client, self.probes)
        found.further = await connections(self.client, self.probe.destination, self.ports)

    async def _try_sizes(self, found: Outcome) -> None:
        vanishing = await sizes(self.client, self.probes, self.seen, found)
        if vanishing is not None:
            echo = Probe(Protocol.ICMP, self.probe.destination)
            found.of_large = await self._foretold(echo, self.facts, vanishing)

    # ---- judge ----------------------------------------------------------------------------------------

    def _judged(self, found: Outcome) -> Diagnosed:
        from crossnet.diagnosis.judge import Evidence, judge

        found.read()
        way, watch = self.seen.course, self.seen.watch
        names = [self.question.client, *self.question.gateways]
        seen = timeline(self.seen.sightings())
        translated = found.foretold.source not in (None, way.source)
        verdict = judge(
            Evidence(
                self.question.crossing,
                way,
                self.probe,
                self.facts,
                found.foretold,
                self.seen.trail(),
                found.small,
                found.full,
                found.beside,
                failed={name: why for name, why in watch.failed.items() if name in names},
                unread=self.errors,
                moved=found.after.moved_since(found.before),
                interrupted=found.interrupted,
                tracked=found.after.made_since(found.before, self.probe),
                stale=found.before.untranslated(self.probe, way.source) if translated else {},
                lost=watch.lost,
                unaligned=tuple(host for host in seen.unaligned if seen.offsets.get(host)),
                lookups=found.lookups,
                unheard=found.unheard,
                traced=found.traced,
                asked=found.neighbours,
                of_large=found.of_large,
                dropped=found.dropped,
                untold=found.untold,
            )
        )
        if way.target is not None and way.target.host in self.question.gateways:
            words = f"{self.probe.destination} is an address of {way.target.host}, which forwards nothing to itself"
            verdict = replace(verdict, notes=(*verdict.notes, Note("destination-is-local", words)))
        return Diagnosed(verdict, seen, found.interrupted, _last_seen(verdict, seen, self.seen.tags))

    async def _changed_since(self, before: Foretold) -> Sequence[str]:
        """What facts say otherwise when hosts are read again, of those that somebody has changed since."""
        facts = (await self.read()).facts
        hosts = stale.changed(self.facts, facts)
        if not hosts:
            return ()
        after = await self._foretold(self.probe, {**self.facts, **facts})
        return stale.differences(before, after, hosts)

    async def _foretold(
        self, probe: Probe, facts: Mapping[str, Facts], length: int | None = None
    ) -> Foretold:
        from crossnet.diagnosis.static import foretell

        beyond = self.question.hints.beyond
        return await asyncio.to_thread(foretell, self.seen.course, probe, facts, beyond, length)


def _ends_waiting_only() -> bool:
    """Whether an interrupt is for the waiting only, and what is known is to be told."""
    task = asyncio.current_task()
    return task is not None and task.uncancel() == 0


def _to_itself(question: Question) -> Diagnosed:
    """What a host sends to itself never leaves it."""
    destination = question.probe.destination
    words = f"{destination} is an address of {question.client} itself: nothing leaves it"
    verdict = Diagnosis(
        question.crossing,
        question.client,
        destination,
        question.probe,
        Result.REACHABLE,
        Half("consumed-locally"),
        Half("delivered"),
        notes=(Note("destination-is-local", words),),
    )
    return Diagnosed(verdict, timeline(()))


def _refuse_large(question: Question, link: Link | None) -> None:
    """A packet that does not fit the client's own link would be cut there, and none of that size be sent."""
    if question.size is not None and link is not None and question.size > link.mtu:
        raise CrossnetError(
            f"{question.client} cannot send packets of {question.size} bytes: the MTU of {link.name} is {link.mtu}\n"
            f"  Give --size at most that."
        )


def _last_seen(verdict: Diagnosis, seen: Timeline, tags: Tags) -> Sighting | None:
    half, parts = (
        (verdict.forward, (Part.REQUEST,))
        if verdict.forward.code
        else (verdict.reply, (Part.REPLY, Part.REQUEST))
    )
    if half.code is None:
        return None
    for wanted in parts:
        found = [each for each in seen.sightings if tags.part(each.packet) is wanted]
        if found:
            return found[-1]
    return None
