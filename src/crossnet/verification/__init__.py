"""Does the crossing do what it promises? Read back, send a new flow, look at it on the gateway.

In this version the evidence is: nothing differs from what was applied; a new flow of the client is
answered; the crossing's own counters moved by it; and connection tracking shows the promised source.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from crossnet.design import Client, Passage
from crossnet.events import Event, Watcher
from crossnet.facts import Facts, observe
from crossnet.planning import PERSISTENT, Plan, Restoring
from crossnet.resources import Change, RuleTable
from crossnet.transport import Host
from crossnet.values import Probe, Protocol, family_of
from crossnet.verification.conntrack import entries, fresh
from crossnet.verification.counters import read_counters
from crossnet.verification.probe import Reply, Sent, candidates, send
from crossnet.verification.verdict import Half, Result, Seen, Verdict, Verification, judge, unsent

__all__ = ["DRIFT", "Half", "Result", "Verdict", "Verification", "read_back", "verify"]

# What a host is found to have wrong, by what a plan would do about it.
DRIFT = {"create": "misses", "change": "differs in", "remove": "has a left-over"}

# A gateway answers for all its clients: this many are asked to send at the same time.
AT_ONCE = 16


def read_back(plan: Plan, facts: Mapping[str, Facts], *, live_only: bool) -> tuple[str, ...]:
    """Everything that the hosts, read again, have not as the plan wants it; empty when all is well."""
    wrong = []
    for host, resources in plan.wanted.items():
        for wanted in resources:
            have = wanted.current(facts[host])
            if have is None or not wanted.satisfied_by(have):
                wrong.append((host, Change(have, wanted)))
    for host, change in plan.changes:
        have = change.resource.ours(facts[host])
        if isinstance(change, Restoring) and have != change.want:
            wrong.append((host, Change(have, change.want)))
    return tuple(
        f"{host}: {DRIFT[change.action]} {change.resource.kind} {change.description}"
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
        return [unsent(passage, None, "no client is a managed host: nobody can send a probe")]
    probes, demanded, note = await _choose(passage, senders[0], facts, hosts, watch)
    if not probes:
        return [unsent(passage, client, note) for client in senders]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(client: Client, probe: Probe) -> Seen:
        async with gate:
            return await _flow(passage, client, probe, hosts, watch)

    table = _own_table(plan, passage)
    start = await observe(hosts[passage.gateway], ())
    before = read_counters(table, passage.crossing.name, start)
    verdicts = []
    for probe in probes:
        found = await asyncio.gather(*(one(client, probe) for client in senders))
        now = await observe(hosts[passage.gateway], ())
        after = read_counters(table, passage.crossing.name, now)
        verdicts += [
            judge(passage, seen, before, after, facts, demanded=demanded, note=note) for seen in found
        ]
        before = after
    return verdicts


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
    return (
        (),
        False,
        f"the spec names no `probe`, and none of {len(targets)} addresses in `to` answered an echo",
    )


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
    host, gateway = hosts[client.host or ""], hosts[passage.gateway]
    watch(Event(f"sends {probe}", host.name))
    before = await entries(gateway, client.network.network_address, probe)
    sent = await send(host, probe)
    after = await entries(gateway, client.network.network_address, probe)
    tracked = None if before is None or after is None else fresh(before, after)
    return Seen(client, sent, tracked)


def _own_table(plan: Plan, passage: Passage) -> RuleTable:
    return next(
        table for host, table in plan.tables if host == passage.gateway and table.family is passage.family
    )
