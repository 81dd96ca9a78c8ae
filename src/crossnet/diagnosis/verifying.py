"""Does the crossing do what it promises? Read back, send a new flow, look at it on the gateway.

The evidence is: nothing differs from what was applied; a new flow of the client is answered; the crossing's own
counters moved by it; and connection tracking shows the promised source. Of a flow without an answer these say how far
it came, together with where client and gateway send it and what the interface there has sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from crossnet.design import Client, Obstacle, Path, obstacles, then
from crossnet.diagnosis.counted import judge, unsent
from crossnet.facts import Facts
from crossnet.planning import Plan
from crossnet.site import Site
from crossnet.values import Probe
from crossnet.verdict import Diagnosis, Verification
from crossnet.verification.choice import Choice
from crossnet.verification.comparing import compared, read_back
from crossnet.verification.evidence import Round
from crossnet.verification.gathering import gather
from crossnet.verification.probe import Reply

# Of so many flows of a round without an answer it is looked up what stops them, each for itself; what stops those on
# the gateway may stop the others too. With 5,000 rules one takes a second or two, and the guard's time runs.
MOST_EXPLAINED = 4


async def verify(
    plan: Plan,
    facts: Mapping[str, Facts],
    site: Site,
    *,
    live_only: bool = False,
) -> Verification:
    """Verify every path of a plan; `facts` are fresh, and `live_only` before the files are written."""
    verdicts: list[Diagnosis] = []
    for choice, found in await gather(plan, facts, site, also_led_away=not live_only):
        if found is None:
            verdicts += [
                unsent(choice.path, client, choice.note, _obstacles(plan, choice.path, client, facts))
                for client in choice.senders or (None,)
            ]
        else:
            verdicts += _judge(choice, found, plan, facts)
    differences = read_back(plan, facts, live_only=True) if live_only else compared(plan, facts)
    return Verification(tuple(verdicts), differences)


def _judge(choice: Choice, found: Round, plan: Plan, facts: Mapping[str, Facts]) -> list[Diagnosis]:
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
