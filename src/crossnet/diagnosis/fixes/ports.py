"""Ports of a cloud, in the words of `openstack`: opened by the crossing itself where its spec names the cloud."""

from __future__ import annotations

from collections.abc import Mapping

from crossnet.diagnosis.finding import Direction
from crossnet.diagnosis.fixes.case import APPLY, Case, Remedying
from crossnet.openstack.entry import command
from crossnet.openstack.ports import CloudFacts, Port, SecurityGroup
from crossnet.several import first_of
from crossnet.spec import PortSecurity
from crossnet.translation import Untranslated
from crossnet.values import Family, Protocol, family_of, show_network
from crossnet.verdict import Fix

_LEAST = "`port-security: least` for the crossing in the spec; then `crossnet apply`"


class _AtPort:
    """A case at a port, with what its cloud says of it."""

    def __init__(self, case: Case, cloud: CloudFacts, port: Port) -> None:
        self.case, self.cloud, self.port = case, cloud, port

    def fix(self, *words: str, by_crossnet: str | None = None, warning: str = "") -> tuple[Fix, ...]:
        """One command for whoever may change the port."""
        if by_crossnet == APPLY:
            return (Fix(self.where, (), by_crossnet),)
        typed = command(self.cloud.cloud, *words)
        return (Fix(self.where, (typed,), by_crossnet, warning),)

    @property
    def where(self) -> str:
        return f"cloud {self.cloud.cloud}"

    def by_crossnet(self) -> str | None:
        """Whether the crossing opens this port, as its spec has it or could have it."""
        crossing, cause = self.case.course.crossing, self.case.cause
        gateway = next((each for each in self.case.course.gateways if each.host == cause.host), None)
        if crossing is None or gateway is None or not crossing.cloud:
            return None
        is_admitted = crossing.allow is None or any(each.admits(self.case.probe) for each in crossing.allow)
        of_clients = cause.interface == gateway.ingress and (
            cause.code == "neutron-antispoof-source" or (cause.hook == "ingress" and is_admitted)
        )
        as_itself = (
            cause.interface == gateway.egress
            and cause.code == "neutron-antispoof-source"
            and isinstance(crossing.translate, Untranslated)
        )
        if not (of_clients or as_itself):
            return None
        return _LEAST if crossing.port_security is PortSecurity.LEAVE else APPLY


def _at(case: Case) -> _AtPort | None:
    said = case.here.cloud
    port = said.ports.get(case.cause.interface or "") if isinstance(said, CloudFacts) else None
    return _AtPort(case, said, port) if isinstance(said, CloudFacts) and port is not None else None


def _may_send(case: Case) -> tuple[Fix, ...]:
    at, network = _at(case), case.cause.remedy.destination
    if at is None or network is None:
        return ()
    pair = f"ip-address={show_network(network)}"
    naming = [
        group.name
        for group in at.cloud.referring
        if any(rule.direction == "ingress" and rule.remote_group in at.port.groups for rule in group.rules)
    ]
    # The members of a remote group are the pairs of its ports, too (measured).
    warning = (
        f"then everybody in {show_network(network)} gets in where the security group {first_of(naming)} is"
    )
    return at.fix(
        *("port", "set", "--allowed-address", pair, at.port.id),
        by_crossnet=at.by_crossnet(),
        warning=warning if naming else "",
    )


def _admit(case: Case) -> tuple[Fix, ...]:
    """A rule of the port's security group that fewest other ports are in, as far as they can be seen."""
    at, cause, probe = _at(case), case.cause, case.probe
    if at is None:
        return ()
    by_crossnet = at.by_crossnet()
    groups = [at.cloud.groups[each] for each in at.port.groups if each in at.cloud.groups]
    source, destination = cause.ends
    remote = source if cause.hook == "ingress" else destination
    if not groups or remote is None:
        return (Fix(at.where, (), by_crossnet),) if by_crossnet else ()
    group = min(groups, key=lambda each: len(_ports(at.cloud, each)))
    shared = [each.shown for each in _ports(at.cloud, group) if each.id != at.port.id]
    protocol = str(probe.protocol)
    if probe.protocol is Protocol.ICMP and family_of(remote) is Family.V6:
        protocol = "ipv6-icmp"
    words = [
        f"--{cause.hook}",
        *("--ethertype", family_of(remote).label, "--protocol", protocol),
    ]
    if probe.port is not None and cause.direction is Direction.FORWARD:
        words += ["--dst-port", str(probe.port)]
    words += ["--remote-ip", f"{remote}/{remote.max_prefixlen}", group.id]
    warning = f"{group.name} is also the security group of {first_of(shared)}" if shared else ""
    return at.fix("security", "group", "rule", "create", *words, by_crossnet=by_crossnet, warning=warning)


def _ports(cloud: CloudFacts, group: SecurityGroup) -> tuple[Port, ...]:
    return tuple(each for each in cloud.members if group.id in each.groups)


def _switch_on(case: Case) -> tuple[Fix, ...]:
    at = _at(case)
    return at.fix("port", "set", "--enable", at.port.id) if at is not None and not at.port.is_enabled else ()


FIXES: Mapping[str, Remedying] = {
    "neutron-antispoof-source": _may_send,
    "neutron-security-group": _admit,
    "neutron-port-down": _switch_on,
}
