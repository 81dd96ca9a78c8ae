"""A plan host by host: what is done there, in which order, and crossnet's record there on the way."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from crossnet.planning import HostPlan, Plan
from crossnet.record import Record
from crossnet.resources import Change, Phase
from crossnet.spec import HostSpec
from crossnet.transport.netns import ROOT
from crossnet.values import Address


@dataclass(frozen=True, slots=True)
class Work:
    """One host: its changes in the order in which they are made, and its record as the file holds it.

    `during` is the record while changes are made: everything that is crossnet's before or after, so that
    `crossnet undo` puts a host back on which only half was done. `addresses` are the host's own, of which it
    has at least one. A record is None where there is no file.
    """

    host: HostSpec
    changes: tuple[Change, ...]
    before: bytes | None
    during: bytes | None
    after: bytes | None
    addresses: tuple[Address, ...]

    @property
    def name(self) -> str:
        return self.host.name

    def locate(self, path: str) -> str:
        """Where the host keeps a file: a namespace keeps its own below a folder of the machine."""
        if self.host.netns is None:
            return path
        return str(ROOT / self.host.netns / PurePosixPath(path).relative_to("/"))


@dataclass(frozen=True, slots=True)
class ByHand:
    """What another participant, such as a cloud, changes for a host: nothing that runs on hosts does it."""

    host: str
    participant: str
    changes: tuple[Change, ...]

    @property
    def name(self) -> str:
        return f"{self.participant}, by hand"

    @property
    def there(self) -> tuple[str, ...]:
        """What is typed."""
        return tuple(line for change in self.changes for line in change.typed)

    @property
    def back(self) -> tuple[str, ...]:
        """What takes it back."""
        return tuple(line for change in reversed(self.changes) for line in change.inverse().typed)


def in_order(plan: Plan, todo: Sequence[Work]) -> tuple[Work | ByHand, ...]:
    """These hosts and what is changed for them by hand, in the order of `apply`."""
    left = {work.name: work for work in todo}
    names = set(left)
    found: list[Work | ByHand] = []
    # What guards the change itself is made ahead of all, and lets nothing through.
    for host, change in (one for one in plan.live() if one[1].resource.phase is not Phase.GUARD):
        last = found[-1] if found else None
        where = change.resource.changed_by
        if not where and host in left:
            found.append(left.pop(host))
        elif where and host in names:
            if isinstance(last, ByHand) and (last.host, last.participant) == (host, where):
                found[-1] = replace(last, changes=(*last.changes, change))
            else:
                found.append(ByHand(host, where, (change,)))
    return (*found, *left.values())


def by_hand(steps: Sequence[Work | ByHand], hosts: Collection[str]) -> Iterator[str]:
    """What is changed by hand for these hosts, and by which commands, with a blank line; nothing where nothing is."""
    own = [
        (number, step)
        for number, step in enumerate(steps, 1)
        if isinstance(step, ByHand) and step.host in hosts
    ]
    if not own:
        return
    where = ", ".join(dict.fromkeys(step.participant for _, step in own))
    whose = ", ".join(dict.fromkeys(step.host for _, step in own))
    yield f"Not in here: what {where} has to change for {whose}. crossnet's own record says that it is done."
    yield "Type it where `openstack` has credentials for it, in the order below:"
    for number, step in own:
        yield f"  {number}. {step.name}"
        yield from (f"     {line}" for line in step.there)
    for number, step in reversed(own):
        yield f"  {number}. back"
        yield from (f"     {line}" for line in step.back)
    yield ""


def works(plan: Plan) -> tuple[Work, ...]:
    """The hosts on which something changes, in the order of their first change.

    That is the order of `apply`: what is added begins with the gateways, so that traffic is attracted last;
    a gateway that only loses something comes after its clients.
    """
    ordered = [item for item in (*plan.live(), *plan.persistent()) if not item[1].resource.changed_by]
    names = dict.fromkeys((*(name for name, _ in ordered), *plan.touched))
    hosts = {host.host: host for host in plan.hosts}
    return tuple(_work(plan, hosts[name], [one for at, one in ordered if at == name]) for name in names)


def _work(plan: Plan, host: HostPlan, changes: Iterable[Change]) -> Work:
    own = {owned.applied.identity for owned in host.after.owned}
    leaving = tuple(owned for owned in host.before.owned if owned.identity not in own)
    crossings = tuple(dict.fromkeys((*host.before.crossings, *host.after.crossings)))
    during = Record(crossings, (*host.after.owned, *leaving), host.before.rebuilt, adopted=host.after.adopted)
    return Work(
        plan.spec.host(host.host),
        tuple(changes),
        _file(host.before),
        _file(during),
        _file(host.after),
        tuple(dict.fromkeys(_addresses(plan, host.host))),
    )


def _file(record: Record) -> bytes | None:
    return record.to_json() if not record.is_empty and not record.lost else None


def _addresses(plan: Plan, host: str) -> Iterable[Address]:
    for path in plan.paths:
        if path.gateway == host:
            yield from path.next_hops
            yield from path.leg.translation.addresses
        for client in path.clients:
            if client.host == host:
                yield client.network.network_address
