"""The form of foreign rules: ordered statements over typed values, read and never written.

nftables, iptables-nft and iptables-legacy become the same form, in which a statement says exactly what the
kernel does, or says that it cannot be known. What a tool leaves out because the kernel implies it stands here
as a statement of its own: `tcp dport 443` is a test of the protocol and then one of the port, `ip saddr` in a
table of two families is a test of the family first. So a negation negates what it negates, and no more.

Three answers there are to a test: it holds, it does not, or nobody can say. `Perhaps` is the third: its `why`
tells what is not understood from what depends on the moment (a limit, a quota, a set that fills itself).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from crossnet.netfilter import Counter

T = TypeVar("T")


class Tool(StrEnum):
    """Whose words a table is printed in."""

    NFT = "nft"
    IPTABLES_NFT = "iptables-nft"
    IPTABLES_LEGACY = "iptables-legacy"


# ---- what a packet and its flow say -----------------------------------------------------------------


class Field(StrEnum):
    """What can be tested or set; all are numbers as the kernel holds them, but interfaces, which are names.

    A field that the packet does not have (a port of an ICMP packet, an IPv4 address of an IPv6 packet) fails
    every test, negated or not (nft_payload.c sets NFT_BREAK); parsers put the test of the family and of the
    protocol in front, as the tools do. Interfaces and bridge ports are always there: where a packet has none
    (what the host itself sends came by none), the name is empty, and the kernel compares it like any other.

    Of a later fragment nftables compares what stands where a whole packet has its ports, types and flags, but in the
    newest kernels (measured on 6.18: nft_payload_fast_eval does not look at the offset). Where connection tracking
    is used, no rule behind it sees a fragment.
    """

    FAMILY = "family"  # 4 or 6; nft's meta nfproto
    ETHER_TYPE = "ether-type"  # 0x0800; nft's meta protocol
    IIF = "iif"  # name of the interface by which it came
    OIF = "oif"  # and by which it leaves
    NEXT_HOP = "next-hop"  # the router to which it leaves
    IIF_TYPE = "iif-type"  # ARPHRD_*
    OIF_TYPE = "oif-type"
    PHYS_IN = "phys-in"  # port of the bridge by which it came (br_netfilter)
    PHYS_OUT = "phys-out"
    SOURCE4 = "source4"
    DESTINATION4 = "destination4"
    SOURCE6 = "source6"
    DESTINATION6 = "destination6"
    PROTOCOL = "protocol"  # of the transport: 1 icmp, 6 tcp, 17 udp, 58 icmpv6 …
    SOURCE_PORT = "source-port"
    DESTINATION_PORT = "destination-port"
    TH_SOURCE = "th-sport"  # the first 16 bits of the transport's header, a port or not; nft's th sport
    TH_DESTINATION = "th-dport"  # and the next 16
    ICMP_TYPE = "icmp-type"  # of icmp and of icmpv6
    ICMP_CODE = "icmp-code"
    TCP_FLAGS = "tcp-flags"  # FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128
    FRAGMENT = "fragment"  # offset of the fragment in eight bytes; 0 for a whole packet and a first fragment
    MORE_FRAGMENTS = "more-fragments"  # 1 in every fragment but the last; 0 for a whole packet
    DSCP = "dscp"
    ECN = "ecn"
    TTL = "ttl"  # and hop limit
    LENGTH = "length"  # of the packet, header included
    MARK = "mark"
    PACKET_TYPE = "packet-type"  # PACKET_HOST 0, PACKET_BROADCAST 1, PACKET_MULTICAST 2, PACKET_OTHERHOST 3
    SOURCE_TYPE = "source-type"  # RTN_* of the address by the routes: unicast 1, local 2, broadcast 3 …
    DESTINATION_TYPE = "destination-type"
    CT_STATE = "ct-state"  # bits: invalid 1, established 2, related 4, new 8, untracked 64
    CT_DIRECTION = "ct-direction"  # original 0, reply 1
    CT_STATUS = "ct-status"  # IPS_*: expected 1, seen-reply 2, assured 4, confirmed 8, snat 16, dnat 32 …
    CT_MARK = "ct-mark"
    CT_ZONE = "ct-zone"  # flows are told apart by it, and an answer is looked up in its own; 0 where no rule says one
    CT_PROTOCOL = "ct-protocol"
    CT_SOURCE4 = "ct-source4"  # of the flow's first packet, before any translation
    CT_DESTINATION4 = "ct-destination4"
    CT_SOURCE6 = "ct-source6"
    CT_DESTINATION6 = "ct-destination6"
    CT_SOURCE_PORT = "ct-source-port"
    CT_DESTINATION_PORT = "ct-destination-port"
    CT_REPLY_SOURCE4 = "ct-reply-source4"  # of the answer to it, as it is expected
    CT_REPLY_DESTINATION4 = "ct-reply-destination4"
    CT_REPLY_SOURCE6 = "ct-reply-source6"
    CT_REPLY_DESTINATION6 = "ct-reply-destination6"
    CT_REPLY_SOURCE_PORT = "ct-reply-source-port"
    CT_REPLY_DESTINATION_PORT = "ct-reply-destination-port"


class RulePlace(NamedTuple):
    """Which rule: the chain that it stands in, in its owner's words, and its own words."""

    tool: Tool
    family: str
    table: str
    chain: str
    text: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers by their ranges, both ends included: sorted, disjoint and not touching."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> Numbers:
        """The numbers of these ranges, which may come in any order and overlap."""
        joined: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
            else:
                joined.append((first, last))
        return cls(tuple(joined))

    @property
    def is_single(self) -> bool:
        return len(self.ranges) == 1 and self.ranges[0][0] == self.ranges[0][1]


