"""NAT of nft: what a source or destination becomes."""

from __future__ import annotations

from typing import Any

from crossnet.netfilter.foreign import Numbers, Statement, Translate, Translation
from crossnet.netfilter.nft_foreign.maps import all_given, fields_of, translated_map
from crossnet.netfilter.nft_foreign.operands import is_of_family
from crossnet.netfilter.nft_foreign.values import IPV4, IPV6, PORT, Kind, NotUnderstood, many

_KINDS = {
    "snat": Translation.SOURCE,
    "dnat": Translation.DESTINATION,
    "masquerade": Translation.MASQUERADE,
    "redirect": Translation.REDIRECT,
}
_NETMAP = {"snat": Translation.NETMAP_SOURCE, "dnat": Translation.NETMAP_DESTINATION}
_VERSIONS = {"ip": 4, "ip6": 6}


def translation(word: str, body: Any, family: str) -> tuple[Statement, ...]:
    """`snat`, `dnat`, `masquerade` or `redirect` with what nft prints of it; packets of the other family go on."""
    said = body if isinstance(body, dict) else {}
    flags = said.get("flags", ())
    kind = _NETMAP[word] if word in _NETMAP and "netmap" in flags else _KINDS[word]
    of = said.get("family", family)
    before = is_of_family(_VERSIONS[of], family) if of in _VERSIONS else ()
    address = IPV6 if of == "ip6" else IPV4
    match said:
        case {"addr": {"map": {"key": key, "data": data}}, **rest}:
            if "port" in rest:
                raise NotUnderstood
            return (*before, *_by_map(kind, key, data, address, family))
        case {"port": {"map": {"key": key, "data": data}}}:
            return (*before, *_by_map(kind, key, data, PORT, family))
    if "addr" in said and of not in _VERSIONS:
        raise NotUnderstood
    addresses = _numbers(said["addr"], address) if "addr" in said else None
    ports = _numbers(said["port"], PORT) if "port" in said else None
    return (*before, Translate(kind, addresses, ports))


def _numbers(printed: Any, kind: Kind) -> Numbers:
    found = many(printed, kind)
    if not isinstance(found, Numbers):
        raise NotUnderstood
    return found


def _by_map(kind: Translation, key: Any, data: Any, gives: Kind, family: str) -> tuple[Statement, ...]:
    match key:
        case {"numgen": _} | {"jhash": _} | {"symhash": _}:  # one of them, by chance or by a hash
            chosen = all_given(data, gives)
            return (Translate(kind, *((None, chosen) if gives is PORT else (chosen, None))),)
    before, read = fields_of(key, family)
    fields = tuple(each.field for each in read)
    return (*before, Translate(kind, fields=fields, map=translated_map(data, read, gives)))
