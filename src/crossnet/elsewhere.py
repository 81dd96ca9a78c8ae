"""What stands for a crossing under another name, in another spec, or by another gateway."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from crossnet.errors import PlanRefused
from crossnet.facts import Facts
from crossnet.record import read_record
from crossnet.spec import Crossing, HostSpec, Spec
from crossnet.standing import Standing
from crossnet.transaction.journal import unfinished


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Under which other name, or by which other gateway, what a crossing asks for is applied."""

    label: str
    words: str


def elsewhere(crossing: Crossing, spec: Spec, facts: Mapping[str, Facts]) -> Elsewhere | None:
    """What stands for a crossing that is not applied itself."""
    for one in standing_on(facts, [host for host in facts if crossing.touches(host)]):
        if one.label == crossing.label and (gateway := _another_gateway(one, crossing, spec, facts)):
            return Elsewhere(
                one.label, f"applied by way of {gateway}: `crossnet apply` moves it to {crossing.via}"
            )
        if one.label == crossing.label or one.gateway != one.host or not _is_alike(one, crossing, spec):
            continue
        by = f"applied by {one.stamp.who} at {one.stamp.when}"
        if one.spec != spec.name:
            takes = ": `crossnet apply` takes it over" if one.is_need_of(crossing, spec.hosts) else ""
            return Elsewhere(one.label, f"stands as {one.crossing} of spec {one.spec}, {by}{takes}")
        if spec.is_whole and all(one.crossing != each.name for each in spec.crossings):
            is_same = one.is_need_of(replace(crossing, name=one.crossing), spec.hosts)
            renames = ": `crossnet apply` gives it the new name" if is_same else ""
            return Elsewhere(one.label, f"stands as {one.crossing}, {by}{renames}")
    return None


def _another_gateway(standing: Standing, crossing: Crossing, spec: Spec, facts: Mapping[str, Facts]) -> str:
    """By what it stands where that is not the gateway of a crossing: its name in this spec, or the one it had."""
    machine = _machine(standing.gateway, standing.hosts)
    named = (host.name for host in spec.hosts if _machine(host.name, spec.hosts) == machine)
    name = next(named, None)
    if name is None and standing.gateway == crossing.via and isinstance(machine, HostSpec):
        # Reached in another way it may be the same one: who sends to it finds it at the address that it had.
        hops = [hop for path in standing.paths for hop in path.next_hops]
        is_same = crossing.via in facts and any(facts[crossing.via].owner_of(hop) for hop in hops)
        return "" if is_same else f"another machine called {crossing.via}"
    name = name or standing.gateway
    return name if name != crossing.via else ""


def _machine(name: object, hosts: Iterable[HostSpec]) -> object:
    """What a name stands for: one host of two specs is reached in the same way."""
    return next((replace(host, name="", become=False) for host in hosts if host.name == name), name)


def _is_alike(standing: Standing, crossing: Crossing, spec: Spec) -> bool:
    """Whether it lets pass what a crossing asks for, under whatever names."""
    there = {
        _machine(each.host or each.network, standing.hosts) for one in standing.paths for each in one.clients
    }
    return (
        {_machine(each, spec.hosts) for each in crossing.clients} <= there
        and {network for one in standing.paths for network in one.destinations} == set(crossing.to)
        and all(one.crossing.allow == crossing.allow for one in standing.paths)
    )


def standing_on(facts: Mapping[str, Facts], hosts: Iterable[str]) -> Iterator[Standing]:
    """What stands on hosts by their records; what a transaction is changing there is left to its own words."""
    for host in hosts:
        if unfinished(facts[host]):
            continue
        try:
            record = read_record(facts[host])
        except PlanRefused:
            continue
        yield from (one for one in record.crossings if one.is_known)
