"""The destinations' side: where the gateway leaves to them, and as whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from crossnet.design.kernel import forwarded, source_towards
from crossnet.design.policy import Flow, Rules, knows_nearer
from crossnet.design.question import Question, Refused, addresses_of, devices_of
from crossnet.errors import Refusal
from crossnet.facts.links import Link
from crossnet.facts.routes import Hop, Route, inside, matching
from crossnet.path import Client
from crossnet.several import first_of
from crossnet.spec import SnatTo
from crossnet.translation import Snat, Translation
from crossnet.values import Address, Network, contains, family_of, overlap, show_network


def route(q: Question, rules: Rules, network: Network, clients: Sequence[Client], ingress: str) -> Route:
    """The gateway's own route to a destination, for what these clients send."""
    routes = [route for route in q.gateway.routes if route.type != "local"]
    found, smaller = matching(routes, network), inside(routes, network)
    smaller = _not_of_clients(q, smaller, clients, ingress)
    given = q.crossing.egress
    flows = [Flow(client.network, network, ingress) for client in clients] if rules else []
    by_rules = _of_all(rules.deciding(flow) for flow in flows)
    if by_rules and (given is None or given in devices_of(by_rules)) and not _nearer(found, by_rules):
        # A narrower route that leads out elsewhere, to a network of the gateway's own say, may be meant as well.
        near = () if given is not None else tuple(each for each in found if _is_narrower(each, by_rules))
        found, smaller = (*by_rules, *near), _of_all(rules.smaller(flow) for flow in flows)
        smaller = _not_of_clients(q, smaller, clients, ingress)
    by_kernel = [forwarded(rules, client.network, network, ingress) for client in clients]
    if any(by_kernel):
        others = found if None in by_kernel else ()
        found = tuple(dict.fromkeys((*(route for route in by_kernel if route is not None), *others)))
    if given is not None and q.gateway.link(given) is None:
        raise Refused(q.no_such_interface("egress", given))
    if given is not None:
        # Among equals the spec decides; where the kernel would go another way, no word of the spec changes that.
        found = tuple(route for route in found if given in devices_of([route])) or found
        if found and given not in devices_of(found):
            raise Refused(_no_route(q, network, found, by_kernel=any(by_kernel)))
        if found:
            return found[0]
    if not found or not devices_of(found):
        raise Refused(_no_route(q, network, found))
    devices = devices_of(found)
    apart = [each for each in smaller if not devices_of([each]) <= devices]
    if len(devices) > 1 or apart:
        ways = [
            f"egress: {device}  ({_first_by(device, found).with_table})"
            for device in (sorted(devices) if len(devices) > 1 else ())
        ]
        parts = [
            f"{show_network(each.destination)} leaves by {', '.join(sorted(devices_of([each])))}  ({each.with_table})"
            for each in apart
        ]
        todo = ["Say which one: `egress: INTERFACE`."] if ways else []
        if parts:
            first = show_network(apart[0].destination)
            todo.append(f"Leave the smaller part out, `except: {first}`, and give it a crossing of its own.")
        raise Refused(
            q.refusal(
                "ambiguous-egress",
                f"{q.gateway.host} reaches {show_network(network)} through more than one interface",
                " ".join(todo),
                (*ways, *parts),
            )
        )
    return found[0]


def _not_of_clients(
    q: Question, routes: Sequence[Route], clients: Sequence[Client], ingress: str
) -> tuple[Route, ...]:
    """Those to smaller parts without the networks on the clients' side, which are no destinations.

    Nor are the link-local ones, of which IPv6 has one an interface.
    """
    link = q.gateway.link(ingress)
    near = {item.network for item in link.of(q.family)} if link else set()

    def is_theirs(route: Route) -> bool:
        return route.device == ingress and (
            route.destination in near or any(contains(route.destination, one.network) for one in clients)
        )

    return tuple(route for route in routes if not (is_theirs(route) or route.destination.is_link_local))


