"""The way on which crossnet itself works on a host, and the changes that touch it.

Such a change is allowed, because only the host can tell whether it still answers afterwards: it is marked in
the plan, made last, and the guard on the host takes it back when nobody gets through any more.

What is known is what the hosts say of an SSH connection: from which address it comes (`Facts.controller`) and
on which of their own it arrives (`Facts.reached_at`). A host of the lab, of a namespace or this machine is
reached without a network, and has no such way. What cannot be known is taken as touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from crossnet.design.question import devices_of
from crossnet.facts import Facts
from crossnet.facts.routes import matching
from crossnet.facts.sysctls import forwards, is_forwarding
from crossnet.spec import Spec
from crossnet.values import Address, Family, family_of, host_network


@dataclass(frozen=True, slots=True)
class ManagementPath:
    """How crossnet reaches one host over SSH: from `controller`, as the host sees it, to one of `addresses`.

    `controller` is None where the host does not tell. The rest are managed hosts on the way:

    - `forwarders`: their forwarding carries it, because a route of the way points to an address of theirs;
    - `holders`: the controller's address is theirs. crossnet runs there, or it is a jump host, or it
      translates what comes from crossnet. As that last one cannot be told from the others, a holder that
      forwards today is a forwarder as well, except where crossnet is known to run;
    - `perhaps`: they forward today and stand between both ends, and nobody knows how the packets from the
      controller come in.
    """

    host: str
    controller: Address | None
    addresses: tuple[Address, ...]
    forwarders: frozenset[str] = frozenset()
    holders: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.host} from {self.controller}" if self.controller else self.host

    @property
    def through(self) -> frozenset[str]:
        """The managed hosts without which crossnet would not reach this one."""
        return self.forwarders | self.holders

    def may_pass(self, host: str) -> bool:
        return host == self.host or host in self.through or host in self.perhaps

    def looked_up_on(self, host: str) -> tuple[Address, ...]:
        """The addresses of the way whose route on `host` decides about it."""
        if self.controller is None:
            return ()
        back = (self.controller,) if host == self.host or host in self.forwarders else ()
        return (*back, *(self.addresses if host in self.through else ()))


def management_paths(spec: Spec, facts: Mapping[str, Facts]) -> tuple[ManagementPath, ...]:
    """The way to each host that crossnet reaches over SSH."""
    owners: dict[Address, set[str]] = {}
    for name, one in facts.items():
        for link in one.links:
            for item in link.addresses:
                owners.setdefault(item.address, set()).add(name)
    forwarding = {
        family: frozenset(name for name, one in facts.items() if _forwards(one, family)) for family in Family
    }
    local = frozenset(host.name for host in spec.hosts if host.local)
    over_ssh = {host.name for host in spec.hosts if host.ssh is not None}
    among = _Hosts(facts, owners, forwarding, local)
    return tuple(
        among.path(one) for name, one in facts.items() if one.controller is not None or name in over_ssh
    )


@dataclass(frozen=True, slots=True)
class _Hosts:
    """All managed hosts: whose an address is, who forwards today, and where crossnet runs without SSH."""

    facts: Mapping[str, Facts]
    owners: Mapping[Address, set[str]]
    forwarding: Mapping[Family, frozenset[str]]
    local: frozenset[str]

    def path(self, here: Facts) -> ManagementPath:
        controller = here.controller
        if controller is None:
            return ManagementPath(here.host, None, ())
        family = family_of(controller)
        own = tuple(item.address for link in here.links for item in link.of(family))
        addresses = (here.reached_at,) if here.reached_at else own
        holders = frozenset(self.owners.get(controller, ())) - {here.host}
        passed = self.passed(here.host, controller).union(
            *(self.passed(holder, address) for holder in holders for address in addresses)
        )
        translating = (holders & self.forwarding[family]) - self.local
        forwarders = (passed - holders - {here.host}) | translating
        perhaps = self.between(controller, addresses) - forwarders - holders - {here.host}
        return ManagementPath(here.host, controller, addresses, forwarders, holders, perhaps)

    def passed(self, start: str, target: Address) -> frozenset[str]:
        """The hosts that packets from `start` to `target` pass, by the main tables."""
        passed: set[str] = set()
        todo = [start]
        while todo:
            here = self.facts[todo.pop()]
            if here.owner_of(target):
                continue
            for route in matching(here.routes, host_network(target)):
                for via in (route.via, *(hop.via for hop in route.hops)):
                    new = self.owners.get(via, set()) - passed - {start} if via else set()
                    passed |= new
                    todo += new
        return frozenset(passed)

    def between(self, controller: Address, addresses: Sequence[Address]) -> frozenset[str]:
        """Those that forward, stand on the network of the addresses and reach the controller elsewhere."""
        found = set()
        for name in self.forwarding[family_of(controller)]:
            links, routes = self.facts[name].links, self.facts[name].routes
            near = {link.name for link in links if any(link.on_link(address) for address in addresses)}
            if near and devices_of(matching(routes, host_network(controller))) - near:
                found.add(name)
        return frozenset(found)


def _forwards(facts: Facts, family: Family) -> bool:
    by_interface = any(forwards(facts.sysctls, family, link.name) for link in facts.links)
    return by_interface or any(
        value != "0" and is_forwarding(name, family) for name, value in facts.sysctls.items()
    )


def far_side_first(names: Iterable[str], paths: Iterable[ManagementPath]) -> tuple[tuple[str, ...], ...]:
    """The hosts in groups, such that none is reached through a host of its own or an earlier group.

    Where the facts go in circles (two hosts with one address, say) those left over are one last group.
    """
    through = {path.host: set(path.through) for path in paths}
    left = list(names)
    groups: list[tuple[str, ...]] = []
    while left:
        needed = set().union(*(through.get(name, set()) - {name} for name in left))
        group = tuple(name for name in left if name not in needed) or tuple(left)
        groups.append(group)
        left = [name for name in left if name not in group]
    return tuple(groups)
