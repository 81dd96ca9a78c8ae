"""What hosts count and remember at one moment: taken before the probes and after them, and compared."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossnet.diagnosis.counters import Moved, moved, read
from crossnet.errors import HostError
from crossnet.facts.question import put
from crossnet.transport import Host
from crossnet.values import Address, Probe
from crossnet.verification.conntrack import Entry, fresh, of_probe, question_to


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counters of hosts, and what connection tracking of the gateways knows of flows to a destination."""

    counters: Mapping[str, Mapping[str, int]]
    entries: Mapping[str, Sequence[Entry]]

    def moved_since(self, before: Snapshot) -> Mapping[str, tuple[Moved, ...]]:
        """The counters of each host that rose."""
        return {
            name: found
            for name, each in self.counters.items()
            if (found := moved(before.counters.get(name, {}), each))
        }

    def made_since(self, before: Snapshot, probe: Probe) -> Mapping[str, tuple[Entry, ...]]:
        """The entries that a flow's probes made on each gateway."""
        return {
            name: of_probe(fresh(tuple(before.entries.get(name, ())), [tuple(entries)]) or (), probe)
            for name, entries in self.entries.items()
        }

    def untranslated(self, probe: Probe, source: Address | None) -> Mapping[str, tuple[Entry, ...]]:
        """The entries of a client's flows, those of earlier ones too, that keep its own address."""
        return {
            name: tuple(
                entry
                for entry in of_probe(entries, probe)
                if entry.source == source and entry.reply_to == source
            )
            for name, entries in self.entries.items()
        }


async def snapshot(hosts: Mapping[str, Host], gateways: Sequence[str], destination: Address) -> Snapshot:
    """One of all hosts; what cannot be read is not in it."""
    counted, remembered = await asyncio.gather(_counters(hosts), _entries(hosts, gateways, destination))
    return Snapshot(counted, remembered)


async def _counters(hosts: Mapping[str, Host]) -> Mapping[str, Mapping[str, int]]:
    found = await asyncio.gather(*(read(host) for host in hosts.values()))
    return dict(zip(hosts, found, strict=True))


async def _entries(
    hosts: Mapping[str, Host], gateways: Sequence[str], destination: Address
) -> Mapping[str, Sequence[Entry]]:
    asked = question_to(destination)

    async def of(name: str) -> Sequence[Entry]:
        try:
            said = (await put(hosts[name], [asked]))[asked]
        except HostError:
            return ()
        return [entry for entries in (said or {}).values() for entry in entries]

    names = [name for name in gateways if name in hosts]
    return dict(zip(names, await asyncio.gather(*map(of, names)), strict=True))
