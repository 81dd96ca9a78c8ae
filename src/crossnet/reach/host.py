"""One host: what becomes of packets that come to it or that it sends, hook by hook, as its kernel does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from crossnet.facts import Facts
from crossnet.netfilter.foreign import AnyOf, Field, Numbers, ReversePath, Table, Test
from crossnet.reach.packets import (
    ESTABLISHED,
    ICMP,
    ICMP6,
    INVALID,
    NEW,
    TCP,
    UNTRACKED,
    Packets,
    Space,
    address_field,
)
from crossnet.reach.routing import Led, Routing
from crossnet.reach.rules import BLOCKS, NAT_PRIORITY, Answer, Decision, Effect, Here, Local, Place, Walk
from crossnet.values import Address, Family, address, network

_CONNTRACK = -200
_SNAT, _DNAT = 16, 32
_SYN, _RST, _FIN, _ACK = 2, 4, 1, 16

# What begins a flow (nf_conntrack_proto_icmp.c, _icmpv6.c); neighbour discovery is not tracked at all.
_ASKING = {Family.V4: (ICMP, (8, 13, 15, 17)), Family.V6: (ICMP6, (128, 139))}
_NOT_TRACKED6 = Numbers(((130, 137), (143, 143)))

_NO_SOURCE = {
    Family.V4: tuple(map(network, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32"))),
    Family.V6: tuple(map(network, ("::/128", "::1/128", "ff00::/8"))),
}
_NO_DESTINATION = {
    Family.V4: tuple(map(network, ("0.0.0.0/8", "127.0.0.0/8"))),
    Family.V6: tuple(map(network, ("::/128", "::1/128"))),
}
_LINK_LOCAL6 = network("fe80::/10")

_FILTER_CODES = {
    Effect.DROPS: "filter-rule-drop",
    Effect.REJECTS: "filter-reject",
    Effect.QUEUES: "queue-without-listener",
    Effect.UNKNOWN: "filter-rule-drop",
}


@dataclass(frozen=True, slots=True)
class Blocker:
    """One thing that stops packets, or perhaps does, and would have to change.

    `certain` when it surely stops what comes to it; `now` when packets come to it as things are, else they would
    once what stands before it is taken away. `packets` are those that it concerns, as they are where it stands.
    `text` is the rule, route or setting in its owner's words, `doubts` what could not be known.
    """

    code: str
    host: str
    interface: str
    hook: str
    text: str
    certain: bool
    now: bool
    place: Place | None = None
    doubts: tuple[str, ...] = ()
    packets: Packets | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Leaving:
    """Packets that leave by an interface, to a router or, without one, to their destination itself."""

    interface: str
    next_hop: Address | None
    here: Here


@dataclass(frozen=True, slots=True)
class Passage:
    """What became of packets at one host; `stopped` and `passed` are those that perhaps are, as things are.

    A packet in only one of them surely is. Both speak of packets as they came; `flows` is what connection tracking
    knows of them afterwards.
    """

    leaving: tuple[Leaving, ...]
    delivered: Here
    blockers: tuple[Blocker, ...]
    decisions: tuple[Decision, ...]
    stopped: Packets
    passed: Packets
    flows: Packets


class HostWalk:
    """One host, walked by packets of one direction of one question.

    `space` is turned for answers, and `flows` then what the host remembers of the requests. `expected` is the
    interface by which a crossing leaves this host: where there is no route, the walk goes on there.
    """

    def __init__(
        self, facts: Facts, space: Space, *, flows: Packets | None = None, expected: str = ""
    ) -> None:
        self.facts, self.space, self.expected = facts, space, expected
        self.flows = None if flows is None else flows & space.tracked
        space.know_interfaces(link.name for link in facts.links)
        space.know_interfaces(("lo",))
        self.routing = Routing(facts, space)
        bridges = [name for family in Family for name in facts.bridges_filtered(family)]
        local = Local(
            self._chosen,
            self._typed,
            self._link_types,
            self._way_back,
            space.interfaces(Field.IIF, bridges),
        )
        self.walk = Walk(space, facts.firewall.foreign, local)
        self.none = self.walk.none
        self.remembers = flows is not None or _asks_for_the_first(self.walk.tables)
        self.blockers: list[Blocker] = []
        self._stopped = self._doubtful = space.none
        self._hops: dict[str, list[tuple[Packets, Address | None]]] = {}
        self._counted = 0
        self._once = self.none, self.none

    # ---- directions ---------------------------------------------------------------------------------

    def received(self, here: Here, ingress: str) -> Passage:
        """What becomes of packets that come by an interface."""
        space = self.space
        here = here.through(lambda packets: self._arrived(packets, ingress))
        link = self.facts.link(ingress)
        if link is not None and not link.up and ingress != "lo":
            here = self._block("link-down", f"{ingress} is down", here, space.all, ingress)
        here = self._hook("prerouting", here, ingress)
        delivered, routed = self._routed_in(here, ingress)
        return self._ended(routed, self._input(delivered, ingress))

    def sent(self, here: Here) -> Passage:
        """What becomes of packets that the host sends; a source of 0 is chosen by the host."""
        space = self.space
        here = here.through(lambda packets: self._arrived(packets, ""))
        local, routed = self.none, self.none
        for family in Family:
            part = here.passing(self._sure(space.family(family)))
            if part:
                more_local, more = self._routed_out(part, family)
                local, routed = local.joined(more_local), routed.joined(more)
        routed = self._hook("output", routed.joined(local), "")
        routed = self._again(routed)
        by_lo = self._sure(space.interfaces(Field.OIF, ("lo",)))
        local, routed = routed.passing(by_lo), routed.failing(by_lo)
        return self._ended(routed, local)

    def _arrived(self, packets: Packets, ingress: str) -> Packets:
        space = self.space
        packets = space.with_interface(packets, Field.IIF, ingress)
        packets = space.with_interface(packets, Field.OIF, "")
        packets = space.without(packets, Field.CT_STATE, Field.CT_DIRECTION, Field.CT_STATUS)
        packets = space.unremembered(packets)
        return packets & space.value(Field.CT_STATE, INVALID)

    def _ended(self, routed: Here, delivered: Here) -> Passage:
        space = self.space
        routed = self._hook("postrouting", routed, "")
        leaving: list[Leaving] = []
        for number in space.values_of(routed.fixed, Field.OIF):
            name = space.interface(number)
            out = routed.passing(self._sure(space.interfaces(Field.OIF, (name,))))
            link = self.facts.link(name)
            if link is not None and not link.up and name != "lo":
                out = self._block("link-down", f"{name} is down", out, space.all, name)
            for hop, part in self._by_hop(name, out):
                leaving.append(Leaving(name, hop, part))
        passed = delivered.may | space.any_of(each.here.may for each in leaving)
        everything = delivered.fixed | space.any_of(each.here.fixed for each in leaving)
        return Passage(
            tuple(leaving),
            delivered,
            tuple(self.blockers),
            tuple(self.walk.decisions),
            self._stopped,
            self._first(passed) | self._doubtful,
            everything,
        )

    def _by_hop(self, name: str, out: Here) -> list[tuple[Address | None, Here]]:
        hops: dict[Address | None, Packets] = {}
        for packets, hop in self._hops.get(name, []):
            hops[hop] = hops.get(hop, self.space.none) | packets
        if len(hops) == 1:
            return [(hop, out) for hop in hops]
        # Routes look at the destination, which nothing changes behind them: by it the parts are told apart.
        side = Field.DESTINATION6
        keeping = [
            each for each in Field if self.space.knows(each) and each not in (side, Field.DESTINATION4)
        ]
        found = []
        for hop, packets in hops.items():
            to = self.space.without(packets, *keeping)
            part = out.passing(self._sure(to))
            if part:
                found.append((hop, part))
        return found

    # ---- hooks --------------------------------------------------------------------------------------

    def _hook(self, hook: str, here: Here, interface: str) -> Here:
        steps: list[tuple[int, Callable[[Here], Here]]] = []
        for priority, table, chain in self.walk.base_chains(hook):
            steps.append((priority, lambda here, t=table, c=chain: self.walk.enter(t, c, here)))  # type: ignore[misc]
        if hook in ("prerouting", "output"):
            steps.append((_CONNTRACK, self._tracked))
        if hook in NAT_PRIORITY:
            steps.append((NAT_PRIORITY[hook], lambda here: self._nat(hook, here)))
        for _, step in sorted(steps, key=lambda item: item[0]):
            if not here:
                break
            here = step(here)
            self._count(hook, interface)
        return here

    def _count(self, hook: str, interface: str) -> None:
        """Take over what the walk has decided since."""
        for decision in self.walk.decisions[self._counted :]:
            if decision.effect not in BLOCKS:
                continue
            here = decision.here
            self._stopped |= self._first(here.may)
            if decision.effect in (Effect.UNKNOWN, Effect.QUEUES):
                self._doubtful |= self._first(here.may)
            code = _FILTER_CODES[decision.effect]
            if decision.text == "policy drop" and decision.effect is Effect.DROPS:
                code = "filter-policy-drop"
            elif hook == "output":
                code = "src-output-filtered"
            self._add(code, decision.text, here, interface, hook, decision.place, decision.doubts)
        self._counted = len(self.walk.decisions)

    def _nat(self, hook: str, here: Here) -> Here:
        space = self.space
        new = self._sure(space.state(NEW) & space.value(Field.CT_DIRECTION, 0))
        first, others = here.passing(new), here.failing(new)
        if first:
            first = self.walk.nat(hook, first)
        if self.flows is None:
            return first.joined(others)
        # What a flow's first packet was given, its answers give back: the destination before routing, the source after.
        bit = _SNAT if hook in ("prerouting", "output") else _DNAT
        translated = self._sure(space.value(Field.CT_DIRECTION, 1) & space.one_bit_of(Field.CT_STATUS, bit))
        back = others.passing(translated)
        if back:
            sides = Field.DESTINATION6 if bit == _SNAT else Field.SOURCE6
            back = back.through(lambda packets: space.given_back(packets, sides))
        return first.joined(others.failing(translated)).joined(back)

    def _tracked(self, here: Here) -> Here:
        """Connection tracking: what begins a flow, answers one, or is neither."""
        space = self.space
        unseen = self._sure(space.state(INVALID))
        waiting, others = here.passing(unseen), here.failing(unseen)
        answers = self.none
        if self.flows is not None:
            known = self._sure(space.without(self.flows, *_OF_THE_PACKET))
            answers = waiting.passing(known)
            waiting = waiting.failing(known)
            remembered = space.without(self.flows, *_OF_THE_PACKET_AND_PLACE)
            answers = answers.through(lambda packets: self._answering(packets, remembered))
        nd = space.ipv6 & space.value(Field.PROTOCOL, ICMP6) & space.among((Field.ICMP_TYPE,), _NOT_TRACKED6)
        untracked, waiting = waiting.passing(self._sure(nd)), waiting.failing(self._sure(nd))
        untracked = untracked.through(lambda packets: space.with_value(packets, Field.CT_STATE, UNTRACKED))
        begins = self._sure(self._beginning())
        first = waiting.passing(begins).through(self._begun)
        whole = others.joined(answers).joined(untracked)
        return whole.joined(first).joined(waiting.failing(begins))

    def _begun(self, packets: Packets) -> Packets:
        space = self.space
        packets = space.with_value(packets, Field.CT_STATE, NEW)
        for each in (Field.CT_DIRECTION, Field.CT_STATUS):
            packets = space.with_value(packets, each, 0)
        if not space.depends(packets, Field.CT_MARK):
            packets = packets & space.value(Field.CT_MARK, 0)
        return space.tied(packets) if self.remembers else packets

    def _answering(self, packets: Packets, remembered: Packets) -> Packets:
        space = self.space
        packets = space.without(packets, Field.CT_STATE, Field.CT_DIRECTION, Field.CT_MARK) & remembered
        packets &= space.state(ESTABLISHED) & space.value(Field.CT_DIRECTION, 1)
        return space.rewritten(packets, Field.CT_STATUS, bits := 2 | 8, bits)

    def _beginning(self) -> Packets:
        """Packets that begin a flow in the eyes of connection tracking."""
        space = self.space
        found = ~space.any_of(space.value(Field.PROTOCOL, each) for each in (ICMP, TCP, ICMP6))
        for family, (protocol, types) in _ASKING.items():
            of = space.value(Field.PROTOCOL, protocol)
            asking = space.among((Field.ICMP_TYPE,), Numbers(tuple((each, each) for each in types)))
            found |= of & space.family(family) & asking
            other = space.family(Family.V6 if family is Family.V4 else Family.V4)
            found |= of & other
        flags = space.masked(
            Field.TCP_FLAGS, _SYN | _ACK | _RST | _FIN, Numbers(((_SYN, _SYN), (_ACK, _ACK)))
        )
        return found | (space.value(Field.PROTOCOL, TCP) & flags)

    # ---- routes -------------------------------------------------------------------------------------

    def _routed_in(self, here: Here, ingress: str) -> tuple[Here, Here]:
        """What is for the host itself, and what leaves it behind the forward hook."""
        space = self.space
        local = routed = self.none
        for family in Family:
            part = here.passing(self._sure(space.family(family)))
            if not part:
                continue
            part = self._without_martians(part, family, ingress)
            for led, seen in self._led(part, family, ingress):
                more_local, more = self._one_way_in(led, seen, family, ingress)
                local, routed = local.joined(more_local), routed.joined(more)
        return local, self._hook("forward", routed, ingress)

    def _one_way_in(self, led: Led, seen: Here, family: Family, ingress: str) -> tuple[Here, Here]:
        way, space = led.way, self.space
        kind = way.type
        if kind in ("broadcast", "multicast", "anycast") and not (kind == "anycast" and family is Family.V6):
            self._block("destination-is-broadcast", str(way), seen, space.all, ingress, "route")
            return self.none, self.none
        if kind in ("local", "anycast"):
            return self._right_source(seen, family, ingress, ""), self.none
        seen = self._forwarded(seen, family, ingress)
        device = way.device
        if way.refusal:
            seen = self._block(way.refusal, str(way), seen, space.all, ingress, "route")
            device = self.expected
            if not device:
                return self.none, self.none
        else:
            seen = self._right_source(seen, family, ingress, device)
        seen = self._lived(seen, ingress)
        seen = self._fitting(seen, led, family, device)
        return self.none, self._out(seen, device, way.hop.via if way.hop else None)

    def _led(self, here: Here, family: Family, iif: str) -> list[tuple[Led, Here]]:
        found = self.routing.lookup(here.fixed, family, iif=iif)
        return [(led, here.passing(Answer(led.must, led.can))) for led in found]

    def _out(self, here: Here, device: str, hop: Address | None) -> Here:
        self._hops.setdefault(device, []).append((here.fixed, hop))
        if hop is not None and any(
            known.address == hop and known.device == device and known.state == "FAILED"
            for known in self.facts.neighbours
        ):
            words = f"{hop} did not answer on {device} when it was last asked"
            here = self._block(
                "next-hop-unresolved", words, here, self.space.all, device, "", self.space.none
            )
        return here.through(lambda packets: self.space.with_interface(packets, Field.OIF, device))

    def _without_martians(self, here: Here, family: Family, ingress: str) -> Here:
        space = self.space
        if ingress == "lo":
            return here
        bad = space.any_of(space.network(Field.SOURCE6, each) for each in _NO_SOURCE[family])
        here = self._block("martian-source", "no host has such a source", here, bad, ingress, "route")
        nowhere = space.any_of(space.network(Field.DESTINATION6, each) for each in _NO_DESTINATION[family])
        return self._block("no-route", "no host has such a destination", here, nowhere, ingress, "route")

    def _forwarded(self, here: Here, family: Family, ingress: str) -> Here:
        settings = self.facts.sysctls
        if family is Family.V6:
            name = "net.ipv6.conf.all.forwarding"
            if settings.get(name, "1") == "0":
                return self._block(
                    "ip-forward-disabled", f"{name} = 0", here, self.space.all, ingress, "forward"
                )
            near = self.space.network(Field.SOURCE6, _LINK_LOCAL6)
            return self._block(
                "martian-source", "link-local, which is not forwarded", here, near, ingress, "forward"
            )
        whole = "net.ipv4.ip_forward"
        own = f"net.ipv4.conf.{ingress.replace('.', '/')}.forwarding"
        if settings.get(own, settings.get(whole, "0")) != "0":
            return here
        off = settings.get(whole, "0") == "0"
        code = "ip-forward-disabled" if off else "interface-forwarding-disabled"
        return self._block(code, f"{whole if off else own} = 0", here, self.space.all, ingress, "forward")

    def _right_source(self, here: Here, family: Family, ingress: str, out: str) -> Here:
        if family is Family.V6 or ingress == "lo":
            return here
        for code, must, can, words in self.routing.refused_sources(here.fixed, ingress, out):
            setting = f"rp_filter refuses the source: {words}" if code == "reverse-path-filter" else words
            here = self._block(code, setting, here, can, ingress, "route", must)
        return here

    def _lived(self, here: Here, ingress: str) -> Here:
        space = self.space
        old = space.any_of(space.value(Field.TTL, each) for each in (0, 1))
        here = self._block("ttl-expired", "the time to live is over", here, old, ingress, "forward")
        return here.through(space.aged)

    def _fitting(self, here: Here, led: Led, family: Family, device: str) -> Here:
        link = self.facts.link(device)
        route = led.way.route
        most = (route.mtu if route else None) or (link.mtu if link else 65535)
        large = (
            self.space.among((Field.LENGTH,), Numbers(((most + 1, 65535),)))
            if most < 65535
            else self.space.none
        )
        # Without DF an IPv4 packet is cut.
        must = large if family is Family.V6 else self.space.none
        return self._block(
            "mtu-exceeded", f"the MTU of {device} is {most}", here, large, device, "forward", must
        )

    def _input(self, here: Here, ingress: str) -> Here:
        return self._hook("input", here, ingress) if here else here

    # ---- what the host sends ------------------------------------------------------------------------

    def _routed_out(self, here: Here, family: Family) -> tuple[Here, Here]:
        space = self.space
        source = address_field(Field.SOURCE6, family)
        open_source = space.value(source, 0)
        chosen = self.none
        without = here.passing(self._sure(open_source))
        if without:
            for led, seen in self._led(without, family, "lo"):
                if led.way.refusal:
                    chosen = chosen.joined(seen)  # refused once more below
                    continue
                near = self._target(seen.fixed, family)
                source_address = self.routing.source_for(led.way, family, near)
                number = int(source_address) if source_address else 0
                given = seen.through(lambda packets, n=number: space.with_value(packets, source, n))  # type: ignore[misc]
                # A socket that is connected is looked up again with its source (ip_route_connect); others are not.
                again = self._sure(
                    space.any_of(space.value(Field.PROTOCOL, each) for each in (TCP, 17)) & ~open_source
                )
                chosen = chosen.joined(given.passing(again))
                local, out = self._one_way_out(led, given.failing(again))
                self._once = (self._once[0].joined(local), self._once[1].joined(out))
        local, routed = self._once
        self._once = self.none, self.none
        for led, seen in self._led(chosen.joined(here.failing(self._sure(open_source))), family, "lo"):
            more_local, more = self._one_way_out(led, seen)
            local, routed = local.joined(more_local), routed.joined(more)
        return local, routed

    def _target(self, packets: Packets, family: Family) -> Address | None:
        side = address_field(Field.DESTINATION6, family)
        number, length = self.space.common(packets, side)
        width = 32 if family is Family.V4 else 128
        return (IPv4Address if family is Family.V4 else IPv6Address)(number << (width - length))

    def _one_way_out(self, led: Led, seen: Here) -> tuple[Here, Here]:
        way, space = led.way, self.space
        device = way.device
        if not seen:
            return self.none, self.none
        if way.refusal:
            code = "src-no-route" if way.refusal == "no-route" else way.refusal
            seen = self._block(code, str(way), seen, space.all, "", "output")
            device = self.expected
            if not device:
                return self.none, self.none
        if way.type in ("local", "anycast"):
            return self._out(seen, "lo", None), self.none
        if way.type == "broadcast":
            # A socket needs SO_BROADCAST; an answer of TCP is sent there without (measured).
            must = space.all if self.flows is None else space.none
            seen = self._block("destination-is-broadcast", str(way), seen, space.all, device, "output", must)
        return self.none, self._out(seen, device, way.hop.via if way.hop else None)

    def _again(self, here: Here) -> Here:
        """The second look at the routes for what a rule at the output hook changed (ip_route_me_harder)."""
        space = self.space
        rerouting = any(
            chain.hook is not None and chain.hook.type == "route"
            for _, _, chain in self.walk.base_chains("output")
        )
        changed = (
            space.one_bit_of(Field.CT_STATUS, _DNAT) & space.value(Field.CT_DIRECTION, 0) & space.tracked
        )
        if rerouting:
            changed |= ~space.value(Field.MARK, 0)
        moved, same = here.passing(self._sure(changed)), here.failing(self._sure(changed))
        if not moved:
            return here
        for family in Family:
            part = moved.passing(self._sure(space.family(family)))
            for led, seen in self._led(part, family, "lo") if part else []:
                local, out = self._one_way_out(led, seen)
                same = same.joined(local).joined(out)
        return same

    # ---- what rules ask of the host -----------------------------------------------------------------

    def _chosen(self, name: str, family: Family, packets: Packets) -> Sequence[tuple[Packets, Address]]:
        space = self.space
        found: list[tuple[Packets, Address]] = []
        if not name:  # REDIRECT of what the host itself sends
            return [(packets, address("127.0.0.1" if family is Family.V4 else "::1"))]
        for _, hop in self._hops.get(name, []) if self._hops else []:
            if hop is not None:
                towards = self.routing.address_of(name, family, hop)
                return [(packets, towards)] if towards else []
        link = self.facts.link(name)
        rest = packets
        for item in link.of(family) if link and self._hops.get(name) else ():
            near = rest & space.network(Field.DESTINATION6, item.network)
            if near.satisfiable():
                found.append((near, item.address))
                rest &= ~near
        usual = self.routing.address_of(name, family, None)
        if usual and rest.satisfiable():
            found.append((rest, usual))
        return found

    def _typed(self, asked: Field, types: Numbers) -> Packets | None:
        side = Field.SOURCE6 if asked is Field.SOURCE_TYPE else Field.DESTINATION6
        return self.routing.typed(side, types)

    def _link_types(self, types: Numbers) -> frozenset[str] | None:
        numbers = {}
        for link in self.facts.links:
            number = 772 if link.name == "lo" or "LOOPBACK" in link.flags else _LINK_TYPES.get(link.kind)
            if number is None:
                return None
            numbers[link.name] = number
        return frozenset(
            name
            for name, number in numbers.items()
            if any(first <= number <= last for first, last in types.ranges)
        )

    def _way_back(self, test: ReversePath, packets: Packets) -> tuple[Packets, Packets]:
        space = self.space
        must = can = space.none
        for family in Family:
            part = packets & space.family(family)
            if not part.satisfiable():
                continue
            for led in self.routing.lookup(part, family, back=True, marked=test.marked):
                if led.way.type != "unicast":
                    continue
                by = space.all if test.loose else space.interfaces(Field.IIF, (led.way.device,))
                must, can = must | led.must & by, can | led.can & by
        return (~can, ~must) if test.negated else (must, can)

    # ---- blockers -----------------------------------------------------------------------------------

    def _block(
        self,
        code: str,
        text: str,
        here: Here,
        can: Packets,
        interface: str,
        hook: str = "",
        must: Packets | None = None,
    ) -> Here:
        """Stop what is in `can`, surely what is in `must`; what goes on is as if it were not stopped."""
        answer = Answer(can if must is None else must, can)
        seen = here.passing(answer)
        if not seen:
            return here
        self._stopped |= self._first(seen.may)
        self._add(code, text, seen, interface, hook)
        return Here(here.may & ~answer.must, here.fixed, here.surely)

    def _add(
        self,
        code: str,
        text: str,
        here: Here,
        interface: str,
        hook: str,
        place: Place | None = None,
        doubts: tuple[str, ...] = (),
    ) -> None:
        # What stops packets as things are counts as they are; else as it would be.
        now = here.may.satisfiable()
        certain = here.surely.satisfiable() and not (here.may & ~here.surely).satisfiable()
        self.blockers.append(
            Blocker(code, self.facts.host, interface, hook, text, certain, now, place, doubts, here.fixed)
        )

    def _first(self, packets: Packets) -> Packets:
        """The packets as they came."""
        space = self.space
        if self.remembers and self.flows is None:
            asked = packets & space.tracked
            packets = (packets & ~asked) | space.as_first(asked)
        return space.without(packets, *_OF_THE_WAY)

    def _sure(self, packets: Packets) -> Answer:
        return Answer(packets, packets)


# What a flow's packets differ in, beside what connection tracking tells them apart by.
_OF_THE_PACKET_AND_PLACE = (
    Field.IIF,
    Field.OIF,
    Field.TCP_FLAGS,
    Field.ICMP_TYPE,
    Field.ICMP_CODE,
    Field.FRAGMENT,
    Field.MORE_FRAGMENTS,
    Field.MARK,
    Field.DSCP,
    Field.ECN,
    Field.TTL,
    Field.LENGTH,
    Field.PACKET_TYPE,
    Field.CT_STATE,
    Field.CT_DIRECTION,
)
_OF_THE_PACKET = (
    *_OF_THE_PACKET_AND_PLACE,
    Field.CT_STATUS,
    Field.CT_MARK,
    Field.CT_SOURCE6,
    Field.CT_DESTINATION6,
    Field.CT_SOURCE_PORT,
    Field.CT_DESTINATION_PORT,
)

# What changes on the way, beside what is translated.
_OF_THE_WAY = (
    *(Field.IIF, Field.OIF, Field.MARK, Field.TTL, Field.PACKET_TYPE, Field.CT_MARK),
    *(Field.CT_STATE, Field.CT_DIRECTION, Field.CT_STATUS, Field.CT_SOURCE6, Field.CT_DESTINATION6),
    *(Field.CT_SOURCE_PORT, Field.CT_DESTINATION_PORT),
)

_LINK_TYPES = {
    "": 1,
    "veth": 1,
    "bridge": 1,
    "vlan": 1,
    "bond": 1,
    "vrf": 1,
    "dummy": 1,
    "macvlan": 1,
    "tun": 65534,
}


def _asks_for_the_first(tables: Iterable[Table]) -> bool:
    """Whether a rule translates, or asks what a flow's first packet was."""
    for table in tables:
        for chain in table.chains.values():
            if chain.hook is not None and chain.hook.type == "nat" and chain.count:
                return True
            for rule in chain.rules:
                for statement in rule.statements:
                    tests = statement.tests if isinstance(statement, AnyOf) else (statement,)
                    for test in tests:
                        if isinstance(test, Test) and any(
                            each.value.startswith("ct-") for each in test.fields
                        ):
                            return True
    return False
