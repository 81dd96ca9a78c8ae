"""Translations of a client to a gateway's own address."""

from __future__ import annotations

from collections.abc import Mapping

from crossnet.design.fence import is_gone
from crossnet.diagnosis.finding import Direction, Finding
from crossnet.diagnosis.fixes.case import APPLY, Case, Remedying
from crossnet.diagnosis.fixes.rules import accept_flow
from crossnet.netfilter import Engine
from crossnet.netfilter.foreign import Tool
from crossnet.values import Family, show_network
from crossnet.verdict import Fix

NAT_CHAINS = tuple(
    f"nft 'add chain {ip} by_hand postrouting {{ type nat hook postrouting priority -150; }}'"
    for ip in ("ip", "ip6")
)


def _translate(case: Case) -> tuple[Fix, ...]:
    """A translation of this client to the gateway's own address, ahead of all others."""
    remedy, chain = case.cause.remedy, case.cause.chain
    accept = accept_flow(case) if chain is not None else ()
    if chain is not None:
        # Only what is tracked is translated: the request is what must be.
        source, destination = str(case.course.source or ""), str(case.probe.destination)
        tracked = Finding(
            case.cause.code, case.cause.host, case.cause.interface, Direction.FORWARD, "", chain=chain
        )
        accept = accept_flow(Case(tracked, case.course, case.probe, case.facts, case.source))
        return tuple(Fix(each.host, each.commands) for each in accept) if source and destination else ()
    if is_gone(case.here, case.family):
        return case.fix(by_crossnet=APPLY)  # it comes back together with the fence
    if remedy.address is None or remedy.device is None or remedy.destination is None:
        return accept
    network = show_network(remedy.destination)
    client = case.course.source
    has = case.here.capabilities.has
    by_crossnet = APPLY if case.cause.code == "snat-missing" else None
    if remedy.ahead_of is not Tool.NFT and not _is_early(case) and (has("iptables") or not has("nft")):
        tool = "iptables" if case.family is Family.V4 else "ip6tables"
        if remedy.ahead_of is Tool.IPTABLES_LEGACY:
            tool = case.here.iptables(Engine.IPTABLES_LEGACY, case.family)
        of = f"-s {client} " if client else ""
        rule = f"{of}-d {network} -o {remedy.device} -j SNAT --to-source {remedy.address}"
        return case.fix(f"{tool} -t nat -I POSTROUTING 1 {rule}", by_crossnet=by_crossnet)
    ip = "ip" if case.family is Family.V4 else "ip6"
    of = f"{ip} saddr {client} " if client else ""
    rule = f"{of}{ip} daddr {network} oifname {remedy.device} snat to {remedy.address}"
    return case.fix(
        f"nft add table {ip} by_hand",
        NAT_CHAINS[case.family is Family.V6],
        f"nft add rule {ip} by_hand postrouting {rule}",
        by_crossnet=by_crossnet,
    )


def _is_early(case: Case) -> bool:
    """Whether a chain of nft's own decides before those of iptables, which stand at 100 (NF_IP_PRI_NAT_SRC)."""
    hooks = [chain.hook for _, _, chain in case.here.firewall.others() if chain.hook is not None]
    return any(hook.type == "nat" and hook.name == "postrouting" and hook.priority < 100 for hook in hooks)


FIXES: Mapping[str, Remedying] = dict.fromkeys(
    (
        *("snat-missing", "snat-skipped", "snat-address-not-local", "snat-address-unsuitable"),
        "snat-ports-exhausted",
    ),
    _translate,
)
