"""The requests that open a port, and close it."""

from __future__ import annotations

from crossnet.errors import CloudError
from crossnet.openstack.api import Cloud, is_made_as
from crossnet.openstack.ports import GroupRule, Port, SecurityGroup
from crossnet.resources import PortSecurity
from crossnet.resources.port_security import made_at

_CHANGED = 412  # by somebody else since it was read
_TRIES = 5  # at a port that others change at the same time
_GROUP, _PORT = "group", "port"

_Known = tuple[tuple[GroupRule, ...], ...]


class Ports:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._revisions: dict[str, int] = {}
        self._asked: set[str] = set()  # ports of which an answer may have been lost

    def steps(self, have: PortSecurity | None, want: PortSecurity | None) -> tuple[str, ...]:
        """A port is in no group that is not there."""
        if _rules(want):
            return (_GROUP, _PORT)
        return (_PORT, _GROUP) if _rules(have) else (_PORT,)

    async def see(self, one: PortSecurity) -> int:
        try:
            self._revisions[one.port] = (await self._cloud.port(one.port)).revision
        except CloudError as error:
            if error.kind != "PortNotFound" or not one.has_group_left:
                raise
            self._revisions[one.port] = 0  # its group is all that is left
        return self._revisions[one.port]

    async def make(self, step: str, have: PortSecurity | None, want: PortSecurity | None) -> None:
        if step == _GROUP:
            await self._bring_group(have, want, known=_known(have, want))
        else:
            await self._set(have, want)

    async def take_back(
        self, step: str, have: PortSecurity | None, want: PortSecurity | None, seen: int | None
    ) -> None:
        if step == _GROUP:
            await self._bring_group(want, have, known=_known(have, want))
        else:
            await self._set_back(have, want, seen)

    async def _set(self, have: PortSecurity | None, want: PortSecurity | None) -> None:
        one = _of(have, want)
        try:
            port = await self._cloud.port(one.port)
        except CloudError as error:
            if want is None and error.kind == "PortNotFound":
                return  # nothing is left of it to close
            raise
        made = made_at(port, have, want, await self._group(one, port, _known(have, want)))
        is_there = _content(made) == _content(port)
        if one.port in self._asked and is_there:
            return
        seen = self._revisions[one.port]
        if port.revision != seen:
            raise CloudError(
                self._cloud.name,
                f"asked to change port {port.shown}",
                f"somebody else has changed it: it is at revision {port.revision}, and was at {seen}",
                "Nothing of theirs was changed; make a new plan.",
                status=_CHANGED,
                kind="ChangedMeanwhile",
            )
        if not is_there:
            self._asked.add(one.port)
            await self._put(port, made, seen)

    async def _set_back(self, have: PortSecurity | None, want: PortSecurity | None, seen: int | None) -> None:
        one = _of(have, want)
        for left in range(_TRIES, 0, -1):
            try:
                port = await self._cloud.port(one.port)
            except CloudError as error:
                if error.kind == "PortNotFound":
                    return
                raise
            made = made_at(port, want, have, await self._group(one, port, _known(have, want)))
            # Where its port security is on, it was not switched off, or somebody has switched it on again.
            is_on = want is not None and want.off is not None and port.secured is not False
            try:
                if not is_on and _content(made) != _content(port):
                    await self._put(port, made, port.revision)
                elif seen in (None, port.revision):
                    await self._cloud.outdate_port(port)
                return
            except CloudError as error:
                if error.status != _CHANGED or left == 1:
                    raise

    async def _put(self, now: Port, made: Port, revision: int) -> None:
        """One request for all of it: groups and pairs can be set only with port security on."""
        secured = made.secured if made.secured != now.secured else None
        await self._cloud.change_port(
            now.id, revision=revision, secured=secured, groups=made.groups, pairs=made.pairs
        )

    async def _group(self, one: PortSecurity, port: Port, known: _Known) -> str | None:
        """The id of its own one, if it is there."""
        own = await self._own(one, known)
        return next((each.id for each in own if each.id in port.groups), own[0].id if own else None)

    async def _own(self, one: PortSecurity, known: _Known) -> list[SecurityGroup]:
        named = await self._cloud.groups(one.group, one.project)
        return [each for each in named if is_made_as(each, one.made_for, known)]

    async def _bring_group(
        self, have: PortSecurity | None, want: PortSecurity | None, *, known: _Known
    ) -> None:
        """Its own group with the rules that are wanted; where none are, no group of crossnet's."""
        one = _of(have, want)
        if rules := _rules(want):
            await self._cloud.make_group(one.group, one.made_for, one.project, rules, known)
            return
        for each in await self._own(one, known):  # several, where the answer to the first request came late
            await self._cloud.delete_group(each.id)


def _of(have: PortSecurity | None, want: PortSecurity | None) -> PortSecurity:
    one = want or have
    assert one is not None, "a change has at least one side"
    return one


def _rules(one: PortSecurity | None) -> tuple[GroupRule, ...]:
    return one.rules if one is not None else ()


def _known(have: PortSecurity | None, want: PortSecurity | None) -> _Known:
    """The rules of its own group by which it is known, where somebody has given it another description."""
    return (_rules(have), _rules(want)) if _rules(have) else ()


def _content(port: Port) -> tuple[object, ...]:
    return port.secured, frozenset(port.groups), frozenset(port.pairs)
