"""Where policy rules lead a crossing's packets, as `reach` looks them up.

A packet is looked up by the rules in the order of their priorities; the first whose table has a route for it
decides (net/core/fib_rules.c, fib_rules_lookup). What crossnet adds stands in the main table, so a rule of
somebody else before it can make all of that worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from crossnet.facts import Facts
from crossnet.facts.policy import PolicyRule
from crossnet.facts.routes import MAIN, OWN_PROTOCOL, Hop, Route, inside, matching
from crossnet.netfilter.foreign import Field
from crossnet.record import read_record
from crossnet.resources import PolicyRuleResource
from crossnet.values import Family, Network, contains, family_of, host_network

if TYPE_CHECKING:  # sets of packets are slow to import, and few hosts have rules of their own
    from crossnet.reach.packets import Packets
    from crossnet.reach.routing import Led, Way

    _Counts: TypeAlias = Callable[[PolicyRule, Packets, Packets], bool]

# The interface of packets that the host sends itself.
OWN = "lo"

_LOCAL = frozenset(("local", "255"))
_IN_MAIN = frozenset((MAIN, "254"))
# What a lookup asks of a packet beside its interface.
_ASKED = (
    *(Field.FAMILY, Field.SOURCE6, Field.DESTINATION6, Field.MARK, Field.DSCP),
    *(Field.PROTOCOL, Field.SOURCE_PORT, Field.DESTINATION_PORT, Field.FRAGMENT),
)


@dataclass(frozen=True, slots=True)
class Flow:
    """Packets as a lookup asks of them: from where to where, and by which interface they came (`lo`: its own)."""

    source: Network
    destination: Network
    iif: str

    @property
    def family(self) -> Family:
        return family_of(self.destination)


class Rules:
    """The policy rules of a host without crossnet's own; false where there are only those that every host has.

    `networks` are all that is asked about: between them marks are looked for that the host's firewall sets.
    """

    def __init__(self, facts: Facts, networks: Iterable[Network]) -> None:
        self.facts, self._networks = facts, tuple(networks)
        record = read_record(facts)
        rules = [
            rule
            for rule in sorted(facts.policy_rules, key=lambda rule: rule.priority)
            if rule.origin != OWN_PROTOCOL and record.find(PolicyRuleResource(rule)) is None
        ]
        self._rules = [] if all(rule.is_usual for rule in rules) else rules
        self._seen: dict[str, Packets] = {}
        if self._rules:
            from crossnet.reach.packets import Space
            from crossnet.reach.routing import Routing

            self._space = Space()
            self._routing = Routing(facts, self._space)

    def __bool__(self) -> bool:
        return bool(self._rules)

    # ---- the routes that decide ---------------------------------------------------------------------

    def deciding(self, flow: Flow) -> tuple[Route, ...]:
        """The routes for all of the destination that the packets take; those of the main table without rules.

        A rule that takes only some of them, by what else they are, is passed over: one of crossnet's own can come
        before it.
        """
        if not self:
            routes = [route for route in self.facts.routes if route.type != "local"]
            return matching(routes, flow.destination)
        return tuple(route for route in self._taken(flow) if contains(route.destination, flow.destination))

    def leading(self, flow: Flow, route: Route) -> PolicyRule | None:
        """The rule, none of every host's, by which packets come to a route; None where there is none."""
        for led in self._led(flow, self._rules) if self else ():
            rule = led.way.rule
            if led.way.route == route and rule is not None and not rule.is_usual:
                return rule
        return None

    def possible(self, flow: Flow) -> tuple[Route, ...]:
        """Every route that some of the packets take, by whatever rule."""
        if not self:
            return self.deciding(flow)
        led = self._led(flow, self._rules)
        return tuple(dict.fromkeys(each.way.route for each in led if each.way.route is not None))

    def smaller(self, flow: Flow) -> tuple[Route, ...]:
        """The routes to smaller parts of the destination that packets to these take."""
        if not self:
            return inside([route for route in self.facts.routes if route.type != "local"], flow.destination)
        return tuple(
            route for route in self._taken(flow) if not contains(route.destination, flow.destination)
        )

    def _taken(self, flow: Flow) -> tuple[Route, ...]:
        found = self._led(flow, self._rules, self._takes_all)
        return tuple(dict.fromkeys(led.way.route for led in found if led.way.route is not None))

    def _takes_all(self, rule: PolicyRule, taken: Packets, left: Packets) -> bool:
        """Whether it is the destination alone that decides which packets a rule takes."""
        if rule.table in _LOCAL:
            return True
        to = self._space.only(taken, Field.DESTINATION6)
        return not ((taken & left) | (left & to)).satisfiable()

    # ---- rules that lead astray ---------------------------------------------------------------------

    def astray(
        self, flow: Flow, is_right: Callable[[Way], bool], own: PolicyRule | None = None
    ) -> Led | None:
        """What the first rule does that leads some of the packets another way, once a rule of crossnet's own is there.

        The main table leads nobody astray: there is crossnet's route, for just these packets.
        """
        if not self:
            return None
        rules = self._rules if own is None else sorted((*self._rules, own), key=lambda rule: rule.priority)
        for led in self._led(flow, rules):
            rule = led.way.rule
            if rule is not None and rule.table not in _IN_MAIN and not is_right(led.way):
                return led
        return None

    def is_right_in_main(self, flow: Flow, is_right: Callable[[Way], bool]) -> bool:
        """Whether the main table has a route for all of the destination that leads them the right way."""
        main = PolicyRule(flow.family, 32766, table=MAIN)
        return any(
            is_right(led.way) and contains(led.way.route.destination, flow.destination)
            for led in self._led(flow, [main])
            if led.way.route is not None
        )

    def takes_from_local(self, flow: Flow, own: PolicyRule) -> bool:
        """Whether a rule of crossnet's own takes packets to addresses of the host itself, as which they are known now.

        The rule that looks them up may stand anywhere (the kernel's documentation of VRFs moves it behind others).
        """
        now, then = self._rules, sorted((*self._rules, own), key=lambda rule: rule.priority)
        return (self._for_itself(flow, now) & ~self._for_itself(flow, then)).satisfiable()

    def _for_itself(self, flow: Flow, rules: Iterable[PolicyRule]) -> Packets:
        return self._space.any_of(led.can for led in self._looked_up(flow, rules) if _is_local(led))

    def places_before(self, rule: PolicyRule) -> Iterator[int]:
        """Where a rule may have its place to be asked before this one, the last first.

        What stands behind a goto is not asked of packets that it has taken along.
        """
        before = [
            other.priority for other in self._rules if other.action == "goto" and other.family is rule.family
        ]
        for priority in sorted({rule.priority, *before}, reverse=True):
            if 1 < priority <= rule.priority:
                yield priority - 1

    # ---- lookups ------------------------------------------------------------------------------------

    def _led(self, flow: Flow, rules: Iterable[PolicyRule], counts: _Counts | None = None) -> list[Led]:
        return [led for led in self._looked_up(flow, rules, counts) if not _is_local(led)]

    def _looked_up(self, flow: Flow, rules: Iterable[PolicyRule], counts: _Counts | None = None) -> list[Led]:
        routing = self._routing.with_rules(
            flow.family, (rule for rule in rules if rule.family is flow.family)
        )
        return routing.lookup(self._packets(flow), flow.family, iif=flow.iif, counts=counts)

    def _packets(self, flow: Flow) -> Packets:
        space = self._space
        packets = space.network(Field.SOURCE6, flow.source)
        if flow.iif == OWN:
            # A program that did not choose a source has none yet when the kernel looks first.
            packets |= self._without_source(flow.family)
        else:
            # What comes in with a source of the host's own is no crossing's: the kernel drops it (net/ipv4/route.c,
            # ip_route_input_slow).
            packets &= ~self._own(Field.SOURCE6, flow.family)
        packets &= space.network(Field.DESTINATION6, flow.destination)
        unmarked = packets & space.value(Field.MARK, 0)
        if not any(rule.mark_mask for rule in self._rules):
            return unmarked
        return unmarked | (packets & self._marked(flow))

    def _own(self, side: Field, family: Family) -> Packets:
        """What has an address of the host's own on this side."""
        space = self._space
        own = (item.address for link in self.facts.links for item in link.of(family))
        return space.any_of(space.network(side, host_network(address)) for address in own)

    def _without_source(self, family: Family) -> Packets:
        from crossnet.reach.packets import address_field

        return self._space.value(address_field(Field.SOURCE6, family), 0) & self._space.family(family)

    def _marked(self, flow: Flow) -> Packets:
        """The packets with the marks that the host's firewall gives them before it looks them up."""
        if flow.iif not in self._seen:
            from crossnet.reach.here import Here
            from crossnet.reach.host import HostWalk

            space = self._space
            between = [each for each in self._networks if family_of(each) is flow.family]
            come = space.any_of(space.network(Field.SOURCE6, each) for each in between)
            come |= self._without_source(flow.family) if flow.iif == OWN else space.none
            come &= space.any_of(space.network(Field.DESTINATION6, each) for each in between)
            host = HostWalk(self.facts, space)
            here = Here.of(come & space.value(Field.MARK, 0))
            if flow.iif == OWN:
                host.sent(here)
            else:
                host.received(here, flow.iif)
            self._seen[flow.iif] = space.only(space.any_of(host.looked_up), *_ASKED)
        return self._seen[flow.iif]


def knows_nearer(main: Sequence[Route], route: Route | None, hop: Hop | None) -> bool:
    """Whether the main table's routes to a destination are narrower than that which a rule leads to, by another router.

    A default route of a table that knows no networks, not even those on its interfaces, is no choice of a router for
    them; a route that is as narrow is, and another interface.
    """
    if route is None or hop is None or not main:
        return False
    ways = {(each.device, each.via) for each in main} | {
        (h.device, h.via) for each in main for h in each.hops
    }
    other = hop.device in {device for device, _ in ways} and (hop.device, hop.via) not in ways
    return other and route.destination.prefixlen < main[0].destination.prefixlen


def _is_local(led: Led) -> bool:
    return led.way.rule is not None and led.way.rule.table in _LOCAL
