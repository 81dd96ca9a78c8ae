"""What one key of a spec says of another, as far as it can be known without asking a host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from crossnet.specfile import schema
from crossnet.specfile.document import Finding, Node, Path, last_key, short
from crossnet.specfile.words import listed, nearest
from crossnet.values import (
    LINK_LOCAL,
    Address,
    Network,
    Probe,
    Traffic,
    contains,
    family_of,
    host_network,
    overlap,
    show_network,
    why_nowhere,
)

_Remark = tuple[Path, str]  # where in the crossing, what is wrong
_Hosts = Sequence[str]

_MOST_GUESSES = 20  # of a crossing's clients: to guess each of 10,000 among as many hosts takes minutes
_Item = str | Network | Traffic | Probe | None  # None is the `any` of `allow`


def check(draft: schema.File, sound: Node, hosts: Sequence[str]) -> list[Finding]:
    """All contradictions in these crossings; keys that are absent from the draft contradict nothing.

    `sound` is the part of the file that the draft was made from; `hosts` names all hosts of the file,
    because one that is itself described wrongly is still a host.
    """
    return [
        Finding(sound.find(("crossings", name, *path)).mark, f"{last_key(path)}: {message}")
        for name, crossing in draft.crossings.items()
        for rule in _RULES
        for path, message in rule(crossing, hosts)
    ]


def _gateway_is_a_host(crossing: schema.Crossing, hosts: _Hosts) -> Iterator[_Remark]:
    if crossing.via and crossing.via not in hosts:
        yield ("via",), f"{short(crossing.via)} is {_no_host(crossing.via, hosts)}"


def _clients_are_known(crossing: schema.Crossing, hosts: _Hosts) -> Iterator[_Remark]:
    known = set(hosts)
    guesses = iter(range(_MOST_GUESSES))
    for index, client in enumerate(crossing.clients):
        if not isinstance(client, str):
            continue
        if client not in known:
            guess = hosts if next(guesses, None) is not None else ()
            yield ("from", index), f"{short(client)} is no address, no network and {_no_host(client, guess)}"
        elif client == crossing.via:
            yield ("from", index), f"{short(client)} is the gateway itself: it needs no crossing"


def _no_host(name: str, hosts: _Hosts) -> str:
    return f"no host of this file{nearest(name, hosts)}"


def _addresses_are_of_hosts(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    for key, networks in (("from", crossing.clients), ("to", crossing.to)):
        for index, network in enumerate(networks):
            if not isinstance(network, str) and (what := why_nowhere(network)):
                yield (key, index), f"{_show(network)} is {what}: no {_SIDES[key]}"
    for index, probe in enumerate(crossing.probe):
        if what := why_nowhere(host_network(probe.destination)):
            yield ("probe", index), f"{probe.destination} is {what}: no destination"
    # Link-local ones are used for the network between two gateways; whether it is so only the hosts can tell.
    for path, address in (
        (("next-hop",), crossing.next_hop),
        (
            ("translate", "snat"),
            crossing.translate.snat if isinstance(crossing.translate, schema.SnatTo) else None,
        ),
    ):
        if address is None or any(contains(network, address) for network in LINK_LOCAL):
            continue
        if what := why_nowhere(host_network(address)):
            yield path, f"{address} is {what}: no address of a gateway"


_SIDES = {"from": "client", "to": "destination"}


def _nothing_twice(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    yield from _repeated("from", crossing.clients)
    yield from _repeated("to", crossing.to)
    yield from _repeated("allow", crossing.allow)
    yield from _repeated("probe", crossing.probe)


def _repeated(key: str, items: Sequence[_Item]) -> Iterator[_Remark]:
    seen: set[_Item] = set()
    for index, item in enumerate(items):
        if item in seen:
            yield (key, index), f"{_show(item)} is given twice"
        seen.add(item)


def _networks_are_apart(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    yield from _overlapping("from", crossing.clients)
    yield from _overlapping("to", crossing.to)


def _overlapping(key: str, items: Sequence[str | Network]) -> Iterator[_Remark]:
    networks = {item for item in items if not isinstance(item, str)}
    lengths = sorted({network.prefixlen for network in networks}, reverse=True)
    for index, inner in enumerate(items):
        if isinstance(inner, str):
            continue
        if outer := next((around for around in _around(inner, lengths) if around in networks), None):
            message = f"{_show(inner)} lies in {_show(outer)}, which is in the list as well: remove one"
            yield (key, index), message


def _around(inner: Network, lengths: Sequence[int]) -> Iterator[Network]:
    """The networks of these prefix lengths around this one, nearest first.

    Asked for one by one, because comparing all pairs takes seconds for a list of thousands.
    """
    return (inner.supernet(new_prefix=length) for length in lengths if length < inner.prefixlen)


def _destinations_are_elsewhere(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    for index, network in enumerate(crossing.to):
        for client in _unmanaged(crossing):
            if overlap(network, client):
                yield (
                    ("to", index),
                    f"{_show(network)} overlaps the client {_show(client)}: it cannot be on both sides",
                )


def _clients_speak_the_destinations_family(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    for index, client in enumerate(crossing.clients):
        if not isinstance(client, str) and (other := _other_family(client, crossing)):
            yield ("from", index), f"{_show(client)} is {family_of(client).label}, but {other}"


def _snat_address_fits(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    address = crossing.translate.snat if isinstance(crossing.translate, schema.SnatTo) else None
    if address is not None and (other := _other_family(address, crossing)):
        yield ("translate", "snat"), f"{address} is {family_of(address).label}, but {other}"


def _next_hop_fits(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    address = crossing.next_hop
    if address is None:
        return
    if other := _other_family(address, crossing):
        yield ("next-hop",), f"{address} is {family_of(address).label}, but {other}"
    for network in crossing.to:
        if contains(network, address):
            yield (
                ("next-hop",),
                f"{address} lies in the destination {_show(network)}: it must be on the clients' side",
            )


def _other_family(value: Address | Network, crossing: schema.Crossing) -> str | None:
    families = {family_of(network) for network in crossing.to}
    if not families or family_of(value) in families:
        return None
    return f"`to` has only {families.pop().label}"


def _probes_can_pass(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    allow = schema.permitted(crossing)
    for index, probe in enumerate(crossing.probe):
        if crossing.to and not any(contains(network, probe.destination) for network in crossing.to):
            destinations = listed([_show(network) for network in crossing.to])
            yield ("probe", index), f"{probe.destination} does not lie in `to` ({destinations})"
        if allow is not None and not any(_permits(traffic, probe) for traffic in allow):
            entries = listed([str(traffic) for traffic in allow])
            yield ("probe", index), f"{probe} is not permitted by `allow` ({entries})"


def _permits(traffic: Traffic, probe: Probe) -> bool:
    if traffic.protocol is not probe.protocol:
        return False
    if traffic.ports is None or probe.port is None:
        return True
    return traffic.ports.first <= probe.port <= traffic.ports.last


def _any_stands_alone(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    if None in crossing.allow and len(set(crossing.allow)) > 1:
        yield ("allow", crossing.allow.index(None)), "any permits everything: write it alone or remove it"


def _unmanaged(crossing: schema.Crossing) -> list[Network]:
    """The clients that are no hosts of the file."""
    return [client for client in crossing.clients if not isinstance(client, str)]


def _show(item: _Item) -> str:
    match item:
        case None:
            return "any"
        case str():
            return short(item)
        case Traffic() | Probe():
            return str(item)
        case _:
            return show_network(item)


_RULES: tuple[Callable[[schema.Crossing, _Hosts], Iterator[_Remark]], ...] = (
    _gateway_is_a_host,
    _clients_are_known,
    _addresses_are_of_hosts,
    _nothing_twice,
    _networks_are_apart,
    _destinations_are_elsewhere,
    _clients_speak_the_destinations_family,
    _snat_address_fits,
    _next_hop_fits,
    _probes_can_pass,
    _any_stands_alone,
)