def _nearer(main: Sequence[Route], by_rules: Sequence[Route]) -> bool:
    """Whether a rule leads out by the interface of the main table's narrower routes, only to another next hop."""
    hops = [(route, Hop(route.via, route.device)) for route in by_rules if route.device]
    same = devices_of(main) == devices_of(by_rules)
    return same and any(knows_nearer(main, route, hop) for route, hop in hops)


def _is_narrower(route: Route, others: Sequence[Route]) -> bool:
    return all(route.destination.prefixlen > other.destination.prefixlen for other in others)


def _of_all(routes: Iterable[tuple[Route, ...]]) -> tuple[Route, ...]:
    return tuple(dict.fromkeys(route for each in routes for route in each))


def _no_route(q: Question, network: Network, found: Sequence[Route], *, by_kernel: bool = False) -> Refusal:
    if untold := [route for route in found if route.unknown]:
        return q.refusal(
            "no-route",
            f"`ip` on {q.gateway.host} does not show all of its route to {show_network(network)}: {untold[0]} "
            f"({untold[0].unknown})",
            f"Install iproute2 on {q.gateway.host}, or give it a route to {show_network(network)} with a single next "
            "hop.",
        )
    if down := down_towards(q, network):
        return q.refusal(
            "no-route",
            f"{q.gateway.host} itself has no route to {show_network(network)}: {_is_down(down, q)}",
            _set_up(q, down),
        )
    through = f" through {q.crossing.egress}" if q.crossing.egress else ""
    who = " its kernel, asked with `ip route get`, takes" if by_kernel else ""
    seen = f":{who} {found[0]}" if found else ""
    return q.refusal(
        "no-route",
        f"{q.gateway.host} itself has no route to {show_network(network)}{through}{seen}",
        f"Give {q.gateway.host} a route to it first; a crossing goes only where its gateway can go.",
    )


def down_towards(q: Question, network: Network) -> Link | None:
    """An interface of the gateway that stands in a destination's network and is down: its routes are gone with it."""
    for link in q.gateway.links:
        if not link.up and any(overlap(item.network, network) for item in link.of(q.family)):
            return link
    return None


def _is_down(link: Link, q: Question) -> str:
    own = ", ".join(f"{item.address}/{item.prefix}" for item in link.of(q.family))
    return f"its {link.name}, with {own}, is down"


def _set_up(q: Question, link: Link) -> str:
    return (
        f"Bring it up: `ip link set {link.name} up` on {q.gateway.host}; if it has no carrier, check the cable or the "
        "port."
    )


def _first_by(device: str, routes: Iterable[Route]) -> Route:
    return next(route for route in routes if device in devices_of([route]))


def one_egress(
    q: Question, rules: Rules, routes: Sequence[Route], clients: Sequence[Client], ingress: str
) -> str:
    """The one interface by which the gateway leaves to every destination."""
    if q.crossing.egress is not None and all(q.crossing.egress in devices_of([route]) for route in routes):
        return q.crossing.egress  # a route of several next hops may leave by others too
    devices = sorted(devices_of(routes))
    if len(devices) > 1:
        raise Refused(
            q.refusal(
                "ambiguous-egress",
                "the destinations lie behind different interfaces of the gateway",
                "Write one crossing for each, with its own `to`, or leave what lies elsewhere out of it.",
                (f"egress {by}: {first_of(there)}" for by, there in _by_egress(q, routes).items()),
            )
        )
    egress = devices[0]
    if egress == ingress:
        raise Refused(_same_interface(q, rules, routes, clients, ingress))
    return egress


def _by_egress(q: Question, routes: Sequence[Route]) -> Mapping[str, Sequence[str]]:
    """The destinations by the interfaces behind which they lie; the fewest first: perhaps nobody meant these."""
    found: dict[str, list[str]] = {}
    for network, route in zip(q.to, routes, strict=True):
        found.setdefault(", ".join(sorted(devices_of([route]))), []).append(show_network(network))
    return dict(sorted(found.items(), key=lambda item: len(item[1])))


