"""Hosts that a spec does not name, on which what it may take back stands: clients that left, hosts of other specs."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator, Mapping

from crossnet.errors import PlanRefused
from crossnet.facts import Facts
from crossnet.record import Record, read_record
from crossnet.spec import HostSpec, Spec
from crossnet.standing import Standing


def joining(spec: Spec, facts: Mapping[str, Facts], *, every_spec: bool = False) -> tuple[HostSpec, ...]:
    """The hosts besides, by the records of those that were asked: of the spec's own crossings, or of all."""
    named = {host.name for host in spec.hosts}
    found: dict[str, HostSpec] = {}
    for one in facts.values():
        for standing in _record(one).crossings:
            if standing.spec == spec.name or every_spec:
                found |= {host.name: host for host in _besides(standing)}
    return tuple(host for name, host in found.items() if name not in named)


def same_machines(facts: Mapping[str, Facts], joined: Collection[str]) -> frozenset[str]:
    """Those of the joined that are hosts of the spec under another name."""
    known = {_machine(one) for name, one in facts.items() if name not in joined}
    return frozenset(name for name in joined if name in facts and _machine(facts[name]) in known)


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


def _record(facts: Facts) -> Record:
    try:
        return read_record(facts)
    except PlanRefused:  # told when a plan is made
        return Record()
