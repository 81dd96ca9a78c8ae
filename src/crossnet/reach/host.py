"""One host: what becomes of packets that come to it or that it sends, hook by hook, as its kernel does it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from crossnet.facts import Facts
from crossnet.facts.links import Link
from crossnet.facts.sysctls import interface_setting
from crossnet.netfilter.foreign import Field, Numbers
from crossnet.reach.blockers import Blocker
from crossnet.reach.frames import Frames
from crossnet.reach.here import Answer, Here
from crossnet.reach.hooks import Hooks
from crossnet.reach.local import local_of
from crossnet.reach.packets import INVALID, TCP, UDP, Packets, Space, address_field
from crossnet.reach.routing import Led, Routing, Way
from crossnet.reach.rules import IP, Decision
from crossnet.reach.sources import Sources
from crossnet.reach.tracking import DNAT, OF_PIECES, SNAT
from crossnet.values import Address, Family, network

_CONNTRACK = -200
_NO_SOURCE = {
    Family.V4: tuple(map(network, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32"))),
    Family.V6: tuple(map(network, ("::/128", "::1/128", "ff00::/8"))),
}
_NO_DESTINATION = {
    Family.V4: tuple(map(network, ("0.0.0.0/8", "127.0.0.0/8"))),
    Family.V6: tuple(map(network, ("::/128", "::1/128"))),
}
_LEAST_MTU6 = 1280  # IPV6_MIN_MTU: below, the kernel takes IPv6 away from the interface
_LOOPBACK = network("127.0.0.0/8")
_LINK_LOCAL6 = network("fe80::/10")


# Interfaces with addresses of Ethernet that reach their other end without them.
_WITHOUT_NEIGHBOURS = frozenset(("dummy", "ipvlan", "ipvtap", "vrf"))


def _asks_for_neighbours(link: Link) -> bool:
    return link.hardware_type == "ether" and link.kind not in _WITHOUT_NEIGHBOURS


@dataclass(frozen=True, slots=True)
class Leaving:
    """Packets that leave by an interface, to a router or, without one, to their destination itself."""

    interface: str
    next_hop: Address | None
    here: Here


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of packets at one host; `stopped` and `passed` are those that perhaps are, as things are.

    A packet in only one of them surely is. Both speak of packets as they came; `flows` is what connection tracking
    knows of them afterwards, `doubts` the words of what rules and routes leave open, `ways` all that lookups led to.
    """

    leaving: tuple[Leaving, ...]
    delivered: Here
    blockers: tuple[Blocker, ...]
    decisions: tuple[Decision, ...]
    stopped: Packets
    passed: Packets
    flows: Packets
    doubts: tuple[str, ...] = ()
    ways: tuple[Way, ...] = ()


