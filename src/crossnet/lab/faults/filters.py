"""Faults of the gateway's firewall: somebody else's rules, at every place where there can be some."""

from __future__ import annotations

from crossnet.lab.faults import scripts
from crossnet.lab.faults.fault import Fault, Step
from crossnet.lab.faults.making import dropping
from crossnet.lab.faults.scene import Scene


def faults(on: Scene) -> tuple[Fault, ...]:
    ingress, egress, target = on.ingress, on.egress, on.target
    host = ingress.host
    to_target, from_target = f"{on.word} daddr {target.address}", f"{on.word} saddr {target.address}"
    forward = "type filter hook forward priority 10;"
    refuse = "icmpv6" if on.v6 else "icmp"

    def rule(name: str, what: str, chain: str, *text: str, code: str = "filter-rule-drop") -> Fault:
        return dropping(name, what, (code,), host, "inet", chain, *text)

    return (
        rule(
            "forward-policy",
            f"a firewall on {host} forwards nothing: its policy is drop",
            "type filter hook forward priority 10; policy drop;",
            code="filter-policy-drop",
        ),
        _legacy_policy(on),
        rule(
            "forward-drop",
            f"a rule on {host} drops what is for {target.address}",
            forward,
            f"{to_target} drop",
        ),
        rule(
            "forward-reject",
            f"a rule on {host} refuses what is for {target.address}, and says so",
            forward,
            f"{to_target} reject with {refuse} type admin-prohibited",
            code="filter-reject",
        ),
        rule(
            "reply-drop",
            f"a rule on {host} drops the answers of {target.address}",
            forward,
            f'oifname "{ingress.interface}" {from_target} drop',
        ),
        rule(
            "raw-drop",
            f"a rule on {host} drops what is for {target.address} before connection tracking sees it",
            "type filter hook prerouting priority raw;",
            f"{to_target} drop",
        ),
        dropping(
            "ingress-drop",
            f"a rule on {host} drops what is for {target.address} as it comes in by {ingress.interface}",
            ("filter-rule-drop",),
            host,
            "netdev",
            f'type filter hook ingress device "{ingress.interface}" priority 0;',
            f"{to_target} drop",
        ),
        rule(
            "postrouting-drop",
            f"a rule on {host} drops what is for {target.address} as it leaves by {egress.interface}",
            "type filter hook postrouting priority 50;",
            f'oifname "{egress.interface}" {to_target} drop',
        ),
        _queue(on),
        rule(
            "random-loss",
            f"a rule on {host} drops every second packet for {target.address}, by chance",
            forward,
            f"{to_target} numgen random mod 2 0 drop",
            code="partial-loss",
        ),
    )


def _legacy_policy(on: Scene) -> Fault:
    tool = "ip6tables-legacy" if on.v6 else "iptables-legacy"
    host = on.ingress.host
    return Fault(
        "forward-policy-legacy",
        f"the policy of FORWARD is DROP on {host}, in the older iptables, which nft does not show",
        ("filter-policy-drop",),
        (Step(host, (tool, "-w", "-P", "FORWARD", "DROP")),),
        (Step(host, (tool, "-w", "-P", "FORWARD", "ACCEPT")),),
    )


def _queue(on: Scene) -> Fault:
    host = on.ingress.host
    tool = "ip6tables" if on.v6 else "iptables"
    rule = ("FORWARD", "-d", on.target.address, "-j", "NFQUEUE", "--queue-num", "4100")
    return Fault(
        "queue-without-listener",
        f"a rule on {host} gives what is for {on.target.address} to a program that does not run",
        ("queue-without-listener",),
        (Step(host, (tool, "-w", "-I", *rule)),),
        (Step(host, (*scripts.TAKE_RULE_OUT, tool, on.word, *rule)),),
        (Step(host, (*scripts.FILTER_TABLE, on.word)),),
    )
