"""Set-ups that somebody made by hand, as facts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from crossnet import specfile
from crossnet.adoption.finding import Finding
from crossnet.adoption.findings import findings
from crossnet.adoption.hosts import hosts_of
from crossnet.adoption.way import Way
from crossnet.adoption.ways import ways
from crossnet.adoption.writing import reproduced, text
from crossnet.facts import Facts
from crossnet.facts.firewall import Firewall
from crossnet.netfilter.foreign import Tool
from crossnet.netfilter.ipset_save import parse_ipset_save
from crossnet.netfilter.nft_foreign import read_ruleset
from crossnet.netfilter.xtables_save import parse_save
from crossnet.planning import Plan, make_plan
from crossnet.spec import Spec
from crossnet.values import network
from design.factsheet import facts_from

APP = """
app:
  eth0 10.0.43.15/24
  route default via 10.0.43.1 dev eth0
"""
ROUTE = "  route 10.0.44.0/24 via 10.0.43.101 dev eth0\n"
GATEWAY = """
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
  route default via 10.0.44.254 dev eth0
  sysctl net.ipv4.ip_forward 1
"""
SNAT = "  iptables nat -A POSTROUTING -o eth0 -j SNAT --to-source 10.0.44.63\n"
SEED = APP + ROUTE + GATEWAY + SNAT


@dataclass(frozen=True, slots=True)
class Made:
    """What comes of it: the ways, the spec as it is written and read again, its plan, and what is told."""

    ways: tuple[Way, ...]
    spec: Spec
    plan: Plan
    findings: tuple[Finding, ...]

    @property
    def codes(self) -> list[tuple[str, str]]:
        return [(each.where, each.code) for each in self.findings]

    def finding(self, code: str) -> Finding:
        (found,) = [each for each in self.findings if each.code == code]
        return found

    @property
    def live(self) -> set[str]:
        """The kinds of what the plan changes now, and not for the next boot."""
        return {one.resource.kind for _, one in self.plan.changes if not one.resource.is_persistent}

    @property
    def kept(self) -> set[tuple[str, str]]:
        return {(host.host, one.kind) for host in self.plan.hosts for one in host.adopted}


def adopt(
    sheet: str | dict[str, Facts],
    clients: Sequence[str] = ("app",),
    gateways: Sequence[str] = ("gateway",),
    *,
    to: Sequence[str] = (),
    cloud: str = "",
) -> Made:
    facts = facts_from(sheet) if isinstance(sheet, str) else sheet
    sources, passing = hosts_of(
        [f"lab:{each}" for each in clients], [f"lab:{each}" for each in gateways], become=False
    )
    found = ways(clients, gateways, facts, [*map(network, to)])
    crossings = reproduced(found, facts)
    used = {name for way in found for name in (*way.clients, way.gateway)}
    hosts = [host for host in (*sources, *passing) if host.name in used]
    spec = specfile.parse(text("by-hand", hosts, crossings, cloud), "by-hand.yaml")
    plan = make_plan(spec, {name: facts[name] for name in used})
    return Made(found, spec, plan, findings(crossings, facts, plan))


def with_rules(sheet: str, *saved: str, tool: Tool = Tool.IPTABLES_NFT, sets: str = "") -> dict[str, Facts]:
    """The hosts of a sheet, whose gateway has what `iptables-save` and `ipset save` print."""
    tables = parse_save("\n".join(saved) + "\n", "ip", tool, parse_ipset_save(sets))
    facts = facts_from(sheet)
    return {**facts, "gateway": replace(facts["gateway"], firewall=Firewall(foreign=tables))}


def with_nft(sheet: str, *entries: dict[str, Any]) -> dict[str, Facts]:
    """The same with what `nft -j list ruleset` prints."""
    tables = read_ruleset(json.dumps({"nftables": list(entries)}))
    facts = facts_from(sheet)
    return {**facts, "gateway": replace(facts["gateway"], firewall=Firewall(foreign=tables))}


def nft_table(name: str, family: str = "ip") -> dict[str, Any]:
    return {"table": {"family": family, "name": name, "handle": 1}}


def nft_chain(table: str, name: str, family: str = "ip", **hook: object) -> dict[str, Any]:
    return {"chain": {"family": family, "table": table, "name": name, "handle": 1, **hook}}


def nft_rule(table: str, chain: str, *expressions: object, family: str = "ip") -> dict[str, Any]:
    return {"rule": {"family": family, "table": table, "chain": chain, "handle": 2, "expr": [*expressions]}}
