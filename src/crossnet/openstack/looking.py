"""Read what a cloud says of the ports of hosts, with the groups and subnets that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from crossnet.facts import Facts
from crossnet.openstack import reading
from crossnet.openstack.access import Access
from crossnet.openstack.matching import hardware_of, port_of
from crossnet.openstack.ports import CloudFacts, GroupRule, Port, SecurityGroup, Sought, Subnet

T = TypeVar("T")


class Looking:
    """Reads of one cloud; the ports and subnets that were `seen` are known by their ids from then on."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self.seen: dict[str, Port] = {}
        self.seen_subnets: dict[str, Subnet] = {}

    def look(
        self, hosts: Mapping[str, Facts], sought: Mapping[str, Sought], tried: str
    ) -> Mapping[str, CloudFacts]:
        wanted = Sought()
        for one in sought.values():
            wanted |= one
        extensions = frozenset(self.read("/extensions", reading.extension_of, tried, key="extensions"))
        links = [link for facts in hosts.values() for link in facts.links]
        ports = self._ports_of(tried, ("mac_address", {hardware_of(link) for link in links} - {""}))
        known = {(port.mac, address) for port in ports for address in port.addresses}
        lost = [
            f"ip_address={item.address}"
            for link in links
            if not any((hardware_of(link), item.address) in known for item in link.addresses)
            for item in link.addresses
            if hardware_of(link)
        ]
        others = self._ports_of(tried, ("fixed_ips", lost))
        told = list({port.id: port for port in (*ports, *others)}.values())
        found = {name: _matched(facts, told) for name, facts in hosts.items()}
        strays = self._ports_of(tried, ("id", wanted.ports - {port.id for port in told}))
        networks = {port.network for ports, _ in found.values() for port in ports.values()}
        subnets = self._subnets("network_id", networks, tried)
        subnets += self._subnets("id", wanted.subnets - {subnet.id for subnet in subnets}, tried)
        own = {group for ports, _ in found.values() for port in ports.values() for group in port.groups}
        own |= wanted.groups
        referring = set(
            self.read(
                "/security-group-rules",
                reading.group_with_rule,
                tried,
                [("remote_group_id", group) for group in sorted(own)],
            )
            if own
            else ()
        )
        groups = self.groups(own | referring, tried)
        named = _named(own, groups)
        groups |= self.groups(named - set(groups), tried)
        groups |= self._named(wanted.named - {group.name for group in groups.values()}, tried)
        groups = self._resolved(groups, tried)
        members = self._ports_of(tried, ("security_groups", own | referring | named))
        project, sees_all = self._access.scope()
        seen: tuple[Port | Subnet, ...] = (*told, *strays, *subnets)
        return {
            name: replace(
                _facts(
                    self._access.name,
                    ports,
                    unfound,
                    groups,
                    members,
                    extensions,
                    subnets,
                    sought.get(name, Sought()),
                    seen,
                ),
                project=project,
                sees_all=sees_all,
            )
            for name, (ports, unfound) in found.items()
        }

    def _ports_of(self, tried: str, wanted: tuple[str, Iterable[str]]) -> list[Port]:
        name, values = wanted
        query = [(name, value) for value in sorted(set(values))]
        found = self.read("/ports", reading.port_of, tried, query) if query else []
        ports = {port.id: port for port in found}
        self.seen |= ports
        return list(ports.values())

    def _subnets(self, by: str, values: Iterable[str], tried: str) -> list[Subnet]:
        query = [(by, each) for each in sorted(values)]
        found = self.read("/subnets", reading.subnet_of, tried, query) if query else []
        self.seen_subnets |= {subnet.id: subnet for subnet in found}
        return found

    def groups(self, ids: Iterable[str], tried: str) -> dict[str, SecurityGroup]:
        query = [("id", each) for each in sorted(ids)]
        found = self.read("/security-groups", reading.group_of, tried, query) if query else []
        return {group.id: group for group in found}

    def _named(self, names: Iterable[str], tried: str) -> dict[str, SecurityGroup]:
        query = [("name", each) for each in sorted(names)]
        found = self.read("/security-groups", reading.group_of, tried, query) if query else []
        return {group.id: group for group in found}

    def _resolved(self, groups: Mapping[str, SecurityGroup], tried: str) -> dict[str, SecurityGroup]:
        """The groups, where a rule that names an address group is one for each of its networks, if that may be seen."""
        named = {rule.remote_addresses for group in groups.values() for rule in group.rules} - {None}
        query = [("id", each) for each in sorted(each for each in named if each is not None)]
        known = dict(self.read("/address-groups", reading.addresses_of, tried, query)) if query else {}

        def rules(rule: GroupRule) -> Iterable[GroupRule]:
            if rule.remote_addresses not in known:
                return [rule]
            return [
                replace(rule, remote=each, remote_addresses=None) for each in known[rule.remote_addresses]
            ]

        return {
            each: replace(group, rules=tuple(one for rule in group.rules for one in rules(rule)))
            for each, group in groups.items()
        }

    def read(
        self,
        path: str,
        meaning: Callable[[Mapping[str, object]], T],
        tried: str,
        query: Sequence[tuple[str, str]] = (),
        key: str = "",
    ) -> list[T]:
        entries = self._access.list(path, tried, query, key)
        with reading.door(self._access.name, tried):
            return [meaning(entry) for entry in entries]


def _matched(facts: Facts, ports: Sequence[Port]) -> tuple[dict[str, Port], dict[str, str]]:
    links = {link.name: link for link in facts.links}
    found: dict[str, Port] = {}
    unfound: dict[str, str] = {}
    for name, link in links.items():
        match port_of(link, links, ports):
            case str() as reason:
                unfound[name] = reason
            case port:
                found[name] = port
    return found, unfound


def _facts(
    cloud: str,
    ports: Mapping[str, Port],
    unfound: Mapping[str, str],
    groups: Mapping[str, SecurityGroup],
    members: Sequence[Port],
    extensions: frozenset[str],
    subnets: Sequence[Subnet],
    sought: Sought,
    seen: Sequence[Port | Subnet],
) -> CloudFacts:
    """Of all that was read what belongs to one host, or was sought for it."""
    own = {group for port in ports.values() for group in port.groups} | sought.groups
    named_so = {group.id for group in groups.values() if group.name in sought.named}
    named = _named(own, groups)
    referring = [group for group in groups.values() if any(rule.remote_group in own for rule in group.rules)]
    held = own | named | {group.id for group in referring}
    networks, plugged = {port.network for port in ports.values()}, {port.id for port in ports.values()}
    return CloudFacts(
        cloud,
        MappingProxyType(dict(ports)),
        MappingProxyType(dict(unfound)),
        MappingProxyType({one: groups[one] for one in sorted(own | named | named_so) if one in groups}),
        tuple(referring),
        tuple(port for port in members if held.intersection(port.groups)),
        extensions,
        tuple(subnet for subnet in subnets if subnet.network in networks),
        tuple(
            one
            for one in seen
            if (isinstance(one, Port) and one.id in sought.ports - plugged)
            or (isinstance(one, Subnet) and one.id in sought.subnets and one.network not in networks)
        ),
    )


def _named(own: set[str], groups: Mapping[str, SecurityGroup]) -> set[str]:
    """The groups that the rules of these name."""
    rules = [rule for one in own & set(groups) for rule in groups[one].rules]
    return {rule.remote_group for rule in rules if rule.remote_group is not None}
