"""What hosts carry: crossings as they stand, who applied them, and what stays where nobody is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from crossnet.openstack.entry import command
from crossnet.path import Path
from crossnet.record import Record, shown
from crossnet.several import first_of
from crossnet.show.paint import Paint, plain
from crossnet.show.visible import one_line
from crossnet.spec import Persist, PortSecurity, Routes, Spec
from crossnet.standing import Stamp, Standing
from crossnet.values import show_moment, show_network

if TYPE_CHECKING:
    from crossnet.api import UndoPlan


def kept_text(one: Standing) -> str:
    """A crossing that stands, and who applied it."""
    return f"{named(one)}{_until(one)}, applied by {_who(one.stamp)}"


def _until(one: Standing) -> str:
    return f" until {show_moment(one.until)}" if one.until is not None else ""


def named(one: Standing) -> str:
    return f"crossing {one.crossing} of spec {one.spec}"


def _who(stamp: Stamp) -> str:
    """`ops from desk, 2026-11-28T09:00:00Z: CHG0012345`, as far as that is known."""
    source = f" from {stamp.source}" if stamp.source else ""
    said = f": {stamp.message}" if stamp.message else ""
    return one_line(
        f"{stamp.who or 'an unknown user'}{source}{f', {stamp.when}' if stamp.when else ''}{said}"
    )


def carried_text(found: Mapping[str, Record], *, paint: Paint = plain) -> str:
    """What hosts carry, by their own records."""
    lines: list[str] = []
    for host, record in found.items():
        lines += [paint(host, "bold") if record.crossings else f"{host}: carries no crossing"]
        if record.lost:
            lines.append(f"  its record {one_line(record.lost)}")
        for one in record.crossings:
            role = "gateway" if one.carried else "client" if one.paths else "what it needs is not known"
            lines.append(f"  {one_line(named(one) if one.spec else f'crossing {one.crossing}')}  ({role})")
            lines += [f"    {one_line(_way(each))}" for each in one.paths]
            if one.until is not None:
                lines.append(f"   {_until(one)}, then the host takes it back itself")
            lines.append(f"    applied by {_who(one.stamp)}")
            if one.taken_from:
                lines.append(f"    taken over from {one_line(one.taken_from)}")
        if record.owned and not record.crossings:
            lines.append(f"  {one_line(_of_nobody(record) if record.lost else left_over(record))}")
    return "\n".join(lines)


def left_over(record: Record) -> str:
    """What stays on a host after the last of its crossings, as a host leaves it that took that back itself."""
    made = shown([owned.applied for owned in record.owned if not owned.applied.is_persistent])
    return f"what the last one left: {made}; the next apply or undo of a spec with this host removes it"


def _of_nobody(record: Record) -> str:
    """What crossnet made on a host of whose crossings nothing tells."""
    made = shown([owned.applied for owned in record.owned if not owned.applied.is_persistent])
    return (
        f"what crossnet made there, for which crossing is not known: {made}; `crossnet apply` of the spec that needs "
        "it makes the record anew, `crossnet undo` removes it"
    )


def _way(path: Path) -> str:
    allow = path.crossing.allow
    traffic = "any traffic" if allow is None else ", ".join(map(str, allow))
    return f"{str(path).partition(': ')[2]}: {traffic}"


def forgotten_text(spec: Spec, host: str, made: UndoPlan) -> str:
    """What stays on a host that is not asked."""
    stays, lines = staying_on(host, made), []
    if stays:
        lines.append(f"{host} is not contacted. Should it come back, it still has what crossnet made there:")
        lines += [f"  {line}" for line in stays]
    if any(one.name == host for one in spec.hosts):
        lines.append(f"Take {host} out of the spec, or the next apply contacts it again.")
    return "\n".join(lines)


def staying_on(host: str, made: UndoPlan) -> list[str]:
    """What stays there of the crossings that are taken back without asking the host, by the records of the others."""
    there = [
        one
        for each in made.plan.hosts
        for one in each.before.crossings
        if not one.same_as(each.after.standing(one.label))
    ]
    return list(dict.fromkeys(one_line(line) for one in there for line in _stays(one, host)))


def _stays_at_cloud(one: Standing) -> Iterator[str]:
    """What a cloud may hold for its gateway: only the gateway's own record tells at which port, or subnet."""
    crossings = {path.crossing.cloud: path for path in one.paths if path.crossing.cloud}
    for cloud, path in crossings.items():
        if path.crossing.port_security is not PortSecurity.LEAVE:
            found = command(cloud, "port", "list", "--fixed-ip", f"ip-address={path.next_hops[0]}")
            yield (
                f"{named(one)}: what crossnet opened in cloud {cloud} at its port, which is nobody's to close then: "
                f"`{found}` finds it; take its pairs for the destinations away, and the security group `crossnet-` and "
                "its id"
            )
        if path.crossing.routes is Routes.NEUTRON:
            yield (
                f"{named(one)}: the host_routes by {path.next_hops[0]} that a subnet in cloud {cloud} offers: "
                f"`{command(cloud, 'subnet', 'list', '--long')}` shows them"
            )


def _stays(one: Standing, host: str) -> Iterator[str]:
    """What stands of a crossing on a host, by the record of another, which does not know all of it."""
    lasts = any(path.crossing.persist is not Persist.NONE for path in one.paths)
    boot = ", and what was written for its next boot" if lasts else ""
    if host == one.gateway:
        yield f"{named(one)}: its rules and forwarding{boot}"
        yield from _stays_at_cloud(one)
    for path in one.paths:
        for client in path.clients:
            if client.host == host:
                to = first_of([show_network(network) for network in path.destinations])
                yield f"{named(one)}: its route to {to} via {client.next_hop}{boot}"
