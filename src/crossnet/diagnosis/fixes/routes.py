"""Routes and policy rules that lead packets where they should go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from crossnet.design.leases import renewing
from crossnet.diagnosis.course import best
from crossnet.diagnosis.finding import Direction
from crossnet.diagnosis.fixes.case import APPLY, Case, Remedying
from crossnet.diagnosis.fixes.planned import planned
from crossnet.diagnosis.static.search import words_of
from crossnet.facts.routes import MAIN, OWN_PROTOCOL, matching
from crossnet.openstack.ports import CloudFacts
from crossnet.several import joined
from crossnet.spec import Routes
from crossnet.values import Address, Family, Network, contains, host_network, show_network
from crossnet.verdict import Fix


def wanted_route(case: Case) -> tuple[Fix, ...]:
    """The route that should be taken, as one that wins."""
    remedy, crossing = case.cause.remedy, case.course.crossing
    if remedy.destination is None or remedy.device is None:
        return ()
    if not case.is_client and case.cause.direction is Direction.FORWARD:
        return _onward(case, remedy.destination, remedy.device)
    # What a spec asks for is no more than that a client has a route, where none of another's is more specific.
    asked = case.cause.code in ("src-no-route", "src-route-other-next-hop", "src-route-on-link")
    whole = remedy.destination.num_addresses > 1 and not remedy.table
    refused = _is_of_somebody_else(case, remedy.destination)
    by_crossnet = APPLY if case.is_client and asked and whole and not refused else None
    if by_crossnet and crossing is not None and crossing.routes is Routes.NEUTRON:
        return _lease(case, remedy.next_hop, remedy.device)
    command = _replace(case, remedy.destination, remedy.next_hop, remedy.device)
    return case.fix(command, by_crossnet=by_crossnet)


def _is_of_somebody_else(case: Case, destination: Network) -> bool:
    """Whether a plan would refuse to lead it elsewhere: crossnet replaces nothing that it does not own."""
    on_link = any(contains(item.network, destination) for link in case.here.links for item in link.addresses)
    return on_link or any(
        (route.table, route.destination) == (MAIN, destination) and route.protocol != OWN_PROTOCOL
        for route in case.here.routes
    )


def _replace(case: Case, destination: Network, next_hop: Address | None, device: str) -> str | None:
    remedy = case.cause.remedy
    if case.is_management(destination):
        return None
    via = f" via {next_hop}" if next_hop is not None else ""
    table = f" table {remedy.table}" if remedy.table else ""
    if next_hop is not None and not _is_near(case, next_hop, device):
        table += " onlink"
    if case.family is Family.V6 and remedy.metric is not None:
        table += f" metric {remedy.metric}"
    return f"{case.ip} route replace {show_network(destination)}{via} dev {device}{table}"


def _onward(case: Case, destination: Network, device: str) -> tuple[Fix, ...]:
    """A gateway's route onward, as far as it is known whom it should send to."""
    next_hop, target = case.cause.remedy.next_hop, case.probe.destination
    link = case.here.link(device)
    if next_hop is None and (link is None or link.on_link(target) is None):
        leaving = [each for each in case.here.routes if (each.type, each.device) == ("unicast", device)]
        behind = matching(leaving, host_network(target))
        if not behind:
            return case.fix(by_crossnet=_from_now_on(case, device))
        next_hop = behind[0].via
    command = _replace(case, destination, next_hop, device)
    taken = [
        (other.name, own.network)
        for other in case.here.links
        if other.name != device and (own := other.on_link(target)) is not None
    ]
    if not taken:
        return case.fix(command, by_crossnet=_from_now_on(case, device))
    name, network = taken[0]
    return case.fix(
        command,
        by_crossnet=_left_to(case, device, name, network),
        warning=f"then {case.here.host} itself does not reach {target} on {name} any more" if command else "",
    )


