"""Does the crossing do what it promises? Read back, send a new flow, look at it on the gateway.

In this version the evidence is: nothing differs from what was applied; a new flow of the client is
answered; the crossing's own counters moved by it; and connection tracking shows the promised source.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from crossnet.design import Client, Passage
from crossnet.events import Event, Watcher
from crossnet.facts import Facts, observe
from crossnet.planning import PERSISTENT, Plan, Restoring
from crossnet.resources import Change, RuleTable
from crossnet.transport import Host
from crossnet.values import Address, Probe, Protocol, contains, family_of
from crossnet.verification.conntrack import Entry, entries
from crossnet.verification.counters import Counters, read_counters
from crossnet.verification.probe import Reply, Sent, candidates, send

# A gateway answers for all its clients: this many are asked to send at the same time.
AT_ONCE = 16


class Result(StrEnum):
    """The answer for one flow."""

    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True)
class Half:
    """The request or the reply: what became of it, with the code and the sentence that say why."""

    disposition: str
    code: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One flow of one crossing; `demanded` is whether the spec itself names the probe."""

    crossing: str
    client: str
    source: Address | None
    probe: Probe | None
    demanded: bool
    result: Result
    forward: Half
    reply: Half
    admitted: int | None = None
    translated_to: Address | None = None
    evidence: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """All verdicts, and what was read back different from what the spec asks for."""

    verdicts: tuple[Verdict, ...]
    differences: tuple[str, ...] = ()
    result: Result = field(init=False)

    def __post_init__(self) -> None:
        results = {verdict.result for verdict in self.verdicts}
        if self.differences or Result.UNREACHABLE in results:
            result = Result.UNREACHABLE
        elif Result.UNDETERMINED in results or not results:
            result = Result.UNDETERMINED
        else:
            result = Result.REACHABLE
        object.__setattr__(self, "result", result)

    @property
    def broken_promises(self) -> tuple[Verdict, ...]:
        """Flows that the spec names and that do not pass: reason enough to roll back."""
        return tuple(v for v in self.verdicts if v.demanded and v.result is Result.UNREACHABLE)


def read_back(plan: Plan, facts: Mapping[str, Facts], *, live_only: bool) -> tuple[str, ...]:
    """Everything that the hosts, read again, have not as the plan wants it; empty when all is well."""
    wrong = []
    for host, resources in plan.wanted.items():
        for wanted in resources:
            have = wanted.current(facts[host])
            if have is None or not wanted.satisfied_by(have):
                wrong.append((host, Change(have, wanted)))
    for host, change in plan.changes:
        have = change.resource.current(facts[host])
        if isinstance(change, Restoring) and have != change.want:
            wrong.append((host, Change(have, change.want)))
    return tuple(
        f"{host}: {change.action} {change.resource.kind} {change.description}"
        for host, change in wrong
        if not (live_only and change.resource.kind in PERSISTENT)
    )


async def verify(
    plan: Plan,
    facts: Mapping[str, Facts],
    hosts: Mapping[str, Host],
    watch: Watcher,
    *,
    live_only: bool = False,
) -> Verification:
    """Verify every passage of a plan; `facts` are fresh, and `live_only` before the files are written."""
    verdicts: list[Verdict] = []
    for passage in plan.passages:
        verdicts += await _passage(passage, plan, facts, hosts, watch)
    return Verification(tuple(verdicts), read_back(plan, facts, live_only=live_only))


async def _passage(
    passage: Passage,
    plan: Plan,
    facts: Mapping[str, Facts],
    hosts: Mapping[str, Host],
    watch: Watcher,
) -> list[Verdict]:
    senders = [client for client in passage.clients if client.host is not None]
    if not senders:
        return [_unsent(passage, None, "no client is a managed host: nobody can send a probe")]
    probes, demanded, notes = await _choose(passage, senders[0], facts, hosts, watch)
    if not probes:
        return [_unsent(passage, client, notes) for client in senders]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(client: Client, probe: Probe) -> Seen:
        async with gate:
            return await _flow(passage, client, probe, hosts, watch)

    table = _own_table(plan, passage)
    start = await observe(hosts[passage.gateway], ())
    before = read_counters(table, passage.crossing.name, start)
    verdicts = []
    for probe in probes:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(client, probe)) for client in senders]
        now = await observe(hosts[passage.gateway], ())
        after = read_counters(table, passage.crossing.name, now)
        verdicts += [_judge(passage, task.result(), before, after, demanded, notes) for task in tasks]
        before = after
    return verdicts


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one probe: at the client, and in the gateway's connection tracking (None: unknown)."""

    client: Client
    sent: Sent
    tracked: tuple[Entry, ...] | None


async def _choose(
    passage: Passage,
    client: Client,
    facts: Mapping[str, Facts],
    hosts: Mapping[str, Host],
    watch: Watcher,
) -> tuple[tuple[Probe, ...], bool, str]:
    """The probes of the spec, else an echo to the first host of `to` that answers; with what to say of it."""
    named = tuple(
        probe for probe in passage.crossing.probes if family_of(probe.destination) is passage.family
    )
    if named:
        return named, True, ""
    allow = passage.crossing.allow
    if allow is not None and not any(entry.protocol is Protocol.ICMP for entry in allow):
        return (), False, "the spec names no `probe`, and `allow` admits no icmp to send one"
    neighbours = facts[passage.gateway].neighbours
    targets = [target for network in passage.destinations for target in candidates(network, neighbours)]
    host = hosts[client.host or ""]
    watch(Event(f"looks for a host in `to` that answers ({len(targets)} addresses)", host.name))
    found = await _first_answer(host, [Probe(Protocol.ICMP, target) for target in targets[:AT_ONCE]])
    if found.reply is Reply.ANSWERED:
        return (found.probe,), False, f"the spec names no `probe`: {found.probe.destination} answered first"
    if found.reply is Reply.NOT_SENT:
        return (found.probe,), False, "the spec names no `probe`"
    return (), False, f"the spec names no `probe`, and none of {len(targets)} addresses in `to` answered an echo"


