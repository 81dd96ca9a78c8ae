"""Who else on a host may stop what crossnet forwards.

An accept in one base chain never overrides a drop in another at the same hook, whatever the priorities:
so every drop at the forward hook that is not crossnet's is worth a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from crossnet.netfilter import Chain, Drop, Jump, Reject, Rule, Table, UnknownVerdict, iptables, nft
from crossnet.netfilter.iptables_own import PLACES
from crossnet.netfilter.own import TABLE

_IPTABLES_TABLES = frozenset({"raw", "mangle", "nat", "filter", "security"})
_OWN_CHAINS = frozenset(place.chain for place in PLACES.values())

# Unknown verdicts that change or copy a packet and let it go on; any other may be a drop.
_GOES_ON = re.compile(
    r"(?:-j |xt target )(?:AUDIT|CHECKSUM|CLASSIFY|CONNMARK|CONNSECMARK|CT|DNAT|DSCP|ECN|HL|HMARK|IDLETIMER"
    r"|MARK|MASQUERADE|NETMAP|NOTRACK|REDIRECT|SECMARK|SET|SNAT|TCPMSS|TCPOPTSTRIP|TEE|TOS|TRACE|TTL)\b"
    r"|(?:snat|dnat|masquerade|redirect|notrack|dup|flow|secmark|ct helper|ct timeout|ct expectation)\b"
    r"|.+ set |.+ vmap \{"
)
_ENDS = re.compile(r"\b(?:drop|reject|queue|synproxy|fwd|vmap @)")


def may_drop_forwarded(tables: Iterable[Table]) -> tuple[str, ...]:
    """One line for each foreign policy or rule that may drop or reject a forwarded packet.

    `table inet filter chain forward: policy drop`, `table ip filter chain FORWARD: rule -i eth1 -j DROP`.
    Rules are found directly and through jumps, each once, whether or not a crossing's packet can meet them.
    """
    lines: list[str] = []
    for table in tables:
        if table.name == TABLE or table.family not in ("ip", "ip6", "inet"):
            continue
        reached: dict[str, Chain] = {}
        for chain in table.chains:
            if chain.hook is not None and chain.hook.name == "forward":
                if chain.hook.policy == "drop":
                    lines.append(f"table {table.family} {table.name} chain {chain.name}: policy drop")
                _reach(table, chain, reached)
        for chain in reached.values():
            where = f"table {table.family} {table.name} chain {chain.name}"
            lines += [f"{where}: rule {text_of(table, rule)}" for rule in chain.rules if _may_drop(rule)]
    return tuple(lines)


def _reach(table: Table, chain: Chain, reached: dict[str, Chain]) -> None:
    if chain.name in reached or chain.name in _OWN_CHAINS:
        return
    reached[chain.name] = chain
    for target in _targets(chain):
        entered = table.chain(target)
        if entered is not None:
            _reach(table, entered, reached)


def _targets(chain: Chain) -> Iterator[str]:
    for rule in chain.rules:
        if isinstance(rule.verdict, Jump):
            yield rule.verdict.chain
        elif isinstance(rule.verdict, UnknownVerdict):  # a verdict map
            yield from re.findall(r"\b(?:jump|goto) ([^\s,]+)", rule.verdict.text)


def _may_drop(rule: Rule) -> bool:
    match rule.verdict:
        case Drop() | Reject():
            return True
        case UnknownVerdict(text=text):
            return not _GOES_ON.match(text) or bool(_ENDS.search(text))
        case _:
            return False


def text_of(table: Table, rule: Rule) -> str:
    """In the words of the tool that most likely made the table."""
    if (
        table.family != "inet"
        and table.name in _IPTABLES_TABLES
        and any(chain.name.isupper() and chain.hook is not None for chain in table.chains)
    ):
        return iptables.rule_text(rule)
    return nft.rule_text(table.family, rule)
