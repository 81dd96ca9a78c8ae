"""The requests that open a port, and close it."""

from __future__ import annotations

from crossnet.errors import CloudError
from crossnet.openstack.api import Cloud
from crossnet.openstack.ports import Port
from crossnet.resources import PortSecurity
from crossnet.resources.port_security import made_at

_CHANGED = 412  # by somebody else since it was read
_TRIES = 5  # at a port that others change at the same time


class Ports:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._revisions: dict[str, int] = {}

    async def see(self, one: PortSecurity) -> None:
        self._revisions[one.port] = (await self._cloud.port(one.port)).revision

    async def bring(self, have: PortSecurity | None, want: PortSecurity | None, *, as_seen: bool) -> None:
        one = want or have
        assert one is not None, "a change has at least one side"
        revision = self._revisions.get(one.port) if as_seen else None
        try:
            port = await self._cloud.port(one.port)
        except CloudError as error:
            if want is None and error.kind == "PortNotFound":
                await self._without_group(one)  # nothing is left of it to put back
                return
            raise
        group = await self._cloud.group(one.group, one.project)
        if want is not None and want.rules:
            group = await self._cloud.make_group(one.group, one.made_for, one.project, want.rules)
        for left in range(_TRIES, 0, -1):
            made = made_at(port, have, want, group.id if group is not None else None)
            if _set(made) == _set(port):
                break  # also where an answer was lost
            try:
                await self._put(port, made, port.revision if revision is None else revision)
                break
            except CloudError as error:
                if error.status != _CHANGED or left == 1:
                    raise
                changed = error
            port = await self._cloud.port(one.port)
            if revision is not None and _set(made_at(port, have, want, group.id if group else None)) != _set(
                port
            ):
                raise changed
        if group is not None and not (want is not None and want.rules):
            await self._cloud.delete_group(group.id)

    async def _put(self, now: Port, made: Port, revision: int) -> None:
        """One request for all of it: groups and pairs can be set only with port security on."""
        secured = made.secured if made.secured != now.secured else None
        await self._cloud.change_port(
            now.id, revision=revision, secured=secured, groups=made.groups, pairs=made.pairs
        )

    async def _without_group(self, one: PortSecurity) -> None:
        if (group := await self._cloud.group(one.group, one.project)) is not None:
            await self._cloud.delete_group(group.id)


def _set(port: Port) -> tuple[object, ...]:
    return port.secured, frozenset(port.groups), frozenset(port.pairs)
