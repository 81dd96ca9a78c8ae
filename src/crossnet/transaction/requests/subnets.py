"""The requests that have a subnet offer routes, and no more."""

from __future__ import annotations

from crossnet.errors import CloudError
from crossnet.openstack.api import Cloud
from crossnet.openstack.ports import HostRoute, Subnet
from crossnet.resources import HostRoutes
from crossnet.resources.host_routes import offered, rivals

_CHANGED = 412  # by somebody else since it was read
_TRIES = 5  # at a subnet that others change at the same time
_MEANWHILE = "Nothing of theirs was changed; make a new plan."


class Subnets:
    """The revision of a subnet does not count changes of its routes alone (measured with Neutron 29).

    So each is compared with what was seen, just before it is changed; that one request may still come between others'.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._seen: dict[str, Subnet] = {}

    async def see(self, one: HostRoutes) -> None:
        self._seen[one.subnet] = await self._cloud.subnet(one.subnet)

    async def bring(self, have: HostRoutes | None, want: HostRoutes | None, *, as_seen: bool) -> None:
        one = want or have
        assert one is not None, "a change has at least one side"
        seen = self._seen.get(one.subnet) if as_seen else None
        for left in range(_TRIES, 0, -1):
            try:
                subnet = await self._cloud.subnet(one.subnet)
            except CloudError as error:
                if want is None and error.kind == "SubnetNotFound":
                    return  # nothing is left of it to put back
                raise
            made = offered(subnet, have, want)
            if _written(made) == _written(subnet.routes):
                return  # also where an answer was lost
            self._refuse_others(seen, subnet, have, want)
            try:
                found = await self._cloud.change_routes(
                    subnet.id, revision=(seen or subnet).revision, routes=made
                )
            except CloudError as error:
                if error.status != _CHANGED or seen is not None or left == 1:
                    raise
                continue
            if seen is not None:
                self._seen[one.subnet] = found  # another host of the transaction may have a part in it too
            return

    def _refuse_others(
        self, seen: Subnet | None, now: Subnet, have: HostRoutes | None, want: HostRoutes | None
    ) -> None:
        tried = f"asked to change the host routes of subnet {now.shown}"
        if seen is not None and _written(seen.routes) != _written(now.routes):
            raise self._changed(tried, "somebody else has changed them since they were read")
        if others := rivals(now, have, want):
            shown = ", ".join(map(str, others))
            raise self._changed(
                tried, f"somebody else has it offer {shown}, where crossnet offers another way"
            )

    def _changed(self, tried: str, seen: str) -> CloudError:
        return CloudError(self._cloud.name, tried, seen, _MEANWHILE, status=_CHANGED, kind="ChangedMeanwhile")


def _written(routes: tuple[HostRoute, ...]) -> frozenset[HostRoute]:
    """Which they are: a cloud has them in an order of its own (measured)."""
    return frozenset(routes)
