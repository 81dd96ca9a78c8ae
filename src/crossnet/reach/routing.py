"""Where a host sends packets: policy rules, tables, routes and the check of the source, as the kernel does them.

IPv4: fib_table_lookup() and __fib_validate_source() of net/ipv4; IPv6: fib6_table_lookup(). Both walk the rules of
net/core/fib_rules.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import chain

from crossnet.facts import Facts
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Hop, Route
from crossnet.facts.sysctls import FORWARDING, effective_rp_filter, interface_setting
from crossnet.netfilter.foreign import Field, Numbers
from crossnet.netfilter.protocol_names import PROTOCOLS
from crossnet.reach.packets import Packets, Space, address_field
from crossnet.values import Family, Network, family_of, network

# What a kernel has before anybody adds a rule (fib_default_rules_init, fib6_rules_net_init).
_USUAL = {
    Family.V4: (
        PolicyRule(Family.V4, 0, table="local"),
        PolicyRule(Family.V4, 32766, table="main"),
        PolicyRule(Family.V4, 32767, table="default"),
    ),
    Family.V6: (PolicyRule(Family.V6, 0, table="local"), PolicyRule(Family.V6, 32766, table="main")),
}
_TABLES = {"255": "local", "254": "main", "253": "default"}
# RFC 4191, of which the higher wins; a route that says none is of the medium one.
_PREFERENCES = {"low": 1, "medium": 2, "": 2, "high": 3}

# Routes that end a lookup with an error.
REFUSING = {"blackhole": "route-blackhole", "unreachable": "route-unreachable", "prohibit": "route-prohibit"}
# And as what they count where a rule asks for the type of an address; an address that nobody knows is unreachable.
REFUSED = {**{code: kind for kind, code in REFUSING.items()}, "no-route": "unreachable"}
# Routes that need an interface.
_WITH_A_WAY = frozenset(("unicast", "local", "broadcast", "anycast", "multicast"))


@dataclass(frozen=True, slots=True)
class Way:
    """What a lookup ends with: a route and the hop of it that is taken, a rule that refuses, or nothing."""

    route: Route | None = None
    hop: Hop | None = None
    rule: PolicyRule | None = None

    @property
    def device(self) -> str:
        return self.hop.device if self.hop else ""

    @property
    def refusal(self) -> str:
        """The code of a way that leads nowhere."""
        if self.route is not None:
            return REFUSING.get(self.route.type, "")
        return REFUSING.get(self.rule.action, "") if self.rule else "no-route"

    @property
    def type(self) -> str:
        return self.route.type if self.route else ""

    @property
    def untold(self) -> str:
        """Why it is not known where packets come that way."""
        if self.route is None:
            return ""
        encap = self.hop.encap if self.hop else self.route.encap
        if encap:
            return f"packets go into a tunnel (encap {encap})"
        return self.route.unknown if self.hop is None and self.type in _WITH_A_WAY else ""

    def __str__(self) -> str:
        return str(self.route or self.rule or "no route")


@dataclass(frozen=True, slots=True)
class Led:
    """The packets that a lookup leads one way, surely and perhaps, and the words of what leaves that open.

    `others` say the same of a part of them.
    """

    must: Packets
    can: Packets
    way: Way
    doubts: tuple[str, ...] = ()
    others: tuple[Way, ...] = ()


class Routing:
    """The routes and rules of one host, as one question asks them."""

    def __init__(self, facts: Facts, space: Space) -> None:
        self.facts, self.space = facts, space
        tables: dict[tuple[str, Family], list[Route]] = {}
        for route in facts.routes:
            key = _TABLES.get(route.table, route.table), family_of(route.destination)
            tables.setdefault(key, []).append(route)
        for family in Family:
            if not tables.get(("local", family)):
                tables["local", family] = list(_own_addresses(facts, family))
        self._tables = {key: _in_order(routes, key[1]) for key, routes in tables.items()}
        self._alike: dict[tuple[str, Family], list[list[tuple[Route, ...]]]] = {}
        rules = sorted(facts.policy_rules, key=lambda rule: rule.priority)
        known = {family: [rule for rule in rules if rule.family is family] for family in Family}
        # Facts tell at least one of a family that the kernel has (`told_rules`).
        self.rules = {family: known[family] or list(_USUAL[family]) for family in Family}

    def with_rules(self, family: Family, rules: Iterable[PolicyRule]) -> Routing:
        """The same routes, looked up by other rules."""
        other = copy(self)
        other.rules = {**self.rules, family: list(rules)}
        return other

    def setting(self, family: Family, interface: str, key: str) -> str:
        return self.facts.sysctls.get(interface_setting(family, interface, key), "0")

    def either(self, interface: str, key: str, family: Family = Family.V4) -> bool:
        """A setting that counts when it is set for all or for the interface."""
        return any(self.setting(family, each, key) not in ("", "0") for each in ("all", interface))

    def domain(self, interface: str) -> str:
        """The VRF that an interface is a part of, or is; none where it is neither."""
        link = self.facts.link(interface)
        master = self.facts.link(link.master) if link and link.master else link
        return master.name if master and master.kind == "vrf" else ""

    def custom_rules(self, family: Family) -> bool:
        """Whether somebody has added a rule or taken one away."""
        plain = [(rule.priority, rule.table) for rule in self.rules[family]]
        return plain != [(rule.priority, rule.table) for rule in _USUAL[family]]

    # ---- the lookup ---------------------------------------------------------------------------------

    def lookup(
        self,
        packets: Packets,
        family: Family,
        *,
        iif: str = "lo",
        domain: str = "",
        back: bool = False,
        marked: bool = True,
        counts: Callable[[PolicyRule, Packets, Packets], bool] | None = None,
        together: bool = False,
    ) -> list[Led]:
        """Where the packets are led, or, with `back`, where answers to their sources would be.

        `iif` is lo for what the host itself sends, `domain` the VRF whose table is asked. A rule is passed over if
        `counts` says no of it, of what it takes, and of what it leaves to the rules behind it. With `together` routes
        that differ in nothing but their destination are one way: there may be thousands.
        """
        space = self.space
        asked = _Asked(
            space.turned() if back else space, family, iif, domain or self.domain(iif), marked, together
        )
        found: list[Led] = []
        doubts: dict[str, None] = {}
        must = can = packets
        waiting: dict[int, list[tuple[Packets, Packets]]] = {}
        priorities = {rule.priority for rule in self.rules[family]}
        for rule in self.rules[family]:
            for more_must, more_can in waiting.pop(rule.priority, []):
                must, can = must | more_must, can | more_can
            if not can.satisfiable():
                continue
            holds, may = self._selected(rule, asked)
            hit_must, hit_can = must & holds, can & may
            if not hit_can.satisfiable():
                continue
            before, known, told = (must, can), dict(doubts), len(found)
            if holds != may:
                doubts[f"rule {rule}"] = None
            must, can = must & ~may, can & ~holds
            match rule.action:
                case "lookup":
                    left = self._looked_up(rule, asked, hit_must, hit_can, found, doubts)
                case "goto" if rule.target in priorities and (rule.target or 0) > rule.priority:
                    waiting.setdefault(rule.target or 0, []).append((hit_must, hit_can))
                    left = (space.none, space.none)
                case "blackhole" | "unreachable" | "prohibit":
                    found.append(Led(hit_must, hit_can, Way(rule=rule), tuple(doubts)))
                    left = (space.none, space.none)
                case _:  # also a goto whose target is not there: [unresolved]
                    left = (hit_must, hit_can)
            must, can = must | left[0], can | left[1]
            if counts is not None and told < len(found):
                taken = space.any_of(led.can for led in found[told:])
                elsewhere = space.any_of(more for each in waiting.values() for _, more in each)
                if not counts(rule, taken, can | elsewhere):
                    (must, can), doubts = before, known
                    del found[told:]
        assert not waiting, "a goto leads to a rule further on"
        found.append(Led(must, can, Way(), tuple(doubts)))
        return [
            replace(led, doubts=()) if led.must == led.can else led for led in found if led.can.satisfiable()
        ]

    def _looked_up(
        self,
        rule: PolicyRule,
        asked: _Asked,
        must: Packets,
        can: Packets,
        found: list[Led],
        doubts: dict[str, None],
    ) -> tuple[Packets, Packets]:
        """What goes on with the next rule: what the table does not know, or knows only as the rule suppresses."""
        space = self.space
        left: list[Packets] = []
        taken: list[Packets] = []
        exact = must == can
        for led in self._of_table(self._table(rule, asked), asked, must, can, rule):
            doubts |= dict.fromkeys(led.doubts)
            route = led.way.route
            exact = exact and led.must == led.can
            suppressed = route is not None and self._suppressed(rule, led.way, route)
            if route is None or route.type == "throw" or suppressed:
                left.append(led.can)
            else:
                taken.append(led.can)
                found.append(replace(led, doubts=tuple(doubts)))
        rest = space.any_of(left)
        # Of thousands of routes all together are many nodes.
        return (rest, rest) if exact else (must & ~space.any_of(taken), rest)

    def of_host(self, family: Family) -> Iterator[Route]:
        return chain.from_iterable(self._tables["local", family])

    def _table(self, rule: PolicyRule, asked: _Asked) -> str:
        if not rule.l3mdev:
            return _TABLES.get(rule.table, rule.table)
        vrf = self.facts.link(asked.domain)
        return _TABLES.get(vrf.table, vrf.table) if vrf else ""

    def _suppressed(self, rule: PolicyRule, way: Way, route: Route) -> bool:
        if route.type in REFUSING:  # only what was found without an error (fib_rules_lookup)
            return False
        if rule.suppress_prefix is not None and route.destination.prefixlen <= rule.suppress_prefix:
            return True
        # Of several next hops IPv4 asks the first (fib4_rule_suppress).
        first = family_of(route.destination) is Family.V4 and route.hops
        link = self.facts.link(route.hops[0].device if first else way.device)
        return bool(rule.suppress_group) and link is not None and link.group == rule.suppress_group

    def _of_table(
        self, table: str, asked: _Asked, must: Packets, can: Packets, rule: PolicyRule
    ) -> Iterator[Led]:
        space = asked.space
        side = address_field(Field.DESTINATION6, asked.family)
        number, length = space.common(can, side) if can.satisfiable() else (0, 0)
        for equals, *others in self._runs(table, asked):
            if not can.satisfiable():
                return
            first = equals[0]
            alike = [route for (route,) in others]
            if not any(_overlaps(route, number, length) for route in (first, *alike)):
                continue
            taken = self._taken(equals, asked.family)
            if not taken:
                continue
            part = space.network(Field.DESTINATION6, first.destination)
            if alike:
                part = space.among((side,), _numbers_of((first, *alike))) & space.family(asked.family)
            if first.tos and asked.family is Family.V4:
                part &= space.masked(Field.DSCP, 0x7, Numbers(((first.tos >> 2, first.tos >> 2),)))
            if first.from_network is not None:
                part &= space.network(Field.SOURCE6, first.from_network)
            hit_can = can & part
            if not hit_can.satisfiable():
                continue
            hit_must = hit_can if must == can else must & part
            doubts = self._open(taken, asked.family)
            rest = can & ~part
            must = rest if must == can else must & ~part
            if not doubts:
                can = rest
            several = (f"which way of {first} is taken",) if len(taken) > 1 else ()
            if doubts or several:
                hit_must = space.none
            for route, hop in taken:
                ways = [Way(route, hop, rule)]
                if alike:
                    there = space.only(hit_can, Field.DESTINATION6)
                    ways = [
                        Way(each, hop, rule)
                        for each in (route, *alike)
                        if (there & space.network(Field.DESTINATION6, each.destination)).satisfiable()
                    ]
                yield Led(hit_must, hit_can, ways[0], doubts + several, tuple(ways[1:]))
        if can.satisfiable():
            yield Led(must, can, Way())

    def _runs(self, table: str, asked: _Asked) -> Iterable[Sequence[tuple[Route, ...]]]:
        """The routes as a lookup meets them; neighbours that go alike are one run where that is asked for."""
        routes = self._tables.get((table, asked.family), [])
        # Of routes that are perhaps passed over each is told by itself.
        silent = any(each.state == "FAILED" for each in self.facts.neighbours)
        if not asked.together or (silent and asked.family is Family.V6):
            return ([equals] for equals in routes)
        if (table, asked.family) not in self._alike:
            self._alike[table, asked.family] = _in_runs(routes)
        return self._alike[table, asked.family]

    def _taken(self, equals: Sequence[Route], family: Family) -> list[tuple[Route, Hop | None]]:
        """The routes and next hops of which one is taken, of routes that are for the same packets.

        IPv4 takes the first that is alive. IPv6 takes the preferred one (RFC 4191, rt6_score_route), and by turns
        those with a router, which are one route to it (rt6_qualify_for_ecmp), and those that are equal.
        """
        alive = [
            (route, hop)
            for route in equals
            if not route.dead
            for hop in self._hops(route)
            or (() if route.type in _WITH_A_WAY and not route.unknown else (None,))
        ]
        if family is Family.V4 or len(alive) < 2:
            return [way for way in alive if way[0] is alive[0][0]]
        best = max(_PREFERENCES.get(route.preference, 2) for route, _ in alive)
        preferred = [way for way in alive if _PREFERENCES.get(way[0].preference, 2) == best]
        one_route = [(route, hop) for route, hop in alive if hop and hop.via and route.protocol != "ra"]
        if any(way in one_route for way in preferred):
            preferred += [way for way in one_route if way not in preferred]
        return preferred

    def _open(self, taken: Sequence[tuple[Route, Hop | None]], family: Family) -> tuple[str, ...]:
        """Why these routes are perhaps not taken: what they say is not known, or a router of IPv6 did not answer.

        A host that does not forward passes over such a router where there is another way (rt6_check_neigh).
        """
        doubts = [f"route {route}: {route.unknown}" for route, _ in taken if route.unknown]
        if family is Family.V6 and self.facts.sysctls.get(FORWARDING[family], "0") == "0":
            failed = {(each.address, each.device) for each in self.facts.neighbours if each.state == "FAILED"}
            doubts += [
                f"route {route}: {hop.via} did not answer"
                for route, hop in taken
                if hop and (hop.via, hop.device) in failed
            ]
        return tuple(dict.fromkeys(doubts))

    def _hops(self, route: Route) -> list[Hop]:
        own = Hop(route.via, route.device or "", linkdown=route.linkdown, encap=route.encap)
        hops = route.hops or ((own,) if route.device else ())
        return [hop for hop in hops if not hop.dead and not self._passed_over(hop, route)]

    def _passed_over(self, hop: Hop, route: Route) -> bool:
        """Whether a hop without a carrier is none (ip-sysctl, ignore_routes_with_linkdown)."""
        return hop.linkdown and self.either(
            hop.device, "ignore_routes_with_linkdown", family_of(route.destination)
        )

    def _selected(self, rule: PolicyRule, asked: _Asked) -> tuple[Packets, Packets]:
        """The packets that a rule's selectors match: surely, and perhaps."""
        space, wanted = asked.space, asked.space.all
        perhaps = bool(rule.unknown)
        # What a socket is bound to, and a tunnel's key, are asked of packets that have neither.
        if (rule.iif and rule.iif != asked.iif) or rule.oif or rule.tunnel:
            wanted = space.none
        if rule.l3mdev and not self._table(rule, asked):
            wanted = space.none
        if rule.source is not None:
            wanted &= space.network(Field.SOURCE6, rule.source)
        if rule.destination is not None:
            wanted &= space.network(Field.DESTINATION6, rule.destination)
        if rule.mark_mask:
            if asked.marked:
                value = rule.mark & rule.mark_mask
                wanted &= space.masked(Field.MARK, rule.mark_mask, Numbers(((value, value),)))
            elif rule.mark & rule.mark_mask:
                wanted = space.none
        if rule.tos:
            # IPv4 compares three bits of the six, as RFC 1349 has them (fib_dscp_masked_match).
            bits = 0x7 if asked.family is Family.V4 else 0x3F
            wanted &= space.masked(Field.DSCP, bits, Numbers(((rule.tos >> 2, rule.tos >> 2),)))
        if rule.protocol:
            number = PROTOCOLS.get(rule.protocol, int(rule.protocol) if rule.protocol.isdecimal() else None)
            perhaps = perhaps or number is None
            wanted &= space.all if number is None else space.value(Field.PROTOCOL, number)
        for field, ports in (
            (Field.SOURCE_PORT, rule.source_ports),
            (Field.DESTINATION_PORT, rule.destination_ports),
        ):
            if ports is not None:
                numbers = Numbers(((ports.first, ports.last),))
                wanted &= space.among((field,), numbers) & space.present(field)
        if rule.users is not None:
            # What is forwarded is looked up as user 0 (sock_net_uid); who sends from here is not known.
            if asked.iif == "lo":
                perhaps = True
            elif rule.users[0] > 0:
                wanted = space.none
        must, can = (space.none if perhaps else wanted), wanted
        return (~can, ~must) if rule.negated else (must, can)

    # ---- the source ---------------------------------------------------------------------------------

    def refused_sources(
        self, packets: Packets, ingress: str, out: str
    ) -> list[tuple[str, Packets, Packets, str]]:
        """IPv4 packets that came by an interface and are refused for their source: code, surely, perhaps, words.

        `out` is the interface by which they would leave, empty where they are for the host itself.
        """
        space = self.space
        strict = effective_rp_filter(self.facts.sysctls, ingress)
        accept_local = self.either(ingress, "accept_local")
        local = self.of_host(Family.V4)
        if strict == 0 and not (
            self.custom_rules(Family.V4) or any(route.protocol not in ("kernel", "2") for route in local)
        ):
            if accept_local:
                return []
            own = space.any_of(
                space.address(Field.SOURCE4, item.address)
                for link in self.facts.links
                for item in link.of(Family.V4)
            )
            return _if_any("martian-source", packets & own, packets & own, "an address of the host itself")
        marked = self.either(ingress, "src_valid_mark")
        found: list[tuple[str, Packets, Packets, str]] = []
        link = self.facts.link(ingress)
        addressed = link is not None and bool(link.of(Family.V4))
        domain = self.domain(ingress)
        for led in self.lookup(packets, Family.V4, iif=out or "lo", domain=domain, back=True, marked=marked):
            way = led.way
            if way.refusal or way.route is None:
                if strict:
                    found += _if_any("reverse-path-filter", led.must, led.can, str(way))
                continue
            if way.type != "unicast" and not (way.type == "local" and accept_local):
                found += _if_any("martian-source", led.must, led.can, str(way))
                continue
            devices = {hop.device for hop in self._hops(way.route)}
            # What comes by a port of a VRF came by the VRF (fib_info_nh_uses_dev).
            if ingress in devices | set(map(self.domain, devices)):
                continue
            if strict == 1 or (strict and not addressed):
                found += _if_any("reverse-path-filter", led.must, led.can, str(way))
        return found


