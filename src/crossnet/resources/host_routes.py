"""Routes that a subnet of a cloud offers to its machines with their leases (DHCP option 121), for crossnet.

What others have a subnet offer is no part of it: it is neither changed nor put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from crossnet.facts import Facts
from crossnet.openstack.entry import command
from crossnet.openstack.ports import HostRoute, Sought, Subnet
from crossnet.openstack.typed import host_route_words
from crossnet.resources.at_cloud import AtCloud, cloud_of
from crossnet.resources.resource import Lingering, Resource
from crossnet.several import few

MOST = 4  # routes that a line names


@dataclass(frozen=True, slots=True)
class HostRoutes(AtCloud):
    """What a subnet offers for crossnet: `routes` are its own, `given` those that others had it offer already.

    `applied` is it as crossnet applied it last.
    """

    kind: ClassVar[str] = "host_routes"
    rank: ClassVar[int] = 7  # traffic is attracted when all of the gateway is open
    subnet: str
    name: str
    offers: tuple[HostRoute, ...] = ()
    given: tuple[HostRoute, ...] = ()
    project: str = ""  # that of the subnet
    applied: HostRoutes | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> str:
        return self.subnet

    @property
    def sought(self) -> Sought:
        return Sought(subnets=frozenset((self.subnet,)))

    def knowing(self, before: Resource | None, facts: Facts) -> Self:
        applied = before if isinstance(before, HostRoutes) else None
        subnet = self._subnet(facts)
        if subnet is None:
            return replace(self, applied=applied)
        own = frozenset(applied.offers) if applied else frozenset()
        wanted = (*self.offers, *self.given)
        given = tuple(each for each in wanted if each in subnet.routes and each not in own)
        return replace(
            self,
            applied=applied,
            offers=tuple(each for each in wanted if each not in given),
            given=given,
        )

    def current(self, facts: Facts) -> Self | None:
        subnet = self._subnet(facts)
        if subnet is None:
            return None
        own = (*self.offers, *(self.applied.offers if self.applied else ()))
        now = replace(
            self,
            offers=tuple(each for each in dict.fromkeys(own) if each in subnet.routes),
            given=tuple(each for each in self.given if each in subnet.routes),
            applied=None,
        )
        return now if now.offers or now.given else None

    def ours(self, facts: Facts) -> Self | None:
        now = self.current(facts)
        return now if now is not None and now.offers else None

    def satisfied_by(self, have: Self) -> bool:
        return _content(self) == _content(have)

    def has_place(self, facts: Facts) -> bool:
        return self._subnet(facts) is not None

    def without(self, facts: Facts) -> tuple[str, ...]:
        if self._subnet(facts) is not None:
            return ()
        if why := self.untold(facts):
            return (why,)
        return (f"the subnet {self.name} is no more in cloud {self.cloud}",)

    def untold(self, facts: Facts) -> str:
        cloud = cloud_of(facts, self.cloud)
        if self._subnet(facts) is not None:
            return ""
        if cloud.would_see(self.project):
            return ""
        return (
            f"subnet {self.name} in cloud {self.cloud} is not seen, and cannot be told from one that was deleted: it "
            f"is of project {self.project or 'not recorded'}, the credentials of {cloud.project or 'another'}. What it "
            "offers for crossnet stays, and stays recorded: do this again with credentials that see it, or of an "
            "administrator"
        )

    def differences(self, now: Self | None) -> tuple[str, ...]:
        there = _content(now)[1] if now is not None else frozenset()
        lost = [str(each) for each in (*self.offers, *self.given) if each not in there]
        return (f"subnet {self.name}: it does not offer {few(lost, MOST)} any more",)

    @classmethod
    def describe(cls, have: Self | None, want: Self | None) -> str:
        side = want or have
        assert side is not None, "a change has at least one side"
        return f"subnet {side.name}: {'; '.join(_told(have, want))}"

    @classmethod
    def typed(cls, have: Self | None, want: Self | None) -> tuple[str, ...]:
        side = want or have
        assert side is not None, "a change has at least one side"
        before, after = (one.offers if one else () for one in (have, want))
        ways = (
            ("set", [each for each in after if each not in before]),
            ("unset", [each for each in before if each not in after]),
        )
        return tuple(
            command(side.cloud, "subnet", verb, *host_route_words(routes), side.subnet)
            for verb, routes in ways
            if routes
        )

    @classmethod
    def lingers(cls, have: Self, want: Self | None, facts: Facts) -> Lingering | None:
        after = frozenset((*want.offers, *want.given)) if want is not None else frozenset()
        gone = [each for each in have.offers if each not in after]
        if not gone:
            return None
        return Lingering(
            "leases-keep-routes",
            f"machines of subnet {have.name} keep {few(list(map(str, gone)), MOST)} until they renew their leases, and "
            f"go on sending to {facts.host}",
            frozenset((each.destination, each.next_hop) for each in gone),
        )

    @property
    def found(self) -> str:
        return f"subnet {self.name}"

    def _subnet(self, facts: Facts) -> Subnet | None:
        """By its id, whoever is in it by now: what crossnet has it offer is to be taken away there."""
        cloud = cloud_of(facts, self.cloud)
        stray = cloud.stray(self.subnet)
        near = (each for each in cloud.subnets if each.id == self.subnet)
        return next(near, stray if isinstance(stray, Subnet) else None)


def offered(subnet: Subnet, have: HostRoutes | None, want: HostRoutes | None) -> tuple[HostRoute, ...]:
    """What a subnet offers with what is wanted in place of what crossnet had there; what others have stays."""
    own = frozenset(have.offers) if have is not None else frozenset()
    others = tuple(each for each in subnet.routes if each not in own)
    stays = {each: each for each in subnet.routes}
    more = want.offers if want is not None else ()
    return (*others, *(stays.get(each, each) for each in more if each not in others))


def rivals(subnet: Subnet, have: HostRoutes | None, want: HostRoutes | None) -> tuple[HostRoute, ...]:
    """What others have it offer to a destination that is wanted, through another next hop."""
    own = frozenset(have.offers) if have is not None else frozenset()
    wanted = {each.destination: each for each in (want.offers if want is not None else ())}
    return tuple(
        each
        for each in subnet.routes
        if each not in own and each.destination in wanted and each != wanted[each.destination]
    )


def _content(one: HostRoutes) -> tuple[str, frozenset[HostRoute]]:
    return one.subnet, frozenset((*one.offers, *one.given))


def _told(have: HostRoutes | None, want: HostRoutes | None) -> Iterator[str]:
    before = frozenset(have.offers) if have else frozenset()
    after = frozenset(want.offers) if want else frozenset()
    if added := [str(each) for each in (want.offers if want else ()) if each not in before]:
        yield f"offers its machines {few(added, MOST)}"
    if gone := [str(each) for each in (have.offers if have else ()) if each not in after]:
        yield f"does not offer {few(gone, MOST)} any more"


__all__ = ["HostRoutes", "offered", "rivals"]
