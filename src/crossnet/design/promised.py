"""The probes that a spec names, and what surely stops them: then an apply would be rolled back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product

from crossnet.design.foresight import Obstacle, obstacles
from crossnet.design.impacts import Impact
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.path import Path
from crossnet.several import few
from crossnet.values import Probe, Protocol, family_of

# Flows of one crossing that are walked, each for itself: one takes about 10 ms where the hosts have few rules.
MOST_FLOWS = 8
# Of these, the ones that are told.
MOST_TOLD = 3


def probes_stopped(
    paths: Sequence[Path],
    facts: Mapping[str, Facts],
    impacts: Sequence[Impact],
    stopped: Sequence[Refusal],
) -> Iterator[Impact]:
    """What of the spec's own probes would not pass, on hosts that are as the plan makes them.

    `stopped` are the crossings of which nothing passes at all: that is told already.
    """
    for path in paths:
        name = path.crossing.name
        refused = any(refusal.where == f"crossing {name}" for refusal in stopped)
        probes = [each for each in path.crossing.probes if family_of(each.destination) is path.family]
        clients = [client.host for client in path.clients if client.host is not None]
        told = [
            f"{probe}: {path.gateway} itself has that address, and forwards nothing"
            for probe in probes
            if clients and facts[path.gateway].owner_of(probe.destination) is not None
        ]
        # Where others do nothing with its packets there is nothing to look for.
        if not refused and any(
            name in impact.crossings or impact.code == "src-route-other-next-hop" for impact in impacts
        ):
            told += [
                f"{client} → {probe}: {stop}"
                for client, probe in islice(product(clients, probes), MOST_FLOWS)
                for stop in islice(_stops(path, client, probe, facts), 1)
            ]
        if told:
            yield Impact(
                "probe-stopped",
                f"crossing {name}",
                "a probe that the spec names would not pass, so what an apply changes would be rolled back: "
                f"{few(told, MOST_TOLD)}",
            )


def _stops(path: Path, client: str, probe: Probe, facts: Mapping[str, Facts]) -> Iterator[Obstacle]:
    for each in obstacles(path, client, facts, probe):
        # Nobody waits for an answer to a datagram.
        if each.sure and not (each.on_the_way_back and probe.protocol is Protocol.UDP):
            yield each
