"""Who else on a host may stop what crossnet forwards, or lead it past crossnet's rules.

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
# nftables' own statement; OpenWrt's target of iptables.
_OFFLOADS = re.compile(r"flow\b|(?:-j |xt target )FLOWOFFLOAD\b")
_ENDS = re.compile(r"\b(?:drop|reject|queue|synproxy|fwd|vmap @)")


def may_drop_forwarded(tables: Iterable[Table]) -> tuple[str, ...]:
    """One line for each foreign policy or rule that may drop or reject a forwarded packet.

    `table inet filter chain forward: policy drop`, `table ip filter chain FORWARD: rule -i eth1 -j DROP`.
    Rules are found directly and through jumps, each once, whether or not a crossing's packet can meet them.
    """
    lines: list[str] = []
    for table in tables:
        for chain in _forwarding(table):
            if chain.hook is not None and chain.hook.policy == "drop":
                lines.append(f"{_where(table, chain)}: policy drop")
        for chain in _reached(table):
            lines += [_line(table, chain, rule) for rule in chain.rules if _may_drop(rule)]
    return tuple(lines)


def offload_forwarded(tables: Iterable[Table]) -> tuple[str, ...]:
    """One line for each foreign rule that puts forwarded flows into a flowtable.

    Their packets meet no further rule at the forward hook, crossnet's included (nft(8), FLOWTABLES).
    """
    return tuple(
        _line(table, chain, rule)
        for table in tables
        for chain in _reached(table)
        for rule in chain.rules
        if isinstance(rule.verdict, UnknownVerdict) and _OFFLOADS.match(rule.verdict.text)
    )


def _line(table: Table, chain: Chain, rule: Rule) -> str:
    return f"{_where(table, chain)}: rule {text_of(table, rule)}"


def _where(table: Table, chain: Chain) -> str:
    return f"table {table.family} {table.name} chain {chain.name}"


def _forwarding(table: Table) -> tuple[Chain, ...]:
    """The base chains of somebody else's table that forwarded packets come into."""
    if table.name == TABLE or table.family not in ("ip", "ip6", "inet"):
        return ()
    return tuple(chain for chain in table.chains if chain.hook is not None and chain.hook.name == "forward")


def _reached(table: Table) -> tuple[Chain, ...]:
    """These and every chain that they lead to, each once."""
    reached: dict[str, Chain] = {}
    for chain in _forwarding(table):
        _reach(table, chain, reached)
    return tuple(reached.values())


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
