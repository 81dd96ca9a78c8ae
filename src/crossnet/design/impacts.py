"""What a plan opens, closes and changes for others, said before it happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from crossnet.design.conflicts import overruled
from crossnet.design.engine import Choice
from crossnet.design.fence import keeps_others_out
from crossnet.design.forwarded import offload_forwarded
from crossnet.design.kernel import decided, is_among_equals, refused
from crossnet.design.longer import of_others, routed
from crossnet.facts import METADATA, Facts
from crossnet.facts.links import Link, LinkAddress
from crossnet.facts.routes import default_network, inside
from crossnet.facts.sysctls import FORWARDING, answers_for_others, forward_alone, is_arp_proxy
from crossnet.netfilter import Engine
from crossnet.path import Path
from crossnet.several import few, joined
from crossnet.spec import Routes
from crossnet.values import LINK_LOCAL, Address, Family, contains, family_of, overlap, show_network, without

# The codes of what is another at each look though nothing was changed: how many flows there are, what others did on a
# host meanwhile, and how far apart two clocks are.
OF_THE_MOMENT = frozenset(("older-flows", "taken-away", "clock-differs"))


@dataclass(frozen=True, slots=True)
class Impact:
    """One consequence: its code, the host or crossing it concerns, and a sentence.

    `crossings` are those of whose packets it tells what others do with them.
    """

    code: str
    where: str
    text: str
    crossings: frozenset[str] = frozenset()


def path_impacts(path: Path) -> Iterator[Impact]:
    name = f"crossing {path.crossing.name}"
    to = path.crossing.shown(path.family)
    allow = path.crossing.allow
    traffic = "any traffic" if allow is None else ", ".join(str(entry) for entry in allow)
    clients = _clients(path)
    yield Impact("gains-reachability", name, f"{clients} can open connections to {to}: {traffic}")
    if path.leg.translates:
        yield Impact(
            "changes-source-identity",
            name,
            f"{to} sees {path.leg.source_text} as the source, not the client's own address",
        )
    else:
        yield Impact(
            "needs-return-route",
            name,
            f"nothing is translated: {to} needs a route back to {clients} through {path.gateway}",
        )
    for client in path.clients if path.crossing.routes is Routes.HOST else ():
        if client.host is None:
            routes = "; ".join(
                f"ip route add {network} via {client.next_hop}" for network in path.destinations
            )
            yield Impact("route-by-owner", name, f"{client} is not managed; its owner adds: {routes}")


def client_impacts(path: Path, facts: Mapping[str, Facts]) -> Iterator[Impact]:
    """What a client reaches otherwise and goes on to, and what it would if the crossing's route were not there."""
    yield from _elsewhere(path, facts)
    yield from _by_default(path, facts)
    yield from _metadata(path, facts)
    to_all = _is_to_all(path)
    for client in path.clients:
        routes = facts[client.host].routes if client.host else ()
        is_ours = client.host and path.crossing.routes is Routes.HOST
        to = routed(facts[client.host or ""], path.crossing, path.family) if is_ours else ()
        for route in (each for one in to for each in overruled(client, one, facts[client.host or ""])):
            yield Impact(
                "route-overruled",
                client.host or "",
                f"also has a route to {show_network(route.destination)} by another way, with a worse metric: {route}. "
                "The crossing's route is the one that is used",
            )
        for network in path.destinations:
            for route in inside(routes, network):
                if (route.via, route.device) != (client.next_hop, client.interface):
                    # Of the network towards the gateway, and of all that there is, its own are nobody's doing. Another
                    # one may have come since, as with a bridge of containers.
                    is_usual = route.via is None and (route.device == client.interface or to_all)
                    yield Impact(
                        "src-route-other-next-hop",
                        client.host or "",
                        f"still reaches {show_network(route.destination)} another way: {route}",
                        frozenset() if is_usual else frozenset((path.crossing.name,)),
                    )


def _is_to_all(path: Path) -> bool:
    """Whether the destinations are all there is, but for what is excepted."""
    everything = default_network(path.family)
    networks = path.crossing.networks(path.family)
    enough = sum(one.num_addresses for one in networks) >= everything.num_addresses
    return enough and not without([everything], networks)


