"""Does the crossing do what it promises? Read back, send a new flow, look at it on the gateway.

The evidence is: nothing differs from what was applied; a new flow of the client is answered; the crossing's own
counters moved by it; and connection tracking shows the promised source. Of a flow without an answer these say how far
it came, together with where client and gateway send it and what the interface there has sent.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

from crossnet.design import Client, Obstacle, Path, obstacles, then
from crossnet.diagnosis.conntrack import fresh
from crossnet.diagnosis.probe import Reply, Sent, send
from crossnet.drift import Pending, drifted, not_applied, pending
from crossnet.events import Event, Kind
from crossnet.facts import Facts, Lookup
from crossnet.planning import Plan, Restoring
from crossnet.resources import Change, Resource, RuleTable
from crossnet.site import Site, together
from crossnet.values import Family, Probe
from crossnet.verdict import Half, Result
from crossnet.verification.choice import Choice, choose
from crossnet.verification.evidence import Round, Seen
from crossnet.verification.onward import Onward, look
from crossnet.verification.reading import Flow, Reading, read
from crossnet.verification.verdict import (
    HowFar,
    Verdict,
    Verification,
    judge,
    not_judged,
    unsent,
)

__all__ = [
    "Half",
    "HowFar",
    "Result",
    "Verdict",
    "Verification",
    "not_judged",
    "read_back",
    "verify",
]

# A gateway answers for all its clients: this many are asked to send at the same time.
AT_ONCE = 16

# Of so many flows of a round without an answer it is looked up what stops them, each for itself; what stops those on
# the gateway may stop the others too. With 5,000 rules one takes a second or two, and the guard's time runs.
MOST_EXPLAINED = 4
# Of so many of them a host is asked where it sends them.
MOST_LOOKED_UP = 32

# A gateway is read again while clients go on sending: it forgets a connection that was reset after 10 s, an
# echo after 30 (nf_conntrack_tcp_timeout_close, nf_conntrack_icmp_timeout).
READ_AGAIN = 6.0  # seconds

# What is sent without waiting for an answer may be on its way to the gateway still.
ON_ITS_WAY = 1.0  # seconds


def read_back(plan: Plan, facts: Mapping[str, Facts], *, live_only: bool) -> tuple[str, ...]:
    """Everything that the hosts, read again, have not as the plan wants it; empty when all is well."""
    wrong: list[str] = []
    for host, resources in plan.wanted.items():
        for wanted in resources:
            if (live_only and wanted.is_persistent) or _is_anothers(plan, host, wanted):
                continue
            have = wanted.current(facts[host])
            if have is None:
                change = Change(None, wanted)
                wrong.append(f"{host}: {wanted.kind} {change.description} is not there")
            elif not wanted.satisfied_by(have):
                wrong += (f"{host}: {words}" for words in wanted.differences(have))
    for host, change in plan.changes:
        have = change.resource.ours(facts[host])
        if isinstance(change, Restoring) and have != change.want:
            left = Change(have, change.want)
            if not (live_only and left.resource.is_persistent):
                wrong.append(f"{host}: is not as it was before: {left.resource.kind} {left.description}")
    return tuple(wrong)


def _is_anothers(plan: Plan, host: str, resource: Resource) -> bool:
    return (resource.kind, resource.key) in plan.left_alone.get(host, frozenset())


def compared(plan: Plan, facts: Mapping[str, Facts]) -> tuple[str, ...]:
    """What the hosts have not as it was applied, and what the plan asks for besides; nothing when all is well."""
    found = dict[str, None]()
    asked: list[Pending] = []
    for one in plan.hosts:
        own = (
            each
            for each in drifted(facts[one.host], one.before)
            if not _is_anothers(plan, one.host, each.applied)
        )
        found |= dict.fromkeys(line for each in own for line in each.lines)
        for each in pending(one, plan):
            if isinstance(each, Pending):
                asked.append(each)
            else:
                found |= dict.fromkeys(each.lines)
    return (*found, *not_applied(asked))


async def verify(
    plan: Plan,
    facts: Mapping[str, Facts],
    site: Site,
    *,
    live_only: bool = False,
) -> Verification:
    """Verify every path of a plan; `facts` are fresh, and `live_only` before the files are written.

    A client sends all its probes with one command, after one more where it has to find a host that answers. A
    gateway is read once before and once after, and on the way where that takes long.
    """
    choices = await choose(plan.paths, facts, site, also_led_away=not live_only)
    rounds = iter(await _send([choice for choice in choices if choice.probes], plan, site))
    verdicts: list[Verdict] = []
    for choice in choices:
        if not choice.probes:
            verdicts += [
                unsent(choice.path, client, choice.note, _obstacles(plan, choice.path, client, facts))
                for client in choice.senders or (None,)
            ]
        elif (found := next(rounds)).is_clear:
            verdicts += _judge(choice, found, plan, facts)
        else:
            for one in choice.one_by_one():
                (alone,) = await _send([one], plan, site)
                verdicts += _judge(one, alone, plan, facts)
    differences = read_back(plan, facts, live_only=True) if live_only else compared(plan, facts)
    return Verification(tuple(verdicts), differences)


def _judge(choice: Choice, found: Round, plan: Plan, facts: Mapping[str, Facts]) -> list[Verdict]:
    path, verdicts = choice.path, []
    explained: list[tuple[Probe, tuple[Obstacle, ...]]] = []
    for seen in found.seen:
        in_the_way: tuple[Obstacle, ...] = ()
        probe = seen.sent.probe
        # Sets of packets are slow to import, and of what was answered there is nothing to explain.
        if seen.is_open or seen.sent.reply in (Reply.REFUSED, Reply.NOT_SENT):
            if len(explained) < MOST_EXPLAINED:
                in_the_way = _obstacles(plan, path, seen.client, facts, probe)
                explained.append((probe, in_the_way))
            else:
                in_the_way = tuple(
                    dict.fromkeys(
                        replace(each, sure=False)
                        for of, some in explained
                        for each in some
                        if of == probe and each.host == path.gateway
                    )
                )
        verdicts.append(
            judge(
                path,
                found,
                seen,
                facts,
                demanded=choice.demanded,
                note=choice.note,
                obstacles=in_the_way,
            )
        )
    return verdicts


def _obstacles(
    plan: Plan,
    path: Path,
    client: Client | None,
    facts: Mapping[str, Facts],
    probe: Probe | None = None,
) -> tuple[Obstacle, ...]:
    if client is None or client.host is None:
        return ()
    return obstacles(path, client.host, then([path], facts, plan.wanted), probe)


async def _send(choices: Sequence[Choice], plan: Plan, site: Site) -> list[Round]:
    """Send everything at the same time, and read the gateways before and after; a round for each choice."""
    flows = [choice.flows for choice in choices]
    by_client, by_gateway = defaultdict[str, list[Flow]](list), defaultdict[str, list[Flow]](list)
    for flow in chain.from_iterable(flows):
        by_client[flow.client.host or ""].append(flow)
        by_gateway[flow.path.gateway].append(flow)
    gate = asyncio.Semaphore(AT_ONCE)

    async def reading(gateway: str, own: Sequence[Flow]) -> tuple[str, Reading]:
        return gateway, await read(site.hosts[gateway], _tables(plan, own), own)

    async def readings() -> dict[str, Reading]:
        return dict(await together(reading(name, own) for name, own in by_gateway.items()))

    async def sending(client: str, own: Sequence[Flow]) -> list[tuple[Flow, Sent]]:
        async with gate:
            for flow in own:
                site.watch(Event(Kind.PROBES, client, probe=str(flow.probe)))
            return list(zip(own, await send(site.hosts[client], [flow.probe for flow in own]), strict=True))

    later: list[dict[str, Reading]] = []

    async def read_again() -> None:
        while True:
            await asyncio.sleep(READ_AGAIN)
            later.append(await readings())

    before = await readings()
    meanwhile = asyncio.create_task(read_again())
    try:
        answers = await together(sending(name, own) for name, own in by_client.items())
    finally:
        meanwhile.cancel()
        await asyncio.wait([meanwhile])
    if not meanwhile.cancelled():
        meanwhile.result()  # the gateway could not be read
    later.append(after := await readings())
    sent = dict(chain.from_iterable(answers))

    def seen(flow: Flow) -> Seen:
        first, *others = (each[flow.path.gateway].tracked(flow) for each in (before, *later))
        return Seen(flow.client, sent[flow], fresh(first, others))

    if any(each.reply is Reply.UNKNOWN and not seen(flow).tracked for flow, each in sent.items()):
        await asyncio.sleep(ON_ITS_WAY)
        later.append(after := await readings())
    found = {flow: seen(flow) for flow in sent}
    lost = [flow for flow, each in found.items() if each.is_open and not (each.tracked and not each.waited)]
    onward = await _look(lost, site)

    def told(flow: Flow) -> Seen:
        gateway, device = flow.path.gateway, flow.path.egress
        at = onward.get((gateway, _at_gateway(flow)))
        if at is not None:
            device = at.device or device
            counts = [each[gateway].sent.get(device) for each in (before, after)]
            moved = counts[1] - counts[0] if counts[0] is not None and counts[1] is not None else None
            at = replace(at, sent=moved)
        at_client = onward.get((flow.client.host or "", _at_client(flow)))
        return replace(found[flow], at_client=at_client, at_gateway=at)

    return [
        Round(
            tuple(map(told, own)),
            before[choice.path.gateway].counters(choice.path),
            after[choice.path.gateway].counters(choice.path),
        )
        for choice, own in zip(choices, flows, strict=True)
    ]


async def _look(flows: Sequence[Flow], site: Site) -> dict[tuple[str, Lookup], Onward]:
    """Where client and gateway send these flows now, of the first few of each."""
    asked = defaultdict[str, list[Lookup]](list)
    for flow in flows:
        for host, lookup in (
            (flow.client.host or "", _at_client(flow)),
            (flow.path.gateway, _at_gateway(flow)),
        ):
            if len(asked[host]) < MOST_LOOKED_UP and lookup not in asked[host]:
                asked[host].append(lookup)

    async def of(host: str, lookups: Sequence[Lookup]) -> list[tuple[tuple[str, Lookup], Onward]]:
        return [((host, lookup), found) for lookup, found in (await look(site.hosts[host], lookups)).items()]

    return dict(chain.from_iterable(await together(of(host, lookups) for host, lookups in asked.items())))


def _at_client(flow: Flow) -> Lookup:
    return Lookup(flow.probe.destination)


def _at_gateway(flow: Flow) -> Lookup:
    return Lookup(flow.probe.destination, flow.client.network.network_address, flow.path.ingress)


def _tables(plan: Plan, flows: Sequence[Flow]) -> dict[Family, RuleTable]:
    """crossnet's rules on the gateway of these flows as they should be, for each of their families."""
    gateway, families = flows[0].path.gateway, {flow.path.family for flow in flows}
    return {
        table.family: table for host, table in plan.tables if host == gateway and table.family in families
    }
