"""Whether a gateway forwards for everybody, although it was to have a fence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from crossnet.design.conflicts import gateway_settings
from crossnet.design.fence import stands
from crossnet.design.settings import forwarded_before
from crossnet.errors import PlanRefused
from crossnet.facts import Facts
from crossnet.facts.routes import default_network
from crossnet.facts.sysctls import FORWARDING, forward_alone, forwards, interface_setting
from crossnet.opening import most_looked_at
from crossnet.record import Record, read_record
from crossnet.resources import RuleTable, Sysctl
from crossnet.spec import Crossing, Fence, Spec
from crossnet.transaction.journal import ROLLBACK, Journal, unfinished
from crossnet.values import Family, Network, without


@dataclass(frozen=True, slots=True)
class Exposure:
    """A gateway that is open for everybody in one family; `interfaces` are those from which something passes."""

    gateway: str
    family: Family
    interfaces: tuple[str, ...]
    settings: tuple[str, ...]  # what is to be 0, so that nothing passes any more
    mendable: bool = True  # whether an apply would go through
    wanted: bool = True  # whether the spec still asks for the fence, so that an apply brings it back

    def __str__(self) -> str:
        label, off = self.family.label, " ".join(f"{each}=0" for each in self.settings)
        until = "" if self.mendable else " once nothing of what follows refuses it"
        back = f"`crossnet apply` brings the fence back{until}; " if self.wanted else ""
        return (
            f"{self.gateway} is open for everybody: its fence for {label} is gone, and it forwards what comes in by "
            f"{', '.join(self.interfaces)}. {back}`sysctl -w {off}` on {self.gateway} closes it at once"
        )


def exposures(spec: Spec, facts: Facts, record: Record) -> Iterator[Exposure]:
    """In which families a gateway is open; none where nothing of crossnet is there, or what was applied has no fence.

    Where the record is lost, and the rules with it, nothing tells which crossings were applied: all may be.
    """
    own = [one for one in spec.crossings if one.via == facts.host]
    begun = unfinished(facts)
    made = begun.crossings if begun and begun.decision != ROLLBACK else ()
    asked = [one for one in own if record.lost or one.label in made]
    labels = {one.label for one in asked}
    stand = (each for one in record.crossings if one.label not in labels for each in one.carried[:1])
    if crossings := [*asked, *(each.crossing for each in stand)]:
        wanted = bool(own) and gateway_settings(own).fence is not Fence.OFF
        for each in _exposures(crossings, facts, record, begun):
            yield replace(each, wanted=wanted)


def exposures_of(facts: Facts) -> Iterator[Exposure]:
    """The same by what was applied there, whatever a spec says; none of a host whose record tells nothing."""
    try:
        record = read_record(facts)
    except PlanRefused:
        return
    if carried := [each.crossing for one in record.crossings for each in one.carried[:1]]:
        yield from _exposures(carried, facts, record)


def _exposures(
    crossings: Sequence[Crossing], facts: Facts, record: Record, begun: Journal | None = None
) -> Iterator[Exposure]:
    fence = gateway_settings(crossings).fence
    for family in Family:
        is_begun = begun is not None and _switches_on(begun, family)
        is_ours = (
            is_begun
            or record.find(Sysctl(FORWARDING[family], "1"))
            or any(
                isinstance(owned.applied, RuleTable) and owned.applied.family is family
                for owned in record.owned
            )
        )
        wanted = fence is Fence.ON or (
            fence is Fence.AUTO and (is_begun or not forwarded_before(facts, record, family))
        )
        interfaces = tuple(_forwarding(facts, family))
        is_gone = is_ours and wanted and interfaces and not stands(facts, family, interfaces)
        if is_gone and (passing := tuple(_passing(facts, family, interfaces, record))):
            yield Exposure(facts.host, family, passing, _closing(facts, family, interfaces))


def _closing(facts: Facts, family: Family, interfaces: Sequence[str]) -> tuple[str, ...]:
    """The settings that end it: that of the host; for IPv4, which takes no 0 that is there already, those that are on.

    For IPv6 it ends also what interfaces forward by themselves, whatever it was (measured with 6.18).
    """
    if family is Family.V4 and (alone := forward_alone(facts.sysctls, family, interfaces)):
        return tuple(interface_setting(4, name, "forwarding") for name in alone)
    return (FORWARDING[family],)


def _passing(facts: Facts, family: Family, interfaces: Sequence[str], record: Record) -> Iterator[str]:
    """Those from which anything goes on that others send there than the clients of crossings.

    Rules of others may stop it, or let pass nobody but them. Of more interfaces and rules than are looked at it passes.
    """
    from crossnet.reach.transit import open_from

    everybody = [default_network(family)]
    clients: dict[str, list[Network]] = {name: [] for name in interfaces}
    for path in (each for one in record.crossings for each in one.carried):
        own = [client.network for client in path.clients]
        others = [each.destination for each in facts.routes if each.device != path.ingress]
        there = without(own, (each for each in others if each.prefixlen))
        for name in interfaces:
            clients[name] += own if name == path.ingress else there
    most = most_looked_at(facts)
    # Where everybody is a client, nobody else is left.
    senders = {name: without(everybody, clients[name]) or everybody for name in interfaces[:most]}
    yield from open_from(facts, family, senders)
    yield from interfaces[most:]


def _switches_on(begun: Journal, family: Family) -> bool:
    """Whether a transaction that is open has switched forwarding on; what it was before stands in its journal only."""
    return any(
        isinstance(one.resource, Sysctl)
        and one.resource == Sysctl(FORWARDING[family], "1")
        and one.before is not None
        and Sysctl.decode(one.before).value == "0"
        for one in begun.entries[: begun.made]
    )


def _forwarding(facts: Facts, family: Family) -> Iterator[str]:
    """The interfaces whose packets go on."""
    for link in facts.links:
        if link.name != "lo" and forwards(facts.sysctls, family, link.name):
            yield link.name
