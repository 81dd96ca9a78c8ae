"""Discover what a crossing leaves open: ingress, next hop, egress, source address.

Every question that the hosts answer in more than one way is refused with the candidates and the key of
the spec that decides, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from crossnet.design.egress import needs_clamp, one_egress, route, translation
from crossnet.design.ingress import arrivals, one_ingress, shared_networks
from crossnet.design.kernel import forwarded
from crossnet.design.policy import Flow, Rules
from crossnet.design.question import Question, Refused, devices_of, each_of
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.facts.routes import beyond_routers, matching
from crossnet.facts.sysctls import effective_rp_filter
from crossnet.netfilter.own import is_plain_interface
from crossnet.path import Client, Leg, Path
from crossnet.spec import Crossing
from crossnet.values import Family, Network, family_of, show_network


def resolve(crossing: Crossing, facts: Mapping[str, Facts]) -> tuple[Path, ...]:
    """One path for each family of `to`; raises Refused with every reason found."""
    refusals: list[Refusal] = []
    paths = []
    for family in sorted({family_of(network) for network in crossing.to}):
        try:
            paths.append(_path(Question(crossing, family, facts)))
        except Refused as refused:
            refusals += refused.refusals
    if refusals:
        raise Refused(*refusals)
    return tuple(paths)


def _path(q: Question) -> Path:
    found = arrivals(q)
    ingress = one_ingress(q, found)
    clients = tuple(dict.fromkeys(arrival.client for arrival in found))
    rules = Rules(q.gateway, (*(client.network for client in clients), *q.to))
    astray = [refusal for client in clients for refusal in _way_back(q, rules, client, ingress)]
    try:
        routes = each_of(q.to, lambda network: route(q, rules, network, clients, ingress))
    except Refused as refused:
        raise Refused(*astray, *refused.refusals) from None
    if astray:
        raise Refused(*astray)
    egress = one_egress(q, rules, routes, clients, ingress)
    used = {(q.gateway.host, ingress), (q.gateway.host, egress)}
    used |= {(client.host, client.interface) for client in clients if client.host and client.interface}
    unusable = [_unusable(q, host, name) for host, name in sorted(used) if not _is_usable(name)]
    unusable += [refusal for name in dict.fromkeys((ingress, egress)) for refusal in _in_a_vrf(q, name)]
    if unusable:
        raise Refused(*unusable)
    # A managed client stands on a network of the gateway itself.
    admitted = [client.network for client in clients if client.host is None]
    leg = Leg(
        gateway=q.crossing.via,
        ingress=ingress,
        egress=egress,
        translation=translation(q, egress, routes),
        clamp=needs_clamp(q, ingress, egress, routes),
        routed_clients=_beyond_routers(q, admitted),
        routed_destinations=_beyond_routers(q, q.to),
    )
    return Path(q.crossing, q.family, clients, q.to, legs=(leg,))


def _way_back(q: Question, rules: Rules, client: Client, ingress: str) -> Iterator[Refusal]:
    """Replies that would leave the gateway by another interface than the one the client's packets come in by."""
    network = client.network
    found = rules.deciding(Flow(q.to[0], network, ""))
    by_kernel = [forwarded(rules, q.to[0], network, link.name) for link in q.gateway.links]
    others = tuple(dict.fromkeys(route for route in by_kernel if route is not None))
    who = " (as its kernel says, asked with `ip route get`)" if others else ""
    found = others or found
    # Of several equal routes IPv4 takes the first (net/ipv4/fib_trie.c).
    devices = devices_of(found[:1] if q.family is Family.V4 else found)
    if not found or ingress in devices:
        return
    by = ""
    if rules and not others:
        first = rules.astray(Flow(q.to[0], network, ""), lambda way: way.device == ingress)
        if first is not None and ingress in devices_of(matching(q.gateway.routes, network)):
            return  # a rule of crossnet's own comes before it, or the plan is refused with its words
        by = f" (rule {first.way.rule})" if first is not None else ""
    strict = effective_rp_filter(q.gateway.sysctls, ingress) == 1 and q.family is Family.V4
    dropped = f", and rp_filter 1 on {ingress} drops what comes from it" if strict else ""
    yield q.refusal(
        "no-route-to-client",
        f"the way back from {q.gateway.host} to the client {show_network(network)} is {found[0]}{by}{who}, "
        f"not {ingress}: no reply would come back to it by the crossing{dropped}",
        f"Give {q.gateway.host} a route to {show_network(network)} through {ingress}{_by_another(q, client, devices)}."
        if devices
        else f"Remove that route, or take {show_network(network)} out of `from`.",
    )


def _by_another(q: Question, client: Client, devices: Iterable[str]) -> str:
    """That the clients may be let in there instead, where they can come there at all."""
    open_ = replace(q, crossing=replace(q.crossing, ingress=None))
    for device in sorted(devices):
        if client.host is None or any(way.ingress == device for way in shared_networks(open_, client.host)):
            return f", or write `ingress: {device}`"
    return ""


def _is_usable(name: str) -> bool:
    return is_plain_interface(name) and name != "lo"


def _unusable(q: Question, host: str, name: str) -> Refusal:
    why = (
        "the loopback"
        if name == "lo"
        else "a name that iptables, nft or a shell would read as something else"
    )
    return q.refusal(
        "unusable-interface-name",
        f"the crossing would go through {name!r} of {host}: {why}",
        "Choose another interface, with `ingress` or `egress`."
        if name == "lo"
        else f"Rename it there (`ip link set dev OLD name NEW`), or choose another interface of {host}.",
    )


def _in_a_vrf(q: Question, name: str) -> Iterator[Refusal]:
    """What comes by a port of a VRF meets the rules as if it had come by the VRF (drivers/net/vrf.c, vrf_ip_rcv)."""
    link = q.gateway.link(name)
    vrf = q.gateway.link(link.master) if link and link.master else None
    if vrf is not None and vrf.kind == "vrf":
        yield q.refusal(
            "interface-in-vrf",
            f"{name} of {q.gateway.host} belongs to the VRF {vrf.name}: crossnet's rules name interfaces, and what "
            f"arrives on {name} is forwarded as if it had arrived on {vrf.name}",
            f"Choose interfaces of {q.gateway.host} that are in no VRF, or take {name} out of it "
            f"(`ip link set dev {name} nomaster`).",
        )


def _beyond_routers(q: Question, networks: Iterable[Network]) -> tuple[Network, ...]:
    routes = [route for route in q.gateway.routes if route.type != "local"]
    return tuple(part for network in networks for part in beyond_routers(routes, network))
