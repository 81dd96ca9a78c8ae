"""Send new flows through a plan's paths, and read what the gateways have counted of them and remember.

Of a flow without an answer it is asked where client and gateway send it, and what the interface there has sent.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

from crossnet.events import Event, Kind
from crossnet.facts import Facts, Lookup
from crossnet.planning import Plan
from crossnet.resources import RuleTable
from crossnet.site import Site, together
from crossnet.values import Family
from crossnet.verification.choice import Choice, choose
from crossnet.verification.conntrack import fresh
from crossnet.verification.evidence import Round, Seen
from crossnet.verification.onward import Onward, look
from crossnet.verification.probe import Reply, Sent, send
from crossnet.verification.reading import Flow, Reading, read

# A gateway answers for all its clients: this many are asked to send at the same time.
AT_ONCE = 16

# Of so many flows without an answer a host is asked where it sends them.
MOST_LOOKED_UP = 32

# A gateway is read again while clients go on sending: it forgets a connection that was reset after 10 s, an
# echo after 30 (nf_conntrack_tcp_timeout_close, nf_conntrack_icmp_timeout).
READ_AGAIN = 6.0  # seconds

# What is sent without waiting for an answer may be on its way to the gateway still.
ON_ITS_WAY = 1.0  # seconds


async def gather(
    plan: Plan, facts: Mapping[str, Facts], site: Site, *, also_led_away: bool
) -> list[tuple[Choice, Round | None]]:
    """What was seen of the probes of each path; None where none could be sent.

    A client sends all its probes with one command, after one more where it has to find a host that answers. A
    gateway is read once before and once after, and on the way where that takes long. Where the counters cannot tell
    one probe from another, each is sent once more alone.
    """
    choices = await choose(plan.paths, facts, site, also_led_away=also_led_away)
    rounds = iter(await _send([choice for choice in choices if choice.probes], plan, site))
    found: list[tuple[Choice, Round | None]] = []
    for choice in choices:
        if not choice.probes:
            found.append((choice, None))
        elif (seen := next(rounds)).is_clear:
            found.append((choice, seen))
        else:
            for one in choice.one_by_one():
                (alone,) = await _send([one], plan, site)
                found.append((one, alone))
    return found


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
        table.family: table
        for host, table in plan.tables
        if host == gateway and table.family in families and not table.only_accepts
    }
