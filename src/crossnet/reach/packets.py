"""Sets of packets: one packet and all packets are the same value, a binary decision diagram over the fields.

A set is a function of the bits of a packet and of its flow. Addresses of both families share their bits (an IPv4
address has the first 32), interfaces are numbered, and what a flow's first packet said (`CT_SOURCE4` and the like)
stands beside what the packet says now, so that a translation is a relation between the two. Sets are equal exactly
when they are the same node: comparing costs nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, TypeAlias

from crossnet.netfilter.foreign import Field, Names, Numbers, Rows, Values
from crossnet.values import Address, Family, Network

if TYPE_CHECKING:
    from oxidd.bcdd import BCDDFunction

Packets: TypeAlias = "BCDDFunction"

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
WITH_PORTS = (6, 17, 33, 132, 136)  # tcp, udp, dccp, sctp, udplite

INVALID, ESTABLISHED, RELATED, NEW, UNTRACKED = 1, 2, 4, 8, 64

# Fields that share the variables of another one, because one packet has only one of them.
_SAME = {
    Field.SOURCE4: Field.SOURCE6,
    Field.DESTINATION4: Field.DESTINATION6,
    Field.CT_SOURCE4: Field.CT_SOURCE6,
    Field.CT_DESTINATION4: Field.CT_DESTINATION6,
    Field.CT_PROTOCOL: Field.PROTOCOL,
    Field.ETHER_TYPE: Field.FAMILY,
}
_NARROW = frozenset({Field.SOURCE4, Field.DESTINATION4, Field.CT_SOURCE4, Field.CT_DESTINATION4})

# The order of the variables: what decides first stands first, and what is compared stands together, bit by bit.
_ORDER: tuple[tuple[tuple[Field, ...], int], ...] = (
    ((Field.FAMILY,), 1),
    ((Field.CT_STATE,), 7),
    ((Field.CT_DIRECTION,), 1),
    ((Field.IIF,), 16),
    ((Field.OIF,), 16),
    ((Field.NEXT_HOP,), 16),
    ((Field.PHYS_IN,), 16),
    ((Field.PHYS_OUT,), 16),
    ((Field.PROTOCOL,), 8),
    ((Field.FRAGMENT,), 13),
    ((Field.MORE_FRAGMENTS,), 1),
    ((Field.TCP_FLAGS,), 8),
    ((Field.ICMP_TYPE,), 8),
    ((Field.ICMP_CODE,), 8),
    ((Field.DESTINATION_PORT, Field.CT_DESTINATION_PORT), 16),
    ((Field.DESTINATION6, Field.CT_DESTINATION6), 128),
    ((Field.SOURCE_PORT, Field.CT_SOURCE_PORT), 16),
    ((Field.SOURCE6, Field.CT_SOURCE6), 128),
    ((Field.MARK, Field.CT_MARK), 32),
    ((Field.CT_ZONE,), 16),
    ((Field.CT_STATUS,), 16),
    ((Field.DSCP,), 6),
    ((Field.ECN,), 2),
    ((Field.TTL,), 8),
    ((Field.LENGTH,), 16),
    ((Field.PACKET_TYPE,), 3),
)
_WIDTH = {field: width for fields, width in _ORDER for field in fields}

_PLACE = {field: place for place, field in enumerate(_WIDTH)}

_NOW = (Field.SOURCE6, Field.DESTINATION6, Field.SOURCE_PORT, Field.DESTINATION_PORT)
_FIRST = (Field.CT_SOURCE6, Field.CT_DESTINATION6, Field.CT_SOURCE_PORT, Field.CT_DESTINATION_PORT)

_TURNED = {
    Field.SOURCE4: Field.DESTINATION4,
    Field.DESTINATION4: Field.SOURCE4,
    Field.SOURCE6: Field.DESTINATION6,
    Field.DESTINATION6: Field.SOURCE6,
    Field.SOURCE_PORT: Field.DESTINATION_PORT,
    Field.DESTINATION_PORT: Field.SOURCE_PORT,
}

# The nodes that questions may have: 32 million of them are about a gigabyte, touched only as they are used.
_NODES, _CACHE = 32_000_000, 1 << 18
# What questions before left behind is worth less than its memory when there are more nodes than this: some 10 MB.
_LEFT = 300_000


def address_field(field: Field, family: Family) -> Field:
    """`SOURCE4` or `SOURCE6`, for either of them."""
    return Field(f"{field.value[:-1]}{family.value}")


class _Diagrams:
    """The variables of all fields, and the sets that each question needs: made for the first, found by the next."""

    def __init__(self) -> None:
        from oxidd.bcdd import BCDDManager, BCDDSubstitution  # with its library it takes a while to load

        self.manager = BCDDManager(_NODES, _CACHE, 1)
        self.all: Packets = self.manager.true()
        self.none: Packets = self.manager.false()
        bits: dict[Field, list[Packets]] = {field: [] for field in _WIDTH}
        several = [fields for fields, width in _ORDER for _ in range(width)]
        numbers = iter(self.manager.add_vars(sum(map(len, several))))
        for field in (field for fields in several for field in fields):
            bits[field].append(self.manager.var(next(numbers)))
        shared = {field: bits[other][: 32 if field in _NARROW else None] for field, other in _SAME.items()}
        self.bits = {**bits, **shared}
        pairs = [
            (bit.node_var() or 0, to)
            for first, now in zip(_FIRST, _NOW, strict=True)
            for bit, to in zip(self.bits[first], self.bits[now], strict=True)
        ]
        self.now_for_first = BCDDSubstitution(pairs)
        # A number and one: each of its bits turns where all below it are set.
        more, below = [], self.all
        for bit in reversed(self.bits[Field.TTL]):
            more.append((bit.node_var() or 0, bit ^ below))
            below &= bit
        self.ttl_and_one = BCDDSubstitution(more)
        self.bytes: dict[tuple[Field, int, int], Packets] = {}
        self.cubes: dict[tuple[Field, ...], Packets] = {}
        self.same: dict[tuple[Field, Field], Packets] = {}

    def cube(self, fields: tuple[Field, ...]) -> Packets:
        """All bits of the fields, for `exists`."""
        if fields not in self.cubes:
            bits = {bit.node_level() or 0: bit for field in fields for bit in self.bits[field]}
            found = self.all
            for level in sorted(bits, reverse=True):  # on top of all that is there a bit costs nothing
                found &= bits[level]
            self.cubes[fields] = found
        return self.cubes[fields]

    def byte(self, field: Field, begin: int, end: int, value: int) -> Packets:
        """Those whose bits from `begin` to before `end` are these."""
        key = field, begin * 256 + end, value
        if key not in self.bytes:
            found = self.all
            for index in reversed(range(begin, end)):
                bit = self.bits[field][index]
                found &= bit if value >> (end - 1 - index) & 1 else ~bit
            self.bytes[key] = found
        return self.bytes[key]

    def equal(self, one: Field, other: Field) -> Packets:
        """Those that have the same in both fields."""
        if (one, other) not in self.same:
            found = self.all
            for bit, same in zip(reversed(self.bits[one]), reversed(self.bits[other]), strict=True):
                found &= bit.equiv(same)
            self.same[one, other] = found
        return self.same[one, other]


_diagrams: list[_Diagrams] = []


def _shared_diagrams() -> _Diagrams:
    if not _diagrams or _diagrams[0].manager.approx_num_inner_nodes() > _LEFT:
        _diagrams[:] = [_Diagrams()]  # those of before go with the last space that has them
    return _diagrams[0]


class Space:
    """Everything that one question asks about; sets of different spaces have nothing to do with each other."""

    def __init__(self) -> None:
        self._diagrams = diagrams = _shared_diagrams()
        self.all, self.none = diagrams.all, diagrams.none
        self._bits = diagrams.bits
        self._turned: Mapping[Field, Field] = {}
        self._made: dict[tuple[Field, Values], Packets] = {}
        self._present: dict[tuple[Field, bool], Packets] = {}
        self._interfaces: dict[str, int] = {"": 0}
        self._routers: dict[Address | None, int] = {None: 0}
        self.ipv4 = self.value(Field.FAMILY, 4)
        self.ipv6 = ~self.ipv4
        self.tracked = self.state(ESTABLISHED, RELATED, NEW)

    def turned(self) -> Space:
        """The same space as the answers see it: the source of an answer is where the request went.

        A set is the same set in both, so a request's set is that of its answers without any work.
        """
        turned = copy(self)
        turned._turned = {} if self._turned else _TURNED
        turned._bits = {field: self._bits[_TURNED.get(field, field)] for field in self._bits}
        turned._made, turned._present = {}, {}
        return turned

    # ---- sets by what a field says ------------------------------------------------------------------

    def knows(self, field: Field) -> bool:
        """Whether sets can be told apart by this field."""
        return field in self._bits

    def family(self, family: Family) -> Packets:
        return self.ipv4 if family is Family.V4 else self.ipv6

    def state(self, *states: int) -> Packets:
        """Those of which connection tracking says one of these."""
        return self.any_of(self.value(Field.CT_STATE, each) for each in states)

    def value(self, field: Field, value: int) -> Packets:
        """Those whose field is this number."""
        if field is Field.FAMILY:
            return ~self._bits[field][0] if value == 4 else self._bits[field][0]
        return self._part(field, 0, len(self._bits[field]), value)

    def interfaces(self, field: Field, names: Iterable[str]) -> Packets:
        """Those whose interface is one of these; the empty name is no interface."""
        numbers = sorted({self._interface(name) for name in names})
        return self._ranges(field, [(number, number) for number in numbers])

    def network(self, field: Field, network: Network) -> Packets:
        """Those whose address lies in the network, of its family."""
        family = Family(network.version)
        field, number = address_field(field, family), int(network.network_address)
        return self._part(field, 0, network.prefixlen, number) & self.family(family)

    def address(self, field: Field, address: Address) -> Packets:
        family = Family(address.version)
        return self.value(address_field(field, family), int(address)) & self.family(family)

    def among(self, fields: Sequence[Field], values: Values | Rows) -> Packets:
        """Those whose fields are among the values; whether they have such fields is `present`."""
        if isinstance(values, Rows):
            # Neighbours by what decides first share most of their nodes when they are joined.
            order = sorted(range(len(fields)), key=lambda at: _PLACE[_SAME.get(fields[at], fields[at])])
            rows = sorted(([row[at] for at in order] for row in values.rows), key=_by_numbers)
            sides = [fields[at] for at in order]
            return self.any_of(self.every(map(self._among, sides, row)) for row in rows)
        (field,) = fields
        return self._among(field, values)

    def _among(self, field: Field, values: Values) -> Packets:
        if isinstance(values, Names):
            # Packets come and leave by interfaces that there are; rules may name many others.
            return self.interfaces(field, {name for name in self._interfaces if is_named(name, values)})
        key = field, values
        if key not in self._made:
            self._made[key] = self._numbers(field, values)
        return self._made[key]

    def _numbers(self, field: Field, values: Numbers) -> Packets:
        match field:
            case Field.FAMILY:
                return self.any_of(self.value(field, family) for family in (4, 6) if _holds(values, family))
            case Field.ETHER_TYPE:
                types = ((0x0800, self.ipv4), (0x86DD, self.ipv6))
                return self.any_of(packets for number, packets in types if _holds(values, number))
        return self._ranges(field, values.ranges)

    def masked(self, field: Field, mask: int, values: Numbers) -> Packets:
        """Those whose field, cut to the bits of the mask, is among the values."""
        bits, width = self._bits[field], len(self._bits[field])
        cut = [bit for index, bit in enumerate(bits) if not mask >> (width - 1 - index) & 1]
        zero = self.every(~bit for bit in cut)
        return (self._among(field, values) & zero).exists(self.every(cut))

    def one_bit_of(self, field: Field, mask: int) -> Packets:
        """Those whose field has one of these bits."""
        bits, width = self._bits[field], len(self._bits[field])
        return self.any_of(bit for index, bit in enumerate(bits) if mask >> (width - 1 - index) & 1)

    def present(self, field: Field, *, seeming: bool = False) -> Packets:
        """Those that have such a field: others fail each test of it, negated or not.

        `seeming` are those too that have something else in its place: later fragments.
        """
        key = field, seeming
        if key not in self._present:
            self._present[key] = self._presence(field, seeming)
        return self._present[key]

    def _presence(self, field: Field, seeming: bool) -> Packets:
        found = self.all
        if field.value.endswith("4"):
            found &= self.ipv4
        if field.value.endswith("6"):
            found &= self.ipv6
        if field.value.startswith("ct-") and field not in (Field.CT_STATE, Field.CT_ZONE):
            found &= self.tracked
        first = self.all if seeming else self.value(Field.FRAGMENT, 0)
        match field:
            case Field.SOURCE_PORT | Field.DESTINATION_PORT:
                found &= first & self.any_of(self.value(Field.PROTOCOL, each) for each in WITH_PORTS)
            case Field.ICMP_TYPE | Field.ICMP_CODE:
                of4, of6 = self.value(Field.PROTOCOL, ICMP), self.value(Field.PROTOCOL, ICMP6)
                found &= first & ((self.ipv4 & of4) | (self.ipv6 & of6))
            case Field.TCP_FLAGS:
                found &= first & self.value(Field.PROTOCOL, TCP)
        return found

    # ---- sets by other sets -------------------------------------------------------------------------

    def any_of(self, sets: Iterable[Packets]) -> Packets:
        return self._folded(list(sets), False)

    def every(self, sets: Iterable[Packets]) -> Packets:
        return self._folded(list(sets), True)

    def _folded(self, sets: list[Packets], every: bool) -> Packets:
        # In pairs: joining 50,000 one after the other copies the growing whole each time.
        if not sets:
            return self.all if every else self.none
        while len(sets) > 1:
            pairs = zip(sets[::2], sets[1::2], strict=False)
            joined = [one & other if every else one | other for one, other in pairs]
            sets = joined + sets[len(sets) // 2 * 2 :]
        return sets[0]

    # ---- what changes a packet ----------------------------------------------------------------------

    def without(self, packets: Packets, *fields: Field) -> Packets:
        """The same packets, with anything in these fields."""
        return packets.exists(self._cube(fields))

    def only(self, packets: Packets, *fields: Field) -> Packets:
        """Everything that has in these fields what some packet of the set has there."""
        others = [field for field in _WIDTH if field not in fields]
        return self.without(packets, *others)

    def with_value(self, packets: Packets, field: Field, value: int) -> Packets:
        """The same packets, with this number in the field."""
        return self.without(packets, field) & self.value(field, value)

    def with_interface(self, packets: Packets, field: Field, name: str) -> Packets:
        return self.without(packets, field) & self.interfaces(field, (name,))

    def with_next_hop(self, packets: Packets, router: Address | None) -> Packets:
        """The same packets, on their way to this router; to none, to their destination itself."""
        return self.with_value(packets, Field.NEXT_HOP, self._routers.setdefault(router, len(self._routers)))

    def by_next_hop(self, packets: Packets) -> list[tuple[Address | None, Packets]]:
        """The packets by the router that they are on their way to, and all those to it, whatever they are."""
        routers = {number: router for router, number in self._routers.items()}
        numbers = self.values_of(packets, Field.NEXT_HOP)
        return [(routers[number], self.value(Field.NEXT_HOP, number)) for number in numbers]

    def rewritten(self, packets: Packets, field: Field, mask: int, value: int) -> Packets:
        """The same packets after (field AND NOT mask) XOR value."""
        bits, width = self._bits[field], len(self._bits[field])
        given = self.all
        for index in reversed(range(width)):
            place = 1 << (width - 1 - index)
            if mask & place:
                given &= bits[index] if value & place else ~bits[index]
            elif value & place:
                bit = bits[index]
                high, low = (packets & bit).exists(bit), (packets & ~bit).exists(bit)
                packets = bit.ite(low, high)
        return self.blurred(packets, field, mask) & given

    def blurred(self, packets: Packets, field: Field, mask: int) -> Packets:
        """The same packets, with anything in the bits of the mask."""
        bits, width = self._bits[field], len(self._bits[field])
        cut = [bit for index, bit in enumerate(bits) if mask >> (width - 1 - index) & 1]
        return packets.exists(self.every(cut))

    def copied(self, packets: Packets, field: Field, mask: int, source: Field) -> Packets:
        """The same packets, with the bits of the mask copied from another field."""
        width = len(self._bits[field])
        for index, bit in enumerate(self._bits[field]):
            if mask >> (width - 1 - index) & 1:
                other = self._bits[source][index - width + len(self._bits[source])]
                packets = packets.exists(bit) & bit.equiv(other)
        return packets

    def tied(self, packets: Packets) -> Packets:
        """The same packets, of which connection tracking remembers the addresses and ports that they have now."""
        first = self.without(packets, *_FIRST)
        ports = self.every(map(self._diagrams.equal, _NOW[2:], _FIRST[2:]))
        six = self.every(map(self._diagrams.equal, _NOW[:2], _FIRST[:2]))
        four = self.every(map(self._diagrams.equal, map(_v4, _NOW[:2]), map(_v4, _FIRST[:2])))
        return first & ports & self.ipv4.ite(four, six)

    def as_first(self, packets: Packets) -> Packets:
        """What connection tracking remembers of these packets, as the packets that it remembers."""
        return self.without(packets, *_NOW).substitute(self._diagrams.now_for_first)

    def unremembered(self, packets: Packets) -> Packets:
        """The same packets, of which connection tracking knows nothing."""
        return self.without(packets, *_FIRST)

    def given_back(self, packets: Packets, field: Field) -> Packets:
        """The same packets, with the address and port that the flow's first packet had on that side.

        `field` is the side of the packet as this space sees it; the request's source is the answer's destination.
        """
        of_source = self._bits[field] is self._diagrams.bits[Field.SOURCE6]
        sides = (0, 2) if of_source else (1, 3)
        now, first = [_NOW[side] for side in sides], [_FIRST[side] for side in sides]
        ports = self._diagrams.equal(now[1], first[1])
        six, four = self._diagrams.equal(now[0], first[0]), self._diagrams.equal(_v4(now[0]), _v4(first[0]))
        return packets.exists(self._diagrams.cube((now[0], now[1]))) & ports & self.ipv4.ite(four, six)

    def aged(self, packets: Packets) -> Packets:
        """The same packets with a time to live that is one less."""
        if not self.depends(packets, Field.TTL):
            return packets
        # Those are left with a number that had one more; none of 0 had, and 0 stays what it is.
        had_one_more = packets.substitute(self._diagrams.ttl_and_one) & ~self.value(Field.TTL, 255)
        return had_one_more | packets & self.value(Field.TTL, 0)

    def depends(self, packets: Packets, field: Field) -> bool:
        """Whether the field may not be anything in these packets."""
        return self.without(packets, field) != packets

    # ---- what a set says ----------------------------------------------------------------------------

    def values_of(self, packets: Packets, field: Field) -> list[int]:
        """Every number that the field has in the set, in their order; only for fields of few values."""
        bits = self._bits[field]
        found: list[int] = []
        waiting = [(0, 0, packets)]
        while waiting:
            index, number, rest = waiting.pop()
            if not rest.satisfiable():
                continue
            if index == len(bits):
                found.append(number)
                continue
            bit = bits[index]
            waiting.append((index + 1, number * 2 + 1, rest & bit))
            waiting.append((index + 1, number * 2, rest & ~bit))
        return found

    def ranges_of(self, packets: Packets, field: Field, most: int) -> tuple[tuple[int, int], ...]:
        """Every number that the field has in the set, as sorted ranges: one more than `most` where there are more."""
        bits = self._bits[field]
        wider = next(other for other in _WIDTH if self._shares(other, field))
        rest = self.only(packets, wider).exists(self.every(self._bits[wider][len(bits) :]))
        found: list[tuple[int, int]] = []
        waiting = [(0, 0, rest)]
        while waiting and len(found) <= most:
            index, number, rest = waiting.pop()
            if rest == self.all:
                width = len(bits) - index
                first, last = number << width, (number + 1 << width) - 1
                if found and found[-1][1] + 1 == first:
                    first = found.pop()[0]
                found.append((first, last))
            elif rest.satisfiable():
                bit = bits[index]
                waiting.append((index + 1, number * 2 + 1, (rest & bit).exists(bit)))
                waiting.append((index + 1, number * 2, (rest & ~bit).exists(bit)))
        return tuple(found)

    def common(self, packets: Packets, field: Field) -> tuple[int, int]:
        """The leading bits that the field has in every packet of the set: their number, and how many they are."""
        number = length = 0
        packets = self.without(packets, *(other for other in self._bits if not self._shares(other, field)))
        for bit in self._bits[field]:
            high, low = (packets & bit).satisfiable(), (packets & ~bit).satisfiable()
            if high == low:
                break
            number, length = number * 2 + high, length + 1
        return number, length

    def _shares(self, one: Field, other: Field) -> bool:
        return self._bits[one][0] is self._bits[other][0]

    def one(self, packets: Packets, fields: Iterable[Field]) -> dict[Field, int]:
        """One packet of the set, by these fields; what may be anything is 0 where that is possible."""
        chosen: dict[Field, int] = {}
        for field in fields:
            number = 0
            for bit in self._bits[field]:
                low = packets & ~bit
                packets = low if low.satisfiable() else packets & bit
                number = number * 2 + (packets is not low)
            chosen[field] = number
        return chosen

    def interface(self, number: int) -> str:
        return next(name for name, known in self._interfaces.items() if known == number)

    # ---- how sets are built -------------------------------------------------------------------------

    def know_interfaces(self, names: Iterable[str]) -> None:
        """Count these among the interfaces that there are: a pattern of names matches those that are known."""
        for name in names:
            self._interface(name)

    def _interface(self, name: str) -> int:
        return self._interfaces.setdefault(name, len(self._interfaces))

    def _cube(self, fields: Iterable[Field]) -> Packets:
        return self._diagrams.cube(tuple(self._turned.get(field, field) for field in fields))

    def _part(self, field: Field, begin: int, end: int, value: int) -> Packets:
        """Those whose bits from `begin` to before `end` are those of the value."""
        width, now = len(self._bits[field]), self._turned.get(field, field)
        found = self.all
        while end > begin:
            first = max(begin, (end - 1) // 8 * 8)
            part = value >> (width - end) & ((1 << (end - first)) - 1)
            found, end = self._diagrams.byte(now, first, end, part) & found, first
        return found

    def _ranges(self, field: Field, ranges: Sequence[tuple[int, int]]) -> Packets:
        """Those whose field is in one of the sorted, disjoint ranges."""
        width = len(self._bits[field])
        firsts = [first for first, _ in ranges]
        lasts = [last for _, last in ranges]
        bits = self._bits[field]

        def build(index: int, begin: int) -> Packets:
            # The part of the field's values whose leading `index` bits are those of `begin`.
            end = begin + (1 << (width - index)) - 1
            at = bisect_left(lasts, begin)
            if at == len(lasts) or firsts[at] > end:
                return self.none
            if firsts[at] <= begin and lasts[at] >= end:
                return self.all
            if firsts[at] == lasts[at] and (at + 1 == len(firsts) or firsts[at + 1] > end):
                return self._part(field, index, width, firsts[at])
            half = begin + (1 << (width - index - 1))
            low, high = build(index + 1, begin), build(index + 1, half)
            return low if low == high else bits[index].ite(high, low)

        return build(0, 0)


def _v4(field: Field) -> Field:
    return address_field(field, Family.V4)


def is_named(name: str, names: Names) -> bool:
    return name in names.exact or any(name.startswith(prefix) for prefix in names.prefixes)


def _holds(values: Numbers, number: int) -> bool:
    return any(first <= number <= last for first, last in values.ranges)


def _by_numbers(row: Sequence[Values]) -> list[tuple[tuple[int, int], ...]]:
    return [value.ranges if isinstance(value, Numbers) else () for value in row]
