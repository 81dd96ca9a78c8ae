"""The requests that have a subnet offer routes, and no more."""

from __future__ import annotations

from dataclasses import replace

from crossnet.errors import CloudError
from crossnet.openstack.api import Cloud
from crossnet.openstack.ports import HostRoute, Subnet
from crossnet.resources import HostRoutes
from crossnet.resources.host_routes import offered, rivals
from crossnet.several import few
from crossnet.transaction.believed import Believed

NOT_BELIEVED = "NotBelieved"

_MOST = 4  # routes that a line names
_CHANGED = 412  # by somebody else since it was read
_TRIES = 5  # at a subnet that others change at the same time
_MEANWHILE = "Nothing of theirs was changed; make a new plan."
_ROUTES = "routes"


class Subnets:
    """The revision of a subnet does not count changes of its routes alone (measured with Neutron 29).

    So each is compared with what was seen, just before it is changed; that one request may still come between others'.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._seen: dict[str, Subnet] = {}
        self._asked: set[str] = set()  # subnets of which an answer may have been lost

    def steps(self, have: HostRoutes | None, want: HostRoutes | None) -> tuple[str, ...]:
        return (_ROUTES,)

    async def see(self, one: HostRoutes) -> int | None:
        self._seen[one.subnet] = await self._cloud.subnet(one.subnet)
        return self._seen[one.subnet].revision

    async def make(self, step: str, have: HostRoutes | None, want: HostRoutes | None) -> None:
        one = _of(have, want)
        seen = self._seen[one.subnet]
        if want is None and await self._is_gone(one):
            return  # nothing is left of it to take away
        subnet = await self._cloud.subnet(one.subnet)
        made = offered(subnet, have, want)
        is_there = _written(made) == _written(subnet.routes)
        if one.subnet in self._asked and is_there:
            self._seen[one.subnet] = subnet
            self._asked.discard(one.subnet)
            return
        if _written(seen.routes) != _written(subnet.routes):
            raise self._changed(subnet, "somebody else has changed them since they were read")
        self._refuse_rivals(subnet, have, want)
        if not is_there:
            self._asked.add(one.subnet)
            found = await self._cloud.change_routes(subnet.id, revision=seen.revision, routes=made)
            self._seen[one.subnet] = found  # another host of the transaction may have a part in it too
            self._asked.discard(one.subnet)

    async def take_back(
        self, step: str, have: HostRoutes | None, want: HostRoutes | None, seen: int | None
    ) -> tuple[str, ...]:
        one = _of(have, want)
        for left in range(_TRIES, 0, -1):
            if await self._is_gone(one):
                return ()
            subnet = await self._cloud.subnet(one.subnet)
            made = offered(subnet, want, have)
            try:
                if _written(made) != _written(subnet.routes):
                    self._refuse_rivals(subnet, want, have)
                    subnet = await self._cloud.change_routes(subnet.id, revision=subnet.revision, routes=made)
                await self._cloud.outdate_subnet(subnet)  # its routes alone move no revision
                return ()
            except CloudError as error:
                if error.status != _CHANGED or error.kind == _RIVALS or left == 1:
                    raise
        return ()

    async def within(
        self, have: HostRoutes | None, want: HostRoutes | None, believed: Believed
    ) -> tuple[HostRoutes | None, HostRoutes | None, tuple[str, ...]]:
        one = _of(have, want)
        subnets = (each for said in believed.clouds(one.cloud) for each in said.subnets)
        subnet = next((each for each in subnets if each.id == one.subnet), None)
        if subnet is None:
            if await self._is_gone(one):
                return have, want, ()
            raise CloudError(
                self._cloud.name,
                f"was to take back what a host's journal says of subnet {one.subnet}",
                "no host of the spec is in it, so that journal is not believed",
                "Do this with the spec that it was begun with. If that says the same, compare what the subnet offers "
                "with what it should (`openstack subnet show`), then remove the journal.",
                kind=NOT_BELIEVED,
            )
        by_hosts = believed.addresses
        if want is not None:
            offered_by_us = tuple(
                each
                for each in want.offers
                if each.next_hop in by_hosts and believed.names_destination(each.destination)
            )
            want = replace(want, offers=offered_by_us)
        if have is None:
            return have, want, ()
        spec = believed.wanted().get(have.identity)
        named = spec.offers if isinstance(spec, HostRoutes) else ()
        offers = tuple(each for each in have.offers if each in subnet.routes or each in named)
        left_out = [str(each) for each in have.offers if each not in offers]
        told = (
            f"subnet {one.name} does not offer {few(left_out, _MOST)} again, which only the host says, and no crossing "
            "of the spec: `crossnet plan` shows what it lacks"
        )
        return replace(have, offers=offers), want, (told,) if left_out else ()

    async def _is_gone(self, one: HostRoutes) -> bool:
        """Whether it was deleted, as far as these credentials tell: what belongs to others is not there either."""
        try:
            await self._cloud.subnet(one.subnet)
        except CloudError as error:
            if error.kind == "SubnetNotFound" and await self._cloud.would_see(one.project):
                return True
            raise
        return False

    def _refuse_rivals(self, now: Subnet, have: HostRoutes | None, want: HostRoutes | None) -> None:
        if others := rivals(now, have, want):
            shown = ", ".join(map(str, others))
            seen = f"somebody else has it offer {shown}, where crossnet offers another way"
            raise self._changed(now, seen, _RIVALS)

    def _changed(self, subnet: Subnet, seen: str, kind: str = "ChangedMeanwhile") -> CloudError:
        tried = f"tried to change the host routes of subnet {subnet.shown}"
        return CloudError(self._cloud.name, tried, seen, _MEANWHILE, status=_CHANGED, kind=kind)


_RIVALS = "OfferedMeanwhile"


def _of(have: HostRoutes | None, want: HostRoutes | None) -> HostRoutes:
    one = want or have
    assert one is not None, "a change has at least one side"
    return one


def _written(routes: tuple[HostRoute, ...]) -> frozenset[HostRoute]:
    """Which they are: a cloud has them in an order of its own (measured)."""
    return frozenset(routes)
