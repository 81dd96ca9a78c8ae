"""Which changes touch a management path, and which would surely cut it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from crossnet.design.impacts import Impact
from crossnet.design.leases import from_leases
from crossnet.design.longer import routed
from crossnet.errors import Refusal
from crossnet.facts import Facts
from crossnet.facts.routes import Route, matching
from crossnet.path import Path
from crossnet.planning.management_path import ManagementPath
from crossnet.resources import Change, Resource, RouteResource
from crossnet.values import Address, Network, contains, family_of, host_network, show_network


@dataclass(frozen=True, slots=True)
class Touch:
    """Changes of one host that touch one management path, and how, in a sentence."""

    changes: tuple[Change, ...]
    text: str


def touches(
    here: Facts, changes: Sequence[Change], ways: Iterable[ManagementPath], paths: Iterable[Path] = ()
) -> Iterator[Touch]:
    """Which of a host's changes touch the management path of any host.

    - A **route**, made, changed or taken away, that decides about an address of the way: it holds the address,
      and no route that stays is more specific. crossnet's routes are in the main table, so where its answer
      stays the same, so does that of any policy rules around it. On the host itself the address is the
      controller's; on a forwarder both ends'; on a holder that of the host.
    - **Rules and jumps** of a forwarder, and its forwarding switched **off**. Switched on it cuts nothing:
      what was forwarded before still is. Nor do rules touch the way to the gateway itself, as crossnet has
      none at the hooks for input and output; except for translation, see below.
    - The same on a host that is only perhaps on the way, where the plan closes what was open: a fence that
      was not there, or forwarding off where no fence was.
    - **Translation** made on a gateway that stands in a network of `from` and answers the controller in `to`:
      when connection tracking begins only now, the next packet of a standing connection looks new to it and
      is translated, which ends the connection; new ones work (measured).
    - What has **another firewall load its rules anew**, also on the host itself: for a moment that lets no new
      connection in, and then what it has kept.
    - **IPv6 forwarding and accept_ra** on a host whose way back was learned from a router advertisement, as
      the kernel drops such routes when forwarding begins (ip-sysctl, accept_ra).
    - **Any route** on a host reached over SSH that does not tell from where.

    Files and units are no part of it: they are written after the confirmation, and what they will do at boot
    is what was proved live.
    """
    paths = tuple(paths)
    for way in (way for way in ways if way.may_pass(here.host)):
        yield from _touches(here, changes, way, paths)


def _touches(
    here: Facts, changes: Sequence[Change], way: ManagementPath, paths: Sequence[Path]
) -> Iterator[Touch]:
    reaches = f"the path by which crossnet reaches {way}"
    if way.controller is None:
        routes = tuple(change for change in changes if change.resource.routes)
        if here.host == way.host and routes:
            yield Touch(routes, f"{_names(routes, 'may change')} {reaches}, which does not tell from where")
        return
    if rerouting := _rerouting(here.routes, changes, way.looked_up_on(here.host)):
        yield Touch(rerouting, f"{_names(rerouting, 'changes')} {reaches}")
    if ruling := _looking_up(changes, way.looked_up_on(here.host)):
        yield Touch(ruling, f"{_rules(ruling)} may change {reaches}")
    family = family_of(way.controller)
    filtering = tuple(change for change in changes if change.resource.decides(family))
    if filtering and here.host in way.forwarders:
        yield Touch(filtering, f"{reaches} leads through it")
    if filtering and here.host in way.perhaps and _closes(filtering):
        yield Touch(filtering, f"{reaches} may lead through it")
    anew = tuple(one for one in changes if type(one.resource).loads_rules_anew(one.have, one.want))
    if anew and here.host in (way.host, *way.forwarders):
        yield Touch(anew, f"{_kinds(anew)} loads its rules anew, by which {reaches} is let in")
    if here.host == way.host or here.host in way.forwarders:
        back = matching(here.routes, host_network(way.controller))
        learning = tuple(change for change in changes if change.resource.ages_routes(family))
        if learning and any(route.protocol == "ra" for route in back):
            yield Touch(learning, f"{reaches} was learned from a router advertisement")
    if here.host == way.host and any(_translates_answers(way, path) for path in paths):
        created = tuple(change for change in filtering if change.have is None)
        if created:
            yield Touch(created, f"its translation may end the connection that stands on {reaches}")


def _rerouting(
    routes: Iterable[Route], changes: Iterable[Change], targets: Iterable[Address]
) -> tuple[Change, ...]:
    """The changes of routes that may decide, at any moment while they are made, where a target is sent."""
    sides = [(change, route) for change in changes for side in _sides(change) for route in side.routes]
    leaving = [route for change in changes if change.have is not None for route in change.have.routes]
    staying = [route for route in routes if route not in leaving]
    found: list[Change] = []
    for target in targets:
        kept = matching(staying, host_network(target))
        winning = [(change, route) for change, route in sides if _outdoes(route, kept, target)]
        # The way that stays anyway, only said again.
        if any(not _same_way(route, kept) for _, route in winning):
            found += [change for change, _ in winning]
    return tuple(change for change in changes if change in found)


def _looking_up(changes: Iterable[Change], targets: Iterable[Address]) -> tuple[Change, ...]:
    """The changes of policy rules that a packet to a target can meet."""
    wanted = tuple(targets)
    return tuple(change for change in changes if any(change.resource.diverts(target) for target in wanted))


def _rules(changes: Iterable[Change]) -> str:
    return " and ".join(f"policy rule {change.description}" for change in changes)


def _sides(change: Change) -> Iterator[Resource]:
    yield from (side for side in (change.have, change.want) if side is not None)


def _outdoes(route: Route, kept: Sequence[Route], target: Address) -> bool:
    if not contains(route.destination, target):
        return False
    return not kept or _rank(route) >= _rank(kept[0])


def _rank(route: Route) -> tuple[int, int]:
    return route.destination.prefixlen, -route.metric


def _same_way(route: Route, kept: Sequence[Route]) -> bool:
    return [(one.via, one.device, one.hops) for one in kept] == [(route.via, route.device, route.hops)]


def _names(changes: Iterable[Change], verb: str) -> str:
    shown = [show_network(route.destination) for change in changes for route in change.resource.routes]
    if len(shown) == 1:
        return f"route {shown[0]} {verb}"
    return f"routes {', '.join(shown)} {verb.removesuffix('s')}"


def _kinds(changes: Iterable[Change]) -> str:
    return " and ".join(dict.fromkeys(change.resource.kind for change in changes))


def _closes(filtering: Iterable[Change]) -> bool:
    """Whether what no crossing names passes before the changes and not after."""
    changes = list(filtering)
    if any(change.have is not None and change.have.closes for change in changes):
        return False
    return any(change.want is not None and change.want.closes for change in changes)


def _translates_answers(way: ManagementPath, path: Path) -> bool:
    """Whether the gateway's own packets to the controller look like those of a client."""
    return (
        path.gateway == way.host
        and path.leg.translates
        and way.controller is not None
        and any(contains(network, way.controller) for network in path.destinations)
        and any(contains(client.network, own) for client in path.clients for own in way.addresses)
    )