@dataclass(frozen=True, slots=True)
class Names:
    """Names of interfaces: these, and all that begin with one of the prefixes (`wan*`, `wan+`)."""

    exact: frozenset[str]
    prefixes: frozenset[str] = frozenset()

    @property
    def is_single(self) -> bool:
        return len(self.exact) == 1 and not self.prefixes


Values = Numbers | Names


@dataclass(frozen=True, slots=True)
class Rows:
    """Combinations of values, one for each field of a concatenation; a packet is in it when it is in one row."""

    rows: tuple[tuple[Values, ...], ...]


@dataclass(frozen=True, slots=True)
class Named:
    """The set or map of that name in the same table, or with `ipset` the set of ipset, which has names of its own."""

    name: str
    ipset: bool = False


# ---- tests ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Test:
    """The packet's fields are among the values; with `mask` the field is cut to these bits before.

    A test of flags (`ct state new,established`) is a test with the numbers that have one of the bits:
    `any_bit` is then the bits of which one must be set, and `values` is empty.
    """

    __test__ = False  # no test of pytest

    fields: tuple[Field, ...]
    values: Values | Rows | Named
    negated: bool = False
    mask: int | None = None
    any_bit: int | None = None


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of these tests holds (`--ports` of multiport: source or destination).

    Negated: none of them does, and a test of a field that the packet does not have is one that does not hold. So
    a negated set of ports (`! --match-set`, where xt_set.c turns round what the set said) holds for what has none.
    """

    tests: tuple[Test, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class ReversePath:
    """The way back to the packet's source leads out by the interface by which it came (`loose`: by any).

    `marked`: the route is looked up with the packet's mark. `fib saddr . iif oif exists`, iptables' rpfilter.
    """

    loose: bool = False
    marked: bool = False
    negated: bool = False


class Why(StrEnum):
    """Whether more could be known if this reader knew more words, or by nobody before the packet comes."""

    NOT_UNDERSTOOD = "not-understood"
    DEPENDS_ON_THE_MOMENT = "depends-on-the-moment"


@dataclass(frozen=True, slots=True)
class Perhaps:
    """A test of which nobody can say from here whether it holds, in the tool's own words."""

    text: str
    why: Why


# ---- what a rule does -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accept:
    """The packet leaves this base chain; others at the hook still see it."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The packet ends here, and nobody is told."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Dropped, and the sender is told; `text` is the tool's word of what (`icmp-port-unreachable`, `tcp-reset`)."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """A program decides; without one it is dropped, but with `bypass`."""

    bypass: bool = False


@dataclass(frozen=True, slots=True)
class Return:
    """Back to the rule behind the jump; in a base chain its policy."""


@dataclass(frozen=True, slots=True)
class Continue:
    """On with the next statement of the rule (`continue` of a verdict map)."""


@dataclass(frozen=True, slots=True)
class Jump:
    chain: str
    goto: bool = False


Verdict = Accept | Drop | Reject | Queue | Return | Continue | Jump


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address with a port, or a port alone: what a map of translations gives where it is no address alone."""

    addresses: Numbers | None
    ports: Numbers