def _by_default(path: Path, facts: Mapping[str, Facts]) -> Iterator[Impact]:
    """Where the destinations are all there is: what the default route of a client carried goes another way then."""
    if not _is_to_all(path):
        return
    everything = default_network(path.family)
    for name in dict.fromkeys(client.host for client in path.clients if client.host):
        ways = [one for one in of_others(facts[name]) if one.destination == everything]
        best = min(ways, key=lambda one: one.metric, default=None)
        today = (
            f"what it reaches today by its default route ({best}), and by no more specific one,"
            if best
            else "what it has no route to today"
        )
        yield Impact("takes-default-route", name, f"{today} goes through {path.gateway} from now on")


def _metadata(path: Path, facts: Mapping[str, Facts]) -> Iterator[Impact]:
    """Where the destinations hold a cloud's metadata service, which each machine asks for what is its own."""
    if not any(contains(network, METADATA) for network in path.destinations):
        return
    for name in dict.fromkeys(client.host for client in path.clients if client.host):
        if not any(
            contains(one.destination, METADATA) for one in of_others(facts[name]) if one.destination.prefixlen
        ):
            yield Impact(
                "takes-metadata-service",
                name,
                f"asks for a cloud's metadata at {METADATA.network_address} through {path.gateway} from now on: what "
                f"it gets, credentials too, is {path.gateway}'s. `except: {LINK_LOCAL[0]}` in `to` leaves it its own",
            )


def _elsewhere(path: Path, facts: Mapping[str, Facts]) -> Iterator[Impact]:
    """A next hop that the gateway does not have: another host has it, or nobody."""
    for hop in dict.fromkeys(client.next_hop for client in path.clients):
        if facts[path.gateway].owner_of(hop) is not None:
            continue
        others = [name for name, one in facts.items() if one.owner_of(hop) is not None]
        silent = [
            client.host
            for client in path.clients
            if client.host and client.next_hop == hop and _is_silent(facts[client.host], hop)
        ]
        whose = (
            f"it is an address of {others[0]}"
            if others
            else "it may be meant as one that moves, as with VRRP"
        )
        lost = f", and nobody answered when {silent[0]} last asked for it" if silent and not others else ""
        yield Impact(
            "next-hop-elsewhere",
            f"crossing {path.crossing.name}",
            f"the next hop {hop} is not an address of {path.gateway}: {whose}{lost}. Until {path.gateway} has it, the "
            "clients' packets do not get there",
        )


def _is_silent(facts: Facts, address: Address) -> bool:
    return any(each.address == address and each.state == "FAILED" for each in facts.neighbours)


def kernel_impacts(path: Path, facts: Mapping[str, Facts]) -> Iterator[Impact]:
    """Where the gateway's kernel says something else than its routes and rules."""
    gateway = facts[path.gateway]
    for route in decided(gateway, path):
        told = (
            "its routes show several equally good ways, and the first of them counts"
            if is_among_equals(gateway, path, route)
            else "the routes and rules that `ip` shows there lead another way"
        )
        yield Impact(
            "kernel-decides",
            path.gateway,
            f"asked with `ip route get`, its kernel takes {route} for the crossing's packets; {told}",
        )
    for lookup, error in refused(facts[path.gateway], path):
        yield Impact(
            "kernel-refuses",
            path.gateway,
            f"its kernel answers `{lookup}` with {error!r}, and its routes and rules show no reason",
            frozenset((path.crossing.name,)),
        )


