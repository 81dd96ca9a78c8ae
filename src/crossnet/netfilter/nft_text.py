"""crossnet's own table as text for `nft -f -`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from crossnet.netfilter import (
    Accept,
    Chain,
    ClampMss,
    Continue,
    DestinationPorts,
    Drop,
    Endpoint,
    FlowDirection,
    FlowEnd,
    Hook,
    Interface,
    Jump,
    L4Protocol,
    Map,
    Masquerade,
    Match,
    NamedSet,
    Reject,
    Return,
    Rule,
    Set,
    Snat,
    SnatByDestination,
    State,
    SynOnly,
    Table,
    UnknownMatch,
    UnknownVerdict,
)
from crossnet.netfilter.own import TABLE, check_own, networks_in_order
from crossnet.values import Network, show_network

_PER_LINE = 64
_FIELDS = {"source": "saddr", "destination": "daddr"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9/_.-]*")


def write_table(table: Table) -> str:
    """Put this table in place of whatever own table the gateway has, in one atomic `nft -f -`.

    The counters start from zero. ValueError when the table is not one that `check_own` lets through.
    """
    check_own(table)
    lines = [remove_table(table.family), f"table {table.family} {table.name} {{\n"]
    for each in table.sets:
        lines += _set_lines(table.family, each)
    for mapping in table.maps:
        lines += _map_lines(table.family, mapping)
    for chain in table.chains:
        lines += _chain_lines(table.family, chain)
    return "".join((*lines, "}\n"))


def remove_table(family: str) -> str:
    """Remove the own table of this family (`ip` or `ip6`), and be content when there is none.

    `destroy table` would say it in a word and needs kernel 6.3; adding first makes the delete safe.
    """
    return f"add table {family} {TABLE}\ndelete table {family} {TABLE}\n"


def _address_type(family: str) -> str:
    return "ipv4_addr" if family == "ip" else "ipv6_addr"


def _flags(networks: Iterable[Network]) -> list[str]:
    # Single addresses make a hash set: lookups stay flat, and 50,000 entries load in a moment.
    return ["    flags interval\n"] if any(each.prefixlen < each.max_prefixlen for each in networks) else []


def _elements(elements: list[str]) -> list[str]:
    if not elements:
        return []
    lines = [", ".join(elements[start : start + _PER_LINE]) for start in range(0, len(elements), _PER_LINE)]
    return ["    elements = { " + ",\n      ".join(lines) + " }\n"]


def _set_lines(family: str, each: Set) -> list[str]:
    return [
        f"  set {each.name} {{\n",
        f"    type {_address_type(family)}\n",
        *_flags(each.members),
        *_elements([show_network(member) for member in networks_in_order(each.members)]),
        "  }\n",
    ]


def _map_lines(family: str, mapping: Map) -> list[str]:
    kind = _address_type(family)
    sources = dict(mapping.entries)
    networks = networks_in_order(sources)
    return [
        f"  map {mapping.name} {{\n",
        f"    type {kind} : {kind}\n",
        *_flags(networks),
        *_elements([f"{show_network(network)} : {sources[network]}" for network in networks]),
        "  }\n",
    ]


def _chain_lines(family: str, chain: Chain) -> list[str]:
    lines = [f"  chain {chain.name} {{\n"]
    if chain.hook is not None:
        lines.append(f"    {_hook_text(chain.hook)}\n")
    for rule in chain.rules:
        # the counter before the verdict: a statement after the verdict is never reached
        words = [*_match_texts(family, rule), "counter", _verdict_text(family, rule)]
        comment = f' comment "{rule.comment}"' if rule.comment else ""
        lines.append(f"    {' '.join(word for word in words if word)}{comment}\n")
    return [*lines, "  }\n"]


def _hook_text(hook: Hook) -> str:
    # nft knows the mangle table's chains as type filter; numbers, for nft 0.9.0 has few priority names
    kind = "filter" if hook.type == "mangle" else hook.type
    return f"type {kind} hook {hook.name} priority {hook.priority}; policy {hook.policy};"


def rule_text(family: str, rule: Rule) -> str:
    """A rule in nft's words without its counter and comment; unknown parts in the words they came in."""
    words = (*_match_texts(family, rule), _verdict_text(family, rule))
    return " ".join(word for word in words if word)


def _match_texts(family: str, rule: Rule) -> list[str]:
    protocol = next((match.name for match in rule.matches if isinstance(match, L4Protocol)), "th")
    return [_match_text(family, protocol, match) for match in rule.matches]


def _match_text(family: str, protocol: str, match: Match) -> str:
    match match:
        case Interface(direction=direction, name=name, negated=negated):
            return f'{"iifname" if direction == "in" else "oifname"} {_not(negated)}"{name}"'
        case Endpoint(side=side, where=where, negated=negated):
            version, named = _where_text(family, where)
            return f"{version} {_FIELDS[side]} {_not(negated)}{named}"
        case L4Protocol(name=name, negated=negated):
            return f"meta l4proto {_not(negated)}{name}"
        case DestinationPorts(ranges=(only,)):
            return f"{protocol} dport {only}"
        case DestinationPorts(ranges=ranges):
            return f"{protocol} dport {{ {', '.join(str(each) for each in ranges)} }}"
        case State(names=names):
            return f"ct state {','.join(sorted(names))}"
        case FlowDirection(name=name):
            return f"ct direction {name}"
        case FlowEnd(side=side, where=where):
            version, named = _where_text(family, where)
            return f"ct original {version} {_FIELDS[side]} {named}"
        case SynOnly():
            return "tcp flags & (syn|rst) == syn"
        case UnknownMatch(text=text):
            return text


def _where_text(family: str, where: Network | NamedSet) -> tuple[str, str]:
    """The family as nft's words begin with it, and the network or the set."""
    if isinstance(where, NamedSet):
        # a set written inside a rule is called by its text (see nft_json.py)
        named = f"@{where.name}" if _NAME.fullmatch(where.name) else where.name
        return ("ip6" if family == "ip6" else "ip"), named
    return ("ip6" if where.version == 6 else "ip"), show_network(where)


def _not(negated: bool) -> str:
    return "!= " if negated else ""


def _verdict_text(family: str, rule: Rule) -> str:
    match rule.verdict:
        case Accept():
            return "accept"
        case Drop():
            return "drop"
        case Reject():
            return "reject"
        case Return():
            return "return"
        case Continue():
            return ""
        case Masquerade():
            return "masquerade"
        case ClampMss():
            return "tcp option maxseg size set rt mtu"
        case Snat(address=source):
            return f"snat to {source}"
        case SnatByDestination(map=name):
            return f"snat to {family} daddr map @{name}"
        case Jump(chain=chain, goto=goto):
            return f"{'goto' if goto else 'jump'} {chain}"
        case UnknownVerdict(text=text):
            return text
