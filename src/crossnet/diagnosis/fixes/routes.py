"""Routes and policy rules that lead packets where they should go."""

from __future__ import annotations

from collections.abc import Mapping

from crossnet.design.leases import renewing
from crossnet.diagnosis.course import best
from crossnet.diagnosis.fixes.case import APPLY, Case, Remedying
from crossnet.openstack.ports import CloudFacts
from crossnet.spec import Routes
from crossnet.values import Address, Family, show_network
from crossnet.verdict import Fix


def wanted_route(case: Case) -> tuple[Fix, ...]:
    """The route that should be taken, as one that wins."""
    remedy = case.cause.remedy
    if remedy.destination is None or remedy.device is None:
        return ()
    via = f" via {remedy.next_hop}" if remedy.next_hop is not None else ""
    table = f" table {remedy.table}" if remedy.table else ""
    if remedy.next_hop is not None and not _is_near(case, remedy.next_hop, remedy.device):
        table += " onlink"
    network = show_network(remedy.destination)
    # What a spec asks for is no more than that a client has a route, where none of another's is more specific.
    asked = case.cause.code in ("src-no-route", "src-route-other-next-hop", "src-route-on-link")
    whole = remedy.destination.num_addresses > 1 and not remedy.table
    by_crossnet = APPLY if case.is_client and asked and whole else None
    crossing = case.course.crossing
    if by_crossnet and crossing is not None and crossing.routes is Routes.NEUTRON:
        return _lease(case, remedy.next_hop, remedy.device)
    if case.family is Family.V6 and remedy.metric is not None:
        table += f" metric {remedy.metric}"
    if case.is_management(remedy.destination):
        return case.fix(by_crossnet=by_crossnet)
    return case.fix(
        f"{case.ip} route replace {network}{via} dev {remedy.device}{table}", by_crossnet=by_crossnet
    )


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
    """Whether a route leads straight to a next hop: without one the kernel takes it only as `onlink`."""
    route = best(case.here, next_hop)
    return route is not None and route.via is None and route.device == device


def _refused_route(case: Case) -> tuple[Fix, ...]:
    wrong = case.cause.remedy.wrong
    return case.fix(f"{case.ip} route del {wrong}") if wrong else wanted_route(case)


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