class HostWalk:
    """One host, walked by packets of one direction of one question.

    `space` is turned for answers, and `flows` then what the host remembers of the requests. `expected` is the
    interface by which a crossing leaves this host: where there is no route, the walk goes on there.
    """

    def __init__(
        self,
        facts: Facts,
        space: Space,
        *,
        flows: Packets | None = None,
        expected: str = "",
        dont_fragment: bool = False,
    ) -> None:
        self.facts, self.space, self.expected, self.dont_fragment = facts, space, expected, dont_fragment
        space.know_interfaces(link.name for link in facts.links)
        space.know_interfaces(("lo",))
        self.routing = Routing(facts, space)
        self.sources = Sources(facts, space)
        local = local_of(facts, space, self.routing, self.sources)
        self.hooks = Hooks(facts, space, local, flows)
        self.frames = Frames(facts, space, self.hooks)
        self.walk, self.tracking, self.blockers = self.hooks.walk, self.hooks.tracking, self.hooks.blockers
        self.none = self.walk.none
        self._block, self._perhaps = self.blockers.block, self.blockers.perhaps
        self._shape: Packets | None = None  # of the pieces that leave again
        self._came = space.none  # the packets before anything was done with them
        self._doubts: dict[str, None] = {}
        self._ways: dict[Way, None] = {}
        self.looked_up: list[Packets] = []  # what came to each lookup, with the marks that it had then

    # ---- directions ---------------------------------------------------------------------------------

    def received(self, here: Here, ingress: str) -> Outcome:
        """What becomes of packets that come by an interface; a port of a bridge or bond takes them up to it."""
        here = self._arrived(here, ingress)
        link = self.facts.link(ingress)
        master = self.facts.link(link.master) if link is not None and link.master else None
        by = ""
        if master is not None and master.kind != "vrf":
            ingress, by = master.name, ingress
        pieces = here.fixed & self.tracking.pieces
        here = self._with_ipv6(self.frames.up(here, ingress, by), ingress, "route")
        if self.tracking.in_pieces and all(
            ingress in self.facts.bridges_filtered(family) and family in self.tracking.families
            for family in Family
            if (pieces & self.space.family(family)).satisfiable()
        ):
            # What a bridge has put together, IP does not know to have been in pieces.
            self._shape = None
        vrf = self.routing.domain(ingress)
        if vrf and vrf != ingress:
            # From here on it came by the VRF, and meets the hook again as such (vrf_ip_rcv).
            here = here.through(lambda packets: self.space.with_interface(packets, Field.IIF, vrf))
            here, ingress = self.hooks.chains("prerouting", here, vrf), vrf
        delivered, routed = self._routed_in(here, ingress)
        return self._ended(routed, self._input(delivered, ingress))

    def bridged(self, here: Here, port: str) -> Outcome:
        """What becomes of frames for others that come by a port of a bridge."""
        here = self._arrived(here, port)
        link = self.facts.link(port)
        parts = self.frames.past(here, port, link.master) if link is not None else []
        return self._passed(
            [Leaving(name, None, self._shaped(part, name)) for name, part in parts], self.none
        )

    def sent(self, here: Here) -> Outcome:
        """What becomes of packets that the host sends; a source of 0 is chosen by the host."""
        space = self.space
        here = self._arrived(here, "")
        local, routed = self.none, self.none
        for family in Family:
            part = here.passing(Answer.sure(space.family(family)))
            if part:
                more_local, more = self._routed_out(part, family)
                local, routed = local.joined(more_local), routed.joined(more)
        routed = self.hooks.ip("output", routed.joined(local), "")
        routed = self._again(routed)
        by_lo = Answer.sure(space.interfaces(Field.OIF, ("lo",)))
        local, routed = routed.passing(by_lo), routed.failing(by_lo)
        return self._ended(routed, local)

    def _arrived(self, here: Here, ingress: str) -> Here:
        space = self.space

        def new(packets: Packets) -> Packets:
            packets = space.with_interface(packets, Field.IIF, ingress)
            for field in (Field.OIF, Field.PHYS_IN, Field.PHYS_OUT):
                packets = space.with_interface(packets, field, "")
            packets = space.with_next_hop(packets, None)
            # No wire carries a mark.
            packets = space.with_value(packets, Field.MARK, 0) if ingress else packets
            packets = space.without(packets, Field.CT_STATE, Field.CT_DIRECTION, Field.CT_STATUS)
            packets = space.without(packets, Field.CT_MARK)
            packets = space.with_value(space.unremembered(packets), Field.CT_ZONE, 0)
            return packets & space.value(Field.CT_STATE, INVALID)

        here = here.through(new)
        self._came |= here.fixed
        if (here.fixed & self.tracking.pieces).satisfiable():
            self.tracking.in_pieces, self._shape = True, space.only(here.fixed, *OF_PIECES)
        return self._standing(here, ingress)

    def _standing(self, here: Here, name: str) -> Here:
        link = self.facts.link(name)
        if link is None or link.up or name == "lo":
            return here
        return self._block("link-down", f"{name} is down", here, self.space.all, name)

    def _with_ipv6(self, here: Here, name: str, hook: str) -> Here:
        """What an interface takes and sends: none of IPv6 where that is off (ip6_rcv_core, ip6_output)."""
        link = self.facts.link(name)
        if link is None or name == "lo":
            return here
        off = self.routing.setting(Family.V6, name, "disable_ipv6") not in ("", "0")
        if not off and link.mtu >= _LEAST_MTU6:
            return here
        setting = f"{interface_setting(Family.V6, name, 'disable_ipv6')} = 1"
        words = setting if off else f"the MTU of {name} is {link.mtu}, and IPv6 needs {_LEAST_MTU6}"
        return self._block("link-down", words, here, self.space.ipv6, name, hook)

    def _shaped(self, here: Here, device: str) -> Here:
        """What came as fragments leaves as such, also what was put together on the way (ip_fragment)."""
        shape, space = self._shape, self.space
        if shape is not None:
            return here.through(lambda packets: space.without(packets, *OF_PIECES) & shape)
        link = self.facts.link(device)
        if not self.tracking.in_pieces or link is None:
            return here
        fits = space.among((Field.LENGTH,), Numbers(((0, min(link.mtu, 65535)),)))
        return here.through(lambda packets: packets & fits)

    def _ended(self, routed: Here, delivered: Here) -> Outcome:
        space = self.space
        routed = self.hooks.ip("postrouting", routed, "")
        leaving: list[Leaving] = []
        for number in space.values_of(routed.fixed, Field.OIF):
            name = space.interface(number)
            out = routed.passing(Answer.sure(space.interfaces(Field.OIF, (name,))))
            out = self._with_ipv6(self._standing(out, name), name, "postrouting")
            out = self._translated_out(out, name)
            out = self._shaped(self.frames.down(out, name), name)
            for hop, towards in space.by_next_hop(out.fixed):
                part = out.passing(Answer.sure(towards))
                leaving.append(Leaving(name, hop, part if hop else self._answered(part, name)))
        return self._passed(leaving, delivered)

    def _answered(self, here: Here, device: str) -> Here:
        """Destinations on the segment itself that did not answer when they were last asked."""
        for known in self.facts.neighbours:
            if known.device == device and known.state == "FAILED":
                to = Answer.sure(self.space.address(Field.DESTINATION6, known.address))
                words = f"{known.address} did not answer on {device} when it was last asked"
                part = self._perhaps("destination-absent", words, here.passing(to), device, "")
                here = here.failing(to).joined(part)
        return here

    def _passed(self, leaving: list[Leaving], delivered: Here) -> Outcome:
        space = self.space
        passed = delivered.may | space.any_of(each.here.may for each in leaving)
        everything = delivered.fixed | space.any_of(each.here.fixed for each in leaving)
        passed = self.tracking.first(passed) | self.blockers.doubtful
        if self.walk.chose:
            self.blockers.doubt(passed)
        return Outcome(
            tuple(leaving),
            delivered,
            tuple(self.blockers.found),
            tuple(self.walk.decisions),
            self.blockers.stopped,
            passed,
            everything,
            tuple(dict.fromkeys((*self.walk.doubts, *self._doubts))),
            tuple(self._ways),
        )

    # ---- routes -------------------------------------------------------------------------------------

    def _routed_in(self, here: Here, ingress: str) -> tuple[Here, Here]:
        """What is for the host itself, and what leaves it behind the forward hook."""
        space = self.space
        local = routed = self.none
        for family in Family:
            part = here.passing(Answer.sure(space.family(family)))
            if not part:
                continue
            part = self._without_martians(part, family, ingress)
            for led, seen in self._led(part, family, ingress):
                more_local, more = self._one_way_in(led, seen, family, ingress)
                local, routed = local.joined(more_local), routed.joined(more)
        return local, self.hooks.ip("forward", routed, ingress)

    def _one_way_in(self, led: Led, seen: Here, family: Family, ingress: str) -> tuple[Here, Here]:
        way, space = led.way, self.space
        kind = way.type
        if kind in ("broadcast", "multicast", "anycast") and not (kind == "anycast" and family is Family.V6):
            self._block("destination-is-broadcast", str(way), seen, space.all, ingress, "route")
            return self.none, self.none
        if kind in ("local", "anycast"):
            return self._right_source(seen, family, ingress, ""), self.none
        seen = self._forwarded(seen, family, ingress)
        seen = self._for_others(seen, ingress, "forward", space.all)
        device = way.device
        if way.untold:
            self._lost(led, seen, ingress, "route")
            return self.none, self.none
        if way.refusal:
            seen = self._block(way.refusal, str(way), seen, space.all, ingress, "route", doubts=led.doubts)
            device = self.expected
            if not device:
                return self.none, self.none
        else:
            seen = self._right_source(seen, family, ingress, device)
        seen = self._secured(seen, "fwd", ingress)
        seen = self._lived(seen, ingress)
        seen = self._fitting(seen, led, family, device)
        seen = self._secured(seen, "out", device)
        return self.none, self._out(seen, device, way.hop.via if way.hop else None)

    def _lost(self, led: Led, seen: Here, interface: str, hook: str) -> None:
        words = (led.way.untold, *led.doubts)
        self.blockers.lose("route-not-told", str(led.way), seen, interface, hook, words)

    def _led(self, here: Here, family: Family, iif: str) -> list[tuple[Led, Here]]:
        self.looked_up.append(here.fixed)
        found = self.routing.lookup(here.fixed, family, iif=iif, together=True)
        self._doubts |= dict.fromkeys(words for led in found for words in led.doubts)
        self._ways |= dict.fromkeys(way for led in found for way in (led.way, *led.others))
        return [(led, here.passing(Answer(led.must, led.can))) for led in self._together(found)]

    def _together(self, found: Iterable[Led]) -> Iterator[Led]:
        """What goes the same way as one, whichever of many routes says so."""
        ways: dict[object, list[Led]] = {}
        for number, led in enumerate(found):
            route = led.way.route
            is_plain = route is not None and route.type == "unicast" and not (route.mtu or led.way.untold)
            same = (
                (led.way.hop, route.source, led.must == led.can, led.doubts) if route and is_plain else number
            )
            ways.setdefault(same, []).append(led)
        for first, *others in ways.values():
            if not others:
                yield first
                continue
            can = self.space.any_of(each.can for each in (first, *others))
            exact = first.must == first.can
            must = can if exact else self.space.any_of(each.must for each in (first, *others))
            yield replace(first, must=must, can=can)

    def _out(self, here: Here, device: str, hop: Address | None) -> Here:
        if hop is not None and any(
            known.address == hop and known.device == device and known.state == "FAILED"
            for known in self.facts.neighbours
        ):
            words = f"{hop} did not answer on {device} when it was last asked"
            here = self._block(
                "next-hop-unresolved", words, here, self.space.all, device, "", self.space.none
            )
        link = self.facts.link(device)
        if link is not None and "NOARP" in link.flags and _asks_for_neighbours(link):
            words = f"{device} asks for no addresses of neighbours (NOARP) and sends frames to its own"
            here = self._perhaps("next-hop-unresolved", words, here, device, "")
        space = self.space
        return here.through(
            lambda packets: space.with_next_hop(space.with_interface(packets, Field.OIF, device), hop)
        )

    def _without_martians(self, here: Here, family: Family, ingress: str) -> Here:
        space = self.space
        if ingress == "lo":
            return here
        own = _LOOPBACK if self.routing.either(ingress, "route_localnet") else None
        no_source = (each for each in _NO_SOURCE[family] if each != own)
        no_destination = (each for each in _NO_DESTINATION[family] if each != own)
        bad = space.any_of(space.network(Field.SOURCE6, each) for each in no_source)
        here = self._block("martian-source", "no host has such a source", here, bad, ingress, "route")
        nowhere = space.any_of(space.network(Field.DESTINATION6, each) for each in no_destination)
        return self._block("no-route", "no host has such a destination", here, nowhere, ingress, "route")

    def _forwarded(self, here: Here, family: Family, ingress: str) -> Here:
        settings = self.facts.sysctls
        if family is Family.V6:
            name = "net.ipv6.conf.all.forwarding"
            if name not in settings:
                here = self._perhaps("ip-forward-disabled", f"{name} is not known", here, ingress, "forward")
            elif settings[name] == "0" and self.routing.setting(family, ingress, "force_forwarding") == "0":
                return self._block(
                    "ip-forward-disabled", f"{name} = 0", here, self.space.all, ingress, "forward"
                )
            near = self.space.network(Field.SOURCE6, _LINK_LOCAL6)
            return self._block(
                "martian-source", "link-local, which is not forwarded", here, near, ingress, "forward"
            )
        whole = "net.ipv4.ip_forward"
        own = f"net.ipv4.conf.{ingress.replace('.', '/')}.forwarding"
        if own not in settings and whole not in settings:
            return self._perhaps("ip-forward-disabled", f"{whole} is not known", here, ingress, "forward")
        if settings.get(own, settings.get(whole)) != "0":
            return here
        off = settings.get(whole, "0") == "0"
        code = "ip-forward-disabled" if off else "interface-forwarding-disabled"
        return self._block(code, f"{whole if off else own} = 0", here, self.space.all, ingress, "forward")

    def _for_others(self, here: Here, ingress: str, hook: str, must: Packets) -> Here:
        """What a rule made a packet of another host or of many: IP forwards none, and TCP takes none."""
        others = ~self.space.value(Field.PACKET_TYPE, 0)
        words = "a rule made its packet type one of others (meta pkttype)"
        return self._block("filter-rule-drop", words, here, others, ingress, hook, must & others)

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
        here = self._block("ttl-expired", "the time to live has run out", here, old, ingress, "forward")
        return here.through(space.aged)

    def _fitting(self, here: Here, led: Led, family: Family, device: str) -> Here:
        if self.tracking.in_pieces:
            return here
        link = self.facts.link(device)
        route = led.way.route
        most = (route.mtu if route else None) or (link.mtu if link else 65535)
        large = (
            self.space.among((Field.LENGTH,), Numbers(((most + 1, 65535),)))
            if most < 65535
            else self.space.none
        )
        # Without DF an IPv4 packet is cut.
        must = large if family is Family.V6 or self.dont_fragment else self.space.none
        return self._block(
            "mtu-exceeded", f"the MTU of {device} is {most}", here, large, device, "forward", must
        )

    def _input(self, here: Here, ingress: str) -> Here:
        if not here:
            return here
        # IPv4 puts fragments together before its rules see them (ip_local_deliver), IPv6 behind.
        here = self.tracking.reassembled(here, (Family.V4,)) if self.tracking.in_pieces else here
        here = self._secured(self.hooks.ip("input", here, ingress), "in", ingress)
        # Of others than TCP it depends on what takes them.
        return self._for_others(here, ingress, "input", self.space.value(Field.PROTOCOL, TCP))

    def _secured(self, here: Here, direction: str, interface: str) -> Here:
        """IPsec policies: whether there is a state for them, and what becomes of it, facts do not tell.

        What comes in is judged by the destination that it came with (nf_nat_decode_session), here of answers only.
        """
        space = self.space
        for policy in self.facts.ipsec:
            if policy.direction != direction:
                continue
            source, destination = (
                space.network(side, net)
                for side, net in ((Field.SOURCE6, policy.source), (Field.DESTINATION6, policy.destination))
            )
            if direction != "out" and self.tracking.flows is not None:
                destination = space.all if (self._came & destination).satisfiable() else space.none
            of = Answer.sure(source & destination)
            part = self._perhaps("ipsec-policy-drop", policy.text, here.passing(of), interface, "route")
            here = here.failing(of).joined(part)
        return here

    def _translated_out(self, here: Here, device: str) -> Here:
        """What has been given another source is held against the policies once more (nf_xfrm_me_harder)."""
        if not self.facts.ipsec:
            return here
        space = self.space
        requests = space.value(Field.CT_DIRECTION, 0) & space.tracked
        given = Answer.sure(space.one_bit_of(Field.CT_STATUS, SNAT) & requests)
        return here.failing(given).joined(self._secured(here.passing(given), "out", device))

    # ---- what the host sends ------------------------------------------------------------------------

    def _routed_out(self, here: Here, family: Family) -> tuple[Here, Here]:
        space = self.space
        source = address_field(Field.SOURCE6, family)
        open_source = space.value(source, 0)
        chosen = local = routed = self.none
        without = here.passing(Answer.sure(open_source))
        # A socket of IPv4 that is connected is looked up again with its source (ip_route_connect); others are not.
        connected = space.any_of(space.value(Field.PROTOCOL, each) for each in (TCP, UDP)) & ~open_source
        again = Answer.sure(connected if family is Family.V4 else space.none)
        if without:
            for led, seen in self._led(without, family, "lo"):
                if led.way.refusal:
                    # IPv4 refuses it once more below, IPv6 looks again with a source (ip6_dst_lookup_tail).
                    chosen = chosen.joined(self._given(Way(), family, seen) if family is Family.V6 else seen)
                    continue
                given = self._given(led.way, family, seen)
                chosen = chosen.joined(given.passing(again))
                more_local, more = self._one_way_out(led, given.failing(again))
                local, routed = local.joined(more_local), routed.joined(more)
        for led, seen in self._led(chosen.joined(here.failing(Answer.sure(open_source))), family, "lo"):
            more_local, more = self._one_way_out(led, seen)
            local, routed = local.joined(more_local), routed.joined(more)
        return local, routed

    def _given(self, way: Way, family: Family, here: Here) -> Here:
        """The packets with the source that the host chooses for them."""
        space, side, given = self.space, address_field(Field.SOURCE6, family), self.none
        for chosen in self.sources.of_a_program(way, family, here.fixed):
            part = here.passing(Answer(chosen.packets if chosen.certain else space.none, chosen.packets))
            number = int(chosen.address) if chosen.address else 0
            given = given.joined(part.through(lambda packets, n=number: space.with_value(packets, side, n)))  # type: ignore[misc]
        return given

    def _one_way_out(self, led: Led, seen: Here) -> tuple[Here, Here]:
        way, space = led.way, self.space
        device = way.device
        if not seen:
            return self.none, self.none
        if way.untold and way.type not in ("local", "anycast"):
            self._lost(led, seen, "", "output")
            return self.none, self.none
        if way.refusal:
            code = "src-no-route" if way.refusal == "no-route" else way.refusal
            seen = self._block(code, str(way), seen, space.all, "", "output", doubts=led.doubts)
            device = self.expected
            if not device:
                return self.none, self.none
        if way.type in ("local", "anycast"):
            return self._out(seen, "lo", None), self.none
        if way.type == "broadcast":
            # A socket needs SO_BROADCAST; an answer of TCP is sent there without (measured).
            must = space.all if self.tracking.flows is None else space.none
            seen = self._block("destination-is-broadcast", str(way), seen, space.all, device, "output", must)
        seen = self._secured(seen, "out", device)
        return self.none, self._out(seen, device, way.hop.via if way.hop else None)

    def _again(self, here: Here) -> Here:
        """The second look at the routes for what a rule at the output hook changed (ip_route_me_harder)."""
        space = self.space
        rerouting = any(
            chain.hook is not None and chain.hook.type == "route"
            for _, _, chain in self.walk.base_chains("output", IP)
        )
        changed = space.one_bit_of(Field.CT_STATUS, DNAT) & space.value(Field.CT_DIRECTION, 0) & space.tracked
        if rerouting:
            changed |= ~space.value(Field.MARK, 0)
        moved, same = here.passing(Answer.sure(changed)), here.failing(Answer.sure(changed))
        if not moved:
            return here
        for family in Family:
            part = moved.passing(Answer.sure(space.family(family)))
            for led, seen in self._led(part, family, "lo") if part else []:
                local, out = self._one_way_out(led, seen)
                same = same.joined(local).joined(out)
        return same