@dataclass(frozen=True, slots=True)
class _Asked:
    space: Space
    family: Family
    iif: str
    domain: str
    marked: bool
    together: bool


def _in_runs(routes: Iterable[tuple[Route, ...]]) -> list[list[tuple[Route, ...]]]:
    """Neighbours of one length that differ in nothing but their destination: their order does not matter."""
    runs: list[list[tuple[Route, ...]]] = []
    before: object = None
    held: set[Network] = set()
    for equals in routes:
        first = equals[0]
        plain = len(equals) == 1 and first.type == "unicast" and not (first.unknown or first.tos or first.mtu)
        nowhere = network("0.0.0.0/0" if first.destination.version == 4 else "::/0")
        way = (first.destination.prefixlen, replace(first, destination=nowhere)) if plain else None
        if way is not None and way == before and first.destination not in held:
            runs[-1].append(equals)
        else:
            runs.append([equals])
            held = set()
        held.add(first.destination)
        before = way
    return runs


def _numbers_of(routes: Iterable[Route]) -> Numbers:
    """The addresses of their destinations, of which none holds another."""
    ends = ((int(each.destination[0]), int(each.destination[-1])) for each in routes)
    return Numbers(tuple(sorted(ends)))


def _in_order(routes: Iterable[Route], family: Family) -> list[tuple[Route, ...]]:
    """The routes of a table as a lookup meets them, those of IPv6 that are for the same packets together.

    The longer prefix first, then the narrower type of service (fib_alias) or source (fib6_node_lookup_1), then the
    lower metric.
    """

    def place(route: Route) -> tuple[int, int, int]:
        narrower = route.tos if family is Family.V4 else _length(route.from_network)
        return -route.destination.prefixlen, -narrower, route.metric

    if family is Family.V4:
        return [(route,) for route in sorted(routes, key=place)]
    found: dict[tuple[object, ...], list[Route]] = {}
    for route in sorted(routes, key=place):
        found.setdefault((route.destination, route.from_network, route.metric), []).append(route)
    return list(map(tuple, found.values()))