def _left_to(case: Case, device: str, name: str, network: Network) -> str | None:
    """What crossnet does where a network of the gateway's own has come up that is to keep the destination."""
    crossing, host = case.course.crossing, case.here.host
    if crossing is None or not any(contains(each, case.probe.destination) for each in crossing.to):
        return None
    named = crossing.networks(case.family)
    stays = f"where {network} is to stay on {name} of {host}"
    if any(contains(each, network) and each != network for each in named):
        # Beside exceptions that stand it may be none, or not by itself: they and the networks are joined here.
        words = f"leave {network} out of `to`" if crossing.excepted else f"`except: {network}`"
        return f"{stays}: {words} in the crossing, then `{APPLY}`"
    gone = [each for each in named if contains(network, each)]
    which = f"{joined(list(map(show_network, gone)))} out of `to` in the crossing"
    is_all = all(contains(network, each) for each in crossing.to)
    words = "the crossing out of the spec" if is_all else which
    return _from_now_on(case, device) or f"{stays}: take {words}, then `{APPLY}`"


def _from_now_on(case: Case, device: str) -> str | None:
    """What crossnet does where a gateway is to go on sending as it does now."""
    path = planned(case)
    if path is None or path.egress == device:
        return None
    return f"`{APPLY}`, where packets are to leave {case.here.host} by {path.egress} from now on"


def _lease(case: Case, next_hop: Address | None, device: str) -> tuple[Fix, ...]:
    """What has a client get what its subnet offers; before that it has to be offered."""
    clouds = (each.cloud for each in case.facts.values() if isinstance(each.cloud, CloudFacts))
    target = case.probe.destination
    offering = [
        subnet
        for cloud in clouds
        for subnet in cloud.subnets
        if any(one.next_hop == next_hop and target in one.destination for one in subnet.routes)
    ]
    if offering:
        return case.fix(renewing(device, case.here) if any(one.leases for one in offering) else None)
    return case.fix(by_crossnet=APPLY)


def _is_near(case: Case, next_hop: Address, device: str) -> bool:
    """Whether a route leads straight to a next hop: without one the kernel takes it only as `onlink`.

    Link-local ones of IPv6 are near on each interface.
    """
    if next_hop.is_link_local and case.family is Family.V6:
        return True
    route = best(case.here, next_hop)
    return route is not None and route.via is None and route.device == device


def _refused_route(case: Case) -> tuple[Fix, ...]:
    wrong, target = case.cause.remedy.wrong, case.probe.destination
    if not wrong:
        return wanted_route(case)
    # What refuses a whole range mostly stands behind the routes that lead into it: without those it is not the fault.
    others = [route for route in case.here.routes if words_of(route) != wrong]
    behind = case.cause.direction is Direction.FORWARD and not case.is_client
    if behind and best(replace(case.here, routes=tuple(others)), target) is None:
        return ()
    return case.fix(f"{case.ip} route del {wrong}")


def _policy_rule(case: Case) -> tuple[Fix, ...]:
    """Ahead of the rule, one for this destination alone."""
    remedy = case.cause.remedy
    if remedy.destination is None or remedy.priority is None:
        return ()
    if case.is_management(remedy.destination):
        return ()
    network = show_network(remedy.destination)
    made = wanted_route(case) if remedy.device and (remedy.next_hop or not case.is_client) else ()
    route = made[0].commands if made else ()
    plain = tuple(command.partition(" table ")[0] for command in route)
    if remedy.priority < 2:
        return ()  # the kernel's own first rule has the priority 0, and none comes before it
    rule = f"{case.ip} rule add pref {remedy.priority - 1} to {network} lookup main"
    known = _leads_there(case, plain)
    return case.fix(rule, *(() if known else plain))


def _leads_there(case: Case, commands: tuple[str, ...]) -> bool:
    """Whether the main table leads there as it should already."""
    remedy = case.cause.remedy
    if remedy.destination is None:
        return not commands
    route = best(case.here, remedy.destination.network_address)
    return (
        route is not None
        and route.device == remedy.device
        and (remedy.next_hop is None or route.via == remedy.next_hop)
    )


FIXES: Mapping[str, Remedying] = {
    **dict.fromkeys(
        (
            *("src-no-route", "src-route-other-next-hop", "src-route-on-link", "no-route"),
            *("gateway-route-elsewhere", "no-return-route", "return-route-elsewhere", "forwarding-loop"),
            "src-address-unsuitable",
        ),
        wanted_route,
    ),
    **dict.fromkeys(("route-blackhole", "route-unreachable", "route-prohibit"), _refused_route),
    "policy-rule-diverts": _policy_rule,
}
