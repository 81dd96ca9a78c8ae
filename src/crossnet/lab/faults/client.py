"""Faults of the client: its routes, its rules, its link, its neighbours."""

from __future__ import annotations

from crossnet.lab.faults import scripts
from crossnet.lab.faults.fault import Fault, Step
from crossnet.lab.faults.making import added, dropping, link_down, route, setting
from crossnet.lab.faults.scene import Scene

_PERMANENT = ("nud", "permanent")


def faults(on: Scene) -> tuple[Fault, ...]:
    client, target, gateway = on.client, on.target, on.ingress
    host, vacant = client.host, str(client.vacant)
    wide, alone = target.prefix, target.alone
    through = ("dev", client.interface)
    # Before the crossing's own route: IPv4 takes the first of equal ones, IPv6 the lower metric.
    first = ("add", wide) if on.v6 else ("prepend", wide)
    rank = ("metric", "10") if on.v6 else ()

    def before(*words: str) -> tuple[Step, Step]:
        add = Step(host, (*on.ip, "route", *first, *words, *rank))
        return add, Step(host, (*on.ip, "route", "del", wide, *words, *rank))

    return (
        Fault(
            "no-route",
            f"{host} has lost every route that leads to {target.address}, its default route too",
            ("src-no-route",),
            (Step(host, (*scripts.TAKE_ROUTES, on.ip[1], target.address)),),
            (Step(host, (*scripts.PUT_BACK, client.interface)),),
            (Step(host, (*scripts.ROUTES_TO, on.ip[1], target.address)),),
        ),
        added(
            "wrong-next-hop",
            f"{host} sends what is for {wide} to {vacant}, where nobody is",
            ("src-route-other-next-hop", "next-hop-unresolved"),
            before("via", vacant, *through),
        ),
        added(
            "more-specific-route",
            f"{host} has a route of its own for {target.address} alone, by way of {vacant}",
            ("src-route-other-next-hop", "next-hop-unresolved"),
            route(on, host, alone, "via", vacant, *through),
        ),
        added(
            "route-on-link",
            f"{host} looks for {wide} on its own segment: the route has no next hop",
            ("src-route-on-link",),
            before(*through),
        ),
        added(
            "client-blackhole",
            f"{host} has a blackhole route for {target.address}",
            ("route-blackhole",),
            (
                Step(host, (*on.ip, "route", "add", "blackhole", alone)),
                Step(host, (*on.ip, "route", "del", "blackhole", alone)),
            ),
        ),
        added(
            "policy-rule",
            f"a policy rule of {host} leads what is for {wide} to a table of its own",
            ("policy-rule-diverts", "src-route-other-next-hop"),
            route(on, host, "default", "via", vacant, *through, "table", "4100"),
            (
                Step(host, (*on.ip, "rule", "add", "to", wide, "lookup", "4100", "pref", "1000")),
                Step(host, (*on.ip, "rule", "del", "pref", "1000")),
            ),
        ),
        dropping(
            "output-filter",
            f"a firewall on {host} drops what {host} itself sends to {wide}",
            ("src-output-filtered",),
            host,
            "inet",
            "type filter hook output priority 0;",
            f"{on.word} daddr {wide} drop",
        ),
        link_down("client-link-down", f"{client.interface} of {host} is down", client),
        added(
            "wrong-neighbour",
            f"{host} has a permanent neighbour entry for {gateway.address} with a wrong hardware address",
            ("wrong-destination-mac",),
            (
                Step(
                    host,
                    (
                        *on.ip,
                        "neigh",
                        "replace",
                        gateway.address,
                        "lladdr",
                        "02:00:de:ad:be:ef",
                        *_PERMANENT,
                        *through,
                    ),
                ),
                Step(host, (*on.ip, "neigh", "del", gateway.address, *through)),
            ),
        ),
        setting(
            "ttl-one",
            f"{host} sends packets with a time to live of 1",
            ("ttl-expired",),
            host,
            f"net/ipv6/conf/{client.interface}/hop_limit" if on.v6 else "net/ipv4/ip_default_ttl",
            "1",
        ),
    )
