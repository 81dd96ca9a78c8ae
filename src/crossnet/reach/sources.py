"""Which of its addresses a host gives to what it sends, and to what it masquerades.

IPv4: inet_select_addr() of net/ipv4/devinet.c; IPv6: ipv6_dev_get_saddr() of net/ipv6/addrconf.c, which is RFC 6724.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network

from crossnet.facts import Facts
from crossnet.facts.links import LinkAddress
from crossnet.netfilter.foreign import Field
from crossnet.reach.packets import Packets, Space
from crossnet.reach.routing import Way
from crossnet.values import Address, Family, Network, contains, family_of, network

# RFC 6724, 2.1, and ip6addrlabel.c: what a host has where nobody changed it (ip-addrlabel(8)).
_LABELS: tuple[tuple[Network, int], ...] = (
    (network("::1/128"), 0),
    (network("::ffff:0:0/96"), 4),
    (network("::/96"), 3),
    (network("2001::/32"), 6),
    (network("2001:10::/28"), 7),
    (network("3ffe::/16"), 12),
    (network("2002::/16"), 2),
    (network("fec0::/10"), 11),
    (network("fc00::/7"), 5),
    (network("::/0"), 1),
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The source that these packets are given; not `certain` where they perhaps are given another one."""

    packets: Packets
    address: Address | None
    certain: bool = True


@dataclass(frozen=True, slots=True)
class _Candidate:
    item: LinkAddress
    here: bool  # of the interface by which the packets leave

    @property
    def address(self) -> Address:
        return self.item.address

    @property
    def label(self) -> int:
        return next(label for net, label in _LABELS if contains(net, self.address))


class Sources:
    """The addresses of one host, as one question asks for them."""

    def __init__(self, facts: Facts, space: Space) -> None:
        self.facts, self.space = facts, space

    def of_a_program(self, way: Way, family: Family, packets: Packets) -> list[Chosen]:
        """What a program's packets are given that way that asked for no source."""
        if way.route is not None and way.route.source is not None:
            return [Chosen(packets, way.route.source)]
        if family is Family.V6:
            return list(self._by_rules(way.device, packets))
        # Where there is no router the route's own answer counts, and that does not look at the destination
        # (fib_info_update_nhc_saddr).
        return [Chosen(packets, self._selected(way.device, way.hop.via if way.hop else None))]

    def masquerading(
        self, device: str, family: Family, hop: Address | None, packets: Packets
    ) -> list[Chosen]:
        """What packets are given that leave by an interface, to a router or to their destination itself."""
        if family is Family.V6:
            return list(self._by_rules(device, packets))
        if hop is not None:
            return [Chosen(packets, self._selected(device, hop))]
        found, space = [], self.space
        for item in self._usable(device):
            near = packets & space.network(Field.DESTINATION6, item.network)
            if near.satisfiable():
                found.append(Chosen(near, item.address))
                packets &= ~near
        if packets.satisfiable():
            found.append(Chosen(packets, self._selected(device, None)))
        return found

    def first_of(self, device: str, family: Family) -> Address | None:
        """The address of an interface that what comes by it is redirected to (nf_nat_redirect.c)."""
        if family is Family.V4:
            return self._selected(device, None)
        link = self.facts.link(device)
        return next((item.address for item in (link.of(family) if link else ())), None)

    def _usable(self, device: str) -> list[LinkAddress]:
        link = self.facts.link(device)
        return [item for item in (link.of(Family.V4) if link else ()) if not item.secondary]

    def _selected(self, device: str, near: Address | None) -> Address | None:
        """The address in whose network a router is, else the interface's first, else that of any other."""
        own = self._usable(device) or [item for link in self.facts.links for item in self._usable(link.name)]
        closest = (item for item in own if near is not None and contains(item.network, near))
        found = next(closest, own[0] if own else None)
        return found.address if found else None

    # ---- IPv6 ---------------------------------------------------------------------------------------

    def _by_rules(self, device: str, packets: Packets) -> Iterator[Chosen]:
        candidates = [
            _Candidate(item, link.name == device) for link in self.facts.links for item in link.of(Family.V6)
        ]
        lasting = [each for each in candidates if each.item.stable]
        at_hand = [each for each in lasting if each.here]
        # Temporary ones come before or behind the others as use_tempaddr says, deprecated ones behind, tentative ones
        # not at all: of which kind these are is not told. Those of other interfaces come behind in any case.
        passing = [each for each in candidates if not each.item.stable and (each.here or not at_hand)]
        for candidate in passing:
            yield Chosen(packets, candidate.address, certain=False)
        # One of another interface comes first only for packets to itself.
        lasting = [
            each
            for each in lasting
            if each.here or not at_hand or (packets & self._to(each.address)).satisfiable()
        ]
        for number, candidate in enumerate(lasting):
            part = packets
            for place, other in enumerate(lasting):
                if place < number:
                    part &= self._prefers(candidate, other)
                elif place > number:
                    part &= ~self._prefers(other, candidate)
            if part.satisfiable():
                yield Chosen(part, candidate.address, not passing)
        if not candidates:
            yield Chosen(packets, self._narrow(device))

    def _narrow(self, device: str) -> Address | None:
        link = self.facts.link(device)
        own: Sequence[LinkAddress] = link.narrow if link else ()
        return next((item.address for item in own if family_of(item.address) is Family.V6), None)

    def _prefers(self, one: _Candidate, other: _Candidate) -> Packets:
        """The packets for which one address is better than another by the rules of RFC 6724, 5."""
        space = self.space
        found, undecided = space.none, space.all
        for better, worse in (
            (self._to(one.address), self._to(other.address)),  # rule 1
            (self._here(one), self._here(other)),  # rule 5
            (self._labelled(one.label), self._labelled(other.label)),  # rule 6
            (self._closer(one.item, other.item), self._closer(other.item, one.item)),  # rule 8
        ):
            found |= undecided & better & ~worse
            undecided &= ~(better ^ worse)
        return found

    def _to(self, address: Address) -> Packets:
        return self.space.address(Field.DESTINATION6, address)

    def _here(self, candidate: _Candidate) -> Packets:
        return self.space.all if candidate.here else self.space.none

    def _labelled(self, label: int) -> Packets:
        """The packets to an address of that label: the longest network that holds it says it."""
        found, rest = self.space.none, self.space.all
        for net, number in sorted(_LABELS, key=lambda item: -item[0].prefixlen):
            part = rest & self.space.network(Field.DESTINATION6, net)
            rest &= ~part
            found |= part if number == label else self.space.none
        return found

    def _closer(self, one: LinkAddress, other: LinkAddress) -> Packets:
        """The packets whose destination has more leading bits of one address than of the other.

        Of each address the bits of its own network count (ipv6_get_saddr_eval, IPV6_SADDR_RULE_PREFIX).
        """
        width = one.address.max_prefixlen
        common = width - (int(one.address) ^ int(other.address)).bit_length()
        length = min(common, other.prefix) + 1
        if length > one.prefix:
            return self.space.none
        shift = width - length
        near = IPv6Network((int(one.address) >> shift << shift, length))
        return self.space.network(Field.DESTINATION6, near)
