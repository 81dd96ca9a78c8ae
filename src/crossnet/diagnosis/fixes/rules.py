"""Rules ahead of those that stop a flow, in the words of the tool that made their chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from crossnet.diagnosis.finding import Direction, is_own
from crossnet.diagnosis.fixes.case import APPLY, Case, Remedying
from crossnet.diagnosis.fixes.planned import has_flow, planned
from crossnet.facts import Facts
from crossnet.netfilter import Engine
from crossnet.netfilter.foreign import Tool
from crossnet.reach.rules import Place as Chain
from crossnet.values import Family, Protocol, contains
from crossnet.verdict import Fix


def accept_flow(case: Case) -> tuple[Fix, ...]:
    """An accept of this flow in front of the rule that stops it, in the same chain."""
    chain = case.cause.chain
    if chain is None or not chain.table:
        return ()
    if is_own(chain):
        return case.fix(by_crossnet=_admitting(case))
    source, destination = case.ends
    if not destination:
        return ()
    engine = engine_of(chain, case.here)
    if engine is Engine.NFTABLES:
        words = _nft_match(case, source, destination, reply=case.cause.direction is Direction.REPLY)
        return case.fix(f"nft insert rule {chain.family} {chain.table} {chain.chain} {words} accept")
    table = "" if chain.table == "filter" else f" -t {chain.table}"
    into = _chain_for_people(case, chain)
    words = _iptables_match(case, source, destination, reply=case.cause.direction is Direction.REPLY)
    return case.fix(f"{case.iptables(engine, chain)}{table} -I {into} 1 {words} -j ACCEPT")


def _admitting(case: Case) -> str:
    """How crossnet's own rules come to let a flow through: they are of the hosts as they were when it was applied."""
    source = case.course.source
    if has_flow(case):
        path = planned(case)
        if path is None:
            return "`crossnet plan` says what keeps the crossing from being applied as the hosts are now"
        if source is None or any(contains(client.network, source) for client in path.clients):
            return APPLY
    port = f"/{case.probe.port}" if case.probe.port is not None else ""
    return (
        f"a crossing with {source} ({case.course.client.host}) in `from`, {case.probe.destination} in `to` and, where "
        f"it has an `allow`, {case.probe.protocol}{port} in that; then `crossnet apply`"
    )


def engine_of(chain: Chain, facts: Facts) -> Engine:
    """In whose words a chain is changed: nft's own also where iptables can do nothing with the table any more."""
    firewall = facts.firewall
    if chain.tool is not Tool.NFT:
        return Engine(chain.tool)
    if (chain.family, chain.table) in firewall.left_to_nft:
        return Engine.NFTABLES
    for engine, table, each in firewall.others():
        if (table.tool, table.family, table.name, each.name) == (
            Tool.NFT,
            chain.family,
            chain.table,
            chain.chain,
        ):
            return engine
    return Engine.NFTABLES


def _chain_for_people(case: Case, chain: Chain) -> str:
    """Docker asks people to put what they accept into a chain of its own for that."""
    if chain.chain != "FORWARD":
        return chain.chain
    theirs = any(
        "DOCKER-USER" in table.chains
        for table in case.here.firewall.foreign
        if (table.tool, table.family, table.name) == (chain.tool, chain.family, chain.table)
    )
    return "DOCKER-USER" if theirs else chain.chain


def _iptables_match(case: Case, source: str | None, destination: str | None, *, reply: bool) -> str:
    words = [f"-s {source}"] if source else []
    words += [f"-d {destination}"] if destination else []
    protocol, port = case.probe.protocol, case.probe.port
    name = "ipv6-icmp" if protocol is Protocol.ICMP and case.family is Family.V6 else str(protocol)
    words.append(f"-p {name}")
    if port is not None:
        words.append(f"{'--sport' if reply else '--dport'} {port}")
    if reply and _is_tracked_at(case):
        words.append("-m conntrack --ctstate ESTABLISHED,RELATED")
    return " ".join(words)


def _is_tracked_at(case: Case) -> bool:
    """Whether connection tracking has seen packets by then: an answer is one to a request, and opens nothing."""
    chain = case.cause.chain
    if chain is None or case.cause.untracked or case.cause.code == "reply-not-untranslated":
        return False
    late = chain.hook in ("forward", "input", "postrouting") and chain.table != "raw"
    return late and chain.family in ("ip", "ip6", "inet")


def _nft_match(case: Case, source: str | None, destination: str | None, *, reply: bool) -> str:
    ip = "ip" if case.family is Family.V4 else "ip6"
    words = [f"{ip} saddr {source}"] if source else []
    words += [f"{ip} daddr {destination}"] if destination else []
    protocol, port = case.probe.protocol, case.probe.port
    if port is not None:
        words.append(f"{protocol} {'sport' if reply else 'dport'} {port}")
    else:
        words.append(f"meta l4proto {'ipv6-icmp' if case.family is Family.V6 else 'icmp'}")
    if reply and _is_tracked_at(case):
        words.append("ct state established,related")
    return " ".join(words)


def _both_tracked(case: Case) -> tuple[Fix, ...]:
    """Request and answer past the rule that keeps connection tracking from knowing one by the other."""
    if case.cause.chain is None:
        return ()
    request = replace(case.cause, direction=Direction.FORWARD, ends=(None, None))
    asked = Case(request, case.course, case.probe, case.facts, case.source)
    (back,), (out,) = accept_flow(case), accept_flow(asked)
    return (Fix(back.host, (*back.commands, *out.commands)),)


def _large(case: Case) -> tuple[Fix, ...]:
    """TCP is told to send what fits; of everything else the network has to be mended."""
    remedy = case.cause.remedy
    link = case.here.link(remedy.device or "")
    sender = case.facts.get(case.course.client.host)
    first = sender.link(case.course.client.egress or "") if sender is not None else None
    if link is None or (remedy.mtu is None and (first is None or link.mtu >= first.mtu)):
        return ()  # what fits is not known: by its own link a gateway would clamp nothing
    heads = 40 if case.family is Family.V4 else 60
    tool = "iptables" if case.family is Family.V4 else "ip6tables"
    syn = "-p tcp --tcp-flags SYN,RST SYN -j TCPMSS"
    most = f"--set-mss {remedy.mtu - heads}" if remedy.mtu else "--clamp-mss-to-pmtu"
    ends = (("-o", link.name), ("-i", link.name)) if remedy.mtu else (("-o", link.name),)
    if not case.here.capabilities.has(tool):
        return ()
    return case.fix(*(f"{tool} -t mangle -A FORWARD {way} {device} {syn} {most}" for way, device in ends))


FIXES: Mapping[str, Remedying] = {
    **dict.fromkeys(
        (
            *("filter-rule-drop", "filter-policy-drop", "filter-reject", "src-output-filtered"),
            *("queue-without-listener", "dnat-captures", "conntrack-invalid"),
        ),
        accept_flow,
    ),
    "reply-not-untranslated": _both_tracked,
    "pmtu-black-hole": _large,
}