async def _first_answer(host: Host, probes: Sequence[Probe]) -> Sent:
    """The first of these echoes that is answered, else what became of the last one."""
    waiting = {asyncio.create_task(send(host, probe)) for probe in probes}
    try:
        while True:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            last = [task.result() for task in done]
            answered = [sent for sent in last if sent.reply is Reply.ANSWERED]
            if answered or not waiting:
                return (answered or last)[0]
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _flow(
    passage: Passage, client: Client, probe: Probe, hosts: Mapping[str, Host], watch: Watcher
) -> Seen:
    host = hosts[client.host or ""]
    watch(Event(f"sends {probe}", host.name))
    sent = await send(host, probe)
    tracked = await entries(hosts[passage.gateway], client.network.network_address, probe)
    return Seen(client, sent, tracked)


def _own_table(plan: Plan, passage: Passage) -> RuleTable:
    return next(
        table for host, table in plan.tables if host == passage.gateway and table.family is passage.family
    )


def _judge(
    passage: Passage, seen: Seen, before: Counters, after: Counters, demanded: bool, note: str
) -> Verdict:
    """One flow's verdict from what the client, the counters and connection tracking say."""
    moved = after.admitted.packets - before.admitted.packets
    fenced = after.fenced.packets - before.fenced.packets
    entry = seen.tracked[-1] if seen.tracked else None
    promised = _promised(passage, seen.sent.probe)
    right = entry is not None and (promised is None or entry.reply_to == promised)
    evidence = [
        f"{passage.gateway}: the crossing's rule counted {moved} new flow{'s' if moved != 1 else ''}",
        *([f"{passage.gateway}: the fence stopped {fenced} packets meanwhile"] if fenced else []),
        *([f"{passage.gateway}: {entry.text}"] if entry else []),
    ]
    notes = [note] if note else []
    if seen.tracked is None:
        notes.append(f"{passage.gateway} has no conntrack tool: the translation could not be looked at")
    forward, reply, result = _halves(passage, seen, moved, entry, right, promised)
    return Verdict(
        crossing=passage.crossing.name,
        client=seen.client.host or str(seen.client),
        source=seen.client.network.network_address,
        probe=seen.sent.probe,
        demanded=demanded,
        result=result,
        forward=forward,
        reply=reply,
        admitted=moved,
        translated_to=entry.reply_to if entry else None,
        evidence=tuple(evidence),
        notes=tuple(notes),
    )


def _promised(passage: Passage, probe: Probe) -> Address | None:
    """The source that the destination should see; None where it depends on the moment (masquerade)."""
    for network, source in passage.sources:
        if contains(network, probe.destination):
            return source
    return None


def _halves(
    passage: Passage, seen: Seen, moved: int, entry: Entry | None, right: bool, promised: Address | None
) -> tuple[Half, Half, Result]:
    sent = seen.sent
    nothing = Half("not-sent")
    if sent.reply is Reply.NOT_SENT:
        return Half("not-sent", _not_sent_code(sent), sent.detail), nothing, Result.UNREACHABLE
    answered = sent.reply in (Reply.ANSWERED, Reply.REFUSED) or (
        sent.reply is Reply.UNKNOWN and entry is not None and entry.replied
    )
    if answered and moved > 0 and (right or seen.tracked is None):
        code = "destination-port-closed" if sent.reply is Reply.REFUSED else None
        return Half("delivered", code, sent.detail), Half("delivered"), Result.REACHABLE
    if answered:
        what = (
            f"answered, but {passage.gateway} shows the source {entry.reply_to} instead of {promised}"
            if entry and not right
            else f"answered, but {passage.gateway} did not count it: it took another way"
        )
        return (
            Half("undetermined", "static-dynamic-disagree", what),
            Half("delivered"),
            Result.UNDETERMINED,
        )
    if sent.reply is Reply.UNKNOWN:
        half = Half("exits-observed-area" if entry else "undetermined")
        return half, Half("undetermined", None, "no answer is promised by this protocol"), Result.UNDETERMINED
    if moved > 0:
        detail = f"{passage.gateway} let it pass towards {sent.probe.destination}; no reply came back"
        return (
            Half("exits-observed-area"),
            Half("undetermined", "destination-silent", detail),
            Result.UNREACHABLE,
        )
    detail = f"{passage.gateway} did not let a new flow pass: it did not arrive, or was stopped before"
    return Half("undetermined", "lost-between", detail), nothing, Result.UNREACHABLE


def _not_sent_code(sent: Sent) -> str | None:
    return "src-no-route" if "unreachable" in sent.detail else None


def _unsent(passage: Passage, client: Client | None, why: str) -> Verdict:
    return Verdict(
        crossing=passage.crossing.name,
        client=str(client) if client else "",
        source=client.network.network_address if client else None,
        probe=None,
        demanded=False,
        result=Result.UNDETERMINED,
        forward=Half("not-sent"),
        reply=Half("not-sent"),
        notes=(why,),
    )
