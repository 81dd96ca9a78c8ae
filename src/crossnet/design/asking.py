"""Which packets of its crossings a spec asks the kernels about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from crossnet.design.ingress import ingress_towards, shared_networks
from crossnet.design.kernel import is_plain, sample
from crossnet.design.question import Question, Refused, devices_of
from crossnet.facts import Facts, Lookup
from crossnet.facts.routes import matching
from crossnet.path import Client
from crossnet.spec import Spec
from crossnet.values import Family, Network, address, family_of

# Questions to one host, each of which costs it a process: about 2 ms. What is not asked is what the facts say.
MOST = 64


def lookups(spec: Spec, facts: Mapping[str, Facts]) -> Mapping[str, tuple[Lookup, ...]]:
    """What to ask the kernel of each host, as far as the hosts are known; nothing of one whose routing is plain."""
    found: dict[str, dict[Lookup, None]] = {}
    plain: dict[tuple[str, Family], bool] = {}
    for crossing in spec.crossings:
        managed = [entry for entry in crossing.clients if isinstance(entry, str)]
        if not {crossing.via, *managed} <= facts.keys():
            continue
        for family in sorted({family_of(network) for network in crossing.to}):
            q = Question(crossing, family, facts)
            for name in {crossing.via, *managed}:
                if (name, family) not in plain:
                    plain[name, family] = is_plain(facts[name], family)
            if all(plain[name, family] for name in {crossing.via, *managed}):
                continue
            for name, lookup in _of(q):
                if not plain[name, family]:
                    found.setdefault(name, {})[lookup] = None
    return {name: tuple(islice(asked, MOST)) for name, asked in found.items()}


def _of(q: Question) -> Iterator[tuple[str, Lookup]]:
    for entry in q.crossing.clients:
        if isinstance(entry, str):
            try:
                ways = list(shared_networks(q, entry))
            except Refused:
                continue
            for way in ways:
                yield from ((entry, lookup) for lookup in _of_client(q, entry, way.client))
                yield from (
                    (q.gateway.host, lookup) for lookup in _of_gateway(q, way.client.network, way.ingress)
                )
        elif family_of(entry) is q.family:
            try:
                ingress = ingress_towards(q, entry)
            except Refused:
                ingress = ""
            yield from ((q.gateway.host, lookup) for lookup in _of_gateway(q, entry, ingress))


def _of_client(q: Question, name: str, client: Client) -> Iterator[Lookup]:
    """A client's next hop, and each destination with and without its source."""
    yield Lookup(client.next_hop)
    for network in q.to:
        target = sample(q.facts[name], network)
        if target is not None:
            yield Lookup(target)
            yield Lookup(target, address(str(client.network.network_address)))


def _of_gateway(q: Question, client: Network, ingress: str) -> Iterator[Lookup]:
    """What the gateway itself would send, what a client sends as it comes in, and the answers to it."""
    own = sample(q.gateway, client)
    if own is None:
        return
    yield Lookup(own)
    for network in q.to:
        target = sample(q.gateway, network)
        if target is None:
            continue
        yield Lookup(target)
        if ingress:
            yield Lookup(target, own, ingress)
        yield from (Lookup(own, target, egress) for egress in _egresses(q, network))


def _egresses(q: Question, network: Network) -> Iterable[str]:
    if q.crossing.egress is not None:
        return (q.crossing.egress,)
    routes = [route for route in q.gateway.routes if route.type != "local"]
    return sorted(devices_of(matching(routes, network)))
