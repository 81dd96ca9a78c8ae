"""One form for the chains and rules of nftables and iptables.

Parsers turn `nft -j` and `iptables-save -c` into this form, writers turn it into `nft -f` and
`iptables-restore` text. What the form cannot say is kept as `Unknown` with the owner's own words:
never guessed, never dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from crossnet.values import Address, Family, Network, Ports

# What nftables calls the families; iptables' tables are of the same two.
TABLE_FAMILY = {Family.V4: "ip", Family.V6: "ip6"}


class Engine(StrEnum):
    """Who holds crossnet's rules on a host."""

    NFTABLES = "nftables"
    IPTABLES_NFT = "iptables-nft"
    IPTABLES_LEGACY = "iptables-legacy"

    @property
    def is_iptables(self) -> bool:
        return self is not Engine.NFTABLES


# ---- matches -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NamedSet:
    """The members of a set of the same table (nftables) or an ipset (iptables)."""

    name: str


@dataclass(frozen=True, slots=True)
class Interface:
    """`iifname`/`-i` or `oifname`/`-o`."""

    direction: Literal["in", "out"]
    name: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The packet's source or destination lies in a network or a named set."""

    side: Literal["source", "destination"]
    where: Network | NamedSet
    negated: bool = False


@dataclass(frozen=True, slots=True)
class L4Protocol:
    """`meta l4proto` or `-p`: icmp, ipv6-icmp, tcp, udp, … in lower case."""

    name: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class DestinationPorts:
    """The destination port lies in one of the ranges, which are sorted; needs an `L4Protocol` before it."""

    ranges: tuple[Ports, ...]


@dataclass(frozen=True, slots=True)
class State:
    """Connection tracking calls the packet one of these: new, established, related, invalid, untracked."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class FlowDirection:
    """The packet goes the way of its flow's first packet (`original`), or comes back (`reply`)."""

    name: Literal["original", "reply"]


@dataclass(frozen=True, slots=True)
class FlowEnd:
    """The first packet of the flow that this one belongs to went from or to a network or a named set.

    An ICMP error belongs to the flow of which it tells, whoever sent it.
    """

    side: Literal["source", "destination"]
    where: Network | NamedSet


@dataclass(frozen=True, slots=True)
class SynOnly:
    """The packet opens a TCP connection: of SYN and RST only SYN is set."""


@dataclass(frozen=True, slots=True)
class UnknownMatch:
    """A match that this form cannot say, in the words of the tool that printed it."""

    text: str


Match = (
    Interface
    | Endpoint
    | L4Protocol
    | DestinationPorts
    | State
    | FlowDirection
    | FlowEnd
    | SynOnly
    | UnknownMatch
)


# ---- verdicts ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accept:
    pass


@dataclass(frozen=True, slots=True)
class Drop:
    pass


@dataclass(frozen=True, slots=True)
class Reject:
    pass


@dataclass(frozen=True, slots=True)
class Return:
    pass


@dataclass(frozen=True, slots=True)
class Jump:
    chain: str
    goto: bool = False


@dataclass(frozen=True, slots=True)
class Snat:
    """Replace the source by this address."""

    address: Address


@dataclass(frozen=True, slots=True)
class SnatByDestination:
    """Replace the source by the address that the named map gives for the packet's destination."""

    map: str


@dataclass(frozen=True, slots=True)
class Masquerade:
    """Replace the source by the address of the interface the packet leaves by."""


@dataclass(frozen=True, slots=True)
class ClampMss:
    """Lower the MSS of a TCP SYN to what the path's MTU can carry, and go on with the next rule."""


@dataclass(frozen=True, slots=True)
class Continue:
    """No verdict: the rule only counts or logs."""


@dataclass(frozen=True, slots=True)
class UnknownVerdict:
    text: str


Verdict = (
    Accept
    | Drop
    | Reject
    | Return
    | Jump
    | Snat
    | SnatByDestination
    | Masquerade
    | ClampMss
    | Continue
    | UnknownVerdict
)


# ---- rules, chains, tables -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counter:
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; the counter is what was read, and no part of what the rule is."""

    matches: tuple[Match, ...]
    verdict: Verdict
    comment: str = ""
    counter: Counter | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Hook:
    """Where the kernel enters a chain; `type` is filter, nat or mangle, `policy` is accept or drop."""

    name: str
    type: str
    priority: int
    policy: str = "accept"


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules in order; without a hook the kernel enters it only by a jump."""

    name: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None


@dataclass(frozen=True, slots=True)
class Set:
    """A named set of networks; a host network is one address. Held collapsed (no overlap, no neighbours)."""

    name: str
    members: frozenset[Network]


@dataclass(frozen=True, slots=True)
class Map:
    """A named map from destination network to source address."""

    name: str
    entries: frozenset[tuple[Network, Address]]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `family` is ip, ip6, inet, … and iptables' tables are ip or ip6."""

    family: str
    name: str
    chains: tuple[Chain, ...]
    sets: tuple[Set, ...] = ()
    maps: tuple[Map, ...] = ()

    def chain(self, name: str) -> Chain | None:
        return next((chain for chain in self.chains if chain.name == name), None)