@dataclass(frozen=True, slots=True)
class Map:
    """Entries of keys (one value for each field) and what they give; the first that holds the packet counts."""

    entries: tuple[tuple[tuple[Values, ...], Verdict | Numbers | Endpoint], ...]


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """The verdict that the map gives for the packet's fields.

    A packet that is in no entry has failed, as at a test: the rule ends there (nft_lookup.c sets NFT_BREAK;
    measured: `ip saddr vmap { A : accept, B : continue } drop` drops B, and no other).
    """

    fields: tuple[Field, ...]
    map: Map | Named


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these verdicts, by chance or by a hash: nobody can say which (`numgen random mod 2 vmap { … }`)."""

    verdicts: tuple[Verdict, ...]
    text: str


class Translation(StrEnum):
    SOURCE = "source"
    DESTINATION = "destination"
    MASQUERADE = "masquerade"  # source: the address of the interface by which it leaves
    REDIRECT = "redirect"  # destination: the host itself
    NETMAP_SOURCE = "netmap-source"  # the network's bits change, those of the host stay
    NETMAP_DESTINATION = "netmap-destination"


@dataclass(frozen=True, slots=True)
class Translate:
    """Network address translation, decided by the first packet of a flow; ends the nat hook for it.

    `addresses` and `ports` are what is chosen from, None where they stay. `fields` and `map` say the address
    where it comes from a map (then `addresses` is None), or the port, or both, by what the map gives; a packet
    without an entry goes on with the next rule.
    """

    kind: Translation
    addresses: Numbers | None = None
    ports: Numbers | None = None
    fields: tuple[Field, ...] = ()
    map: Map | Named | None = None


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The field becomes (field AND NOT mask) XOR value; `value` None: something that cannot be known.

    `source` is the field whose bits of the mask are copied instead of a value (CONNMARK's save and restore); where
    the packet has no such field, nothing changes.
    """

    field: Field
    value: int | None
    mask: int
    source: Field | None = None


@dataclass(frozen=True, slots=True)
class NoTrack:
    """Connection tracking does not see the packet: its state is untracked, and nothing translates it."""


@dataclass(frozen=True, slots=True)
class Tproxy:
    """Given to a local socket, when there is one that listens; else iptables drops it (xt_TPROXY.c), nft goes on."""

    text: str


@dataclass(frozen=True, slots=True)
class Offload:
    """The flow's further packets pass by the flowtable, and meet no rule any more."""

    flowtable: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """An action that is not understood: it may drop, accept or change the packet, or do nothing."""

    text: str


Action = Verdict | VerdictMap | Choice | Translate | Rewrite | NoTrack | Tproxy | Offload | Unknown
Statement = Test | AnyOf | ReversePath | Perhaps | Action


# ---- rules, chains, tables --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """Statements in order: the first test that fails ends the rule, an action that is no verdict goes on.

    What only counts or logs is left out. `text` is the rule in its owner's words, as its tool takes it, `handle` the
    number by which nft deletes it.
    """

    statements: tuple[Statement, ...]
    text: str
    comment: str = ""
    counter: Counter | None = field(default=None, compare=False)
    handle: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Hook:
    """Where the kernel enters a chain: `forward` …, `ingress`, `egress`; lower priorities come first.

    `type` is filter, nat or route. `policy` is accept or drop. `devices` are those of an ingress or egress hook,
    none where the tool does not say them (nft 1.0.6 in JSON): it may be any.
    """

    name: str
    type: str
    priority: int
    policy: str = "accept"
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chain:
    """Rules in order; without a hook the kernel enters it only by a jump.

    The rules are read when somebody asks for them: a host may have 50,000 of which nobody wants to know.
    `count` is how many there are.
    """

    name: str
    hook: Hook | None
    count: int
    read: Callable[[], tuple[Rule, ...]] = field(compare=False, repr=False)

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        return self.read()


@dataclass(frozen=True, slots=True)
class Set:
    """A named set; `members` is None where they are not understood.

    `settled` is false where it changes by itself: elements that packets add, that run out or have a limit.
    """

    name: str
    members: Values | Rows | None
    settled: bool = True


@dataclass(frozen=True, slots=True)
class NamedMap:
    """A named map; `map` is None where it is not understood, `settled` as of a set."""

    name: str
    map: Map | None
    settled: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table of one tool; `family` is ip, ip6, inet, arp, bridge or netdev. A dormant one is never entered.

    `sets` and `maps` are the table's own, `ipsets` those of the host where iptables has rules in the table.
    Of one that is not `read` nobody knows the chains: one at each hook stands for them, that may do anything.
    """

    tool: Tool
    family: str
    name: str
    chains: Mapping[str, Chain]
    sets: Mapping[str, Set] = field(default_factory=lambda: MappingProxyType({}))
    maps: Mapping[str, NamedMap] = field(default_factory=lambda: MappingProxyType({}))
    ipsets: Mapping[str, Set] = field(default_factory=lambda: MappingProxyType({}))
    dormant: bool = False
    read: bool = True


class Lazily(Mapping[str, T], Generic[T]):
    """Values by name, each made when it is asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], T]]) -> None:
        self._makers = makers
        self._made: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
