"""What a cloud says of the ports of hosts, and the few changes of them that it is asked for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, TypeVar

from crossnet.errors import CloudError
from crossnet.facts import Facts
from crossnet.openstack import failures, reading, writing
from crossnet.openstack.access import Access, give_up_by
from crossnet.openstack.looking import Looking
from crossnet.openstack.ports import (
    AddressPair,
    CloudFacts,
    GroupRule,
    HostRoute,
    Port,
    SecurityGroup,
    Sought,
    Subnet,
)
from crossnet.values import show_network

T = TypeVar("T")

# Seconds that one call may take altogether, with all its requests.
_CALL = 60.0
_LOOK = 180.0

_LONGEST_DESCRIPTION = 255

_NOT_YOUR_SUBNET = (
    "Only members of the project of a subnet, or of its network, and administrators may change what it offers: use "
    "such credentials, or write `routes: host`, which sets the routes on the clients themselves."
)


class Cloud:
    """A cloud of clouds.yaml by the name of its entry, or `envvars` for OS_*; CloudError for whatever it refuses.

    It is configured and logged in when it is first asked. `close` ends its connections; asked again, it opens others.
    """

    def __init__(self, name: str) -> None:
        self._access = Access(name)
        self._looking = Looking(self._access)

    @property
    def name(self) -> str:
        """As it was named, with its region where OS_REGION_NAME has told it."""
        return self._access.name

    @property
    def changes(self) -> int:
        """How many requests to change something it was asked so far, whatever came of them."""
        return self._access.changes

    async def close(self) -> None:
        self._access.close()

    async def look(
        self, hosts: Mapping[str, Facts], sought: Mapping[str, Sought] = MappingProxyType({})
    ) -> Mapping[str, CloudFacts]:
        """What it says of the ports of these hosts, in a handful of requests, however many they are.

        `sought` is what is asked for of a host besides.
        """
        tried = "asked for the ports of " + ("the host" if len(hosts) == 1 else f"{len(hosts):,} hosts")
        return await self._aside(lambda: self._looking.look(hosts, sought, tried), tried, _LOOK)

    async def port(self, port: str) -> Port:
        tried = f"asked for {self._shown(port)}"
        return await self._aside(lambda: self._port(port, tried), tried)

    async def change_port(
        self,
        port: str,
        *,
        revision: int,
        secured: bool | None = None,
        groups: Sequence[str] | None = None,
        pairs: Sequence[AddressPair] | None = None,
    ) -> Port:
        """The port as it is after one request that set all of this, if it still was at that revision.

        What is None stays. Somebody else's change meanwhile is a CloudError with status 412.
        """
        body: dict[str, object] = {}
        if secured is not None:
            body["port_security_enabled"] = secured
        if groups is not None:
            body["security_groups"] = list(groups)
        if pairs is not None:
            body["allowed_address_pairs"] = [writing.pair_document(pair) for pair in pairs]
        tried = f"tried to set {_asked(secured, groups, pairs)} of {self._shown(port)}"
        return await self._aside(lambda: self._change(port, revision, body, tried), tried, changes=True)

    async def outdate_port(self, port: Port) -> None:
        """Have every request fail that was made for this revision of the port, and is still on its way; nothing else.

        Its description is changed and changed back: what is set as it is moves no revision (measured with Neutron 29).
        CloudError with status 412 where the port is at another revision.
        """
        tried = f"tried to mark {self._shown(port.id)} as changed"

        def outdate() -> None:
            marked = self._change(port.id, port.revision, {"description": _marked(port.description)}, tried)
            self._change(port.id, marked.revision, {"description": port.description}, tried)

        await self._aside(outdate, tried, changes=True)

    async def subnet(self, subnet: str) -> Subnet:
        tried = f"asked for {self._shown_subnet(subnet)}"
        return await self._aside(lambda: self._subnet(subnet, tried), tried)

    async def outdate_subnet(self, subnet: Subnet) -> None:
        """The same of a subnet, which moves also where its description is set as it is (measured with Neutron 29)."""
        tried = f"tried to mark {self._shown_subnet(subnet.id)} as changed"
        body = {"description": subnet.description}
        await self._aside(
            lambda: self._change_subnet(subnet.id, subnet.revision, body, tried), tried, changes=True
        )

    async def change_routes(
        self, subnet: str, *, revision: int | None, routes: Sequence[HostRoute]
    ) -> Subnet:
        """The subnet as it is after one request that set all of its host_routes, if it still was at that revision.

        Somebody else's change of its other settings meanwhile is a CloudError with status 412; one of its routes is
        not noticed, for the revision does not count it (measured with Neutron 29).
        """
        shown = ", ".join(map(str, routes))
        tried = f"tried to set {f'host routes {shown}' if shown else 'no host routes'} of {self._shown_subnet(subnet)}"
        body = {"host_routes": [writing.host_route_document(route) for route in routes]}
        return await self._aside(
            lambda: self._change_subnet(subnet, revision, body, tried), tried, changes=True
        )

    async def would_see(self, project: str) -> bool:
        """Whether what belongs to a project is gone where it is not found."""
        own, sees_all = await self._aside(self._access.scope, "asked who asks")
        return sees_all or (bool(project) and project == own)

    async def there(self, groups: Sequence[str]) -> frozenset[str]:
        """Which of these security groups there are, by their ids."""
        tried = "asked for security groups"
        return frozenset(await self._aside(lambda: self._looking.groups(groups, tried), tried))

    async def groups(self, name: str, project: str) -> list[SecurityGroup]:
        """The security groups of exactly this name in a project: a cloud takes several."""
        tried = f"asked for the security group {name}"
        return await self._aside(lambda: self._groups_named(name, project, tried), tried)

    async def make_group(
        self,
        name: str,
        description: str,
        project: str,
        rules: Sequence[GroupRule],
        known: Sequence[Sequence[GroupRule]] = (),
    ) -> SecurityGroup:
        """The security group of this name with exactly these rules, made or brought to them.

        One that somebody else made is a CloudError: it has another description, and not the rules that are `known` of
        crossnet's own either. To be called again when it failed.
        """
        tried = f"tried to make the security group {name}"
        return await self._aside(
            lambda: self._make_group(name, description, project, rules, known, tried), tried, changes=True
        )

    async def delete_group(self, group: str) -> None:
        """Have no such security group; that it is not there is fine."""
        tried = f"tried to delete the security group {group}"

        def delete() -> None:
            try:
                self._access.ask("DELETE", f"/security-groups/{self._id(group, tried)}", tried)
            except CloudError as error:
                if error.kind != "SecurityGroupNotFound":
                    raise

        await self._aside(delete, tried, changes=True)

    async def _aside(
        self, work: Callable[[], T], tried: str, seconds: float | None = None, *, changes: bool = False
    ) -> T:
        """What blocks, in a thread of its own: one of asyncio's would hold up the end of the program.

        When it is given up it sends no further request; where one of them `changes` something, the one under way is
        waited for, since it may still be carried out.
        """
        seconds = _CALL if seconds is None else seconds
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[T] = loop.create_future()
        given_up = threading.Event()

        def settle(settled: Callable[[], None]) -> None:
            if not ended.done():
                settled()

        def run() -> None:
            give_up_by(given_up)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                try:
                    found = work()
                except BaseException as error:
                    failed = error
                    loop.call_soon_threadsafe(settle, lambda: ended.set_exception(failed))
                else:
                    loop.call_soon_threadsafe(settle, lambda: ended.set_result(found))

        threading.Thread(target=run, name=f"cloud {self.name}", daemon=True).start()
        until = loop.time() + seconds
        try:
            await asyncio.wait([ended], timeout=seconds)
            if ended.done():
                return ended.result()
            raise failures.late(self.name, tried, seconds, changes=changes)
        except asyncio.CancelledError:
            given_up.set()
            if changes:
                await _over(ended, until)
            raise
        finally:
            given_up.set()
            ended.cancel()

    def _port(self, port: str, tried: str) -> Port:
        document = self._access.ask("GET", f"/ports/{self._id(port, tried)}", tried)
        return self._one_port(document, tried)

    def _one_port(self, document: object, tried: str, *, changed: bool = False) -> Port:
        with reading.door(self.name, tried, changed=changed):
            found = reading.port_of(reading.fields(reading.fields(document)["port"]))
        self._looking.seen[found.id] = found
        return found

    def _change(self, port: str, revision: int, body: Mapping[str, object], tried: str) -> Port:
        # Only this form protects: an ETag's is ignored without a word (measured).
        condition = {"If-Match": f"revision_number={revision}"}
        path = f"/ports/{self._id(port, tried)}"
        try:
            document = self._access.ask("PUT", path, tried, body={"port": body}, headers=condition)
        except CloudError as error:
            if error.status != 403 or (why := self._forbidden(port)) is None:
                raise
            raise CloudError(
                self.name, tried, error.seen, why, status=error.status, kind=error.kind
            ) from None
        return self._one_port(document, tried, changed=True)

    def _subnet(self, subnet: str, tried: str) -> Subnet:
        document = self._access.ask("GET", f"/subnets/{self._id(subnet, tried)}", tried)
        return self._one_subnet(document, tried)

    def _one_subnet(self, document: object, tried: str, *, changed: bool = False) -> Subnet:
        with reading.door(self.name, tried, changed=changed):
            found = reading.subnet_of(reading.fields(reading.fields(document)["subnet"]))
        self._looking.seen_subnets[found.id] = found
        return found

    def _change_subnet(
        self, subnet: str, revision: int | None, body: Mapping[str, object], tried: str
    ) -> Subnet:
        condition = {"If-Match": f"revision_number={revision}"} if revision is not None else None
        path = f"/subnets/{self._id(subnet, tried)}"
        try:
            document = self._access.ask("PUT", path, tried, body={"subnet": body}, headers=condition)
        except CloudError as error:
            if error.status != 403:
                raise
            raise CloudError(
                self.name, tried, error.seen, _NOT_YOUR_SUBNET, status=error.status, kind=error.kind
            ) from None
        return self._one_subnet(document, tried, changed=True)

    def _forbidden(self, port: str) -> str | None:
        """Why a user may not change a port that it sees, and what to do; None where that cannot be told."""
        tried = "asked why"
        try:
            seen = self._looking.seen.get(port) or self._port(port, tried)
            document = self._access.ask("GET", f"/networks/{seen.network}", tried)
            with reading.door(self.name, tried):
                network, owner = reading.network_of(reading.fields(reading.fields(document)["network"]))
        except CloudError:
            return None
        if owner != seen.project:
            return (
                f"The port belongs to project {seen.project}, its network {network} to {owner}: then only an "
                "administrator may change what the port lets through. Ask one, or use `port-security: leave`."
            )
        roles = self._access.roles()
        return (
            f"This user's roles in the project are {', '.join(roles)}, which is not enough to change a port: use "
            "credentials with the role member."
            if roles
            else None
        )

    def _group(self, name: str, project: str, tried: str) -> SecurityGroup | None:
        named = self._groups_named(name, project, tried)
        if len(named) > 1:
            raise CloudError(
                self.name,
                tried,
                f"the project has {len(named)} of that name: {', '.join(group.id for group in named)}",
                "crossnet makes one: remove the others, `openstack security group delete ID`.",
                kind="SeveralGroups",
            )
        return named[0] if named else None

    def _groups_named(self, name: str, project: str, tried: str) -> list[SecurityGroup]:
        found = self._looking.read(
            "/security-groups", reading.group_of, tried, [("name", name), ("project_id", project)]
        )
        return [group for group in found if (group.name, group.project) == (name, project)]

    def _make_group(
        self,
        name: str,
        description: str,
        project: str,
        rules: Sequence[GroupRule],
        known: Sequence[Sequence[GroupRule]],
        tried: str,
    ) -> SecurityGroup:
        group = self._group(name, project, tried)
        if group is None:
            document = self._access.ask(
                "POST",
                "/security-groups",
                tried,
                body={"security_group": {"name": name, "description": description, "project_id": project}},
            )
            group = self._one_group(document, tried, changed=True)
        elif not is_made_as(group, description, known):
            raise CloudError(
                self.name,
                tried,
                f"there is one, {group.id}, that crossnet cannot take for its own: its description is "
                f"{group.description!r}, and its rules are not what crossnet left there",
                f"If it is crossnet's, give it its description again: `openstack security group set --description "
                f"'{description}' {group.id}`. If not, give it another name.",
                kind="NotOurs",
            )
        lacking = [rule for rule in dict.fromkeys(rules) if rule not in group.rules]
        if lacking:
            body = {"security_group_rules": [writing.rule_document(rule, group.id) for rule in lacking]}
            self._access.ask("POST", "/security-group-rules", tried, body=body)
        # A new group lets everything out (neutron: default security group rules).
        for rule in group.rules:
            if rule not in rules:
                self._delete_rule(rule, tried)
        return self._one_group(self._access.ask("GET", f"/security-groups/{group.id}", tried), tried)

    def _delete_rule(self, rule: GroupRule, tried: str) -> None:
        try:
            self._access.ask("DELETE", f"/security-group-rules/{rule.id}", tried)
        except CloudError as error:
            if error.kind != "SecurityGroupRuleNotFound":
                raise

    def _id(self, one: str, tried: str) -> str:
        """What goes into a URL: an id comes from a journal too."""
        with reading.door(self.name, tried):
            return reading.identifier(one)

    def _one_group(self, document: object, tried: str, *, changed: bool = False) -> SecurityGroup:
        with reading.door(self.name, tried, changed=changed):
            return reading.group_of(reading.fields(reading.fields(document)["security_group"]))

    def _shown_subnet(self, subnet: str) -> str:
        seen = self._looking.seen_subnets.get(subnet)
        return f"subnet {seen.shown if seen is not None else subnet}"

    def _shown(self, port: str) -> str:
        """`port B-eth1 (10.0.43.101)` of one that was seen."""
        seen = self._looking.seen.get(port)
        if seen is None:
            return f"port {port}"
        addresses = ", ".join(map(str, seen.addresses))
        return f"port {seen.shown}" + (f" ({addresses})" if addresses else "")


def is_made_as(group: SecurityGroup, description: str, known: Sequence[Sequence[GroupRule]]) -> bool:
    """Whether a group is what somebody made with that description, or has all the rules of one that is known."""
    return group.description == description or set(group.rules) in [set(rules) for rules in known]


def _marked(description: str) -> str:
    """Another one; a cloud takes 255 characters (neutron_lib.db.constants)."""
    return (
        f"{description[: _LONGEST_DESCRIPTION - 1]} " if not description.endswith(" ") else description[:-1]
    )


async def _over(work: asyncio.Future[Any], until: float) -> None:
    """When it has ended, however, or that time of the loop's clock has come, whoever wants to stop."""
    now = asyncio.get_running_loop().time
    while not work.done() and now() < until:
        with suppress(asyncio.CancelledError):
            await asyncio.wait([work], timeout=until - now())
    if work.done() and not work.cancelled():
        work.exception()  # whoever looks at the cloud again sees what came of it


def _asked(secured: bool | None, groups: Sequence[str] | None, pairs: Sequence[AddressPair] | None) -> str:
    """What a change sets, in words."""
    words = []
    if secured is not None:
        words.append("port security " + ("on" if secured else "off"))
    if groups is not None:
        words.append(f"{len(groups)} security groups" if len(groups) != 1 else "one security group")
    if pairs is not None:
        shown = ", ".join(show_network(pair.network) for pair in pairs)
        words.append(f"allowed address pairs {shown}" if shown else "no allowed address pairs")
    return " and ".join(words) or "nothing"