def cut(
    here: Facts, touched: Iterable[Touch], ways: Iterable[ManagementPath], paths: Iterable[Path]
) -> Iterator[Refusal]:
    """Routes to larger networks than a client's own that would take the way along by which crossnet reaches a host.

    To a network that somebody names for itself, such a route is made and guarded. That one of these many holds the
    address from which crossnet works nobody has to know.
    """
    changes = tuple(change for touch in touched for change in touch.changes)
    larger = {network: path for path in (paths if changes else ()) for network in _larger(here, path)}
    for way in (way for way in ways if way.may_pass(here.host)):
        if way.controller is None and way.host == here.host:
            made = (network for change in changes for network in _made(change) if network in larger)
            for shown in dict.fromkeys(larger[each].crossing.shown(larger[each].family) for each in made):
                yield Refusal(
                    "management-path-taken",
                    here.host,
                    f"routes to {shown} may divert the path by which crossnet reaches it, and its SSH server does not "
                    "say where crossnet connects from (SSH_CONNECTION)",
                    "Name smaller networks in `to`.",
                )
        for target in way.looked_up_on(here.host):
            rerouting = _rerouting(here.routes, changes, (target,))
            made = (network for change in rerouting for network in _made(change) if contains(network, target))
            for network in dict.fromkeys(each for each in made if each in larger):
                yield Refusal(
                    "management-path-taken",
                    here.host,
                    f"a route to {show_network(network)} through {larger[network].gateway} would divert the path by "
                    f"which crossnet reaches {way}",
                    f"Leave it out: `except: {target}`, or the network that it lies in.",
                )


def led_away(here: Facts, ways: Iterable[ManagementPath], paths: Iterable[Path]) -> Iterator[Refusal]:
    """Routes that come with a lease of the host's own and would take the way along by which crossnet reaches a host.

    They come when the change is confirmed long ago, so no guard puts them back.
    """
    routes = tuple(from_leases(here, paths))
    changes = [Change(None, RouteResource(route)) for route in routes]
    for way in (way for way in ways if way.may_pass(here.host)):
        for target in way.looked_up_on(here.host):
            for change in _rerouting(here.routes, changes, (target,)):
                (network,) = _made(change)
                yield Refusal(
                    "management-path-taken",
                    here.host,
                    f"the route to {show_network(network)} that it gets with its next DHCP lease would divert the path "
                    f"by which crossnet reaches {way}, and no guard puts that back",
                    f"Leave it out: `except: {target}`, or the network that it lies in. Or write `routes: host`: then "
                    "the route is made under the guard.",
                )


def _made(change: Change) -> tuple[Network, ...]:
    """To where a change makes routes."""
    return tuple(route.destination for route in change.want.routes) if change.want is not None else ()


def _larger(here: Facts, path: Path) -> tuple[Network, ...]:
    """The networks to which a client gets routes, where one of them holds a network that it stands in."""
    if all(client.host != here.host for client in path.clients):
        return ()
    own = [item.network for link in here.links for item in link.of(path.family)]
    networks = path.crossing.networks(path.family)
    holding = any(
        network.prefixlen == 0 or any(contains(network, one) for one in own) for network in networks
    )
    return routed(here, path.crossing, path.family) if holding else ()


def told(host: str, touched: Iterable[Touch]) -> Iterator[Impact]:
    """What a mark in the plan means, in words."""
    for touch in touched:
        text = f"{touch.text}; the guard on {host} puts the change back unless a new connection works"
        yield Impact("touches-management-path", host, text)
