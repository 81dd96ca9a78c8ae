"""Hosts that a spec does not name, on which what it may take back stands: clients that left, hosts of other specs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from crossnet.errors import PlanRefused
from crossnet.facts import Facts
from crossnet.record import Record, read_record
from crossnet.several import joined as listed
from crossnet.spec import HostSpec, Spec
from crossnet.standing import Standing

Way = tuple[str | None, str | None, str | None, bool]


@dataclass(frozen=True, slots=True)
class Joining:
    """A host besides; `said` is by which hosts, each with the label of a crossing of which it says that it is there."""

    host: HostSpec
    said: frozenset[tuple[str, str]]

    def partners(self, facts: Facts) -> Iterator[tuple[str, HostSpec]]:
        """The other hosts of these crossings by its own record, each with who it would have to be.

        Whoever controls a host can write into its record whatever they like, but not into that of another one.
        """
        for one in self._standing(facts):
            for host in _besides(one):
                yield from ((name, host) for name, label in self.said if label == one.label)

    def why_not(self, facts: Facts) -> str:
        """Why its own record does not confirm what others say of it, where none of the partners is who said so."""
        lost = read_record(facts).lost
        machines = dict.fromkeys(
            one.stamp.source
            for one in self._standing(facts)
            if any(host.name != one.host and not one.means_the_same_here(host) for host in one.hosts)
        )
        if lost:
            return f"its own record {lost}"
        if machines:
            return f"its own names that host in a way that leads there from {listed([*machines])} alone"
        return "its own does not know that host"

    def _standing(self, facts: Facts) -> Iterator[Standing]:
        """Of the crossings of which others say that it has a part, those in its own record."""
        labels = {label for _, label in self.said}
        yield from (one for one in record_of(facts).crossings if one.label in labels)

    def is_confirmed(self, facts: Facts, hosts: Mapping[str, HostSpec]) -> bool:
        """Whether its own record names one of them by the same way, or a plan is refused for that record."""
        try:
            read_record(facts)
        except PlanRefused:
            return True
        return any(name in hosts and host.place == hosts[name].place for name, host in self.partners(facts))


def joining(spec: Spec, facts: Mapping[str, Facts], *, every_spec: bool = False) -> tuple[Joining, ...]:
    """The hosts besides, by the records of those that were asked: of the crossings that may end, or of all.

    One of a name that the spec has for another machine gets its way for a name.
    """
    ways = {_way(host) for host in spec.hosts}
    own = {one.name for one in spec.crossings}
    found: dict[Way, HostSpec] = {}
    said: dict[Way, set[tuple[str, str]]] = {}
    for host in spec.hosts:
        for standing in record_of(facts[host.name]).crossings if host.name in facts else ():
            is_own = standing.spec == spec.name and (spec.is_whole or standing.crossing in own)
            for each in _besides(standing) if is_own or every_spec else ():
                if _way(each) not in ways:
                    found[_way(each)] = each
                    said.setdefault(_way(each), set()).add((host.name, standing.label))
    names = {host.name for host in spec.hosts}
    joined = []
    for way, host in found.items():
        if host.name in names:
            host = replace(host, name=with_way(host))
        names.add(host.name)
        joined.append(Joining(host, frozenset(said[way])))
    return tuple(joined)


def out_of_reach(spec: Spec, facts: Mapping[str, Facts]) -> dict[str, str]:
    """The hosts of the spec's own crossings that another machine alone has a way to: where what they keep ends."""
    standing = [one for name in facts for one in record_of(facts[name]).crossings if one.spec == spec.name]
    asked = {(one.label, one.host) for one in standing}
    return {
        host.name: f"is {host.netns or host.lab or 'local'} of {one.stamp.source}, and cannot be asked from here: "
        f"`crossnet undo` there takes back what it keeps of {one.label}"
        for one in standing
        for host in one.hosts
        if not one.means_the_same_here(host) and (one.label, host.name) not in asked
    }


def with_way(host: HostSpec) -> str:
    """What it is called where its name alone is another one's."""
    return f"{host.name} ({host.ssh or host.netns or host.lab or 'local'})"


def _way(host: HostSpec) -> Way:
    return host.ssh, host.netns, host.lab, host.local


def same_machines(facts: Mapping[str, Facts], joined: Collection[str]) -> frozenset[str]:
    """Those of the joined that are hosts of the spec, or of each other, under another name."""
    known = {_machine(one) for name, one in facts.items() if name not in joined}
    again = set()
    for name in joined:
        if name in facts:
            again |= {name} if _machine(facts[name]) in known else set()
            known.add(_machine(facts[name]))
    return frozenset(again)


def is_same_machine(one: Facts, other: Facts) -> bool:
    """Whether both tell the same boot and network: no other machine knows those."""
    return bool(one.boot and one.network) and _machine(one) == _machine(other)


def _machine(facts: Facts) -> tuple[str, str] | str:
    return (facts.boot, facts.network) if facts.boot and facts.network else facts.host


def _besides(standing: Standing) -> Iterator[HostSpec]:
    """The other hosts of a crossing, where the way to them means the same from here."""
    yield from (
        host for host in standing.hosts if host.name != standing.host and standing.means_the_same_here(host)
    )


def record_of(facts: Facts) -> Record:
    """A host's record; an empty one where it cannot be read."""
    try:
        return read_record(facts)
    except PlanRefused:  # told when a plan is made
        return Record()