def gateway_impacts(
    facts: Facts, paths: Sequence[Path], fence: bool, was_on: bool, choice: Choice
) -> Iterator[Impact]:
    family = paths[0].family
    host = facts.host
    if fence and was_on and not keeps_others_out(facts, family):
        yield Impact(
            "loses-reachability",
            host,
            f"forwards {family.label} for others today; the fence will drop all of it that no crossing names",
        )
    interfaces = [link.name for link in facts.links if link.name != "lo"]
    alone = forward_alone(facts.sysctls, family, interfaces)
    if fence and not was_on and alone and not keeps_others_out(facts, family):
        yield Impact(
            "loses-reachability",
            host,
            f"forwards {family.label} for others today where it comes in by {joined(alone)}, although "
            f"{FORWARDING[family]} is 0; the fence will drop all of it that no crossing names, and `fence: off` would "
            "let everybody pass between all its networks",
        )
    if not fence and not was_on:
        yield Impact(
            "opens-transit",
            host,
            f"will forward {family.label} for every host on all its networks, in both directions: `fence: off`",
        )
    if not fence and was_on and facts.sysctls.get(FORWARDING[family]) == "0":
        yield Impact(
            "opens-transit",
            host,
            f"forwarded {family.label} before crossnet, and is off now: will forward it again for every host on all "
            "its networks; `fence: on` lets pass what crossings name",
        )
    elif not fence and was_on:
        yield Impact(
            "fence-off",
            host,
            f"already forwarded {family.label} before crossnet: others' traffic stays as it is",
        )
    if family is Family.V4 and facts.sysctls.get(FORWARDING[family], "0") == "0":
        yield from _proxies(facts)
    for path in paths:
        yield from _instead(facts, path)
        yield from _passing_sources(facts, path)
        yield from _own_sources(facts, path)
        yield from _arp_elsewhere(facts, path)
        yield from _to_itself(facts, path)
        yield from _past_itself(facts, path)
    live = [engine for engine in Engine if facts.firewall.holds_rules(engine)]
    if len(live) > 1:
        yield Impact(
            "engines-mixed",
            host,
            f"rules of {', '.join(live[:-1])} and {live[-1]} are live together, and a packet has to pass all of "
            f"them; crossnet uses {choice.engine}: {choice.reason}",
        )
    offloads = offload_forwarded(facts.firewall, family)
    if offloads:
        yield Impact(
            "flows-offloaded",
            host,
            "connections that a rule of somebody else hands to a flowtable bypass crossnet's rules until they end, "
            f"even those that a fence or an undo should stop: {'; '.join(offloads[:3])}",
        )


def given_up(facts: Facts, family: Family) -> Impact:
    """That the fence comes now, although others had forwarding on before crossnet."""
    return Impact(
        "forwarding-given-up",
        facts.host,
        f"{FORWARDING[family]} was on before crossnet, is off now, and no file switches it on at a boot: so it is "
        "switched on behind a fence, and off again by an undo",
    )


def _proxies(facts: Facts) -> Iterator[Impact]:
    """What forwarding wakes up: a host that does not forward answers no ARP for others (net/ipv4/arp.c)."""
    names = [link.name for link in facts.links if link.has_wire and is_arp_proxy(facts.sysctls, link.name)]
    if names:
        yield Impact(
            "answers-for-others",
            facts.host,
            f"proxy_arp is on for {', '.join(names)}, and takes effect when it forwards: it answers ARP there for "
            "addresses that it reaches by its other interfaces, and so draws what is sent to them",
        )


def _own_sources(facts: Facts, path: Path) -> Iterator[Impact]:
    """Addresses of the gateway among the clients: its rules cannot tell what it sends from what it forwards."""
    clients = [client.network for client in path.clients if client.host is None]
    own = [
        item.address
        for link in facts.links
        for item in link.of(path.family)
        if link.name != path.egress and any(contains(network, item.address) for network in clients)
    ]
    if own and path.leg.translates:
        sources, to = few([*map(str, own)], 3, ", "), path.crossing.shown(path.family, 3)
        yield Impact(
            "own-traffic-translated",
            facts.host,
            f"what it sends itself from {sources} to {to} is translated too: it leaves as {path.leg.source_text}",
        )


def _to_itself(facts: Facts, path: Path) -> Iterator[Impact]:
    """A destination that is the gateway: its packets are not forwarded, so no rule of the crossing meets them."""
    for network in path.destinations:
        link = facts.owner_of(network.network_address) if network.num_addresses == 1 else None
        if link is not None:
            instead = few([*map(str, path.next_hops)], 3, " or ")
            yield Impact(
                "destination-is-gateway",
                facts.host,
                f"itself has {show_network(network)}, on {link.name}: it answers what clients send there and forwards "
                f"nothing, so no probe proves it, and neither `allow` nor the fence holds for it; they reach "
                f"{facts.host} as {instead} without a crossing",
                frozenset((path.crossing.name,)),
            )


