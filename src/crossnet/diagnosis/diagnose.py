"""Where a flow stops, why, and what to do.

The hosts on its way are read and watched, probes are sent, and what was seen is joined with what facts tell.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from crossnet.capture import Filter, Kind, Sighting, Watch, watching
from crossnet.capture.timeline import Timeline, timeline
from crossnet.diagnosis import counters
from crossnet.diagnosis.course import Hints, course
from crossnet.diagnosis.drops import Dropping
from crossnet.diagnosis.echoing import Echoing
from crossnet.diagnosis.filling import CODE as FULL
from crossnet.diagnosis.filling import FILLING, Filling, with_source
from crossnet.diagnosis.foretold import Foretold
from crossnet.diagnosis.inquiry import inquiry
from crossnet.diagnosis.outcome import Outcome
from crossnet.diagnosis.segments import SIZES, Asked, echoes, harmless
from crossnet.diagnosis.tracing import Tracing
from crossnet.diagnosis.trail import Part, Tags, Trail, forward_end, reply_end
from crossnet.errors import CrossnetError, HostError
from crossnet.facts import Facts
from crossnet.facts.lookups import Answered, Lookup
from crossnet.facts.lookups import question as lookup_question
from crossnet.facts.question import put
from crossnet.transport import Host
from crossnet.values import Family, Probe, Protocol, contains, family_of
from crossnet.verdict import Diagnosis, Half, Note, Result
from crossnet.verification.conntrack import Entry, fresh, of_probe, question_to
from crossnet.verification.probe import Reply, Sending, sent

__all__ = ["Diagnosed", "Hints", "Question", "Read", "diagnose", "not_begun"]

# Neighbours are asked all the time, and hosts may be read slowly.
_MOST_SEEN, _WATCHED = 8000, 90  # packets and seconds of a host

# How many probes of the kind that is asked for: some rules drop every second one.
PROBES = 5

# Bytes of data in an echo that hardly anybody else sends.
_UNUSUAL = range(97, 480)

# What has not come after so long, where nothing explains it, is taken for lost; where facts and packets agree on what
# stops it there is nothing to wait for.
_QUIET, _EXPLAINED = 1.25, 0.4  # seconds

# When nothing has come for so long, neighbours are asked what the probes have not got to; no longer wait is needed.
_STILL = 0.2  # seconds
_LATE = 3.5  # seconds; where some are answered, the others may only be slow
_DRAIN = 0.08  # seconds for what was seen to come from the hosts

# How often probes are sent for a trace, how many at once, and for how many seconds they are waited for.
_TRACED, _AT_ONCE, _TRACE = 3, 2, 0.35

# Sizes of IP packets that are tried where full-sized ones vanish: usual limits of tunnels and links.
_LADDER = (1480, 1476, 1460, 1454, 1450, 1442, 1420, 1400, 1380, 1360, 1340, 1300, 1280, 1200, 1000, 576)

# Whoever watches has to know before it is known what fits the client's own link: 9000 is the usual jumbo frame, and
# 8950, 8500 and 4000 are what clouds and tunnels leave of it.
_SIZES = (9000, 8950, 8500, 4000, 1500, *_LADDER)

# Why a host answers no question of its neighbours: it would not let their packets in either.
_WHY_SILENT = frozenset({"reverse-path-filter", "martian-source", "address-missing", "link-down"})

# How much larger those echoes are about which a host is asked: none of the others is as large with Ethernet and a VLAN
# before it.
_APART = PROBES + SIZES + 18

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
    def __init__(
        self, question: Question, hosts: Mapping[str, Host], read: Callable[[], Awaitable[Read]]
    ) -> None:
        self.question, self.hosts, self.read = question, hosts, read
        self.interrupted = False
        self.silence = asyncio.Event()  # when requests went on, and nothing has come back for a while
        self.lookups: Mapping[str, Mapping[Lookup, Answered | None]] = {}
        self.seen: tuple[Sighting, ...] | None = None  # of the client's probes, once they are over
        self.mark: int | None = None  # how much had been seen when neighbours began to ask each other
        self.asked: Asked | None = None
        self.asking: asyncio.Task[None] | None = None
        self.has_inquired = False  # of a host what it does to the probes
        self.ending: list[asyncio.Future[object]] = []  # of what it was asked with
        self.found: Outcome | None = None  # from when probes are on their way
        self.probe = question.probe
        first = secrets.choice(_UNUSUAL)
        self.small = tuple(first + number for number in range(PROBES))
        # For those that are sent when a host is asked itself.
        self.again = tuple(first + _APART + number for number in range(_TRACED * _AT_ONCE))
        self.v6 = family_of(self.probe.destination) is Family.V6
        self.near = tuple(self.small[-1] + number for number in range(1, SIZES + 1))
        if question.size is not None:
            self.small = (max(question.size - self.heads, 0),)
            self.again = self.small * _TRACED * _AT_ONCE

    @property
    def heads(self) -> int:
        return 48 if self.v6 else 28

    async def run(self) -> Diagnosed:
        try:
            await self._look()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.uncancel() > 0:
                raise
            if self.found is None:
                return not_begun(self.question)
            self.interrupted = self.found.interrupted = True
        if self.found is None:
            return self._to_itself()
        told = self._judged()
        if self.interrupted or all(note.code != "static-dynamic-disagree" for note in told.verdict.notes):
            return told
        try:
            stale = await self._changed(self.found.foretold)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.uncancel() > 0:
                raise
            return told  # nothing more was missing
        notes = (*told.verdict.notes, *(Note("facts-stale", words) for words in stale))
        return replace(told, verdict=replace(told.verdict, notes=notes))

    async def _changed(self, before: Foretold) -> Sequence[str]:
        """What facts say otherwise when hosts are read again, of those that somebody has changed since."""
        from crossnet.diagnosis.static import foretell

        facts = (await self.read()).facts
        changed = {name for name, each in facts.items() if _set_up(each) != _set_up(self.facts.get(name))}
        if not changed:
            return ()
        after = await asyncio.to_thread(
            foretell, self.course, self.probe, {**self.facts, **facts}, self.question.hints.beyond
        )
        words = []
        for one, other, what in ((after, before, "now"), (before, after, "no longer")):
            known = {(each.host, each.code, each.direction, each.text) for each in other.findings}
            for each in one.findings:
                key = (each.host, each.code, each.direction, each.text)
                if each.host in changed and each.certain and key not in known:
                    words.append(
                        f"{each.host} was changed after it had been read: {what} {each.code}, {each.text}"
                    )
        return words

    async def _look(self) -> None:
        reading = asyncio.ensure_future(self.read())
        counting = asyncio.ensure_future(self._count())
        remembering = asyncio.ensure_future(self._remembered())
        loading = asyncio.ensure_future(asyncio.to_thread(_load))
        try:
            async with watching(self.hosts, self._filter(), most=_MOST_SEEN, seconds=_WATCHED) as self.watch:
                said = await reading
                self.before = self.after = await counting
                self.tracked = self.tracked_after = await remembering
                await loading
                self.facts, self.errors = said.facts, said.errors
                self.course = course(
                    self.question.client,
                    self.question.gateways,
                    self.probe.destination,
                    self.facts,
                    self.question.hints,
                )
                if self._is_own():
                    return
                self._refuse_large()
                self.tags = Tags(self.probe, self.small, self._full())
                await self._probes(self.watch)
                if self.found is None or not self.found.all_answered:
                    if self.mark is None:
                        self.after, self.tracked_after = await self._afterwards()
                    await self._who_fills()
                self.seen = self._of_the_flow(self.watch)
        finally:
            for task in (reading, counting, remembering, loading):
                task.cancel()
            if self.ending:
                await asyncio.wait(self.ending)

    def _judged(self) -> Diagnosed:
        from crossnet.diagnosis.judge import Evidence, judge

        found = self.found
        assert found is not None
        found.read()
        moved = {
            name: lines
            for name, each in self.after.items()
            if (lines := counters.moved(self.before.get(name, {}), each))
        }
        names = [self.question.client, *self.question.gateways]
        seen = timeline(self._of_the_flow(self.watch))
        verdict = judge(
            Evidence(
                self.question.crossing,
                self.course,
                self.probe,
                self.facts,
                found.foretold,
                self._trail(self.watch),
                found.small,
                found.full,
                found.beside,
                {name: why for name, why in self.watch.failed.items() if name in names},
                self.errors,
                moved,
                self.interrupted,
                self._own_entries(),
                self._stale_entries(),
                self.watch.lost,
                tuple(host for host in seen.unaligned if seen.offsets.get(host)),
                self.lookups,
                found.unheard,
                found.traced,
                self.asked,
                found.of_large,
                found.dropped,
                found.untold,
            )
        )
        target = self.course.target
        if target is not None and target.host in self.question.gateways:
            words = (
                f"{self.probe.destination} is an address of {target.host}, which forwards nothing to itself"
            )
            verdict = replace(verdict, notes=(*verdict.notes, Note("destination-is-local", words)))
        return Diagnosed(verdict, seen, self.interrupted, self._last_seen(verdict, seen))

    def _last_seen(self, verdict: Diagnosis, seen: Timeline) -> Sighting | None:
        half, part = (verdict.forward, Part.REQUEST) if verdict.forward.code else (verdict.reply, Part.REPLY)
        if half.code is None:
            return None
        parts = (part, Part.REQUEST) if part is Part.REPLY else (part,)
        for wanted in parts:
            found = [each for each in seen.sightings if self.tags.part(each.packet) is wanted]
            if found:
                return found[-1]
        return None

    async def _afterwards(self) -> tuple[Mapping[str, Mapping[str, int]], Mapping[str, Sequence[Entry]]]:
        counted, remembered = await asyncio.gather(self._count(), self._remembered())
        return counted, remembered

    async def _count(self) -> Mapping[str, Mapping[str, int]]:
        found = await asyncio.gather(*(counters.read(host) for host in self.hosts.values()))
        return dict(zip(self.hosts, found, strict=True))

    async def _remembered(self) -> Mapping[str, Sequence[Entry]]:
        """What connection tracking of the gateways knows of flows to the destination."""
        asked = question_to(self.probe.destination)

        async def of(name: str) -> Sequence[Entry]:
            try:
                said = (await put(self.hosts[name], [asked]))[asked]
            except HostError:
                return ()
            return [entry for entries in (said or {}).values() for entry in entries]

        names = [name for name in self.question.gateways if name in self.hosts]
        return dict(zip(names, await asyncio.gather(*map(of, names)), strict=True))

    async def _who_fills(self) -> None:
        """Of a table of connections that is full, whose they are."""
        if self.found is None:
            return
        foretold, fillings = self.found.foretold, dict[str, Filling]()
        for name in {
            each.host for each in foretold.findings if each.code == FULL and each.host in self.hosts
        }:
            with suppress(HostError):
                fillings[name] = (await put(self.hosts[name], [FILLING]))[FILLING]
        if fillings:
            findings = tuple(with_source(each, fillings) for each in foretold.findings)
            self.found.foretold = replace(foretold, findings=findings)

    async def _looked_up(self, found: Outcome) -> Mapping[str, Mapping[Lookup, Answered | None]]:
        """Where the kernels of the hosts on the way send the flow's packets, asked in both directions."""
        if found.all_answered:
            return {}

        async def of(name: str, lookups: Sequence[Lookup]) -> Mapping[Lookup, Answered | None]:
            questions = {lookup: lookup_question(lookup) for lookup in lookups}
            try:
                said = await put(self.hosts[name], list(questions.values()))
            except HostError:
                return {}
            return {lookup: said[asked] for lookup, asked in questions.items()}

        asked = {
            stop.host: self.course.lookups(stop) for stop in self.course.stops if stop.host in self.hosts
        }
        return dict(zip(asked, await asyncio.gather(*(of(*each) for each in asked.items())), strict=True))

    def _own_entries(self) -> Mapping[str, tuple[Entry, ...]]:
        """The entries that the probes made on each gateway."""
        return {
            name: of_probe(fresh(tuple(self.tracked.get(name, ())), [tuple(entries)]) or (), self.probe)
            for name, entries in self.tracked_after.items()
        }

    def _stale_entries(self) -> Mapping[str, tuple[Entry, ...]]:
        """Entries of the client's earlier flows that are not translated, though new ones are."""
        source = self.course.source
        if self.found is None or self.found.foretold.source in (None, source):
            return {}
        return {
            name: tuple(
                entry
                for entry in of_probe(entries, self.probe)
                if entry.source == source and entry.reply_to == source
            )
            for name, entries in self.tracked.items()
        }

    # ---- what is sent ---------------------------------------------------------------------------------

    def _filter(self) -> Filter:
        """Neighbours, errors, echoes of our own sizes, and what else is asked about."""
        echoes = (*self.small, *self.near, *self.again, *(each - self.heads for each in sorted(_SIZES)))
        if self.probe.protocol is Protocol.ICMP:
            return Filter((self.probe.destination,), Protocol.ICMP, echoes=echoes)
        return Filter((self.probe.destination,), self.probe.protocol, self.probe.port, echoes)

    def _full(self) -> tuple[int, ...]:
        """The data of an echo that fills a packet of the client's own link, as far as that is watched for."""
        facts, device = self.facts.get(self.question.client), self.course.client.egress
        link = facts.link(device) if facts is not None and device else None
        fitting = [each for each in _SIZES if link is not None and each <= link.mtu]
        if self.question.size is not None or not fitting:
            return ()
        return (max(fitting) - self.heads,)

    def _is_own(self) -> bool:
        """Whether the client has the address itself; where a spec says that another has, that is what is wrong."""
        facts, destination = self.facts.get(self.question.client), self.probe.destination
        meant = any(contains(each, destination) for each in self.question.hints.beyond)
        return facts is not None and not meant and facts.owner_of(destination) is not None

    def _to_itself(self) -> Diagnosed:
        """What a host sends to itself never leaves it."""
        client = self.question.client
        words = f"{self.probe.destination} is an address of {client} itself: nothing leaves it"
        verdict = Diagnosis(
            self.question.crossing,
            client,
            self.probe.destination,
            self.probe,
            Result.REACHABLE,
            Half("consumed-locally"),
            Half("delivered"),
            notes=(Note("destination-is-local", words),),
        )
        return Diagnosed(verdict, timeline(()))

    def _refuse_large(self) -> None:
        """A packet that does not fit the client's own link would be cut there, and none of that size be sent."""
        facts, device, size = (
            self.facts.get(self.question.client),
            self.course.client.egress,
            self.question.size,
        )
        link = facts.link(device) if facts is not None and device else None
        if size is not None and link is not None and size > link.mtu:
            raise CrossnetError(
                f"{self.question.client} cannot send packets of {size} bytes: the MTU of {link.name} is {link.mtu}\n"
                f"  Give --size at most that."
            )

    def _tasks(self) -> list[tuple[str, str, str]]:
        target = str(self.probe.destination)
        kind = "echo_of" if self.question.size is None else "sized"
        echoes = [(kind, target, str(size)) for size in self.small]
        large = [("whole", target, str(size)) for size in self.tags.full]
        match self.probe.protocol:
            case Protocol.ICMP:
                return [*echoes, *large]
            case _:
                asked = [(str(self.probe.protocol), target, str(self.probe.port))] * 3
                return [*asked, echoes[0], *large]

    async def _probes(self, watch: Watch) -> None:
        from crossnet.diagnosis.static import foretell

        tasks = self._tasks()
        host = self.hosts[self.question.client]
        sending = Sending(host, tasks)
        await sending.start()
        try:
            foretelling = asyncio.ensure_future(
                asyncio.to_thread(foretell, self.course, self.probe, self.facts, self.question.hints.beyond)
            )
            try:
                await asyncio.wait([foretelling])
            finally:  # also for somebody who does not wait: it takes a moment only
                found = self.found = Outcome(await foretelling, self.probe, tasks, sending)
            # What is asked where no answer comes takes no longer than the waiting for one.
            looking: asyncio.Future[Any] = asyncio.ensure_future(self._looked_up(found))
            trying: asyncio.Future[Any] = asyncio.ensure_future(self._beside(found))
            try:
                await self._wait(sending, watch, found)
                if found.all_answered:
                    if self._is_taken_on_the_way(watch):
                        await self._neighbours(watch, found)
                    else:
                        await self._large(found, watch)
                else:
                    self.lookups = await looking
                    if self.silence.is_set():
                        await trying
                    await self._ask_host(watch, found)
                    if not found.some_answered:
                        await self._neighbours(watch, found)
            finally:
                begun = [looking, trying] if self.asking is None else [looking, trying, self.asking]
                for task in begun:
                    task.cancel()
                await asyncio.wait(begun)
        finally:
            await sending.stop()
        found.read()

    async def _wait(self, sending: Sending, watch: Watch, found: Outcome) -> None:
        """Until everything is answered, or nothing more is to be expected."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        last, known = start, set[tuple[str, str, Part, bool]]()
        while not sending.is_over:
            await watch.changed(0.05)
            found.read()
            now = loop.time()
            # What is sent once more is no news; that it got further is.
            points = {
                (each.host, each.interface, self.tags.part(each.packet), each.kind is Kind.SENT)
                for each in watch.sightings
            }
            if points - known:
                last, known = now, points
            if found.small_answered and (found.full_answered or now - last > 0.3):
                break
            if now - last > _STILL and (known or sending.ended) and not found.some_answered:
                self._ask_neighbours(watch, found)
            if found.some_answered:
                if now - start > _LATE:
                    break
            elif now - last > _EXPLAINED:
                if now - last > _QUIET or self._is_explained(watch, found):
                    break
                if self.probe.protocol is Protocol.ICMP and self._is_silent(watch):
                    self.silence.set()
                if await self._ask_host(watch, found):
                    break
        await watch.changed(_DRAIN)

    def _is_explained(self, watch: Watch, found: Outcome) -> bool:
        """Whether facts surely say that it stops where the packets were last seen."""
        trail = self._trail(watch).asked()
        back = reply_end(trail)
        end = forward_end(trail) if back.stop is None else back
        if end.stop is None:
            return False
        direction = "forward" if back.stop is None else "reply"
        near = {end.stop.host, *([end.following.host] if end.following else [])}
        return any(
            each.certain and each.host in near and str(each.direction) == direction
            for each in found.foretold.findings
        )

    def _trail(self, watch: Watch) -> Trail:
        sightings = self._of_the_flow(watch)
        tags = self.tags.knowing(sightings, self.question.client)
        return Trail(tags, self.course, sightings, watch.points)

    def _of_the_flow(self, watch: Watch) -> tuple[Sighting, ...]:
        """What was seen, without what neighbours have asked each other meanwhile: that is not about the probes."""
        if self.seen is not None:
            return self.seen
        seen = tuple(watch.sightings)
        if self.mark is None:
            return seen
        tags = self.tags.knowing(seen, self.question.client)
        others = (Part.NEIGHBOUR, Part.OTHER)
        late = (each for each in seen[self.mark :] if tags.part(each.packet) not in others)
        return (*seen[: self.mark], *(late if tags.own is not None else ()))

    async def _ask_host(self, watch: Watch, found: Outcome) -> bool:
        """Where a host stopped the probes and facts do not surely say why: its firewall and its kernel are asked.

        Whether there is nothing more to wait for.
        """
        if self.has_inquired or found.some_answered:
            return False
        what = inquiry(
            self._trail(watch),
            found.foretold,
            self.probe,
            self.small,
            self.again,
            refused=found.small_answered,
            unusual=self.question.size is None,
        )
        if what is None or what.host not in self.hosts:
            return False
        self.has_inquired = True
        host = self.hosts[what.host]
        tracing = Tracing(host, what.flow) if what.flow is not None else None
        dropping = Dropping(host, what.spot) if what.spot is not None else None
        both = [each for each in (tracing, dropping) if each is not None]
        target, kind = str(self.probe.destination), "echo_of" if self.question.size is None else "sized"
        beside = [(str(self.probe.protocol), target, str(self.probe.port))]
        try:
            await asyncio.gather(*(each.start() for each in both))
            for begin in range(0, len(self.again), _AT_ONCE):
                echo = [(kind, target, str(size)) for size in self.again[begin : begin + _AT_ONCE]]
                tasks = echo if self.probe.protocol is Protocol.ICMP else beside + echo
                sending = Sending(self.hosts[self.question.client], tasks)
                await sending.start()
                try:
                    # At first what traces may not stand yet.
                    if await _told(tracing, dropping, _TRACE):
                        break
                finally:
                    await sending.stop()
        except HostError:
            pass  # what is known already is told
        finally:
            found.traced = tracing.found if tracing is not None else None
            if dropping is not None:
                found.dropped = dropping.found
                found.untold = dropping.unable if found.traced is None else None
            self.ending += [asyncio.ensure_future(each.stop()) for each in both]
        # What a queue drops of some it may send of others, later.
        return found.traced is not None or (found.dropped is not None and not found.dropped.is_of_queue)

    def _is_silent(self, watch: Watch) -> bool:
        """Whether requests left the last gateway, and nothing at all came back."""
        if not self.course.gateways:
            return False
        trail = self._trail(watch).asked()
        last = self.course.gateways[-1].host
        return (
            trail.watched(last)
            and bool(trail.left(last, Part.REQUEST))
            and not trail.came(last, Part.REPLY)
            and not trail.asks(last)
            and not trail.errors()
        )

    async def _beside(self, found: Outcome) -> None:
        """When no echo was answered for a while: connections, to tell whether somebody is there."""
        await self.silence.wait()
        ports = self.question.ports or _PORTS
        target = str(self.probe.destination)
        answers = await self._further([("tcp", target, str(port)) for port in ports], 0.5)
        host = self.question.client
        found.further = tuple(
            sent(host, Probe(Protocol.TCP, self.probe.destination, ports[number]), *answer)
            for number, answer in answers.items()
        )

    async def _large(self, found: Outcome, watch: Watch) -> None:
        """Where full-sized packets vanish: what TCP would send instead, and how much does pass."""
        missing = [size for size, each in found.full.items() if each.reply is not Reply.ANSWERED]
        trail = self._trail(watch)
        if not missing or not found.echoes_pass:
            return
        target = str(self.probe.destination)
        if any(each.packet.mtu is not None for each in trail.only(*missing).errors()):
            # A kernel that has heard of it sends no second one.
            client, size = self.question.client, min(missing)
            before = len(trail.only(size).left(client, Part.REQUEST))
            await self._further([("whole", target, str(size))], 0.5)
            await watch.changed(_DRAIN)
            again = self._trail(watch).only(size).left(client, Part.REQUEST)
            if len(again) <= before:
                return
            found.unheard = True
        if self.probe.protocol is Protocol.TCP and (most := _largest_segment(trail)):
            size = most + (60 if self.v6 else 40) - self.heads
            if size < min(missing):
                answers = await self._further([("whole", target, str(size))], 0.5)
                if any(code == 0 for code, _ in answers.values()):
                    found.fits = True
                    return
        # One that is lost says nothing: the same size is tried twice more.
        sizes = [each - self.heads for each in _LADDER if each - self.heads < min(missing)]
        sizes += [min(missing)] * 2
        answers = await self._further([("whole", target, str(size)) for size in sizes], 0.5)
        host = self.question.client
        probe = Probe(Protocol.ICMP, self.probe.destination)
        for number, answer in answers.items():
            if answer[0] == 0:
                found.larger[sizes[number]] = sent(host, probe, *answer)
        from crossnet.diagnosis.static import foretell

        length, beyond = max(missing) + self.heads, self.question.hints.beyond
        found.of_large = await asyncio.to_thread(foretell, self.course, probe, self.facts, beyond, length)

    def _is_taken_on_the_way(self, watch: Watch) -> bool:
        """Whether answers come though nothing has left the last gateway."""
        trail, last = self._trail(watch).asked(), self.course.stops[-1]
        return (
            last != self.course.client
            and trail.watched(last.host)
            and not trail.left(last.host, Part.REQUEST)
        )

    async def _neighbours(self, watch: Watch, found: Outcome) -> None:
        """What neighbours see of each other, where that is not being asked already."""
        self._ask_neighbours(watch, found)
        if self.asking is not None:
            await self.asking

    def _ask_neighbours(self, watch: Watch, found: Outcome) -> None:
        if self.asking is None and not self.interrupted:
            self.asking = asyncio.ensure_future(self._segments(watch, found))

    async def _segments(self, watch: Watch, found: Outcome) -> None:
        """Let neighbours on the way send each other echoes, and the last host try the destination itself."""
        flow = self._trail(watch).asked()
        silent = {each.host for each in found.foretold.findings if each.code in _WHY_SILENT}
        made = echoes(self.course, self.facts, found.foretold.source, self.near)
        asked = [
            each
            for each in harmless(made, flow, self.facts, silent)
            if each.sender.host in self.hosts and watch.points.get(each.sender.host)
        ]
        self.after, self.tracked_after = await self._afterwards()
        self.mark = len(watch.sightings)
        ports = self.question.ports or _PORTS
        echoing = Echoing(self.hosts, watch, self.course, self.probe, tuple(asked), flow, ports)
        self.asked = await echoing.run()

    async def _further(self, tasks: list[tuple[str, str, str]], seconds: float) -> dict[int, tuple[int, str]]:
        sending = Sending(self.hosts[self.question.client], tasks)
        await sending.start()
        try:
            loop = asyncio.get_running_loop()
            until = loop.time() + seconds
            while not sending.is_over and loop.time() < until:
                sending.news.clear()
                try:
                    async with asyncio.timeout_at(until):
                        await sending.news.wait()
                except TimeoutError:
                    break
            return dict(sending.ended)
        finally:
            await sending.stop()


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


def _set_up(facts: Facts | None) -> object:
    """What somebody has to change: neighbours and the like come and go by themselves."""
    if facts is None:
        return None
    return (
        [(each.name, each.flags, each.mtu, each.addresses, each.xdp) for each in facts.links],
        list(facts.routes),
        facts.policy_rules,
        dict(facts.sysctls),
        facts.firewall,
        facts.ipsec,
    )


def _largest_segment(trail: Trail) -> int | None:
    """The most that TCP sends at once in either direction, as the ends have heard it of each other."""
    client = trail.course.client.host
    told = [each.packet.mss for each in trail.came(client, Part.REPLY) if each.packet.mss]
    last = trail.course.stops[-1].host
    told += [each.packet.mss for each in trail.left(last, Part.REQUEST) if each.packet.mss]
    return min(told) if told else None
