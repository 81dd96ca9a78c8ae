"""Read back, send a flow, look at it; and what the gateways keep of how that ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath

from crossnet.api.looking import refuse_open
from crossnet.design import lookups
from crossnet.diagnosis.verifying import not_judged
from crossnet.diagnosis.verifying import verify as check
from crossnet.events import Watcher, nobody
from crossnet.exposure import exposures
from crossnet.facts import Facts
from crossnet.planning import make_plan
from crossnet.planning.scope import is_over
from crossnet.record import APPLIED, VERIFIED, read_record
from crossnet.site import Site, reach
from crossnet.spec import Spec
from crossnet.unreached import unreached, without
from crossnet.values import Probe, show_moment
from crossnet.verdict import Verification
from crossnet.verification.carried import carrying
from crossnet.verified import merged, verified


async def verify(
    spec: Spec,
    *,
    crossing: str | None = None,
    client: str | None = None,
    probe: Probe | None = None,
    watch: Watcher = nobody,
) -> Verification:
    """Read back, send a new flow from each client, and look at it on the gateway.

    With `client`, a host of the spec, or `probe` that flow is tried and no other; CrossnetError where no crossing
    carries it. How it ended is not kept for the status then.

    Of a crossing with a host that cannot be reached the verdict is undetermined, and says why.
    """
    async with reach(spec, watch=watch, asking=partial(lookups, spec)) as site:
        found = await site.look()
        rest = without(spec, found.errors)
        if found.errors and not rest.crossings:
            found.all()
        facts = {host.name: found.said[host.name] for host in rest.hosts}
        one_flow = client is not None or probe is not None
        verified = await _verify(rest, crossing, site.part(rest), facts, client, probe)
        left_out = [] if one_flow else [one.name for one in spec.crossings if one not in rest.crossings]
        gone = [name for name in left_out if crossing in (None, name)]
        unknown = [not_judged(name, str(why)) for name in gone for why in unreached(spec, name, found.errors)]
        return replace(verified, verdicts=(*verified.verdicts, *unknown), unreached=tuple(found.errors))


async def _verify(
    spec: Spec,
    crossing: str | None,
    site: Site,
    facts: Mapping[str, Facts],
    client: str | None,
    probe: Probe | None,
) -> Verification:
    refuse_open(facts)
    made = make_plan(spec, facts, moves=False)
    if crossing is not None:
        made = replace(made, paths=tuple(p for p in made.paths if p.crossing.name == crossing))
    one_flow = client is not None or probe is not None
    if one_flow:
        made = replace(made, paths=carrying(made.paths, client, probe))
    found = await check(made, facts, site)
    records = {name: read_record(one) for name, one in facts.items()}
    gateways = dict.fromkeys(one.via for one in spec.crossings if crossing in (None, one.name))
    exposed = [str(each) for name in gateways for each in exposures(spec, facts[name], records[name])]
    found = replace(found, exposed=tuple(exposed))
    if not one_flow and all(records[one.gateway].standing(one.crossing.label) for one in made.paths):
        await remember(verified(found, made, facts, is_applied=False), site)
    own = [record.standing(one.label) for record in records.values() for one in spec.crossings]
    if not made.paths and (over := [one for one in spec.crossings if is_over(one, facts)]):
        ended = [
            not_judged(one.name, f"its time is over: {show_moment(one.until)}") for one in over if one.until
        ]
        return replace(found, verdicts=tuple(ended))
    if found.differences and not any(own) and not any(record.lost for record in records.values()):
        lines = (f"{one.name}: not applied: `crossnet apply`" for one in spec.crossings)
        return replace(found, differences=tuple(lines))
    return found


async def remember(verified: Mapping[str, bytes], site: Site) -> None:
    """Each gateway keeps it while something is applied there: nobody takes it away from one that was left meanwhile."""
    for name, data in verified.items():
        host = site.hosts[name]
        if await host.read(PurePosixPath(APPLIED)) is not None:
            there = await host.read(PurePosixPath(VERIFIED))
            await host.write(PurePosixPath(VERIFIED), merged(data, there or b""), mode=0o600)
