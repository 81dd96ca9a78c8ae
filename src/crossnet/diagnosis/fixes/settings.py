"""Settings of the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from crossnet.design.fence import closed_with, has_crossings, keeps_others_out, lets_everybody_pass
from crossnet.diagnosis.course import best
from crossnet.diagnosis.fixes.case import APPLY, Case, Remedying
from crossnet.diagnosis.fixes.routes import wanted_route
from crossnet.diagnosis.fixes.rules import accept_flow
from crossnet.netfilter.foreign import Field, Rewrite
from crossnet.reach.rules import Place as Chain
from crossnet.values import Family, show_network
from crossnet.verdict import Fix


def _reverse_path(case: Case) -> tuple[Fix, ...]:
    """The way back to the source by the interface that it comes in by; loose checking where there is one already."""
    remedy = case.cause.remedy
    if remedy.destination is not None and remedy.device is not None:
        return wanted_route(case)
    interface = case.cause.interface or "all"
    every = case.here.sysctls.get("net.ipv4.conf.all.rp_filter") == "1"
    return case.fix(
        f"sysctl -w {case.setting(interface, 'rp_filter')}=2" if interface != "all" else None,
        "sysctl -w net.ipv4.conf.all.rp_filter=2" if every and interface == "all" else None,
    )


def _forward(case: Case) -> tuple[Fix, ...]:
    if case.family is Family.V4:
        return _opening(case, "sysctl -w net.ipv4.ip_forward=1")
    # A host that forwards takes no routes of routers' advertisements any more, but where it is told to (ip-sysctl).
    told = dict.fromkeys(
        route.device for route in case.here.routes if route.protocol == "ra" and route.device
    )
    keep = (f"sysctl -w {case.setting(device, 'accept_ra')}=2" for device in told)
    return _opening(case, *keep, "sysctl -w net.ipv6.conf.all.forwarding=1")


def _interface_forward(case: Case) -> tuple[Fix, ...]:
    return _opening(case, f"sysctl -w {case.setting(case.cause.interface or 'all', 'forwarding')}=1")


def _opening(case: Case, *commands: str) -> tuple[Fix, ...]:
    """Forwarding on: by hand only where a fence stands, or crossnet has nothing, and then with a word of what it opens.

    Where crossnet's own rules are gone or not wanted, who switches it on lets everybody pass. With a firewall that was
    stopped its units were, too: they bring all of it back when that is started.
    """
    here, family = case.here, case.family
    if keeps_others_out(here, family):
        return case.fix(*commands, by_crossnet=APPLY)
    if has_crossings(here):
        again = (f"systemctl start {unit.removesuffix('.service')}" for unit in closed_with(here))
        return case.fix(*again, by_crossnet=APPLY)
    stops = [stop for stop in case.course.gateways if stop.host == here.host]
    used = (case.cause.interface, *(name for stop in stops for name in (stop.ingress, stop.egress)))
    # Each takes a second or more where a host has thousands of rules.
    opens = lets_everybody_pass(here, family, [name for name in dict.fromkeys(used) if name])
    warning = f"then {here.host} forwards for everybody on all of its networks" if opens else ""
    return case.fix(*commands, by_crossnet=APPLY, warning=warning)


def _time_to_live(case: Case) -> tuple[Fix, ...]:
    """What the client starts with, by its setting or its route, and rules that set it."""
    client = case.course.client.host
    facts = case.facts.get(client)
    for host in dict.fromkeys((case.cause.host, client)):
        if host not in case.facts:
            continue
        for _, table, chain in case.facts[host].firewall.others():
            sets = any(
                isinstance(each, Rewrite) and each.field is Field.TTL
                for rule in chain.rules
                for each in rule.statements
            )
            if sets and chain.hook is not None:
                place = Chain(table.tool, table.family, table.name, chain.name, chain.hook.name)
                of = replace(case.cause, host=host, chain=place)
                return accept_flow(Case(of, case.course, case.probe, case.facts, case.source))
    if facts is not None and int(facts.sysctls.get("net.ipv4.ip_default_ttl") or 64) > len(
        case.course.gateways
    ):
        route = best(facts, case.probe.destination)
        if route is not None and route.device is not None:
            # Without the `hoplimit` that a route may have.
            via = f" via {route.via}" if route.via is not None else ""
            metric = f" metric {route.metric}" if route.metric else ""
            words = f"{show_network(route.destination)}{via} dev {route.device}{metric}"
            return case.fix(f"{case.ip} route replace {words}", host=client)
    return case.fix("sysctl -w net.ipv4.ip_default_ttl=64", host=client)


def _connections(case: Case) -> tuple[Fix, ...]:
    """A larger table; where the host cannot have one, the entries of who fills it away."""
    if case.cause.remedy.address is not None:
        return case.fix(f"conntrack -D -s {case.cause.remedy.address}")
    most = case.here.sysctls.get("net.netfilter.nf_conntrack_max", "65536")
    return case.fix(f"sysctl -w net.netfilter.nf_conntrack_max={int(most) * 2}")


def _echo(case: Case) -> tuple[Fix, ...]:
    return case.fix("sysctl -w net.ipv4.icmp_echo_ignore_all=0")


FIXES: Mapping[str, Remedying] = {
    "reverse-path-filter": _reverse_path,
    "ip-forward-disabled": _forward,
    "interface-forwarding-disabled": _interface_forward,
    "ttl-expired": _time_to_live,
    "conntrack-table-full": _connections,
    "echo-ignored": _echo,
}
