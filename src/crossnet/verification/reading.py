"""What a gateway says at one instant, in one command: its counters, and connection tracking of some flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossnet.facts.question import put
from crossnet.netfilter import Table
from crossnet.path import Client, Path
from crossnet.resources import RuleTable
from crossnet.transport import Host
from crossnet.values import Family, Probe
from crossnet.verification import conntrack, counters
from crossnet.verification.conntrack import Tracked, Tracking
from crossnet.verification.counters import Counters
from crossnet.verification.onward import SENT


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """One probe of one client through a path; two that are alike are still two."""

    path: Path
    client: Client
    probe: Probe

    @property
    def ends(self) -> conntrack.Ends:
        return self.client.network.network_address, self.probe.destination


@dataclass(frozen=True, slots=True)
class Reading:
    """The rules with their counters, and the tracked flows, by family; None: not there, and not known.

    `sent` are the packets that each interface has sent.
    """

    tables: Mapping[Family, Table | None]
    entries: Mapping[Family, Tracking]
    sent: Mapping[str, int]

    def counters(self, path: Path) -> Counters:
        return counters.of_crossing(self.tables[path.family], path.crossing.label)

    def tracked(self, flow: Flow) -> Tracked:
        known = self.entries[flow.path.family]
        return None if known is None else conntrack.of_probe(known.get(flow.ends, ()), flow.probe)


async def read(gateway: Host, tables: Mapping[Family, RuleTable], flows: Sequence[Flow]) -> Reading:
    """Read a gateway; `tables` are its own rules as they should be, for each family of the flows."""
    rules = {family: counters.question(table) for family, table in tables.items()}
    tracked = {
        family: conntrack.question(family, [flow.ends for flow in flows if flow.path.family is family])
        for family in tables
    }
    said = await put(gateway, [*rules.values(), *tracked.values(), SENT])
    return Reading(
        {family: said[question] for family, question in rules.items()},
        {family: said[question] for family, question in tracked.items()},
        said[SENT],
    )
