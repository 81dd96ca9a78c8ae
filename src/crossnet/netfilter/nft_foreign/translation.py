"""NAT of nft: what a source or destination becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from crossnet.netfilter.foreign import Numbers, Statement, Translate, Translation
from crossnet.netfilter.nft_foreign.maps import all_given, fields_of, translated_map
from crossnet.netfilter.nft_foreign.operands import is_of_family
from crossnet.netfilter.nft_foreign.values import IPV4, IPV6, PORT, Kind, NotUnderstood, many
from crossnet.netfilter.xtables_target import ANY_PORT

_KINDS = {
    "snat": Translation.SOURCE,
    "dnat": Translation.DESTINATION,
    "masquerade": Translation.MASQUERADE,
    "redirect": Translation.REDIRECT,
}
_NETMAP = {"snat": Translation.NETMAP_SOURCE, "dnat": Translation.NETMAP_DESTINATION}
_VERSIONS = {"ip": 4, "ip6": 6}
_OF_SOURCE = frozenset({Translation.SOURCE, Translation.MASQUERADE})
_RANDOM = frozenset({"random", "fully-random"})


def translation(word: str, body: Any, family: str) -> tuple[Statement, ...]:
    """`snat`, `dnat`, `masquerade` or `redirect` with what nft prints of it; packets of the other family go on."""
    said = body if isinstance(body, dict) else {}
    kind = _NETMAP[word] if word in _NETMAP and "netmap" in _flags(said) else _KINDS[word]
    of = said.get("family", family)
    before = is_of_family(_VERSIONS[of], family) if of in _VERSIONS else ()
    address = IPV6 if of == "ip6" else IPV4
    at_random = ANY_PORT if kind in _OF_SOURCE and _RANDOM.intersection(_flags(said)) else None
    match said:
        case {"addr": {"map": {"key": key, "data": data}}, **rest}:
            if "port" in rest:
                raise NotUnderstood
            return (*before, *_by_map(Translate(kind, None, at_random), key, data, address, family))
        case {"port": {"map": {"key": key, "data": data}}}:
            return (*before, *_by_map(Translate(kind), key, data, PORT, family))
    if "addr" in said and of not in _VERSIONS:
        raise NotUnderstood
    addresses = _numbers(said["addr"], address) if "addr" in said else None
    ports = _numbers(said["port"], PORT) if "port" in said else at_random
    return (*before, Translate(kind, addresses, ports))


def _flags(said: Mapping[str, Any]) -> Sequence[str]:
    """One flag is printed as a word, several as a list."""
    flags = said.get("flags", ())
    return (flags,) if isinstance(flags, str) else tuple(flags)


def _numbers(printed: Any, kind: Kind) -> Numbers:
    found = many(printed, kind)
    if not isinstance(found, Numbers):
        raise NotUnderstood
    return found


def _by_map(of: Translate, key: Any, data: Any, gives: Kind, family: str) -> tuple[Statement, ...]:
    match key:
        case {"numgen": _} | {"jhash": _} | {"symhash": _}:  # one of them, by chance or by a hash
            chosen = all_given(data, gives)
            return (replace(of, ports=chosen) if gives is PORT else replace(of, addresses=chosen),)
    before, read = fields_of(key, family)
    fields = tuple(each.field for each in read)
    return (*before, replace(of, fields=fields, map=translated_map(data, read, gives)))
