"""Where a host sends packets: policy rules, tables, routes and the check of the source, as the kernel does them.

IPv4: fib_table_lookup() and __fib_validate_source() of net/ipv4; IPv6: fib6_table_lookup(). Both walk the rules of
net/core/fib_rules.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from crossnet.facts import Facts
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import Hop, Route
from crossnet.facts.sysctls import interface_setting
from crossnet.netfilter.foreign import Field, Numbers
from crossnet.reach.packets import Packets, Space, address_field
from crossnet.values import Address, Family, family_of, network

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
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "dccp": 33, "ipv6-icmp": 58, "icmpv6": 58, "sctp": 132}

# Routes that end a lookup with an error.
REFUSING = {"blackhole": "route-blackhole", "unreachable": "route-unreachable", "prohibit": "route-prohibit"}


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

    def __str__(self) -> str:
        return str(self.route or self.rule or "no route")


@dataclass(frozen=True, slots=True)
class Led:
    """The packets that a lookup leads one way: surely, and perhaps."""

    must: Packets
    can: Packets
    way: Way


class Routing:
    """The routes and rules of one host, as one question asks them."""

    def __init__(self, facts: Facts, space: Space) -> None:
        self.facts, self.space = facts, space
        self._tables: dict[tuple[str, Family], list[Route]] = {}
        for route in facts.routes:
            key = _TABLES.get(route.table, route.table), family_of(route.destination)
            self._tables.setdefault(key, []).append(route)
        for family in Family:
            if not self._tables.get(("local", family)):
                self._tables["local", family] = list(_own_addresses(facts, family))
        for routes in self._tables.values():
            # fib_alias: the longer prefix first, then the narrower type of service, then the lower metric.
            routes.sort(key=lambda route: (-route.destination.prefixlen, -route.tos, route.metric))
        known = {family: [rule for rule in facts.policy_rules if rule.family is family] for family in Family}
        self.rules = {family: known[family] or list(_USUAL[family]) for family in Family}

    def setting(self, family: Family, interface: str, key: str) -> str:
        return self.facts.sysctls.get(interface_setting(family, interface, key), "0")

    def either(self, interface: str, key: str) -> bool:
        """A setting of IPv4 that counts when it is set for all or for the interface."""
        return any(self.setting(Family.V4, each, key) not in ("", "0") for each in ("all", interface))

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
        oif: str = "",
        back: bool = False,
        marked: bool = True,
    ) -> list[Led]:
        """Where the packets are led, or, with `back`, where answers to their sources would be.

        `iif` is lo for what the host itself sends; with `oif` only routes by that interface count.
        """
        space = self.space
        asked = _Asked(space.turned() if back else space, family, iif, oif, marked)
        found: list[Led] = []
        must = can = packets
        waiting: dict[int, list[tuple[Packets, Packets]]] = {}
        for rule in self.rules[family]:
            for more_must, more_can in waiting.pop(rule.priority, []):
                must, can = must | more_must, can | more_can
            if not can.satisfiable():
                continue
            holds, may = self._selected(rule, asked)
            hit_must, hit_can = must & holds, can & may
            must, can = must & ~may, can & ~holds
            match rule.action:
                case "lookup":
                    left = self._looked_up(rule, asked, hit_must, hit_can, found)
                case "goto" if rule.target is not None:
                    waiting.setdefault(rule.target, []).append((hit_must, hit_can))
                    left = (space.none, space.none)
                case "blackhole" | "unreachable" | "prohibit":
                    found.append(Led(hit_must, hit_can, Way(rule=rule)))
                    left = (space.none, space.none)
                case _:
                    left = (hit_must, hit_can)
            must, can = must | left[0], can | left[1]
        found.append(Led(must, can, Way()))
        return [led for led in found if led.can.satisfiable()]

    def _looked_up(
        self, rule: PolicyRule, asked: _Asked, must: Packets, can: Packets, found: list[Led]
    ) -> tuple[Packets, Packets]:
        """What goes on with the next rule: what the table does not know, or knows only as the rule suppresses."""
        space = self.space
        left_must = left_can = space.none
        for led in self._of_table(self._table(rule, asked), asked, must, can, rule):
            route = led.way.route
            suppressed = route is not None and self._suppressed(rule, led.way, route)
            if route is None or route.type == "throw" or suppressed:
                left_must, left_can = left_must | led.must, left_can | led.can
            else:
                found.append(led)
        return left_must, left_can

    def _table(self, rule: PolicyRule, asked: _Asked) -> str:
        if not rule.l3mdev:
            return _TABLES.get(rule.table, rule.table)
        link = self.facts.link(asked.iif if asked.iif != "lo" else asked.oif)
        master = self.facts.link(link.master) if link and link.master else link
        return master.table if master and master.kind == "vrf" else ""

    def _suppressed(self, rule: PolicyRule, way: Way, route: Route) -> bool:
        if rule.suppress_prefix is not None and route.destination.prefixlen <= rule.suppress_prefix:
            return True
        link = self.facts.link(way.device)
        return bool(rule.suppress_group) and link is not None and link.group == rule.suppress_group

    def _of_table(
        self, table: str, asked: _Asked, must: Packets, can: Packets, rule: PolicyRule
    ) -> Iterator[Led]:
        space = asked.space
        routes = self._tables.get((table, asked.family), [])
        side = address_field(Field.DESTINATION6, asked.family)
        number, length = space.common(can, side) if can.satisfiable() else (0, 0)
        for route in routes:
            if not can.satisfiable():
                return
            if not _overlaps(route, number, length):
                continue
            hops = [hop for hop in self._hops(route) if not asked.oif or hop.device == asked.oif]
            if route.dead or (
                route.type in ("unicast", "local", "broadcast", "anycast", "multicast") and not hops
            ):
                continue
            part = space.network(Field.DESTINATION6, route.destination)
            if route.tos:
                part &= space.masked(Field.DSCP, 0x7, Numbers(((route.tos >> 2, route.tos >> 2),)))
            if route.from_network is not None:
                part &= space.network(Field.SOURCE6, route.from_network)
            hit_must, hit_can = must & part, can & part
            if not hit_can.satisfiable():
                continue
            must, can = must & ~part, can & ~part
            if len(hops) > 1:
                hit_must = space.none
            for hop in hops or (None,):
                yield Led(hit_must, hit_can, Way(route, hop, rule))
        if can.satisfiable():
            yield Led(must, can, Way())

    def _hops(self, route: Route) -> list[Hop]:
        hops = route.hops or ((Hop(route.via, route.device),) if route.device else ())
        return [hop for hop in hops if not hop.dead]

    def _selected(self, rule: PolicyRule, asked: _Asked) -> tuple[Packets, Packets]:
        """The packets that a rule's selectors match: surely, and perhaps."""
        space, wanted = asked.space, asked.space.all
        perhaps = bool(rule.unknown)
        if (rule.iif and rule.iif != asked.iif) or (rule.oif and rule.oif != asked.oif) or rule.tunnel:
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
            wanted &= space.masked(Field.DSCP, 0x7, Numbers(((rule.tos >> 2, rule.tos >> 2),)))
        if rule.protocol:
            number = _PROTOCOLS.get(rule.protocol, int(rule.protocol) if rule.protocol.isdecimal() else None)
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
        strict = max(int(self.setting(Family.V4, each, "rp_filter") or 0) for each in ("all", ingress))
        accept_local = self.either(ingress, "accept_local")
        local = self._tables["local", Family.V4]
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
        for led in self.lookup(packets, Family.V4, iif=out or "lo", back=True, marked=marked):
            way = led.way
            if way.refusal or way.route is None:
                if strict:
                    found += _if_any("reverse-path-filter", led.must, led.can, str(way))
                continue
            if way.type != "unicast" and not (way.type == "local" and accept_local):
                found += _if_any("martian-source", led.must, led.can, str(way))
                continue
            if ingress in {hop.device for hop in self._hops(way.route)}:
                continue
            if strict == 1 or (strict and not addressed):
                found += _if_any("reverse-path-filter", led.must, led.can, str(way))
        return found

    # ---- addresses ----------------------------------------------------------------------------------

    def source_for(self, way: Way, family: Family, target: Address | None) -> Address | None:
        """The source that the host gives to what it sends that way (inet_select_addr, RFC 6724 in short)."""
        if way.route is not None and way.route.source is not None:
            return way.route.source
        gateway = way.hop.via if way.hop and way.hop.via else None
        return self.address_of(way.device, family, gateway or target)

    def address_of(self, device: str, family: Family, near: Address | None) -> Address | None:
        """The address of an interface that stands for it towards `near`; another one's where it has none."""
        link = self.facts.link(device)
        own = list(link.of(family)) if link else []
        candidates = own or [item for other in self.facts.links for item in other.of(family)]
        candidates = [item for item in candidates if not item.secondary] or candidates
        if not candidates:
            return None
        if near is not None and family_of(near) is family:
            for item in candidates:
                if item.peer is None and near in item.network:
                    return item.address
        return candidates[0].address

    def typed(self, field: Field, types: Numbers) -> Packets:
        """Packets whose address is of one of the types by the local table (inet_addr_type, RTN_*)."""
        space = self.space
        names = {2: "local", 3: "broadcast", 4: "anycast", 5: "multicast"}
        sets: dict[str, Packets] = {}
        multicast = (network("224.0.0.0/4"), network("ff00::/8"))
        sets["multicast"] = space.any_of(space.network(field, each) for each in multicast)
        every = space.address(field, network("255.255.255.255/32").network_address)
        sets["broadcast"] = every | space.network(field, network("0.0.0.0/8"))
        for family in Family:
            for route in self._tables["local", family]:
                if route.type in names.values() and route.type != "multicast":
                    known = sets.get(route.type, space.none)
                    sets[route.type] = known | space.network(field, route.destination)
        rest = ~space.any_of(sets.values())
        wanted = [
            sets.get(name, space.none)
            for number, name in names.items()
            if any(first <= number <= last for first, last in types.ranges)
        ]
        if any(first <= 1 <= last for first, last in types.ranges):
            wanted.append(rest)
        return space.any_of(wanted)


@dataclass(frozen=True, slots=True)
class _Asked:
    space: Space
    family: Family
    iif: str
    oif: str
    marked: bool


def _if_any(code: str, must: Packets, can: Packets, words: str) -> list[tuple[str, Packets, Packets, str]]:
    return [(code, must, can, words)] if can.satisfiable() else []


def _overlaps(route: Route, number: int, length: int) -> bool:
    """Whether a route is for an address whose leading bits are these."""
    net = route.destination
    bits = min(net.prefixlen, length)
    return int(net.network_address) >> (net.max_prefixlen - bits) == number >> (length - bits)


def _own_addresses(facts: Facts, family: Family) -> Iterable[Route]:
    """The local table of a host whose routes do not tell it."""
    loopback = network("127.0.0.0/8" if family is Family.V4 else "::1/128")
    yield Route(loopback, device="lo", table="local", type="local", protocol="kernel")
    for link in facts.links:
        for item in link.of(family):
            own = network(f"{item.address}")
            yield Route(own, device=link.name, table="local", type="local", protocol="kernel")
            if family is Family.V4 and item.prefix < 31 and item.peer is None:
                last = network(f"{item.network.broadcast_address}")
                yield Route(last, device=link.name, table="local", type="broadcast", protocol="kernel")