def _same_interface(
    q: Question, rules: Rules, routes: Sequence[Route], clients: Sequence[Client], ingress: str
) -> Refusal:
    """Why packets would leave where they came in: an interface that is down, a policy rule, or that is how it is."""
    flows = zip(q.to, routes, strict=True)
    by = [rules.leading(Flow(clients[0].network, network, ingress), route) for network, route in flows]
    ways = [
        f"{route.with_table} (rule {rule})" if rule is not None else str(route)
        for route, rule in zip(routes, by, strict=True)
    ]
    meant = f"to send packets back out by {ingress} on purpose, write `egress: {ingress}`."
    arrive = f"{q.gateway.host} reaches the destination through {ingress}, on which the clients arrive"
    down = next((link for network in q.to if (link := down_towards(q, network)) is not None), None)
    if down is not None:
        return q.refusal(
            "same-interface", f"{arrive}: {_is_down(down, q)}", f"{_set_up(q, down)[:-1]}; {meant}", ways
        )
    if any(by):
        return q.refusal(
            "same-interface",
            f"{arrive}: a policy rule leads there",
            f"Exclude the crossing's packets from that rule, or remove it; {meant}",
            ways,
        )
    return q.refusal(
        "same-interface",
        f"{arrive}: it does not stand in both networks",
        f"Choose another gateway; {meant}",
        ways,
    )


def translation(q: Question, egress: str, routes: Sequence[Route]) -> Translation:
    """What the spec asks for, with the source address for each destination."""
    asked = q.crossing.translate
    if not isinstance(asked, SnatTo):
        return asked
    given = asked.address
    if given is not None and family_of(given) is q.family:
        if not any(given == item.address for link in q.gateway.links for item in link.addresses):
            raise Refused(
                q.refusal(
                    "snat-address-not-local",
                    f"{given} is not an address of {q.gateway.host}: replies to it would never come back",
                    "Use one of the gateway's addresses, or leave `translate: snat` to choose.",
                    addresses_of(q.gateway, q.family),
                )
            )
        return Snat(tuple((network, given) for network in q.to))
    ways = zip(q.to, routes, strict=True)
    return Snat(tuple((network, _source(q, egress, network, route)) for network, route in ways))


def _source(q: Question, egress: str, network: Network, route: Route) -> Address:
    """The egress's address inside the destination, else the one that the kernel uses on that route.

    Of several inside it, that which the kernel uses.
    """
    link = q.gateway.link(egress)
    own = [item for item in link.of(q.family) if item.stable] if link else []
    inside_it = [item.address for item in own if overlap(item.network, network)]
    towards = [item.address for item in own if route.via and contains(item.network, route.via)]
    chosen = source_towards(q.gateway, egress, network)
    usable = [
        link
        for link in q.gateway.links
        for item in link.of(q.family)
        if item.stable and item.address == chosen
    ]
    by_kernel = [chosen] if chosen is not None and usable else []
    choices = [
        *(chosen for chosen in by_kernel if chosen in inside_it),
        *inside_it,
        *by_kernel,
        *([route.source] if route.source else []),
        *towards,
        *(item.address for item in own),
    ]
    if not choices:
        raise Refused(
            q.refusal(
                "no-source-address",
                f"{q.gateway.host} {egress} has no {q.family.label} address to use as the source",
                "Give it one, or write `translate: none` if the destination has a way back.",
            )
        )
    return choices[0]


def needs_clamp(q: Question, ingress: str, egress: str, routes: Sequence[Route]) -> bool:
    """Whether segments that fit one side of the gateway may be too large for the other."""
    inner, outer = q.gateway.link(ingress), q.gateway.link(egress)
    sizes = {link.mtu for link in (inner, outer) if link} | {route.mtu for route in routes if route.mtu}
    return len(sizes) > 1