def _length(network: Network | None) -> int:
    return network.prefixlen if network else 0


def _if_any(code: str, must: Packets, can: Packets, words: str) -> list[tuple[str, Packets, Packets, str]]:
    return [(code, must, can, words)] if can.satisfiable() else []


def _overlaps(route: Route, number: int, length: int) -> bool:
    """Whether a route is for an address whose leading bits are these."""
    net = route.destination
    bits = min(net.prefixlen, length)
    return int(net.network_address) >> (net.max_prefixlen - bits) == number >> (length - bits)


def _own_addresses(facts: Facts, family: Family) -> Iterable[Route]:
    """The local table as the kernel makes it from addresses, for a host whose routes do not tell it: a guess.

    Routes that somebody else put there, or took away, are not in it.
    """
    loopback = network("127.0.0.0/8" if family is Family.V4 else "::1/128")
    yield Route(loopback, device="lo", table="local", type="local", protocol="kernel")
    for link in facts.links:
        for item in link.of(family):
            own = network(f"{item.address}")
            yield Route(own, None, link.name, item.address, "kernel", table="local", type="local")
            if family is Family.V4 and item.prefix < 31 and item.peer is None:
                last = network(f"{item.network.broadcast_address}")
                yield Route(last, device=link.name, table="local", type="broadcast", protocol="kernel")
