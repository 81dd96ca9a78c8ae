"""Plans for tests of exports, made from the facts of hosts in memory."""

from __future__ import annotations

from collections.abc import Mapping

from crossnet.planning import Plan, make_plan
from crossnet.specfile import parse
from design.factsheet import SEED, facts_from
from planning.fakehost import FakeHost, carry_out, facts_of, hosts_of

LEGACY = "\n  tools ip sysctl iptables ip6tables ipset\n  iptables legacy\n"
ON_LEGACY = SEED.rstrip() + LEGACY

HOSTS = "app: {ssh: root@10.0.43.15}, gateway: {ssh: 'ssh://ops@10.0.43.101:2222', become: sudo}"
BUSINESS = "business: {from: app, via: gateway, to: 10.0.44.0/24}"


def plan(
    crossings: str = BUSINESS, *, world: str = SEED, hosts: str = HOSTS, file: str = "crossnet.yaml"
) -> Plan:
    """The plan for these crossings on hosts that crossnet never saw."""
    return plan_on(hosts_of(facts_from(world)), crossings, hosts=hosts, file=file)


def plan_on(
    world: Mapping[str, FakeHost], crossings: str, *, hosts: str = HOSTS, file: str = "crossnet.yaml"
) -> Plan:
    spec = parse(f"crossnet: 1\nhosts: {{{hosts}}}\ncrossings: {{{crossings}}}\n", file)
    return make_plan(spec, facts_of(world))


def applied(crossings: str, *, world: str = SEED, hosts: str = HOSTS) -> Mapping[str, FakeHost]:
    """Hosts on which a spec was applied."""
    made = hosts_of(facts_from(world))
    carry_out(plan_on(made, crossings, hosts=hosts), made)
    return made
