"""Hosts that a spec does not name, on which what it may take back stands: clients that left, hosts of other specs."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from crossnet.errors import PlanRefused
from crossnet.facts import Facts
from crossnet.record import Record, read_record
from crossnet.spec import HostSpec, Spec
from crossnet.standing import Standing

Way = tuple[str | None, str | None, str | None, bool]


@dataclass(frozen=True, slots=True)
class Joining:
    """A host besides, and which hosts say of which crossing that it stands there too: label and way to each."""

    host: HostSpec
    said: frozenset[tuple[str, Way]]

    def is_confirmed(self, facts: Facts) -> bool:
        """Whether its own record names one of these hosts for that crossing.

        Whoever controls a host can write into its record whatever they like, but not into that of another one.
        """
        own = record_of(facts).crossings
        return any((one.label, _place(each)) in self.said for one in own for each in one.hosts)


def joining(spec: Spec, facts: Mapping[str, Facts], *, every_spec: bool = False) -> tuple[Joining, ...]:
    """The hosts besides, by the records of those that were asked: of the crossings that may end, or of all.

    One of a name that the spec has for another machine gets its way for a name.
    """
    ways = {_way(host) for host in spec.hosts}
    own = {one.name for one in spec.crossings}
    found: dict[Way, HostSpec] = {}
    said: dict[Way, set[tuple[str, Way]]] = {}
    for host in spec.hosts:
        for standing in record_of(facts[host.name]).crossings if host.name in facts else ():
            is_own = standing.spec == spec.name and (spec.is_whole or standing.crossing in own)
            for each in _besides(standing) if is_own or every_spec else ():
                if _way(each) not in ways:
                    found[_way(each)] = each
                    said.setdefault(_way(each), set()).add((standing.label, _place(host)))
    names = {host.name for host in spec.hosts}
    joined = []
    for way, host in found.items():
        if host.name in names:
            host = replace(host, name=f"{host.name} ({host.ssh or host.netns or host.lab or 'local'})")
        names.add(host.name)
        joined.append(Joining(host, frozenset(said[way])))
    return tuple(joined)


def _way(host: HostSpec) -> Way:
    return host.ssh, host.netns, host.lab, host.local


def _place(host: HostSpec) -> Way:
    """The way to it, as whoever."""
    ssh = host.ssh.removeprefix("ssh://").rpartition("@")[2] if host.ssh is not None else None
    return ssh, host.netns, host.lab, host.local


def same_machines(facts: Mapping[str, Facts], joined: Collection[str]) -> frozenset[str]:
    """Those of the joined that are hosts of the spec, or of each other, under another name."""
    known = {_machine(one) for name, one in facts.items() if name not in joined}
    again = set()
    for name in joined:
        if name in facts:
            again |= {name} if _machine(facts[name]) in known else set()
            known.add(_machine(facts[name]))
    return frozenset(again)


def _machine(facts: Facts) -> tuple[str, str] | str:
    return (facts.boot, facts.network) if facts.boot and facts.network else facts.host


def _besides(standing: Standing) -> Iterator[HostSpec]:
    """The other hosts of a crossing, where the way to them means the same from here.

    A namespace, or `local`, is one of the machine that it was applied from.
    """
    here = standing.stamp.source == socket.gethostname()
    yield from (
        host for host in standing.hosts if host.name != standing.host and (host.ssh is not None or here)
    )


def record_of(facts: Facts) -> Record:
    """A host's record; an empty one where it cannot be read."""
    try:
        return read_record(facts)
    except PlanRefused:  # told when a plan is made
        return Record()
