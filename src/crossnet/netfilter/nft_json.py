"""crossnet's own tables in what `nft -j` prints, as tables of the form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from crossnet.netfilter import Chain, Hook, Map, NamedSet, Set, Table
from crossnet.netfilter.nft_foreign import read_ruleset
from crossnet.netfilter.nft_rule import Surroundings, networks, parse_rule
from crossnet.netfilter.own import TABLE, collapsed
from crossnet.values import Address, Network

_FAMILIES = ("ip", "ip6")
_ADDRESSES = ("ipv4_addr", "ipv6_addr")


@dataclass(slots=True)
class _Printed:
    """The objects of one table, as they come by."""

    sets: dict[str, frozenset[Network]] = field(default_factory=dict)
    maps: dict[str, frozenset[tuple[Network, Address]]] = field(default_factory=dict)
    hooks: dict[str, Hook | None] = field(default_factory=dict)
    rules: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)


class OwnTables:
    """crossnet's own tables, from the objects that nft prints; what is of other tables is nothing here.

    Sets and maps are sorted by name. Left out of `sets` and `maps`: whatever is not a plain set of addresses or a map
    from address to address (rules that use it have an unknown match or verdict then). A set that is written inside a
    rule is a member of `sets` under its own text, `{ 10.0.0.1, 10.0.0.9 }`, which is no name to nft.
    """

    def __init__(self) -> None:
        self._printed: dict[str, _Printed] = {}

    def take(self, kind: str, body: Mapping[str, Any]) -> None:
        """One object: its kind, and what nft says of it; KeyError and TypeError where that is not nft's."""
        if body.get("family") not in _FAMILIES or body.get("name" if kind == "table" else "table") != TABLE:
            return
        printed = self._printed.setdefault(body["family"], _Printed())
        if kind in ("set", "map", "chain", "rule"):
            _take(printed, kind, body)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Those of IPv4 and IPv6 that are there, in nft's order; ValueError where a rule is not as nft prints one."""
        try:
            return tuple(_table(family, TABLE, each) for family, each in self._printed.items())
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not what nft prints of crossnet's table: {error!r}") from error


def parse_ruleset(text: bytes | str) -> tuple[Table, ...]:
    """crossnet's own tables in what `nft -j list ruleset` or `list table` printed; ValueError when it is not."""
    own = OwnTables()
    read_ruleset(text, also=own.take)
    return own.tables


def _take(table: _Printed, kind: str, body: Mapping[str, Any]) -> None:
    match kind:
        case "chain":
            name = _text(body, "name")
            table.hooks[name] = _hook(body)
            table.rules.setdefault(name, [])
        case "rule":
            table.rules.setdefault(body["chain"], []).append(body)
        case "set" if body["type"] in _ADDRESSES:
            members = _members(body.get("elem", []))
            if members is not None:
                table.sets[_text(body, "name")] = members
        case "map" if body["type"] in _ADDRESSES and body["map"] == body["type"]:
            entries = _entries(body.get("elem", []))
            if entries is not None:
                table.maps[_text(body, "name")] = entries


def _hook(body: Mapping[str, Any]) -> Hook | None:
    """The hook of a base chain. nft has no type mangle: it is `route`, or `filter` at the mangle priority."""
    if "hook" not in body:
        return None
    kind, priority = _text(body, "type"), body["prio"]
    if not isinstance(priority, int):
        raise TypeError(f"prio is {priority!r}")
    if kind == "route" or (kind == "filter" and priority == -150):
        kind = "mangle"
    policy = _text(body, "policy") if "policy" in body else "accept"
    return Hook(_text(body, "hook"), kind, priority, policy)


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is {value!r}")
    return value


def _members(elements: list[Any]) -> frozenset[Network] | None:
    members: list[Network] = []
    for element in elements:
        found = networks(element)
        if found is None:
            return None
        members += found
    return collapsed(members)


def _entries(elements: list[Any]) -> frozenset[tuple[Network, Address]] | None:
    entries: set[tuple[Network, Address]] = set()
    for element in elements:
        match element:
            case [key, str(value)] if (found := networks(key)) is not None:
                entries |= {(network, ip_address(value)) for network in found}
            case _:
                return None
    return frozenset(entries)


def _table(family: str, name: str, printed: _Printed) -> Table:
    sets = dict(printed.sets)

    def anonymous(text: str, members: frozenset[Network]) -> NamedSet:
        sets[text] = members
        return NamedSet(text)

    around = Surroundings(family, frozenset(printed.sets), frozenset(printed.maps), anonymous)
    chains = tuple(
        Chain(chain, tuple(parse_rule(rule, around) for rule in rules), printed.hooks[chain])
        for chain, rules in printed.rules.items()
    )
    return Table(
        family,
        name,
        chains,
        tuple(Set(each, members) for each, members in sorted(sets.items())),
        tuple(Map(each, entries) for each, entries in sorted(printed.maps.items())),
    )
