"""Packets on the hosts of a spec, as they pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from crossnet.capture import Filter, Watch, watching
from crossnet.errors import CrossnetError
from crossnet.events import Watcher, nobody
from crossnet.site import reach
from crossnet.spec import Spec
from crossnet.transport import Host


@dataclass(frozen=True, slots=True)
class Captured:
    """What is seen, and on which hosts nobody looks, and why."""

    watch: Watch
    unwatched: Mapping[str, str]


@asynccontextmanager
async def capture(
    spec: Spec,
    wanted: Filter,
    *,
    crossing: str | None = None,
    hosts: Collection[str] = (),
    most: int,
    seconds: int,
    watch: Watcher = nobody,
) -> AsyncIterator[Captured]:
    """See what passes on all hosts of the spec, or on those of a crossing, or those that are named.

    A filter without addresses means those of the crossing's destinations, where one is named. Ends after `seconds`,
    and each host after `most` packets. The errors of all hosts where none can be watched.
    """
    spec.expect([crossing] if crossing else (), hosts)
    if crossing is not None:
        chosen = next(one for one in spec.crossings if one.name == crossing)
        spec = spec.only([crossing])
        wanted = wanted if wanted.addresses else replace(wanted, addresses=chosen.to)
    spec = replace(
        spec, crossings=(), hosts=tuple(host for host in spec.hosts if not hosts or host.name in hosts)
    )
    async with reach(spec, watch=watch) as site:
        reached = await site.ask(_connected)
        ways = {name: host for name, host in site.hosts.items() if name in reached.said}
        if not ways:
            reached.all()
        async with watching(ways, wanted, most=most, seconds=seconds) as seen:
            unwatched = {**{name: str(error) for name, error in reached.errors.items()}, **seen.failed}
            if not any(seen.points.values()):
                said = "\n".join(f"  {name}: {why}" for name, why in unwatched.items())
                raise CrossnetError(f"no packet can be seen on any host\n{said}")
            yield Captured(seen, unwatched)


async def _connected(host: Host) -> None:
    await host.controller()
