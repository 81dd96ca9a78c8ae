"""The requests that open a port, and close it."""

from __future__ import annotations

from dataclasses import replace

from crossnet.errors import CloudError
from crossnet.openstack.api import Cloud, is_made_as
from crossnet.openstack.ports import GroupRule, Port, SecurityGroup
from crossnet.resources import PortSecurity
from crossnet.resources.port_security import made_at, shown_kept, shown_rule
from crossnet.several import few
from crossnet.transaction.believed import Believed, lies_within
from crossnet.values import show_network

NOT_BELIEVED = "NotBelieved"

_MOST = 4  # networks or groups that a line names
_CHANGED = 412  # by somebody else since it was read
_TRIES = 5  # at a port that others change at the same time
_GROUP, _PORT = "group", "port"

_Known = tuple[tuple[GroupRule, ...], ...]


class Ports:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._revisions: dict[str, int] = {}
        self._asked: set[str] = set()  # ports of which an answer may have been lost
        self._of_spec: dict[str, _Known] = {}  # of ports of which a host's journal is all that tells

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
            await self._bring_group(have, want, known=self._known(have, want))
        else:
            await self._set(have, want)

    async def take_back(
        self, step: str, have: PortSecurity | None, want: PortSecurity | None, seen: int | None
    ) -> tuple[str, ...]:
        if step == _PORT:
            return await self._set_back(have, want, seen)
        await self._bring_group(want, have, known=self._known(have, want))
        return ()

    async def within(
        self, have: PortSecurity | None, want: PortSecurity | None, believed: Believed
    ) -> tuple[PortSecurity | None, PortSecurity | None, tuple[str, ...]]:
        one = _of(have, want)
        port = believed.port(one.cloud, one.port)
        if port is None:
            if await self._is_gone(one):
                return None, want or have, ()
            raise self._doubted(one, "it is at no interface of a host of the spec")
        was_off, is_off = (each is not None and each.off is not None for each in (have, want))
        if is_off and not was_off and not believed.has_disabled:
            raise self._doubted(one, "no crossing says `port-security: disable`, by which it would have been")
        have, want = (
            replace(each, project=port.project) if each is not None else None for each in (have, want)
        )
        spec = believed.wanted().get(one.identity)
        named = spec if isinstance(spec, PortSecurity) else None
        self._of_spec[one.port] = (_rules(named),) if _rules(named) else ()
        told: list[str] = []
        if want is not None and want.off is not None and port.secured is False:
            told.append(f"port {port.shown} of {one.shown_at}: {shown_kept(want.off)} are what the host says")
        if have is None:
            return have, want, tuple(told)
        sends = tuple(each.network for each in port.pairs if each.mac == port.mac)
        may_send = (*sends, *(named.pairs if named is not None else ()))
        admits = {rule for each in await self._own(have, ()) for rule in each.rules} | {*_rules(named)}
        pairs = tuple(each for each in have.pairs if lies_within(each, may_send))
        rules = tuple(each for each in have.rules if each in admits)
        may_be_off = port.secured is False or (named is not None and named.off is not None)
        off = have.off if may_be_off else None
        left_out = [
            *(show_network(each) for each in have.pairs if each not in pairs),
            *(shown_rule(each) for each in have.rules if each not in rules),
            *(["port security off"] if off != have.off else []),
        ]
        if left_out:
            told.append(
                f"port {port.shown} of {one.shown_at} is not opened again for {few(left_out, _MOST)}, which only "
                "the host says, and no crossing of the spec: `crossnet plan` shows what it lacks"
            )
        return replace(have, pairs=pairs, rules=rules, off=off), want, tuple(told)

    async def _is_gone(self, one: PortSecurity) -> bool:
        """Whether it was deleted, as far as these credentials tell: what belongs to others is not there either."""
        try:
            await self._cloud.port(one.port)
        except CloudError as error:
            if error.kind == "PortNotFound" and await self._cloud.would_see(one.project):
                return True
            raise
        return False

    def _doubted(self, one: PortSecurity, seen: str) -> CloudError:
        return CloudError(
            self._cloud.name,
            f"was to take back what a host's journal says of port {one.port}",
            f"{seen}, so that journal is not believed",
            "Do this with the spec that it was begun with. If that says the same, compare what the port has with what "
            "it should have (`openstack port show`), then remove the journal.",
            kind=NOT_BELIEVED,
        )

    async def _set(self, have: PortSecurity | None, want: PortSecurity | None) -> None:
        one = _of(have, want)
        if want is None and await self._is_gone(one):
            return  # nothing is left of it to close
        port = await self._cloud.port(one.port)
        made = made_at(port, have, want, await self._group(one, port, self._known(have, want)))
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

    async def _set_back(
        self, have: PortSecurity | None, want: PortSecurity | None, seen: int | None
    ) -> tuple[str, ...]:
        one = _of(have, want)
        for left in range(_TRIES, 0, -1):
            if await self._is_gone(one):
                return ()
            port = await self._cloud.port(one.port)
            # Else it was not done, or somebody else has switched port security since: then nothing of it is there.
            may_be_there = (port.secured is False) == (want is not None and want.off is not None)
            known, lost = await self._writable(want)
            made = made_at(port, known, have, await self._group(one, port, self._known(have, want)))
            try:
                if may_be_there and _content(made) != _content(port):
                    await self._put(port, made, port.revision)
                    return lost
                if seen in (None, port.revision):
                    await self._cloud.outdate_port(port)
                return ()
            except CloudError as error:
                if error.status != _CHANGED or left == 1:
                    raise
        return ()

    async def _writable(self, want: PortSecurity | None) -> tuple[PortSecurity | None, tuple[str, ...]]:
        """With the groups that the port had, without those that are deleted: nobody could write them back."""
        if want is None or want.off is None or not await self._cloud.would_see(want.project):
            return want, ()
        there = await self._cloud.there(want.off.groups)
        gone = [each for each in want.off.groups if each not in there]
        if not gone:
            return want, ()
        groups = tuple(each for each in want.off.groups if each in there)
        told = f"port of {want.shown_at}: it was in {few(gone, _MOST)} before, which are deleted"
        return replace(want, off=replace(want.off, groups=groups)), (told,)

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

    def _known(self, have: PortSecurity | None, want: PortSecurity | None) -> _Known:
        """The rules of its own group by which it is known, where somebody has given it another description."""
        own = (_rules(have), _rules(want)) if _rules(have) else ()
        return self._of_spec.get(_of(have, want).port, own)

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


def _content(port: Port) -> tuple[object, ...]:
    return port.secured, frozenset(port.groups), frozenset(port.pairs)