def _past_itself(facts: Facts, path: Path) -> Iterator[Impact]:
    """Where the gateway tells clients of a router of their own segment: who sends to its link-local address heeds that.

    From whom a packet leaves by the interface that it came by gets a redirect (net/ipv6/ip6_output.c), which counts if
    it comes from the next hop of its route (RFC 4861, 8.1): it has the gateway's link-local address.
    """
    hops = [hop for hop in path.next_hops if hop.is_link_local]
    if path.family is Family.V6 and path.ingress == path.egress and hops:
        yield Impact(
            "redirects-clients",
            facts.host,
            f"packets of the crossing leave by {path.egress}, by which they came, so it sends clients to the router "
            f"beyond by ICMPv6 redirects; as their next hop is {hops[0]}, they heed that, and go past {facts.host} "
            "from the second packet on: write `next-hop` with an address of it that is not link-local",
            frozenset((path.crossing.name,)),
        )


def _instead(facts: Facts, path: Path) -> Iterator[Impact]:
    """An interface that stands in a destination's network, and is down: its routes went with it."""
    for link in facts.links:
        own = [item for item in link.of(path.family) if not link.up and link.name != path.egress]
        for item in own:
            if any(overlap(item.network, network) for network in path.destinations):
                yield Impact(
                    "leaves-elsewhere",
                    facts.host,
                    f"packets of the crossing leave it by {path.egress}, because its {link.name}, with "
                    f"{item.address}/{item.prefix}, is down",
                )


def _passing_sources(facts: Facts, path: Path) -> Iterator[Impact]:
    """A source address that the gateway has only for a while."""
    for source in path.leg.translation.addresses:
        for link in facts.links:
            for item in link.of(path.family):
                if item.address == source and (why := _why_it_goes(facts, link, item)):
                    yield Impact("source-may-change", facts.host, f"the source {source} is {why}")


def _why_it_goes(facts: Facts, link: Link, own: LinkAddress) -> str:
    """What an address of an interface is that may not stay there, and what to do; nothing where it stays."""
    if own.leased:
        until = f", valid for {own.lifetime} s" if own.lifetime is not None else ""
        if own.advertised:
            return (
                f"an address of {link.name} from router advertisements (dynamic{until}): when another prefix is "
                "advertised, replies find no way back until the next apply; `translate: masquerade` follows it"
            )
        return (
            f"a leased address of {link.name} (dynamic{until}): when the lease brings another one, replies find no way "
            "back until the next apply; `translate: masquerade` follows it"
        )
    staying = [item for item in link.of(family_of(own.address)) if not _is_of_one_host(item)]
    if link.kind in ("macvlan", "macvtap") and (parent := facts.link(link.parent)):
        what = f"an address of {link.name}, a {link.kind} on {parent.name}, as VRRP makes them"
        staying = [item for item in parent.of(family_of(own.address)) if not _is_of_one_host(item)]
    elif _is_of_one_host(own) and staying:
        what = f"a host address (/{own.prefix}) of {link.name} beside others, as VRRP and cluster managers add them"
    else:
        return ""
    fixed = next((item.address for item in staying if item.stable and not item.leased), None)
    instead = (
        f"`translate: {{snat: {fixed}}}` stays here" if fixed else "an address that stays here is better"
    )
    return f"{what}: when it moves to another host, the replies go there; {instead}"


def _is_of_one_host(item: LinkAddress) -> bool:
    return item.prefix == item.address.max_prefixlen


def _arp_elsewhere(facts: Facts, path: Path) -> Iterator[Impact]:
    """Other interfaces that answer for the next hop: what they draw comes in where the crossing admits nothing."""
    if path.family is not Family.V4:
        return
    own = facts.link(path.ingress)
    for next_hop in path.next_hops:
        wire = [item.network for item in own.of(Family.V4) if contains(item.network, next_hop)] if own else []
        for link in facts.links:
            beside = any(overlap(item.network, network) for item in link.of(Family.V4) for network in wire)
            if (
                link.name != path.ingress
                and link.has_wire
                and beside
                and answers_for_others(facts.sysctls, link.name)
            ):
                yield Impact(
                    "other-interface-answers",
                    facts.host,
                    f"{link.name} is in the same network as {path.ingress} and answers ARP for {next_hop} too: "
                    f"packets that come in by {link.name} are not the crossing's. Let it answer for its own addresses "
                    f"only: `sysctl -w net.ipv4.conf.{link.name}.arp_ignore=1`",
                )


def _clients(path: Path) -> str:
    shown = [str(client) for client in path.clients[:3]]
    rest = len(path.clients) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
