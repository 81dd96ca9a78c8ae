"""Read what was made by hand, and write the spec that it amounts to; nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossnet import specfile
from crossnet.adoption.finding import Finding
from crossnet.adoption.findings import findings
from crossnet.adoption.ways import ways
from crossnet.adoption.writing import reproduced, text
from crossnet.api.looking import plan as make_plan
from crossnet.api.looking import survey
from crossnet.events import Watcher, nobody
from crossnet.planning import Plan
from crossnet.site import Ways, reach
from crossnet.spec import HostSpec, Spec
from crossnet.values import Network


@dataclass(frozen=True, slots=True)
class Adoption:
    """The spec of what stands there, what of that is wider than needed, and the plan that narrows it."""

    spec: Spec
    findings: tuple[Finding, ...]
    plan: Plan


async def adopt(
    clients: Sequence[HostSpec],
    gateways: Sequence[HostSpec],
    *,
    to: Sequence[Network] = (),
    cloud: str = "",
    name: str = "",
    file: str = "",
    watch: Watcher = nobody,
) -> Adoption:
    """What these clients reach over these gateways today, as a spec of this name; `to` leaves out the rest.

    `cloud` is the entry of clouds.yaml whose ports the hosts are plugged into. CrossnetError where a client has no way
    over any of the gateways, or nothing gets through; PlanRefused where what stands there can be no crossing.
    """
    hosts = (*clients, *gateways)
    used = Ways()
    try:
        async with reach(Spec(file, "", name, hosts, ()), watch=watch, ways=used, cloud=cloud) as site:
            facts = await site.observe(kernels=False)
        found = ways([host.name for host in clients], [host.name for host in gateways], facts, to)
        crossings = reproduced(found, facts)
        needed = {name for way in found for name in (*way.clients, way.gateway)}
        spec = specfile.parse(
            text(name, [host for host in hosts if host.name in needed], crossings, cloud), file
        )
        whole, facts = await survey(spec, watch=watch, ways=used)
        made = make_plan(whole, facts)
        return Adoption(spec, findings(crossings, facts, made), made)
    finally:
        await used.close()
