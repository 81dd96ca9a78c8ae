"""What one key of a spec says of another, as far as it can be known without asking a host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from crossnet.spec import Heal, Persist, Routes
from crossnet.specfile import schema
from crossnet.specfile.document import Finding, Path, last_key, short
from crossnet.specfile.shape import Sound
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
    show_network,
    why_nowhere,
    without,
)

_Remark = tuple[Path, str]  # where in the crossing, what is wrong
_Hosts = Sequence[str]

_MOST_GUESSES = 20  # of a crossing's clients: to guess each of 10,000 among as many hosts takes minutes
_Item = str | Network | Traffic | Probe | None  # None is the `any` of `allow`


def check(sound: Sound) -> list[Finding]:
    """All contradictions in these crossings; keys that are absent from the draft contradict nothing."""
    found = [
        Finding(sound.root.find(("crossings", name, *path)).mark, f"{last_key(path)}: {message}")
        for name, crossing in sound.says.crossings.items()
        for rule, needs in _RULES
        if needs is None or (name, needs) not in sound.cut
        for path, message in rule(crossing, sound.hosts)
    ]
    return [*found, *_what_is_in_a_cloud_names_it(sound)]


def _what_is_in_a_cloud_names_it(sound: Sound) -> Iterator[Finding]:
    if "openstack" in sound.root.entries:
        return
    for name, crossing in sound.says.crossings.items():
        asked = (
            ("port-security", crossing.port_security is not None),
            ("routes", crossing.routes is Routes.NEUTRON),
        )
        for key in (key for key, is_asked in asked if is_asked):
            mark = sound.root.find(("crossings", name, key)).mark
            yield Finding(
                mark, f"{key}: the file names no cloud: write `openstack: {{cloud: …}}` at its top level"
            )


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
    sides: tuple[tuple[Path, Sequence[str | Network], str], ...] = (
        (("from",), crossing.clients, "client"),
        (_to(crossing), schema.named(crossing), "destination"),
    )
    for path, networks, side in sides:
        for index, network in enumerate(networks):
            if not isinstance(network, str) and (what := why_nowhere(network)):
                yield (*path, index), f"{_show(network)} is {what}: it cannot be a {side}"
    for index, probe in enumerate(crossing.probe):
        if what := why_nowhere(host_network(probe.destination)):
            yield ("probe", index), f"{probe.destination} is {what}: it cannot be a destination"
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
            yield path, f"{address} is {what}: it cannot be a gateway's address"


def _to(crossing: schema.Crossing) -> Path:
    """Where the networks of `to` stand."""
    return ("to", "networks") if isinstance(crossing.to, schema.Excepting) else ("to",)


def _nothing_twice(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    yield from _repeated(("from",), crossing.clients)
    yield from _repeated(_to(crossing), schema.named(crossing))
    yield from _repeated(_EXCEPT, schema.excepted(crossing))
    yield from _repeated(("allow",), crossing.allow)
    yield from _repeated(("probe",), crossing.probe)


_EXCEPT = ("to", "except")


def _repeated(path: Path, items: Sequence[_Item]) -> Iterator[_Remark]:
    seen: set[_Item] = set()
    for index, item in enumerate(items):
        if item in seen:
            yield (*path, index), f"{_show(item)} is given twice"
        seen.add(item)


def _networks_are_apart(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    yield from _overlapping(("from",), crossing.clients)
    yield from _overlapping(_to(crossing), schema.named(crossing))
    yield from _overlapping(_EXCEPT, schema.excepted(crossing))


def _overlapping(path: Path, items: Sequence[str | Network]) -> Iterator[_Remark]:
    networks = {item for item in items if not isinstance(item, str)}
    lengths = sorted({network.prefixlen for network in networks}, reverse=True)
    for index, inner in enumerate(items):
        if isinstance(inner, str):
            continue
        if outer := next((around for around in _around(inner, lengths) if around in networks), None):
            message = f"{_show(inner)} lies in {_show(outer)}, which is in the list as well: remove one"
            yield (*path, index), message


def _exceptions_leave_something(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    networks = schema.named(crossing)
    outside = False
    for index, part in enumerate(schema.excepted(crossing) if networks else ()):
        if any(contains(network, part) for network in networks):
            continue
        outside = True
        if inner := [_show(network) for network in networks if contains(part, network)]:
            message = f"{_show(part)} is larger than {listed(inner)} in `networks`: take that out there"
        else:
            message = f"{_show(part)} lies in none of `networks` ({listed([*map(_show, networks)])})"
        yield (*_EXCEPT, index), message
    if networks and not outside and not schema.destinations(crossing):
        yield _EXCEPT, "nothing is left of `networks`"


def _around(inner: Network, lengths: Sequence[int]) -> Iterator[Network]:
    """The networks of these prefix lengths around this one, nearest first.

    Asked for one by one, because comparing all pairs takes seconds for a list of thousands.
    """
    return (inner.supernet(new_prefix=length) for length in lengths if length < inner.prefixlen)


def _destinations_are_elsewhere(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    """That a larger network holds a client is told by the hosts: its own routes may be the longer ones."""
    gone = schema.excepted(crossing)
    for index, network in enumerate(schema.named(crossing)):
        for client in _unmanaged(crossing):
            if contains(client, network) and without([network], gone):
                yield (
                    (*_to(crossing), index),
                    f"{_show(network)} lies in the client {_show(client)}: it cannot be on both sides",
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
    if any(network == host_network(address) for network in schema.named(crossing)):
        yield ("next-hop",), f"{address} is a destination: it must be on the clients' side"


def _other_family(value: Address | Network, crossing: schema.Crossing) -> str | None:
    families = {family_of(network) for network in schema.named(crossing)}
    if not families or family_of(value) in families:
        return None
    return f"`to` has only {families.pop().label}"


def _probes_lie_in_to(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    named = schema.named(crossing)
    for index, probe in enumerate(crossing.probe):
        target = probe.destination
        if named and not any(contains(network, target) for network in named):
            yield ("probe", index), f"{target} does not lie in `to` ({listed([*map(_show, named)])})"
        for part in schema.excepted(crossing):
            if contains(part, target):
                yield ("probe", index), f"{target} lies in {_show(part)}, which `except` leaves out"


def _probes_are_permitted(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    allow = schema.permitted(crossing)
    for index, probe in enumerate(crossing.probe):
        if allow is not None and not any(traffic.admits(probe) for traffic in allow):
            entries = listed([str(traffic) for traffic in allow])
            yield ("probe", index), f"{probe} is not permitted by `allow` ({entries})"


def _any_stands_alone(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    if None in crossing.allow and len(set(crossing.allow)) > 1:
        yield ("allow", crossing.allow.index(None)), "any permits everything: write it alone or remove it"


def _what_heals_is_kept(crossing: schema.Crossing, _hosts: _Hosts) -> Iterator[_Remark]:
    if crossing.heal is Heal.AUTO and crossing.persist is Persist.NONE:
        yield ("heal",), "auto brings back what is kept for the next boot, and `persist: none` keeps nothing"


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


# Each with the key of which it has to know all.
_RULES: tuple[tuple[Callable[[schema.Crossing, _Hosts], Iterator[_Remark]], str | None], ...] = (
    (_gateway_is_a_host, None),
    (_clients_are_known, None),
    (_addresses_are_of_hosts, None),
    (_nothing_twice, None),
    (_networks_are_apart, None),
    (_exceptions_leave_something, "to"),
    (_destinations_are_elsewhere, "to"),
    (_clients_speak_the_destinations_family, "to"),
    (_snat_address_fits, "to"),
    (_next_hop_fits, "to"),
    (_probes_lie_in_to, "to"),
    (_probes_are_permitted, "allow"),
    (_any_stands_alone, None),
    (_what_heals_is_kept, None),
)
