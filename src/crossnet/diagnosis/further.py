"""What a client tries beyond the probes: connections where no echo is answered, sizes where large ones vanish."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from crossnet.diagnosis.outcome import Outcome
from crossnet.diagnosis.probes import LADDER, Probes, Task
from crossnet.diagnosis.seen import Seen
from crossnet.diagnosis.trail import Part, Trail
from crossnet.transport import Host
from crossnet.values import Address, Probe, Protocol
from crossnet.verification.probe import Reply, Sending, Sent, sent

_WAIT = 2.0  # seconds for the answers
_QUIET = 0.5  # seconds without an answer, after which no other one is expected
_DRAIN = 0.08  # seconds for what was seen to come from the hosts


async def connections(client: Host, destination: Address, ports: Sequence[int]) -> tuple[Sent, ...]:
    """What became of connections to these ports, as far as they have ended: whether somebody is there."""
    answers = await _answers(client, [("tcp", str(destination), str(port)) for port in ports])
    return tuple(
        sent(client.name, Probe(Protocol.TCP, destination, ports[number]), *answer)
        for number, answer in answers.items()
    )


async def smaller(client: Host, probes: Probes) -> dict[int, Sent]:
    """What becomes of echoes that are smaller than the size that was forced, and of that size once more."""
    (forced,) = probes.small
    tried = [each - probes.heads for each in LADDER if each - probes.heads < forced] + [forced] * 2
    return await _echoed(client, probes, tried)


async def sizes(client: Host, probes: Probes, seen: Seen, found: Outcome) -> int | None:
    """Where full-sized packets vanish: what TCP would send instead, and how much does pass; told to the outcome.

    How large the IP packets are that vanish; None where they do not, or hosts know what to do about it.
    """
    missing = [size for size, each in found.full.items() if each.reply is not Reply.ANSWERED]
    trail = seen.trail()
    if not missing or not found.echoes_pass:
        return None
    if any(each.packet.mtu is not None for each in trail.only(*missing).errors()):
        if not await _is_sent_again(client, min(missing), seen):
            return None
        found.unheard = True
    if probes.probe.protocol is Protocol.TCP and (most := _largest_segment(trail)):
        size = most + (60 if probes.is_v6 else 40) - probes.heads
        if size < min(missing):
            answers = await _answers(client, [("whole", str(probes.probe.destination), str(size))])
            if any(code == 0 for code, _ in answers.values()):
                found.fits = True
                return None
    # One that is lost says nothing: the same size is tried twice more.
    tried = [each - probes.heads for each in LADDER if each - probes.heads < min(missing)]
    tried += [min(missing)] * 2
    became = await _echoed(client, probes, tried)
    if became[min(missing)].reply is not Reply.ANSWERED:
        del became[min(missing)]  # what was said of the first one stands
    found.sizes |= became
    return max(missing) + probes.heads


async def _echoed(client: Host, probes: Probes, sizes: Sequence[int]) -> dict[int, Sent]:
    """What became of echoes of these sizes; of a size that is tried more than once, of one that is answered."""
    target, echo = probes.probe.destination, Probe(Protocol.ICMP, probes.probe.destination)
    answers = await _answers(client, [("whole", str(target), str(size)) for size in sizes])
    answered = {
        sizes[number]: sent(client.name, echo, *answer)
        for number, answer in answers.items()
        if answer[0] == 0
    }
    return {size: Sent(echo, Reply.SILENT) for size in sizes} | answered


async def _is_sent_again(client: Host, size: int, seen: Seen) -> bool:
    """Whether a kernel that was told of the path's MTU did not hear it: else it sends no second one."""
    name = seen.course.client.host
    before = len(seen.trail().only(size).left(name, Part.REQUEST))
    await _answers(client, [("whole", str(seen.course.destination), str(size))])
    await seen.watch.changed(_DRAIN)
    return len(seen.trail().only(size).left(name, Part.REQUEST)) > before


def _largest_segment(trail: Trail) -> int | None:
    """The most that TCP sends at once in either direction, as the ends have heard it of each other."""
    client = trail.course.client.host
    told = [each.packet.mss for each in trail.came(client, Part.REPLY) if each.packet.mss]
    last = trail.course.stops[-1].host
    told += [each.packet.mss for each in trail.left(last, Part.REQUEST) if each.packet.mss]
    return min(told) if told else None


async def _answers(client: Host, tasks: Sequence[Task]) -> dict[int, tuple[int, str]]:
    """The exit code and the words of those that have ended when nothing more comes, by their number."""
    sending = Sending(client, list(tasks))
    await sending.start()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WAIT):
                while not sending.is_over:
                    sending.news.clear()
                    async with asyncio.timeout(_QUIET):
                        await sending.news.wait()
        return dict(sending.ended)
    finally:
        await sending.stop()
